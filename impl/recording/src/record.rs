//! The records, and reading them.

use protocol::{
    Recovered, Ticket,
    peer::{self, ClientRequest, Input, Op, Packet, Peer, Request},
};
use serde::{Deserialize, Serialize};
use spec::{ClientId, Machine, ServerId, SessionId, Zxid};
use tree::{Identity, Settings, Tree, Txn};

use crate::{
    Error, Told,
    codec::{LEFT_OUT_MAX, Reader, unzigzag},
};

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
    pub config: peer::Config<Settings>,
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
    pub config: peer::Config<Settings>,
    /// The actor.
    pub peer: Peer<Tree>,
    /// The state.
    pub tree: TreeMark,
    /// Of all that was told and asked for so far.
    pub told: Told,
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
    /// INFORM.
    Inform(Zxid),
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
    /// The actor is told this. In a write, zeros stand for data that is longer than [`DATA_MAX`](crate::DATA_MAX).
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
    pub(crate) const INFORM: u8 = 13;
    pub(crate) const REQUEST: u8 = 14;
    pub(crate) const ASKED: u8 = 15;
}

/// So many records stand in one at most.
pub(crate) const RUN_MAX: u64 = 1 << 16;

/// What is rare.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Other {
    Link(LinkMark),
    Adorn { replaced: bool, text: Vec<u8>, time: i64 },
    Replaced(TreeMark),
}

/// What numbers are told as differences to, anew in every chunk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Before {
    /// Of each kind of record that stands for a run of them.
    pub(crate) runs: [u64; 16],
    pub(crate) client: u64,
    pub(crate) session: u64,
    pub(crate) xid: u64,
    pub(crate) time: u64,
    pub(crate) turn: u64,
    pub(crate) state: u64,
    pub(crate) identities: Vec<Identity>,
}

/// The records of a chunk, in order.
#[derive(Debug)]
pub struct Records<'a> {
    reader: Reader<'a>,
    before: Before,
    /// A record that stands for several: whose, the next number, and how many are left.
    run: (u64, u64, u64),
}

impl<'a> Records<'a> {
    /// Those of this chunk.
    pub fn new(chunk: &'a [u8]) -> Self {
        Self {
            reader: Reader { rest: chunk, kind: 0, left_out: LEFT_OUT_MAX },
            before: Before::default(),
            run: (0, 0, 0),
        }
    }

    fn step(&mut self, place: impl Fn(&mut Before) -> &mut u64) -> Result<u64, Error> {
        let difference = unzigzag(self.reader.number()?);
        let before = place(&mut self.before);
        *before = before.wrapping_add_signed(difference);
        Ok(*before)
    }

    fn value<T: Deserialize<'a>>(&mut self) -> Result<T, Error> {
        let (value, rest) = postcard::take_from_bytes(self.reader.rest)
            .map_err(|source| Error::Record { kind: self.reader.kind, source })?;
        self.reader.rest = rest;
        Ok(value)
    }

    /// The first of a run; the others follow from it.
    fn run(&mut self) -> Result<Record, Error> {
        let kind = self.reader.kind;
        let whose = match kind {
            kind::DONE => 0,
            kind::WRITE => self.step(|before| &mut before.client)?,
            _ => self.reader.number()?,
        };
        let first = self.step(|before| &mut before.runs[usize::from(kind)])?;
        let more = self.reader.number()?;
        if more >= RUN_MAX {
            return Err(Error::Short(kind));
        }
        self.before.runs[usize::from(kind)] = first.wrapping_add(more);
        self.run = (whose, first.wrapping_add(1), more);
        self.of_run(whose, first)
    }

    fn of_run(&self, whose: u64, number: u64) -> Result<Record, Error> {
        let kind = self.reader.kind;
        let brief = match kind {
            kind::DONE => {
                let ticket = u32::try_from(number).map_err(|_| Error::Short(kind))?;
                return Ok(Record::Input(Box::new(Input::Done(Ticket(ticket)))));
            }
            kind::WRITE => return Ok(Record::Write { client: ClientId(whose), xid: xid(number) }),
            kind::PROPOSAL => Brief::Proposal(Zxid(number)),
            kind::COMMIT => Brief::Commit(Zxid(number)),
            kind::INFORM => Brief::Inform(Zxid(number)),
            _ => Brief::Ack(Zxid(number)),
        };
        Ok(Record::Brief(ServerId(whose), brief))
    }

    fn request(&mut self) -> Result<Input<Tree>, Error> {
        let from = ServerId(self.reader.number()?);
        let session = SessionId(self.step(|before| &mut before.session)?.cast_signed());
        let xid = xid(self.step(|before| &mut before.xid)?);
        let time = self.step(|before| &mut before.time)?.cast_signed();
        if self.reader.byte()? == 1 {
            self.before.identities = self.reader.identities()?;
        }
        let identities = self.before.identities.clone();
        let op = Op::Write(self.reader.write()?);
        let packet = Packet::Request(Request { session, xid, identities, op });
        Ok(Input::Packet { from, packet, time })
    }

    fn asked(&mut self) -> Result<Input<Tree>, Error> {
        let client = ClientId(self.step(|before| &mut before.client)?);
        let xid = xid(self.step(|before| &mut before.xid)?);
        let time = self.step(|before| &mut before.time)?.cast_signed();
        let request = ClientRequest::Write(self.reader.write()?);
        Ok(Input::ClientRequest { client, xid, request, time })
    }

    fn read(&mut self) -> Result<Record, Error> {
        Ok(match self.reader.kind {
            kind::BOOT => Record::Boot(Box::new(self.value()?)),
            kind::CHECKPOINT => Record::Checkpoint(Box::new(self.value()?)),
            kind::TURN => Record::Turn(self.step(|before| &mut before.turn)?),
            kind::INPUT => Record::Input(Box::new(self.value()?)),
            kind::DONE | kind::PROPOSAL | kind::COMMIT | kind::ACK | kind::INFORM | kind::WRITE => {
                self.run()?
            }
            kind::REQUEST => Record::Input(Box::new(self.request()?)),
            kind::ASKED => Record::Input(Box::new(self.asked()?)),
            kind::TOLD => Record::Told(u32::from_le_bytes(
                self.reader.bytes(4)?.try_into().map_err(|_| Error::Short(kind::TOLD))?,
            )),
            kind::STATE => {
                let last = Zxid(self.step(|before| &mut before.state)?);
                Record::State { last, digest: unzigzag(self.reader.number()?) }
            }
            kind::OTHER => match self.value()? {
                Other::Link(link) => Record::Link(link),
                Other::Adorn { replaced, text, time } => Record::Adorn { replaced, text, time },
                Other::Replaced(mark) => Record::Replaced(mark),
            },
            kind::END => Record::End,
            unknown => return Err(Error::Kind(unknown)),
        })
    }
}

/// The client's number of a request, from its column.
fn xid(number: u64) -> i32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = if let (whose, number, left @ 1..) = self.run {
            self.run = (whose, number.wrapping_add(1), left - 1);
            self.of_run(whose, number)
        } else {
            self.reader.kind = self.reader.byte().ok()?;
            self.reader.left_out = LEFT_OUT_MAX;
            self.read()
        };
        if record.is_err() {
            (self.reader.rest, self.run.2) = (&[], 0);
        }
        Some(record)
    }
}
