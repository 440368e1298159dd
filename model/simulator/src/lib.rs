//! Whole ensembles in long runs of chance: the peers that ship and the real tree, over a simulated network, simulated
//! disks and clocks, with clients that judge what they are told.
//!
//! A seed draws a [`Plan`]: how the servers are set up, what goes wrong when, and what clients do. The plan is data,
//! and with the commit it is the run: [`play`] carries it out in simulated time, one event after the other, and asks
//! every rule of `spec` after each of them. When the last fault is over everything is repaired, and the ensemble has
//! to come back: within a bounded time all servers serve, a write is acknowledged at each, and their trees are equal.
//! A plan that fails is made smaller by leaving things out of it ([`shrink()`]).
//!
//! What is sent is sent as it is, and a disk is a list of what was put on it ([`Plain`]). A run can be played in other
//! forms ([`Form`]): as bytes, and on files.
//!
//! The `zab`, `session` and `peer` models search all runs within small bounds. Here there are no bounds but time:
//! five voters and two observers, hundreds of transactions, many faults at once, and real durations of timers.

mod chance;
mod client;
mod connections;
mod coverage;
mod elections;
mod faults;
mod form;
mod judge;
mod network;
mod node;
mod plan;
mod reading;
mod record;
mod run;
mod shrink;
mod time;

pub use client::Letter;
pub use coverage::{CLIENT_RULES, Coverage, RULES, SITUATIONS};
pub use form::{Form, Plain, Served};
pub use node::Subject;
pub use plan::{Act, Deed, Fault, Plan, Size, Trouble, Tuning};
pub use run::{Tracer, play};
pub use shrink::shrink;
pub use time::Due;
pub use world::Fault as Broken;
