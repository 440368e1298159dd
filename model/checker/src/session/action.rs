//! One transition.

use std::fmt;

use serde::{Deserialize, Serialize};
use spec::ServerId;
use world::Side;

use super::{client::Which, script::Deed};

/// One transition; servers by id, clients by number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// What the clients are going to do.
    Assign {
        /// The first one.
        first: Deed,
        /// The second one.
        second: Deed,
    },
    /// A client sends its next request, and its server reads it.
    Send {
        /// Which.
        client: u8,
    },
    /// A server reads what is next on a client's connection.
    Take {
        /// The client.
        client: u8,
        /// Which of its connections.
        which: Which,
    },
    /// A server notices that a client has left its connection, of which it has read everything.
    Part {
        /// The client.
        client: u8,
    },
    /// A client that has no connection connects to a server.
    Connect {
        /// The client.
        client: u8,
        /// The server.
        server: ServerId,
    },
    /// A client leaves its connection as it is, with some requests that its server has yet to read, and connects to
    /// another server.
    Move {
        /// The client.
        client: u8,
        /// The server.
        server: ServerId,
        /// How many requests it leaves behind.
        behind: u8,
    },
    /// The prompt follower reads all that its leader has sent, and the leader all that it answers.
    Agree {
        /// The leader.
        leader: ServerId,
    },
    /// One end of a connection between servers reads the next frame; a follower with the proposals before it.
    Read {
        /// Of the connection.
        learner: ServerId,
        /// Of the connection.
        leader: ServerId,
        /// Which end.
        at: Side,
    },
    /// A leader PINGs its followers.
    Ping {
        /// The leader.
        leader: ServerId,
    },
    /// A tick of a leader's clock passes.
    Tick {
        /// The leader.
        leader: ServerId,
    },
    /// A leader looks for containers to delete, and proposes the first.
    Sweep {
        /// The leader.
        leader: ServerId,
    },
    /// A leader proposes the next of them.
    SweepNext {
        /// The leader.
        leader: ServerId,
    },
    /// The others lose the leader and elect one of themselves.
    Depose {
        /// The leader.
        leader: ServerId,
        /// Whether its process ends and a new one starts, and joins them; otherwise it does not know.
        crash: bool,
        /// Whether the prompt follower has read what the leader sent, and the leader nothing of the answer.
        prompt_logs: bool,
        /// Whether another follower has read the proposals that are next.
        other_logs: bool,
        /// Whether the observer does not lose it, and stays with it.
        #[serde(default)]
        stays: bool,
    },
    /// A deposed leader notices that it is cut off, looks for the leader that there is, and is brought up to date, and
    /// so is whoever has stayed with it.
    Notice {
        /// The server.
        server: ServerId,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |which: &Which| match which {
            Which::Home => "connection",
            Which::Left => "connection that was left",
        };
        match self {
            Self::Assign { first, second } => write!(f, "client 1 will {first:?}, client 2 will {second:?}"),
            Self::Send { client } => write!(f, "client {client} sends its next request"),
            Self::Take { client, which } => {
                write!(f, "the server reads from client {client}'s {}", of(which))
            }
            Self::Part { client } => write!(f, "the server notices that client {client} has left"),
            Self::Connect { client, server } => write!(f, "client {client} connects to server {server}"),
            Self::Move { client, server, behind } => {
                write!(f, "client {client} moves to server {server}, with {behind} requests on their way")
            }
            Self::Agree { leader } => write!(f, "the prompt follower answers leader {leader}"),
            Self::Read { learner, leader, at } => {
                let (reader, sender) = match at {
                    Side::Learner => (learner, leader),
                    Side::Leader => (leader, learner),
                };
                write!(f, "server {reader} reads from server {sender}")
            }
            Self::Ping { leader } => write!(f, "leader {leader} PINGs"),
            Self::Tick { leader } => write!(f, "a tick of leader {leader} passes"),
            Self::Sweep { leader } => write!(f, "leader {leader} looks for containers to delete"),
            Self::SweepNext { leader } => write!(f, "leader {leader} deletes the next container"),
            Self::Depose { leader, crash, prompt_logs, other_logs, stays } => {
                let first = match (prompt_logs, other_logs) {
                    (false, false) => "",
                    (true, false) => "the prompt follower logs, and ",
                    (false, true) => "the other follower logs, and ",
                    (true, true) => "both followers log, and ",
                };
                let how = if *crash { "crashes" } else { "is deposed, and does not know" };
                let whom = if *stays { ", nor does the observer" } else { "" };
                write!(f, "{first}leader {leader} {how}{whom}")
            }
            Self::Notice { server } => {
                write!(f, "server {server} notices that it is cut off, and joins again")
            }
        }
    }
}
