//! What holds for every course of writes: the real tree against a plain one, and against itself.

use std::{collections::BTreeSet, sync::LazyLock};

use crate::support::{
    Leader, ME, OTHER,
    naive::{Naive, Who},
    only, open_acl, path, user,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use spec::{Machine, SessionId, Zxid};
use tree::{
    Acl, CreateRequest, Identity, Outcome, Owner, Progress, Settings, Tree, TreeBuilder, Txn, TxnBody, Walk,
    Watches, Write, acl,
};

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| Settings { ttl_nodes: true, ..Settings::default() });

/// One thing that happens at the leader.
#[derive(Clone, Debug)]
enum Step {
    Write(SessionId, Write),
    Open(SessionId),
    Close(SessionId),
    Identities(Vec<Identity>),
    /// Applies this many of what waits.
    Apply(usize),
}

/// Few, so that the same nodes come and go, with some that no node has.
fn paths() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        10 => select(vec!["/a", "/a/a"]),
        6 => select(vec!["/a/b", "/a/a/a", "/b"]),
        2 => select(vec!["/a-b", "/a b", "/a/a.b", "/b/a"]),
        1 => select(vec!["/", "/zookeeper", "/zookeeper/config", "/zookeeper/x", "/a/", "a", "//a"]),
    ]
}

fn acls() -> impl Strategy<Value = Vec<Acl>> {
    let auth = Acl { perms: acl::ALL, scheme: path("auth"), id: path("") };
    prop_oneof![
        24 => Just(open_acl()),
        1 => Just(vec![Acl::world(acl::READ)]),
        1 => Just(vec![Acl::world(acl::READ | acl::CREATE | acl::DELETE)]),
        1 => Just(only(&user("ann"), acl::ALL)),
        1 => Just(vec![auth]),
        1 => Just(Vec::new()),
    ]
}

fn data() -> impl Strategy<Value = Option<bytes::Bytes>> {
    option::of(select(vec!["", "x", "yy"]).prop_map(bytes::Bytes::from))
}

fn single() -> impl Strategy<Value = Write> {
    let version = || select(vec![-1, -1, -1, -1, 0, 1]);
    prop_oneof![
        5 => (paths(), data(), acls(), 0..=6, requests()).prop_map(|(at, data, acl, flags, request)| {
            Write::Create { path: path(at), data, acl, flags, request }
        }),
        3 => (paths(), version()).prop_map(|(at, version)| Write::Delete { path: path(at), version }),
        3 => (paths(), data(), version()).prop_map(|(at, data, version)| {
            Write::SetData { path: path(at), data, version }
        }),
    ]
}

fn requests() -> impl Strategy<Value = CreateRequest> {
    let [create, create2] = [CreateRequest::Create, CreateRequest::Create2];
    let ttl = [0, 1, 1 << 40].map(|ttl_ms| CreateRequest::Ttl { ttl_ms });
    select(vec![create, create, create2, create2, CreateRequest::Container, ttl[0], ttl[1], ttl[2]])
}

