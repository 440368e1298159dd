//! Scenarios of sessions: opened, claimed, moved, expired, closed.
use crate::net::{Choice, Said, answers};
use crate::{World, get, own, set, sync, tick};
use protocol::peer::{ClientRequest, Input, Op, Packet, Request};
use protocol::{Note, Timer};
use spec::{Machine as _, ServerId, SessionId, Zxid};

#[test]
fn a_session_is_accepted_when_its_transaction_commits_and_with_a_clamped_timeout() {
    let mut net = World::new(3);
    for (asked, granted) in [(1, 2000), (7000, 7000), (1_000_000, 20_000), (-5, 2000)] {
        let client = net.connect(1, SessionId(0), [0; 16], asked, Zxid::ZERO);
        assert_eq!(net.take(client), [], "it is not committed yet");
        net.pump();
        let said = net.take(client);
        let [Said::Accepted { session, timeout_ms, .. }] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!(*timeout_ms, granted);
        for server in 1..=3 {
            assert_eq!(net.node(server).machine.sessions.get(session), Some(&granted));
        }
    }
}

#[test]
fn a_wrong_password_harms_nobody() {
    let mut net = World::new(3);
    let (client, session, _) = net.open(1);
    for server in 1..=3 {
        let thief = net.connect(server, session, [7; 16], 5000, Zxid::ZERO);
        net.pump();
        assert_eq!(net.take(thief), [Said::Refused]);
    }
    net.request(client, 1, set(1, 1));
    net.pump();
    assert_eq!(answers(&net.take(client)), [(1, "Done")]);
}

/// C-4: an older connection goes with the claim, and the newer one waits for the leader.
#[test]
fn an_older_connection_goes_once_the_newer_shows_the_password() {
    for server in [1, 3] {
        let mut net = World::new(3);
        let (first, session, password) = net.open(server);
        let second = net.connect(server, session, password, 5000, Zxid::ZERO);
        assert_eq!(net.take(first), [Said::Closed]);
        if server == 1 {
            assert_eq!(net.take(second), [], "the leader has not answered");
            net.pump();
        }
        assert_eq!(
            net.take(second),
            [Said::Accepted { session, timeout_ms: 5000, password, read_only: false }]
        );
        net.request(second, 1, own(1, 1));
        net.pump();
        assert_eq!(answers(&net.take(second)), [(1, "Done")]);
    }
}

#[test]
fn a_session_that_is_gone_is_refused_and_so_is_one_that_never_was() {
    let mut net = World::new(3);
    let (client, session, password) = net.open(2);
    net.request(client, 1, ClientRequest::Close);
    net.pump();
    let never = SessionId(0x0900_0000_0000_0001);
    for server in 1..=3 {
        for (id, password) in [(session, password), (never, protocol::session::password(never))] {
            let client = net.connect(server, id, password, 5000, Zxid::ZERO);
            net.pump();
            assert_eq!(net.take(client), [Said::Refused]);
        }
    }
}

/// A server whose clock went back between two starts does not give a living session's id away.
#[test]
fn no_id_is_given_to_two_sessions() {
    let mut net = World::new(3);
    let before = net.starts;
    let (_, first, _) = net.open(2);
    net.crash(2);
    net.pump();
    // The second of three was started.
    net.starts = 1;
    net.start(2);
    net.starts = before;
    net.pump();
    let (_, second, _) = net.open(2);
    assert_eq!(second, SessionId(first.0 + 1));
    // Should a server do it nevertheless, the leader refuses.
    let (client, session, _) = net.open(3);
    let op = Op::CreateSession { timeout_ms: 2000 };
    let packet = Packet::Request(Request { session, xid: 0, identities: Vec::new(), op });
    net.step(ServerId(3), Input::Packet { from: ServerId(1), packet, time: 0 });
    net.request(client, 1, set(1, 1));
    net.pump();
    assert!(net.notes.contains(&(ServerId(3), Note::SessionIdTaken { session })));
    assert_eq!(answers(&net.take(client)), [(1, "Done")], "its owner still has it");
    assert_eq!(net.node(1).machine.sessions[&session], 5000);
}

