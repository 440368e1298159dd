//! Quotas: what is counted, and what is refused.

use crate::support::{Leader, ME, create, create_with, delete, only, open_acl, path, set, user};
use bytes::Bytes;
use spec::{ClientId, ErrorCode, Machine, Zxid, machine::Reader};
use tree::{
    Acl, Answer, CreateRequest, Outcome, Read, Settings, TreeBuilder, Write, acl,
    quota::{Known, Quota},
};

fn quota(at: &str) -> String {
    format!("/zookeeper/quota{at}")
}

fn put(at: &str, data: &str) -> Write {
    let data = Some(Bytes::copy_from_slice(data.as_bytes()));
    Write::Create { path: path(at), data, acl: open_acl(), flags: 0, request: CreateRequest::Create }
}

fn write(leader: &mut Leader, writes: &[Write]) {
    for write in writes {
        let outcome = leader.write(write);
        assert!(!matches!(outcome, Outcome::Error { .. }), "{write:?}: {outcome:?}");
    }
}

/// `/a` with a child, and a quota with these limits.
fn limited(limits: &str) -> Leader {
    let mut leader = Leader::new();
    let nodes = [create("/a", 0), create("/a/b", 0), put(&quota("/a"), "")];
    write(&mut leader, &nodes);
    let of_quota =
        [put(&quota("/a/zookeeper_limits"), limits), put(&quota("/a/zookeeper_stats"), "count=99,bytes=99")];
    write(&mut leader, &of_quota);
    leader
}

fn stats(leader: &Leader, of: &str) -> String {
    let data = leader.tree.data(&quota(&format!("{of}/zookeeper_stats"))).flatten().unwrap_or_default();
    String::from_utf8_lossy(data).into_owned()
}

#[test]
fn what_is_below_is_counted_with_every_change() {
    let mut leader = limited("count=9,bytes=9");
    assert_eq!(stats(&leader, "/a"), "count=2,bytes=2", "the nodes that are there when the stats come");
    let rows = [
        (put("/a/b/c", "12345"), "count=3,bytes=7"),
        (set("/a/b/c", -1), "count=3,bytes=3"),
        (create_with("/a/null", open_acl()), "count=4,bytes=3"),
        (create("/elsewhere", 0), "count=4,bytes=3"),
        (create("/aa", 0), "count=4,bytes=3"),
        (delete("/a/b/c", -1), "count=3,bytes=2"),
        (set("/a", -1), "count=3,bytes=2"),
    ];
    for (write, expected) in rows {
        leader.write(&write);
        assert_eq!(stats(&leader, "/a"), expected, "{write:?}");
    }
    leader.write(&delete(&quota("/a/zookeeper_limits"), -1));
    leader.write(&create("/a/more", 0));
    assert_eq!(stats(&leader, "/a"), "count=3,bytes=2", "without limits nothing is counted");
}

#[test]
fn what_ends_servers_of_zookeeper_is_no_statistics() {
    let mut leader = limited("count=9,bytes=9");
    let refused = Outcome::Error { code: ErrorCode::BadArguments.number() };
    for text in [None, Some("count=x")] {
        let data = text.map(|text| Bytes::from_static(text.as_bytes()));
        let change = Write::SetData { path: path(&quota("/a/zookeeper_stats")), data, version: -1 };
        assert_eq!(leader.write(&change), refused, "{text:?}");
        let Outcome::Multi(parts) = leader.write(&Write::Multi(vec![change])) else { panic!("{text:?}") };
        assert_eq!(parts, std::slice::from_ref(&refused), "{text:?}");
    }
    assert_eq!(stats(&leader, "/a"), "count=2,bytes=2");
}

#[test]
fn the_nearest_quota_counts() {
    let mut leader = limited("count=9,bytes=9");
    let inner = [
        put(&quota("/a/b"), ""),
        put(&quota("/a/b/zookeeper_limits"), "count=1,bytes=1"),
        put(&quota("/a/b/zookeeper_stats"), ""),
        create("/a/b/c", 0),
        create("/a/d", 0),
    ];
    write(&mut leader, &inner);
    assert_eq!(
        (stats(&leader, "/a").as_str(), stats(&leader, "/a/b").as_str()),
        ("count=3,bytes=3", "count=2,bytes=2")
    );
}

#[test]
fn an_ephemeral_counts_until_its_session_closes() {
    let mut leader = limited("count=9,bytes=9");
    leader.write(&create("/a/e", 1));
    assert_eq!(stats(&leader, "/a"), "count=3,bytes=3");
    leader.close(ME);
    leader.apply_all();
    assert_eq!(stats(&leader, "/a"), "count=2,bytes=2");
}

