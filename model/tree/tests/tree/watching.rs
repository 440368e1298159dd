//! Reads, the watches that they leave, and what fires them.

use crate::support::{
    Leader, ME, OTHER, create, create_with, delete, long_acl, only, path, set, set_acl, user,
};
use spec::{ClientId, ErrorCode, Machine, Zxid, machine::Reader};
use tree::{
    Acl, Answer, EventKind, Identity, Outcome, Read, Settings, Text, Tree, WatchChoice, WatchMode, Write, acl,
};

const CLIENT: ClientId = ClientId(1);

fn get(at: &str) -> Read {
    Read::GetData { path: path(at), watch: true }
}

fn exists(at: &str) -> Read {
    Read::Exists { path: path(at), watch: true }
}

fn list(at: &str) -> Read {
    Read::GetChildren { path: path(at), watch: true }
}

/// Reads, and says what came of it in short.
fn read(
    leader: &mut Leader,
    client: ClientId,
    identities: &[Identity],
    read: &Read,
) -> Result<String, ErrorCode> {
    let Leader { tree, watches, events, .. } = leader;
    let reader = Reader { client, session: ME, identities, settings: &Settings::default() };
    let answer =
        tree.read(read, reader, watches, &mut |client, event| events.push((client, event.clone())))?;
    Ok(match answer {
        Answer::Data { data, .. } => {
            data.map_or("null".into(), |data| String::from_utf8_lossy(data).into_owned())
        }
        Answer::Exists(_) => "exists".into(),
        Answer::Children(names) | Answer::Children2 { names, .. } => {
            names.map(String::from_utf8_lossy).collect::<Vec<_>>().join(",")
        }
        Answer::Acl { acl, .. } => {
            acl.iter().map(|entry| format!("{}:{}", entry.scheme, entry.id)).collect::<Vec<_>>().join(",")
        }
        Answer::Ephemerals(paths) => paths.iter().map(Text::as_str).collect::<Vec<_>>().join(","),
        Answer::AllChildrenNumber(number) => number.to_string(),
        Answer::Identities(users) => {
            users.iter().map(|user| format!("{}:{}", user.scheme, user.id)).collect::<Vec<_>>().join(",")
        }
        Answer::Multi(answers) => format!("{} answers", answers.len()),
        Answer::WatchAdded => "added".into(),
        Answer::Done => "done".into(),
    })
}

fn fired(leader: &mut Leader) -> Vec<String> {
    let events = std::mem::take(&mut leader.events);
    events.iter().map(|(client, event)| format!("{} {:?} {}", client.0, event.kind, event.path)).collect()
}

#[test]
fn each_change_fires_what_the_table_says() {
    // Watches, then a write, then what is told.
    let rows: &[(&[Read], Write, &[&str])] = &[
        (&[exists("/new")], create("/new", 0), &["1 NodeCreated /new"]),
        (&[list("/")], create("/new", 0), &["1 NodeChildrenChanged /"]),
        (&[get("/"), get("/p"), list("/p")], create("/new", 0), &[]),
        (&[get("/p/c"), exists("/p/c")], set("/p/c", -1), &["1 NodeDataChanged /p/c"]),
        (&[list("/p"), list("/p/c")], set("/p/c", -1), &[]),
        (
            &[get("/p/c"), list("/p/c"), list("/p"), get("/p")],
            delete("/p/c", -1),
            &["1 NodeDeleted /p/c", "1 NodeChildrenChanged /p"],
        ),
        (&[list("/p/c")], delete("/p/c", -1), &["1 NodeDeleted /p/c"]),
        (&[get("/p"), list("/p")], set_acl("/p", vec![Acl::world(acl::READ)], -1), &[]),
        (&[get("/p"), list("/p")], delete("/missing", -1), &[]),
        (&[get("/p"), list("/")], Write::Multi(vec![set("/p", -1), delete("/missing", -1)]), &[]),
        (
            &[exists("/a"), list("/")],
            Write::Multi(vec![create("/a", 0), set("/p", -1), delete("/a", -1)]),
            &["1 NodeCreated /a", "1 NodeChildrenChanged /"],
        ),
    ];
    for (reads, write, expected) in rows {
        let mut leader = Leader::new();
        leader.write(&create("/p", 0));
        leader.write(&create("/p/c", 0));
        for wanted in *reads {
            let _ = read(&mut leader, CLIENT, &[], wanted);
        }
        leader.write(write);
        assert_eq!(fired(&mut leader), *expected, "{reads:?} {write:?}");
        leader.write(write);
        assert!(fired(&mut leader).len() <= expected.len(), "no watch fires twice");
    }
}

