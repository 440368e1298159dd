//! Service without a leader, for clients that only read (rule C-19).
use crate::net::{Said, answers};
use crate::{World, get, set, sync, tick, watch};
use protocol::peer::ClientRequest;
use protocol::{Note, Timer};
use spec::{ClientId, ServerId, SessionId, Zxid};

/// A session and its password.
type Claim = (SessionId, [u8; 16]);

const NONE: Claim = (SessionId(0), [0; 16]);

/// Three servers, or two and an observer, that may serve reads without a leader.
fn ensemble(voters: u64, observers: u64) -> World {
    let mut net = World::down(voters, observers, 500, u32::MAX);
    net.read_only = true;
    for id in 1..=voters + observers {
        net.start(id);
    }
    net.pump();
    net.finalize();
    net
}

/// Server 1 alone, after cell 1 was set to 10 for a client with a session of the ensemble, which is told too.
fn cut_off() -> (World, Claim) {
    let mut net = ensemble(3, 0);
    let (client, session, password) = net.open(1);
    net.request(client, 1, set(1, 10));
    net.pump();
    assert_eq!(answers(&net.take(client)), [(1, "Done")]);
    net.crash(2);
    net.crash(3);
    net.pump();
    assert_eq!(net.take(client), [Said::Closed]);
    assert!(net.node(1).peer.zab().is_looking());
    (net, (session, password))
}

fn read_only(net: &mut World, session: Claim, seen: Zxid) -> ClientId {
    net.connect_as(1, session, 5000, seen, true)
}

/// A session that only reads, at server 1.
fn opened(net: &mut World) -> (ClientId, Claim) {
    let client = read_only(net, NONE, Zxid::ZERO);
    match net.take(client).as_slice() {
        [Said::Accepted { session, timeout_ms: 5000, password, read_only: true }] => {
            (client, (*session, *password))
        }
        other => panic!("no session: {other:?}"),
    }
}

#[test]
fn who_only_reads_is_served_once_a_leader_was_looked_for_in_vain() {
    let (mut net, _) = cut_off();
    let early = read_only(&mut net, NONE, Zxid::ZERO);
    assert_eq!(net.take(early), [Said::Closed], "a leader may be found at once");
    net.fire(1, Timer::ReadOnly);
    assert!(net.node(1).serving && net.node(1).role.is_none() && net.node(1).peer.is_read_only());
    let before = net.node(1).machine.clone();
    let ordinary = net.connect(1, SessionId(0), [0; 16], 5000, Zxid::ZERO);
    assert_eq!(net.take(ordinary), [Said::Closed], "who writes looks for another server");
    let (client, _) = opened(&mut net);
    net.request(client, 1, get(1));
    net.request(client, 2, set(1, 11));
    net.request(client, 3, sync());
    net.request(client, 4, watch(1));
    net.request(client, -2, ClientRequest::Ping);
    net.request(client, 5, ClientRequest::Close);
    let said = net.take(client);
    let expected = [(1, "10"), (2, "NotReadOnly"), (3, "NotReadOnly"), (4, "10"), (-2, "-"), (5, "-")];
    assert_eq!(answers(&said), expected);
    assert_eq!(said.last(), Some(&Said::Closed));
    let last = before.last;
    let names_it = |said: &Said| !matches!(said, Said::Reply { zxid, .. } if *zxid != last);
    assert!(said.iter().all(names_it), "no answer names another place than {last}: {said:?}");
    assert_eq!(net.node(1).machine, before, "R-2: nothing of this is in the state");
    assert_eq!(net.node(1).peer.outstanding_requests(), 0);
    assert_eq!(net.node(1).peer.expiries().count(), 0, "the session is closed");
}

