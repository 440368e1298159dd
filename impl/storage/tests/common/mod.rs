//! What the tests of storage share.

use bytes::Bytes;
use spec::{Machine, SessionId, Zxid};
use tree::{Acl, CreateKind, CreateTxn, Tree, Txn, TxnBody};

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
