//! Nodes of every shape that nobody touches: a server that took over must show them as they were, to the last field.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::{
    client::{Acl, Client, Kind, Op, PERM_ALL},
    content::{Claim, Content},
    session::create,
};

/// Who sees all of it.
pub const SECRET: &str = "operator:secret";

/// The folder.
pub const FOLDER: &str = "/museum";

/// How many plain nodes there are.
const PLAIN: usize = 1_000;
/// How long the longest data is, in bytes.
const LONG: usize = 500_000;
/// How deep the deepest node stands.
const DEEP: usize = 20;

/// Makes the nodes.
///
/// # Errors
/// If the ensemble refuses.
pub fn build(client: &mut Client) -> Result<()> {
    ask(client, &Op::Authenticate { scheme: "digest".to_owned(), secret: SECRET.to_owned() })?;
    create(client, FOLDER, Kind::Persistent)?;
    let at = |name: &str| format!("{FOLDER}/{name}");
    create(client, &at("plain"), Kind::Persistent)?;
    for number in 0..PLAIN {
        client.send(&make(&at(&format!("plain/{number:04}")), vec![b'p'; number % 200]))?;
    }
    for _ in 0..PLAIN {
        let reply = client.receive()?;
        ensure!(reply.code == 0, "making a plain node failed with {}", reply.code);
    }
    ask(client, &make(&at("long"), vec![b'l'; LONG]))?;
    ask(client, &make(&at("naïve-名前"), Vec::new()))?;
    let mut deep = FOLDER.to_owned();
    for _ in 0..DEEP {
        deep += "/deep";
        create(client, &deep, Kind::Persistent)?;
    }
    // Counters that are ahead of what stands.
    let counted = at("counted");
    create(client, &counted, Kind::Persistent)?;
    for number in 0..5 {
        let path = format!("{counted}/n-");
        let made = client.call(&Op::Create { path, data: Vec::new(), kind: Kind::Sequential })?;
        ask(client, &Op::SetData { path: counted.clone(), data: vec![b'c'; number] })?;
        if number != 2 {
            ask(client, &Op::Delete(made.path()?))?;
        }
    }
    guard(client, &at("guarded"))
}

/// A node that everyone may read, one identity may change, and one address may list below.
fn guard(client: &mut Client, path: &str) -> Result<()> {
    create(client, path, Kind::Persistent)?;
    create(client, &format!("{path}/below"), Kind::Persistent)?;
    let entry = |perms, scheme: &str, id: &str| Acl { perms, scheme: scheme.to_owned(), id: id.to_owned() };
    let acl = vec![Acl::anyone(1), entry(PERM_ALL, "auth", ""), entry(1, "ip", "10.1.0.0/16")];
    ask(client, &Op::SetAcl { path: path.to_owned(), acl })
}

fn make(path: &str, data: Vec<u8>) -> Op {
    Op::Create { path: path.to_owned(), data, kind: Kind::Persistent }
}

fn ask(client: &mut Client, op: &Op) -> Result<()> {
    let code = client.call(op)?.code;
    ensure!(code == 0, "building the museum: an operation failed with {code}");
    Ok(())
}

/// What must stand from now on: this, and the nodes that every server has from its beginning, to the last field.
pub fn claims(content: &Content) -> BTreeMap<String, Claim> {
    let ours =
        |path: &str| path == "/" || [FOLDER, "/zookeeper"].iter().any(|folder| path.starts_with(folder));
    let whole = content.iter().filter(|(path, _)| ours(path));
    whole
        .map(|(path, node)| (path.clone(), Claim { whole: Some(node.clone()), ..Claim::default() }))
        .collect()
}
