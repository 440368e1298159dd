//! The tree: nodes, sessions and who owns what, at one place in the order of transactions.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};

use spec::{SessionId, Zxid};

use crate::{
    Acl, Owner, Settings, Stat, StatPersisted, Text, TxnDigest, acl,
    acl_table::AclTable,
    children::Position,
    digest,
    node::{Content, Node, NodeId, Store},
    path,
    quota::{Amount, Quota, signed},
    walk::WalkTable,
};

/// The node below which a server keeps its own.
pub(crate) const SYSTEM: &str = "/zookeeper";
/// Where quotas are set.
pub const QUOTA: &str = "/zookeeper/quota";
/// Where the ensemble's configuration is to be read.
pub(crate) const CONFIG: &str = "/zookeeper/config";

/// Of which transactions the digest is kept.
const DIGEST_EVERY: u64 = 128;
/// How many digests are kept.
const DIGESTS_MAX: usize = 1024;

/// Everything that transactions change.
///
/// Two trees are equal if their contents are: last transaction, sessions, and every node with its data, access
/// control list and stored stat. How they came about does not count.
#[derive(Clone)]
pub struct Tree {
    pub(crate) store: Store,
    pub(crate) acls: AclTable,
    /// Each session with its timeout in milliseconds.
    pub(crate) sessions: BTreeMap<SessionId, i32>,
    /// The ephemerals of each session that has any.
    pub(crate) ephemerals: BTreeMap<SessionId, BTreeSet<NodeId>>,
    /// The nodes that a leader deletes by itself some time: containers, and those with a time to live.
    pub(crate) mortals: BTreeSet<NodeId>,
    /// The nodes that have a quota, each with what that says.
    pub(crate) quotas: BTreeMap<Box<str>, Quota>,
    /// Those of them whose stats came with the transaction that is being applied.
    pub(crate) unmeasured: BTreeSet<Box<str>>,
    /// Not while the tree is being built: then all are counted at the end.
    pub(crate) counts_for_quotas: bool,
    pub(crate) last: Zxid,
    pub(crate) digest: i64,
    /// The digest behind some of the last transactions.
    pub(crate) digest_log: VecDeque<(Zxid, i64)>,
    /// How many transactions told another digest than that of the state behind them.
    pub(crate) digests_missed: u64,
    /// The bytes of all paths and data.
    pub(crate) data_bytes: u64,
    pub(crate) walks: WalkTable,
}

impl Tree {
    /// The tree before the first transaction: the root and the system's nodes (rule T-9).
    pub fn new() -> Self {
        let root =
            Content { data: Some(b""), acl: crate::acl_table::AclKey::OPEN, stat: StatPersisted::default() };
        let mut tree = Self::with_root(root);
        tree.add_system_nodes();
        tree.begin_quotas();
        tree
    }

    /// A tree of nothing but a root.
    pub(crate) fn with_root(root: Content<'_>) -> Self {
        let mut tree = Self {
            store: Store::new(root),
            acls: AclTable::new(),
            sessions: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
            mortals: BTreeSet::new(),
            quotas: BTreeMap::new(),
            unmeasured: BTreeSet::new(),
            counts_for_quotas: false,
            last: Zxid::ZERO,
            digest: 0,
            digest_log: VecDeque::new(),
            digests_missed: 0,
            data_bytes: u64::try_from(root.data.map_or(0, <[u8]>::len)).unwrap_or_default(),
            walks: WalkTable::default(),
        };
        tree.redigest(NodeId::ROOT, "");
        tree
    }

    /// Adds those of the system's nodes that are missing. They are no child of a transaction: their parents' counters
    /// do not move.
    pub(crate) fn add_system_nodes(&mut self) {
        for path in [SYSTEM, QUOTA, CONFIG] {
            let Some((parent, name)) = path::split(path) else { continue };
            let Some(parent) = self.store.find(parent) else { continue };
            if self.store.find(path).is_some() {
                continue;
            }
            let config = path == CONFIG;
            let readable = Acl::world(if config { acl::READ } else { acl::ALL });
            let acl = self.acls.acquire(&[readable]);
            // ZooKeeper restricts the configuration node with a setACL of version −1.
            let stat = StatPersisted { aversion: if config { -1 } else { 0 }, ..StatPersisted::default() };
            self.add(path, parent, name, Content { data: Some(b""), acl, stat });
        }
    }

    /// Sets the configuration node's text, as every server does by itself when it starts (no transaction does it).
    /// `version` is the configuration's and `time` this server's wall clock in milliseconds since 1970.
    pub fn set_config(&mut self, text: &[u8], version: Zxid, time: i64) {
        let Some(id) = self.store.find(CONFIG) else { return };
        self.replace_data(id, CONFIG, Some(text));
        self.change(id, CONFIG, |node| {
            node.stat.version = -1;
            node.stat.mzxid = number(version);
            node.stat.mtime = time;
        });
    }

