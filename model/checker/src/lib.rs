//! The checker crate.
