//! Who may do what: entries of access control lists, identities, credentials.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::Text;

/// Permission to read data and list children.
pub const READ: i32 = 1;
/// Permission to change data.
pub const WRITE: i32 = 2;
/// Permission to create children.
pub const CREATE: i32 = 4;
/// Permission to delete children.
pub const DELETE: i32 = 8;
/// Permission to change the access control list.
pub const ADMIN: i32 = 16;
/// Every permission.
pub const ALL: i32 = 31;

/// One entry of an access control list.
///
/// Source: ZooKeeper `org.apache.zookeeper.data.ACL`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Acl {
    /// What is permitted: a sum of [`READ`], [`WRITE`], [`CREATE`], [`DELETE`], [`ADMIN`].
    pub perms: i32,
    /// How the id is meant: `world`, `auth`, `digest`, `ip`. A null one is read as empty, which is no scheme.
    pub scheme: Text,
    /// To whom; its form depends on the scheme.
    pub id: Text,
}

/// An identity that a connection has: its address from the start, others by authentication.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Identity {
    /// The scheme: `ip`, `digest`, or `super`, which passes every check.
    pub scheme: Text,
    /// The id: an address, or `user:hash`.
    pub id: Text,
}

/// What a client offers to prove an identity.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Credential {
    /// The scheme.
    pub scheme: Text,
    /// The proof, for `digest` the bytes `user:password`.
    pub bytes: Bytes,
    /// Whether that is what it proves, and the proof is gone: as recordings keep it. Never of what a client sends.
    pub sealed: bool,
}

impl Acl {
    /// An entry that lets everybody do this.
    pub fn world(perms: i32) -> Self {
        Self { perms, scheme: Text::from_static("world"), id: Text::from_static("anyone") }
    }
}

impl Identity {
    /// The identity of a connection's address, in its textual form.
    pub fn ip(address: &str) -> Self {
        Self { scheme: Text::from_static("ip"), id: Text::from(address) }
    }
}
