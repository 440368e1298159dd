//! Three peers over the real tree: ephemerals and closing sessions, and long runs of chance under the rules of
//! sessions.
#[path = "../../../protocol/tests/peer/net/mod.rs"]
mod net;

use std::collections::BTreeSet;

use bytes::Bytes;
use net::{
    Net, Said, Subject, answers,
    chance::{CELLS, Play, Run, Tally},
};
use protocol::{Timer, peer::ClientRequest};
use spec::{Machine, SessionId, Zxid};
use tree::{Acl, Answer, CreateRequest, CreateTxn, Read, Text, Tree, Txn, TxnBody, Write};

type World = Net<Tree>;

const ALL: i32 = 31;

fn create(path: &str, value: u32, flags: i32) -> Write {
    let data = Some(Bytes::from(value.to_string()));
    Write::Create {
        path: Text::from(path),
        data,
        acl: vec![Acl::world(ALL)],
        flags,
        request: CreateRequest::Create,
    }
}

fn children(path: &str) -> ClientRequest<Tree> {
    ClientRequest::Read(Read::GetChildren { path: Text::from(path), watch: false })
}

fn number(data: &[u8]) -> Option<u32> {
    std::str::from_utf8(data).ok()?.parse().ok()
}

impl Subject for Tree {
    fn show(answer: &Answer<'_>) -> String {
        match answer {
            Answer::Data { data, .. } => String::from_utf8_lossy(data.unwrap_or_default()).into_owned(),
            Answer::Children(names) => {
                let names: BTreeSet<_> =
                    names.clone().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
                names.into_iter().collect::<Vec<_>>().join(" ")
            }
            other @ (Answer::Exists(_)
            | Answer::Children2 { .. }
            | Answer::Acl { .. }
            | Answer::Ephemerals(_)
            | Answer::AllChildrenNumber(_)
            | Answer::Identities(_)
            | Answer::Multi(_)
            | Answer::WatchAdded
            | Answer::Done) => format!("{other:?}"),
        }
    }
}

impl Play for Tree {
    fn setup() -> Vec<Write> {
        let mut setup: Vec<_> = (0..CELLS).map(|cell| create(&format!("/c{cell}"), 0, 0)).collect();
        setup.push(create("/own", 0, 0));
        setup
    }

    fn put(cell: u8, value: u32) -> Write {
        let data = Some(Bytes::from(value.to_string()));
        let path = Text::from(format!("/c{cell}").as_str());
        if value.is_multiple_of(3) {
            // As part of a whole.
            let check = Write::Check { path: path.clone(), version: -1 };
            return Write::Multi(vec![check, Write::SetData { path, data, version: -1 }]);
        }
        Write::SetData { path, data, version: -1 }
    }

    fn own(value: u32) -> Write {
        create("/own/e-", value, 3)
    }

    fn get(cell: u8, watch: bool) -> Read {
        Read::GetData { path: Text::from(format!("/c{cell}").as_str()), watch }
    }

    fn put_by(txn: &Txn) -> Option<(u8, u32)> {
        fn of(body: &TxnBody) -> Option<(u8, u32)> {
            match body {
                TxnBody::SetData { path, data, .. } | TxnBody::Create(CreateTxn { path, data, .. })
                    if path.as_str().starts_with("/c") =>
                {
                    let cell = path.as_str().strip_prefix("/c")?.parse().ok()?;
                    Some((cell, number(data.as_ref()?)?))
                }
                TxnBody::Multi(parts) => parts.iter().find_map(of),
                TxnBody::SetData { .. }
                | TxnBody::Create(_)
                | TxnBody::Delete { .. }
                | TxnBody::SetAcl { .. }
                | TxnBody::Check { .. }
                | TxnBody::CreateSession { .. }
                | TxnBody::CloseSession { .. }
                | TxnBody::Error { .. } => None,
            }
        }
        of(&txn.body)
    }

    fn value(answer: &str) -> Option<u32> {
        number(answer.as_bytes())
    }

