//! What writes do to stats, names and sessions, and what clients are told of it.

use crate::support::{
    Leader, ME, OTHER, check, create, create_with, delete, long_acl, open_acl, path, set, set_acl, user,
};
use spec::{ClientId, Epoch, ErrorCode, Machine, SessionId, Zxid};
use tree::{
    Acl, CreateKind, CreateRequest, CreateTxn, LoadError, Outcome, Owner, Progress, Stat, StatPersisted,
    Text, Tree, TreeBuilder, Txn, TxnBody, Walk, WalkedNode, WatchKind, WatchMode, Watches, Write, acl,
};

fn stat(leader: &Leader, at: &str) -> Stat {
    leader.tree.stat(at).expect("the node is there")
}

fn created(outcome: &Outcome) -> &str {
    let (Outcome::Create { path } | Outcome::Create2 { path, .. }) = outcome else { panic!("{outcome:?}") };
    path.as_str()
}

#[test]
fn a_new_tree_has_what_zookeeper_starts_with() {
    let leader = Leader::without_sessions();
    assert_eq!(leader.tree.node_count(), 4);
    let root = stat(&leader, "/");
    assert_eq!((root.cversion, root.num_children, root.czxid), (-1, 1, 0), "as a fresh server shows it");
    assert_eq!(leader.tree.acl("/zookeeper/config"), Some(&[Acl::world(acl::READ)][..]));
    assert_eq!(stat(&leader, "/zookeeper/config").aversion, -1);
    assert_eq!(leader.tree.data("/zookeeper/quota"), Some(Some(&b""[..])));
}

#[test]
fn stats_follow_the_table_of_events() {
    let mut leader = Leader::new();
    leader.write(&create("/p", 0));
    let zxid = |leader: &Leader| i64::try_from(leader.tree.last_processed().0).expect("small");
    let born = zxid(&leader);
    leader.write(&create("/p/c", 0));
    let (parent, child) = (stat(&leader, "/p"), stat(&leader, "/p/c"));
    let first = zxid(&leader);
    assert_eq!((parent.cversion, parent.pzxid, parent.mzxid, parent.num_children), (1, first, born, 1));
    assert_eq!((child.czxid, child.mzxid, child.pzxid), (first, first, first));
    assert_eq!((child.version, child.cversion, child.aversion, child.data_length), (0, 0, 0, 1));
    assert_eq!(child.ctime, child.mtime);

    leader.write(&set("/p/c", 0));
    let changed = stat(&leader, "/p/c");
    assert_eq!((changed.version, changed.mzxid, changed.czxid), (1, zxid(&leader), first));
    assert!(changed.mtime > changed.ctime);
    assert_eq!(stat(&leader, "/p"), parent, "the parent does not notice");

    leader.write(&set_acl("/p/c", vec![Acl::world(acl::READ)], 0));
    let restricted = stat(&leader, "/p/c");
    assert_eq!((restricted.aversion, restricted.mzxid, restricted.version), (1, changed.mzxid, 1));

    leader.write(&delete("/p/c", 1));
    let parent = stat(&leader, "/p");
    assert_eq!((parent.cversion, parent.num_children, parent.pzxid), (2, 0, zxid(&leader)));
    leader.write(&create("/p/d", 0));
    assert_eq!(stat(&leader, "/p").cversion, 3, "two creations and a deletion");
}

#[test]
fn null_and_empty_data_differ() {
    let mut leader = Leader::new();
    leader.write(&create_with("/null", open_acl()));
    leader.write(&Write::SetData { path: path("/zookeeper"), data: None, version: -1 });
    let data = Some("".into());
    leader.write(&Write::Create {
        path: path("/empty"),
        data,
        acl: open_acl(),
        flags: 0,
        request: CreateRequest::Create,
    });
    for (at, expected) in [("/null", None), ("/empty", Some(&b""[..])), ("/zookeeper", None)] {
        assert_eq!(leader.tree.data(at), Some(expected), "{at}");
        assert_eq!(stat(&leader, at).data_length, 0);
    }
}

