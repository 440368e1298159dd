//! The bench: a load generator, and the runs that pair us with Apache ZooKeeper.
//!
//! Both ensembles stand on this machine, three servers each, beside the generator; runs alternate between them, and
//! what counts is the ratio of the medians. An answer that is wrong ends the bench: speed without answers is none.

#![expect(clippy::float_arithmetic, reason = "figures and their ratios")]

pub mod bench;
pub mod connection;
pub mod costs;
pub mod ensemble;
pub mod fan_out;
pub mod figures;
pub mod frame;
pub mod gap;
pub mod load;
pub mod prepare;
pub mod report;
pub mod rows;
pub mod sessions;
pub mod soak;
pub mod usage;
pub mod value;
pub mod workload;