/// C-4: a leader that has been deposed without knowing it refuses no session that its successor has opened.
#[test]
fn a_deposed_leader_refuses_no_session() {
    let mut net = World::new(3);
    net.hold(1, 3);
    net.hold(2, 3);
    net.fire(1, Timer::Silence(ServerId(3)));
    net.fire(2, Timer::Silence(ServerId(3)));
    net.pump();
    net.finalize();
    let (_, session, password) = net.open(2);
    let client = net.connect(3, session, password, 5000, Zxid::ZERO);
    net.fire(3, Timer::Ping);
    net.pump();
    assert!(net.node(3).serving);
    assert_eq!(net.take(client), [], "the client would take a refusal for the end of its session");
    net.release(1, 3);
    net.release(2, 3);
    net.pump();
    net.finalize();
    assert_eq!(net.take(client), [Said::Closed]);
    net.reopen(3, session, password);
}

/// S-5: a write that is late on the connection that its session has left is refused, and that connection closed.
#[test]
fn a_late_write_of_a_moved_session_is_refused() {
    for target in [2, 3] {
        let mut net = World::new(3);
        let (old, session, password) = net.open(1);
        net.hold(1, 3);
        net.request(old, 1, set(1, 11));
        net.pump();
        let new = net.reopen(target, session, password);
        net.request(new, 2, set(1, 22));
        net.pump();
        assert_eq!(answers(&net.take(new)), [(2, "Done")]);
        net.release(1, 3);
        net.pump();
        assert_eq!(net.take(old), [Said::Closed], "moved: hung up without an answer");
        net.request(new, 3, get(1));
        assert_eq!(answers(&net.take(new)), [(3, "22")]);
        for server in 1..=3 {
            assert_eq!(net.node(server).machine.cells[&1].value, 22);
        }
    }
}

/// Delivers what servers say to each other, while all disks are slow: nothing is committed.
fn talk(net: &mut World) {
    loop {
        let links = net.deliverable().into_iter().find(|choice| matches!(choice, Choice::Link(..)));
        let Some(choice) = links else { return };
        net.deliver_choice(choice);
    }
}

/// The leader, server 3, grants what server 1 has just claimed, and has read nothing else that is under way.
fn grant_hastily(net: &mut World, session: SessionId) {
    let (follower, leader) = (ServerId(1), ServerId(3));
    net.links.get_mut(&(follower, leader)).expect("there is a link").pop_back();
    let packet = Packet::Revalidated { session, valid: true };
    net.step(follower, Input::Packet { from: leader, packet, time: 0 });
}

/// C-15: a client that comes back to its server and numbers from 1 again is not given the answer to what it had asked
/// before.
#[test]
fn a_number_of_an_older_connection_is_not_answered() {
    for server in [1, 3] {
        let mut net = World::new(3);
        let (old, session, password) = net.open(server);
        net.request(old, 1, set(1, 11));
        let new = net.connect(server, session, password, 5000, Zxid::ZERO);
        talk(&mut net);
        net.request(new, 1, set(1, 22));
        net.request(new, 2, get(1));
        net.pump();
        assert_eq!(answers(&net.take(new)), [(1, "Done"), (2, "22")], "at {server}");
    }
}

/// C-15: the same under a leader that grants beside its pipeline, as Apache's does: the write that the older connection
/// had handed on is proposed behind the grant.
#[test]
fn a_number_of_an_older_connection_is_not_answered_under_a_hasty_leader() {
    let mut net = World::new(3);
    let (old, session, password) = net.open(1);
    net.request(old, 1, set(1, 11));
    let new = net.connect(1, session, password, 5000, Zxid::ZERO);
    grant_hastily(&mut net, session);
    net.request(new, 1, set(1, 22));
    net.request(new, 2, get(1));
    net.pump();
    assert_eq!(answers(&net.take(new)), [(1, "Done"), (2, "22")]);
}

