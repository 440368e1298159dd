//! From requests to transactions: every check, in ZooKeeper's order (rules T-1, T-6, T-7), and the digest of the state
//! behind (rule T-24).
//!
//! A request is judged against the tree as it will be once everything that was prepared before it is applied. The
//! first check that fails decides the error, and the failed write still is a transaction of its own.

use alloc::{collections::BTreeSet, format, vec::Vec};
use core::cell::Cell;

use bytes::Bytes;
use spec::{ErrorCode, SessionId, Zxid, machine::Author};

use crate::{
    Acl, CreateKind, CreateMode, CreateRequest, CreateTxn, Identity, Outstanding, Owner, Settings,
    StatPersisted, Text, Tree, Txn, TxnBody, TxnDigest, Write,
    acl::{ADMIN, CREATE, DELETE, READ, WRITE},
    auth, digest,
    node::NodeId,
    outstanding::{Before, Data, Fate, Pending},
    path,
    quota::{self, Amount, signed},
    tree::number,
};

/// The longest time to live, in milliseconds: it has 40 bits.
const TTL_MAX_MS: i64 = (1 << 40) - 1;

/// How many bytes the nodes may have that a close lists (rule T-2). One that comes to more lists none: a packet of more
/// than 2 MiB is none for ZooKeeper's servers.
const CLOSE_BYTES_MAX: usize = 2_000_000;
/// One preparation.
struct Preparation<'a> {
    tree: &'a Tree,
    outstanding: &'a mut Outstanding,
    author: Author<'a, Identity>,
    zxid: Zxid,
    settings: &'a Settings,
    /// Whether its session will be open. No part of a multi changes that.
    open: bool,
    /// How many bytes `auth` may still come to in lists.
    room: usize,
    /// How many entries of lists were gone through.
    judged: Cell<usize>,
    /// What to go back to if a later part of a multi fails; none of it if there is no later part.
    entries: Option<Vec<Before>>,
}

/// A node as it will be, with the list to judge by.
struct View<'a> {
    node: Pending,
    acl: &'a [Acl],
}

impl Tree {
    /// The transaction for a write; see [`spec::Machine::prepare`].
    pub(crate) fn prepare_write(
        &self,
        settings: &Settings,
        outstanding: &mut Outstanding,
        author: Author<'_, Identity>,
        zxid: Zxid,
        write: &Write,
    ) -> Txn {
        let mut preparation = Preparation::new(self, settings, outstanding, author, zxid);
        let body = match write {
            _ if write.is_too_large() => Err(ErrorCode::BadArguments),
            Write::Multi(parts) => preparation.multi(parts),
            Write::Check { .. } => Err(ErrorCode::Unimplemented),
            Write::Sweep { path } => preparation.sweep(path),
            Write::Create { .. } | Write::Delete { .. } | Write::SetData { .. } | Write::SetAcl { .. } => {
                preparation.single(write)
            }
        };
        let digest = preparation.digest();
        txn(author, body.unwrap_or_else(error), digest)
    }

    /// The transaction that opens a session; see [`spec::Machine::prepare_create_session`].
    pub(crate) fn prepare_open(
        &self,
        outstanding: &mut Outstanding,
        author: Author<'_, Identity>,
        zxid: Zxid,
        timeout_ms: i32,
    ) -> Txn {
        let digest = outstanding.digest(self.digest);
        outstanding.record_session(zxid, author.session, true, digest);
        txn(author, TxnBody::CreateSession { timeout_ms }, digest)
    }

    /// The transaction that closes a session; see [`spec::Machine::prepare_close_session`].
    pub(crate) fn prepare_close(
        &self,
        outstanding: &mut Outstanding,
        author: Author<'_, Identity>,
        zxid: Zxid,
    ) -> Txn {
        let session = author.session;
        let Owned { paths, open, digest } = self.owned(outstanding, session);
        let settings = Settings::default();
        let mut preparation = Preparation::new(self, &settings, outstanding, author, zxid);
        for (path, digest) in open {
            preparation.record_gone(path, digest);
        }
        // First: a parent that goes as well has nothing to lose.
        let digest = preparation.digest().wrapping_sub(digest);
        preparation.outstanding.record_close(zxid, session, digest);
        preparation.lose_children(&paths);
        let digest = preparation.digest();
        let bytes: usize = paths.iter().map(|path| 4 + path.as_str().len()).sum();
        let is_listed = bytes <= CLOSE_BYTES_MAX;
        let mut close = txn(author, TxnBody::CloseSession { ephemerals: is_listed.then_some(paths) }, digest);
        // Who looks for a list would read the digest as one.
        close.digest = close.digest.filter(|_| is_listed);
        close
    }