    fn is_done(answer: &str) -> bool {
        ["Create", "SetData", "Multi([Check, SetData"].iter().any(|start| answer.starts_with(start))
    }

    fn owners(&self) -> BTreeSet<SessionId> {
        Self::owners(self)
    }
}

#[test]
fn the_rules_of_sessions_hold_over_the_tree() {
    let mut tally = Tally::default();
    for seed in 1..=200 {
        Run::<Tree>::play(seed, seed % 2, 3000, &mut tally);
    }
    let Tally { replies, writes, syncs, events, refused, used_up, epochs } = tally;
    let least =
        [(replies, 20_000), (writes, 5_000), (syncs, 5_000), (events, 1_000), (refused, 20), (used_up, 20)];
    assert!(least.iter().all(|(found, least)| found >= least), "{least:?}");
    assert!(epochs > 500, "{epochs} epochs");
}

/// S-2: ephemerals whose creation is under way go with their session, through whatever server it is closed.
#[test]
fn a_close_takes_ephemerals_that_are_under_way_with_it() {
    for server in 1..=3 {
        let mut net = World::new(3);
        let (watcher, _, _) = net.open(1);
        let (client, _, _) = net.open(server);
        net.request(client, 1, ClientRequest::Write(create("/own", 0, 0)));
        net.pump();
        net.request(
            watcher,
            1,
            ClientRequest::Read(Read::Exists { path: Text::from("/own/b"), watch: true }),
        );
        net.request(client, 2, ClientRequest::Write(create("/own/a", 1, 1)));
        net.request(client, 3, ClientRequest::Write(create("/own/b", 2, 1)));
        net.request(client, 4, ClientRequest::Write(create("/own/s-", 3, 3)));
        net.request(client, 5, ClientRequest::Close);
        net.request(client, 6, ClientRequest::Write(create("/own/late", 4, 1)));
        net.pump();
        let said = net.take(client);
        assert_eq!(answers(&said).iter().map(|(xid, _)| *xid).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(said.last(), Some(&Said::Closed));
        for id in 1..=3 {
            assert_eq!(net.node(id).machine.ephemeral_count(), 0, "server {id}");
        }
        net.request(watcher, 2, children("/own"));
        let said = net.take(watcher);
        assert!(matches!(said.get(1), Some(Said::Event { event, .. }) if event.contains("NodeCreated")));
        assert_eq!(answers(&said).last(), Some(&(2, "")));
    }
}

/// S-1, S-2: the ephemerals of a session live through a change of leader, and go when the new one lets it expire.
#[test]
fn ephemerals_outlive_the_leader_and_go_with_their_session() {
    let mut net = World::new(3);
    let (idle, idle_session, _) = net.open(3);
    let (busy, busy_session, password) = net.open(1);
    net.request(idle, 1, ClientRequest::Write(create("/idle", 1, 1)));
    net.request(busy, 1, ClientRequest::Write(create("/busy", 1, 1)));
    net.pump();
    net.crash(3);
    net.pump();
    net.finalize();
    assert_eq!(net.leader(), 2);
    let busy = net.reopen(1, busy_session, password);
    for _ in 0..5 {
        net.request(busy, -2, ClientRequest::Ping);
        net.fire(2, Timer::Ping);
        net.pump();
        net.fire(2, Timer::Expiry);
        net.pump();
        assert!(net.node(1).machine.session_timeout(idle_session).is_some());
    }
    net.take(busy);
    net.request(busy, 2, children("/"));
    net.request(busy, -2, ClientRequest::Ping);
    net.fire(2, Timer::Ping);
    net.pump();
    net.fire(2, Timer::Expiry);
    net.pump();
    net.request(busy, 3, children("/"));
    assert_eq!(answers(&net.take(busy)), [(2, "busy idle zookeeper"), (-2, "-"), (3, "busy zookeeper")]);
    net.start(3);
    net.pump();
    assert!(net.node(3).machine == net.node(2).machine);
    assert_eq!(net.node(3).machine.last_processed(), net.node(1).machine.last_processed());
    assert!(net.node(3).machine.last_processed() > Zxid::ZERO);
}
