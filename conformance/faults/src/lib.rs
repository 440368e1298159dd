//! The faults crate.
