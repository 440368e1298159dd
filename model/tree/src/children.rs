//! A node's children, always in the order of their names.
//!
//! Sorted lists make everything that walks the tree a function of its content, whatever the order in which nodes were
//! put in. A list is cut in blocks, so that a node with a million children takes new ones as fast as a small one.

use alloc::vec::Vec;
use core::{cmp::Ordering, fmt, iter::Flatten, slice};

use crate::node::{NodeId, Store};

/// How many children a block holds before it is cut in two.
const BLOCK: usize = 512;

/// The children of one node.
#[derive(Clone, Default)]
pub(crate) struct ChildList {
    /// None is empty.
    blocks: Vec<Vec<NodeId>>,
    len: usize,
}

/// A child's place in its list, or where it would stand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Position {
    block: usize,
    index: usize,
}

impl Position {
    /// The place behind it.
    pub(crate) fn next(self) -> Self {
        Self { index: self.index + 1, ..self }
    }
}

impl ChildList {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.blocks.iter().flatten().copied()
    }

    /// The child at a place, and that place. A place behind the end of its block means the next block's start.
    pub(crate) fn at(&self, position: Position) -> Option<(NodeId, Position)> {
        let Position { mut block, mut index } = position;
        if index == self.blocks.get(block)?.len() {
            (block, index) = (block + 1, 0);
        }
        let id = *self.blocks.get(block)?.get(index)?;
        Some((id, Position { block, index }))
    }

    /// The child at a place, and the place behind it.
    pub(crate) fn step(&self, position: Position) -> Option<(NodeId, Position)> {
        let (id, at) = self.at(position)?;
        Some((id, at.next()))
    }

    /// Where the child with this name stands, or, as the error, where it would.
    pub(crate) fn position(store: &Store, parent: NodeId, name: &[u8]) -> Result<Position, Position> {
        let Some(list) = store.node(parent).children.as_deref() else {
            return Err(Position::default());
        };
        let compare = |id: &NodeId| store.node(*id).name().cmp(name);
        // The first block whose last name is not before this one; names that come in order go to the end at once.
        let is_before = |block: &Vec<NodeId>| block.last().is_some_and(|id| compare(id) == Ordering::Less);
        let block = if list.blocks.last().is_some_and(is_before) {
            list.blocks.len() - 1
        } else {
            list.blocks.partition_point(is_before)
        };
        if list.blocks[block].last().is_some_and(|id| compare(id) == Ordering::Less) {
            return Err(Position { block, index: list.blocks[block].len() });
        }
        match list.blocks[block].binary_search_by(compare) {
            Ok(index) => Ok(Position { block, index }),
            Err(index) => Err(Position { block, index }),
        }
    }

    pub(crate) fn insert(&mut self, position: Position, id: NodeId) {
        self.len += 1;
        let Some(block) = self.blocks.get_mut(position.block) else {
            self.blocks.push(Vec::from([id]));
            return;
        };
        block.insert(position.index, id);
        if block.len() > BLOCK {
            // A list that grows at its end keeps its blocks full.
            let at = if position.index == BLOCK { BLOCK } else { BLOCK / 2 };
            let rest = block.split_off(at);
            self.blocks.insert(position.block + 1, rest);
        }
    }

    pub(crate) fn remove(&mut self, position: Position) {
        self.len -= 1;
        let block = &mut self.blocks[position.block];
        block.remove(position.index);
        if block.is_empty() {
            self.blocks.remove(position.block);
        } else if block.len() < BLOCK / 4 && position.block > 0 {
            let before = &self.blocks[position.block - 1];
            if before.len() < BLOCK / 4 {
                let block = self.blocks.remove(position.block);
                self.blocks[position.block - 1].extend(block);
            }
        }
    }
}

/// The names of a node's children as UTF-8, in the order of their bytes; knows its length.
#[derive(Clone)]
pub struct Children<'a> {
    store: &'a Store,
    ids: Flatten<slice::Iter<'a, Vec<NodeId>>>,
    left: usize,
}

impl<'a> Children<'a> {
    pub(crate) fn new(store: &'a Store, list: Option<&'a ChildList>) -> Self {
        let blocks: &[Vec<NodeId>] = list.map_or(&[], |list| &list.blocks);
        Self { store, ids: blocks.iter().flatten(), left: list.map_or(0, ChildList::len) }
    }
}

impl<'a> Iterator for Children<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let id = self.ids.next()?;
        self.left -= 1;
        Some(self.store.node(*id).name())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Children<'_> {}

impl fmt::Debug for Children<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone().map(alloc::string::String::from_utf8_lossy)).finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::{
        format,
        string::{String, ToString},
    };

    use super::*;
    use crate::{StatPersisted, acl_table::AclKey, node::Content};

    const CONTENT: Content<'_> = Content {
        data: None,
        acl: AclKey::OPEN,
        stat: StatPersisted {
            czxid: 0,
            mzxid: 0,
            ctime: 0,
            mtime: 0,
            version: 0,
            cversion: 0,
            aversion: 0,
            ephemeral_owner: 0,
            pzxid: 0,
        },
    };

    fn names(store: &Store) -> Vec<String> {
        store.children(NodeId::ROOT).map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    #[test]
    fn names_stay_in_order_through_cuts_and_merges() {
        let count = 4 * BLOCK;
        for stride in [1, 7, count - 1] {
            let mut store = Store::new(CONTENT);
            let mut expected = Vec::new();
            for i in 0..count {
                let name = format!("{:05}", i * stride % count);
                store.insert(&format!("/{name}"), NodeId::ROOT, &name, CONTENT);
                expected.push(name);
            }
            expected.sort();
            assert_eq!(names(&store), expected);
            assert_eq!(store.children(NodeId::ROOT).len(), count);
            for i in 0..count {
                let name = format!("{:05}", i * 3 % count);
                if !i.is_multiple_of(5) {
                    let found = store.child(NodeId::ROOT, name.as_bytes(), Position::default());
                    let (id, position) = found.expect("is there");
                    store.unindex(id);
                    store.remove(id, position);
                    expected.retain(|other| *other != name);
                }
            }
            assert_eq!(names(&store), expected, "stride {stride}");
        }
    }

    #[test]
    fn a_missing_name_has_a_place() {
        let mut store = Store::new(CONTENT);
        for name in ["b", "d"] {
            store.insert(&format!("/{name}"), NodeId::ROOT, name, CONTENT);
        }
        let rows =
            [("a", false, "b"), ("b", true, "b"), ("c", false, "d"), ("d", true, "d"), ("e", false, "")];
        for (name, there, next) in rows {
            let found = ChildList::position(&store, NodeId::ROOT, name.as_bytes());
            assert_eq!(found.is_ok(), there, "{name}");
            let list = store.node(NodeId::ROOT).children.as_deref().expect("has children");
            let (Ok(position) | Err(position)) = found;
            let at =
                list.step(position).map(|(id, _)| String::from_utf8_lossy(store.node(id).name()).to_string());
            assert_eq!(at.unwrap_or_default(), next, "{name}");
        }
    }
}