#[test]
fn create_and_create2_are_told_what_they_asked_for() {
    let mut leader = Leader::new();
    let write = |request| Write::Create { path: path("/s-"), data: None, acl: open_acl(), flags: 3, request };
    assert_eq!(leader.write(&write(CreateRequest::Create)), Outcome::Create { path: path("/s-0000000000") });
    let expected = Outcome::Create2 { path: path("/s-0000000001"), stat: Stat::default() };
    let found = leader.write(&write(CreateRequest::Create2));
    let Outcome::Create2 { stat: shown, .. } = &found else { panic!("{found:?}") };
    assert_eq!(*shown, stat(&leader, "/s-0000000001"));
    assert_eq!(shown.ephemeral_owner, ME.0);
    assert_eq!(created(&found), created(&expected));
}

#[test]
fn sequential_names_count_what_is_outstanding() {
    let mut leader = Leader::new();
    leader.write(&create("/q", 0));
    for _ in 0..3 {
        leader.prepare(ME, &create("/q/n", 2));
    }
    leader.prepare(OTHER, &delete("/q/n0000000001", -1));
    leader.prepare(OTHER, &create("/q/n", 3));
    let outcomes = leader.apply_all();
    let names: Vec<&str> = [0, 1, 2, 4].iter().map(|&at| created(&outcomes[at])).collect();
    assert_eq!(names, ["/q/n0000000000", "/q/n0000000001", "/q/n0000000002", "/q/n0000000003"]);
}

#[test]
fn the_number_of_a_name_overflows_to_negative() {
    let parent = StatPersisted { cversion: i32::MAX, ..StatPersisted::default() };
    let mut builder = TreeBuilder::new();
    builder.session(ME, 4000);
    for at in ["", "/q"] {
        builder.node(at, None, -1, parent).expect("parents come first");
    }
    let mut leader = Leader::without_sessions();
    leader.tree = builder.finish(Zxid::ZERO).expect("it has a root");
    let names: Vec<String> = (0..3).map(|_| created(&leader.write(&create("/q/n", 2))).to_owned()).collect();
    assert_eq!(names, ["/q/n2147483647", "/q/n-2147483648", "/q/n-2147483647"]);
}

#[test]
fn a_multi_is_all_or_nothing() {
    let mut leader = Leader::new();
    let sub = |request| Write::Create { path: path("/m/b"), data: None, acl: open_acl(), flags: 0, request };
    let good = Write::Multi(vec![
        create("/m", 0),
        sub(CreateRequest::Create2),
        check("/m/b", 0),
        set("/m", 0),
        delete("/m/b", -1),
    ]);
    let Outcome::Multi(slots) = leader.write(&good) else { panic!("a multi is answered as one") };
    assert!(matches!(&slots[0], Outcome::Create { path } if path == "/m"));
    assert!(matches!(&slots[1], Outcome::Create2 { stat, .. } if stat.num_children == 0));
    assert_eq!(slots[2], Outcome::Check);
    assert!(matches!(&slots[3], Outcome::SetData(stat) if stat.version == 1 && stat.num_children == 1));
    assert_eq!(slots[4], Outcome::Delete);

    let before = leader.tree.clone();
    let bad = Write::Multi(vec![set("/m", 1), create("/m/c", 0), set("/m", 9), delete("/m", -1)]);
    let Outcome::Multi(slots) = leader.write(&bad) else { panic!("a multi is answered as one") };
    let code = |slot: &Outcome| if let Outcome::Error { code } = slot { *code } else { 1 };
    let slots: Vec<i32> = slots.iter().map(code).collect();
    assert_eq!(slots, [0, 0, ErrorCode::BadVersion.number(), ErrorCode::RuntimeInconsistency.number()]);
    assert_eq!((leader.tree.digest(), leader.tree.node_count()), (before.digest(), before.node_count()));
    assert_ne!(
        leader.tree.last_processed(),
        before.last_processed(),
        "it has a place in the order all the same"
    );
}

fn code(outcome: &Outcome) -> i32 {
    if let Outcome::Error { code } = outcome { *code } else { 1 }
}