#[test]
fn a_close_fires_for_each_ephemeral() {
    let mut leader = Leader::new();
    leader.write(&create("/b", 1));
    leader.write(&create("/a", 1));
    for wanted in [get("/a"), get("/b"), list("/")] {
        read(&mut leader, CLIENT, &[], &wanted).expect("it is there");
    }
    leader.close(ME);
    leader.apply_all();
    let expected = ["1 NodeDeleted /a", "1 NodeChildrenChanged /", "1 NodeDeleted /b"];
    assert_eq!(fired(&mut leader), expected);
}

/// Whose read it is, what comes of it, and how many watches it leaves.
type Row<'a> = (&'a [Identity], Read, Result<&'a str, ErrorCode>, usize);

#[test]
fn reads_are_judged_and_leave_watches_only_where_they_succeed() {
    let ann = user("ann");
    let mut leader = Leader::new();
    leader.write(&create_with("/ann", only(&ann, acl::ALL)));
    leader.write(&create_with("/admin", only(&ann, acl::ADMIN)));
    leader.write(&create("/p", 0));
    leader.write(&create("/p/b", 0));
    leader.write(&create("/p/a", 0));
    let acl_of = |at: &str| Read::GetAcl { path: path(at) };
    let children = |at: &str| Read::GetChildren2 { path: path(at), watch: true };
    let me = std::slice::from_ref(&ann);
    let rows: &[Row<'_>] = &[
        (&[], get("/p"), Ok("x"), 1),
        (&[], list("/p"), Ok("a,b"), 1),
        (&[], children("/p"), Ok("a,b"), 1),
        (&[], children("/"), Ok("admin,ann,p,zookeeper"), 1),
        (&[], exists("/p"), Ok("exists"), 1),
        (&[], get("/missing"), Err(ErrorCode::NoNode), 0),
        (&[], list("/missing"), Err(ErrorCode::NoNode), 0),
        (&[], exists("/missing"), Err(ErrorCode::NoNode), 1),
        (&[], exists("/a\0"), Err(ErrorCode::BadArguments), 0),
        (&[], get("/p/"), Err(ErrorCode::NoNode), 0),
        (&[], get("/ann"), Err(ErrorCode::NoAuth), 0),
        (&[], list("/ann"), Err(ErrorCode::NoAuth), 0),
        (&[], exists("/ann"), Err(ErrorCode::NoAuth), 0),
        (me, get("/ann"), Ok("null"), 1),
        (&[], acl_of("/ann"), Err(ErrorCode::NoAuth), 0),
        (me, acl_of("/admin"), Ok(&format!("digest:{}", ann.id)), 0),
        (me, get("/admin"), Err(ErrorCode::NoAuth), 0),
        (&[], acl_of("/p"), Ok("world:anyone"), 0),
    ];
    for (identities, wanted, expected, watches) in rows {
        leader.watches = tree::Watches::default();
        let found = read(&mut leader, CLIENT, identities, wanted);
        assert_eq!(found.as_deref().map_err(|code| *code), *expected, "{wanted:?}");
        assert_eq!(leader.watches.len(), *watches, "{wanted:?}");
    }
}

