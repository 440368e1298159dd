//! The storage crate.
