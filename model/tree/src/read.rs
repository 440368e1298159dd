//! Reads, and the watches they leave (rules T-6, T-13, T-16, T-19, T-20).

use alloc::{borrow::Cow, vec::Vec};

use spec::{ErrorCode, SessionId, Zxid, machine};

use crate::{
    Acl, Answer, Event, EventKind, Identity, Read, Settings, Text, Tree,
    acl::{ADMIN, READ},
    auth,
    node::NodeId,
    tree::number,
    watches::{Notify, WatchKind, WatchMode, Watches},
};

/// What the answers to one multiRead hold at most, in bytes of data and names.
const MANY_BYTES_MAX: usize = 64 << 20;

/// Who reads, and what may come of it.
struct Reader<'a, 'b> {
    who: machine::Reader<'a, Identity, Settings>,
    watches: &'a mut Watches,
    notify: Notify<'b>,
    /// How many comparisons lists have cost it.
    judged: usize,
}

impl Reader<'_, '_> {
    /// Whether a list lets it do one of these; every list does, where lists do not count.
    fn may(&mut self, list: &[Acl], perms: i32) -> bool {
        if self.who.settings.skip_acl {
            return true;
        }
        self.judged += auth::cost(list, self.who.identities);
        auth::permits(list, perms, self.who.identities)
    }

    fn leave(&mut self, wanted: bool, kind: WatchKind, path: &Text) {
        if wanted {
            let seen_as = auth::watching(self.who.settings, self.who.identities);
            self.watches.leave(kind, path, self.who.client, &seen_as);
        }
    }

    fn add(&mut self, mode: WatchMode, path: &Text) {
        let seen_as = auth::watching(self.who.settings, self.who.identities);
        self.watches.add(mode, path, self.who.client, &seen_as);
    }

    fn tell(&mut self, kind: EventKind, path: &Text) {
        (self.notify)(self.who.client, &Event { kind, path: path.clone() });
    }
}

