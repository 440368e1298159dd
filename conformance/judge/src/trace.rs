//! A stretch of a recording as a trace: the same lines as those of the checker.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::Result;
use checker::trace::{FORMAT, Header, Step, digest, write_line};
use serde::Serialize;
use spec::ServerId;

use crate::{replica::Replica, sink::Effect};

/// Which stretch: from and to these times, in microseconds since 1970.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stretch {
    /// The first.
    pub from_us: u64,
    /// The last.
    pub to_us: u64,
}

impl Default for Stretch {
    fn default() -> Self {
        Self { from_us: 0, to_us: u64::MAX }
    }
}

/// What a recording is of, where a trace of a search has the model's setup.
#[derive(Debug, Serialize)]
struct Setup<'a> {
    servers: &'a [u64],
    from_us: u64,
    to_us: u64,
}

/// What a server was told.
#[derive(Debug, Serialize)]
struct Action<'a> {
    server: u64,
    at_us: u64,
    input: &'a str,
}

/// A trace that is being written.
pub(crate) struct Trace {
    file: BufWriter<File>,
    stretch: Stretch,
    fault: Option<anyhow::Error>,
}

impl Trace {
    pub(crate) fn begin(path: &Path, stretch: Stretch, servers: &[u64]) -> Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        let header = Header {
            format: FORMAT.to_owned(),
            model: "recording".to_owned(),
            budget: String::new(),
            row: String::new(),
            setup: Setup { servers, from_us: stretch.from_us, to_us: stretch.to_us },
            rule: String::new(),
            why: String::new(),
        };
        write_line(&mut file, &header)?;
        Ok(Self { file, stretch, fault: None })
    }

    /// A server has taken a step.
    pub(crate) fn step(
        &mut self,
        id: ServerId,
        at_us: u64,
        input: &str,
        effects: &[Effect],
        replica: &Replica,
    ) {
        if at_us < self.stretch.from_us || at_us > self.stretch.to_us || self.fault.is_some() {
            return;
        }
        let effects = effects.iter().map(tell).collect();
        let mark = replica.mark();
        let parts = vec![(format!("server {id}"), digest(&(&replica.peer, mark)))];
        let step = Step { action: Action { server: id.0, at_us, input }, effects, parts };
        self.fault = write_line(&mut self.file, &step).err();
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        match self.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(self.file.flush()?),
        }
    }
}

/// An effect for a reader, without content.
fn tell(effect: &Effect) -> String {
    match effect {
        Effect::Send(to, packet) => format!("sends to {to}: {}", crate::network::tell(packet)),
        Effect::Snapshot(to, last) => format!("sends to {to}: SNAP {last}"),
        Effect::Log(to, after, through) => format!("sends to {to}: the log behind {after} through {through}"),
        Effect::Append(ticket, zxid, _) => format!("logs {zxid} (ticket {})", ticket.0),
        other => format!("{other:?}"),
    }
}
