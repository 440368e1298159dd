//! The server: sockets, files and timers around the actors that the checker checks.
pub mod config;
pub mod ensemble;
pub mod logging;
mod timer;

pub use config::Config;
mod stats;
mod words;
