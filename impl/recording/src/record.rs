//! The records, and reading them.

use protocol::{
    Recovered,
    peer::{self, Input, Peer},
};
use serde::{Deserialize, Serialize};
use spec::{ClientId, Machine, ServerId, Zxid};
use tree::{Tree, Txn};

use crate::Error;

/// A state by its last transaction and its digests; its content is on the server's disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct TreeMark {
    /// The last transaction in it.
    pub last: Zxid,
    /// The digest of its nodes, as ZooKeeper's `TxnDigest` has it.
    pub digest: i64,
    /// The digest of its session table.
    pub sessions: u64,
}

impl TreeMark {
    /// The mark of this state.
    pub fn of(tree: &Tree) -> Self {
        Self { last: tree.last_processed(), digest: tree.digest(), sessions: sessions_digest(tree) }
    }
}

/// A digest of a state's session table.
pub fn sessions_digest(tree: &Tree) -> u64 {
    tree.sessions().into_iter().fold(0, |sum: u64, (session, timeout_ms)| {
        let mixed = (session.0.cast_unsigned() ^ u64::from(timeout_ms.cast_unsigned()) << 20)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        sum.wrapping_add(mixed ^ mixed >> 29)
    })
}

/// The start of a process: all that its actor was booted from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Boot {
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// What shapes the actor.
    pub config: peer::Config,
    /// What recovery found.
    pub recovered: Recovered<Txn>,
    /// The state that recovery loaded.
    pub tree: TreeMark,
}

/// A link between servers that is up, by the ends of its connection. Together with the time that names one incarnation
/// of it on both servers.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct LinkMark {
    /// The other server.
    pub peer: ServerId,
    /// Whether the other server dialled.
    pub accepted: bool,
    /// The port of this end.
    pub local: u16,
    /// The port of the other end.
    pub remote: u16,
}

/// The actor in the midst of its life, at the beginning of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// When, in microseconds since 1970.
    pub at_us: u64,
    /// What shapes the actor.
    pub config: peer::Config,
    /// The actor.
    pub peer: Peer<Tree>,
    /// The state.
    pub tree: TreeMark,
    /// The [`Told`](crate::Told) so far.
    pub told: u64,
    /// The links that are up.
    pub links: Vec<LinkMark>,
}

/// A packet of a link, named and not copied: what else there is to it is in the recording of the server that sent it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Brief {
    /// PROPOSAL.
    Proposal(Zxid),
    /// COMMIT.
    Commit(Zxid),
    /// ACK.
    Ack(Zxid),
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// The process starts.
    Boot(Box<Boot>),
    /// The actor as it is now.
    Checkpoint(Box<Checkpoint>),
    /// A turn of the server's loop begins; microseconds since 1970.
    Turn(u64),
    /// The actor is told this.
    Input(Box<Input<Tree>>),
    /// The actor is told of this packet.
    Brief(ServerId, Brief),
    /// A connection of a learner asks for a write. What it writes is in the leader's recording.
    Write {
        /// The connection.
        client: ClientId,
        /// The client's number of the request.
        xid: i32,
    },
    /// The digest of everything told and asked for up to here.
    Told(u32),
    /// The state as it is now.
    State {
        /// The last transaction in it.
        last: Zxid,
        /// The digest of its nodes.
        digest: i64,
    },
    /// The link that the next input is about.
    Link(LinkMark),
    /// The configuration node is set, in the state that is there or, if `replaced`, in the one that the next input
    /// brings.
    Adorn {
        /// Whether it belongs to a state that takes the place of the one there is.
        replaced: bool,
        /// The node's data.
        text: Vec<u8>,
        /// The wall clock, in milliseconds since 1970.
        time: i64,
    },
    /// The state that the next input brings.
    Replaced(TreeMark),
    /// The process ends in order.
    End,
}

pub(crate) mod kind {
    pub(crate) const BOOT: u8 = 0;
    pub(crate) const CHECKPOINT: u8 = 1;
    pub(crate) const TURN: u8 = 2;
    pub(crate) const INPUT: u8 = 3;
    pub(crate) const DONE: u8 = 4;
    pub(crate) const PROPOSAL: u8 = 5;
    pub(crate) const COMMIT: u8 = 6;
    pub(crate) const ACK: u8 = 7;
    pub(crate) const WRITE: u8 = 8;
    pub(crate) const TOLD: u8 = 9;
    pub(crate) const STATE: u8 = 10;
    pub(crate) const OTHER: u8 = 11;
    pub(crate) const END: u8 = 12;
}