#[test]
fn a_session_that_only_reads_is_this_servers_alone() {
    let (mut net, ensembles) = cut_off();
    net.fire(1, Timer::ReadOnly);
    let (client, own) = opened(&mut net);
    // It is taken up again, and the older connection goes.
    let last = net.node(1).machine.last;
    let again = read_only(&mut net, own, last);
    assert!(matches!(net.take(again).as_slice(), [Said::Accepted { read_only: true, .. }]));
    assert_eq!(net.take(client), [Said::Closed]);
    let table: [(Claim, Zxid, &[Said], &str); 5] = [
        (ensembles, Zxid::ZERO, &[Said::Closed], "it may live, and nobody here could write for it"),
        ((own.0, [9; 16]), Zxid::ZERO, &[Said::Refused], "not its password"),
        ((ensembles.0, [9; 16]), Zxid::ZERO, &[Said::Refused], "not its password"),
        (own, Zxid(last.0 + 1), &[Said::Closed], "it has seen more elsewhere (C-7)"),
        (NONE, Zxid(last.0 + 1), &[Said::Closed], "so has this one"),
    ];
    for (offered, seen, expected, why) in table {
        let client = read_only(&mut net, offered, seen);
        assert_eq!(net.take(client), expected, "{why}");
    }
    net.request(again, 1, get(1));
    assert_eq!(answers(&net.take(again)), [(1, "10")], "none of these has harmed it");
    net.request(again, 2, ClientRequest::Close);
    let late = read_only(&mut net, own, Zxid::ZERO);
    assert_eq!(net.take(late), [Said::Refused], "it is closed, and this server knows that for sure");
}

#[test]
fn a_session_that_only_reads_lasts_as_long_as_its_client_is_heard_of() {
    let (mut net, _) = cut_off();
    net.fire(1, Timer::ReadOnly);
    let ((lively, one), (silent, other)) = (opened(&mut net), opened(&mut net));
    let gone = opened(&mut net).0;
    net.hang_up(gone);
    for _ in 0..5 {
        net.request(lively, -2, ClientRequest::Ping);
        net.fire(1, Timer::Expiry);
    }
    assert_eq!(net.take(silent), [], "its timeout of five ticks may not be over");
    net.fire(1, Timer::Expiry);
    assert_eq!(net.take(silent), [Said::Closed]);
    assert!(net.notes.contains(&(ServerId(1), Note::SessionExpired { session: other.0 })));
    let left: Vec<_> = net.node(1).peer.expiries().map(|(session, _)| session).collect();
    assert_eq!(left, [one.0]);
    net.request(lively, 1, get(1));
    assert_eq!(answers(&net.take(lively)).last(), Some(&(1, "10")));
}

#[test]
fn a_leader_that_is_found_ends_it() {
    let (mut net, ensembles) = cut_off();
    net.fire(1, Timer::ReadOnly);
    let (client, own) = opened(&mut net);
    net.request(client, 1, get(1));
    net.take(client);
    net.start(2);
    net.pump();
    net.finalize();
    assert_eq!(net.leader(), 2);
    assert!(net.node(1).peer.is_serving() && !net.node(1).peer.is_read_only());
    assert_eq!(net.take(client), [Said::Closed]);
    for timer in [Timer::ReadOnly, Timer::Expiry] {
        assert!(!net.node(1).timers.contains_key(&timer), "{timer:?} is not this role's");
    }
    // Nobody knows its session any more; what it gets is the ensemble's, and writes.
    let seen = net.node(1).machine.last;
    let stale = read_only(&mut net, own, seen);
    net.pump();
    assert_eq!(net.take(stale), [Said::Refused]);
    let fresh = read_only(&mut net, NONE, seen);
    net.pump();
    let said = net.take(fresh);
    let [Said::Accepted { session, read_only: false, .. }] = said.as_slice() else { panic!("{said:?}") };
    assert!(net.node(2).machine.sessions.contains_key(session) && *session != own.0);
    net.request(fresh, 1, set(1, 12));
    net.pump();
    assert_eq!(answers(&net.take(fresh)), [(1, "Done")]);
    // The session of before lives on.
    net.reopen(1, ensembles.0, ensembles.1);
    tick(&mut net);
}

#[test]
fn what_is_logged_is_shown_committed_or_not() {
    let mut net = ensemble(3, 0);
    let (client, _, _) = net.open(3);
    // Server 1 logs a proposal, and nobody hears of it.
    net.hold(2, 3);
    net.request(client, 1, set(1, 10));
    while net.node(1).peer.zab().history().last() == net.node(1).machine.last {
        let choice = net.deliverable().into_iter().next().expect("the proposal is under way");
        net.deliver_choice(choice);
    }
    let committed = net.node(1).machine.last;
    net.crash(3);
    net.crash(2);
    net.pump();
    net.fire(1, Timer::ReadOnly);
    let (reader, _) = opened(&mut net);
    net.request(reader, 1, get(1));
    let said = net.take(reader);
    let [Said::Reply { zxid, .. }] = said.as_slice() else { panic!("{said:?}") };
    assert!(*zxid > committed && answers(&said) == [(1, "10")], "{said:?}");
    let node = net.node(1);
    assert_eq!(*zxid, node.peer.zab().history().last(), "S-17: and nothing that is not logged");
}

