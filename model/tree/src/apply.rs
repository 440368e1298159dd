//! Applying transactions (rules T-2, T-3).
//!
//! A transaction holds its whole outcome, so nothing is decided here. It may meet a tree that holds its effects and
//! later ones already: a Java server writes snapshots while transactions go on. Replaying the log over such a
//! snapshot ends in the right tree because each transaction does what it can and takes nothing back that only grows:
//!
//! 1. A create that finds the node gives it the form of a new one. Whatever changed it later is in the log as well.
//! 2. A delete of a missing node still moves the parent's pzxid, forwards only.
//! 3. A delete that finds children deletes them: there were none at its time, so they are younger than it, and their
//!    creation is in the log as well. (ZooKeeper leaves them without a parent.)

use alloc::{collections::BTreeSet, vec::Vec};

use spec::{ErrorCode, SessionId, Zxid};

use crate::{
    Acl, CreateKind, CreateTxn, Outcome, Owner, StatPersisted, Text, Tree, Txn, TxnBody,
    children::Position,
    node::{Content, NodeId},
    path,
    quota::Amount,
    tree::number,
    watches::{Listed, Notify, Telling, Watches},
};

/// How many nodes go together: as many as fit in the memory that is near the processor.
const TOGETHER: usize = 1024;

/// What every part of a transaction needs to know of the whole.
#[derive(Clone, Copy)]
struct Header {
    zxid: Zxid,
    session: SessionId,
    time: i64,
}

/// Where watches fire.
struct Firing<'a, 'b> {
    watches: &'a mut Watches,
    telling: Telling<'b>,
}

impl Tree {
    /// Applies a transaction at its place; see [`spec::Machine::apply`].
    pub(crate) fn apply_txn(
        &mut self,
        zxid: Zxid,
        txn: &Txn,
        watches: &mut Watches,
        notify: Notify<'_>,
    ) -> Outcome {
        let header = Header { zxid, session: txn.session, time: txn.time };
        let outcome =
            self.apply_body(header, &txn.body, &mut Firing { watches, telling: Telling::new(notify) });
        self.last = self.last.max(zxid);
        self.measure_new_quotas();
        self.compare_digest(txn.digest);
        self.log_digest(zxid);
        outcome
    }

    fn apply_body(&mut self, header: Header, body: &TxnBody, firing: &mut Firing<'_, '_>) -> Outcome {
        let done = match body {
            TxnBody::Create(create) => self.apply_create(header, create, firing),
            TxnBody::Delete { path, sweep: _ } => {
                self.apply_delete(header.zxid, path, firing).map(|()| Outcome::Delete)
            }
            TxnBody::SetData { path, data, version, reconfig: _ } => {
                self.apply_set_data(header, path, data.as_deref(), *version, firing)
            }
            TxnBody::SetAcl { path, acl, version } => self.apply_set_acl(path, acl, *version),
            TxnBody::Check { .. } => Ok(Outcome::Check),
            TxnBody::Multi(parts) => Ok(Outcome::Multi(self.apply_multi(header, parts, firing))),
            TxnBody::CreateSession { timeout_ms } => {
                self.sessions.insert(header.session, *timeout_ms);
                Ok(Outcome::CreateSession { timeout_ms: *timeout_ms })
            }
            TxnBody::CloseSession { ephemerals } => {
                self.apply_close_session(header, ephemerals.as_deref().unwrap_or_default(), firing);
                Ok(Outcome::CloseSession)
            }
            TxnBody::Error { code } => Ok(Outcome::Error { code: *code }),
        };
        done.unwrap_or_else(|code| Outcome::Error { code: code.number() })
    }

    fn apply_create(
        &mut self,
        header: Header,
        create: &CreateTxn,
        firing: &mut Firing<'_, '_>,
    ) -> Result<Outcome, ErrorCode> {
        let path = create.path.as_str();
        let (parent_path, name) = path::split(path).ok_or(ErrorCode::NoNode)?;
        if !path::is_name(name) {
            return Err(ErrorCode::BadArguments);
        }
        let parent = self.store.find(parent_path).ok_or(ErrorCode::NoNode)?;
        let existing = self.store.find(path);
        let zxid = number(header.zxid);
        let cversion = match create.parent_cversion {
            -1 if existing.is_some() => self.store.node(parent).stat.cversion,
            -1 => self.store.node(parent).stat.cversion.wrapping_add(1),
            after => after,
        };
        self.change(parent, parent_path, |node| {
            if is_later(cversion, node.stat.cversion) {
                node.stat.cversion = cversion;
                node.stat.pzxid = node.stat.pzxid.max(zxid);
            }
        });
        let owner = create.kind.owner(header.session);
        let acl = self.acls.acquire(&create.acl);
        let stat = StatPersisted::created(zxid, header.time, owner);
        let mut content = Content { data: create.data.as_deref(), acl, stat };
        let id = if let Some(id) = existing {
            let node = self.store.node(id);
            content.stat.cversion = node.stat.cversion;
            content.stat.pzxid = node.stat.pzxid.max(zxid);
            self.overwrite(id, path, content);
            id
        } else {
            let id = self.add(path, parent, name, content);
            let list = Listed { key: acl, entries: &create.acl };
            firing.watches.created(&create.path, list, &mut firing.telling);
            self.fire_children_changed(parent, &parent_of(&create.path, parent_path), firing);
            id
        };
        let path = create.path.clone();
        Ok(match create.kind {
            CreateKind::Create { .. } => Outcome::Create { path },
            CreateKind::Create2 { .. } | CreateKind::Container | CreateKind::Ttl { .. } => {
                Outcome::Create2 { path, stat: self.shown(id) }
            }
        })
    }

