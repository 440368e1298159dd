//! One node, and where nodes are kept.
//!
//! A million znodes should fit in a quarter of a gigabyte, so a node has no path of its own: it knows its parent and
//! its name, and name and data share one allocation. One index over all nodes finds a node by the hash of its whole
//! path; a hit is verified name by name up to the root, over parents that are almost always hot.
//!
//! Nodes stand in blocks that never move as a whole, and the index is split in shards, so that no single insertion
//! pays for copying everything.

use alloc::{boxed::Box, collections::BTreeSet, string::String, vec::Vec};
use core::{fmt, hash::BuildHasher};

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::{
    StatPersisted, Text,
    acl_table::AclKey,
    children::{ChildList, Children, Position},
};

/// A node's place in its store; used again when the node is gone.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct NodeId(u32);

impl NodeId {
    /// The root, which is always there.
    pub(crate) const ROOT: Self = Self(0);
}

/// One znode.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) stat: StatPersisted,
    parent: NodeId,
    pub(crate) acl: AclKey,
    /// Its part of the tree's digest.
    pub(crate) digest: u32,
    /// Of the whole path, for the index.
    hash: u32,
    name_len: u32,
    has_data: bool,
    /// Name and data, one behind the other.
    bytes: Box<[u8]>,
    pub(crate) children: Option<Box<ChildList>>,
}

impl Node {
    /// Its name; the root's is empty.
    pub(crate) fn name(&self) -> &[u8] {
        &self.bytes[..self.name_len as usize]
    }

    /// Its data; null and empty differ.
    pub(crate) fn data(&self) -> Option<&[u8]> {
        self.has_data.then(|| &self.bytes[self.name_len as usize..])
    }

    /// The length of its data in bytes, 0 if they are null.
    pub(crate) fn data_len(&self) -> usize {
        self.bytes.len() - self.name_len as usize
    }

    /// Replaces its data.
    pub(crate) fn set_data(&mut self, data: Option<&[u8]>) {
        self.has_data = data.is_some();
        let new = data.unwrap_or_default();
        // Values of a node often have one length: then its memory is used again.
        match self.bytes.get_mut(self.name_len as usize..) {
            Some(old) if old.len() == new.len() => old.copy_from_slice(new),
            _ => self.bytes = join(self.name(), data),
        }
    }

    pub(crate) fn child_count(&self) -> usize {
        self.children.as_ref().map_or(0, |children| children.len())
    }
}

fn join(name: &[u8], data: Option<&[u8]>) -> Box<[u8]> {
    let data = data.unwrap_or_default();
    let mut bytes = Vec::with_capacity(name.len() + data.len());
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(data);
    bytes.into_boxed_slice()
}

/// What a new node has.
#[derive(Clone, Copy)]
pub(crate) struct Content<'a> {
    pub(crate) data: Option<&'a [u8]>,
    pub(crate) acl: AclKey,
    pub(crate) stat: StatPersisted,
}

/// How many nodes a block holds.
const BLOCK: usize = 1024;
/// How many parts the index has.
const SHARDS: usize = 64;

/// All nodes of a tree.
#[derive(Clone)]
pub(crate) struct Store {
    blocks: Vec<Vec<Node>>,
    /// Places whose node is gone.
    free: Vec<NodeId>,
    shards: Vec<HashTable<NodeId>>,
    hasher: DefaultHashBuilder,
    len: usize,
}

impl Store {
    /// A store with nothing but a root.
    pub(crate) fn new(root: Content<'_>) -> Self {
        let mut store = Self {
            blocks: Vec::new(),
            free: Vec::new(),
            shards: (0..SHARDS).map(|_| HashTable::new()).collect(),
            hasher: DefaultHashBuilder::default(),
            len: 0,
        };
        let node = store.new_node("", NodeId::ROOT, b"", root);
        let id = store.place(node);
        assert_eq!(id, NodeId::ROOT, "the root comes first");
        store
    }

