//! Scenarios with observers: clients at one, its crash and its silence, and voters that go while it stays.
use protocol::{Note, Role, Timer, peer::ClientRequest};
use spec::{ServerId, SessionId};

use crate::{
    World, get,
    net::{Said, answers},
    own, set, sync, tick, watch,
};

const OBSERVER: u64 = 4;

#[test]
fn clients_of_an_observer_read_there_and_write_through_the_leader() {
    let mut net = World::observed(3, 1);
    assert_eq!(net.leader(), 3, "the highest voter leads, not the highest server");
    assert_eq!(net.node(OBSERVER).role, Some(Role::Observing(ServerId(3))));
    let (here, session, password) = net.open(OBSERVER);
    let (there, _, _) = net.open(1);
    net.request(here, 1, own(1, 10));
    net.request(here, 2, watch(2));
    net.pump();
    assert_eq!(answers(&net.take(here)), [(1, "Done"), (2, "NoNode")]);
    net.request(there, 1, set(2, 20));
    net.request(there, 2, get(1));
    net.pump();
    assert_eq!(answers(&net.take(there)), [(1, "Done"), (2, "10")]);
    net.request(here, 3, sync());
    net.request(here, 4, get(2));
    net.pump();
    let said = net.take(here);
    assert!(
        matches!(said.first(), Some(Said::Event { .. })),
        "the event comes before what shows it: {said:?}"
    );
    assert_eq!(answers(&said), [(3, "sync /"), (4, "20")]);
    // The session moves to a voter, and its node with it.
    let moved = net.reopen(2, session, password);
    net.request(moved, 5, get(1));
    net.request(moved, 6, ClientRequest::Close);
    net.pump();
    assert_eq!(answers(&net.take(moved)), [(5, "10"), (6, "-")]);
    assert!(net.nodes.values().all(|node| node.machine.cells.keys().eq([&2])), "the node went everywhere");
}

/// Touches travel with the answers to PINGs.
#[test]
fn a_session_at_an_observer_lives_while_its_client_does() {
    let mut net = World::observed(3, 1);
    let (client, session, _) = net.open(OBSERVER);
    let lives = |net: &World| net.node(3).machine.sessions.contains_key(&session);
    for _ in 0..20 {
        net.request(client, -2, ClientRequest::Ping);
        tick(&mut net);
        assert!(lives(&net));
    }
    (0..20).for_each(|_| tick(&mut net));
    assert!(!lives(&net), "a silent client's session ends");
    assert!(net.notes.contains(&(ServerId(3), Note::SessionExpired { session })));
}

#[test]
fn nothing_waits_for_an_observer() {
    let mut net = World::observed(3, 1);
    let (client, _, _) = net.open(1);
    // Silent, then dead, then back: the voters go on, and it gets what it lacks.
    net.hold(OBSERVER, 3);
    net.request(client, 1, set(1, 1));
    net.request(client, 2, sync());
    net.pump();
    assert_eq!(answers(&net.take(client)), [(1, "Done"), (2, "sync /")]);
    net.crash(OBSERVER);
    net.release(OBSERVER, 3);
    net.request(client, 3, set(1, 2));
    net.pump();
    assert_eq!(answers(&net.take(client)), [(3, "Done")]);
    assert_eq!(net.leader(), 3);
    net.start(OBSERVER);
    net.pump();
    assert!(net.node(OBSERVER).serving, "an observer that asks is told at once");
    let (late, _, _) = net.open(OBSERVER);
    net.request(late, 1, get(1));
    assert_eq!(answers(&net.take(late)), [(1, "2")]);
}

#[test]
fn an_observer_that_says_nothing_is_dropped_by_its_timer_alone() {
    let mut net = World::observed(3, 1);
    let silence = Timer::Silence(ServerId(OBSERVER));
    assert!(net.node(3).timers.contains_key(&silence));
    net.hold(OBSERVER, 3);
    let (client, _, _) = net.open(3);
    for xid in 1..=20 {
        net.request(client, xid, set(1, xid.unsigned_abs()));
        net.pump();
    }
    assert!(net.node(3).serving && net.node(OBSERVER).serving);
    net.fire(3, silence);
    net.release(OBSERVER, 3);
    net.pump();
    assert_eq!(net.leader(), 3, "it costs the leader nothing");
    assert!(net.node(OBSERVER).serving, "and it comes back");
    assert_eq!(net.node(OBSERVER).machine.cells[&1].value, 20);
}

#[test]
fn observers_keep_nobody_in_office_and_elect_nobody() {
    let mut net = World::observed(3, 2);
    let (client, _, _) = net.open(OBSERVER);
    net.request(client, 1, set(1, 1));
    net.pump();
    net.crash(1);
    net.pump();
    assert_eq!(net.leader(), 3);
    net.crash(2);
    net.pump();
    assert!(net.nodes.values().all(|node| !node.serving), "one of three voters, and two observers");
    assert_eq!(net.take(client).last(), Some(&Said::Closed));
    for _ in 0..10 {
        net.finalize();
        for id in [3, OBSERVER, OBSERVER + 1] {
            net.fire(id, Timer::Resend);
            net.pump();
        }
        assert!(net.nodes.values().all(|node| node.role.is_none()), "nobody is elected");
    }
    net.start(2);
    net.pump();
    net.finalize();
    assert!(net.nodes.values().all(|node| node.serving), "the observers are told");
    assert_eq!(net.node(OBSERVER).machine.cells[&1].value, 1);
}

#[test]
fn sessions_of_an_observer_outlive_the_leader() {
    let mut net = World::observed(3, 1);
    let (client, session, password) = net.open(OBSERVER);
    net.request(client, 1, own(1, 1));
    net.pump();
    net.take(client);
    net.crash(3);
    net.pump();
    net.finalize();
    assert_eq!(net.leader(), 2);
    assert_eq!(net.take(client), [Said::Closed], "it has lost its leader");
    assert_eq!(net.node(OBSERVER).role, Some(Role::Observing(ServerId(2))));
    assert_ne!(session, SessionId(0));
    let again = net.reopen(OBSERVER, session, password);
    net.request(again, 2, get(1));
    assert_eq!(answers(&net.take(again)), [(2, "1")]);
}
