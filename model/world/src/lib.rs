//! The world crate.
