//! The form in which everything that travels is bytes, and every disk is files.

use std::{fmt, marker::PhantomData};

use protocol::{Notification, peer::Config};
use simulator::{Form, Letter, Plan, Served, Subject};
use spec::{ServerId, history::Entry};
use storage::Dice;
use tree::{Event, Settings};
use wire::notification::{Notice, frame};
use world::{Fault, Happened, Host, HostEvent, Pace, Said, Wire};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    clients::{End, Told},
    files::Files,
    links::{self, Inbox, told},
};

/// Whether disks keep their word.
pub trait Syncs: fmt::Debug {
    /// Whether a sync says that it is done, and does nothing.
    const LIE: bool;
    /// What runs are called where they are saved.
    const NAME: &'static str;
}

/// They do.
#[derive(Debug)]
pub struct Honest;

/// They do not, which some rule must find.
#[derive(Debug)]
pub struct Lying;

impl Syncs for Honest {
    const LIE: bool = false;
    const NAME: &'static str = "simulation";
}

impl Syncs for Lying {
    const LIE: bool = true;
    const NAME: &'static str = "simulation-on-lying-disks";
}

/// The form.
#[derive(Debug)]
pub struct Encoded<S = Honest> {
    seed: u64,
    told: Told,
    syncs: PhantomData<S>,
}

/// Some bytes on a link, and what the state that they end remembers.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    bytes: Vec<u8>,
    history: Option<Vec<Entry>>,
}

/// What is under way to a client.
#[derive(Debug)]
pub enum Down {
    /// Some bytes.
    Bytes(Vec<u8>),
    /// The end of the connection.
    End,
}

/// One end of a connection, of whatever kind.
#[derive(Debug, Default)]
pub struct Ear {
    reads: u64,
    link: Inbox,
    client: End,
}

impl<S> Encoded<S> {
    /// Cuts bytes into pieces, anywhere: in no more than one, in a few, or into single bytes. Where is a matter of the
    /// bytes and the seed, so that nobody else's chances depend on it.
    fn cut(&self, bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let mut dice = Dice::new(xxh3_64_with_seed(&bytes, self.seed));
        let mut places = match dice.throw(12) {
            0..6 => Vec::new(),
            6 if bytes.len() < 100 => (1..bytes.len()).collect(),
            6..9 => vec![dice.throw(bytes.len())],
            _ => (0..=dice.throw(4)).map(|_| dice.throw(bytes.len())).collect(),
        };
        places.sort_unstable();
        let (mut pieces, mut rest) = (Vec::new(), bytes);
        for place in places.into_iter().rev().filter(|place| *place > 0) {
            if place < rest.len() {
                pieces.push(rest.split_off(place));
            }
        }
        pieces.push(rest);
        pieces.reverse();
        pieces
    }
}

/// What a sound ensemble never says has been read.
fn garbled(why: String) -> Fault {
    Fault { rule: "wire".to_owned(), why }
}

/// Everything that an end has understood.
fn all<T>(mut next: impl FnMut() -> Result<Option<T>, String>) -> Result<Vec<T>, Fault> {
    let mut found = Vec::new();
    while let Some(one) = next().map_err(garbled)? {
        found.push(one);
    }
    Ok(found)
}

impl<S: Syncs> Form for Encoded<S> {
    const NAME: &'static str = S::NAME;

    type Disk = Files;
    type Load = Piece;
    type Up = Vec<u8>;
    type Down = Down;
    type Ear = Ear;

    fn new(plan: &Plan) -> Self {
        Self { seed: plan.seed, told: Told::default(), syncs: PhantomData }
    }

    fn start(&mut self, config: Config<Settings>) -> Result<(Served<Self>, Happened<Subject>), Fault> {
        let files = Files::new(self.seed, config.zab.me, S::LIE);
        Host::on(config, Pace::Async, files)
    }

    fn step(
        &mut self,
        host: &mut Served<Self>,
        event: &HostEvent<Subject>,
    ) -> Result<Happened<Subject>, Fault> {
        self.told.words.clear();
        host.step_before(event, &mut self.told)
    }

    fn put(&mut self, from: ServerId, frame: &Wire<Subject>) -> Vec<Piece> {
        let (bytes, mut history) = links::put(from, frame);
        let mut pieces: Vec<_> =
            self.cut(bytes).into_iter().map(|bytes| Piece { bytes, history: None }).collect();
        if let Some(last) = pieces.last_mut() {
            last.history = history.take();
        }
        pieces
    }

    fn reads_on(&self, ear: &Ear) -> bool {
        // Several packets, and parts of them, are read at once.
        Dice::new(self.seed ^ ear.reads << 32 ^ ear.link.bytes.len() as u64).throw(4) == 0
    }

    fn take(&mut self, ear: &mut Ear, loads: Vec<Piece>) -> Result<Vec<Wire<Subject>>, Fault> {
        ear.reads += 1;
        for Piece { bytes, history } in loads {
            ear.link.bytes.extend(bytes);
            ear.link.histories.extend(history);
        }
        all(|| ear.link.next())
    }

    fn carry(&mut self, said: Notification) -> Result<Notification, Fault> {
        let (mut out, mut inbox) = (Vec::new(), Vec::new());
        Notice::new(&said, b"").encode(&mut out);
        let mut heard = Vec::new();
        for piece in self.cut(out) {
            inbox.extend(piece);
            if let Some(payload) = frame(&inbox).map_err(told).map_err(garbled)? {
                let notice = Notice::decode(payload).and_then(|notice| notice.notification());
                heard.push(notice.map_err(told).map_err(garbled)?);
                inbox.drain(..payload.len() + 4);
            }
        }
        match heard[..] {
            [heard] if inbox.is_empty() => Ok(heard),
            _ => Err(garbled(format!("{said:?} is read as {heard:?}, and {} bytes are left", inbox.len()))),
        }
    }

    fn ask(&mut self, ear: &mut Ear, letter: Letter) -> Vec<Vec<u8>> {
        self.cut(ear.client.ask(letter))
    }

    fn read(&mut self, ear: &mut Ear, up: Vec<u8>) -> Result<Vec<Letter>, Fault> {
        ear.client.bytes.extend(up);
        all(|| ear.client.next_letter())
    }

    fn tell(&mut self, said: Said<Event>) -> Vec<Down> {
        if said == Said::Closed {
            return vec![Down::End];
        }
        let words = self.told.words.pop_front().expect("every word was taken down");
        self.cut(words).into_iter().map(Down::Bytes).collect()
    }

    fn hear(&mut self, ear: &mut Ear, down: Down) -> Result<Vec<Said<Event>>, Fault> {
        match down {
            Down::Bytes(bytes) => {
                ear.client.bytes.extend(bytes);
                all(|| ear.client.next_said())
            }
            Down::End => Ok(vec![Said::Closed]),
        }
    }
}