#[test]
fn flags_of_a_container_make_one_in_a_multi_whatever_the_request() {
    let mut leader = Leader::new();
    for (at, request) in [("/a", CreateRequest::Create), ("/b", CreateRequest::Create2)] {
        let write = Write::Create { path: path(at), data: None, acl: open_acl(), flags: 4, request };
        assert_eq!(leader.write(&write), Outcome::Error { code: ErrorCode::BadArguments.number() });
        let Outcome::Multi(slots) = leader.write(&Write::Multi(vec![write])) else { panic!("one answer") };
        assert!(matches!(&slots[..], [Outcome::Create2 { .. }]), "{slots:?}");
        assert_eq!(leader.tree.owner(at), Some(Owner::Container));
    }
}

#[test]
fn a_time_to_live_with_other_flags_fails_in_its_place() {
    let mut leader = Leader::new();
    let request = CreateRequest::Ttl { ttl_ms: 5 };
    let bad = Write::Create { path: path("/t"), data: None, acl: open_acl(), flags: 9, request };
    let parts = vec![create("/m", 0), bad, check("/none", 0)];
    let Outcome::Multi(slots) = leader.write(&Write::Multi(parts)) else { panic!("it is answered as one") };
    let found: Vec<_> = slots.iter().map(code).collect();
    assert_eq!(found, [0, ErrorCode::BadArguments.number(), ErrorCode::RuntimeInconsistency.number()]);
}

#[test]
fn a_failed_multi_leaves_nothing_outstanding() {
    let mut leader = Leader::new();
    leader.write(&create("/q", 0));
    leader.prepare(ME, &create("/q/n", 2));
    leader.prepare(ME, &set("/q", 0));
    let failing = vec![create("/q/n", 2), set("/q", 1), create("/q/e", 1), delete("/missing", -1)];
    leader.prepare(ME, &Write::Multi(failing));
    leader.prepare(ME, &create("/q/n", 2));
    leader.prepare(ME, &set("/q", 1));
    leader.close(ME);
    let outcomes = leader.apply_all();
    assert_eq!(created(&outcomes[3]), "/q/n0000000001", "the number of the failed one is given again");
    assert!(matches!(&outcomes[4], Outcome::SetData(stat) if stat.version == 2));
    let closing = TxnBody::CloseSession { ephemerals: Some(Vec::new()) };
    assert_eq!(leader.log.last().expect("the close").1.body, closing);
    assert!(leader.outstanding.is_empty());
}

#[test]
fn a_multi_that_does_not_decode_is_refused_whole() {
    let mut leader = Leader::new();
    for part in [create("/m", 7), create("/m", 5), Write::Multi(vec![]), set_acl("/", open_acl(), -1)] {
        let outcome = leader.write(&Write::Multi(vec![create("/ok", 0), part]));
        assert_eq!(outcome, Outcome::Error { code: ErrorCode::MarshallingError.number() });
    }
    assert_eq!(leader.write(&Write::Multi(vec![])), Outcome::Multi(vec![]), "an empty one does nothing");
}

#[test]
fn a_multi_that_takes_long_to_judge_is_refused_whole() {
    let mut leader = Leader::new();
    leader.write(&create("/p", 0));
    leader.write(&set_acl("/p", long_acl(), -1));
    let checks = |count| {
        let check = Write::Check { path: path("/p"), version: -1 };
        Write::Multi([create("/n", 0)].into_iter().chain(vec![check; count]).collect())
    };
    let refused = Outcome::Error { code: ErrorCode::BadArguments.number() };
    assert_eq!(leader.write(&checks(1024)), refused);
    assert!(
        matches!(leader.write(&checks(1023)), Outcome::Multi(parts) if parts.len() == 1024),
        "and left nothing"
    );
}

