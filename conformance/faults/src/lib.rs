//! Faults of whole processes and machines, and the judge of what clients were promised under them.
//!
//! The judge speaks ZooKeeper's client protocol with a codec of its own and believes nobody: it keeps an account of
//! each acknowledgement and holds every server against it. Apache ZooKeeper's own servers pass the same rounds, which
//! shows that the judge asks for nothing that ZooKeeper does not promise.

pub mod client;
pub mod conductor;
pub mod content;
pub mod ensemble;
pub mod hardships;
pub mod jute;
pub mod kills;
pub mod ledger;
pub mod migration;
pub mod museum;
pub mod power_cuts;
pub mod recordings;
pub mod scripts;
pub mod session;
pub mod strace;
pub mod watching;
pub mod worker;
