//! The simulator's ensembles as bytes: what travels between servers and to clients goes through the codec that ships,
//! cut into pieces anywhere, and disks are the files of the storage that ships, over a file system whose power can be
//! cut.
//!
//! Plans, faults, time, clients, rules and healing are the simulator's, and the servers' actors are those that ship: a
//! run differs from the simulator's own in its [form](simulator::Form) alone. [`Encoded`] is that form. What is not in
//! it is the shell of a server: its sockets and threads. What one of its threads does with an order, one operation of
//! [`Files`] does at once, at a moment between the order and its report, or in part when the power goes first.

mod clients;
mod encoded;
mod files;
mod links;
pub mod mutants;
mod orders;

pub use encoded::{Encoded, Honest, Lying, Syncs};
pub use files::Files;
