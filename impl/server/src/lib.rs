//! The server: sockets, files and timers around the actors that the checker checks.
//!
//! One thread owns the peer, the state and every connection. Tasks read sockets and step the peer directly; effects
//! fill buffers; at the end of a turn the log's batch goes to its thread and every buffer out. Threads beside the loop
//! own the disk. Start at [`run`](run::run).
mod admin;
pub mod audit;
mod batching;
mod client;
pub mod config;
mod core;
mod effect;
pub mod ensemble;
mod excerpt;
mod knocking;
mod linger;
mod link;
pub mod logging;
mod measure;
mod mesh;
mod metrics;
mod namespaces;
mod net;
mod out;
mod pipeline;
mod recorder;
pub mod run;
pub mod sasl;
mod secure;
mod seldom;
mod serve;
mod snapshots;
pub mod stand;
mod stats;
mod store;
mod stream;
mod throttle;
mod timer;
mod view;
mod words;

pub use config::Config;
pub use run::{ExitCode, StartError, run};
