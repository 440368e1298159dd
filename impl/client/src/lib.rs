//! A client of ZooKeeper's protocol: one session, kept over the servers of a connect string.
//!
//! Whoever asks waits for the answer; one thread reads the connection, sends pings, and goes on at another server when
//! a connection ends. It shows the session's password there, then the credentials that were given before, then the
//! watches that were left, so that nothing that fired meanwhile is missed. Events and changes of the connection go to
//! one function that the owner gives.
//!
//! It is made for a person's or a script's pace: a request at a time, no callbacks.

mod address;
mod client;
mod failure;
mod keep;
mod operations;
mod patience;
mod proof;
mod scout;
mod shared;
mod state;
mod stream;
mod watches;

pub use address::{AddressError, Servers};
pub use client::Client;
pub use failure::{Failure, code_words};
pub use operations::{Change, Created, Node};
pub use shared::Options;
pub use state::{Connection, EventType, Notice};
