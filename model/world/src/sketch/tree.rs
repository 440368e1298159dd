//! The real tree, its transactions and its writes, in words.

use spec::{ErrorCode, Machine};
use tree::{
    CreateKind, CreateMode, CreateTxn, Owner, Progress, Read, Tree, Txn, TxnBody, Walk, WalkedNode, Write,
};

/// Sessions and nodes, without the root and what is ZooKeeper's own.
pub(crate) fn state(tree: &Tree) -> Vec<String> {
    let sessions: Vec<_> = tree.sessions().iter().map(|(session, _)| session.to_string()).collect();
    let mut lines = Vec::new();
    lines.extend((!sessions.is_empty()).then(|| format!("sessions {}", sessions.join(", "))));
    let mut tree = tree.clone();
    let mut walk = Walk::start(&mut tree);
    let mut visit = |node: WalkedNode<'_>| {
        let WalkedNode { path, data, stat, .. } = node;
        if !path.is_empty() && path != "/zookeeper" && !path.starts_with("/zookeeper/") {
            let owner = belongs(Owner::from_number(stat.ephemeral_owner));
            lines.push(format!("{path} = {}, version {}{owner}", text(data), stat.version));
        }
    };
    while walk.next(&mut tree, usize::MAX, &mut visit).is_ok_and(|progress| progress != Progress::Done) {}
    lines
}

/// What a transaction does, and for whom.
pub(crate) fn txn(txn: &Txn) -> String {
    format!("{} for {}", body(&txn.body), txn.session)
}

fn body(txn: &TxnBody) -> String {
    match txn {
        TxnBody::Create(CreateTxn { kind, path, data, .. }) => {
            let what = match kind {
                CreateKind::Create { ephemeral: true } | CreateKind::Create2 { ephemeral: true } => {
                    " ephemeral"
                }
                CreateKind::Create { ephemeral: false } | CreateKind::Create2 { ephemeral: false } => "",
                CreateKind::Container => " container",
                CreateKind::Ttl { .. } => " with a time to live",
            };
            format!("create{what} {path} = {}", text(data.as_ref()))
        }
        TxnBody::Delete { path, sweep: false } => format!("delete {path}"),
        TxnBody::Delete { path, sweep: true } => format!("deleteContainer {path}"),
        TxnBody::SetData { path, data, version, .. } => {
            format!("setData {path} = {}, version {version}", text(data.as_ref()))
        }
        TxnBody::SetAcl { path, .. } => format!("setACL {path}"),
        TxnBody::Check { path, .. } => format!("check {path}"),
        TxnBody::Multi(parts) => joined(parts.iter().map(body)),
        TxnBody::CreateSession { .. } => "createSession".to_owned(),
        TxnBody::CloseSession { .. } => "closeSession".to_owned(),
        TxnBody::Error { code } => ErrorCode::from_number(*code)
            .map_or_else(|| format!("error {code}"), |code| format!("error {code:?}")),
    }
}

/// What is asked.
pub(crate) fn write(asked: &Write) -> String {
    match asked {
        Write::Create { path, data, flags, .. } => {
            let what = match CreateMode::from_flags(*flags) {
                Some((CreateMode::Persistent, false)) => "",
                Some((CreateMode::Persistent, true)) => " sequential",
                Some((CreateMode::Ephemeral, false)) => " ephemeral",
                Some((CreateMode::Ephemeral, true)) => " ephemeral sequential",
                Some((CreateMode::Container, _)) => " container",
                Some((CreateMode::Ttl, _)) => " with a time to live",
                None => " of an unknown kind",
            };
            format!("create{what} {path} = {}", text(data.as_ref()))
        }
        Write::Delete { path, version } => format!("delete {path}{}", held(*version)),
        Write::SetData { path, data, version } => {
            format!("setData {path} = {}{}", text(data.as_ref()), held(*version))
        }
        Write::SetAcl { path, version, .. } => format!("setACL {path}{}", held(*version)),
        Write::Check { path, version } => format!("check {path}{}", held(*version)),
        Write::Multi(parts) => joined(parts.iter().map(write)),
        Write::Sweep { path } => format!("deleteContainer {path}"),
    }
}

/// What is to be read.
pub(crate) fn read(asked: &Read) -> String {
    let watched = |watch: bool| if watch { ", and watch" } else { "" };
    match asked {
        Read::GetData { path, watch } => format!("getData {path}{}", watched(*watch)),
        Read::Exists { path, watch } => format!("exists {path}{}", watched(*watch)),
        Read::GetChildren { path, watch } | Read::GetChildren2 { path, watch } => {
            format!("getChildren {path}{}", watched(*watch))
        }
        Read::GetAcl { path } => format!("getACL {path}"),
        Read::GetEphemerals { prefix } => format!("getEphemerals {prefix}"),
        Read::GetAllChildrenNumber { path } => format!("getAllChildrenNumber {path}"),
        Read::WhoAmI => "whoAmI".to_owned(),
        Read::Multi(parts) => joined(parts.iter().map(read)),
        Read::AddWatch { path, .. } => format!("addWatch {path}"),
        Read::CheckWatches { path, .. } => format!("checkWatches {path}"),
        Read::RemoveWatches { path, .. } => format!("removeWatches {path}"),
        Read::SetWatches { .. } => "setWatches".to_owned(),
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    format!("multi ({})", parts.collect::<Vec<_>>().join("; "))
}

/// The version that is asked for, if any is.
fn held(version: i32) -> String {
    if version < 0 { String::new() } else { format!(", if it has version {version}") }
}

fn belongs(owner: Owner) -> String {
    match owner {
        Owner::None => String::new(),
        Owner::Session(session) => format!(", ephemeral of {session}"),
        Owner::Container => ", a container".to_owned(),
        Owner::Ttl(ttl_ms) => format!(", lives {ttl_ms} ms"),
    }
}

fn text<B: AsRef<[u8]> + ?Sized>(data: Option<&B>) -> String {
    data.map_or_else(|| "null".to_owned(), |data| format!("{:?}", String::from_utf8_lossy(data.as_ref())))
}
