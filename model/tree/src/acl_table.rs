//! Each access control list once: nodes hold its number.
//!
//! Source: ZooKeeper `ReferenceCountedACLCache`. A number is not used again before all others were, so that a walk over
//! an earlier state may keep it.

use alloc::{collections::BTreeMap, sync::Arc, vec, vec::Vec};

use crate::{Acl, acl};

/// The number of a list in its tree.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct AclKey(u32);

impl AclKey {
    /// The list that lets everybody do everything; it is not in the table.
    pub(crate) const OPEN: Self = Self(0);

    /// The number as snapshots have it: −1 is the open list.
    pub(crate) fn number(self) -> i64 {
        if self == Self::OPEN { -1 } else { i64::from(self.0) }
    }
}

#[derive(Clone)]
struct Entry {
    list: Arc<[Acl]>,
    nodes: u32,
}

/// The table.
#[derive(Clone)]
pub(crate) struct AclTable {
    open: Arc<[Acl]>,
    entries: BTreeMap<AclKey, Entry>,
    keys: BTreeMap<Arc<[Acl]>, AclKey>,
    last: u32,
}

impl AclTable {
    pub(crate) fn new() -> Self {
        Self {
            open: Arc::from(vec![Acl::world(acl::ALL)]),
            entries: BTreeMap::new(),
            keys: BTreeMap::new(),
            last: 0,
        }
    }

    /// The list with this number.
    pub(crate) fn list(&self, key: AclKey) -> &[Acl] {
        if key == AclKey::OPEN { &self.open } else { &self.entries[&key].list }
    }

    /// Counts one more node with this list, and says its number.
    pub(crate) fn acquire(&mut self, list: &[Acl]) -> AclKey {
        if *list == *self.open {
            return AclKey::OPEN;
        }
        if let Some(&key) = self.keys.get(list) {
            self.retain(key);
            return key;
        }
        let key = self.next_key();
        let detached = list.iter().map(|entry| Acl {
            perms: entry.perms,
            scheme: entry.scheme.detached(),
            id: entry.id.detached(),
        });
        let list: Arc<[Acl]> = detached.collect();
        self.keys.insert(Arc::clone(&list), key);
        self.entries.insert(key, Entry { list, nodes: 1 });
        key
    }

    /// The number behind the last one that no list has.
    fn next_key(&mut self) -> AclKey {
        loop {
            self.last = self.last.checked_add(1).unwrap_or(AclKey::OPEN.0 + 1);
            let key = AclKey(self.last);
            if !self.entries.contains_key(&key) {
                return key;
            }
        }
    }

    /// Counts one more node with the list of this number.
    pub(crate) fn retain(&mut self, key: AclKey) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.nodes += 1;
        }
    }

    /// Counts one node less; a list without a node goes.
    pub(crate) fn release(&mut self, key: AclKey) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.nodes -= 1;
        if entry.nodes == 0 {
            self.keys.remove(&entry.list);
            self.entries.remove(&key);
        }
    }

    /// Every list but the open one, with its number as snapshots have it, in the order of numbers.
    pub(crate) fn lists(&self) -> Vec<(i64, Arc<[Acl]>)> {
        self.entries.iter().map(|(key, entry)| (key.number(), Arc::clone(&entry.list))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_lives_as_long_as_its_last_node() {
        let mut table = AclTable::new();
        let read = [Acl::world(acl::READ)];
        let first = table.acquire(&read);
        assert_eq!(table.acquire(&read), first);
        table.release(first);
        assert_eq!(table.list(first), read);
        table.release(first);
        assert!(table.lists().is_empty());
        assert_ne!(table.acquire(&read), first, "a number is not used again at once");
    }

    #[test]
    fn numbers_begin_anew_and_leave_out_those_in_use() {
        let mut table = AclTable::new();
        let lists = [1, 2, 3].map(|perms| [Acl::world(perms)]);
        assert_eq!(table.acquire(&lists[0]), AclKey(1));
        table.last = u32::MAX - 1;
        assert_eq!(
            lists[1..].iter().map(|list| table.acquire(list)).collect::<Vec<_>>(),
            [AclKey(u32::MAX), AclKey(2)]
        );
        assert_eq!(table.list(AclKey(1)), lists[0]);
    }

    #[test]
    fn the_open_list_has_no_entry() {
        let mut table = AclTable::new();
        let key = table.acquire(&[Acl::world(acl::ALL)]);
        assert_eq!(key.number(), -1);
        table.release(key);
        assert_eq!(table.list(key), [Acl::world(acl::ALL)]);
    }
}
