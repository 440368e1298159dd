//! The watches of one server's connections: a value beside the tree (rules T-13 to T-15).
//!
//! A watch belongs to a connection and is gone once it has fired. It is found by its path when the tree changes, and
//! by its connection when that closes.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use serde::{Deserialize, Serialize};
use spec::ClientId;

use crate::{Acl, Event, EventKind, Identity, Text, acl::READ, auth};

/// What a watch waits for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum WatchKind {
    /// The node is created, deleted, or its data set.
    Data,
    /// A child is created or deleted, or the node itself deleted.
    Child,
}

/// All watches of a server.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Watches {
    data: BTreeMap<Text, BTreeSet<ClientId>>,
    child: BTreeMap<Text, BTreeSet<ClientId>>,
    /// Those that have a watch.
    clients: BTreeMap<ClientId, Watcher>,
}

#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
struct Watcher {
    /// Whom the connection has authenticated as.
    identities: Vec<Identity>,
    watches: BTreeSet<(WatchKind, Text)>,
}

/// Where events go.
pub(crate) type Notify<'a> = &'a mut dyn FnMut(ClientId, &Event);

impl Watches {
    /// Leaves a watch on a path, of a client with these identities. Leaving the same twice is leaving it once.
    pub fn leave(&mut self, kind: WatchKind, path: &Text, client: ClientId, identities: &[Identity]) {
        let watcher = self.clients.entry(client).or_default();
        if watcher.identities != identities {
            watcher.identities = identities.to_vec();
        }
        let table = match kind {
            WatchKind::Data => &mut self.data,
            WatchKind::Child => &mut self.child,
        };
        if let Some((path, clients)) =
            table.get_key_value(path).map(|(path, _)| path.clone()).zip(table.get_mut(path))
        {
            clients.insert(client);
            watcher.watches.insert((kind, path));
        } else {
            // The path is the slice of a request; a watch outlives that.
            let path = path.detached();
            table.insert(path.clone(), BTreeSet::from([client]));
            watcher.watches.insert((kind, path));
        }
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
            let table = match kind {
                WatchKind::Data => &mut self.data,
                WatchKind::Child => &mut self.child,
            };
            if let Some(clients) = table.get_mut(&path) {
                clients.remove(&client);
                if clients.is_empty() {
                    table.remove(&path);
                }
            }
        }
    }

    /// How many watches there are.
    pub fn len(&self) -> usize {
        self.clients.values().map(|watcher| watcher.watches.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty() && self.child.is_empty()
    }

    /// How many connections have left a watch that has not fired.
    pub fn client_count(&self) -> usize {
        self.clients.len()
    }

    /// How many paths are watched; one that is watched for data and for children counts twice.
    pub fn path_count(&self) -> usize {
        self.data.len() + self.child.len()
    }

    /// The node was created.
    pub(crate) fn created(&mut self, path: &Text, acl: &[Acl], notify: Notify<'_>) {
        if !self.is_empty() {
            self.fire(WatchKind::Data, EventKind::NodeCreated, path, acl, &BTreeSet::new(), notify);
        }
    }

    /// The node's data was set.
    pub(crate) fn data_changed(&mut self, path: &Text, acl: &[Acl], notify: Notify<'_>) {
        if !self.is_empty() {
            self.fire(WatchKind::Data, EventKind::NodeDataChanged, path, acl, &BTreeSet::new(), notify);
        }
    }

    /// The node was deleted; `acl` is its last list. Who watched it for data and for children is told once.
    pub(crate) fn deleted(&mut self, path: &Text, acl: &[Acl], notify: Notify<'_>) {
        if !self.is_empty() {
            let told =
                self.fire(WatchKind::Data, EventKind::NodeDeleted, path, acl, &BTreeSet::new(), notify);
            self.fire(WatchKind::Child, EventKind::NodeDeleted, path, acl, &told, notify);
        }
    }

    /// A child of the node was created or deleted.
    pub(crate) fn children_changed(&mut self, path: &Text, acl: &[Acl], notify: Notify<'_>) {
        if !self.is_empty() {
            self.fire(WatchKind::Child, EventKind::NodeChildrenChanged, path, acl, &BTreeSet::new(), notify);
        }
    }

    /// Consumes the watches of one kind on a path, and tells those who may read the node, in the order of their
    /// numbers. Says whose they were.
    fn fire(
        &mut self,
        kind: WatchKind,
        event: EventKind,
        path: &Text,
        acl: &[Acl],
        told: &BTreeSet<ClientId>,
        notify: Notify<'_>,
    ) -> BTreeSet<ClientId> {
        let table = match kind {
            WatchKind::Data => &mut self.data,
            WatchKind::Child => &mut self.child,
        };
        let Some((path, clients)) = table.remove_entry(path) else {
            return BTreeSet::new();
        };
        let watch = (kind, path.clone());
        let event = Event { kind: event, path };
        for client in &clients {
            let Some(watcher) = self.clients.get_mut(client) else { continue };
            watcher.watches.remove(&watch);
            if !told.contains(client) && auth::permits(acl, READ, &watcher.identities) {
                notify(*client, &event);
            }
            if watcher.watches.is_empty() {
                self.clients.remove(client);
            }
        }
        clients
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::{ALL, WRITE};

    fn acl(perms: i32, scheme: &str, id: &str) -> Acl {
        Acl { perms, scheme: Text::from(scheme), id: Text::from(id) }
    }

    /// Fires one change over the watches and collects who was told what.
    fn fired(
        watches: &mut Watches,
        change: fn(&mut Watches, &Text, &[Acl], Notify<'_>),
        list: &[Acl],
    ) -> Vec<(u64, i32)> {
        let mut told = Vec::new();
        change(watches, &Text::from("/a"), list, &mut |client, event| {
            assert_eq!(event.path, "/a");
            told.push((client.0, event.kind.number()));
        });
        told
    }

    #[test]
    fn each_change_fires_its_watches_once() {
        type Change = fn(&mut Watches, &Text, &[Acl], Notify<'_>);
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
    fn a_connection_takes_its_watches_along() {
        let mut watches = Watches::default();
        let path = Text::from("/a");
        for client in [1, 2] {
            watches.leave(WatchKind::Data, &path, ClientId(client), &[]);
            watches.leave(WatchKind::Child, &path, ClientId(client), &[]);
        }
        assert_eq!((watches.client_count(), watches.path_count()), (2, 2));
        watches.forget(ClientId(1));
        assert_eq!(fired(&mut watches, Watches::deleted, &[]), [(2, 2)]);
        watches.forget(ClientId(2));
        assert_eq!(watches, Watches::default());
    }
}
