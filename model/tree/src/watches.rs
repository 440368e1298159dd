//! The watches of one server's connections: a value beside the tree (rules T-13 to T-15, T-19).
//!
//! A watch belongs to a connection. A standard one is gone once it has fired; persistent ones stay, and of these the
//! recursive ones also see what happens to the nodes below. Watches are found by their path when the tree changes, and
//! by their connection when that closes. One connection may have watches of several modes on one path.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use serde::{Deserialize, Serialize};
use spec::ClientId;

use crate::{Acl, Event, EventKind, Identity, Text, WatchChoice, acl::READ, acl_table::AclKey, auth, path};

/// What a watch waits for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum WatchKind {
    /// The node is created, deleted, or its data set.
    Data,
    /// A child is created or deleted, or the node itself deleted.
    Child,
}

/// How long a watch that is added by name stays, and how far it sees.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[repr(i32)]
pub enum WatchMode {
    /// For all that happens to the node and its children, and it stays.
    Persistent = 0,
    /// For all that happens to the node and every node below, and it stays. It hears of no children: each of them is a
    /// node below.
    Recursive = 1,
}

impl WatchMode {
    /// The mode with this number.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::Persistent, Self::Recursive].into_iter().find(|mode| mode.number() == number)
    }

    /// The number on the wire.
    pub fn number(self) -> i32 {
        self as i32
    }
}

/// The modes of the watches that a connection has on one path, as bits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
struct Modes(u8);

impl Modes {
    const NONE: Self = Self(0);
    const STANDARD: Self = Self(1);
    const PERSISTENT: Self = Self(2);
    const RECURSIVE: Self = Self(4);
    const ALL: Self = Self(7);

    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Who watches a path, and how.
type Watchers = BTreeMap<ClientId, Modes>;

/// All watches of a server.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Watches {
    data: BTreeMap<Text, Watchers>,
    child: BTreeMap<Text, Watchers>,
    /// Those that have a watch.
    clients: BTreeMap<ClientId, Watcher>,
    /// How many of the watches are recursive. With none, no path's parents are looked up.
    recursive: usize,
}

#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
struct Watcher {
    /// Whom the connection has authenticated as.
    identities: Vec<Identity>,
    watches: BTreeSet<(WatchKind, Text)>,
}

/// Where events go.
pub(crate) type Notify<'a> = &'a mut dyn FnMut(ClientId, &Event);

/// A list with its number in the tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed<'a> {
    pub(crate) key: AclKey,
    pub(crate) entries: &'a [Acl],
}

/// Where the events of one transaction go, and what was found on the way: a multi may tell the same watchers of changes
/// under the same list thousands of times, and both may be long.
pub(crate) struct Telling<'a> {
    notify: Notify<'a>,
    /// Whether a watcher may read under a list.
    may: BTreeMap<(AclKey, ClientId), bool>,
}

/// How many comparisons are made again rather than remembered.
const FEW: usize = 16;

impl<'a> Telling<'a> {
    pub(crate) fn new(notify: Notify<'a>) -> Self {
        Self { notify, may: BTreeMap::new() }
    }

    fn may_read(&mut self, list: Listed<'_>, client: ClientId, identities: &[Identity]) -> bool {
        let judge = || auth::permits(list.entries, READ, identities);
        if auth::cost(list.entries, identities) <= FEW {
            return judge();
        }
        *self.may.entry((list.key, client)).or_insert_with(judge)
    }
}

impl Watches {
    /// Leaves a standard watch on a path, of a client with these identities. Leaving the same twice is leaving it once.
    pub fn leave(&mut self, kind: WatchKind, path: &Text, client: ClientId, identities: &[Identity]) {
        self.insert(kind, Modes::STANDARD, path, client, identities);
    }

    /// Adds a watch that stays.
    pub fn add(&mut self, mode: WatchMode, path: &Text, client: ClientId, identities: &[Identity]) {
        match mode {
            WatchMode::Persistent => {
                self.insert(WatchKind::Data, Modes::PERSISTENT, path, client, identities);
                self.insert(WatchKind::Child, Modes::PERSISTENT, path, client, identities);
            }
            WatchMode::Recursive => {
                self.insert(WatchKind::Data, Modes::RECURSIVE, path, client, identities);
            }
        }
    }

