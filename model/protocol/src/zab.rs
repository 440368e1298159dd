//! Zab: one order of transactions over servers that crash and links that break.
mod surface;

pub use surface::{Config, Effects, Input};
