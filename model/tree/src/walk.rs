//! Walks over the tree as it was at one moment, while it goes on changing (rule T-18).
//!
//! A snapshot of a million nodes must not stop the server, nor may it show half of a later transaction. So a walk
//! goes in slices, in the order of paths, and the tree knows how far each walk has come: whatever changes a node that
//! a walk has not reached first keeps the node for it as it was, or notes that it was not there. What is kept is
//! bounded by what changes while the walk goes on, and shrinks as it goes.
//!
//! The order is parents before children, and brothers by the bytes of their names. It is the order of paths with a
//! character below all others in the place of the slash, which is what walks compare.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, btree_map::Entry},
    string::String,
    sync::Arc,
    vec::Vec,
};
use core::fmt;

use spec::{SessionId, Zxid};

use crate::{
    Acl, StatPersisted, Tree,
    acl_table::AclKey,
    children::{ChildList, Position},
    node::{Node, NodeId, Store},
};

/// One walk over a tree as it was when the walk was started.
///
/// It is to be taken to its end or [cancelled](Walk::cancel), for until then the tree keeps for it what changes.
#[derive(Debug)]
pub struct Walk {
    id: u64,
    last: Zxid,
    digest: i64,
    node_count: usize,
    sessions: Vec<(SessionId, i32)>,
    acls: Vec<(i64, Arc<[Acl]>)>,
}

/// A node of a walk, in the form that snapshots have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WalkedNode<'a> {
    /// The whole path; the root's is empty.
    pub path: &'a str,
    /// The data; null and empty differ.
    pub data: Option<&'a [u8]>,
    /// The number of its access control list among the walk's; −1 is the open list, which is not among them.
    pub acl: i64,
    /// The stat as stored.
    pub stat: StatPersisted,
}

/// Where a walk stands behind a slice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// There is more.
    More,
    /// That was the last node.
    Done,
}

/// The tree given is not the one that the walk was started on, or the walk has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotWalked;

impl fmt::Display for NotWalked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this tree knows of no such walk")
    }
}

impl core::error::Error for NotWalked {}

/// What a node costs of a slice's budget beside its path and data: its stat and lengths in a snapshot.
const NODE_BYTES: usize = 76;

impl Walk {
    /// Starts a walk over the tree as it is now.
    pub fn start(tree: &mut Tree) -> Self {
        Self {
            id: tree.walks.open(),
            last: tree.last,
            digest: tree.digest,
            node_count: tree.node_count(),
            sessions: tree.sessions.iter().map(|(&session, &timeout_ms)| (session, timeout_ms)).collect(),
            acls: tree.acls.lists(),
        }
    }

    /// The last transaction in the tree that is walked.
    pub fn last_processed(&self) -> Zxid {
        self.last
    }

    /// The digest of the tree that is walked.
    pub fn digest(&self) -> i64 {
        self.digest
    }

    /// How many nodes the walk yields.
    pub fn node_count(&self) -> usize {
        self.node_count
    }

    /// The sessions, each with its timeout in milliseconds, in order.
    pub fn sessions(&self) -> &[(SessionId, i32)] {
        &self.sessions
    }

    /// The access control lists with their numbers, in order.
    pub fn acls(&self) -> &[(i64, Arc<[Acl]>)] {
        &self.acls
    }

    /// Goes on until about `budget` bytes of a snapshot are visited, one node at least.
    ///
    /// # Errors
    /// If the tree is another one; a tree that was loaded anew is.
    pub fn next(
        &mut self,
        tree: &mut Tree,
        budget: usize,
        visit: &mut dyn FnMut(WalkedNode<'_>),
    ) -> Result<Progress, NotWalked> {
        let mut record = tree.walks.take(self.id).ok_or(NotWalked)?;
        let mut live = Cursor::behind(&tree.store, record.reached.take());
        let mut spent = 0;
        let mut path = String::new();
        while spent < budget.max(1) {
            let kept = record.kept.first_key_value().map(|(key, _)| key);
            let from_kept = match (&live.at, kept) {
                (None, None) => return Ok(Progress::Done),
                (None, Some(_)) => true,
                (Some(_), None) => false,
                (Some(_), Some(kept)) => *kept <= live.key,
            };
            let mut show = |key: &[u8], data: Option<&[u8]>, acl: AclKey, stat: StatPersisted| {
                path_of(key, &mut path);
                spent += path.len() + data.map_or(0, <[u8]>::len) + NODE_BYTES;
                visit(WalkedNode { path: &path, data, acl: acl.number(), stat });
            };
            if from_kept {
                let Some((key, kept)) = record.kept.pop_first() else { continue };
                if live.at.is_some() && key == live.key {
                    live.advance(&tree.store);
                }
                if let Some(kept) = kept {
                    show(&key, kept.data.as_deref(), kept.acl, kept.stat);
                }
                record.reached = Some(key);
            } else if let Some(id) = live.at {
                let node = tree.store.node(id);
                show(&live.key, node.data(), node.acl, node.stat);
                record.reached = Some(live.key.clone());
                live.advance(&tree.store);
            }
        }
        if live.at.is_none() && record.kept.is_empty() {
            return Ok(Progress::Done);
        }
        tree.walks.put_back(record);
        Ok(Progress::More)
    }

    /// Ends the walk before its end.
    pub fn cancel(self, tree: &mut Tree) {
        tree.walks.take(self.id);
    }
}

/// The walks under way on a tree. A copy of a tree is not walked.
#[derive(Debug, Default)]
pub(crate) struct WalkTable {
    records: Vec<Record>,
    opened: u64,
}

impl Clone for WalkTable {
    fn clone(&self) -> Self {
        Self { records: Vec::new(), opened: self.opened }
    }
}

/// How far one walk has come, and what is kept for it.
#[derive(Debug)]
struct Record {
    id: u64,
    /// The last node that it has passed.
    reached: Option<Vec<u8>>,
    /// Nodes beyond, as they were when the walk started; none for those that were not there.
    kept: BTreeMap<Vec<u8>, Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    data: Option<Box<[u8]>>,
    acl: AclKey,
    stat: StatPersisted,
}

impl WalkTable {
    fn open(&mut self) -> u64 {
        self.opened += 1;
        self.records.push(Record { id: self.opened, reached: None, kept: BTreeMap::new() });
        self.opened
    }