/// C-15: a close is answered by a close or a refusal, and by no write of its number that the session has left at another
/// server, also under a leader that grants before it has read that write.
#[test]
fn a_write_is_no_answer_to_a_close() {
    let mut net = World::new(3);
    let (old, session, password) = net.open(2);
    net.request(old, 1, set(1, 11));
    let new = net.connect(1, session, password, 5000, Zxid::ZERO);
    grant_hastily(&mut net, session);
    net.request(new, 1, ClientRequest::Close);
    net.deliver_choice(Choice::Link(ServerId(2), ServerId(3)));
    net.pump();
    assert_eq!(net.node(1).machine.cells[&1].value, 11, "the write is carried out");
    let said = net.take(new);
    assert_eq!(answers(&said), [], "the leader has another owner, and refuses the close");
    assert_eq!(said.last(), Some(&Said::Closed));
}

/// C-15: the same for a client that has left a server, and whose write was proposed before it came.
#[test]
fn a_number_of_another_server_is_not_answered() {
    for target in [2, 3] {
        let mut net = World::new(3);
        let (old, session, password) = net.open(1);
        net.request(old, 1, set(1, 11));
        talk(&mut net);
        let new = net.connect(target, session, password, 5000, Zxid::ZERO);
        talk(&mut net);
        net.request(new, 1, set(1, 22));
        net.request(new, 2, get(1));
        net.pump();
        assert_eq!(answers(&net.take(new)), [(1, "Done"), (2, "22")]);
        let noted = |(at, note): &(ServerId, Note)| {
            at.0 == target && matches!(note, Note::OfAnotherConnection { client, .. } if *client == new)
        };
        assert!(net.notes.iter().any(noted), "the old write was in the way");
    }
}

/// C-15: a refusal that ends a connection is its last answer, and waits for nothing at a server to which the client
/// comes back, numbering from 1 again.
#[test]
fn a_refused_write_of_a_moved_session_does_not_wait() {
    let mut net = World::new(3);
    let (old, session, password) = net.open(1);
    net.hold(1, 3);
    net.request(old, 1, set(1, 11));
    net.pump();
    net.reopen(2, session, password);
    net.release(1, 3);
    net.pump();
    assert_eq!(net.take(old), [Said::Closed], "moved");
    assert_eq!(net.node(1).peer.kept().count(), 0, "what was refused waits for nothing");
    let new = net.reopen(1, session, password);
    net.request(new, 1, set(1, 22));
    net.pump();
    assert_eq!(answers(&net.take(new)), [(1, "Done")]);
}

/// C-15: a server keeps nothing of a session that is closed.
#[test]
fn nothing_is_kept_of_a_session_that_is_closed() {
    for server in 1..=3 {
        let mut net = World::new(3);
        let (old, ..) = net.open(server);
        net.request(old, 1, set(1, 11));
        net.request(old, 2, ClientRequest::Close);
        net.hang_up(old);
        assert_eq!(net.node(server).peer.kept().count(), 2, "both are under way");
        net.pump();
        assert_eq!(net.node(server).peer.kept().count(), 0);
        let (new, ..) = net.open(server);
        net.request(new, 1, ClientRequest::Close);
        net.pump();
        assert_eq!(answers(&net.take(new)), [(1, "-")]);
        assert_eq!(net.node(server).peer.kept().count(), 0, "a close that is answered is over");
    }
}

/// S-5: a client moves away, writes, and comes back. What its first connection to the server left on its way is read no
/// more: handed on behind the claim, it would be taken for the newest one's, and come behind the write between.
#[test]
fn what_an_older_connection_left_does_not_overtake() {
    let mut net = World::new(3);
    let (old, session, password) = net.open(1);
    let away = net.reopen(2, session, password);
    net.request(away, 2, set(1, 22));
    net.pump();
    assert_eq!(answers(&net.take(away)), [(2, "Done")]);
    let back = net.connect(1, session, password, 5000, Zxid::ZERO);
    assert_eq!(net.take(old), [Said::Closed], "before the leader has answered");
    net.pump();
    net.request(back, 3, get(1));
    net.pump();
    assert_eq!(answers(&net.take(back)), [(3, "22")]);
}