    /// What clients see of a node, if it is there.
    pub fn stat(&self, path: &str) -> Option<Stat> {
        self.find(path).map(|id| self.shown(id))
    }

    /// A node's data, if it is there.
    pub fn data(&self, path: &str) -> Option<Option<&[u8]>> {
        self.find(path).map(|id| self.store.node(id).data())
    }

    /// A node's access control list, if it is there.
    pub fn acl(&self, path: &str) -> Option<&[Acl]> {
        self.find(path).map(|id| self.list(id))
    }

    /// Whose a node is, if it is there.
    pub fn owner(&self, path: &str) -> Option<Owner> {
        self.find(path).map(|id| Owner::from_number(self.store.node(id).stat.ephemeral_owner))
    }

    /// How many nodes there are, the root and the system's own included.
    pub fn node_count(&self) -> usize {
        self.store.len()
    }

    /// How many of them are ephemerals.
    pub fn ephemeral_count(&self) -> usize {
        self.ephemerals.values().map(BTreeSet::len).sum()
    }

    /// How many sessions are open.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// The ephemerals of a session, in order.
    pub fn ephemerals(&self, session: SessionId) -> BTreeSet<Text> {
        let ids = self.ephemerals.get(&session);
        ids.map(|ids| self.store.paths(ids).into_iter().collect()).unwrap_or_default()
    }

    /// The sessions that own a node, as the nodes themselves tell: every one is looked at, which is for checks.
    pub fn owners(&self) -> BTreeSet<SessionId> {
        let session = |number| match Owner::from_number(number) {
            Owner::Session(session) => Some(session),
            Owner::None | Owner::Container | Owner::Ttl(_) => None,
        };
        self.store.owners().filter_map(session).collect()
    }

    /// The paths of at most so many containers and nodes with a time to live that may go now (rule T-21), those first
    /// that were created first, of one transaction in the order of paths.
    pub(crate) fn sweepable(&self, settings: &Settings, now: i64, max: usize) -> Vec<Text> {
        let is_over = |id: &NodeId| {
            let node = self.store.node(*id);
            let owner = Owner::from_number(node.stat.ephemeral_owner);
            node.child_count() == 0 && settings.is_over(owner, node.stat.cversion, node.stat.mtime, now)
        };
        let order = |one: &NodeId, other: &NodeId| {
            let czxid = |id: &NodeId| self.store.node(*id).stat.czxid;
            czxid(one).cmp(&czxid(other)).then_with(|| self.store.path(*one).cmp(&self.store.path(*other)))
        };
        let mut due: Vec<NodeId> = self.mortals.iter().copied().filter(is_over).collect();
        if max < due.len() {
            due.select_nth_unstable_by(max, order);
            due.truncate(max);
        }
        due.sort_unstable_by(order);
        due.into_iter().map(|id| Text::from(self.store.path(id))).collect()
    }

    /// Sessions that own an ephemeral and are in no session table: a Java server's snapshot, taken while a session
    /// closed, may leave such. Empty behind the first transaction that this server saw prepared (rule S-1).
    pub fn ownerless(&self) -> Vec<SessionId> {
        self.ephemerals.keys().filter(|session| !self.sessions.contains_key(session)).copied().collect()
    }

    /// The bytes of all paths and data.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// The digest of all nodes by ZooKeeper's second formula, kept up to date with every change (rule T-17).
    pub fn digest(&self) -> i64 {
        self.digest
    }

    /// The digest behind every transaction whose number is a multiple of 128, the last 1024 of them, oldest first: for
    /// operators to compare servers by. What was applied before this state was loaded is not there.
    ///
    /// Source: ZooKeeper `DataTree.logZxidDigest`.
    pub fn digest_log(&self) -> impl Iterator<Item = (Zxid, i64)> {
        self.digest_log.iter().copied()
    }

    /// How many transactions told another digest than that of the state behind them, since this state was loaded (rule
    /// T-24). What brings a fuzzy snapshot up to date counts too, where it means nothing.
    pub fn digest_mismatches(&self) -> u64 {
        self.digests_missed
    }

    /// Compares the digest that a transaction tells with that of the state behind it.
    pub(crate) fn compare_digest(&mut self, told: Option<TxnDigest>) {
        let known = told.filter(|told| told.version == digest::VERSION);
        self.digests_missed += u64::from(known.is_some_and(|told| told.tree != self.digest));
    }

    /// Enters the digest behind a transaction, if it is one of those that are kept.
    pub(crate) fn log_digest(&mut self, zxid: Zxid) {
        if zxid.0.is_multiple_of(DIGEST_EVERY) {
            if self.digest_log.len() == DIGESTS_MAX {
                self.digest_log.pop_front();
            }
            self.digest_log.push_back((zxid, self.digest));
        }
    }

