//! The checker: models of the protocol at stated bounds, and the engine that searches all of their states.

pub mod election;
pub mod engine;
mod histories;
pub mod joins;
pub mod peer;
mod places;
pub mod recorded;
pub mod rows;
pub mod run;
pub mod session;
pub mod simulation;
pub mod trace;
mod voters;
pub mod walks;
pub mod zab;
