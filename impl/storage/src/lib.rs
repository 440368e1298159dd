//! ZooKeeper's data folder: transaction log, snapshots, epoch files, and what survives of them.
//!
//! A [`Store`] is the locked folders of one server. [`Store::recover`] reads them and writes nothing; it yields the
//! state and what the actors are told. [`Store::log`] opens the log, whose owner first carries out what recovery left
//! to do ([`Log::sync_recovered`]) and then appends batches. Snapshots, epochs, reading for learners and purging go
//! through the store, on any thread, while the log is written.
//!
//! Everything works on a [`Disk`], so that a power cut can be played ([`disk::Cuttable`]). The bytes are `wire`'s, the
//! decisions of recovery are [`protocol::recovery`]'s; here is what is called how, written when and synced before
//! what. Rules: `spec/durability.md`.

pub mod disk;
mod error;
mod layout;
mod load;
mod log;
mod mark;
mod pack;
mod purge;
mod reader;
mod recover;
mod segment;
pub mod snapshot;
mod spare;
mod store;
mod text;
mod unpack;

pub use disk::{Cuttable, Dice, Disk, File, MemoryDisk, RealDisk};
pub use error::Error;
pub use layout::{Layout, Packing};
pub use log::{Batch, Log};
pub use purge::Purged;
pub use reader::LogRange;
pub use recover::Recovery;
pub use snapshot::{SnapshotFile, Snapshots};
pub use spare::{FilledSpare, Spare};
pub use store::{Config, Store};
pub use text::Epochs;
