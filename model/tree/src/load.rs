//! Building a tree from what snapshots and streams hold.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

use spec::{SessionId, Zxid};

use crate::{
    Acl, StatPersisted, Tree,
    acl_table::AclKey,
    node::{Content, NodeId},
    path,
};

/// Takes sessions, access control lists and nodes, in the order in which a snapshot has them, and yields the tree.
///
/// It takes what a fuzzy snapshot of a Java server may hold: a node whose list came into being after the lists were
/// written (nobody may touch it until the replay of the log sets its list), an owner without a session, a node twice.
#[derive(Debug)]
pub struct TreeBuilder {
    tree: Tree,
    acls: BTreeMap<i64, AclKey>,
    has_root: bool,
}

/// Why a tree cannot be built.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LoadError {
    /// A node stands before its parent.
    NoParent {
        /// The node.
        path: String,
    },
    /// What stands in the place of a path is none.
    BadPath {
        /// It.
        path: String,
    },
    /// There was no root.
    NoRoot,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoParent { path } => write!(f, "node {path:?} stands before its parent"),
            Self::BadPath { path } => write!(f, "{path:?} is not the path of a node"),
            Self::NoRoot => f.write_str("the root is missing"),
        }
    }
}

impl core::error::Error for LoadError {}

impl TreeBuilder {
    /// Nothing yet.
    pub fn new() -> Self {
        let root = Content { data: None, acl: AclKey::OPEN, stat: StatPersisted::default() };
        Self { tree: Tree::with_root(root), acls: BTreeMap::from([(-1, AclKey::OPEN)]), has_root: false }
    }

    /// Adds a session with its timeout in milliseconds.
    pub fn session(&mut self, session: SessionId, timeout_ms: i32) {
        self.tree.sessions.insert(session, timeout_ms);
    }

    /// Adds an access control list with its number.
    pub fn acl(&mut self, number: i64, list: &[Acl]) {
        let key = self.tree.acls.acquire(list);
        if let Some(before) = self.acls.insert(number, key) {
            self.tree.acls.release(before);
        }
    }

    /// Adds a node; the root's path is empty.
    ///
    /// # Errors
    /// If its parent is missing, or the path is none.
    pub fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: i64,
        stat: StatPersisted,
    ) -> Result<(), LoadError> {
        let acl = self.list_for_node(acl);
        let content = Content { data, acl, stat };
        if path.is_empty() {
            self.has_root = true;
            self.tree.overwrite(NodeId::ROOT, path, content);
            return Ok(());
        }
        let (parent, name) = match path::split(path) {
            Some((parent, name)) if path::is_name(name) && path.starts_with('/') => (parent, name),
            _ => return Err(LoadError::BadPath { path: path.into() }),
        };
        let Some(parent) = self.tree.store.find(parent) else {
            return Err(LoadError::NoParent { path: path.into() });
        };
        match self.tree.store.find(path) {
            Some(id) => self.tree.overwrite(id, path, content),
            None => {
                self.tree.add(path, parent, name, content);
            }
        }
        Ok(())
    }

    /// The tree, whose last transaction is `last`.
    ///
    /// # Errors
    /// If there was no root.
    pub fn finish(mut self, last: Zxid) -> Result<Tree, LoadError> {
        if !self.has_root {
            return Err(LoadError::NoRoot);
        }
        let keys: Vec<AclKey> = self.acls.into_values().collect();
        for key in keys {
            self.tree.acls.release(key);
        }
        self.tree.last = last;
        self.tree.add_system_nodes();
        self.tree.begin_quotas();
        Ok(self.tree)
    }

    /// The list with this number, with one more use; a list that lets nobody do anything if there is none.
    fn list_for_node(&mut self, number: i64) -> AclKey {
        match self.acls.get(&number) {
            Some(&key) => {
                self.tree.acls.retain(key);
                key
            }
            None => self.tree.acls.acquire(&[Acl::world(0)]),
        }
    }
}

impl Default for TreeBuilder {
    fn default() -> Self {
        Self::new()
    }
}
