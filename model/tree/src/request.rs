//! What clients ask.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use spec::Zxid;

use crate::{Acl, Text};

/// A request to change the tree. Nothing in it is checked yet.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Write {
    /// create or create2.
    Create {
        /// The node; a sequential one gets its number appended.
        path: Text,
        /// The data; null and empty differ.
        data: Option<Bytes>,
        /// The access control list.
        acl: Vec<Acl>,
        /// The mode as the wire numbers it; see [`CreateMode::from_flags`].
        flags: i32,
        /// Whether the client wants the Stat as well (create2).
        stat: bool,
    },
    /// delete.
    Delete {
        /// The node.
        path: Text,
        /// The data version that it must have; −1 for any.
        version: i32,
    },
    /// setData.
    SetData {
        /// The node.
        path: Text,
        /// The data; null and empty differ.
        data: Option<Bytes>,
        /// The data version that it must have; −1 for any.
        version: i32,
    },
    /// setACL.
    SetAcl {
        /// The node.
        path: Text,
        /// The access control list.
        acl: Vec<Acl>,
        /// The list version that it must have; −1 for any.
        version: i32,
    },
    /// check, inside a multi only.
    Check {
        /// The node.
        path: Text,
        /// The data version that it must have; −1 for any.
        version: i32,
    },
    /// multi: all or none of these, in order. No multi inside.
    Multi(Vec<Write>),
}

/// How a node is created.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct CreateMode {
    /// Whether it ends with the session.
    pub ephemeral: bool,
    /// Whether its name gets a number.
    pub sequential: bool,
}

impl CreateMode {
    /// The mode with this number: 0 persistent, 1 ephemeral, 2 persistent sequential, 3 ephemeral sequential.
    /// Containers (4) and times to live (5, 6) have requests of their own, which are not offered yet.
    pub fn from_flags(flags: i32) -> Option<Self> {
        (0..=3).contains(&flags).then_some(Self { ephemeral: flags & 1 != 0, sequential: flags & 2 != 0 })
    }
}

/// A request to look at the tree.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Read {
    /// getData.
    GetData {
        /// The node.
        path: Text,
        /// Whether to leave a data watch.
        watch: bool,
    },
    /// exists.
    Exists {
        /// The node.
        path: Text,
        /// Whether to leave a watch, also if the node is missing.
        watch: bool,
    },
    /// getChildren.
    GetChildren {
        /// The node.
        path: Text,
        /// Whether to leave a child watch.
        watch: bool,
    },
    /// getChildren2.
    GetChildren2 {
        /// The node.
        path: Text,
        /// Whether to leave a child watch.
        watch: bool,
    },
    /// getACL.
    GetAcl {
        /// The node.
        path: Text,
    },
    /// setWatches: a client that comes back names the watches it had.
    SetWatches {
        /// The last zxid that the client has seen.
        relative: Zxid,
        /// Data watches on nodes that existed.
        data: Vec<Text>,
        /// Watches on nodes that did not exist.
        exist: Vec<Text>,
        /// Child watches.
        child: Vec<Text>,
    },
}