    /// How many nodes there are, the root included.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        let id = id.0 as usize;
        &self.blocks[id / BLOCK][id % BLOCK]
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        let id = id.0 as usize;
        &mut self.blocks[id / BLOCK][id % BLOCK]
    }

    /// What the nodes have as their owners, 0 where there is none, places that are free included.
    pub(crate) fn owners(&self) -> impl Iterator<Item = i64> + '_ {
        self.blocks.iter().flatten().map(|node| node.stat.ephemeral_owner)
    }

    /// The node at this path, the root's being empty.
    pub(crate) fn find(&self, path: &str) -> Option<NodeId> {
        if path.is_empty() {
            return Some(NodeId::ROOT);
        }
        let hash = self.hash(path);
        self.shard(hash).find(spread(hash), |&id| self.is_at(id, hash, path)).copied()
    }

    /// Puts a node at a path where there is none, below its parent.
    pub(crate) fn insert(&mut self, path: &str, parent: NodeId, name: &str, content: Content<'_>) -> NodeId {
        let position =
            ChildList::position(self, parent, name.as_bytes()).expect_err("there is no such node yet");
        let node = self.new_node(path, parent, name.as_bytes(), content);
        let hash = node.hash;
        let id = self.place(node);
        self.node_mut(parent).children.get_or_insert_default().insert(position, id);
        let Self { blocks, shards, .. } = self;
        shards[shard_of(hash)].insert_unique(spread(hash), id, |&id| {
            let id = id.0 as usize;
            spread(blocks[id / BLOCK][id % BLOCK].hash)
        });
        id
    }

    /// The child of this name, and its place. Who takes many out by their names finds each where the one before it
    /// stood: there it is looked for first.
    pub(crate) fn child(&self, parent: NodeId, name: &[u8], hint: Position) -> Option<(NodeId, Position)> {
        let list = self.node(parent).children.as_deref()?;
        let hinted = list.at(hint).filter(|(id, _)| self.node(*id).name() == name);
        hinted.or_else(|| list.at(ChildList::position(self, parent, name).ok()?))
    }

    /// Takes children of these names out of the index, which are to be removed next. Each stands somewhere else in it: in
    /// a row the processor waits for several at once.
    pub(crate) fn unindex_children<'a>(
        &mut self,
        parent: NodeId,
        names: impl Iterator<Item = &'a [u8]>,
        mut hint: Position,
    ) {
        let mut going = Vec::new();
        for name in names {
            if let Some((id, at)) = self.child(parent, name, hint) {
                going.push(id);
                hint = at.next();
            }
        }
        for id in going {
            self.unindex(id);
        }
    }

    /// Takes a node out of the index, which is to be removed next.
    pub(crate) fn unindex(&mut self, id: NodeId) {
        let hash = self.node(id).hash;
        if let Ok(entry) = self.shards[shard_of(hash)].find_entry(spread(hash), |&other| other == id) {
            entry.remove();
        }
    }

    /// A node's place among its parent's children.
    pub(crate) fn position(&self, id: NodeId) -> Position {
        let node = self.node(id);
        ChildList::position(self, node.parent, node.name()).expect("its parent has it")
    }

    /// Takes a node without children out, which is in the index no longer and stands at this place among its parent's.
    pub(crate) fn remove(&mut self, id: NodeId, position: Position) {
        let node = self.node(id);
        assert!(id != NodeId::ROOT && node.child_count() == 0, "a leaf is removed");
        let parent = node.parent;
        let siblings = &mut self.node_mut(parent).children;
        if let Some(list) = siblings {
            list.remove(position);
            if list.len() == 0 {
                *siblings = None;
            }
        }
        let node = self.node_mut(id);
        node.stat = StatPersisted::default();
        node.bytes = Box::default();
        node.name_len = 0;
        self.free.push(id);
        self.len -= 1;
    }

    /// The names of a node's children, in order.
    pub(crate) fn children(&self, id: NodeId) -> Children<'_> {
        Children::new(self, self.node(id).children.as_deref())
    }

    /// The whole path of a node, the root's being empty.
    pub(crate) fn path(&self, id: NodeId) -> String {
        let mut path = Vec::new();
        self.push_path(id, &mut Vec::new(), &mut path);
        String::from_utf8(path).expect("names are UTF-8")
    }

    /// Adds a node's path; `names` is room to work in, and empty before and behind.
    fn push_path<'a>(&'a self, id: NodeId, names: &mut Vec<&'a [u8]>, path: &mut Vec<u8>) {
        let mut at = id;
        while at != NodeId::ROOT {
            let node = self.node(at);
            names.push(node.name());
            at = node.parent;
        }
        for name in names.drain(..).rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
    }

    /// The nodes below a node, each before what stands below it.
    pub(crate) fn below(&self, id: NodeId) -> Vec<NodeId> {
        let mut found: Vec<NodeId> = self.child_ids(id).collect();
        let mut next = 0;
        while let Some(&at) = found.get(next) {
            found.extend(self.child_ids(at));
            next += 1;
        }
        found
    }

    /// How many nodes there are below a node.
    pub(crate) fn count_below(&self, id: NodeId) -> usize {
        let (mut count, mut open) = (0, Vec::from([id]));
        while let Some(at) = open.pop() {
            count += self.node(at).child_count();
            open.extend(self.child_ids(at).filter(|child| self.node(*child).child_count() > 0));
        }
        count
    }

    /// A node's children, in the order of names.
    pub(crate) fn child_ids(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.node(id).children.iter().flat_map(|children| children.iter())
    }

    /// The paths of these nodes, in the order of nodes; they share one buffer.
    pub(crate) fn paths(&self, ids: &BTreeSet<NodeId>) -> Vec<Text> {
        let (mut names, mut all) = (Vec::new(), Vec::new());
        let mut ends = Vec::with_capacity(ids.len());
        for &id in ids {
            self.push_path(id, &mut names, &mut all);
            ends.push(all.len());
        }
        let all = Bytes::from(all);
        let mut start = 0;
        let path = |end| Text::from_utf8(all.slice(core::mem::replace(&mut start, end)..end));
        ends.into_iter().map(path).map(|path| path.expect("names are UTF-8")).collect()
    }

    fn new_node(&self, path: &str, parent: NodeId, name: &[u8], content: Content<'_>) -> Node {
        Node {
            stat: content.stat,
            parent,
            acl: content.acl,
            digest: 0,
            hash: self.hash(path),
            name_len: u32::try_from(name.len()).expect("a name is shorter than 4 GiB"),
            has_data: content.data.is_some(),
            bytes: join(name, content.data),
            children: None,
        }
    }

    fn place(&mut self, node: Node) -> NodeId {
        self.len += 1;
        if let Some(id) = self.free.pop() {
            *self.node_mut(id) = node;
            return id;
        }
        if self.blocks.last().is_none_or(|block| block.len() == BLOCK) {
            self.blocks.push(Vec::new());
        }
        let full = (self.blocks.len() - 1) * BLOCK;
        let block = self.blocks.last_mut().expect("there is one now");
        let id = u32::try_from(full + block.len()).expect("fewer than 2^32 nodes");
        block.push(node);
        NodeId(id)
    }

    fn is_at(&self, id: NodeId, hash: u32, path: &str) -> bool {
        let (mut at, mut rest) = (id, path.as_bytes());
        if self.node(at).hash != hash {
            return false;
        }
        while at != NodeId::ROOT {
            let node = self.node(at);
            let Some(before) = rest.strip_suffix(node.name()).and_then(|rest| rest.strip_suffix(b"/")) else {
                return false;
            };
            (at, rest) = (node.parent, before);
        }
        rest.is_empty()
    }

    fn hash(&self, path: &str) -> u32 {
        u32::try_from(self.hasher.hash_one(path.as_bytes()) >> 32).unwrap_or_default()
    }

    fn shard(&self, hash: u32) -> &HashTable<NodeId> {
        &self.shards[shard_of(hash)]
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("len", &self.len).finish_non_exhaustive()
    }
}