    /// The nodes that a session will own, of which there may be many.
    fn owned(&self, outstanding: &Outstanding, session: SessionId) -> Owned {
        let ids = self.ephemerals.get(&session).filter(|_| !outstanding.is_closing(session));
        let part = |id: NodeId| i64::from(self.store.node(id).digest);
        let mut digest: i64 = ids.into_iter().flatten().map(|id| part(*id)).sum();
        let mut owned = ids.map(|ids| self.store.paths(ids)).unwrap_or_default();
        // Stable: what is in order nearly is soon in order.
        owned.sort();
        let concerned: BTreeSet<usize> =
            outstanding.nodes().filter_map(|(path, _)| owned.binary_search(path).ok()).collect();
        if !concerned.is_empty() {
            let ids = concerned.iter().filter_map(|place| self.store.find(owned[*place].as_str()));
            digest -= ids.map(part).sum::<i64>();
            let mut places = 0..;
            owned.retain(|_| places.next().is_some_and(|place| !concerned.contains(&place)));
        }
        let open: Vec<(Text, u32)> =
            outstanding.nodes().filter_map(|(path, fate)| will_go(session, path, fate)).collect();
        owned.extend(open.iter().map(|(path, _)| path.clone()));
        owned.sort();
        Owned { paths: owned, open, digest }
    }
}

/// The nodes that a session will own.
struct Owned {
    /// All of them, in order.
    paths: Vec<Text>,
    /// Those that are not in the tree as they will be, in order, with their digests.
    open: Vec<(Text, u32)>,
    /// What all others come to in the tree's digest.
    digest: i64,
}

/// The transaction of a request that was refused before its preparation.
pub(crate) fn refused(author: Author<'_, Identity>, code: ErrorCode) -> Txn {
    txn(author, error(code), 0)
}

/// A transaction, behind which the tree has this digest: that of a transaction that is nothing but an error is not told.
fn txn(author: Author<'_, Identity>, body: TxnBody, digest: i64) -> Txn {
    let is_error = matches!(body, TxnBody::Error { .. });
    let digest = (!is_error).then_some(TxnDigest { version: digest::VERSION, tree: digest });
    Txn { session: author.session, cxid: author.xid, time: author.time, body, digest }
}

fn error(code: ErrorCode) -> TxnBody {
    TxnBody::Error { code: code.number() }
}

/// A node that something waits for, with its digest, if it will be this session's.
fn will_go(session: SessionId, path: &Text, fate: &Fate) -> Option<(Text, u32)> {
    match fate {
        Fate::Will(node) if Owner::from_number(node.stat.ephemeral_owner) == Owner::Session(session) => {
            Some((path.clone(), node.digest))
        }
        Fate::Will(_) | Fate::Gone => None,
    }
}

/// The version behind a change, if the one before is what the client expects; −1 expects any.
fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected == -1 || expected == current {
        Ok(current.wrapping_add(1))
    } else {
        Err(ErrorCode::BadVersion)
    }
}

impl<'a> Preparation<'a> {
    fn new(
        tree: &'a Tree,
        settings: &'a Settings,
        outstanding: &'a mut Outstanding,
        author: Author<'a, Identity>,
        zxid: Zxid,
    ) -> Self {
        let session = author.session;
        let open = outstanding.session(session).unwrap_or_else(|| tree.sessions.contains_key(&session));
        Self {
            tree,
            outstanding,
            author,
            zxid,
            settings,
            open,
            room: auth::EXPANDED_BYTES_MAX,
            judged: Cell::new(0),
            entries: None,
        }
    }

