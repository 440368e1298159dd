//! Equality and hashing of trees by content.

use core::{
    fmt,
    hash::{Hash, Hasher},
};

use crate::{
    Tree,
    node::{Node, NodeId},
};

impl Tree {
    fn same_node(&self, mine: NodeId, other: &Self, theirs: NodeId) -> bool {
        let (a, b) = (self.store.node(mine), other.store.node(theirs));
        a.name() == b.name()
            && a.data() == b.data()
            && a.stat == b.stat
            && a.child_count() == b.child_count()
            && self.list(mine) == other.list(theirs)
    }
}

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        if self.last != other.last
            || self.digest != other.digest
            || self.store.len() != other.store.len()
            || self.sessions != other.sessions
        {
            return false;
        }
        let mut open = alloc::vec![(NodeId::ROOT, NodeId::ROOT)];
        while let Some((mine, theirs)) = open.pop() {
            if !self.same_node(mine, other, theirs) {
                return false;
            }
            open.extend(self.store.child_ids(mine).zip(other.store.child_ids(theirs)));
        }
        true
    }
}

impl Eq for Tree {}

impl Hash for Tree {
    /// Walks the whole tree in the order of its content: for models, whose trees are small.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.last.hash(state);
        self.sessions.hash(state);
        self.store.len().hash(state);
        let mut open = alloc::vec![NodeId::ROOT];
        while let Some(id) = open.pop() {
            let node: &Node = self.store.node(id);
            node.name().hash(state);
            node.data().hash(state);
            node.stat.hash(state);
            node.child_count().hash(state);
            self.list(id).hash(state);
            open.extend(self.store.child_ids(id));
        }
    }
}

#[expect(clippy::missing_fields_in_debug, reason = "the nodes are the fields, in order")]
impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tree = f.debug_struct("Tree");
        tree.field("last", &self.last).field("sessions", &self.sessions);
        let mut open = alloc::vec![NodeId::ROOT];
        while let Some(id) = open.pop() {
            let node = self.store.node(id);
            let path = self.store.path(id);
            let data = node.data().map(alloc::string::String::from_utf8_lossy);
            tree.field(if path.is_empty() { "/" } else { &path }, &(data, node.stat, self.list(id)));
            let at = open.len();
            open.extend(self.store.child_ids(id));
            open[at..].reverse();
        }
        tree.finish()
    }
}
