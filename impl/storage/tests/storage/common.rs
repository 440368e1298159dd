//! What the tests of storage share.

use bytes::Bytes;
use spec::{Machine, SessionId, Zxid};
use storage::snapshot::{put_head, put_node};
use tree::{Acl, CreateKind, CreateTxn, Progress, Tree, Txn, TxnBody, Walk};

/// A transaction that makes a node of its own, with data of this length.
pub(crate) fn txn(zxid: Zxid, length: usize) -> Txn {
    let body = TxnBody::Create(CreateTxn {
        kind: CreateKind::Create { ephemeral: false },
        path: format!("/n{:x}", zxid.0).into(),
        data: Some(Bytes::from(vec![u8::try_from(zxid.0 % 251).expect("small"); length])),
        acl: vec![Acl::world(31)],
        parent_cversion: i32::try_from(zxid.counter()).expect("small"),
    });
    Txn { session: SessionId(7), cxid: 1, time: 1000, body, digest: None }
}

/// Applies a transaction that nobody watches.
pub(crate) fn apply(tree: &mut Tree, zxid: Zxid, txn: &Txn) {
    tree.apply(zxid, txn, &mut <Tree as Machine>::Watches::default(), &mut |_, _| {});
}

/// The body of a snapshot of this tree.
pub(crate) fn body(tree: &mut Tree) -> Vec<u8> {
    let mut walk = Walk::start(tree);
    let mut body = Vec::new();
    put_head(&walk, &mut body);
    let all = walk.next(tree, usize::MAX, &mut |node| put_node(node, &mut body));
    assert_eq!(all, Ok(Progress::Done));
    wire::snapshot::put_end(&mut body);
    body
}