    fn apply_delete(
        &mut self,
        zxid: Zxid,
        path: &Text,
        firing: &mut Firing<'_, '_>,
    ) -> Result<(), ErrorCode> {
        let (parent_path, name) = path::split(path.as_str()).ok_or(ErrorCode::NoNode)?;
        let parent = self.lose_child(zxid, parent_path)?;
        let (id, at) =
            self.store.child(parent, name.as_bytes(), Position::default()).ok_or(ErrorCode::NoNode)?;
        self.store.unindex(id);
        self.delete_at(id, at, (parent, parent_path), path, firing);
        Ok(())
    }

    /// Notes on a node that a child of it goes, also if that is gone already.
    fn lose_child(&mut self, zxid: Zxid, path: &str) -> Result<NodeId, ErrorCode> {
        let id = self.store.find(path).ok_or(ErrorCode::NoNode)?;
        self.change(id, path, |node| node.stat.pzxid = node.stat.pzxid.max(number(zxid)));
        Ok(id)
    }

    /// Deletes a node that is in the index no longer and stands at this place among the children of its parent, which
    /// knows of it.
    fn delete_at(
        &mut self,
        id: NodeId,
        at: Position,
        (parent, parent_path): (NodeId, &str),
        path: &Text,
        firing: &mut Firing<'_, '_>,
    ) {
        for below in self.store.below(id).into_iter().rev() {
            let path = self.store.path(below);
            self.remove(below, &path);
        }
        if firing.watches.is_empty() {
            self.remove_at(id, at, path.as_str());
            return;
        }
        let (key, entries) = (self.store.node(id).acl, self.list(id).to_vec());
        self.remove_at(id, at, path.as_str());
        let list = Listed { key, entries: &entries };
        firing.watches.deleted(path, list, &mut firing.telling);
        self.fire_children_changed(parent, &parent_of(path, parent_path), firing);
    }

    fn apply_set_data(
        &mut self,
        header: Header,
        path: &Text,
        data: Option<&[u8]>,
        version: i32,
        firing: &mut Firing<'_, '_>,
    ) -> Result<Outcome, ErrorCode> {
        let inner = path::inner_str(path.as_str());
        let id = self.store.find(inner).ok_or(ErrorCode::NoNode)?;
        self.replace_data(id, inner, data);
        self.change(id, inner, |node| {
            node.stat.version = version;
            node.stat.mzxid = number(header.zxid);
            node.stat.mtime = header.time;
        });
        firing.watches.data_changed(path, self.listed(id), &mut firing.telling);
        Ok(Outcome::SetData(self.shown(id)))
    }

    fn apply_set_acl(&mut self, path: &Text, acl: &[Acl], version: i32) -> Result<Outcome, ErrorCode> {
        let id = self.find(path.as_str()).ok_or(ErrorCode::NoNode)?;
        let new = self.acls.acquire(acl);
        let old = self.store.node(id).acl;
        self.change(id, path::inner_str(path.as_str()), |node| {
            node.acl = new;
            node.stat.aversion = version;
        });
        self.acls.release(old);
        Ok(Outcome::SetAcl(self.shown(id)))
    }

    /// All parts, or none if one of them is an error: then every other becomes one too.
    fn apply_multi(
        &mut self,
        header: Header,
        parts: &[TxnBody],
        firing: &mut Firing<'_, '_>,
    ) -> Vec<Outcome> {
        let failed = parts.iter().position(|part| matches!(part, TxnBody::Error { .. }));
        let Some(failed) = failed else {
            return parts.iter().map(|part| self.apply_body(header, part, firing)).collect();
        };
        let error = |(at, part): (usize, &TxnBody)| {
            let rest = if at < failed { 0 } else { ErrorCode::RuntimeInconsistency.number() };
            let code = if let TxnBody::Error { code } = part { *code } else { rest };
            Outcome::Error { code }
        };
        parts.iter().enumerate().map(error).collect()
    }