impl Tree {
    /// The answer to a read; see [`spec::Machine::read`].
    pub(crate) fn answer(
        &self,
        read: &Read,
        who: machine::Reader<'_, Identity, Settings>,
        watches: &mut Watches,
        notify: Notify<'_>,
    ) -> Result<Answer<'_>, ErrorCode> {
        self.answer_to(read, &mut Reader { who, watches, notify, judged: 0 })
    }

    fn answer_to(&self, read: &Read, reader: &mut Reader<'_, '_>) -> Result<Answer<'_>, ErrorCode> {
        match read {
            Read::GetData { path, watch } => {
                let id = self.readable(path, READ, reader)?;
                reader.leave(*watch, WatchKind::Data, path);
                Ok(Answer::Data { data: self.store.node(id).data(), stat: self.shown(id) })
            }
            Read::Exists { path, watch } => {
                if path.as_bytes().contains(&0) {
                    return Err(ErrorCode::BadArguments);
                }
                let found = self.readable(path, READ, reader);
                if found != Err(ErrorCode::NoAuth) {
                    reader.leave(*watch, WatchKind::Data, path);
                }
                found.map(|id| Answer::Exists(self.shown(id)))
            }
            Read::GetChildren { path, watch } => {
                let id = self.readable(path, READ, reader)?;
                reader.leave(*watch, WatchKind::Child, path);
                Ok(Answer::Children(self.store.children(id)))
            }
            Read::GetChildren2 { path, watch } => {
                let id = self.readable(path, READ, reader)?;
                reader.leave(*watch, WatchKind::Child, path);
                Ok(Answer::Children2 { names: self.store.children(id), stat: self.shown(id) })
            }
            Read::GetAcl { path } => {
                let id = self.readable(path, READ | ADMIN, reader)?;
                let list = self.list(id);
                let acl = if reader.may(list, ADMIN) { Cow::Borrowed(list) } else { auth::mask(list) };
                Ok(Answer::Acl { acl, stat: self.shown(id) })
            }
            Read::GetEphemerals { prefix } => {
                Ok(Answer::Ephemerals(self.own_ephemerals(reader.who.session, prefix.as_str())))
            }
            Read::GetAllChildrenNumber { path } => {
                let id = self.readable(path, READ, reader)?;
                let count =
                    if id == NodeId::ROOT { self.node_count() - 1 } else { self.store.count_below(id) };
                Ok(Answer::AllChildrenNumber(i32::try_from(count).unwrap_or(i32::MAX)))
            }
            Read::WhoAmI => Ok(Answer::Identities(auth::users(reader.who.identities))),
            Read::Multi(parts) => self.answer_many(parts, reader),
            Read::AddWatch { path, mode } => {
                reader.add(*mode, path);
                Ok(Answer::WatchAdded)
            }
            Read::CheckWatches { path, which } => found(reader.watches.has(*which, path, reader.who.client)),
            Read::RemoveWatches { path, which } => {
                found(reader.watches.take_back(*which, path, reader.who.client))
            }
            Read::SetWatches { relative, data, exist, child, persistent, recursive } => {
                self.set_watches(reader, *relative, [data, exist, child]);
                for path in persistent {
                    reader.add(WatchMode::Persistent, path);
                }
                for path in recursive {
                    reader.add(WatchMode::Recursive, path);
                }
                Ok(Answer::Done)
            }
        }
    }

    /// The answers to these, unless they are too much for one reply, or to find out (rule T-20).
    fn answer_many(&self, parts: &[Read], reader: &mut Reader<'_, '_>) -> Result<Answer<'_>, ErrorCode> {
        let mut answers = Vec::with_capacity(parts.len());
        let mut bytes = 0;
        for part in parts {
            let answer = self.answer_to(part, reader);
            bytes += answer.as_ref().map_or(0, Answer::content_bytes);
            if bytes > MANY_BYTES_MAX || reader.judged > auth::JUDGED_MAX {
                return Err(ErrorCode::MarshallingError);
            }
            answers.push(answer);
        }
        Ok(Answer::Multi(answers))
    }

    /// The ephemerals of a session whose paths begin so, in order.
    fn own_ephemerals(&self, session: SessionId, prefix: &str) -> Vec<Text> {
        // Blank is what Java trims: everything up to U+0020, and nothing above.
        let all = matches!(prefix.trim_matches(|c| c <= ' '), "" | "/");
        let wanted = |path: &Text| all || path.as_str().starts_with(prefix);
        self.ephemerals(session).into_iter().filter(wanted).collect()
    }

    fn readable(&self, path: &Text, perms: i32, reader: &mut Reader<'_, '_>) -> Result<NodeId, ErrorCode> {
        let id = self.find(path.as_str()).ok_or(ErrorCode::NoNode)?;
        if reader.may(self.list(id), perms) { Ok(id) } else { Err(ErrorCode::NoAuth) }
    }

    /// Leaves the watches that a client had, or fires at once what it has missed since `relative`, whoever may read
    /// the node.
    fn set_watches(&self, reader: &mut Reader<'_, '_>, relative: Zxid, [data, exist, child]: [&[Text]; 3]) {
        let relative = number(relative);
        let stat = |path: &Text| self.find(path.as_str()).map(|id| self.store.node(id).stat);
        for path in data {
            match stat(path) {
                None => reader.tell(EventKind::NodeDeleted, path),
                Some(stat) if stat.mzxid > relative => reader.tell(EventKind::NodeDataChanged, path),
                Some(_) => reader.leave(true, WatchKind::Data, path),
            }
        }
        for path in exist {
            match stat(path) {
                Some(_) => reader.tell(EventKind::NodeCreated, path),
                None => reader.leave(true, WatchKind::Data, path),
            }
        }
        for path in child {
            match stat(path) {
                None => reader.tell(EventKind::NodeDeleted, path),
                Some(stat) if stat.pzxid > relative => reader.tell(EventKind::NodeChildrenChanged, path),
                Some(_) => reader.leave(true, WatchKind::Child, path),
            }
        }
    }
}

/// The answer to a question for watches.
fn found<'a>(is_there: bool) -> Result<Answer<'a>, ErrorCode> {
    if is_there { Ok(Answer::Done) } else { Err(ErrorCode::NoWatcher) }
}
