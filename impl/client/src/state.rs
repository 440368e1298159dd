//! What the owner of a client is told without asking.

use spec::Zxid;

/// How a client stands to its servers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Connection {
    /// Looking for a server that takes the session.
    Connecting,
    /// Connected.
    Connected,
    /// Connected to a server without a quorum, which only reads.
    ConnectedReadOnly,
    /// The session is over: it expired.
    Expired,
    /// A credential was refused, which ends the session.
    AuthFailed,
    /// Closed from this side.
    Closed,
}

impl Connection {
    /// The state in ZooKeeper's prompts.
    ///
    /// Source: ZooKeeper `ZooKeeper.States`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "CONNECTING",
            Self::Connected => "CONNECTED",
            Self::ConnectedReadOnly => "CONNECTEDREADONLY",
            Self::AuthFailed => "AUTH_FAILED",
            Self::Expired | Self::Closed => "CLOSED",
        }
    }

    /// The state in ZooKeeper's events.
    ///
    /// Source: ZooKeeper `Watcher.Event.KeeperState`.
    pub fn event_name(self) -> &'static str {
        match self {
            Self::Connecting => "Disconnected",
            Self::Connected => "SyncConnected",
            Self::ConnectedReadOnly => "ConnectedReadOnly",
            Self::AuthFailed => "AuthFailed",
            Self::Expired => "Expired",
            Self::Closed => "Closed",
        }
    }

    /// Whether there will be no connection any more.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Expired | Self::AuthFailed | Self::Closed)
    }

    /// Whether a server is there.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Connected | Self::ConnectedReadOnly)
    }
}

/// What a watch tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EventType {
    /// The node was created.
    NodeCreated,
    /// The node was deleted.
    NodeDeleted,
    /// The node's data was set.
    NodeDataChanged,
    /// A child was created or deleted.
    NodeChildrenChanged,
    /// The client took a data watch back.
    DataWatchRemoved,
    /// The client took a child watch back.
    ChildWatchRemoved,
    /// The client took a watch that stays back.
    PersistentWatchRemoved,
}

impl EventType {
    /// The type with this number on the wire.
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::NodeCreated,
            2 => Self::NodeDeleted,
            3 => Self::NodeDataChanged,
            4 => Self::NodeChildrenChanged,
            5 => Self::DataWatchRemoved,
            6 => Self::ChildWatchRemoved,
            7 => Self::PersistentWatchRemoved,
            _ => return None,
        })
    }

    /// Its name in ZooKeeper's events.
    pub fn name(self) -> &'static str {
        match self {
            Self::NodeCreated => "NodeCreated",
            Self::NodeDeleted => "NodeDeleted",
            Self::NodeDataChanged => "NodeDataChanged",
            Self::NodeChildrenChanged => "NodeChildrenChanged",
            Self::DataWatchRemoved => "DataWatchRemoved",
            Self::ChildWatchRemoved => "ChildWatchRemoved",
            Self::PersistentWatchRemoved => "PersistentWatchRemoved",
        }
    }
}

/// What the owner of a client is told without asking, in order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Notice {
    /// The connection is another one than before.
    Connection(Connection),
    /// A watch fired, or was taken back.
    Event {
        /// What happened.
        kind: EventType,
        /// To which node, as the client sees it.
        path: String,
        /// The transaction; none for what happened in the client alone.
        zxid: Option<Zxid>,
    },
}
