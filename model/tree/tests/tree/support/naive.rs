//! A tree as one would write it down first: a map from paths, each write judged and carried out at once. It shares
//! nothing with the real one but the words, and the checks of paths and lists.

use std::collections::{BTreeMap, BTreeSet};

use spec::{ErrorCode, SessionId, Zxid};
use tree::{
    Acl, CreateRequest, Identity, Outcome, Settings, Stat, StatPersisted, Text, Tree, TreeBuilder, Write,
    acl, auth,
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) acl: Vec<Acl>,
    pub(crate) stat: StatPersisted,
}

#[derive(Clone)]
pub(crate) struct Naive {
    /// The root's path is empty.
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) sessions: BTreeSet<SessionId>,
}

pub(crate) struct Who<'a> {
    pub(crate) session: SessionId,
    pub(crate) identities: &'a [Identity],
    pub(crate) settings: &'a Settings,
    pub(crate) zxid: Zxid,
    pub(crate) time: i64,
}

type Done<T> = Result<T, ErrorCode>;

fn ensure(condition: bool, code: ErrorCode) -> Done<()> {
    if condition { Ok(()) } else { Err(code) }
}

impl Naive {
    pub(crate) fn new() -> Self {
        let node = |aversion, perms| Node {
            data: Some(Vec::new()),
            acl: vec![Acl::world(perms)],
            stat: StatPersisted { aversion, ..StatPersisted::default() },
        };
        let nodes = BTreeMap::from([
            (String::new(), node(0, acl::ALL)),
            ("/zookeeper".into(), node(0, acl::ALL)),
            ("/zookeeper/quota".into(), node(0, acl::ALL)),
            ("/zookeeper/config".into(), node(-1, acl::READ)),
        ]);
        Self { nodes, sessions: BTreeSet::new() }
    }

    /// The real tree with this content.
    pub(crate) fn build(&self, last: Zxid) -> Tree {
        let mut builder = TreeBuilder::new();
        for &session in &self.sessions {
            builder.session(session, 4000);
        }
        // Numbers that are far apart and in no order, as Java's may be.
        let lists: BTreeSet<&Vec<Acl>> = self.nodes.values().map(|node| &node.acl).collect();
        let numbers: BTreeMap<&Vec<Acl>, i64> = lists.into_iter().rev().zip((5..).step_by(3)).collect();
        for (list, number) in &numbers {
            builder.acl(*number, list);
        }
        for (path, node) in &self.nodes {
            builder
                .node(path, node.data.as_deref(), numbers[&node.acl], node.stat)
                .expect("parents come first");
        }
        builder.finish(last).expect("it has a root")
    }

    fn key(path: &str) -> &str {
        if path == "/" { "" } else { path }
    }

    fn children(&self, path: &str) -> usize {
        self.nodes.keys().filter(|other| parent(other) == Some(path)).count()
    }

    fn node(&mut self, path: &str) -> Done<&mut Node> {
        self.nodes.get_mut(Self::key(path)).ok_or(ErrorCode::NoNode)
    }

    fn permit(&self, path: &str, perms: i32, who: &Who<'_>) -> Done<()> {
        let node = self.nodes.get(Self::key(path)).ok_or(ErrorCode::NoNode)?;
        ensure(auth::permits(&node.acl, perms, who.identities), ErrorCode::NoAuth)
    }

    pub(crate) fn stat(&self, path: &str) -> Stat {
        let node = &self.nodes[Self::key(path)];
        let children = i32::try_from(self.children(Self::key(path))).expect("few");
        let stat = node.stat;
        Stat {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            version: stat.version,
            cversion: 2 * stat.cversion - children,
            aversion: stat.aversion,
            // Those of containers and times to live are negative.
            ephemeral_owner: stat.ephemeral_owner.max(0),
            data_length: i32::try_from(node.data.as_ref().map_or(0, Vec::len)).expect("short"),
            num_children: children,
            pzxid: stat.pzxid,
        }
    }

