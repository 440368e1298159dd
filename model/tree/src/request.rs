//! What clients ask.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use spec::Zxid;

use crate::{Acl, Text, auth, watches::WatchMode};

/// A request to change the tree. Nothing in it is checked yet.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Write {
    /// create, create2, createContainer or createTTL.
    Create {
        /// The node; a sequential one gets its number appended.
        path: Text,
        /// The data; null and empty differ.
        data: Option<Bytes>,
        /// The access control list.
        acl: Vec<Acl>,
        /// The mode as the wire numbers it; see [`CreateMode::from_flags`].
        flags: i32,
        /// Which of these it is.
        request: CreateRequest,
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
    /// deleteContainer, by which a leader deletes a container or a node whose time is over; no client may ask for it.
    Sweep {
        /// The node.
        path: Text,
    },
}

/// How many bytes a write may have as it is written into a transaction, without what `auth` adds: what servers tell each
/// other and write down has 64 MiB at most.
const WRITE_BYTES_MAX: usize = 60 << 20;

impl Write {
    /// Whether it has more than 60 MiB in a transaction (rule T-2): it is refused, by the leader or before it goes there.
    pub fn is_too_large(&self) -> bool {
        self.bytes() > WRITE_BYTES_MAX
    }

    /// How many bytes it has in a transaction, or a few more, without what `auth` adds.
    fn bytes(&self) -> usize {
        const REST: usize = 24;
        REST + match self {
            // Of a create there are a number at the end of its name, and what kind of node it is.
            Self::Create { path, data, acl, .. } => {
                REST + path.as_str().len() + data.as_ref().map_or(0, Bytes::len) + auth::list_bytes(acl)
            }
            Self::SetData { path, data, .. } => path.as_str().len() + data.as_ref().map_or(0, Bytes::len),
            Self::SetAcl { path, acl, .. } => path.as_str().len() + auth::list_bytes(acl),
            Self::Delete { path, .. } | Self::Check { path, .. } | Self::Sweep { path } => {
                path.as_str().len()
            }
            Self::Multi(parts) => parts.iter().map(Self::bytes).sum(),
        }
    }
}

/// The requests that create a node.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum CreateRequest {
    /// create: answered with the path.
    Create,
    /// create2: answered with path and Stat.
    Create2,
    /// createContainer: of a node that goes some time after its last child; answered as create2.
    Container,
    /// createTTL: of a node that goes when it has had no child and no new data for so long; answered as create2.
    Ttl {
        /// In milliseconds; anything.
        ttl_ms: i64,
    },
}

/// How a node is created.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum CreateMode {
    /// It stays.
    Persistent,
    /// It ends with the session.
    Ephemeral,
    /// It ends some time after its last child.
    Container,
    /// It ends when it has had no child and no new data for some time.
    Ttl,
}

impl CreateMode {
    /// The mode with this number, and whether the name gets a number: 0 persistent, 1 ephemeral, 2 persistent sequential,
    /// 3 ephemeral sequential, 4 container, 5 time to live, 6 time to live, sequential.
    pub fn from_flags(flags: i32) -> Option<(Self, bool)> {
        Some(match flags {
            0 => (Self::Persistent, false),
            1 => (Self::Ephemeral, false),
            2 => (Self::Persistent, true),
            3 => (Self::Ephemeral, true),
            4 => (Self::Container, false),
            5 => (Self::Ttl, false),
            6 => (Self::Ttl, true),
            _ => return None,
        })
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
    /// getEphemerals: those of the session that asks.
    GetEphemerals {
        /// What their paths begin with, also in the midst of a name. Nothing but blanks, or a lone slash, is for all.
        prefix: Text,
    },
    /// getAllChildrenNumber: how many nodes stand below this one.
    GetAllChildrenNumber {
        /// The node.
        path: Text,
    },
    /// whoAmI: whom the connection has authenticated as.
    WhoAmI,
    /// multiRead: each of these by itself, none of them with a watch.
    Multi(Vec<Self>),
    /// addWatch: leaves a watch that stays, whether the node is there or not.
    AddWatch {
        /// The node; any text.
        path: Text,
        /// Persistent or recursive.
        mode: WatchMode,
    },
    /// checkWatches: whether the connection has left such a watch.
    CheckWatches {
        /// The node.
        path: Text,
        /// Which watches.
        which: WatchChoice,
    },
    /// removeWatches: takes such watches of the connection back.
    RemoveWatches {
        /// The node.
        path: Text,
        /// Which watches.
        which: WatchChoice,
    },
    /// setWatches and setWatches2: a client that comes back names the watches it had.
    SetWatches {
        /// The last zxid that the client has seen.
        relative: Zxid,
        /// Data watches on nodes that existed.
        data: Vec<Text>,
        /// Watches on nodes that did not exist.
        exist: Vec<Text>,
        /// Child watches.
        child: Vec<Text>,
        /// Persistent watches.
        persistent: Vec<Text>,
        /// Recursive ones.
        recursive: Vec<Text>,
    },
}

impl Read {
    /// Whether it leaves everything as it is, the watches of the connection too.
    pub fn only_asks(&self) -> bool {
        match self {
            Self::GetData { watch, .. }
            | Self::Exists { watch, .. }
            | Self::GetChildren { watch, .. }
            | Self::GetChildren2 { watch, .. } => !watch,
            Self::GetAcl { .. }
            | Self::GetEphemerals { .. }
            | Self::GetAllChildrenNumber { .. }
            | Self::WhoAmI
            | Self::CheckWatches { .. } => true,
            Self::Multi(parts) => parts.iter().all(Self::only_asks),
            Self::AddWatch { .. } | Self::RemoveWatches { .. } | Self::SetWatches { .. } => false,
        }
    }

    /// Whether it may look at many nodes, however short it is itself.
    pub fn takes_long(&self) -> bool {
        match self {
            Self::GetEphemerals { .. }
            | Self::GetAllChildrenNumber { .. }
            | Self::Multi(_)
            | Self::SetWatches { .. } => true,
            Self::GetData { .. }
            | Self::Exists { .. }
            | Self::GetChildren { .. }
            | Self::GetChildren2 { .. }
            | Self::GetAcl { .. }
            | Self::WhoAmI
            | Self::AddWatch { .. }
            | Self::CheckWatches { .. }
            | Self::RemoveWatches { .. } => false,
        }
    }
}

/// Which of its watches on a path a client means, as the wire numbers them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[repr(i32)]
pub enum WatchChoice {
    /// Child watches that fire once.
    Child = 1,
    /// Data watches that fire once.
    Data = 2,
    /// All.
    Any = 3,
    /// Persistent ones.
    Persistent = 4,
    /// Recursive ones.
    Recursive = 5,
}

impl WatchChoice {
    /// The choice with this number.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::Child, Self::Data, Self::Any, Self::Persistent, Self::Recursive]
            .into_iter()
            .find(|choice| choice.number() == number)
    }

    /// The number on the wire.
    pub fn number(self) -> i32 {
        self as i32
    }
}