/// C-8: what is held back behind a sync goes to the leader when its connection ends, a close too.
#[test]
fn a_close_behind_a_sync_closes_though_the_connection_ends() {
    for server in 1..=3 {
        let mut net = World::new(3);
        let (client, session, _) = net.open(server);
        net.request(client, 1, sync());
        net.request(client, 2, set(1, 11));
        net.request(client, 3, ClientRequest::Close);
        net.hang_up(client);
        net.pump();
        for id in 1..=3 {
            let node = net.node(id);
            assert_eq!(node.machine.cells[&1].value, 11, "at {id}");
            assert_eq!(node.machine.session_timeout(session), None, "at {id}");
            assert_eq!((node.peer.kept().count(), node.peer.outstanding_requests()), (0, 0), "at {id}");
        }
    }
}

/// A client that leaves the leader's own connection for a follower, and one that comes back.
#[test]
fn a_session_moves_off_the_leader_and_back() {
    let mut net = World::new(3);
    let (first, session, password) = net.open(3);
    let second = net.reopen(1, session, password);
    assert_eq!(net.take(first), [Said::Closed]);
    net.request(second, 1, set(1, 1));
    net.pump();
    assert_eq!(answers(&net.take(second)), [(1, "Done")]);
    let third = net.reopen(3, session, password);
    net.request(third, 3, set(1, 2));
    net.request(second, 2, set(1, 3));
    net.pump();
    assert_eq!(answers(&net.take(third)), [(3, "Done")]);
    assert_eq!(net.take(second), [Said::Closed]);
    assert_eq!(net.node(2).machine.cells[&1].value, 2);
}

/// S-7: a server that is behind what the client has seen does not take it, and says nothing.
#[test]
fn a_client_that_has_seen_more_is_turned_away() {
    let mut net = World::new(3);
    let (client, session, password) = net.open(3);
    net.hold(1, 3);
    net.request(client, 1, set(1, 1));
    net.pump();
    let seen = match net.take(client).as_slice() {
        [Said::Reply { xid: 1, zxid, .. }] => *zxid,
        other => panic!("{other:?}"),
    };
    let late = net.connect(1, session, password, 5000, seen);
    assert_eq!(net.take(late), [Said::Closed]);
    let there = net.connect(2, session, password, 5000, seen);
    net.pump();
    assert!(matches!(net.take(there).as_slice(), [Said::Accepted { .. }]));
}

/// C-7: the start of an epoch is no transaction, and a leader of ZooKeeper tells of it.
#[test]
fn a_client_that_has_seen_the_start_of_an_epoch_goes_on_in_it_and_behind_it() {
    let mut net = World::new(3);
    let old = net.leader();
    net.open(old);
    net.crash(old);
    net.pump();
    net.finalize();
    let leader = net.leader();
    let epoch = net.node(leader).peer.zab().current();
    let start = Zxid::new(epoch, 0);
    assert!(net.node(leader).machine.last < start, "it has no transaction in its epoch");
    let table = [
        (Zxid(start.0 - 1), false, "a transaction of an epoch before, which is missing"),
        (Zxid(start.0 + 1), false, "a transaction of this epoch, which is missing"),
        (Zxid::new(spec::Epoch(epoch.0 + 1), 0), false, "an epoch to come"),
        (start, true, "this epoch"),
    ];
    for (seen, taken, what) in table {
        let client = net.connect(leader, SessionId(0), [0; 16], 5000, seen);
        net.pump();
        let closed = net.take(client) == [Said::Closed];
        assert_eq!(closed, !taken, "{what}");
    }
}

