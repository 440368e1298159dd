//! Bytes that nobody meant, given to everything that reads bytes: what clients and servers send, what files hold.
//!
//! Each [`Target`] is a function of bytes that must end soon, in little memory, and without a panic; where there is a
//! property it holds that too: what reads is written and reads again as the same, a file that opens holds the same
//! records at a second look. Two engines drive the same targets from the same seeds: changes by chance and no more
//! ([`worker`]), which needs nothing and is what the gate runs, and libFuzzer, which is guided by coverage.

pub mod mutate;
pub mod run;
pub mod seeds;
pub mod targets;
pub mod worker;

pub use targets::{TARGETS, Target};
