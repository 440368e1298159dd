//! One transition.

use std::fmt;

use serde::{Deserialize, Serialize};
use spec::ServerId;
use world::Step;

/// One transition; servers by id.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// What happens to servers and to their links; nothing that an oracle decides.
    World(Step),
    /// An election message arrives.
    Deliver {
        /// Its sender.
        from: ServerId,
        /// Its receiver.
        to: ServerId,
    },
    /// A server learns that an election link was reset.
    Hear {
        /// Who learns of it.
        at: ServerId,
        /// The other end.
        of: ServerId,
    },
    /// An election link is reset.
    Reset {
        /// Who will learn of it.
        at: ServerId,
        /// The other end.
        of: ServerId,
    },
    /// The client connects to a server, which reads what it offers.
    Join {
        /// The server.
        server: ServerId,
    },
    /// The same, and it goes without writing while there is no leader.
    Visit {
        /// The server.
        server: ServerId,
    },
    /// The client asks for its next write, and its server reads that.
    Ask,
    /// The client asks for a read, and its server reads that.
    Look,
    /// The client's connection ends, and its server notices.
    Leave,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World(step) => step.fmt(f),
            Self::Deliver { from, to } => write!(f, "the notification of {from} arrives at {to}"),
            Self::Hear { at, of } => {
                write!(f, "server {at} learns that its election link with {of} is reset")
            }
            Self::Reset { at, of } => write!(f, "the election link of {of} to {at} is reset"),
            Self::Join { server } => write!(f, "the client connects to server {server}"),
            Self::Visit { server } => {
                write!(f, "the client connects to server {server}, and goes without writing if need be")
            }
            Self::Look => f.write_str("the client asks for a read"),
            Self::Ask => f.write_str("the client asks for a write"),
            Self::Leave => f.write_str("the client's connection ends"),
        }
    }
}