#[test]
fn closing_takes_every_ephemeral_along() {
    let mut leader = Leader::new();
    leader.write(&create("/p", 0));
    leader.write(&create("/p/old", 1));
    leader.write(&create("/p/gone", 1));
    leader.write(&create("/p/other", 1));
    leader.write(&delete("/p/other", -1));
    leader.prepare(OTHER, &create("/p/other", 1));
    leader.prepare(ME, &create("/p/new", 1));
    leader.prepare(OTHER, &delete("/p/gone", -1));
    leader.prepare(OTHER, &create("/p/gone", 0));
    leader.close(ME);
    // The closing session may do nothing more, and what it leaves is gone for those who come behind.
    leader.prepare(ME, &create("/p/late", 1));
    leader.prepare(OTHER, &create("/p/old", 0));
    let outcomes = leader.apply_all();
    assert_eq!(outcomes[5], Outcome::Error { code: ErrorCode::SessionExpired.number() });
    assert_eq!(outcomes[6], Outcome::Create { path: path("/p/old") });
    let closed = leader.log.iter().find_map(|(_, txn)| {
        if let TxnBody::CloseSession { ephemerals } = &txn.body { ephemerals.clone() } else { None }
    });
    assert_eq!(closed, Some(vec![path("/p/new"), path("/p/old")]));
    assert_eq!(stat(&leader, "/p").num_children, 3);
    assert_eq!(stat(&leader, "/p/other").ephemeral_owner, OTHER.0);
    assert_eq!(leader.tree.session_timeout(ME), None);
    assert_eq!(leader.tree.sessions(), [(OTHER, 4000)]);
}

#[test]
fn a_close_of_too_many_lists_none_and_takes_them_all_the_same() {
    let mut leader = Leader::new();
    leader.write(&create("/p", 0));
    let long = "x".repeat(100_000);
    for node in 0..19 {
        leader.write(&create(&format!("/p/{node}-{long}"), 1));
    }
    leader.prepare(ME, &create(&format!("/p/open-{long}"), 1));
    let before = leader.tree.digest();
    leader.close(ME);
    leader.prepare(OTHER, &create("/behind", 0));
    leader.apply_all();
    let closed = leader.log.iter().rev().nth(1).map(|(_, txn)| (txn.body.clone(), txn.digest));
    assert_eq!(closed, Some((TxnBody::CloseSession { ephemerals: None }, None)));
    assert_eq!(stat(&leader, "/p").num_children, 0);
    assert_ne!(leader.tree.digest(), before);
    // What was foretold of the state behind is what came.
    let told = leader.log.last().and_then(|(_, txn)| txn.digest).map(|digest| digest.tree);
    assert_eq!(told, Some(leader.tree.digest()));
}

#[test]
fn what_auth_adds_to_the_lists_of_a_multi_is_bounded_for_all_together() {
    let mut leader = Leader::new();
    leader.identities = (0..1000).map(|name| user(&format!("{name}"))).collect();
    let auth = vec![Acl { perms: acl::ALL, scheme: path("auth"), id: path("") }];
    let multi = |name: &str, parts: usize| {
        Write::Multi((0..parts).map(|at| create_with(&format!("/{name}{at}"), auth.clone())).collect())
    };
    let code = ErrorCode::InvalidAcl.number();
    let Outcome::Multi(outcomes) = leader.write(&multi("many", 40)) else { panic!("a multi") };
    assert!(outcomes.contains(&Outcome::Error { code }), "{outcomes:?}");
    let Outcome::Multi(outcomes) = leader.write(&multi("few", 10)) else { panic!("a multi") };
    assert!(!outcomes.iter().any(|outcome| matches!(outcome, Outcome::Error { .. })), "{outcomes:?}");
    // One long identity makes no list longer that has one entry.
    leader.identities = vec![user(&"x".repeat(100_000))];
    let Outcome::Multi(outcomes) = leader.write(&multi("long", 100)) else { panic!("a multi") };
    assert!(outcomes.contains(&Outcome::Error { code }), "{outcomes:?}");
}

#[test]
fn a_write_that_no_packet_holds_is_refused() {
    let mut leader = Leader::new();
    let data = Some(bytes::Bytes::from(vec![0; 16 << 20]));
    let part = |_| Write::SetData { path: path("/"), data: data.clone(), version: -1 };
    let refused = Outcome::Error { code: ErrorCode::BadArguments.number() };
    assert_eq!(leader.write(&Write::Multi((0..4).map(part).collect())), refused);
    assert_eq!(stat(&leader, "/").version, 0);
    assert!(matches!(leader.write(&Write::Multi((0..3).map(part).collect())), Outcome::Multi(_)));
    assert_eq!(stat(&leader, "/").version, 3);
}

