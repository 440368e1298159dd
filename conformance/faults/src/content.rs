//! Everything that a server shows, node by node, to be held against another server's and against what must stand.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
    net::SocketAddr,
};

use anyhow::{Result, bail, ensure};

use crate::{
    client::{Acl, Client, Op, PERM_ALL, Stat},
    session::{SESSION_TIMEOUT_MS, connect},
};

/// How many nodes are asked for before the first answer is read.
const NODES_AT_ONCE: usize = 64;

/// Every server makes this node by itself, of its own zoo.cfg; that it stands, and its list, are all that is told of it.
const CONFIG: &str = "/zookeeper/config";

/// How many differences are told.
const TOLD: usize = 5;
/// How much of a node's data is told, in bytes.
const TOLD_BYTES: usize = 40;

/// What a server shows of a node.
#[derive(Clone, Eq, PartialEq)]
pub struct Node {
    /// What it holds.
    pub data: Vec<u8>,
    /// Its Stat, whole.
    pub stat: Stat,
    /// Who may do what.
    pub acl: Vec<Acl>,
    /// The names below it.
    pub children: BTreeSet<String>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { data, stat, acl, children } = self;
        let start = String::from_utf8_lossy(&data[..data.len().min(TOLD_BYTES)]);
        write!(f, "{} bytes {start:?}, {stat:x?}, {acl:?}, {} children", data.len(), children.len())
    }
}

/// All nodes of a server by path.
pub type Content = BTreeMap<String, Node>;

/// What is known of a node that must stand; nothing is asked where nothing is known.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// What it holds.
    pub data: Option<Vec<u8>>,
    /// The transaction that made it.
    pub czxid: Option<i64>,
    /// The transaction that set it last.
    pub mzxid: Option<i64>,
    /// How often it was set.
    pub version: Option<i32>,
    /// How often its list of children changed.
    pub cversion: Option<i32>,
    /// The session that it goes with, or 0.
    pub owner: i64,
    /// The node as a whole, if nothing may have touched it.
    pub whole: Option<Node>,
}

impl Claim {
    /// It holds this.
    pub fn holds(data: impl Into<Vec<u8>>) -> Self {
        Self { data: Some(data.into()), ..Self::default() }
    }
}

/// Reads all that this server shows to one who proves this identity, behind a sync.
///
/// # Errors
/// If it does not answer, or a node goes while it is read: nobody may write meanwhile.
pub fn read(address: SocketAddr, secret: &str) -> Result<Content> {
    let mut client = connect(address, SESSION_TIMEOUT_MS)?;
    call(&mut client, &Op::Authenticate { scheme: "digest".to_owned(), secret: secret.to_owned() })?;
    call(&mut client, &Op::Sync("/".to_owned()))?;
    let mut content = Content::new();
    let mut paths = vec!["/".to_owned()];
    while !paths.is_empty() {
        let some = paths.split_off(paths.len().saturating_sub(NODES_AT_ONCE));
        for (path, mut node) in nodes(&mut client, some)? {
            if path == CONFIG {
                (node.data, node.stat) = (Vec::new(), Stat::default());
            }
            let folder = path.trim_end_matches('/');
            paths.extend(node.children.iter().map(|name| format!("{folder}/{name}")));
            content.insert(path, node);
        }
    }
    client.call(&Op::Close)?;
    Ok(content)
}

fn call(client: &mut Client, op: &Op) -> Result<()> {
    let code = client.call(op)?.code;
    ensure!(code == 0, "{op:?} failed with {code}");
    Ok(())
}

fn nodes(client: &mut Client, paths: Vec<String>) -> Result<Vec<(String, Node)>> {
    for path in &paths {
        for op in [Op::GetData(path.clone()), Op::GetChildren(path.clone()), Op::GetAcl(path.clone())] {
            client.send(&op)?;
        }
    }
    let mut nodes = Vec::new();
    for path in paths {
        let replies = [client.receive()?, client.receive()?, client.receive()?];
        for reply in &replies {
            ensure!(reply.code == 0, "reading {path} failed with {}", reply.code);
        }
        let [data, children, acl] = replies;
        let (children, acl) = (children.children()?.into_iter().collect(), acl.acl()?);
        let (data, stat) = data.data()?;
        nodes.push((path, Node { data, stat, acl, children }));
    }
    Ok(nodes)
}

/// Holds one server's content against another's.
///
/// # Errors
/// Names the first nodes that differ.
pub fn compare(one: &Content, other: &Content) -> Result<()> {
    let paths: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differ: Vec<_> = paths.into_iter().filter(|path| one.get(*path) != other.get(*path)).collect();
    if differ.is_empty() {
        return Ok(());
    }
    let mut told = format!("{} nodes differ", differ.len());
    for path in differ.into_iter().take(TOLD) {
        write!(told, "\n{path}: {:?}\n  but {:?}", one.get(path), other.get(path))?;
    }
    bail!(told)
}

