//! What must hold, and nothing on how: the identifiers, error codes and rules that every other crate builds on.
//!
//! The prose rules stand beside this source, in `spec/*.md`; the predicates here carry the same numbers.
#![no_std]

extern crate alloc;

pub mod code;
pub mod id;
pub mod machine;

pub use code::ErrorCode;
pub use id::{ClientId, Epoch, ServerId, SessionId, Zxid};
pub use machine::Machine;