#[test]
fn hashes_are_shown_to_those_who_may_change_them() {
    let ann = user("ann");
    let mut leader = Leader::new();
    let mut list = only(&ann, acl::ADMIN);
    list.push(Acl::world(acl::READ));
    leader.write(&create_with("/a", list));
    let wanted = Read::GetAcl { path: path("/a") };
    assert_eq!(read(&mut leader, CLIENT, &[], &wanted), Ok("digest:ann:x,world:anyone".into()));
    let shown = format!("digest:{},world:anyone", ann.id);
    assert_eq!(read(&mut leader, CLIENT, &[ann], &wanted), Ok(shown));
}

#[test]
fn set_watches_catches_up() {
    let mut leader = Leader::new();
    for at in ["/same", "/changed", "/gone", "/family"] {
        leader.write(&create(at, 0));
    }
    let seen = leader.tree.last_processed();
    for write in [set("/changed", -1), delete("/gone", -1), create("/family/c", 0), create("/born", 0)] {
        leader.write(&write);
    }
    let paths = |names: &[&str]| names.iter().map(|name| path(name)).collect::<Vec<_>>();
    let all = ["/same", "/changed", "/gone", "/family"];
    let back = |relative: Zxid| Read::SetWatches {
        relative,
        data: paths(&all),
        exist: paths(&["/born", "/unborn"]),
        child: paths(&all),
        persistent: Vec::new(),
        recursive: Vec::new(),
    };
    assert_eq!(read(&mut leader, CLIENT, &[], &back(seen)), Ok("done".into()));
    let expected = [
        "1 NodeDataChanged /changed",
        "1 NodeDeleted /gone",
        "1 NodeCreated /born",
        "1 NodeDeleted /gone",
        "1 NodeChildrenChanged /family",
    ];
    assert_eq!(fired(&mut leader), expected);
    assert_eq!(leader.watches.len(), 2 + 1 + 2, "the rest is left again");
    leader.write(&create("/unborn", 0));
    leader.write(&delete("/same", -1));
    assert_eq!(fired(&mut leader), ["1 NodeCreated /unborn", "1 NodeDeleted /same"]);
    Tree::forget_client(&mut leader.watches, CLIENT);
    assert!(leader.watches.is_empty());
}

#[test]
fn questions_beyond_single_nodes_are_answered() {
    let ann = user("ann");
    let mut leader = Leader::new();
    for (at, flags) in [("/p", 0), ("/p/b", 1), ("/p/a", 1), ("/pb", 1), ("/p/c", 0), ("/p/c/d", 0)] {
        leader.write(&create(at, flags));
    }
    leader.write(&create_with("/ann", only(&ann, acl::ALL)));
    let number = |at: &str| Read::GetAllChildrenNumber { path: path(at) };
    let own = |prefix: &str| Read::GetEphemerals { prefix: path(prefix) };
    let get = |at: &str| Read::GetData { path: path(at), watch: false };
    let stands = |mode, at: &str| Read::AddWatch { path: path(at), mode };
    let rows: &[Row<'_>] = &[
        (&[], number("/"), Ok("10"), 0),
        (&[], number("/p"), Ok("4"), 0),
        (&[], number("/pb"), Ok("0"), 0),
        (&[], number("/none"), Err(ErrorCode::NoNode), 0),
        (&[], number("/ann"), Err(ErrorCode::NoAuth), 0),
        (&[], own(""), Ok("/p/a,/p/b,/pb"), 0),
        (&[], own(" / "), Ok("/p/a,/p/b,/pb"), 0),
        (&[], own("\u{1}"), Ok("/p/a,/p/b,/pb"), 0),
        (&[], own("\u{a0}"), Ok(""), 0),
        (&[], own("/p"), Ok("/p/a,/p/b,/pb"), 0),
        (&[], own("/p/"), Ok("/p/a,/p/b"), 0),
        (&[], own("p"), Ok(""), 0),
        (std::slice::from_ref(&ann), Read::WhoAmI, Ok("digest:ann"), 0),
        (&[Identity::ip("::1")], Read::WhoAmI, Ok("ip:::1"), 0),
        (&[], Read::Multi(vec![get("/p"), get("/none"), get("/ann")]), Ok("3 answers"), 0),
        (&[], stands(WatchMode::Persistent, "/none"), Ok("added"), 2),
        (&[], stands(WatchMode::Recursive, "/ann"), Ok("added"), 1),
        (&[], Read::CheckWatches { path: path("/p"), which: WatchChoice::Any }, Err(ErrorCode::NoWatcher), 0),
        (
            &[],
            Read::RemoveWatches { path: path("/p"), which: WatchChoice::Any },
            Err(ErrorCode::NoWatcher),
            0,
        ),
    ];
    for (identities, wanted, expected, watches) in rows {
        let found = read(&mut leader, CLIENT, identities, wanted);
        assert_eq!(found, expected.map(str::to_owned), "{wanted:?}");
        assert_eq!(leader.watches.len(), *watches, "{wanted:?}");
        Tree::forget_client(&mut leader.watches, CLIENT);
    }
}