/// A leader logs a write that the others go on without. Whoever was shown it finds a server again, if it has said that it
/// goes without writing.
#[test]
fn who_was_shown_an_end_that_is_cut_is_taken_in_a_later_epoch() {
    let mut net = ensemble(3, 0);
    let old = net.leader();
    let (client, _, _) = net.open(old);
    let others: Vec<u64> = (1..=3).filter(|id| *id != old).collect();
    for other in &others {
        net.hold(old, *other);
    }
    net.request(client, 1, set(1, 10));
    for _ in 0..100 {
        let Some(choice) = net.deliverable().into_iter().next() else { break };
        net.deliver_choice(choice);
    }
    for other in &others {
        net.crash(*other);
        net.release(old, *other);
    }
    net.pump();
    net.fire(old, Timer::ReadOnly);
    let reader = net.connect_as(old, NONE, 5000, Zxid::ZERO, true);
    net.request(reader, 1, get(1));
    let said = net.take(reader);
    let Some(Said::Reply { zxid: seen, .. }) = said.last().cloned() else { panic!("{said:?}") };
    assert_eq!(answers(&said), [(1, "10")]);
    net.crash(old);
    for other in &others {
        net.start(*other);
    }
    net.pump();
    net.finalize();
    let leader = net.leader();
    assert!(net.node(leader).machine.last < seen, "nobody has it");
    let ordinary = net.connect(leader, SessionId(0), [0; 16], 5000, seen);
    assert_eq!(
        net.take(ordinary),
        [Said::Closed],
        "what it has seen is committed: it must be somewhere (C-7)"
    );
    let back = net.connect_as(leader, NONE, 5000, seen, true);
    net.pump();
    assert!(matches!(net.take(back).as_slice(), [Said::Accepted { read_only: false, .. }]));
    net.request(back, 1, get(1));
    assert_eq!(answers(&net.take(back)), [(1, "NoNode")], "it was never committed");
    let epoch = net.node(leader).peer.zab().current();
    let ahead = net.connect_as(leader, NONE, 5000, Zxid::new(epoch, 9), true);
    assert_eq!(net.take(ahead), [Said::Closed], "of this epoch it has seen more than there is here");
}

#[test]
fn an_observer_serves_reads_too_and_nobody_does_unless_told_to() {
    let mut net = ensemble(2, 1);
    net.crash(1);
    net.pump();
    net.fire(3, Timer::ReadOnly);
    let reader = net.connect_as(3, NONE, 5000, Zxid::ZERO, true);
    assert!(matches!(net.take(reader).as_slice(), [Said::Accepted { read_only: true, .. }]));

    let mut net = World::new(3);
    net.crash(2);
    net.crash(3);
    net.pump();
    assert!(net.node(1).peer.zab().is_looking() && !net.node(1).timers.contains_key(&Timer::ReadOnly));
    let reader = net.connect_as(1, NONE, 5000, Zxid::ZERO, true);
    assert_eq!(net.take(reader), [Said::Closed]);
}

/// A server whose clock was set back gives numbers out again. Those that live it passes over, and they are not its own.
#[test]
fn a_living_session_in_the_way_of_the_numbers_is_not_refused() {
    let mut net = ensemble(3, 0);
    let (_, living, password) = net.open(1);
    net.pump();
    for id in 1..=3 {
        net.crash(id);
    }
    net.starts = 0;
    net.start(1);
    net.pump();
    net.fire(1, Timer::ReadOnly);
    let (_, own) = opened(&mut net);
    assert!(own.0 > living && own.0.0 < living.0 + 10, "{own:?} comes behind {living:?}");
    let back = read_only(&mut net, (living, password), Zxid::ZERO);
    assert_eq!(net.take(back), [Said::Closed]);
}
