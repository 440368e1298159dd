//! Znodes as a pure function: request to transaction to tree.
#![no_std]

extern crate alloc;

pub mod acl;
pub mod answer;
pub mod node;
pub mod path;
pub mod request;
pub mod stat;
pub mod text;
pub mod txn;

pub use acl::{Acl, Credential, Identity};
pub use answer::{Answer, Event, EventKind, Outcome};
pub use node::Children;
pub use request::{CreateMode, Read, Write};
pub use stat::{Stat, StatPersisted};
pub use text::Text;
pub use txn::{CreateKind, CreateTxn, Txn, TxnBody, TxnDigest};
