//! Znodes as a pure function: request to transaction to tree.
#![no_std]
extern crate alloc;