    /// All parts, or an error in the place of each: 0 before the one that failed, RUNTIMEINCONSISTENCY behind it.
    ///
    /// A multi that ZooKeeper could not even decode is refused as a whole, and so is one that takes too long to judge
    /// (rule T-11).
    fn multi(&mut self, parts: &[Write]) -> Result<TxnBody, ErrorCode> {
        let decodes = |part: &Write| match part {
            // ZooKeeper looks at these flags only when it comes to them.
            Write::Create { request: CreateRequest::Ttl { .. }, .. }
            | Write::Delete { .. }
            | Write::SetData { .. }
            | Write::Check { .. } => true,
            Write::Create { flags, .. } => {
                CreateMode::from_flags(*flags).is_some_and(|(mode, _)| mode != CreateMode::Ttl)
            }
            Write::SetAcl { .. } | Write::Multi(_) | Write::Sweep { .. } => false,
        };
        if !parts.iter().all(decodes) {
            return Err(ErrorCode::MarshallingError);
        }
        let mut bodies = Vec::with_capacity(parts.len());
        let mut failed = None;
        let before = self.digest();
        self.entries = Some(Vec::with_capacity(parts.len()));
        for part in parts {
            let body = self.part(part);
            if self.judged.get() > auth::JUDGED_MAX {
                self.outstanding.roll_back(self.entries.take().unwrap_or_default(), before);
                return Err(ErrorCode::BadArguments);
            }
            match body {
                Ok(body) => bodies.push(body),
                Err(code) => {
                    failed = Some(code);
                    break;
                }
            }
        }
        if let Some(code) = failed {
            self.outstanding.roll_back(self.entries.take().unwrap_or_default(), before);
            bodies.fill(TxnBody::Error { code: 0 });
            bodies.push(error(code));
            bodies.resize(parts.len(), error(ErrorCode::RuntimeInconsistency));
        }
        Ok(TxnBody::Multi(bodies))
    }

    /// A part of a multi. There the flags of a container make one, whichever request they come in.
    fn part(&mut self, part: &Write) -> Result<TxnBody, ErrorCode> {
        let short = [CreateRequest::Create, CreateRequest::Create2];
        if let Write::Create { path, data, acl, flags, request } = part
            && short.contains(request)
            && CreateMode::from_flags(*flags) == Some((CreateMode::Container, false))
        {
            return self.create(path, data.as_ref(), acl, *flags, CreateRequest::Container);
        }
        self.single(part)
    }

    fn single(&mut self, write: &Write) -> Result<TxnBody, ErrorCode> {
        match write {
            Write::Create { path, data, acl, flags, request } => {
                self.create(path, data.as_ref(), acl, *flags, *request)
            }
            Write::Delete { path, version } => self.delete(path, *version),
            Write::SetData { path, data, version } => self.set_data(path, data.as_ref(), *version),
            Write::SetAcl { path, acl, version } => self.set_acl(path, acl, *version),
            Write::Check { path, version } => self.check(path, *version),
            Write::Multi(_) | Write::Sweep { .. } => Err(ErrorCode::MarshallingError),
        }
    }

    fn create(
        &mut self,
        path: &Text,
        data: Option<&Bytes>,
        acl: &[Acl],
        flags: i32,
        request: CreateRequest,
    ) -> Result<TxnBody, ErrorCode> {
        let (kind, is_sequential) = self.kind(flags, request)?;
        self.is_open()?;
        let parent_path = path::parent_of_request(path)?;
        let acl = self.resolve(acl)?;
        let parent = self.view(&parent_path)?;
        self.permit(&parent, CREATE)?;
        let mut parent = parent.node;
        let path = if is_sequential {
            Text::from(format!("{path}{:010}", parent.stat.cversion))
        } else {
            path.clone()
        };
        path::validate(path.as_str())?;
        if quota::ends_others(path.as_str()) {
            return Err(ErrorCode::BadArguments);
        }
        if self.view(&path::inner(&path)).is_ok() {
            return Err(ErrorCode::NodeExists);
        }
        if matches!(Owner::from_number(parent.stat.ephemeral_owner), Owner::Session(_)) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let data_len = data.map_or(0, Bytes::len);
        self.check_quota(&path, Amount { count: 1, bytes: signed(data_len) })?;
        parent.stat.cversion = parent.stat.cversion.wrapping_add(1);
        parent.child_count += 1;
        self.touch_children(&mut parent);
        let parent_cversion = parent.stat.cversion;
        let owner = kind.owner(self.author.session);
        let node = Pending {
            stat: StatPersisted::created(number(self.zxid), self.author.time, owner),
            child_count: 0,
            data: Data::New(data.cloned()),
            data_len,
            digest: 0,
            acl: Some(acl.clone()),
        };
        self.record(parent_path, parent);
        self.record(path.clone(), node);
        Ok(TxnBody::Create(CreateTxn { kind, path, data: data.cloned(), acl, parent_cversion }))
    }

    /// The list to store for one that is given (rule T-11).
    fn resolve(&mut self, list: &[Acl]) -> Result<Vec<Acl>, ErrorCode> {
        auth::resolve_within(self.settings, list, self.author.identities, &mut self.room)
    }

