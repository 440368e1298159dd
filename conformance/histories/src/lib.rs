//! Histories of concurrent clients under a nemesis on real servers, and the judges of what the clients saw.
//!
//! The protocol gives the order away: a reply names the last transaction of the state that it shows, and a write's
//! reply its own. So nothing is searched for. A history is linearizable if the order of zxids agrees with real time and
//! every answer is the one of the state at its zxid, and both can be checked exactly, in one sweep. A write whose
//! connection broke may stand in the order or not; where it stands is seen from the nodes that it left.

pub mod client;
pub mod dice;
pub mod history;
pub mod judge;
pub mod mutants;
pub mod nemesis;
pub mod network;
pub mod record;
pub mod report;
pub mod run;
pub mod workload;