    /// Whether a connection has such a watch on a path.
    pub fn has(&self, which: WatchChoice, path: &Text, client: ClientId) -> bool {
        let modes = |table: &BTreeMap<Text, Watchers>| {
            table.get(path).and_then(|watchers| watchers.get(&client)).copied().unwrap_or(Modes::NONE)
        };
        let (data, child) = chosen(which);
        modes(&self.data).meets(data) || modes(&self.child).meets(child)
    }

    /// Takes such watches of a connection on a path back. Whether there was any.
    pub fn take_back(&mut self, which: WatchChoice, path: &Text, client: ClientId) -> bool {
        let is_there = self.has(which, path, client);
        if is_there {
            let (data, child) = chosen(which);
            self.remove(WatchKind::Data, data, path, client);
            self.remove(WatchKind::Child, child, path, client);
        }
        is_there
    }

    /// Tells whom a connection has authenticated as by now, if it has left watches.
    pub fn identify(&mut self, client: ClientId, identities: &[Identity]) {
        if let Some(watcher) = self.clients.get_mut(&client) {
            watcher.identities = identities.to_vec();
        }
    }

    /// Drops every watch of a connection.
    pub fn forget(&mut self, client: ClientId) {
        let Some(watcher) = self.clients.remove(&client) else { return };
        for (kind, path) in watcher.watches {
            let table = self.table(kind);
            let Some(watchers) = table.get_mut(&path) else { continue };
            let modes = watchers.remove(&client).unwrap_or(Modes::NONE);
            if watchers.is_empty() {
                table.remove(&path);
            }
            self.recursive -= usize::from(modes.meets(Modes::RECURSIVE));
        }
    }

