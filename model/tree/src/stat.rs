//! What is recorded about a node beside its data.

use serde::{Deserialize, Serialize};
use spec::SessionId;

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

/// What `ephemeral_owner` says of a stored node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owner {
    /// Nobody: an ordinary node.
    None,
    /// This session: an ephemeral.
    Session(SessionId),
    /// Nobody: a container.
    Container,
    /// Nobody: a node with a time to live, in milliseconds.
    Ttl(i64),
}

/// The three bytes above a time to live.
const TTL_MARK: i64 = 0xff_0000;

impl Owner {
    /// The meaning of a stored number.
    ///
    /// Source: ZooKeeper `EphemeralType`.
    pub fn from_number(number: i64) -> Self {
        match number {
            0 => Self::None,
            i64::MIN => Self::Container,
            _ if number >> 40 & 0xff_ffff == TTL_MARK => Self::Ttl(number & 0xff_ffff_ffff),
            _ => Self::Session(SessionId(number)),
        }
    }

    /// The number to store. Of a time to live the low 40 bits count.
    pub fn number(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Session(session) => session.0,
            Self::Container => i64::MIN,
            Self::Ttl(ttl_ms) => TTL_MARK << 40 | ttl_ms & 0xff_ffff_ffff,
        }
    }
}

impl StatPersisted {
    /// The record of a node that is new.
    pub fn created(zxid: i64, time: i64, owner: Owner) -> Self {
        Self {
            czxid: zxid,
            mzxid: zxid,
            ctime: time,
            mtime: time,
            version: 0,
            cversion: 0,
            aversion: 0,
            ephemeral_owner: owner.number(),
            pzxid: zxid,
        }
    }

    /// What clients see of it (rule T-8).
    pub fn shown(&self, data_length: usize, num_children: usize) -> Stat {
        let num_children = i32::try_from(num_children).unwrap_or(i32::MAX);
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            // Every creation counts, and every deletion: those that were created and are not there.
            cversion: self.cversion.wrapping_mul(2).wrapping_sub(num_children),
            aversion: self.aversion,
            ephemeral_owner: match Owner::from_number(self.ephemeral_owner) {
                Owner::Session(session) => session.0,
                Owner::None | Owner::Container | Owner::Ttl(_) => 0,
            },
            data_length: i32::try_from(data_length).unwrap_or(i32::MAX),
            num_children,
            pzxid: self.pzxid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_numbers() {
        let rows = [
            (Owner::None, 0),
            (Owner::Session(SessionId(0x0100_0000_1234_0000)), 0x0100_0000_1234_0000),
            (Owner::Session(SessionId(-1)), -1),
            (Owner::Container, i64::MIN),
            (Owner::Ttl(1), i64::from_be_bytes([0xff, 0, 0, 0, 0, 0, 0, 1])),
            (Owner::Ttl(0xff_ffff_ffff), i64::from_be_bytes([0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff])),
        ];
        for (owner, number) in rows {
            assert_eq!(owner.number(), number, "{owner:?}");
            assert_eq!(Owner::from_number(number), owner);
        }
    }

    #[test]
    fn clients_see_changes_of_children_and_true_ephemerals() {
        let stored = StatPersisted { cversion: 5, ..StatPersisted::created(7, 9, Owner::Container) };
        let shown = stored.shown(3, 2);
        assert_eq!((shown.cversion, shown.num_children), (8, 2), "five created, three of them deleted");
        assert_eq!((shown.ephemeral_owner, shown.data_length), (0, 3));
        let ephemeral = StatPersisted::created(7, 9, Owner::Session(SessionId(4)));
        assert_eq!(ephemeral.shown(0, 0).ephemeral_owner, 4);
    }
}