/// Holds a server's content against all that must stand: these nodes, and no other.
///
/// # Errors
/// Names a node that is lost, is another than it must be, or stands for no reason.
pub fn hold(content: &Content, claims: &BTreeMap<String, Claim>) -> Result<()> {
    for (path, claim) in claims {
        let Some(node) = content.get(path) else { bail!("{path} is lost") };
        let children: BTreeSet<String> = below(claims, path).collect();
        ensure!(
            node.children == children && usize::try_from(node.stat.children)? == children.len(),
            "{path} lists {:?}, not {children:?}; its Stat says {}",
            node.children,
            node.stat.children
        );
        if let Some(whole) = &claim.whole {
            ensure!(whole == node, "{path} is {node:?}, and was {whole:?}");
            continue;
        }
        let Stat { czxid, mzxid, version, cversion, owner, .. } = node.stat;
        let known = claim.data.as_ref().is_none_or(|data| *data == node.data)
            && claim.czxid.is_none_or(|known| known == czxid)
            && claim.mzxid.is_none_or(|known| known == mzxid)
            && claim.version.is_none_or(|known| known == version)
            && claim.cversion.is_none_or(|known| known == cversion)
            && claim.owner == owner
            && node.acl == [Acl::anyone(PERM_ALL)]
            && usize::try_from(node.stat.data_length)? == node.data.len()
            && node.stat.aversion == 0;
        ensure!(known, "{path} is {node:?}, and must be {claim:?}, open to all");
    }
    let extra: Vec<_> = content.keys().filter(|path| !claims.contains_key(*path)).take(TOLD).collect();
    ensure!(extra.is_empty(), "these stand, and nobody's writes made them: {extra:?}");
    Ok(())
}

/// The names right below a path.
fn below<'a>(claims: &'a BTreeMap<String, Claim>, path: &str) -> impl Iterator<Item = String> + 'a {
    let folder = format!("{}/", path.trim_end_matches('/'));
    let from = claims.range(folder.clone()..);
    from.take_while({
        let folder = folder.clone();
        move |(path, _)| path.starts_with(&folder)
    })
    .filter_map(move |(path, _)| path.strip_prefix(&folder).map(str::to_owned))
    .filter(|name| !name.is_empty() && !name.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(data: &[u8], children: &[&str]) -> Node {
        let count = |number: usize| i32::try_from(number).expect("small");
        let stat =
            Stat { data_length: count(data.len()), children: count(children.len()), ..Stat::default() };
        let children = children.iter().map(|name| (*name).to_owned()).collect();
        Node { data: data.to_vec(), stat, acl: vec![Acl::anyone(PERM_ALL)], children }
    }

    fn content() -> (Content, BTreeMap<String, Claim>) {
        let nodes = [("/", node(b"", &["a"])), ("/a", node(b"1", &["b", "c"])), ("/a/b", node(b"2", &[]))];
        let nodes = nodes.into_iter().chain([("/a/c", node(b"3", &[]))]);
        let content: Content = nodes.map(|(path, node)| (path.to_owned(), node)).collect();
        let claim = |path: &str| Claim::holds(content[path].data.clone());
        let claims = ["/", "/a", "/a/b", "/a/c"].map(|path| (path.to_owned(), claim(path))).into();
        (content, claims)
    }

    #[test]
    fn what_must_stand_and_stands_is_well() {
        let (content, claims) = content();
        hold(&content, &claims).expect("as claimed");
        compare(&content, &content).expect("equal");
    }

    type Change = fn(&mut Content);

    #[test]
    fn whatever_differs_is_seen() {
        let (good, claims) = content();
        let changes: [(&str, Change); 7] = [
            ("lost", |content| drop(content.remove("/a/b"))),
            ("another's", |content| drop(content.insert("/x".to_owned(), node(b"", &[])))),
            ("data", |content| content.get_mut("/a/b").expect("stands").data = b"4".to_vec()),
            ("owner", |content| content.get_mut("/a/b").expect("stands").stat.owner = 7),
            ("aversion", |content| content.get_mut("/a/b").expect("stands").stat.aversion = 1),
            ("acl", |content| content.get_mut("/a/b").expect("stands").acl[0].perms = 1),
            ("children", |content| content.get_mut("/a").expect("stands").stat.children = 3),
        ];
        for (what, change) in changes {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(hold(&bad, &claims).is_err(), "{what}");
            assert!(compare(&good, &bad).is_err(), "{what}");
        }
    }

    #[test]
    fn what_is_known_of_a_node_is_asked() {
        let (mut content, mut claims) = content();
        content.get_mut("/a/b").expect("stands").stat.czxid = 5;
        claims.get_mut("/a/b").expect("claimed").czxid = Some(5);
        hold(&content, &claims).expect("as claimed");
        for stat in [
            Stat { czxid: 6, data_length: 1, ..Stat::default() },
            Stat { czxid: 5, owner: 1, data_length: 1, ..Stat::default() },
        ] {
            content.get_mut("/a/b").expect("stands").stat = stat;
            assert!(hold(&content, &claims).is_err(), "{stat:?}");
        }
        let whole = Claim { whole: Some(node(b"2", &[])), ..Claim::default() };
        claims.insert("/a/b".to_owned(), whole);
        assert!(hold(&content, &claims).is_err());
    }
}
