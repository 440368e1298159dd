//! Recordings of a live server: what its actor was told, from a known start, so that it can be told again.
//!
//! A server writes a ring of files of bounded size ([`ring`]). Each holds [`Record`]s: the start or a checkpoint of the
//! actor, every input that changes its state, and now and then a digest of the effects ([`Told`]) and of the state, so
//! that who executes the recording again sees whether he gets what the server got. The bytes are described in
//! `spec/recordings.md`.

mod codec;
mod encode;
mod record;
pub mod ring;
mod told;

pub use codec::DATA_MAX;
pub use encode::{Encoder, Writes};
pub use record::{Boot, Brief, Checkpoint, LinkMark, Record, Records, TreeMark, sessions_digest};
pub use told::Told;

/// Why a recording does not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A record does not read.
    #[error("a record of kind {kind} does not read: {source}")]
    Record {
        /// Its first byte.
        kind: u8,
        /// Why not.
        source: postcard::Error,
    },
    /// A record of a kind that is not known.
    #[error("a record of kind {0}, and 0 to 15 are known")]
    Kind(u8),
    /// A record ends before it should.
    #[error("a record of kind {0} ends early")]
    Short(u8),
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