/// The high bits, for the tables take their buckets from the low ones: shards by these would leave 63 of 64 buckets
/// without an entry of their own.
fn shard_of(hash: u32) -> usize {
    hash as usize / ((1 << 32) / SHARDS)
}

/// The table takes its bucket from the low bits and a tag from the top seven.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
pub(crate) mod tests {
    use alloc::format;

    use super::*;

    fn content(data: Option<&[u8]>) -> Content<'_> {
        Content { data, acl: AclKey::OPEN, stat: StatPersisted::default() }
    }

    /// How many nodes the index has.
    pub(crate) fn indexed(store: &Store) -> usize {
        store.shards.iter().map(HashTable::len).sum()
    }

    /// Takes a child of the root out.
    fn take_out(store: &mut Store, name: &str) -> NodeId {
        let found = store.child(NodeId::ROOT, name.as_bytes(), Position::default());
        let (id, position) = found.expect("was inserted");
        store.unindex(id);
        store.remove(id, position);
        id
    }

    #[test]
    fn a_node_is_found_by_its_whole_path_only() {
        let mut store = Store::new(content(None));
        let a = store.insert("/a", NodeId::ROOT, "a", content(None));
        let b = store.insert("/a/b", a, "b", content(Some(b"x")));
        for (path, expected) in [("", Some(NodeId::ROOT)), ("/a", Some(a)), ("/a/b", Some(b))] {
            assert_eq!(store.find(path), expected, "{path}");
        }
        for missing in ["/", "a", "/b", "/a/", "//a", "/a/b/", "/a//b", "/x/b"] {
            assert_eq!(store.find(missing), None, "{missing}");
        }
        assert_eq!(store.path(b), "/a/b");
        assert_eq!(store.node(b).data(), Some(&b"x"[..]));
    }

    #[test]
    fn places_are_used_again_and_the_index_follows() {
        let mut store = Store::new(content(None));
        let count = 5000;
        for round in 0..3 {
            for i in 0..count {
                let path = format!("/{round}-{i}");
                store.insert(&path, NodeId::ROOT, &path[1..], content(None));
            }
            for i in (0..count).step_by(2).chain((1..count).step_by(2)) {
                let path = format!("/{round}-{i}");
                let id = store.find(&path).expect("was inserted");
                assert_eq!(take_out(&mut store, &path[1..]), id);
                assert_eq!(store.find(&path), None);
            }
        }
        assert_eq!((store.len(), indexed(&store)), (1, 0));
        assert_eq!(store.blocks.iter().map(Vec::len).sum::<usize>(), count + 1);
        assert!(store.node(NodeId::ROOT).children.is_none());
    }

    #[test]
    fn what_leaves_the_index_together_is_what_was_named() {
        let mut store = Store::new(content(None));
        let children: Vec<String> = (0..3000).map(|i| format!("{i:04}")).collect();
        for name in &children {
            store.insert(&format!("/{name}"), NodeId::ROOT, name, content(None));
        }
        let going = children.iter().filter(|name| name.ends_with(['2', '3', '4']));
        let named = going.clone().map(String::as_bytes).chain([&b"none"[..]]);
        store.unindex_children(NodeId::ROOT, named, Position::default());
        for name in &children {
            let is_found = store.find(&format!("/{name}")).is_some();
            assert_ne!(is_found, going.clone().any(|other| other == name), "{name}");
        }
        assert_eq!(indexed(&store), 2100);
    }

    #[test]
    fn a_node_takes_this_many_bytes() {
        assert!(size_of::<Node>() <= 112, "{}", size_of::<Node>());
    }
}
