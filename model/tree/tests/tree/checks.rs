//! Which error wins: each row breaks two or more rules, and the code is that of the check that comes first.

use crate::support::{
    Leader, ME, check, create, create_with, delete, only, open_acl, path, set, set_acl, user,
};
use spec::{ErrorCode, Machine, SessionId, machine::Author};
use tree::{Acl, CreateRequest, Outcome, Text, Tree, TxnBody, Write, acl};

/// `/n`, `/e` ephemeral, `/p` with a child, `/ro` that everybody may read only, and `/ann` that only she may touch.
fn forest() -> Leader {
    let mut leader = Leader::new();
    for write in [
        create("/n", 0),
        create("/e", 1),
        create("/p", 0),
        create("/p/c", 0),
        create_with("/ro", vec![Acl::world(acl::READ)]),
        create_with("/ann", only(&user("ann"), acl::ALL)),
    ] {
        assert!(matches!(leader.write(&write), Outcome::Create { .. }), "{write:?}");
    }
    leader
}

fn with_acl(at: &str, flags: i32, acl: Vec<Acl>) -> Write {
    Write::Create { path: path(at), data: None, acl, flags, request: CreateRequest::Create }
}

fn code(outcome: &Outcome) -> i32 {
    if let Outcome::Error { code } = outcome { *code } else { 0 }
}

fn judge(rows: &[(Write, Option<ErrorCode>, &str)]) {
    for (write, expected, why) in rows {
        let outcome = forest().write(write);
        assert_eq!(code(&outcome), expected.map_or(0, ErrorCode::number), "{why}: {write:?}");
        if let (Outcome::Error { .. }, Write::Create { .. }) = (&outcome, write) {
            let multi = forest().write(&Write::Multi(vec![write.clone()]));
            let Outcome::Multi(slots) = multi else { continue };
            assert_eq!(slots, [outcome], "{why}: the same inside a multi");
        }
    }
}

#[test]
fn create_is_judged_in_order() {
    use ErrorCode::{BadArguments, InvalidAcl, NoAuth, NoChildrenForEphemerals, NoNode, NodeExists};
    let nobody = Acl { perms: acl::ALL, scheme: path("nobody"), id: Text::default() };
    judge(&[
        (create("/new", 0), None, "nothing is wrong"),
        (create("/n/new", 3), None, "nor below an ordinary node"),
        (with_acl("bad", 7, vec![]), Some(BadArguments), "the flags come first"),
        (with_acl("bad", 0, vec![]), Some(BadArguments), "a path without a slash is seen before the list"),
        (with_acl("/missing/\0", 0, vec![]), Some(BadArguments), "and so is a null character"),
        (with_acl("/missing/x", 0, vec![]), Some(InvalidAcl), "the list before the parent"),
        (with_acl("/missing/x", 0, vec![nobody]), Some(InvalidAcl), "an unknown scheme is no list"),
        (create("/missing/..", 0), Some(NoNode), "the parent before the rest of the path"),
        (create("/n/", 0), Some(BadArguments), "whose name may be empty"),
        (create("/missing/", 0), Some(NoNode), "but the parent is looked up before"),
        (create("/./a", 0), Some(NoNode), "so a relative path has no parent"),
        (create("//a", 0), Some(BadArguments), "and this one has the root"),
        (create("/ro/..", 0), Some(NoAuth), "permission before the rest of the path"),
        (create("/ann/x", 0), Some(NoAuth), "which the parent's list gives"),
        (create("/zookeeper/zookeeper_limits", 0), Some(BadArguments), "what ends ZooKeeper's servers"),
        (create("/zookeeper/quota/zookeeper_limits", 1), Some(BadArguments), "as an ephemeral too"),
        (create("/p/c", 0), Some(NodeExists), "the node itself"),
        (create("/", 0), Some(NodeExists), "the root is there"),
        (create("/e/x", 0), Some(NoChildrenForEphemerals), "the parent's kind comes last"),
        (create("/n/", 2), None, "a sequential name may be the number alone"),
        (create("/", 2), None, "below the root too"),
        (create("/n/\u{1f600}", 2), Some(BadArguments), "what stands before the number counts"),
    ]);
}

