//! What is prepared and not applied yet: the tree as it will be, where it differs.

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use spec::{SessionId, Zxid};

use crate::{Acl, StatPersisted, Text};

/// Changes that are prepared and not yet applied: for each node concerned what it will be, as far as later requests
/// depend on it. Of a session that closes it is the session that is noted, and not its nodes in the tree.
///
/// Source: ZooKeeper `PrepRequestProcessor`, outstanding changes.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Outstanding {
    nodes: BTreeMap<Text, (Zxid, Fate)>,
    sessions: BTreeMap<SessionId, (Zxid, bool)>,
    /// The sessions whose nodes go with them, as far as the tree has those: there may be many.
    closing: BTreeMap<SessionId, Zxid>,
    /// Every entry that was made, in order; one whose node or session has a later entry has no effect any more.
    order: VecDeque<(Zxid, Subject)>,
    /// The tree's digest behind all of it; 0 if nothing waits.
    digest: i64,
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
enum Subject {
    Node(Text),
    Session(SessionId),
}

/// What becomes of a node.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(crate) enum Fate {
    /// It will be so.
    Will(Pending),
    /// It will not be there.
    Gone,
}

/// A node as it will be.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) stat: StatPersisted,
    pub(crate) child_count: usize,
    pub(crate) data: Data,
    /// The length of its data in bytes.
    pub(crate) data_len: usize,
    /// Its part of the tree's digest.
    pub(crate) digest: u32,
    /// None if the list is the one that the tree has.
    pub(crate) acl: Option<Vec<Acl>>,
}

/// The data that a node will have.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(crate) enum Data {
    /// What the tree has there.
    Kept,
    /// This.
    New(Option<Bytes>),
}

/// What a node was before an entry, to go back to.
pub(crate) type Before = (Text, Option<(Zxid, Fate)>);

impl Outstanding {
    /// How many entries wait for their transaction to be applied.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether everything that was prepared is applied.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// What becomes of a node, if something that waits concerns it.
    pub(crate) fn node(&self, path: &Text) -> Option<&Fate> {
        self.nodes.get(path).map(|(_, fate)| fate)
    }

    /// What becomes of each node that is concerned, in the order of paths.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&Text, &Fate)> {
        self.nodes.iter().map(|(path, (_, fate))| (path, fate))
    }

    /// Whether a session will be open, if something that waits concerns it.
    pub(crate) fn session(&self, session: SessionId) -> Option<bool> {
        self.sessions.get(&session).map(|(_, open)| *open)
    }

    /// The tree's digest behind all that waits, if `tree` is that of the tree as it is.
    pub(crate) fn digest(&self, tree: i64) -> i64 {
        if self.order.is_empty() { tree } else { self.digest }
    }

    /// Records what becomes of a session, and the tree's digest behind that.
    pub(crate) fn record_session(&mut self, zxid: Zxid, session: SessionId, open: bool, digest: i64) {
        self.digest = digest;
        self.sessions.insert(session, (zxid, open));
        self.order.push_back((zxid, Subject::Session(session)));
    }

    /// Records what becomes of a node, with the tree's digest behind that, and returns what was to become of it before.
    pub(crate) fn record(&mut self, zxid: Zxid, path: Text, fate: Fate, digest: i64) -> Option<(Zxid, Fate)> {
        self.digest = digest;
        self.order.push_back((zxid, Subject::Node(path.clone())));
        self.nodes.insert(path, (zxid, fate))
    }

    /// Records that a session ends, and with it every node that it owns in the tree and that nothing else waits for, and
    /// the tree's digest behind that.
    pub(crate) fn record_close(&mut self, zxid: Zxid, session: SessionId, digest: i64) {
        self.closing.insert(session, zxid);
        self.record_session(zxid, session, false, digest);
    }

    /// Whether the nodes that this session owns in the tree go, those aside that something later concerns.
    pub(crate) fn is_closing(&self, session: SessionId) -> bool {
        self.closing.contains_key(&session)
    }

    /// Takes the last entries back, the latest first, which leaves this digest.
    pub(crate) fn roll_back(&mut self, entries: Vec<Before>, digest: i64) {
        for (path, before) in entries.into_iter().rev() {
            self.order.pop_back();
            match before {
                Some(before) => self.nodes.insert(path, before),
                None => self.nodes.remove(&path),
            };
        }
        self.digest = if self.order.is_empty() { 0 } else { digest };
    }

    /// Forgets what is applied now.
    pub(crate) fn settle(&mut self, applied: Zxid) {
        while let Some((_, subject)) = self.order.pop_front_if(|(zxid, _)| *zxid <= applied) {
            match subject {
                Subject::Node(path) => {
                    if self.nodes.get(&path).is_some_and(|(zxid, _)| *zxid <= applied) {
                        self.nodes.remove(&path);
                    }
                }
                Subject::Session(session) => {
                    if self.sessions.get(&session).is_some_and(|(zxid, _)| *zxid <= applied) {
                        self.sessions.remove(&session);
                    }
                    if self.closing.get(&session).is_some_and(|zxid| *zxid <= applied) {
                        self.closing.remove(&session);
                    }
                }
            }
        }
        if self.order.is_empty() {
            self.digest = 0;
        }
    }
}
