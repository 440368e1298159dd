//! The bytes of ZooKeeper: what clients, servers and files hold, to and from our types.
//!
//! Nothing here reads or writes anything; the callers own sockets and files. Every record, field by field:
//! `spec/wire.md`.

pub mod client;
pub mod data;
pub mod error;
pub mod log;
pub mod notification;
pub mod peer;
pub mod record;
pub mod snapshot;

pub use error::{Error, complete};
pub use record::{Buffer, Decoder, Sink};