#[test]
fn counting_moves_nothing_else() {
    let (mut leader, mut plain) = (limited("count=9,bytes=9"), Leader::new());
    // The same transactions but for the stats: these have another path, where nothing is counted.
    let same = [
        create("/a", 0),
        create("/a/b", 0),
        put(&quota("/a"), ""),
        put(&quota("/a/zookeeper_limits"), "count=9,bytes=9"),
        put(&quota("/a/nothing"), ""),
    ];
    write(&mut plain, &same);
    let at = quota("/a/zookeeper_stats");
    let before = leader.tree.stat(&at).expect("it is there");
    for change in [create("/a/c", 0), set("/a/c", -1), delete("/a/c", -1)] {
        leader.write(&change);
        plain.write(&change);
    }
    let after = leader.tree.stat(&at).expect("it is there");
    assert_eq!((before.version, before.mzxid, before.mtime), (after.version, after.mzxid, after.mtime));
    assert_eq!(leader.tree.digest(), plain.tree.digest(), "what is counted is in no digest");
    assert!(leader.events.is_empty());
}

#[test]
fn stats_that_are_made_again_are_counted_anew() {
    let mut leader = limited("count=9,bytes=9");
    // As where a log is read over a state that has its end already.
    let again = leader.log.iter().find(|(_, txn)| format!("{txn:?}").contains("zookeeper_stats")).cloned();
    let (zxid, txn) = again.expect("it was made once");
    leader.tree.apply(zxid, &txn, &mut leader.watches, &mut |_, _| {});
    assert_eq!(stats(&leader, "/a"), "count=2,bytes=2");
}

#[test]
fn a_multi_that_makes_stats_many_times_counts_once() {
    let mut leader = limited("count=9,bytes=9");
    let at = quota("/a/zookeeper_stats");
    let mut parts = vec![delete(&at, -1)];
    for _ in 0..20 {
        parts.extend([put(&at, "count=1,bytes=1"), delete(&at, -1)]);
    }
    parts.extend([put(&at, ""), create("/a/more", 0)]);
    assert!(matches!(leader.write(&Write::Multi(parts)), Outcome::Multi(_)));
    assert_eq!(stats(&leader, "/a"), "count=3,bytes=3");
}

/// Every quota by what its nodes say now.
fn as_nodes_say(leader: &Leader) -> Vec<(String, Quota)> {
    let known = |node: String| leader.tree.data(&node).map(Known::read);
    let subjects = ["/a", "/a/b", "/elsewhere"];
    let quota = |subject: &str| {
        let limits = known(quota(&format!("{subject}/zookeeper_limits")))?;
        Some((
            subject.to_owned(),
            Quota { limits, stats: known(quota(&format!("{subject}/zookeeper_stats"))) },
        ))
    };
    subjects.into_iter().filter_map(quota).collect()
}

fn quotas(leader: &Leader) -> Vec<(String, Quota)> {
    leader.tree.quotas().map(|(subject, quota)| (subject.to_owned(), quota)).collect()
}

#[test]
fn a_quota_is_what_its_nodes_say_behind_every_change() {
    let mut leader = limited("count=9,bytes=9");
    let (limits, stats) = (quota("/a/zookeeper_limits"), quota("/a/zookeeper_stats"));
    let set = |at: &str, data: &'static str| Write::SetData {
        path: path(at),
        data: Some(Bytes::from_static(data.as_bytes())),
        version: -1,
    };
    let changes = [
        create("/a/c", 0),
        set(&limits, "count=5,bytes=6=;countHardLimit=7;byteHardLimit=8"),
        set(&stats, "count=70,bytes=80"),
        create("/a/d", 0),
        delete(&limits, -1),
        set(&stats, "count=1,bytes=1"),
        put(&limits, "count=1"),
        delete(&stats, -1),
        create("/a/e", 0),
        put(&stats, ""),
        Write::Multi(vec![delete(&stats, -1), delete(&limits, -1), put(&stats, "bytes=3"), put(&limits, "")]),
        Write::Multi(vec![set(&stats, "count=4"), set(&limits, "bytes=7"), delete(&stats, -1)]),
        put(&quota("/a/b"), ""),
        put(&quota("/a/b/zookeeper_stats"), "count=5,bytes=5"),
        put(&quota("/a/b/zookeeper_limits"), "count=2,bytes=2"),
        put("/a/b/c", "123"),
        delete(&quota("/a/b/zookeeper_limits"), -1),
    ];
    for change in changes {
        write(&mut leader, std::slice::from_ref(&change));
        assert_eq!(quotas(&leader), as_nodes_say(&leader), "{change:?}");
    }
    let log = leader.log.clone();
    for (zxid, txn) in log {
        leader.tree.apply(zxid, &txn, &mut leader.watches, &mut |_, _| {});
        assert_eq!(quotas(&leader), as_nodes_say(&leader), "again: {txn:?}");
    }
}

#[test]
fn figures_that_are_too_long_are_none() {
    let mut leader = limited("count=9,bytes=9");
    let long = format!("count=5,bytes=5=;{}=1", "x".repeat(2000));
    let at = quota("/a/zookeeper_stats");
    leader.write(&Write::SetData { path: path(&at), data: Some(Bytes::from(long)), version: -1 });
    leader.write(&create("/a/c", 0));
    assert_eq!(stats(&leader, "/a"), "count=0,bytes=0", "what is none is one less than nothing");
}

