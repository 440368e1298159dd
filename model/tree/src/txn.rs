//! Transactions: what is logged, replicated and applied.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use spec::SessionId;

use crate::{Acl, Owner, Text};

/// A transaction. Its zxid is kept beside it.
///
/// Source: ZooKeeper `TxnHeader`, `TxnDigest`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Txn {
    /// The session that asked.
    pub session: SessionId,
    /// The client's number of the request; 0 for what the leader does by itself.
    pub cxid: i32,
    /// The leader's wall clock at preparation, in milliseconds since 1970.
    pub time: i64,
    /// What happens.
    pub body: TxnBody,
    /// The digest of the whole tree behind this transaction, if the leader computed one.
    pub digest: Option<TxnDigest>,
}

/// The digest of a tree behind a transaction.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct TxnDigest {
    /// The formula: 2 is ZooKeeper's current one.
    pub version: i32,
    /// The value.
    pub tree: i64,
}

/// What a transaction does. It holds the whole outcome: applying it decides nothing.
///
/// Beside each variant stands its number in the log and on the quorum's wire.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum TxnBody {
    /// Creates a node: 1, 15, 19, 21 by its kind.
    Create(CreateTxn),
    /// Deletes a node: 2, or 20 if the leader sweeps a container or a node whose time to live is over.
    Delete {
        /// The node.
        path: Text,
        /// Whether it is the leader's sweep.
        sweep: bool,
    },
    /// Replaces a node's data: 5, or 16 if it is the configuration node's by a reconfig.
    SetData {
        /// The node.
        path: Text,
        /// The data; null and empty differ.
        data: Option<Bytes>,
        /// The node's data version behind this.
        version: i32,
        /// Whether it is a reconfig.
        reconfig: bool,
    },
    /// Replaces a node's access control list: 7.
    SetAcl {
        /// The node.
        path: Text,
        /// The list.
        acl: Vec<Acl>,
        /// The node's list version behind this.
        version: i32,
    },
    /// Changes nothing; part of a multi: 13.
    Check {
        /// The node.
        path: Text,
        /// The version that it had.
        version: i32,
    },
    /// All of these as one: 14. If one is an error, all are.
    Multi(Vec<TxnBody>),
    /// Opens the session: −10.
    CreateSession {
        /// Its timeout in milliseconds.
        timeout_ms: i32,
    },
    /// Closes the session: −11.
    CloseSession {
        /// Its ephemerals, as the leader collected them; none in logs of old versions, where each server looks for
        /// itself.
        ephemerals: Option<Vec<Text>>,
    },
    /// The request failed: −1.
    Error {
        /// The number of the error. 0 only in a failed multi, before the part that failed.
        code: i32,
    },
}

/// The creation of a node.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct CreateTxn {
    /// What kind of node, and what the client that asked is told.
    pub kind: CreateKind,
    /// The whole path, with the number of a sequential name.
    pub path: Text,
    /// The data; null and empty differ.
    pub data: Option<Bytes>,
    /// The access control list, without `auth`.
    pub acl: Vec<Acl>,
    /// The parent's count of creations behind this; −1 in logs of very old versions: one more than it was.
    pub parent_cversion: i32,
}

impl CreateKind {
    /// What is stored of a node of this kind, created in this session.
    pub fn owner(self, session: SessionId) -> Owner {
        match self {
            Self::Create { ephemeral: true } | Self::Create2 { ephemeral: true } => Owner::Session(session),
            Self::Create { ephemeral: false } | Self::Create2 { ephemeral: false } => Owner::None,
            Self::Container => Owner::Container,
            Self::Ttl { ttl_ms } => Owner::Ttl(ttl_ms),
        }
    }
}

/// The kinds of creations.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum CreateKind {
    /// An ordinary one, or an ephemeral of the session that asks; the client is told the path: 1.
    Create {
        /// Whether it is an ephemeral.
        ephemeral: bool,
    },
    /// The same; the client is told the path and the [`Stat`](crate::Stat): 15.
    Create2 {
        /// Whether it is an ephemeral.
        ephemeral: bool,
    },
    /// A container: 19.
    Container,
    /// A node with a time to live: 21.
    Ttl {
        /// In milliseconds.
        ttl_ms: i64,
    },
}