#[test]
fn a_parent_can_go_right_behind_its_last_ephemerals() {
    let mut leader = Leader::new();
    leader.write(&create("/p", 0));
    leader.write(&create("/p/e", 1));
    leader.write(&create("/p/f", 1));
    leader.close(ME);
    leader.prepare(OTHER, &delete("/p", -1));
    assert_eq!(leader.apply_all().pop(), Some(Outcome::Delete));
}

#[test]
fn a_session_may_write_as_soon_as_it_is_prepared() {
    let mut leader = Leader::without_sessions();
    leader.open(SessionId(5));
    leader.prepare(SessionId(5), &create("/e", 1));
    assert_eq!(
        leader.apply_all(),
        [Outcome::CreateSession { timeout_ms: 4000 }, Outcome::Create { path: path("/e") }]
    );
}

/// Transactions of kinds that only logs and leaders of other makes bring.
#[test]
fn every_kind_of_transaction_applies() {
    let mut leader = Leader::new();
    let create = |kind, at: &str, parent_cversion| {
        TxnBody::Create(CreateTxn { kind, path: path(at), data: None, acl: open_acl(), parent_cversion })
    };
    let old = CreateKind::Create { ephemeral: true };
    let bodies = [
        create(CreateKind::Container, "/c", 1),
        create(CreateKind::Ttl { ttl_ms: 50 }, "/t", 2),
        create(old, "/e", -1),
        TxnBody::SetData {
            path: path("/zookeeper/config"),
            data: Some("v".into()),
            version: -1,
            reconfig: true,
        },
        TxnBody::Delete { path: path("/c"), sweep: true },
        TxnBody::CloseSession { ephemerals: None },
    ];
    let mut outcomes = Vec::new();
    let mut kinds = Vec::new();
    for body in bodies {
        let zxid = leader.tree.last_processed().next();
        let txn = Txn { session: ME, cxid: 0, time: 9, body, digest: None };
        outcomes.push(leader.tree.apply(zxid, &txn, &mut Watches::default(), &mut |_, _| {}));
        kinds.push(leader.tree.node_count());
    }
    assert_eq!(kinds, [5, 6, 7, 7, 6, 5]);
    let Outcome::Create2 { stat: ttl, .. } = outcomes[1] else { panic!("{:?}", outcomes[1]) };
    assert_eq!(ttl.ephemeral_owner, 0, "clients see no owner");
    assert_eq!(stat(&leader, "/").cversion, 2 * 3 - 2, "the old kind of create counts by itself");
    assert_eq!(stat(&leader, "/zookeeper/config").version, -1);
    assert_eq!(leader.tree.ephemeral_count(), 0, "the session's nodes are found without a list");
    let below = leader.tree.apply(
        leader.tree.last_processed().next(),
        &Txn { session: OTHER, cxid: 0, time: 9, body: create(old, "/t/e", 1), digest: None },
        &mut Watches::default(),
        &mut |_, _| {},
    );
    assert!(matches!(below, Outcome::Create { .. }));
    for bad in ["/", "/t/", "/t/\0"] {
        let txn = Txn { session: OTHER, cxid: 0, time: 9, body: create(old, bad, 9), digest: None };
        let outcome = leader.tree.apply(
            leader.tree.last_processed().next(),
            &txn,
            &mut Watches::default(),
            &mut |_, _| {},
        );
        assert!(matches!(outcome, Outcome::Error { .. }), "{bad:?} is no node, whoever says so");
    }
    let write = crate::support::create("/t/x", 0);
    leader.prepare(OTHER, &write);
    assert!(matches!(leader.apply_one(), Outcome::Create { .. }), "a time to live is no ephemeral");
}

/// T-3: what only grows does not shrink when a transaction comes again.
#[test]
fn a_replayed_transaction_takes_nothing_back() {
    let mut leader = Leader::new();
    leader.write(&create("/p", 0));
    for at in ["/p/a", "/p/b", "/p/c"] {
        leader.write(&create(at, 0));
    }
    leader.write(&delete("/p/a", -1));
    let parent = stat(&leader, "/p");
    for (zxid, txn) in leader.log.clone().into_iter().skip(3) {
        leader.tree.apply(zxid, &txn, &mut Watches::default(), &mut |_, _| {});
        let after = stat(&leader, "/p");
        let creations = |stat: Stat| stat.cversion + stat.num_children;
        assert_eq!((creations(after), after.pzxid), (creations(parent), parent.pzxid), "{txn:?}");
    }
    assert_eq!(stat(&leader, "/p"), parent);
}