fn writes() -> impl Strategy<Value = Write> {
    let version = || select(vec![-1, -1, 0, 1]);
    let check = (paths(), version()).prop_map(|(at, version)| Write::Check { path: path(at), version });
    let set_acl = (paths(), acls(), version()).prop_map(|(at, acl, version)| Write::SetAcl {
        path: path(at),
        acl,
        version,
    });
    prop_oneof![
        8 => single(),
        1 => set_acl,
        3 => vec(prop_oneof![4 => single(), 1 => check], 1..5).prop_map(Write::Multi),
        1 => Just(Write::Create { path: path("/a"), data: None, acl: open_acl(), flags: 9, request: CreateRequest::Create2 }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let session = || select(vec![ME, ME, OTHER, OTHER, SessionId(3)]);
    let step = prop_oneof![
        40 => (session(), writes()).prop_map(|(session, write)| Step::Write(session, write)),
        1 => session().prop_map(Step::Open),
        1 => session().prop_map(Step::Close),
        1 => select(vec![vec![], vec![user("ann")], vec![user("bob")]]).prop_map(Step::Identities),
        4 => paths().prop_map(|at| Step::Write(SessionId(0), Write::Sweep { path: path(at) })),
        16 => (0..4_usize).prop_map(Step::Apply),
    ];
    vec(step, 0..120)
}

/// Runs the steps at a leader; `seen` is shown the leader behind each.
fn run(steps: &[Step], mut seen: impl FnMut(&Leader)) -> (Leader, Vec<Outcome>) {
    let mut leader = Leader::new();
    leader.settings = SETTINGS.clone();
    let mut outcomes = Vec::new();
    for step in steps {
        match step {
            Step::Write(session, write) => {
                leader.prepare(*session, write);
            }
            Step::Open(session) => {
                leader.open(*session);
            }
            Step::Close(session) => {
                leader.close(*session);
            }
            Step::Identities(identities) => leader.identities.clone_from(identities),
            Step::Apply(count) => {
                for _ in 0..(*count).min(leader.queue.len()) {
                    outcomes.push(leader.apply_one());
                }
            }
        }
        seen(&leader);
    }
    outcomes.extend(leader.apply_all());
    (leader, outcomes)
}

/// The same at the plain tree, one after the other.
fn run_naive(steps: &[Step], mut zxid: Zxid) -> (Naive, Vec<Outcome>) {
    let mut naive = Naive::new();
    naive.sessions.extend([ME, OTHER]);
    let mut outcomes = Vec::new();
    let mut identities = Vec::new();
    for step in steps {
        let time = 1000 + i64::from(zxid.counter());
        let who = |session| Who { session, identities: &identities, settings: &SETTINGS, zxid, time };
        let outcome = match step {
            Step::Write(session, write) => naive.write(write, &who(*session)),
            Step::Open(session) => {
                naive.sessions.insert(*session);
                Outcome::CreateSession { timeout_ms: 4000 }
            }
            Step::Close(session) => {
                naive.close(&who(*session));
                Outcome::CloseSession
            }
            Step::Identities(new) => {
                identities.clone_from(new);
                continue;
            }
            Step::Apply(_) => continue,
        };
        outcomes.push(outcome);
        zxid = zxid.next();
    }
    (naive, outcomes)
}

fn apply(tree: &mut Tree, log: &[(Zxid, Txn)]) {
    for (zxid, txn) in log {
        tree.apply(*zxid, txn, &mut Watches::default(), &mut |_, _| {});
    }
}

/// S-1: every ephemeral's owner is in the session table of the same tree.
fn owners_are_open(tree: &Tree) -> bool {
    let open = tree.sessions();
    tree.owners().iter().all(|owner| open.iter().any(|(session, _)| session == owner))
}

/// Every node of a walk, as text, with what it costs.
fn walked(walk: &mut Walk, tree: &mut Tree, budget: usize) -> Option<Vec<String>> {
    let acls = walk.acls().to_vec();
    let mut nodes = Vec::new();
    let progress = walk.next(tree, budget, &mut |node| {
        let list = acls.iter().find(|(number, _)| *number == node.acl).map(|(_, list)| list.to_vec());
        assert!(list.is_some() || node.acl == -1, "the walk knows the list of {}", node.path);
        let list = list.unwrap_or_else(open_acl);
        nodes.push(format!("{} {:?} {list:?} {:?}", node.path, node.data, node.stat));
    });
    progress.expect("the tree knows the walk");
    (!nodes.is_empty()).then_some(nodes)
}

fn whole(tree: &Tree) -> Vec<String> {
    let mut copy = tree.clone();
    let mut walk = Walk::start(&mut copy);
    let nodes = walked(&mut walk, &mut copy, usize::MAX).expect("there is a root");
    assert_eq!(nodes.len(), tree.node_count());
    nodes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Preparation against outstanding changes, and application, are what writing one after the other is.
    #[test]
    fn the_tree_is_what_a_plain_one_is(steps in steps()) {
        let first = Leader::new().tree.last_processed().next();
        let (leader, outcomes) = run(&steps, |_| {});
        let (naive, expected) = run_naive(&steps, first);
        prop_assert_eq!(outcomes, expected);
        let expected = naive.build(leader.tree.last_processed());
        prop_assert_eq!(leader.tree.digest(), expected.digest());
        prop_assert_eq!(whole(&leader.tree), whole(&expected));
        prop_assert!(leader.tree == expected, "{:#?}\n{:#?}", leader.tree, expected);
        prop_assert!(leader.outstanding.is_empty());
        prop_assert_eq!(leader.tree.data_bytes(), expected.data_bytes());
        prop_assert_eq!(leader.tree.ephemeral_count(), expected.ephemeral_count());
    }

    /// S-1, S-2: no ephemeral without an open session, and none of a closed one.
    #[test]
    fn ephemerals_live_with_their_sessions(steps in steps()) {
        let (leader, _) = run(&steps, |leader| assert!(owners_are_open(&leader.tree)));
        let mut tree = Tree::new();
        for (zxid, txn) in &leader.log {
            apply(&mut tree, &[(*zxid, txn.clone())]);
            prop_assert!(owners_are_open(&tree));
            if let TxnBody::CloseSession { .. } = txn.body {
                prop_assert!(tree.ephemerals(txn.session).is_empty());
                let owner = format!("ephemeral_owner: {}", Owner::Session(txn.session).number());
                prop_assert!(whole(&tree).iter().all(|node| !node.contains(&(owner.clone() + ","))));
            }
        }
    }

    /// T-3: the log replayed from any place over the tree behind it, or over a fuzzy picture of what came later,
    /// ends in the same tree.
    #[test]
    fn replay_is_idempotent(steps in steps(), from in any::<prop::sample::Index>()) {
        let (leader, _) = run(&steps, |_| {});
        let from = from.index(leader.log.len());
        let mut tree = leader.tree.clone();
        apply(&mut tree, &leader.log[from..]);
        prop_assert!(tree == leader.tree, "{:#?}\n{:#?}", tree, leader.tree);
        prop_assert_eq!(tree.digest(), leader.tree.digest());
    }

    /// The same over what a Java server's walk sees while the log goes on: each node as it was at a later moment.
    #[test]
    fn a_fuzzy_snapshot_becomes_right(steps in steps(), label in any::<prop::sample::Index>(), slice in 1..5_usize) {
        let (leader, _) = run(&steps, |_| {});
        let label = label.index(leader.log.len());
        let mut tree = Tree::new();
        apply(&mut tree, &leader.log[..label]);
        // Sessions and lists are written first, and nodes slice by slice as they are when they are reached: a list that
        // a later transaction made is not there.
        let start = Walk::start(&mut tree);
        let mut fuzzy = TreeBuilder::new();
        for (session, timeout_ms) in start.sessions() {
            fuzzy.session(*session, *timeout_ms);
        }
        for (number, list) in start.acls() {
            fuzzy.acl(*number, list);
        }
        start.cancel(&mut tree);
        let mut written = BTreeSet::new();
        let mut rest = leader.log[label..].iter();
        loop {
            let before = written.len();
            let mut walk = Walk::start(&mut tree);
            let progress = walk.next(&mut tree, usize::MAX, &mut |node| {
                let parent = node.path.rsplit_once('/').map(|(parent, _)| parent.to_owned());
                let is_due = parent.is_none_or(|parent| written.contains(&parent)) && written.len() < before + slice;
                if is_due && written.insert(node.path.to_owned()) {
                    fuzzy.node(node.path, node.data, node.acl, node.stat).expect("its parent is there");
                }
            });
            prop_assert_eq!(progress, Ok(Progress::Done));
            match rest.next() {
                Some(entry) => apply(&mut tree, std::slice::from_ref(entry)),
                None if written.len() == before => break,
                None => {}
            }
        }
        let last = label.checked_sub(1).map_or(Zxid::ZERO, |at| leader.log[at].0);
        let mut fuzzy = fuzzy.finish(last).expect("it has a root");
        apply(&mut fuzzy, &leader.log[label..]);
        prop_assert!(fuzzy == leader.tree, "{:#?}\n{:#?}", fuzzy, leader.tree);
        prop_assert_eq!(fuzzy.digest(), leader.tree.digest());
        prop_assert_eq!(fuzzy.ownerless(), Vec::new());
    }

    /// T-18: a walk in slices among changes yields the tree at its start; two may go on at once.
    #[test]
    fn walks_see_one_moment(
        steps in steps(),
        starts in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        budget in 1..400_usize,
    ) {
        let (leader, _) = run(&steps, |_| {});
        let starts = [starts.0.index(leader.log.len()), starts.1.index(leader.log.len())];
        let mut tree = Tree::new();
        let mut walks: Vec<(Walk, Vec<String>, Vec<String>, i64)> = Vec::new();
        for (at, (zxid, txn)) in leader.log.iter().enumerate() {
            for _ in starts.iter().filter(|start| **start == at) {
                let expected = whole(&tree);
                let digest = tree.digest();
                walks.push((Walk::start(&mut tree), expected, Vec::new(), digest));
            }
            apply(&mut tree, &[(*zxid, txn.clone())]);
            for (walk, _, found, _) in &mut walks {
                if found.len() < walk.node_count() {
                    found.extend(walked(walk, &mut tree, budget).unwrap_or_default());
                }
            }
        }
        for (mut walk, expected, mut found, digest) in walks {
            while found.len() < walk.node_count() {
                found.extend(walked(&mut walk, &mut tree, budget).expect("there is more"));
            }
            prop_assert_eq!(found, expected);
            prop_assert_eq!(walk.digest(), digest);
        }
    }

    /// Equality, hash and digest do not depend on how the content came about.
    #[test]
    fn content_is_all_that_counts(steps in steps()) {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let hash = |tree: &Tree| {
            let mut hasher = DefaultHasher::new();
            tree.hash(&mut hasher);
            hasher.finish()
        };
        let (leader, _) = run(&steps, |_| {});
        let mut copy = leader.tree.clone();
        let mut walk = Walk::start(&mut copy);
        let mut builder = TreeBuilder::new();
        for (session, timeout) in walk.sessions() {
            builder.session(*session, *timeout);
        }
        for (number, list) in walk.acls() {
            builder.acl(*number, list);
        }
        walk.next(&mut copy, usize::MAX, &mut |node| {
            builder.node(node.path, node.data, node.acl, node.stat).expect("parents come first");
        }).expect("it is this tree");
        let built = builder.finish(walk.last_processed()).expect("it has a root");
        prop_assert!(built == leader.tree);
        prop_assert_eq!(hash(&built), hash(&leader.tree));
        prop_assert_eq!(built.digest(), leader.tree.digest());
        if let Some((zxid, txn)) = leader.log.last() {
            let mut before = Tree::new();
            apply(&mut before, &leader.log[..leader.log.len() - 1]);
            if !matches!(txn.body, TxnBody::Error { .. }) && leader.log.len() > 3 {
                prop_assert!(before != leader.tree, "{zxid:?} {txn:?}");
            }
        }
    }
}