#[test]
fn a_touch_through_a_follower_keeps_a_session_and_silence_ends_it() {
    let mut net = World::new(3);
    let (idle, idle_session, _) = net.open(1);
    let (busy, busy_session, _) = net.open(1);
    let (local, local_session, _) = net.open(3);
    net.request(idle, 1, own(1, 1));
    net.request(busy, 1, own(2, 2));
    net.pump();
    net.take(idle);
    net.take(busy);
    // 5000 ms are five ticks, and one more for the one under way.
    for _ in 0..5 {
        net.request(busy, -2, ClientRequest::Ping);
        net.request(local, -2, ClientRequest::Ping);
        tick(&mut net);
        assert!(net.node(3).machine.sessions.contains_key(&idle_session));
    }
    net.request(busy, -2, ClientRequest::Ping);
    tick(&mut net);
    assert!(!net.node(3).machine.sessions.contains_key(&idle_session));
    assert!(net.node(3).machine.sessions.contains_key(&busy_session));
    assert!(net.node(3).machine.sessions.contains_key(&local_session));
    assert_eq!(net.take(idle), [Said::Closed], "its connection goes with it");
    for server in 1..=3 {
        let cells: Vec<_> = net.node(server).machine.cells.keys().copied().collect();
        assert_eq!(cells, [2], "its cells go with it, on every server");
    }
    assert!(net.notes.contains(&(ServerId(3), Note::SessionExpired { session: idle_session })));
}

/// S-3: a connection that is gone leaves its last touch behind.
#[test]
fn a_touch_outlives_its_connection() {
    let mut net = World::new(3);
    let (client, session, _) = net.open(1);
    for _ in 0..5 {
        tick(&mut net);
    }
    net.request(client, -2, ClientRequest::Ping);
    net.hang_up(client);
    for _ in 0..5 {
        tick(&mut net);
        assert!(net.node(3).machine.sessions.contains_key(&session));
    }
    tick(&mut net);
    assert!(!net.node(3).machine.sessions.contains_key(&session));
}

/// S-2: what was prepared before the close goes with it, and what comes after it is refused.
#[test]
fn a_close_takes_what_is_outstanding_with_it() {
    for server in [1, 3] {
        let mut net = World::new(3);
        let (client, session, password) = net.open(server);
        net.request(client, 1, own(1, 1));
        net.request(client, 2, own(2, 2));
        net.request(client, 3, ClientRequest::Close);
        net.request(client, 4, own(3, 3));
        net.pump();
        let said = net.take(client);
        assert_eq!(answers(&said), [(1, "Done"), (2, "Done"), (3, "-")]);
        assert_eq!(said.last(), Some(&Said::Closed));
        for id in 1..=3 {
            assert!(net.node(id).machine.cells.is_empty());
        }
        let client = net.connect(server, session, password, 5000, Zxid::ZERO);
        net.pump();
        assert_eq!(net.take(client), [Said::Refused]);
    }
}

/// S-1: a write that reaches the leader behind the expiry of its session is refused.
#[test]
fn a_write_behind_the_expiry_mark_is_refused() {
    let mut net = World::new(3);
    let (client, _, _) = net.open(1);
    for _ in 0..5 {
        tick(&mut net);
    }
    // The mark is set; the closeSession and the write cross.
    net.hold(1, 3);
    net.hold(2, 3);
    net.request(client, 1, own(1, 1));
    net.fire(3, Timer::Expiry);
    net.release(1, 3);
    net.release(2, 3);
    net.pump();
    assert_eq!(net.take(client), [Said::Closed]);
    assert!(net.node(3).machine.cells.is_empty());
}

/// The leader's own close carries number 0, which a client may use as well.
#[test]
fn an_expiry_is_no_answer_to_a_write() {
    let mut net = World::new(3);
    let (client, _, _) = net.open(1);
    for _ in 0..5 {
        tick(&mut net);
    }
    net.fire(3, Timer::Expiry);
    net.request(client, 0, set(1, 1));
    net.pump();
    assert_eq!(net.take(client), [Said::Closed]);
    assert!(net.node(1).machine.cells.is_empty());
}