    /// How many watches there are. Several of one connection on one path, for one kind of event, count once.
    pub fn len(&self) -> usize {
        self.clients.values().map(|watcher| watcher.watches.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty() && self.child.is_empty()
    }

    /// Every path whose node is watched, with the connections that do, to look at. Watches of children are left out.
    pub fn of_data(&self) -> impl Iterator<Item = (&Text, impl Iterator<Item = ClientId>)> {
        self.data.iter().map(|(path, watchers)| (path, watchers.keys().copied()))
    }

    /// How many connections watch nodes, how many nodes they watch, and how many watches these are. As above.
    pub fn of_data_counts(&self) -> (usize, usize, usize) {
        // Those of nodes stand before those of children.
        let watches_nodes =
            |watcher: &&Watcher| watcher.watches.first().is_some_and(|(kind, _)| *kind == WatchKind::Data);
        let connections = self.clients.values().filter(watches_nodes).count();
        (connections, self.data.len(), self.data.values().map(BTreeMap::len).sum())
    }

    /// The node was created.
    pub(crate) fn created(&mut self, path: &Text, list: Listed<'_>, telling: &mut Telling<'_>) {
        if !self.is_empty() {
            self.fire(WatchKind::Data, EventKind::NodeCreated, path, list, &BTreeSet::new(), telling);
        }
    }

    /// The node's data was set.
    pub(crate) fn data_changed(&mut self, path: &Text, list: Listed<'_>, telling: &mut Telling<'_>) {
        if !self.is_empty() {
            self.fire(WatchKind::Data, EventKind::NodeDataChanged, path, list, &BTreeSet::new(), telling);
        }
    }

    /// The node was deleted; `list` is its last one. Who watched it for data and for children is told once.
    pub(crate) fn deleted(&mut self, path: &Text, list: Listed<'_>, telling: &mut Telling<'_>) {
        if !self.is_empty() {
            let told =
                self.fire(WatchKind::Data, EventKind::NodeDeleted, path, list, &BTreeSet::new(), telling);
            self.fire(WatchKind::Child, EventKind::NodeDeleted, path, list, &told, telling);
        }
    }

    /// A child of the node was created or deleted.
    pub(crate) fn children_changed(&mut self, path: &Text, list: Listed<'_>, telling: &mut Telling<'_>) {
        if !self.is_empty() {
            self.fire(
                WatchKind::Child,
                EventKind::NodeChildrenChanged,
                path,
                list,
                &BTreeSet::new(),
                telling,
            );
        }
    }

    /// Tells those who watch a path, and may read the node, in the order of their numbers; standard watches are
    /// consumed. Says who watched.
    fn fire(
        &mut self,
        kind: WatchKind,
        event: EventKind,
        path: &Text,
        list: Listed<'_>,
        told: &BTreeSet<ClientId>,
        telling: &mut Telling<'_>,
    ) -> BTreeSet<ClientId> {
        let mut clients = self.consume(kind, path);
        if kind == WatchKind::Data && self.recursive > 0 {
            self.find_recursive(path, &mut clients);
        }
        if clients.is_empty() {
            return clients;
        }
        let event = Event { kind: event, path: path.clone() };
        for client in &clients {
            let Some(watcher) = self.clients.get(client) else { continue };
            if !told.contains(client) && telling.may_read(list, *client, &watcher.identities) {
                (telling.notify)(*client, &event);
            }
            if watcher.watches.is_empty() {
                self.clients.remove(client);
            }
        }
        clients
    }

    /// All who watch this path; their standard watches are gone.
    fn consume(&mut self, kind: WatchKind, path: &Text) -> BTreeSet<ClientId> {
        let Some((path, mut watchers)) = self.table(kind).remove_entry(path) else {
            return BTreeSet::new();
        };
        let clients = watchers.keys().copied().collect();
        let watch = (kind, path);
        watchers.retain(|client, modes| {
            *modes = modes.without(Modes::STANDARD);
            let stays = *modes != Modes::NONE;
            if !stays && let Some(watcher) = self.clients.get_mut(client) {
                watcher.watches.remove(&watch);
            }
            stays
        });
        if !watchers.is_empty() {
            self.table(kind).insert(watch.1, watchers);
        }
        clients
    }

    /// Adds who watches a node above this one recursively.
    fn find_recursive(&self, path: &Text, clients: &mut BTreeSet<ClientId>) {
        for above in path::above(path.as_str()) {
            let Some(watchers) = self.data.get(above.as_bytes()) else { continue };
            let recursive = watchers.iter().filter(|(_, modes)| modes.meets(Modes::RECURSIVE));
            clients.extend(recursive.map(|(client, _)| *client));
        }
    }

    fn insert(
        &mut self,
        kind: WatchKind,
        modes: Modes,
        path: &Text,
        client: ClientId,
        identities: &[Identity],
    ) {
        let table = self.table(kind);
        // The path is the slice of a request; a watch outlives that.
        let path = table.get_key_value(path).map_or_else(|| path.detached(), |(path, _)| path.clone());
        let all = table.entry(path.clone()).or_default().entry(client).or_insert(Modes::NONE);
        let is_new = !all.meets(modes);
        *all = all.and(modes);
        self.recursive += usize::from(is_new && modes.meets(Modes::RECURSIVE));
        let watcher = self.clients.entry(client).or_default();
        if watcher.identities != identities {
            watcher.identities = identities.to_vec();
        }
        watcher.watches.insert((kind, path));
    }

    fn remove(&mut self, kind: WatchKind, modes: Modes, path: &Text, client: ClientId) {
        let table = self.table(kind);
        let Some(watchers) = table.get_mut(path) else { return };
        let Some(all) = watchers.get_mut(&client) else { return };
        let before = *all;
        *all = before.without(modes);
        let is_gone = *all == Modes::NONE;
        if is_gone {
            watchers.remove(&client);
            if watchers.is_empty() {
                table.remove(path);
            }
        }
        self.recursive -= usize::from(before.meets(Modes::RECURSIVE) && modes.meets(Modes::RECURSIVE));
        if is_gone && let Some(watcher) = self.clients.get_mut(&client) {
            watcher.watches.remove(&(kind, path.clone()));
            if watcher.watches.is_empty() {
                self.clients.remove(&client);
            }
        }
    }

    fn table(&mut self, kind: WatchKind) -> &mut BTreeMap<Text, Watchers> {
        match kind {
            WatchKind::Data => &mut self.data,
            WatchKind::Child => &mut self.child,
        }
    }
}

/// The modes that a client means, in the tables of data watches and of child watches.
fn chosen(which: WatchChoice) -> (Modes, Modes) {
    match which {
        WatchChoice::Child => (Modes::NONE, Modes::STANDARD),
        WatchChoice::Data => (Modes::STANDARD, Modes::NONE),
        WatchChoice::Any => (Modes::ALL, Modes::ALL),
        WatchChoice::Persistent => (Modes::PERSISTENT, Modes::PERSISTENT),
        WatchChoice::Recursive => (Modes::RECURSIVE, Modes::NONE),
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::{
        acl::{ALL, WRITE},
        acl_table::AclTable,
    };

    fn acl(perms: i32, scheme: &str, id: &str) -> Acl {
        Acl { perms, scheme: Text::from(scheme), id: Text::from(id) }
    }

    type Change = fn(&mut Watches, &Text, Listed<'_>, &mut Telling<'_>);

    /// Fires one change over the watches and collects who was told what.
    fn fired(watches: &mut Watches, change: Change, entries: &[Acl]) -> Vec<(u64, i32)> {
        let mut told = Vec::new();
        let mut notify = |client: ClientId, event: &Event| {
            assert_eq!(event.path, "/a");
            told.push((client.0, event.kind.number()));
        };
        let list = Listed { key: AclKey::OPEN, entries };
        change(watches, &Text::from("/a"), list, &mut Telling::new(&mut notify));
        told
    }

    #[test]
    fn each_change_fires_its_watches_once() {
        /// What happens, who is told what, how many watches are left, and why.
        type Row = (Change, &'static [(u64, i32)], usize, &'static str);
        // Client 1 has a data watch, 2 a child watch, 3 both.
        let rows: &[Row] = &[
            (Watches::created, &[(1, 1), (3, 1)], 2, "created: data watches"),
            (Watches::data_changed, &[(1, 3), (3, 3)], 2, "data set: data watches"),
            (Watches::children_changed, &[(2, 4), (3, 4)], 2, "children: child watches"),
            (Watches::deleted, &[(1, 2), (3, 2), (2, 2)], 0, "deleted: both, and nobody twice"),
        ];
        for (change, expected, left, why) in rows {
            let mut watches = Watches::default();
            let path = Text::from("/a");
            for (kind, client) in
                [(WatchKind::Data, 1), (WatchKind::Child, 2), (WatchKind::Data, 3), (WatchKind::Child, 3)]
            {
                watches.leave(kind, &path, ClientId(client), &[]);
                watches.leave(kind, &path, ClientId(client), &[]);
            }
            assert_eq!(watches.len(), 4);
            assert_eq!(fired(&mut watches, *change, &[]), *expected, "{why}");
            assert_eq!(watches.len(), *left, "{why}");
            assert_eq!(fired(&mut watches, *change, &[]), [], "{why}: only once");
            assert_eq!(watches == Watches::default(), *left == 0, "{why}: nothing else is left");
        }
    }

    #[test]
    fn watches_that_stay_fire_beside_those_that_do_not() {
        // Client 1 has a persistent watch on the node, 2 a recursive one on it, 3 one on the root, 4 both and standard
        // ones, and 5 a recursive one beside it.
        let (mut watches, path) = (Watches::default(), Text::from("/a"));
        watches.add(WatchMode::Persistent, &path, ClientId(1), &[]);
        watches.add(WatchMode::Recursive, &path, ClientId(2), &[]);
        watches.add(WatchMode::Recursive, &Text::from("/"), ClientId(3), &[]);
        for mode in [WatchMode::Persistent, WatchMode::Recursive] {
            watches.add(mode, &path, ClientId(4), &[]);
        }
        watches.leave(WatchKind::Data, &path, ClientId(4), &[]);
        watches.leave(WatchKind::Child, &path, ClientId(4), &[]);
        watches.add(WatchMode::Recursive, &Text::from("/aa"), ClientId(5), &[]);
        assert_eq!(watches.len(), 2 + 1 + 1 + 2 + 1, "of one connection on one path, once for each kind");
        for _ in 0..2 {
            let told = |event| [1, 2, 3, 4].map(|client| (client, event));
            assert_eq!(fired(&mut watches, Watches::created, &[]), told(1));
            assert_eq!(fired(&mut watches, Watches::data_changed, &[]), told(3));
            assert_eq!(fired(&mut watches, Watches::children_changed, &[]), [(1, 4), (4, 4)]);
            assert_eq!(fired(&mut watches, Watches::deleted, &[]), told(2), "nobody twice");
        }
        for client in 1..=5 {
            watches.forget(ClientId(client));
        }
        assert_eq!(watches, Watches::default());
    }

    #[test]
    fn a_choice_of_watches_is_found_and_taken_back() {
        const CHOICES: [WatchChoice; 5] = [
            WatchChoice::Child,
            WatchChoice::Data,
            WatchChoice::Any,
            WatchChoice::Persistent,
            WatchChoice::Recursive,
        ];
        let (path, me) = (Text::from("/a"), ClientId(1));
        let all = || {
            let mut watches = Watches::default();
            watches.leave(WatchKind::Child, &path, me, &[]);
            watches.leave(WatchKind::Data, &path, me, &[]);
            watches.add(WatchMode::Persistent, &path, me, &[]);
            watches.add(WatchMode::Recursive, &path, me, &[]);
            watches.add(WatchMode::Recursive, &path, ClientId(2), &[]);
            watches
        };
        for which in CHOICES {
            let mut watches = all();
            assert!(watches.has(which, &path, me));
            assert!(!watches.has(which, &Text::from("/"), me), "no other path counts");
            assert!(watches.take_back(which, &path, me));
            assert!(!watches.take_back(which, &path, me), "it is gone");
            for other in CHOICES {
                let stays = which != WatchChoice::Any && other != which;
                assert_eq!(watches.has(other, &path, me), stays, "{other:?} behind {which:?}");
            }
            assert!(watches.has(WatchChoice::Recursive, &path, ClientId(2)), "that of another stays");
            watches.take_back(WatchChoice::Any, &path, me);
            watches.forget(ClientId(2));
            assert_eq!(watches, Watches::default(), "nothing else is left");
        }
    }

    #[test]
    fn who_may_not_read_is_not_told_and_loses_the_watch() {
        let reader = Identity { scheme: Text::from("digest"), id: Text::from("a:1") };
        let list = [acl(ALL, "digest", "a:1"), acl(WRITE, "world", "anyone")];
        let mut watches = Watches::default();
        let path = Text::from("/a");
        watches.leave(WatchKind::Data, &path, ClientId(1), &[]);
        watches.leave(WatchKind::Data, &path, ClientId(2), core::slice::from_ref(&reader));
        watches.leave(WatchKind::Data, &path, ClientId(3), &[]);
        watches.identify(ClientId(3), &[reader]);
        assert_eq!(fired(&mut watches, Watches::data_changed, &list), [(2, 3), (3, 3)]);
        assert!(watches.is_empty());
    }

    #[test]
    fn what_a_transaction_remembers_of_a_list_is_true_of_that_list_alone() {
        let entries = |named: u32| -> Vec<Acl> {
            (0..20).map(|user| acl(ALL, "digest", &format!("u{}:1", user + named))).collect()
        };
        let lists = [entries(0), entries(100)];
        let mut table = AclTable::new();
        let keys = lists.each_ref().map(|list| table.acquire(list));
        let mut watches = Watches::default();
        let path = Text::from("/a");
        for client in [1, 2] {
            let user = |number: u64| Identity {
                scheme: Text::from("digest"),
                id: Text::from(format!("u{}:1", number + 100 * (client - 1)).as_str()),
            };
            let identities: Vec<_> = (15..25).map(user).collect();
            watches.add(WatchMode::Persistent, &path, ClientId(client), &identities);
        }
        let mut told = Vec::new();
        let mut notify = |client: ClientId, _: &Event| told.push(client.0);
        let mut telling = Telling::new(&mut notify);
        for list in [0, 1, 0, 1] {
            let list = Listed { key: keys[list], entries: &lists[list] };
            watches.data_changed(&path, list, &mut telling);
        }
        assert_eq!(telling.may.len(), 4, "both lists, for both");
        assert_eq!(told, [1, 2, 1, 2]);
    }

    #[test]
    fn watches_of_nodes_are_counted_without_those_of_children() {
        let mut watches = Watches::default();
        let (a, b) = (Text::from("/a"), Text::from("/b"));
        watches.leave(WatchKind::Data, &a, ClientId(1), &[]);
        watches.leave(WatchKind::Data, &b, ClientId(1), &[]);
        watches.add(WatchMode::Recursive, &a, ClientId(2), &[]);
        watches.leave(WatchKind::Child, &b, ClientId(2), &[]);
        watches.leave(WatchKind::Child, &a, ClientId(3), &[]);
        assert_eq!(watches.of_data_counts(), (2, 2, 3));
        let listed: Vec<_> = watches.of_data().map(|(path, clients)| (path, clients.count())).collect();
        assert_eq!(listed, [(&a, 2), (&b, 1)]);
    }

    #[test]
    fn a_connection_takes_its_watches_along() {
        let mut watches = Watches::default();
        let path = Text::from("/a");
        for client in [1, 2] {
            watches.leave(WatchKind::Data, &path, ClientId(client), &[]);
            watches.leave(WatchKind::Child, &path, ClientId(client), &[]);
        }
        assert_eq!((watches.clients.len(), watches.data.len() + watches.child.len()), (2, 2));
        watches.forget(ClientId(1));
        assert_eq!(fired(&mut watches, Watches::deleted, &[]), [(2, 2)]);
        watches.forget(ClientId(2));
        assert_eq!(watches, Watches::default());
    }
}