    pub(crate) fn close(&mut self, who: &Who<'_>) {
        self.sessions.remove(&who.session);
        let owned: Vec<String> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.stat.ephemeral_owner == who.session.0)
            .map(|(path, _)| path.clone())
            .collect();
        for path in owned {
            self.remove(&path, who.zxid);
        }
    }

    fn remove(&mut self, path: &str, zxid: Zxid) {
        self.nodes.remove(path);
        let parent = parent(path).expect("not the root").to_owned();
        self.nodes.get_mut(&parent).expect("has a parent").stat.pzxid = number(zxid);
    }

    /// The outcome of a write, carried out if it is none of an error.
    pub(crate) fn write(&mut self, write: &Write, who: &Who<'_>) -> Outcome {
        let error = |code: ErrorCode| Outcome::Error { code: code.number() };
        let Write::Multi(parts) = write else {
            return self.single(write, who).unwrap_or_else(error);
        };
        let has_time = |part: &Write| matches!(part, Write::Create { flags: 5 | 6, request, .. } if !matches!(request, CreateRequest::Ttl { .. }));
        if parts.iter().any(has_time) {
            return error(ErrorCode::MarshallingError);
        }
        let before = self.clone();
        let mut outcomes = Vec::new();
        for part in parts {
            let mut part = part.clone();
            if let Write::Create { flags: 4, request, .. } = &mut part
                && matches!(request, CreateRequest::Create | CreateRequest::Create2)
            {
                *request = CreateRequest::Container;
            }
            match self.single(&part, who) {
                Ok(outcome) => outcomes.push(outcome),
                Err(code) => {
                    *self = before;
                    let mut errors = vec![Outcome::Error { code: 0 }; outcomes.len()];
                    errors.push(error(code));
                    errors.resize(parts.len(), error(ErrorCode::RuntimeInconsistency));
                    return Outcome::Multi(errors);
                }
            }
        }
        Outcome::Multi(outcomes)
    }

    fn single(&mut self, write: &Write, who: &Who<'_>) -> Done<Outcome> {
        let open = self.sessions.contains(&who.session);
        match write {
            Write::Create { path, data, acl, flags, request } => {
                let owner = match (*flags, *request) {
                    (5 | 6, _) if !who.settings.ttl_nodes => return Err(ErrorCode::Unimplemented),
                    (0 | 2, CreateRequest::Create | CreateRequest::Create2) => 0,
                    (1 | 3, CreateRequest::Create | CreateRequest::Create2) => who.session.0,
                    (4, CreateRequest::Container) => i64::MIN,
                    (5 | 6, CreateRequest::Ttl { ttl_ms }) if ttl_ms > 0 && ttl_ms < 1 << 40 => {
                        i64::MIN >> 7 | ttl_ms
                    }
                    _ => return Err(ErrorCode::BadArguments),
                };
                ensure(open, ErrorCode::SessionExpired)?;
                let new = New {
                    owner,
                    is_sequential: [2, 3, 6].contains(flags),
                    is_short: *request == CreateRequest::Create,
                };
                self.create(path.as_str(), data.as_deref(), acl, new, who)
            }
            Write::Sweep { path } => {
                let up = parent(path.as_str()).ok_or(ErrorCode::BadArguments)?;
                let stat = self.node(path.as_str())?.stat;
                ensure(self.children(Self::key(path.as_str())) == 0, ErrorCode::NotEmpty)?;
                let age = who.time - stat.mtime;
                let is_over = match stat.ephemeral_owner {
                    0 => false,
                    i64::MIN => stat.cversion > 0,
                    owner => owner >> 56 == -1 && age > owner & ((1 << 40) - 1),
                };
                ensure(is_over, ErrorCode::BadVersion)?;
                self.node(up)?;
                self.remove(path.as_str(), who.zxid);
                Ok(Outcome::Delete)
            }
            Write::Delete { path, version } => {
                ensure(open, ErrorCode::SessionExpired)?;
                let special = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];
                ensure(!special.contains(&path.as_str()), ErrorCode::BadArguments)?;
                let up = parent(path.as_str()).ok_or(ErrorCode::BadArguments)?;
                self.permit(up, acl::DELETE, who)?;
                let current = self.node(path.as_str())?.stat.version;
                ensure(*version == -1 || *version == current, ErrorCode::BadVersion)?;
                ensure(self.children(path.as_str()) == 0, ErrorCode::NotEmpty)?;
                self.remove(path.as_str(), who.zxid);
                Ok(Outcome::Delete)
            }
            Write::SetData { path, data, version } => {
                ensure(open, ErrorCode::SessionExpired)?;
                tree::path::validate(path.as_str())?;
                self.permit(path.as_str(), acl::WRITE, who)?;
                let node = self.node(path.as_str())?;
                ensure(*version == -1 || *version == node.stat.version, ErrorCode::BadVersion)?;
                node.data = data.as_ref().map(|data| data.to_vec());
                node.stat.version += 1;
                node.stat.mzxid = number(who.zxid);
                node.stat.mtime = who.time;
                Ok(Outcome::SetData(self.stat(path.as_str())))
            }
            Write::SetAcl { path, acl, version } => {
                ensure(open, ErrorCode::SessionExpired)?;
                tree::path::validate(path.as_str())?;
                let acl = auth::resolve(who.settings, acl, who.identities)?;
                self.permit(path.as_str(), acl::ADMIN, who)?;
                let node = self.node(path.as_str())?;
                ensure(*version == -1 || *version == node.stat.aversion, ErrorCode::BadVersion)?;
                node.acl = acl;
                node.stat.aversion += 1;
                Ok(Outcome::SetAcl(self.stat(path.as_str())))
            }
            Write::Check { path, version } => {
                ensure(open, ErrorCode::SessionExpired)?;
                tree::path::validate(path.as_str())?;
                self.permit(path.as_str(), acl::READ, who)?;
                let current = self.node(path.as_str())?.stat.version;
                ensure(*version == -1 || *version == current, ErrorCode::BadVersion)?;
                Ok(Outcome::Check)
            }
            Write::Multi(_) => unreachable!("no multi in a multi"),
        }
    }

    fn create(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &[Acl],
        new: New,
        who: &Who<'_>,
    ) -> Done<Outcome> {
        let up = parent(path).ok_or(ErrorCode::BadArguments)?.to_owned();
        let acl = auth::resolve(who.settings, acl, who.identities)?;
        self.permit(&up, acl::CREATE, who)?;
        let above = self.node(&up)?.stat;
        let path = if new.is_sequential { format!("{path}{:010}", above.cversion) } else { path.to_owned() };
        tree::path::validate(&path)?;
        ensure(self.node(&path).is_err(), ErrorCode::NodeExists)?;
        ensure(above.ephemeral_owner <= 0, ErrorCode::NoChildrenForEphemerals)?;
        let zxid = number(who.zxid);
        let above = &mut self.node(&up)?.stat;
        above.cversion += 1;
        above.pzxid = zxid;
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            ctime: who.time,
            mtime: who.time,
            version: 0,
            cversion: 0,
            aversion: 0,
            ephemeral_owner: new.owner,
            pzxid: zxid,
        };
        self.nodes.insert(path.clone(), Node { data: data.map(<[u8]>::to_vec), acl, stat });
        let shown = self.stat(&path);
        let path = Text::from(path);
        Ok(if new.is_short { Outcome::Create { path } } else { Outcome::Create2 { path, stat: shown } })
    }
}

/// What a node to create is to be, and whether its client is told the path alone.
#[derive(Clone, Copy)]
struct New {
    owner: i64,
    is_sequential: bool,
    is_short: bool,
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

fn number(zxid: Zxid) -> i64 {
    i64::try_from(zxid.0).expect("small epochs")
}
