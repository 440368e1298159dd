//! What is recorded about a node beside its data.

use serde::{Deserialize, Serialize};

/// What a client sees of a node. Zxids and times are the numbers of the wire; times are milliseconds since 1970.
///
/// Source: ZooKeeper `org.apache.zookeeper.data.Stat`; rule T-8.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Stat {
    /// The transaction that created the node.
    pub czxid: i64,
    /// The transaction that last changed its data.
    pub mzxid: i64,
    /// When it was created.
    pub ctime: i64,
    /// When its data last changed.
    pub mtime: i64,
    /// How often its data changed.
    pub version: i32,
    /// How often its children changed: creations and deletions.
    pub cversion: i32,
    /// How often its access control list changed.
    pub aversion: i32,
    /// The session that an ephemeral belongs to; 0 for every other kind.
    pub ephemeral_owner: i64,
    /// The length of its data in bytes, 0 if the data is null.
    pub data_length: i32,
    /// How many children it has.
    pub num_children: i32,
    /// The transaction that last created or deleted a child.
    pub pzxid: i64,
}

/// What is stored of a node in snapshots and counted in digests.
///
/// It differs from [`Stat`] in two fields: `cversion` counts creations of children only, and `ephemeral_owner` marks
/// containers and nodes with a time to live as well.
///
/// Source: ZooKeeper `org.apache.zookeeper.data.StatPersisted`; rule T-8.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct StatPersisted {
    /// The transaction that created the node.
    pub czxid: i64,
    /// The transaction that last changed its data.
    pub mzxid: i64,
    /// When it was created.
    pub ctime: i64,
    /// When its data last changed.
    pub mtime: i64,
    /// How often its data changed.
    pub version: i32,
    /// How many children were ever created.
    pub cversion: i32,
    /// How often its access control list changed.
    pub aversion: i32,
    /// 0, a session, `i64::MIN` for a container, or `0xff00 << 48 | ttl` for a node with a time to live in
    /// milliseconds.
    pub ephemeral_owner: i64,
    /// The transaction that last created or deleted a child.
    pub pzxid: i64,
}
