//! Znodes as a pure function: request to transaction to tree.
//!
//! A leader [prepares](spec::Machine::prepare) a [`Write`] against the [`Tree`] and the [`Outstanding`] changes, which
//! yields a [`Txn`] that holds the whole outcome; every server applies it at its place. Reads answer out of the tree
//! and leave [`Watches`], a value beside it. The rules are in `spec/tree.md`.
#![no_std]

extern crate alloc;

pub mod acl;
mod acl_table;
pub mod answer;
mod apply;
pub mod auth;
mod children;
mod compare;
pub mod digest;
mod load;
mod machine;
mod names;
mod node;
mod outstanding;
pub mod path;
mod prepare;
pub mod quota;
mod read;
pub mod request;
mod settings;
pub mod stat;
mod text;
mod tree;
pub mod txn;
mod walk;
pub mod watches;

pub use acl::{Acl, Credential, Identity};
pub use answer::{Answer, Event, EventKind, Outcome};
pub use children::Children;
pub use load::{LoadError, TreeBuilder};
pub use outstanding::Outstanding;
pub use request::{CreateMode, CreateRequest, Read, WatchChoice, Write};
pub use settings::{Digest, Settings};
pub use stat::{Owner, Stat, StatPersisted};
pub use text::Text;
pub use tree::Tree;
pub use txn::{CreateKind, CreateTxn, Txn, TxnBody, TxnDigest};
pub use walk::{NotWalked, Progress, Walk, WalkedNode};
pub use watches::{WatchKind, WatchMode, Watches};
