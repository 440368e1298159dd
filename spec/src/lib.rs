//! What must hold, and nothing on how: the identifiers, error codes and rules that every other crate builds on.
//!
//! The prose rules stand beside this source, in `spec/*.md`; the predicates here carry the same numbers.
#![no_std]

extern crate alloc;

pub mod code;
pub mod election;
pub mod history;
pub mod id;
pub mod machine;
pub mod recovery;
pub mod rule;
pub mod session;
pub mod zab;

pub use code::ErrorCode;
pub use history::{Breach, Claim, Entry, History, Part, Phase, Record, ServerView, Stored};
pub use id::{ClientId, Epoch, ServerId, SessionId, Zxid};
pub use machine::Machine;
pub use rule::{About, Check, Rule, Scope, Verdict};

#[cfg(test)]
mod tests;