#[test]
fn a_state_that_is_loaded_is_counted_anew() {
    let mut builder = TreeBuilder::new();
    builder.acl(1, &open_acl());
    let nodes: [(&str, &str); 11] = [
        ("", ""),
        ("/a", "12"),
        ("/a/b", "345"),
        ("/zookeeper", ""),
        ("/zookeeper/quota", ""),
        ("/zookeeper/quota/a", ""),
        ("/zookeeper/quota/a/zookeeper_limits", "count=1,bytes=1"),
        ("/zookeeper/quota/a/zookeeper_stats", "count=77,bytes=77"),
        ("/zookeeper/quota/a/b", ""),
        ("/zookeeper/quota/a/b/zookeeper_limits", "count=1,bytes=1"),
        ("/zookeeper/quota/a/b/zookeeper_stats", ""),
    ];
    for (at, data) in nodes {
        builder
            .node(at, Some(data.as_bytes()), 1, tree::StatPersisted::default())
            .expect("parents come first");
    }
    let tree = builder.finish(Zxid::ZERO).expect("it has a root");
    let data = tree.data("/zookeeper/quota/a/zookeeper_stats").flatten();
    assert_eq!(data, Some(&b"count=2,bytes=5"[..]), "with what has a quota of its own");
    let data = tree.data("/zookeeper/quota/a/b/zookeeper_stats").flatten();
    assert_eq!(data, Some(&b"count=1,bytes=3"[..]));
}

#[test]
fn hard_limits_are_kept_if_they_are_to_be() {
    let refused = Outcome::Error { code: ErrorCode::QuotaExceeded.number() };
    let rows = [
        ("count=1,bytes=1", put("/a/c", "long enough"), false, "soft limits refuse nothing"),
        ("count=-1,bytes=-1=;countHardLimit=2", create("/a/c", 0), true, "a third node"),
        ("count=-1,bytes=-1=;countHardLimit=3", create("/a/c", 0), false, "as many as there may be"),
        ("count=-1,bytes=-1=;countHardLimit=2", set("/a/b", -1), false, "no node more"),
        ("count=-1,bytes=-1=;byteHardLimit=2", put("/a/c", "1"), true, "a third byte"),
        ("count=-1,bytes=-1=;byteHardLimit=2", put("/a/c", ""), false, "no byte more"),
        (
            "count=-1,bytes=-1=;byteHardLimit=1",
            set("/a/b", -1),
            false,
            "of the same length, though it is too much",
        ),
        ("count=-1,bytes=-1=;countHardLimit=1", delete("/a/b", -1), false, "what goes is never refused"),
        ("count=-1,bytes=-1=;countHardLimit=1", create("/c", 0), false, "elsewhere"),
    ];
    for (limits, write, fails, why) in rows {
        let mut leader = limited(limits);
        assert_ne!(leader.write(&write), refused, "not enforced: {why}");
        let mut leader = limited(limits);
        leader.settings.enforce_quota = true;
        assert_eq!(leader.write(&write) == refused, fails, "{limits}: {why}");
    }
}

#[test]
fn a_burst_is_judged_by_what_is_applied() {
    let mut leader = limited("count=-1,bytes=-1=;countHardLimit=3");
    leader.settings.enforce_quota = true;
    leader.prepare(ME, &create("/a/c", 0));
    leader.prepare(ME, &create("/a/d", 0));
    let outcomes = leader.apply_all();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Create { .. })), "{outcomes:?}");
    let refused = Outcome::Error { code: ErrorCode::QuotaExceeded.number() };
    assert_eq!(leader.write(&create("/a/e", 0)), refused);
}

#[test]
fn lists_do_not_count_where_they_are_skipped() {
    let ann = user("ann");
    let mut leader = Leader::new();
    leader.write(&create_with("/a", only(&ann, acl::ALL)));
    let no_auth = Outcome::Error { code: ErrorCode::NoAuth.number() };
    assert_eq!(leader.write(&set("/a", -1)), no_auth);
    let settings = Settings { skip_acl: true, ..Settings::default() };
    leader.settings = settings.clone();
    assert!(matches!(leader.write(&set("/a", -1)), Outcome::SetData(_)));
    let ask = |leader: &mut Leader, settings: &Settings, read: &Read| {
        let reader = Reader { client: ClientId(1), session: ME, identities: &[], settings };
        let Leader { tree, watches, .. } = leader;
        let answer = tree.read(read, reader, watches, &mut |_, _| {});
        answer.map(
            |answer| if let Answer::Acl { acl, .. } = answer { acl.into_owned() } else { Vec::<Acl>::new() },
        )
    };
    let get = Read::GetData { path: path("/a"), watch: true };
    assert_eq!(ask(&mut leader, &Settings::default(), &get), Err(ErrorCode::NoAuth));
    assert!(ask(&mut leader, &settings, &get).is_ok());
    let list = ask(&mut leader, &settings, &Read::GetAcl { path: path("/a") });
    assert_eq!(list, Ok(only(&ann, acl::ALL)), "nothing is masked");
    leader.write(&delete("/a", -1));
    let events: Vec<_> =
        leader.events.iter().map(|(client, event)| (client.0, event.path.as_str())).collect();
    assert_eq!(events, [(1, "/a")], "who sees everything is told of it");
}