#[test]
fn a_loader_takes_what_java_leaves_and_refuses_what_is_broken() {
    let stat = StatPersisted::default();
    let mut builder = TreeBuilder::new();
    builder.acl(7, &[Acl::world(acl::READ)]);
    let owned = StatPersisted { ephemeral_owner: Owner::Session(ME).number(), ..stat };
    for (at, list, stat) in
        [("", -1, stat), ("/a", 7, stat), ("/b", 99, stat), ("/e", -1, owned), ("/a", 7, stat)]
    {
        builder.node(at, None, list, stat).expect("it is in order");
    }
    let tree = builder.finish(Zxid::ZERO).expect("it has a root");
    assert_eq!(tree.node_count(), 7, "the system's nodes are added");
    assert_eq!(tree.acl("/b"), Some(&[Acl::world(0)][..]), "an unknown list is closed");
    assert_eq!(tree.ownerless(), [ME]);

    let mut orphan = TreeBuilder::new();
    assert_eq!(orphan.node("/a/b", None, -1, stat), Err(LoadError::NoParent { path: "/a/b".into() }));
    for bad in ["a", "/", "a/b", "//", "/a\0"] {
        assert!(orphan.node(bad, None, -1, stat).is_err(), "{bad}");
    }
    assert_eq!(orphan.finish(Zxid::ZERO).err(), Some(LoadError::NoRoot));
}

#[test]
fn a_close_does_what_a_delete_of_each_would_do() {
    let mut leader = Leader::new();
    for at in ["/a", "/a/below", "/b", "/c"] {
        leader.write(&create(at, 0));
    }
    for at in ["/a/1", "/b/1", "/a/2", "/b/2", "/c/1"] {
        leader.write(&create(at, 1));
    }
    // A log may list anything, in any order: a node's child, the node with what stands below it, and another child of
    // what is gone by then; one twice, one that never was, and one below nothing.
    let listed = ["/a/1", "/b/2", "/a", "/a/2", "/b/1", "/b/1", "/b/never", "/none/1", "/"].map(path);
    let zxid = Zxid::new(Epoch(2), 1);
    let txn = |body| Txn { session: ME, cxid: 0, time: 0, body, digest: None };
    let apply = |tree: &mut Tree, body| {
        tree.apply(zxid, &txn(body), &mut Watches::default(), &mut |_, _| {});
    };
    let (mut one, mut other) = (leader.tree.clone(), leader.tree);
    apply(&mut one, TxnBody::CloseSession { ephemerals: Some(listed.to_vec()) });
    for path in listed {
        apply(&mut other, TxnBody::Delete { path, sweep: false });
    }
    apply(&mut other, TxnBody::CloseSession { ephemerals: None });
    assert_eq!(one, other);
    assert_eq!(one.digest(), other.digest());
    assert_eq!(one.stat("/b").expect("stands").pzxid, i64::from_be_bytes(zxid.0.to_be_bytes()));
    assert_eq!((one.ephemeral_count(), one.stat("/a")), (0, None));
}

