//! The actors: everything that decides in a server, as values with one door for change.
//!
//! An actor takes an [input](io) and calls [effects](io) on a sink; it does no I/O, reads no clock and draws no
//! random number. The checker drives these very values through every interleaving, and the server drives them with
//! sockets, files and timers.
#![no_std]

extern crate alloc;

pub mod election;
pub mod io;
pub mod peer;
pub mod quorum;
pub mod recovery;
pub mod session;
pub mod zab;

pub use election::Election;
pub use io::{
    Exit, Message, Note, Notification, Recovered, Role, ServerState, Ticket, Timer, Violation, Vote,
};
pub use peer::Peer;
pub use quorum::Quorum;