    /// The nodes that the leader found, whoever owns them here, and then those that it did not (rule C-6).
    fn apply_close_session(&mut self, header: Header, listed: &[Text], firing: &mut Firing<'_, '_>) {
        self.sessions.remove(&header.session);
        // What goes is not taken out of the session's list one by one.
        let ephemerals = self.ephemerals.remove(&header.session).unwrap_or_default();
        self.delete_all(header.zxid, listed, firing);
        let owner = Owner::Session(header.session);
        let is_left = |id: &NodeId| Owner::from_number(self.store.node(*id).stat.ephemeral_owner) == owner;
        let left: BTreeSet<NodeId> = ephemerals.into_iter().filter(is_left).collect();
        let mut left = self.store.paths(&left);
        left.sort();
        self.delete_all(header.zxid, &left, firing);
    }

    /// Deletes those of these nodes that are there; whatever their order, though lists are in order from servers of ours.
    /// The parent of brothers in a row is looked up and told once: it is none of them.
    fn delete_all(&mut self, zxid: Zxid, paths: &[Text], firing: &mut Firing<'_, '_>) {
        for brothers in paths.chunk_by(|path, next| path::parent(path) == path::parent(next)) {
            let Some(above) = brothers.first().and_then(path::parent) else { continue };
            let Ok(parent) = self.lose_child(zxid, above) else { continue };
            for ascending in brothers.chunk_by(|path, next| path < next) {
                self.delete_ascending((parent, above), ascending, firing);
            }
        }
    }

    /// Deletes those of these children that are there; each stands there once, in the order of names.
    fn delete_ascending(
        &mut self,
        (parent, above): (NodeId, &str),
        children: &[Text],
        firing: &mut Firing<'_, '_>,
    ) {
        let mut hint = Position::default();
        for some in children.chunks(TOGETHER) {
            self.store.unindex_children(parent, some.iter().map(name_of), hint);
            for path in some {
                if let Some((id, at)) = self.store.child(parent, name_of(path), hint) {
                    self.delete_at(id, at, (parent, above), path, firing);
                    hint = at;
                }
            }
        }
    }

    /// Gives a node that is there another content; its children stay.
    pub(crate) fn overwrite(&mut self, id: NodeId, path: &str, content: Content<'_>) {
        let node = self.store.node(id);
        let (acl, owner) = (node.acl, Owner::from_number(node.stat.ephemeral_owner));
        self.replace_data(id, path, content.data);
        self.change(id, path, |node| {
            node.acl = content.acl;
            node.stat = content.stat;
        });
        self.acls.release(acl);
        self.disown(owner, id);
        self.own(Owner::from_number(content.stat.ephemeral_owner), id);
        self.quota_gains(path, Amount::default());
    }

    fn fire_children_changed(&self, parent: NodeId, path: &Text, firing: &mut Firing<'_, '_>) {
        firing.watches.children_changed(path, self.listed(parent), &mut firing.telling);
    }

    fn listed(&self, id: NodeId) -> Listed<'_> {
        Listed { key: self.store.node(id).acl, entries: self.list(id) }
    }
}

/// The name that a path ends with.
fn name_of(path: &Text) -> &[u8] {
    path::split(path.as_str()).map_or(&[], |(_, name)| name.as_bytes())
}

/// Whether a parent's counter of creations is behind a new value. Both may have wrapped (rule T-7): the counter only
/// grows, so what looks far smaller is larger.
fn is_later(new: i32, old: i32) -> bool {
    new.wrapping_sub(old) > 0
}

/// The parent's path as clients have it, sharing the child's.
fn parent_of(path: &Text, parent: &str) -> Text {
    path::outer(path.slice(0..parent.len()))
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::node::tests::indexed;

    /// Clients do not see what the index has too much; it would only grow.
    #[test]
    fn what_goes_leaves_the_index_too() {
        let mut tree = Tree::new();
        let session = SessionId(1);
        let mut zxid = Zxid(0);
        let mut apply = |tree: &mut Tree, body| {
            zxid = zxid.next();
            let txn = Txn { session, cxid: 0, time: 0, body, digest: None };
            tree.apply_txn(zxid, &txn, &mut Watches::default(), &mut |_, _| {});
        };
        let create = |path: &str, ephemeral| {
            TxnBody::Create(CreateTxn {
                kind: CreateKind::Create { ephemeral },
                path: path.into(),
                data: None,
                acl: Vec::new(),
                parent_cversion: -1,
            })
        };
        apply(&mut tree, create("/p", false));
        let names: Vec<Text> = (0..3000).map(|number| Text::from(format!("/p/{number}"))).collect();
        for name in &names {
            apply(&mut tree, create(name.as_str(), true));
        }
        apply(&mut tree, create("/p/1/below", false));
        assert_eq!(indexed(&tree.store) + 1, tree.node_count());
        apply(&mut tree, TxnBody::Delete { path: names[0].clone(), sweep: false });
        assert_eq!(indexed(&tree.store) + 1, tree.node_count());
        apply(&mut tree, TxnBody::CloseSession { ephemerals: Some(names[..2000].to_vec()) });
        assert_eq!(indexed(&tree.store) + 1, tree.node_count());
        assert_eq!(tree.stat("/p").map(|stat| stat.num_children), Some(0));
    }
}
