//! Servers, connections and what travels, in a line each or some, for people who step through states.

mod tree;

use std::fmt;

use protocol::Role;
use spec::{Epoch, Zxid};

use crate::{
    End, Frame, Host, Link, Logged, Replica, Server, Side, Wire,
    host::Storage,
    text::{self, notification},
};

pub(crate) use self::tree::{read, state, txn, write};

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zab = self.zab();
        match zab.role() {
            Some((role, epoch)) => f.write_str(&in_office(role, epoch))?,
            None if self.is_looking() => f.write_str("looking")?,
            None => f.write_str("coming to rest")?,
        }
        if zab.is_serving() {
            f.write_str(", serving")?;
        }
        let history = zab.history();
        write!(f, "; promised {}, joined {}", zab.accepted(), zab.current())?;
        write!(f, "; state {}, committed through {}", Entries(self.state()), zab.committed())?;
        write!(f, "; logged through {}, durable through {}", history.last(), history.flushed())?;
        if let Ok(durable) = self.disk().durable() {
            write!(f, "; disk {}", Entries(&durable))?;
        }
        let tickets = self.disk().may_finish().len();
        if tickets > 0 {
            write!(f, "; {tickets} disk operations may end")?;
        }
        for timer in self.timers() {
            write!(f, "; timer {timer:?}")?;
        }
        Ok(())
    }
}

fn in_office(role: Role, epoch: Epoch) -> String {
    match role {
        Role::Leading => format!("leads {epoch}"),
        Role::Following(leader) => format!("follows {leader} in {epoch}"),
        Role::Observing(leader) => format!("observes {leader} in {epoch}"),
    }
}

/// In a line.
impl<M: Replica, D: Storage<M>> fmt::Display for Host<M, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer().zab().role() {
            Some((role, epoch)) => f.write_str(&in_office(role, epoch))?,
            None => f.write_str("looking")?,
        }
        if self.peer().is_serving() {
            f.write_str(", serving")?;
        } else if self.peer().is_read_only() {
            f.write_str(", serving reads")?;
        }
        write!(f, "; state through {}, logged through {}", self.state().last_processed(), self.disk().last())
    }
}

impl<M: Replica, D: Storage<M>> Host<M, D> {
    /// All that a reader is told of it, in some lines.
    pub fn sketch(&self) -> Vec<String> {
        let (peer, zab) = (self.peer(), self.peer().zab());
        let mut lines = vec![self.to_string()];
        lines.extend(peer.election().word().map(|word| format!("says {}", notification(&word))));
        let (promised, joined, committed) = (zab.accepted(), zab.current(), zab.committed());
        lines.push(format!("promised epoch {promised}, joined {joined}, committed through {committed}"));
        let timers: Vec<_> = self.timers().map(|timer| format!("{timer:?}")).collect();
        lines.extend((!timers.is_empty()).then(|| format!("timers {}", timers.join(", "))));
        let tickets = self.disk().may_finish().len();
        lines.extend((tickets > 0).then(|| format!("{tickets} disk operations may end")));
        lines.extend(self.state().sketch());
        lines
    }
}

impl<F: Clone + fmt::Debug + fmt::Display + PartialEq> fmt::Display for Link<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_joined() { "up" } else { "not up" })?;
        for (side, name) in [(Side::Learner, "learner"), (Side::Leader, "leader")] {
            match self.end(side) {
                End::Closed => {}
                End::Dialling => write!(f, ", the {name} dials")?,
                End::Open(unread) if unread.is_empty() && self.is_joined() => {}
                End::Open(unread) => {
                    let frames: Vec<_> = unread.iter().map(ToString::to_string).collect();
                    let unaware = if self.is_joined() { "" } else { ", unaware of that," };
                    write!(f, ", the {name}{unaware} is to read [{}]", frames.join(", "))?;
                }
            }
        }
        Ok(())
    }
}

/// In a line.
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot { last, state } => write!(f, "SNAP up to {last}: {state:?}"),
            Self::Packet(message) => f.write_str(&text::message(message, ToString::to_string)),
        }
    }
}

/// In a line.
impl<M: Replica> fmt::Display for Wire<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot { last, .. } => write!(f, "SNAP up to {last}"),
            Self::Packet(packet) => f.write_str(&text::packet(packet)),
        }
    }
}

/// Transactions with what they say.
struct Entries<'a>(&'a [Logged]);

impl fmt::Display for Entries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("empty");
        }
        let texts: Vec<_> = self.0.iter().map(|(zxid, txn): &(Zxid, _)| format!("{zxid}={txn}")).collect();
        f.write_str(&texts.join(" "))
    }
}
