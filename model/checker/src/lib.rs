//! The checker: models of the protocol at stated bounds, and the engine that searches all of their states.

pub mod election;
pub mod engine;
pub mod figures;
mod histories;
pub mod joins;
pub mod page;
pub mod peer;
pub mod recorded;
pub mod rows;
pub mod run;
pub mod scratch;
pub mod session;
pub mod simulate;
pub mod simulation;
pub mod trace;
mod voters;
pub mod walks;
mod words;
pub mod zab;
