//! Whole servers over loopback, each alone or in an ensemble.
//!
//! One binary: to link the server into one for each subject takes minutes.

mod alone;
mod audit;
mod cli;
mod ensemble;
mod folder;
mod observers;
mod ports;
mod read_only;
mod surface;
mod throttles;
mod tls;
mod whole;