    /// The kind of node that a request asks for (rule T-6).
    fn kind(&self, flags: i32, request: CreateRequest) -> Result<(CreateKind, bool), ErrorCode> {
        let (mode, is_sequential) = CreateMode::from_flags(flags).ok_or(ErrorCode::BadArguments)?;
        if mode == CreateMode::Ttl && !self.settings.ttl_nodes {
            return Err(ErrorCode::Unimplemented);
        }
        let ephemeral = mode == CreateMode::Ephemeral;
        let kind = match (request, mode) {
            (CreateRequest::Create, CreateMode::Persistent | CreateMode::Ephemeral) => {
                CreateKind::Create { ephemeral }
            }
            (CreateRequest::Create2, CreateMode::Persistent | CreateMode::Ephemeral) => {
                CreateKind::Create2 { ephemeral }
            }
            (CreateRequest::Container, CreateMode::Container) => CreateKind::Container,
            (CreateRequest::Ttl { ttl_ms }, CreateMode::Ttl) if (1..=TTL_MAX_MS).contains(&ttl_ms) => {
                CreateKind::Ttl { ttl_ms }
            }
            _ => return Err(ErrorCode::BadArguments),
        };
        Ok((kind, is_sequential))
    }

    /// Deletes a container, or a node whose time is over, if it still is one to delete (rule T-21).
    fn sweep(&mut self, path: &Text) -> Result<TxnBody, ErrorCode> {
        let parent_path = path::parent_of_request(path)?;
        let node = self.view(&path::inner(path))?.node;
        if node.child_count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        let owner = Owner::from_number(node.stat.ephemeral_owner);
        if !self.settings.is_over(owner, node.stat.cversion, node.stat.mtime, self.author.time) {
            return Err(ErrorCode::BadVersion);
        }
        let parent = self.view(&parent_path)?.node;
        self.take_out(parent_path, parent, path, node.digest);
        Ok(TxnBody::Delete { path: path.clone(), sweep: true })
    }

    fn delete(&mut self, path: &Text, version: i32) -> Result<TxnBody, ErrorCode> {
        self.is_open()?;
        let parent_path = path::parent_of_request(path)?;
        if path::is_reserved(path.as_str()) {
            return Err(ErrorCode::BadArguments);
        }
        let parent = self.view(&parent_path)?;
        self.permit(&parent, DELETE)?;
        let parent = parent.node;
        let node = self.view(path)?.node;
        next_version(node.stat.version, version)?;
        if node.child_count > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        self.take_out(parent_path, parent, path, node.digest);
        Ok(TxnBody::Delete { path: path.clone(), sweep: false })
    }

    /// Records that a node goes.
    fn take_out(&mut self, parent_path: Text, mut parent: Pending, path: &Text, digest: u32) {
        parent.child_count -= 1;
        self.touch_children(&mut parent);
        self.record(parent_path, parent);
        self.record_gone(path.clone(), digest);
    }

    /// A child of this node comes or goes.
    fn touch_children(&self, node: &mut Pending) {
        node.stat.pzxid = node.stat.pzxid.max(number(self.zxid));
    }

    fn set_data(&mut self, path: &Text, data: Option<&Bytes>, version: i32) -> Result<TxnBody, ErrorCode> {
        self.is_open()?;
        path::validate(path.as_str())?;
        let inner = path::inner(path);
        let node = self.view(&inner)?;
        self.permit(&node, WRITE)?;
        if quota::as_stats_ends_others(inner.as_str(), data.map(|data| &data[..])) {
            return Err(ErrorCode::BadArguments);
        }
        let mut node = node.node;
        let data_len = data.map_or(0, Bytes::len);
        self.check_quota(&inner, Amount { count: 0, bytes: signed(data_len) - signed(node.data_len) })?;
        node.stat.version = next_version(node.stat.version, version)?;
        node.stat.mzxid = number(self.zxid);
        node.stat.mtime = self.author.time;
        (node.data, node.data_len) = (Data::New(data.cloned()), data_len);
        let version = node.stat.version;
        self.record(inner, node);
        Ok(TxnBody::SetData { path: path.clone(), data: data.cloned(), version, reconfig: false })
    }

    fn set_acl(&mut self, path: &Text, acl: &[Acl], version: i32) -> Result<TxnBody, ErrorCode> {
        self.is_open()?;
        path::validate(path.as_str())?;
        let acl = self.resolve(acl)?;
        let inner = path::inner(path);
        let node = self.view(&inner)?;
        self.permit(&node, ADMIN)?;
        let mut node = node.node;
        node.stat.aversion = next_version(node.stat.aversion, version)?;
        node.acl = Some(acl.clone());
        let version = node.stat.aversion;
        self.record(inner, node);
        Ok(TxnBody::SetAcl { path: path.clone(), acl, version })
    }

