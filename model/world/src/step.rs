//! What can happen to servers and the connections between them.

use std::fmt;

use protocol::{Ticket, Timer};
use serde::{Deserialize, Serialize};
use spec::ServerId;

use crate::{Keep, Side, renamed_timer};

/// One thing that happens. A connection is named by its learner and its leader.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A server is told of a leader, perhaps itself.
    Decide {
        /// Who is told.
        server: ServerId,
        /// The leader.
        leader: ServerId,
    },
    /// A leader is elected and discovery runs to its end, in one transition.
    Elect {
        /// The leader.
        leader: ServerId,
        /// Who follows.
        followers: Vec<ServerId>,
    },
    /// A server joins a leader that is past discovery, and discovery runs to its end for it.
    Join {
        /// Who joins.
        learner: ServerId,
        /// The leader.
        leader: ServerId,
    },
    /// A dial gets through.
    Connect {
        /// Who dialled.
        learner: ServerId,
        /// Whom.
        leader: ServerId,
    },
    /// A server is told to follow a leader that takes up its dial at once.
    Reach {
        /// Who is told.
        learner: ServerId,
        /// The leader.
        leader: ServerId,
    },
    /// One end of a connection reads the next frame.
    Read {
        /// Of the connection.
        learner: ServerId,
        /// Of the connection.
        leader: ServerId,
        /// Which end.
        at: Side,
    },
    /// One end of a cut connection notices.
    Notice {
        /// Of the connection.
        learner: ServerId,
        /// Of the connection.
        leader: ServerId,
        /// Which end.
        at: Side,
    },
    /// A connection breaks.
    Break {
        /// Of the connection.
        learner: ServerId,
        /// Of the connection.
        leader: ServerId,
    },
    /// A timer fires.
    Timeout {
        /// Whose.
        server: ServerId,
        /// Which.
        timer: Timer,
    },
    /// A disk operation ends.
    Finish {
        /// Whose.
        server: ServerId,
        /// Which.
        ticket: Ticket,
    },
    /// A client's write reaches a leader that serves.
    Propose {
        /// The leader.
        server: ServerId,
    },
    /// A process ends, and a new one starts.
    Crash {
        /// Whose.
        server: ServerId,
        /// What is left of what was not synced.
        keep: Keep,
    },
}

impl Step {
    /// Whom it names.
    pub fn servers(&self) -> Vec<ServerId> {
        match self {
            Self::Decide { server: one, leader: other }
            | Self::Join { learner: one, leader: other }
            | Self::Connect { learner: one, leader: other }
            | Self::Reach { learner: one, leader: other }
            | Self::Read { learner: one, leader: other, at: _ }
            | Self::Notice { learner: one, leader: other, at: _ }
            | Self::Break { learner: one, leader: other } => vec![*one, *other],
            Self::Elect { leader, followers } => followers.iter().chain([leader]).copied().collect(),
            Self::Timeout { server, .. }
            | Self::Finish { server, .. }
            | Self::Propose { server }
            | Self::Crash { server, .. } => vec![*server],
        }
    }

    /// From whom to whom a message is read, if one is.
    pub fn message(&self) -> Option<(ServerId, ServerId)> {
        match *self {
            Self::Read { learner, leader, at: Side::Leader } => Some((learner, leader)),
            Self::Read { learner, leader, at: Side::Learner } => Some((leader, learner)),
            Self::Decide { .. }
            | Self::Elect { .. }
            | Self::Join { .. }
            | Self::Reach { .. }
            | Self::Connect { .. }
            | Self::Notice { .. }
            | Self::Break { .. }
            | Self::Timeout { .. }
            | Self::Finish { .. }
            | Self::Propose { .. }
            | Self::Crash { .. } => None,
        }
    }

    /// The same under other names. Who follows in an election stays in the order of names.
    #[must_use]
    pub fn renamed(&self, name: impl Fn(ServerId) -> ServerId) -> Self {
        let mut action = self.clone();
        match &mut action {
            Self::Decide { server: one, leader: other }
            | Self::Join { learner: one, leader: other }
            | Self::Connect { learner: one, leader: other }
            | Self::Reach { learner: one, leader: other }
            | Self::Read { learner: one, leader: other, at: _ }
            | Self::Notice { learner: one, leader: other, at: _ }
            | Self::Break { learner: one, leader: other } => (*one, *other) = (name(*one), name(*other)),
            Self::Elect { leader, followers } => {
                *leader = name(*leader);
                for id in followers.iter_mut() {
                    *id = name(*id);
                }
                followers.sort_unstable();
            }
            Self::Timeout { server, timer } => {
                *server = name(*server);
                *timer = renamed_timer(*timer, &name);
            }
            Self::Finish { server, ticket: _ }
            | Self::Propose { server }
            | Self::Crash { server, keep: _ } => {
                *server = name(*server);
            }
        }
        action
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |at: &Side, learner: &ServerId, leader: &ServerId| match at {
            Side::Learner => (*learner, *leader),
            Side::Leader => (*leader, *learner),
        };
        match self {
            Self::Decide { server, leader } if server == leader => {
                write!(f, "server {server} decides to lead")
            }
            Self::Decide { server, leader } => write!(f, "server {server} decides to follow {leader}"),
            Self::Elect { leader, followers } => {
                let names: Vec<_> = followers.iter().map(ServerId::to_string).collect();
                write!(f, "server {leader} is elected by {}", names.join(" and "))
            }
            Self::Join { learner, leader } => write!(f, "server {learner} joins leader {leader}"),
            Self::Reach { learner, leader } => {
                write!(f, "server {learner} decides to follow {leader}, and reaches it")
            }
            Self::Connect { learner, leader } => write!(f, "the dial of {learner} to {leader} gets through"),
            Self::Read { learner, leader, at } => {
                let (reader, sender) = end(at, learner, leader);
                write!(f, "server {reader} reads from {sender}")
            }
            Self::Notice { learner, leader, at } => {
                let (who, other) = end(at, learner, leader);
                write!(f, "server {who} notices that its link with {other} is cut")
            }
            Self::Break { learner, leader } => write!(f, "the link of {learner} to {leader} breaks"),
            Self::Timeout { server, timer } => {
                write!(f, "server {server}: timer {timer:?} fires")
            }
            Self::Finish { server, ticket } => {
                write!(f, "server {server}: disk operation {} ends", ticket.0)
            }
            Self::Propose { server } => write!(f, "a client writes to {server}"),
            Self::Crash { server, keep } if *keep == Keep::default() => {
                write!(f, "server {server} crashes and restarts")
            }
            Self::Crash { server, keep } => {
                write!(f, "server {server} crashes, keeping {keep}, and restarts")
            }
        }
    }
}
