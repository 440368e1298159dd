//! The models and the engine that searches them, each at bounds that take a moment.

#[cfg(feature = "stateright")]
mod common;
#[cfg(feature = "stateright")]
mod engine;
#[cfg(feature = "stateright")]
mod explored;
mod joins;
#[cfg(feature = "stateright")]
mod peer;
mod scripts;
#[cfg(feature = "stateright")]
mod session;
mod walks;
#[cfg(feature = "stateright")]
mod zab;