    pub(crate) fn find(&self, path: &str) -> Option<NodeId> {
        self.store.find(path::inner_str(path))
    }

    pub(crate) fn shown(&self, id: NodeId) -> Stat {
        let node = self.store.node(id);
        node.stat.shown(node.data_len(), node.child_count())
    }

    pub(crate) fn list(&self, id: NodeId) -> &[Acl] {
        self.acls.list(self.store.node(id).acl)
    }

    /// Adds a node whose list is acquired already.
    pub(crate) fn add(&mut self, path: &str, parent: NodeId, name: &str, content: Content<'_>) -> NodeId {
        self.walks.keep_absent(path);
        let id = self.store.insert(path, parent, name, content);
        self.own(Owner::from_number(content.stat.ephemeral_owner), id);
        self.data_bytes += bytes_of(path, content.data);
        self.redigest(id, path);
        let bytes = signed(content.data.map_or(0, <[u8]>::len));
        self.quota_gains(path, Amount { count: 1, bytes });
        id
    }

    /// Takes a node without children out, wherever it stands.
    pub(crate) fn remove(&mut self, id: NodeId, path: &str) {
        let position = self.store.position(id);
        self.store.unindex(id);
        self.remove_at(id, position, path);
    }

    /// Takes a node without children out that is in the index no longer and stands at this place among its parent's,
    /// and its list's use and its owner's claim with it.
    pub(crate) fn remove_at(&mut self, id: NodeId, position: Position, path: &str) {
        self.walks.keep(path, self.store.node(id));
        let node = self.store.node(id);
        let (acl, digest, owner) = (node.acl, node.digest, Owner::from_number(node.stat.ephemeral_owner));
        self.data_bytes -= bytes_of(path, node.data());
        self.digest = self.digest.wrapping_sub(i64::from(digest));
        self.acls.release(acl);
        self.disown(owner, id);
        let bytes = self.store.node(id).data_len();
        self.store.remove(id, position);
        self.quota_loses(path, bytes);
    }

    /// Enters a node where those of its owner stand.
    pub(crate) fn own(&mut self, owner: Owner, id: NodeId) {
        match owner {
            Owner::None => {}
            Owner::Session(session) => {
                self.ephemerals.entry(session).or_default().insert(id);
            }
            Owner::Container | Owner::Ttl(_) => {
                self.mortals.insert(id);
            }
        }
    }

    /// Strikes a node out there.
    pub(crate) fn disown(&mut self, owner: Owner, id: NodeId) {
        match owner {
            Owner::None => {}
            Owner::Session(session) => {
                if let Some(ids) = self.ephemerals.get_mut(&session) {
                    ids.remove(&id);
                    if ids.is_empty() {
                        self.ephemerals.remove(&session);
                    }
                }
            }
            Owner::Container | Owner::Ttl(_) => {
                self.mortals.remove(&id);
            }
        }
    }

    /// Changes a node in anything but its data.
    pub(crate) fn change(&mut self, id: NodeId, path: &str, change: impl FnOnce(&mut Node)) {
        self.walks.keep(path, self.store.node(id));
        change(self.store.node_mut(id));
        self.redigest(id, path);
    }

    /// Replaces a node's data. The caller changes the stat next, which brings the digest up to date.
    pub(crate) fn replace_data(&mut self, id: NodeId, path: &str, data: Option<&[u8]>) {
        let before = self.store.node(id).data_len();
        self.put_data(id, path, data);
        let bytes = signed(data.map_or(0, <[u8]>::len)) - signed(before);
        self.count_for_quota(path, Amount { count: 0, bytes });
    }

    /// The same, which counts for no quota.
    pub(crate) fn put_data(&mut self, id: NodeId, path: &str, data: Option<&[u8]>) {
        self.walks.keep(path, self.store.node(id));
        self.data_bytes -= bytes_of(path, self.store.node(id).data());
        self.data_bytes += bytes_of(path, data);
        self.store.node_mut(id).set_data(data);
        self.quota_changes(path, data);
    }

    fn redigest(&mut self, id: NodeId, path: &str) {
        let node = self.store.node(id);
        let (old, new) = (node.digest, digest::of_node(path, node.data(), &node.stat));
        self.store.node_mut(id).digest = new;
        self.digest = self.digest.wrapping_add(i64::from(new)).wrapping_sub(i64::from(old));
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

/// A zxid as stats have it.
pub(crate) fn number(zxid: Zxid) -> i64 {
    i64::from_be_bytes(zxid.0.to_be_bytes())
}

fn bytes_of(path: &str, data: Option<&[u8]>) -> u64 {
    u64::try_from(path.len() + data.map_or(0, <[u8]>::len)).unwrap_or_default()
}
