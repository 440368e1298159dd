//! The checker: models of the protocol at stated bounds, and the engine that searches all of their states.

pub mod election;
pub mod engine;
pub mod joins;
mod places;
pub mod recorded;
pub mod rows;
pub mod run;
pub mod scratch;
pub mod session;
pub mod trace;
pub mod zab;