#[test]
fn many_reads_are_answered_together_as_far_as_one_reply_goes() {
    let mut leader = Leader::new();
    let data = Some(vec![7; 1 << 20].into());
    leader.write(&create("/a", 0));
    leader.write(&Write::SetData { path: path("/a"), data, version: -1 });
    let many = |count| Read::Multi(vec![Read::GetData { path: path("/a"), watch: false }; count]);
    assert_eq!(read(&mut leader, CLIENT, &[], &many(64)), Ok("64 answers".into()));
    assert_eq!(read(&mut leader, CLIENT, &[], &many(65)), Err(ErrorCode::MarshallingError));
}

#[test]
fn many_reads_compare_so_many_entries_of_lists_and_no_more() {
    let mut leader = Leader::new();
    leader.write(&create("/a", 0));
    leader.write(&set_acl("/a", long_acl(), -1));
    let many = |count| Read::Multi(vec![Read::GetData { path: path("/a"), watch: false }; count]);
    assert_eq!(read(&mut leader, CLIENT, &[], &many(1024)), Ok("1024 answers".into()));
    assert_eq!(read(&mut leader, CLIENT, &[], &many(1025)), Err(ErrorCode::MarshallingError));
    // Each entry is compared with each identity.
    let users: Vec<_> = (0..100).map(|number| user(&format!("u{number}"))).collect();
    let list = users[..20].iter().flat_map(|user| only(user, acl::ALL)).collect();
    leader.write(&create("/b", 0));
    leader.write(&set_acl("/b", list, -1));
    let many = |count| Read::Multi(vec![Read::GetData { path: path("/b"), watch: false }; count]);
    assert_eq!(read(&mut leader, CLIENT, &users, &many(2097)), Ok("2097 answers".into()));
    assert_eq!(read(&mut leader, CLIENT, &users, &many(2098)), Err(ErrorCode::MarshallingError));
}

#[test]
fn an_event_is_for_those_who_may_read() {
    let (ann, bob) = (user("ann"), user("bob"));
    let mut leader = Leader::new();
    leader.write(&create("/a", 0));
    for (client, identities) in [(1, vec![ann.clone()]), (2, vec![bob]), (3, vec![])] {
        read(&mut leader, ClientId(client), &identities, &get("/a")).expect("it is open");
    }
    Tree::identify(&Settings::default(), &mut leader.watches, ClientId(3), std::slice::from_ref(&ann));
    leader.write(&set_acl("/a", only(&ann, acl::ALL), -1));
    leader.prepare(OTHER, &delete("/a", -1));
    assert_eq!(leader.apply_one(), Outcome::Delete);
    assert_eq!(fired(&mut leader), ["1 NodeDeleted /a", "3 NodeDeleted /a"]);
    assert!(leader.watches.is_empty(), "the watch is gone all the same");
}

#[test]
fn events_have_zookeepers_numbers() {
    let kinds = [
        EventKind::NodeCreated,
        EventKind::NodeDeleted,
        EventKind::NodeDataChanged,
        EventKind::NodeChildrenChanged,
    ];
    assert_eq!(kinds.map(EventKind::number), [1, 2, 3, 4]);
}
