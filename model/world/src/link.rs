//! A connection from a learner to its leader: two queues, two ends, and a break that each end notices by itself.
//!
//! A break loses a suffix of what is under way in each direction. Which suffix is decided at the last moment: a cut
//! end may read on as long as it likes, and loses the rest when it notices. Nothing put on a cut connection arrives,
//! and nothing of it can reach a later connection of the same two servers.

use std::{collections::VecDeque, fmt};

use protocol::Message;
use serde::{Deserialize, Serialize};
use spec::Zxid;

use crate::{State, Txn};

/// What travels.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Frame {
    /// A packet.
    Packet(Message<Txn>),
    /// A whole state, up to the transaction `last`.
    Snapshot {
        /// The last transaction in it.
        last: Zxid,
        /// Its content.
        state: State,
    },
}

/// One end of a connection.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum End<F = Frame> {
    /// No connection.
    #[default]
    Closed,
    /// Being dialled; only at the learner.
    Dialling,
    /// Open, as far as this end knows, with what it has yet to read.
    Open(VecDeque<F>),
}

/// The connection from one server, as learner, to another, as leader.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Link<F = Frame> {
    learner: End<F>,
    leader: End<F>,
    /// Whether what one end sends reaches the other.
    joined: bool,
}

/// Which end.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Side {
    /// The end that dialled.
    Learner,
    /// The end that was dialled.
    Leader,
}

/// What happens to a connection.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum LinkChange<F = Frame> {
    /// The learner dials.
    Dial,
    /// The dial gets through.
    Open,
    /// This end sends; on a cut connection, into the void.
    Send(Side, F),
    /// This end reads the next frame.
    Read(Side),
    /// This end closes, crashes, or notices that it is cut. What it had not read is lost.
    Close(Side),
    /// The connection breaks.
    Break,
}

impl<F> Default for Link<F> {
    fn default() -> Self {
        Self { learner: End::Closed, leader: End::Closed, joined: false }
    }
}

impl<F: Clone + fmt::Debug + PartialEq> Link<F> {
    /// This end.
    pub fn end(&self, side: Side) -> &End<F> {
        match side {
            Side::Learner => &self.learner,
            Side::Leader => &self.leader,
        }
    }

    /// What this end reads next.
    pub fn next(&self, side: Side) -> Option<&F> {
        match self.end(side) {
            End::Open(inbox) => inbox.front(),
            End::Closed | End::Dialling => None,
        }
    }

    /// Whether this end is open, as far as it knows.
    pub fn is_open(&self, side: Side) -> bool {
        matches!(self.end(side), End::Open(_))
    }

    /// Whether the learner waits for its dial to get through.
    pub fn is_dialling(&self) -> bool {
        self.learner == End::Dialling
    }

    /// Whether this end is open and cut off: it is bound to notice.
    pub fn is_cut(&self, side: Side) -> bool {
        self.is_open(side) && !self.joined
    }

    /// Whether it could break.
    pub fn is_joined(&self) -> bool {
        self.joined
    }

    /// Carries out a change; returns the frame that was read.
    ///
    /// # Panics
    /// If the change is not possible now.
    pub fn change(&mut self, change: &LinkChange<F>) -> Option<F> {
        match change {
            LinkChange::Dial => {
                assert_eq!(self.learner, End::Closed, "a server dials once at a time");
                self.learner = End::Dialling;
            }
            LinkChange::Open => {
                assert!(self.is_dialling(), "only a dial gets through");
                self.learner = End::Open(VecDeque::new());
                self.leader = End::Open(VecDeque::new());
                self.joined = true;
            }
            LinkChange::Send(from, frame) => self.send(*from, frame),
            LinkChange::Read(at) => match self.end_mut(*at) {
                End::Open(inbox) => return inbox.pop_front(),
                End::Closed | End::Dialling => unreachable!("nothing is read from a closed end"),
            },
            LinkChange::Close(at) => {
                // A dial that is given up leaves an older connection's other end alone.
                *self.end_mut(*at) = End::Closed;
                self.joined = false;
            }
            LinkChange::Break => self.joined = false,
        }
        None
    }

    fn send(&mut self, from: Side, frame: &F) {
        assert!(self.is_open(from), "a server sends on an open connection");
        let to = match from {
            Side::Learner => &mut self.leader,
            Side::Leader => &mut self.learner,
        };
        if let (true, End::Open(inbox)) = (self.joined, to) {
            inbox.push_back(frame.clone());
        }
    }

    fn end_mut(&mut self, side: Side) -> &mut End<F> {
        match side {
            Side::Learner => &mut self.learner,
            Side::Leader => &mut self.leader,
        }
    }
}