#[test]
fn delete_is_judged_in_order() {
    use ErrorCode::{BadArguments, BadVersion, NoAuth, NoNode, NotEmpty};
    judge(&[
        (delete("/n", 0), None, "nothing is wrong"),
        (delete("/ann", -1), None, "the node's own list does not protect it"),
        (delete("bad", 5), Some(BadArguments), "no slash"),
        (delete("/", 5), Some(BadArguments), "the root stays"),
        (delete("/zookeeper", 5), Some(BadArguments), "so does the system's node"),
        (delete("/zookeeper/quota", 5), Some(BadArguments), "and its children"),
        (delete("/zookeeper/config", 5), Some(BadArguments), "both of them"),
        (delete("/missing/x", 5), Some(NoNode), "no parent"),
        (delete("/ro/missing", 5), Some(NoAuth), "the parent's list before the node"),
        (delete("/missing", 5), Some(NoNode), "the node before the version"),
        (delete("/n/", 5), Some(NoNode), "a trailing slash names no node"),
        (delete("/p", 5), Some(BadVersion), "the version before the children"),
        (delete("/p", 0), Some(NotEmpty), "the children"),
    ]);
}

#[test]
fn other_writes_are_judged_in_order() {
    use ErrorCode::{BadArguments, BadVersion, InvalidAcl, NoAuth, NoNode};
    let read = || vec![Acl::world(acl::READ)];
    judge(&[
        (set("/n", 0), None, "nothing is wrong"),
        (set("/", -1), None, "the root has data"),
        (set("/n/", 5), Some(BadArguments), "the path"),
        (set("/missing", 5), Some(NoNode), "the node"),
        (set("/ro", 5), Some(NoAuth), "its list before its version"),
        (set("/n", 5), Some(BadVersion), "its version"),
        (set_acl("/n", read(), 0), None, "nothing is wrong"),
        (set_acl("/n/", vec![], 5), Some(BadArguments), "the path"),
        (set_acl("/missing", vec![], 5), Some(InvalidAcl), "the new list before the node"),
        (set_acl("/missing", read(), 5), Some(NoNode), "the node"),
        (set_acl("/ro", open_acl(), 5), Some(NoAuth), "its list before its version"),
        (set_acl("/n", read(), 5), Some(BadVersion), "its version"),
        (check("/n", 0), Some(ErrorCode::Unimplemented), "only inside a multi"),
    ]);
    let rows = [
        (check("/n", 0), 0, "nothing is wrong"),
        (check("/ro", 0), 0, "reading is enough"),
        (check("/n/", 5), BadArguments.number(), "the path"),
        (check("/missing", 5), NoNode.number(), "the node"),
        (check("/ann", 5), NoAuth.number(), "its list before its version"),
        (check("/n", 5), BadVersion.number(), "its version"),
    ];
    for (write, expected, why) in rows {
        let Outcome::Multi(slots) = forest().write(&Write::Multi(vec![write])) else { panic!("{why}") };
        assert_eq!(code(&slots[0]), expected, "{why}");
    }
}

#[test]
fn without_a_session_nothing_else_is_looked_at_but_the_flags() {
    let mut leader = forest();
    let stranger = SessionId(99);
    let rows = [
        (with_acl("bad", 0, vec![]), ErrorCode::SessionExpired),
        (with_acl("bad", 7, vec![]), ErrorCode::BadArguments),
        (delete("bad", 0), ErrorCode::SessionExpired),
        (set("bad", 0), ErrorCode::SessionExpired),
        (set_acl("bad", vec![], 0), ErrorCode::SessionExpired),
    ];
    for (write, expected) in rows {
        leader.prepare(stranger, &write);
        let outcome = leader.apply_one();
        assert_eq!(code(&outcome), expected.number(), "{write:?}");
    }
}

#[test]
fn super_passes_every_list() {
    let mut leader = forest();
    let superuser = tree::Identity { scheme: path("super"), id: Text::default() };
    leader.identities = vec![superuser];
    for write in [create("/ann/x", 0), set("/zookeeper/config", -1), set_acl("/ro", open_acl(), -1)] {
        assert_eq!(code(&leader.write(&write)), 0, "{write:?}");
    }
}

#[test]
fn a_refused_request_is_a_transaction_too() {
    let author = Author { session: ME, xid: 3, identities: &[], time: 5 };
    let txn = Tree::prepare_error(author, ErrorCode::SessionMoved);
    assert_eq!(txn.body, TxnBody::Error { code: -118 });
    assert_eq!((txn.session, txn.cxid, txn.time), (ME, 3, 5));
    let mut leader = forest();
    let before = leader.tree.last_processed();
    leader.write(&delete("/missing", -1));
    assert_eq!(leader.tree.last_processed(), before.next(), "it takes its place in the order");
}