    fn check(&mut self, path: &Text, version: i32) -> Result<TxnBody, ErrorCode> {
        self.is_open()?;
        path::validate(path.as_str())?;
        let node = self.view(&path::inner(path))?;
        self.permit(&node, READ)?;
        let version = next_version(node.node.stat.version, version)?;
        Ok(TxnBody::Check { path: path.clone(), version })
    }

    /// Records that the parents of these nodes have fewer children; once for brothers in a row, of which there may be
    /// many.
    fn lose_children(&mut self, paths: &[Text]) {
        for brothers in paths.chunk_by(|path, next| path::parent(path) == path::parent(next)) {
            let Ok(above) = path::parent_of_request(&brothers[0]) else { continue };
            let Ok(View { node: mut parent, .. }) = self.view(&above) else { continue };
            parent.child_count = parent.child_count.saturating_sub(brothers.len());
            self.touch_children(&mut parent);
            self.record(above, parent);
        }
    }

    fn check_quota(&self, path: &Text, more: Amount) -> Result<(), ErrorCode> {
        if self.settings.enforce_quota { self.tree.check_quota(path.as_str(), more) } else { Ok(()) }
    }

    fn permit(&self, view: &View<'_>, perms: i32) -> Result<(), ErrorCode> {
        self.judged.set(self.judged.get() + auth::cost(view.acl, self.author.identities));
        if auth::permits(view.acl, perms, self.author.identities) { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    fn is_open(&self) -> Result<(), ErrorCode> {
        if self.open { Ok(()) } else { Err(ErrorCode::SessionExpired) }
    }

    /// The node at a path, the root's being empty, as it will be.
    fn view(&self, path: &Text) -> Result<View<'_>, ErrorCode> {
        match self.outstanding.node(path) {
            Some(Fate::Gone) => Err(ErrorCode::NoNode),
            Some(Fate::Will(node)) => {
                let acl = match &node.acl {
                    Some(acl) => acl,
                    None => self.tree.list(self.in_tree(path)?),
                };
                let acl = self.judged(acl);
                Ok(View { node: node.clone(), acl })
            }
            None => {
                let id = self.in_tree(path)?;
                let node = self.tree.store.node(id);
                if let Owner::Session(session) = Owner::from_number(node.stat.ephemeral_owner)
                    && self.outstanding.is_closing(session)
                {
                    return Err(ErrorCode::NoNode);
                }
                let pending = Pending {
                    stat: node.stat,
                    child_count: node.child_count(),
                    data: Data::Kept,
                    data_len: node.data_len(),
                    digest: node.digest,
                    acl: None,
                };
                Ok(View { node: pending, acl: self.judged(self.tree.list(id)) })
            }
        }
    }

    /// The list that counts: an open one, where lists do not count.
    fn judged<'b>(&self, list: &'b [Acl]) -> &'b [Acl] {
        if self.settings.skip_acl { &[] } else { list }
    }

    fn in_tree(&self, path: &Text) -> Result<NodeId, ErrorCode> {
        self.tree.store.find(path.as_str()).ok_or(ErrorCode::NoNode)
    }

    /// Records what becomes of a node. Its digest is that of before, 0 if it is new.
    fn record(&mut self, path: Text, mut node: Pending) {
        let data = match &node.data {
            Data::New(data) => data.as_deref(),
            Data::Kept => self.in_tree(&path).ok().and_then(|id| self.tree.store.node(id).data()),
        };
        let (before, after) = (node.digest, digest::of_node(path.as_str(), data, &node.stat));
        node.digest = after;
        self.enter(path, Fate::Will(node), (before, after));
    }

    /// Records that a node goes, whose digest is this.
    fn record_gone(&mut self, path: Text, before: u32) {
        self.enter(path, Fate::Gone, (before, 0));
    }

    fn enter(&mut self, path: Text, fate: Fate, (before, after): (u32, u32)) {
        let digest = self.digest().wrapping_add(i64::from(after)).wrapping_sub(i64::from(before));
        match &mut self.entries {
            None => drop(self.outstanding.record(self.zxid, path, fate, digest)),
            Some(entries) => {
                entries.push((path.clone(), self.outstanding.record(self.zxid, path, fate, digest)));
            }
        }
    }

    /// The tree's digest behind everything that is prepared.
    fn digest(&self) -> i64 {
        self.outstanding.digest(self.tree.digest)
    }
}
