//! The whole surface of the Zab actor: what it is told, and what it asks for.

use serde::{Deserialize, Serialize};
use spec::{Epoch, ServerId, Zxid};

use crate::{Exit, Message, Note, Quorum, Recovered, Role, Ticket, Timer, Vote};

/// What shapes one server's Zab actor, and never changes while it runs.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Config {
    /// This server.
    pub me: ServerId,
    /// Who votes; every other server is an observer, this one too if it is not among them.
    pub quorum: Quorum,
    /// How many applied transactions are kept in memory to bring learners up to date (`commitLogCount`).
    pub window: usize,
    /// Whether learners behind the window may be served from the log on disk.
    pub log_sync: bool,
    /// The last counter that a leader uses in an epoch.
    pub counter_max: u32,
}

impl Config {
    /// Whether this server has no vote: it learns what is decided, and nobody counts on it (rule Z-19).
    pub fn is_observer(&self) -> bool {
        !self.quorum.is_voter(self.me)
    }
}

/// What the Zab actor is told.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Input<T> {
    /// The election chose this leader, perhaps this server itself.
    Elected(ServerId),
    /// The link that this server dialled is up.
    Connected(ServerId),
    /// A learner's link to this server is up. It takes the place of an older one with the same learner.
    Accepted(ServerId),
    /// The link with this server is gone, refused or broken; never told of a link that the actor closed.
    Disconnected(ServerId),
    /// A packet of the link that is up.
    Message {
        /// The other end.
        from: ServerId,
        /// What it said.
        message: Message<T>,
    },
    /// The leader's SNAP stream has arrived whole and the state now holds it, up to this transaction.
    Snapshot {
        /// The leader.
        from: ServerId,
        /// The last transaction in the snapshot.
        zxid: Zxid,
    },
    /// A timer that was set has fired.
    Timer(Timer),
    /// This disk operation is durable.
    Done(Ticket),
    /// The answer to [`Effects::locate`].
    Located {
        /// Which question.
        ticket: Ticket,
        /// The last transaction at or before the one asked for, if the log on disk reaches back that far and
        /// reading it is worth the while.
        at: Option<Zxid>,
    },
    /// The state has been loaded anew from disk, and this is what was read. Everything in it is durable.
    Reloaded(Recovered<T>),
    /// The leader's own next transaction; only while it serves.
    Propose(T),
}

/// What the Zab actor asks for. Each call is carried out in order; none answers.
///
/// Disk operations end with [`Input::Done`] once they are durable, in any order across files; the operations on the
/// log (append, truncate, sync) end in the order of their calls.
pub trait Effects<T> {
    /// Puts a packet on the link with this server.
    fn send(&mut self, to: ServerId, message: &Message<T>);
    /// Sends the state as it is now, whole, behind what is on the link already: the last transaction in it is `last`.
    fn stream_snapshot(&mut self, to: ServerId, last: Zxid);
    /// Sends the transactions of the log on disk in `(after, through]`, each as PROPOSAL and COMMIT, behind what is
    /// on the link already.
    fn stream_log(&mut self, to: ServerId, after: Zxid, through: Zxid);
    /// Dials this server until [`Input::Connected`], or until [`Effects::disconnect`].
    fn connect(&mut self, to: ServerId);
    /// Closes the link with this server, or ends dialling it. Nothing more is heard of that link.
    fn disconnect(&mut self, peer: ServerId);
    /// Turns away a learner's link that has just come up; a link that this server dialled to the same server stays.
    fn refuse(&mut self, from: ServerId);
    /// Logs a transaction.
    fn append(&mut self, ticket: Ticket, zxid: Zxid, txn: &T);
    /// Cuts the log behind this transaction and drops every snapshot of something later.
    fn truncate(&mut self, ticket: Ticket, last: Zxid);
    /// Makes durable all that recovery read: the log, the snapshot below it and the epoch files.
    fn sync_log(&mut self, ticket: Ticket);
    /// Stores the epoch promised, atomically.
    fn save_accepted(&mut self, ticket: Ticket, epoch: Epoch);
    /// Stores the epoch joined, atomically.
    fn save_current(&mut self, ticket: Ticket, epoch: Epoch);
    /// Stores the state that was received, labelled with its last transaction, in place of everything on disk: older
    /// or not, nothing of the log behind the label and no other snapshot counts any more. A crash leaves either the
    /// old state whole or the new one.
    fn save_snapshot(&mut self, ticket: Ticket, label: Zxid);
    /// Looks in the log on disk for the last transaction at or before this one; answered by [`Input::Located`].
    fn locate(&mut self, ticket: Ticket, zxid: Zxid);
    /// Loads the state anew from disk; answered by [`Input::Reloaded`].
    fn reload(&mut self);
    /// Applies a transaction that is committed.
    fn deliver(&mut self, zxid: Zxid, txn: &T);
    /// Applies a transaction that is logged, and perhaps not committed: the state becomes what boot would give.
    fn replay(&mut self, zxid: Zxid, txn: &T);
    /// Starts (anew) a timer.
    fn set_timer(&mut self, timer: Timer);
    /// Stops a timer, if it runs.
    fn cancel_timer(&mut self, timer: Timer);
    /// Asks for an election, with what this server has to offer. All is durable, all links are closed.
    fn look(&mut self, vote: Vote);
    /// The epoch is established and the state is up to date: serve clients.
    fn serve(&mut self, role: Role, epoch: Epoch);
    /// Serve no longer: the role is lost.
    fn retire(&mut self);
    /// Tells something that changes nothing.
    fn note(&mut self, note: Note);
    /// The server must end.
    fn exit(&mut self, why: Exit);
}
