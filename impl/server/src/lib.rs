//! The server: sockets, files and timers around the actors that the checker checks.
pub mod config;

pub use config::Config;
