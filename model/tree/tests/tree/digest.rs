//! The digest is ZooKeeper's, to the bit (rule T-17): the values were computed by the `DataTree` of Apache ZooKeeper
//! 3.8.0 from the same transactions.

use spec::{Epoch, Machine, SessionId, Zxid};
use tree::{Acl, CreateKind, CreateTxn, Text, Tree, Txn, TxnBody, Watches, acl};

fn create(
    kind: CreateKind,
    path: &str,
    data: Option<&'static str>,
    acl: Vec<Acl>,
    parent_cversion: i32,
) -> TxnBody {
    TxnBody::Create(CreateTxn {
        kind,
        path: Text::from(path),
        data: data.map(Into::into),
        acl,
        parent_cversion,
    })
}

fn set(path: &str, data: &'static str) -> TxnBody {
    TxnBody::SetData { path: Text::from(path), data: Some(data.into()), version: 1, reconfig: false }
}

#[test]
fn every_transaction_moves_it_as_in_java() {
    let open = || vec![Acl::world(acl::ALL)];
    let read = || vec![Acl::world(acl::READ)];
    let plain = CreateKind::Create { ephemeral: false };
    let rows = [
        (TxnBody::CreateSession { timeout_ms: 4000 }, 1_371_985_504),
        (create(plain, "/a", Some("x"), open(), 1), 8_790_333_147),
        (create(CreateKind::Create { ephemeral: true }, "/a/b", None, read(), 1), 8_159_373_585),
        (create(CreateKind::Create2 { ephemeral: false }, "/a/\u{e9}", Some(""), open(), 2), 6_469_992_012),
        (set("/", "root"), 4_815_796_730),
        (set("/a", "yy"), 5_630_204_574),
        (TxnBody::SetAcl { path: Text::from("/a/\u{e9}"), acl: read(), version: 1 }, 5_956_767_453),
        (create(CreateKind::Container, "/c", Some("z"), open(), 2), 6_112_781_389),
        (create(plain, "/zookeeper/x", Some("q"), open(), 1), 5_419_635_986),
        (TxnBody::Delete { path: Text::from("/a/\u{e9}"), sweep: false }, 4_926_755_883),
        (TxnBody::CloseSession { ephemerals: Some(vec![Text::from("/a/b")]) }, 6_557_124_492),
    ];
    let mut tree = Tree::new();
    assert_eq!(tree.digest(), 1_371_985_504);
    let mut zxid = Zxid::new(Epoch(1), 0);
    for (body, expected) in rows {
        zxid = zxid.next();
        let time = 1_000_000 + i64::from(zxid.counter());
        let txn = Txn { session: SessionId(1), cxid: 3, time, body, digest: None };
        tree.apply(zxid, &txn, &mut Watches::default(), &mut |_, _| {});
        assert_eq!(tree.digest(), expected, "{txn:?}");
    }
    let root = tree.stat("/").expect("the root is there");
    assert_eq!((root.cversion, root.num_children, root.pzxid), (1, 3, 4_294_967_304));
    let parent = tree.stat("/a").expect("is there");
    assert_eq!((parent.cversion, parent.num_children, parent.pzxid), (4, 0, 4_294_967_307));
}

#[test]
fn the_digest_behind_every_128th_transaction_is_kept() {
    let mut tree = Tree::new();
    let mut expected = Vec::new();
    for counter in 1..=128 * 1030 {
        let zxid = Zxid::new(Epoch(1), counter);
        let body = if counter.is_multiple_of(100) {
            create(
                CreateKind::Create { ephemeral: false },
                &format!("/n{counter}"),
                None,
                vec![Acl::world(acl::ALL)],
                -1,
            )
        } else {
            TxnBody::Error { code: -101 }
        };
        let txn = Txn { session: SessionId(1), cxid: 1, time: 5, body, digest: None };
        tree.apply(zxid, &txn, &mut Watches::default(), &mut |_, _| {});
        if counter.is_multiple_of(128) {
            expected.push((zxid, tree.digest()));
        }
    }
    let kept: Vec<_> = tree.digest_log().collect();
    assert_eq!(kept, expected[expected.len() - 1024..]);
}