/// As [`a_close_does_what_a_delete_of_each_would_do`], of many, with watches and while the tree is walked.
#[test]
fn a_close_of_a_crowd_does_so_too() {
    let count = 3000;
    let at = |number: i32| path(&format!("/p/{number:05}"));
    let mut leader = Leader::new();
    leader.write(&create("/p", 0));
    for number in 0..count {
        leader.prepare(if number % 7 == 0 { OTHER } else { ME }, &create(at(number).as_str(), 1));
        leader.apply_all();
    }
    let orders: [fn(i32, i32) -> i32; 3] =
        [|place, _| place, |place, count| count - 1 - place, |place, count| place * 1231 % count];
    for order in orders {
        // Whoever owns them, and some that never were.
        let listed = (0..count).map(|place| order(place, count)).filter(|number| number % 3 != 0);
        let listed: Vec<Text> = listed.map(|number| at(number + number % 11 / 10 * count)).collect();
        let run = |bodies: Vec<TxnBody>| {
            let (mut tree, mut watches, mut events) = (leader.tree.clone(), Watches::default(), Vec::new());
            let client = ClientId(1);
            for number in (0..count).step_by(10) {
                watches.leave(WatchKind::Data, &at(number), client, &[]);
            }
            watches.leave(WatchKind::Child, &path("/p"), client, &[]);
            watches.add(WatchMode::Recursive, &path("/"), client, &[]);
            let mut walk = Walk::start(&mut tree);
            let mut walked = Vec::new();
            let mut show = |node: WalkedNode<'_>| walked.push((node.path.to_owned(), node.stat));
            assert_eq!(walk.next(&mut tree, 50_000, &mut show), Ok(Progress::More));
            for body in bodies {
                let txn = Txn { session: ME, cxid: 0, time: 0, body, digest: None };
                tree.apply(Zxid::new(Epoch(2), 1), &txn, &mut watches, &mut |client, event| {
                    events.push((client, event.clone()));
                });
            }
            while walk.next(&mut tree, 50_000, &mut show) == Ok(Progress::More) {}
            (tree, events, walked)
        };
        let deletes = listed.iter().map(|path| TxnBody::Delete { path: path.clone(), sweep: false });
        let close = |ephemerals| TxnBody::CloseSession { ephemerals };
        let one = run(vec![close(Some(listed.clone())), close(None)]);
        let other = run(deletes.chain([close(None)]).collect());
        assert_eq!(one.0, other.0);
        assert_eq!(one.0.digest(), other.0.digest());
        assert_eq!(one.0.data_bytes(), other.0.data_bytes());
        assert!(one.1 == other.1, "the events differ");
        assert!(one.2 == other.2, "what is walked differs");
        assert_eq!(one.2.len(), leader.tree.node_count());
    }
}

/// No leader of ours makes a child of an ephemeral; a state that is loaded may hold one.
#[test]
fn a_parent_that_goes_with_its_child_is_gone() {
    let mut leader = Leader::new();
    let mut builder = TreeBuilder::new();
    let owned = StatPersisted { ephemeral_owner: Owner::Session(ME).number(), ..StatPersisted::default() };
    for (at, stat) in [("", StatPersisted::default()), ("/e", owned), ("/e/c", owned)] {
        builder.node(at, None, -1, stat).expect("it is in order");
    }
    leader.tree = builder.finish(Zxid::ZERO).expect("it has a root");
    leader.open(ME);
    leader.open(OTHER);
    leader.apply_all();
    leader.close(ME);
    leader.prepare(OTHER, &set("/e", -1));
    leader.prepare(OTHER, &create("/e", 0));
    let outcomes = leader.apply_all();
    assert_eq!(outcomes[1], Outcome::Error { code: ErrorCode::NoNode.number() });
    assert_eq!(outcomes[2], Outcome::Create { path: path("/e") });
}

#[test]
fn a_crowd_goes_and_its_brothers_stay() {
    let mut leader = Leader::new();
    leader.write(&create("/p", 0));
    let at = |number: i32| format!("/p/{number:05}");
    for number in 0..5000 {
        leader.prepare(if number % 5 == 0 { OTHER } else { ME }, &create(&at(number), 1));
        leader.apply_all();
    }
    leader.close(ME);
    // Gone for those who come behind, whatever of the tree still has them.
    assert_eq!(leader.outstanding.len(), 2, "of a crowd only its parent and its session are noted");
    leader.prepare(OTHER, &delete(&at(1), -1));
    leader.prepare(OTHER, &create(&at(2), 0));
    leader.close(ME);
    let outcomes = leader.apply_all();
    assert_eq!(outcomes[1], Outcome::Error { code: ErrorCode::NoNode.number() });
    assert_eq!(outcomes[2], Outcome::Create { path: path(&at(2)) });
    let again = &leader.log.last().expect("the second close").1.body;
    assert_eq!(*again, TxnBody::CloseSession { ephemerals: Some(vec![]) });
    for number in 0..5000 {
        assert_eq!(leader.tree.stat(&at(number)).is_some(), number % 5 == 0 || number == 2, "{number}");
    }
    assert_eq!(stat(&leader, "/p").num_children, 1001);
    assert!(leader.outstanding.is_empty());
}