    fn take(&mut self, id: u64) -> Option<Record> {
        let at = self.records.iter().position(|record| record.id == id)?;
        Some(self.records.swap_remove(at))
    }

    fn put_back(&mut self, record: Record) {
        self.records.push(record);
    }

    /// To be called before a node changes or goes.
    pub(crate) fn keep(&mut self, path: &str, node: &Node) {
        if !self.records.is_empty() {
            let kept = || Some(Kept { data: node.data().map(Box::from), acl: node.acl, stat: node.stat });
            self.keep_with(path, kept);
        }
    }

    /// To be called before a node is created.
    pub(crate) fn keep_absent(&mut self, path: &str) {
        if !self.records.is_empty() {
            self.keep_with(path, || None);
        }
    }

    fn keep_with(&mut self, path: &str, kept: impl Fn() -> Option<Kept>) {
        let key: Vec<u8> = path.bytes().map(|byte| if byte == b'/' { 0 } else { byte }).collect();
        for record in &mut self.records {
            if record.reached.as_ref().is_some_and(|reached| key <= *reached) {
                continue;
            }
            if let Entry::Vacant(entry) = record.kept.entry(key.clone()) {
                entry.insert(kept());
            }
        }
    }
}

fn path_of(key: &[u8], path: &mut String) {
    let mut bytes = core::mem::take(path).into_bytes();
    bytes.clear();
    bytes.extend(key.iter().map(|&byte| if byte == 0 { b'/' } else { byte }));
    *path = String::from_utf8(bytes).expect("names are UTF-8");
}

/// A place in the order of paths, over a tree that does not change meanwhile.
struct Cursor {
    at: Option<NodeId>,
    key: Vec<u8>,
    /// Each node from the root down to `at`, with its next child and the length of its key.
    open: Vec<(NodeId, Position, usize)>,
}

impl Cursor {
    /// At the first node behind the one with this key, whether that is there or not; at the root without one.
    fn behind(store: &Store, key: Option<Vec<u8>>) -> Self {
        let mut cursor = Self { at: Some(NodeId::ROOT), key: Vec::new(), open: Vec::new() };
        cursor.open.push((NodeId::ROOT, Position::default(), 0));
        let Some(key) = key else { return cursor };
        let mut at = NodeId::ROOT;
        for name in key.split(|&byte| byte == 0).skip(1) {
            let found = ChildList::position(store, at, name);
            let (Ok(position) | Err(position)) = found;
            let Some(open) = cursor.open.last_mut() else { break };
            open.1 = position;
            let step = store.node(at).children.as_deref().and_then(|list| list.step(position));
            let (Ok(_), Some((child, next))) = (found, step) else { break };
            open.1 = next;
            cursor.key.push(0);
            cursor.key.extend_from_slice(name);
            cursor.open.push((child, Position::default(), cursor.key.len()));
            at = child;
        }
        cursor.advance(store);
        cursor
    }

    fn advance(&mut self, store: &Store) {
        while let Some((id, position, key_len)) = self.open.last_mut() {
            let step = store.node(*id).children.as_deref().and_then(|list| list.step(*position));
            self.key.truncate(*key_len);
            if let Some((child, next)) = step {
                *position = next;
                self.key.push(0);
                self.key.extend_from_slice(store.node(child).name());
                self.at = Some(child);
                self.open.push((child, Position::default(), self.key.len()));
                return;
            }
            self.open.pop();
        }
        self.at = None;
    }
}