/// What is rare.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Other {
    Link(LinkMark),
    Adorn { replaced: bool, text: Vec<u8>, time: i64 },
    Replaced(TreeMark),
}

/// What numbers are told as differences to, anew in every chunk.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before {
    pub(crate) proposal: u64,
    pub(crate) commit: u64,
    pub(crate) ack: u64,
    pub(crate) ticket: u64,
    pub(crate) client: u64,
    pub(crate) turn: u64,
    pub(crate) state: u64,
}

/// The records of a chunk, in order.
#[derive(Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    before: Before,
}

impl<'a> Records<'a> {
    /// Those of this chunk.
    pub fn new(chunk: &'a [u8]) -> Self {
        Self { rest: chunk, before: Before::default() }
    }

    fn byte(&mut self, kind: u8) -> Result<u8, Error> {
        let (first, rest) = self.rest.split_first().ok_or(Error::Short(kind))?;
        self.rest = rest;
        Ok(*first)
    }

    fn number(&mut self, kind: u8) -> Result<u64, Error> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(kind)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::Short(kind))
    }

    fn step(&mut self, kind: u8, place: impl Fn(&mut Before) -> &mut u64) -> Result<u64, Error> {
        let zigzag = self.number(kind)?;
        let difference = (zigzag >> 1) ^ (zigzag & 1).wrapping_neg();
        let before = place(&mut self.before);
        *before = before.wrapping_add(difference);
        Ok(*before)
    }

    fn value<T: Deserialize<'a>>(&mut self, kind: u8) -> Result<T, Error> {
        let (value, rest) =
            postcard::take_from_bytes(self.rest).map_err(|source| Error::Record { kind, source })?;
        self.rest = rest;
        Ok(value)
    }

    fn brief(&mut self, kind: u8) -> Result<Record, Error> {
        let from = ServerId(self.number(kind)?);
        let brief = match kind {
            kind::PROPOSAL => Brief::Proposal(Zxid(self.step(kind, |before| &mut before.proposal)?)),
            kind::COMMIT => Brief::Commit(Zxid(self.step(kind, |before| &mut before.commit)?)),
            _ => Brief::Ack(Zxid(self.step(kind, |before| &mut before.ack)?)),
        };
        Ok(Record::Brief(from, brief))
    }

    fn read(&mut self, kind: u8) -> Result<Record, Error> {
        Ok(match kind {
            kind::BOOT => Record::Boot(Box::new(self.value(kind)?)),
            kind::CHECKPOINT => Record::Checkpoint(Box::new(self.value(kind)?)),
            kind::TURN => Record::Turn(self.step(kind, |before| &mut before.turn)?),
            kind::INPUT => Record::Input(Box::new(self.value(kind)?)),
            kind::DONE => {
                let ticket = self.step(kind, |before| &mut before.ticket)?;
                let ticket = u32::try_from(ticket).map_err(|_| Error::Short(kind))?;
                Record::Input(Box::new(Input::Done(protocol::Ticket(ticket))))
            }
            kind::PROPOSAL | kind::COMMIT | kind::ACK => self.brief(kind)?,
            kind::WRITE => Record::Write {
                client: ClientId(self.step(kind, |before| &mut before.client)?),
                xid: self.value(kind)?,
            },
            kind::TOLD => Record::Told(self.value(kind)?),
            kind::STATE => {
                let last = Zxid(self.step(kind, |before| &mut before.state)?);
                Record::State { last, digest: self.value(kind)? }
            }
            kind::OTHER => match self.value(kind)? {
                Other::Link(link) => Record::Link(link),
                Other::Adorn { replaced, text, time } => Record::Adorn { replaced, text, time },
                Other::Replaced(mark) => Record::Replaced(mark),
            },
            kind::END => Record::End,
            unknown => return Err(Error::Kind(unknown)),
        })
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, rest) = self.rest.split_first()?;
        self.rest = rest;
        let record = self.read(*kind);
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }
}
