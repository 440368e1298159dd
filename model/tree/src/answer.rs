//! What clients are told.

use alloc::{borrow::Cow, vec::Vec};

use serde::{Deserialize, Serialize};
use spec::ErrorCode;

use crate::{Acl, Identity, Stat, Text, children::Children};

/// The result of a write, for the client that asked.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Outcome {
    /// create: the path. In a multi's results its type is 1.
    Create {
        /// The whole path.
        path: Text,
    },
    /// create2, createContainer, createTTL: path and Stat. In a multi's results their type is 15.
    Create2 {
        /// The whole path.
        path: Text,
        /// The new node's Stat.
        stat: Stat,
    },
    /// delete: nothing. Type 2.
    Delete,
    /// setData and reconfig. Type 5.
    SetData(Stat),
    /// setACL. Type 7.
    SetAcl(Stat),
    /// check, in a multi only: nothing. Type 13.
    Check,
    /// multi: the result of each part, in order; all of them errors if one is. The reply's own error is 0 then too.
    Multi(Vec<Outcome>),
    /// createSession.
    CreateSession {
        /// Its timeout in milliseconds.
        timeout_ms: i32,
    },
    /// closeSession: nothing.
    CloseSession,
    /// The write failed. Type −1.
    Error {
        /// The number of the error, negative; 0 only in a failed multi, before the part that failed.
        code: i32,
    },
}

/// The result of a read, borrowed from the tree.
#[derive(Clone, Debug)]
pub enum Answer<'a> {
    /// getData.
    Data {
        /// The data; null and empty differ.
        data: Option<&'a [u8]>,
        /// The node's Stat.
        stat: Stat,
    },
    /// exists.
    Exists(Stat),
    /// getChildren.
    Children(Children<'a>),
    /// getChildren2.
    Children2 {
        /// The names.
        names: Children<'a>,
        /// The node's Stat.
        stat: Stat,
    },
    /// getACL.
    Acl {
        /// The list; hashes are masked for those who may not change it.
        acl: Cow<'a, [Acl]>,
        /// The node's Stat.
        stat: Stat,
    },
    /// getEphemerals: their paths, in order.
    Ephemerals(Vec<Text>),
    /// getAllChildrenNumber.
    AllChildrenNumber(i32),
    /// whoAmI: schemes and names of users, without what proves them.
    Identities(Vec<Identity>),
    /// multiRead: the answer to each part, in order.
    Multi(Vec<Result<Self, ErrorCode>>),
    /// addWatch.
    WatchAdded,
    /// checkWatches, removeWatches, setWatches, setWatches2: nothing.
    Done,
}

impl Answer<'_> {
    /// The bytes of data and names in it.
    pub fn content_bytes(&self) -> usize {
        match self {
            Self::Data { data, .. } => data.map_or(0, <[u8]>::len),
            Self::Children(names) | Self::Children2 { names, .. } => names.clone().map(<[u8]>::len).sum(),
            Self::Exists(_)
            | Self::Acl { .. }
            | Self::Ephemerals(_)
            | Self::AllChildrenNumber(_)
            | Self::Identities(_)
            | Self::Multi(_)
            | Self::WatchAdded
            | Self::Done => 0,
        }
    }
}

/// What a fired watch tells its client.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The node that was watched.
    pub path: Text,
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[repr(i32)]
pub enum EventKind {
    /// The node was created.
    NodeCreated = 1,
    /// The node was deleted.
    NodeDeleted = 2,
    /// The node's data was set.
    NodeDataChanged = 3,
    /// A child of the node was created or deleted.
    NodeChildrenChanged = 4,
}

impl EventKind {
    /// The number on the wire.
    pub fn number(self) -> i32 {
        self as i32
    }
}
