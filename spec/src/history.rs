//! What the rules see of a run: each server as it stands, and the little that no server can tell any more.
//!
//! A rule never sees an actor. The world of the checker, the simulator and the judge of recordings each fill in
//! these views, so that one predicate serves all three.

use alloc::{collections::BTreeSet, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{Epoch, ServerId, Zxid};

/// A transaction as rules know it: its place, and a digest of its content. Equal entries are equal transactions.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the order.
    pub zxid: Zxid,
    /// What it says.
    pub digest: u64,
}

/// How far a reign has come, as one server sees it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Phase {
    /// A leader until its own current epoch is durable; a follower until its log is cut, or its state is replaced, as
    /// its leader has told it.
    Discovery,
    /// From there until the leader has its NEWLEADER quorum; at a follower until UPTODATE.
    Synchronisation,
    /// From there to the end.
    Broadcast,
}

/// What a server is doing.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Part {
    /// Crashed, or still recovering.
    Down,
    /// Without a leader.
    Looking,
    /// Leads.
    Leading(Phase),
    /// Follows this server, or learns from it without a vote.
    Following(ServerId, Phase),
}

/// An epoch in both of its places.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Stored {
    /// What the process works with; what is on disk while it is down.
    pub memory: Epoch,
    /// What a crash now would leave.
    pub durable: Epoch,
}

/// One server, up or down. Sequences start at the first transaction of all and include what a snapshot covers.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct ServerView {
    /// Which.
    pub id: ServerId,
    /// Whether it has a vote; without one it is an observer.
    pub votes: bool,
    /// What it is doing.
    pub part: Part,
    /// Whether it answers clients.
    pub serving: bool,
    /// The last epoch promised.
    pub accepted: Stored,
    /// The last epoch joined.
    pub current: Stored,
    /// The epoch whose NEWLEADER it has answered in its present role; for a leader the one that it has announced by
    /// NEWLEADER.
    pub joined: Option<Epoch>,
    /// Everything that it has handed to its log, durable or not. While it is down the same as `durable`.
    pub logged: Vec<Entry>,
    /// *H*: what recovery would find if it crashed now and kept nothing but what is synced.
    pub durable: Vec<Entry>,
    /// *D*: what it holds for decided since its process started, from the first transaction on. What recovery read
    /// counts only once a leader has told that it is committed. Empty while it is down.
    pub delivered: Vec<Entry>,
    /// The transactions in memory that it brings learners up to date with.
    pub window: Vec<Entry>,
    /// The last transaction in its state.
    pub processed: Zxid,
    /// The digest of its state.
    pub state: u64,
    /// The digest of a fresh state after `logged` through `processed`.
    pub replayed: u64,
    /// Whether recovery accepts its disk as it is now.
    pub recovers: bool,
}

/// A reign that a quorum has joined.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Reign {
    /// Its number.
    pub epoch: Epoch,
    /// Its leader.
    pub leader: ServerId,
    /// *I*: the history that it started from, all of which counts as committed from then on.
    pub initial: Vec<Entry>,
    /// How many transactions were committed just before.
    pub committed_before: usize,
}

/// A commit that contradicts what was committed before.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Clash {
    /// The leader that decided it.
    pub by: ServerId,
    /// Everything that this leader holds for committed.
    pub held: Vec<Entry>,
}

/// The part of a run that its servers cannot tell: it outlives them. No actor ever reads it.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Record {
    committed: Vec<Entry>,
    reigns: Vec<Reign>,
    clash: Option<Clash>,
}

impl Record {
    /// The record of a run that starts with this much committed.
    pub fn starting_with(committed: Vec<Entry>) -> Self {
        Self { committed, ..Self::default() }
    }

    /// *C*: what leaders have decided, in order.
    pub fn committed(&self) -> &[Entry] {
        &self.committed
    }

    /// The established reigns, in the order of their establishment.
    pub fn reigns(&self) -> &[Reign] {
        &self.reigns
    }

    /// The established reigns of this epoch: one at most, if I-1 holds.
    pub fn reigns_of(&self, epoch: Epoch) -> impl Iterator<Item = &Reign> {
        self.reigns.iter().filter(move |reign| reign.epoch == epoch)
    }

    /// The first commit that contradicted an earlier one.
    pub fn clash(&self) -> Option<&Clash> {
        self.clash.as_ref()
    }

    /// A leader has its NEWLEADER quorum, with this history. To be called once for each reign, before its first
    /// commit.
    pub fn establish(&mut self, epoch: Epoch, leader: ServerId, initial: &[Entry]) {
        let committed_before = self.committed.len();
        self.reigns.push(Reign { epoch, leader, initial: initial.to_vec(), committed_before });
        self.commit(leader, initial);
    }

    /// A leader holds all of this for committed, from the first transaction on. What is new is appended; a leader
    /// that was deposed may still decide something late, and then it must stand here already.
    pub fn commit(&mut self, leader: ServerId, held: &[Entry]) {
        if held.starts_with(&self.committed) {
            self.committed.extend_from_slice(&held[self.committed.len()..]);
        } else if !self.committed.starts_with(held) && self.clash.is_none() {
            self.clash = Some(Clash { by: leader, held: held.to_vec() });
        }
    }
}

/// Something that a server says and that claims durability.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Claim {
    /// LEADERINFO of this epoch.
    LeaderInfo(Epoch),
    /// ACKEPOCH, with the current epoch if it counts, and the last transaction.
    AckEpoch {
        /// The current epoch; none does not count.
        current: Option<Epoch>,
        /// The last transaction.
        last: Zxid,
    },
    /// NEWLEADER of this epoch.
    NewLeader(Epoch),
    /// ACK; with counter 0 the answer to NEWLEADER.
    Ack(Zxid),
    /// The server's own first vote of an election.
    Vote {
        /// The current epoch.
        current: Epoch,
        /// The last transaction.
        last: Zxid,
    },
}

/// What a server has found wrong with another one's packet.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Breach {
    /// A packet that the role or phase does not take.
    State,
    /// An acknowledgement of nothing, out of order, or of another epoch.
    Ack,
    /// A proposal that is not the next one.
    Proposal,
    /// A commit that is not the oldest open proposal.
    Commit,
    /// A truncation of something known to be committed.
    Truncate,
    /// A leader's epoch below the promised one. Correct servers do this: a deposed leader does not know it yet.
    OldEpoch,
}

/// A run as it stands.
pub trait History {
    /// Every server, up or down, in the order of ids.
    fn servers(&self) -> Vec<ServerView>;

    /// What outlives the servers.
    fn record(&self) -> &Record;

    /// Whether these servers decide.
    fn decides(&self, servers: &BTreeSet<ServerId>) -> bool;
}
