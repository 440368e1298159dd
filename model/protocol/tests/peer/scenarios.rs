//! Scenarios of one to three peers over the least machine: sessions, the order of answers, sync, changes of leader.
use protocol::{
    Note, Timer, Violation,
    peer::{ClientRequest, Input, Op, Packet, Request},
};
use spec::{ClientId, ErrorCode, ServerId, SessionId, Zxid};

use crate::{
    net::{Net, Said, answers},
    register::{Read, Register, Write},
};

type World = Net<Register>;

fn set(cell: u8, value: u32) -> ClientRequest<Register> {
    ClientRequest::Write(Write::Set(cell, value))
}

fn own(cell: u8, value: u32) -> ClientRequest<Register> {
    ClientRequest::Write(Write::Own(cell, value))
}

fn get(cell: u8) -> ClientRequest<Register> {
    ClientRequest::Read(Read::Get(cell))
}

fn watch(cell: u8) -> ClientRequest<Register> {
    ClientRequest::Read(Read::Watch(cell))
}

fn sync() -> ClientRequest<Register> {
    ClientRequest::Sync(b"/".to_vec())
}

/// One tick at the leader, every PING answered.
fn tick(net: &mut World) {
    let leader = net.leader();
    net.fire(leader, Timer::Ping);
    net.pump();
    net.fire(leader, Timer::Expiry);
    net.pump();
}

#[test]
fn a_server_alone_elects_itself_and_serves() {
    let mut net = World::new(1);
    let (client, session, password) = net.open(1);
    assert_eq!(password, protocol::session::password(session));
    net.request(client, 1, set(1, 10));
    assert_eq!(net.take(client), [], "nothing is answered before it is durable");
    net.pump();
    net.request(client, 2, get(1));
    net.request(client, 3, sync());
    net.request(client, 4, ClientRequest::Close);
    net.pump();
    let said = net.take(client);
    assert_eq!(answers(&said), [(1, "Done"), (2, "10"), (3, "sync /"), (4, "-")]);
    assert_eq!(said.last(), Some(&Said::Closed));
    assert!(net.node(1).machine.sessions.is_empty());
    assert_eq!(net.node(1).peer.outstanding_requests(), 0);
}

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

#[test]
fn an_older_connection_goes_once_the_newer_is_validated() {
    for server in [1, 3] {
        let mut net = World::new(3);
        let (first, session, password) = net.open(server);
        let second = net.connect(server, session, password, 5000, Zxid::ZERO);
        if server == 1 {
            assert_eq!((net.take(first), net.take(second)), (vec![], vec![]), "the leader has not answered");
            net.pump();
        }
        assert_eq!(net.take(first), [Said::Closed]);
        assert_eq!(net.take(second), [Said::Accepted { session, timeout_ms: 5000, password }]);
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

#[test]
fn a_read_waits_for_the_writes_of_its_own_session_only() {
    let mut net = World::new(3);
    let (writer, _, _) = net.open(1);
    let (reader, _, _) = net.open(1);
    net.request(writer, 1, set(1, 1));
    net.request(writer, 2, get(1));
    net.request(writer, -2, ClientRequest::Ping);
    net.request(writer, 3, set(1, 2));
    net.request(writer, 4, get(1));
    assert_eq!(net.node(1).peer.outstanding_requests(), 5);
    net.request(reader, 1, get(1));
    assert_eq!(answers(&net.take(reader)), [(1, "NoNode")], "at once, from the state as it is");
    net.pump();
    let said = net.take(writer);
    assert_eq!(answers(&said), [(1, "Done"), (2, "1"), (-2, "-"), (3, "Done"), (4, "2")]);
    assert_eq!(net.node(1).peer.outstanding_requests(), 0);
    let zxids: Vec<_> = said
        .iter()
        .filter_map(|said| if let Said::Reply { zxid, .. } = said { Some(*zxid) } else { None })
        .collect();
    assert!(zxids.is_sorted(), "S-7: {zxids:?}");
}

/// A write behind a sync is held back, or the read between them would see it.
#[test]
fn a_read_between_a_sync_and_a_write_does_not_see_the_write() {
    for server in [1, 3] {
        let mut net = World::new(3);
        let (client, _, _) = net.open(server);
        net.request(client, 1, set(1, 1));
        net.request(client, 2, sync());
        net.request(client, 3, sync());
        net.request(client, 4, get(1));
        net.request(client, 5, set(1, 2));
        net.request(client, 6, sync());
        net.request(client, 7, get(1));
        net.request(client, 8, ClientRequest::Close);
        net.pump();
        let said = net.take(client);
        let expected = [
            (1, "Done"),
            (2, "sync /"),
            (3, "sync /"),
            (4, "1"),
            (5, "Done"),
            (6, "sync /"),
            (7, "2"),
            (8, "-"),
        ];
        assert_eq!(answers(&said), expected, "server {server}");
    }
}

/// S-10: the event of a change comes before anything that shows it.
#[test]
fn a_watch_fires_before_the_data_shows() {
    let mut net = World::new(3);
    let (client, _, _) = net.open(1);
    net.request(client, 1, watch(1));
    net.request(client, 2, set(1, 1));
    net.request(client, 3, get(1));
    net.pump();
    let said = net.take(client);
    assert_eq!(answers(&said), [(1, "NoNode"), (2, "Done"), (3, "1")]);
    assert!(matches!(said.get(1), Some(Said::Event { .. })), "{said:?}");
}

/// S-8: nobody is told of a write before a quorum holds it.
#[test]
fn a_write_is_answered_when_it_is_committed() {
    let mut net = World::new(3);
    let (client, _, _) = net.open(3);
    net.hold(1, 3);
    net.hold(2, 3);
    net.request(client, 1, set(1, 1));
    net.request(client, 2, get(1));
    net.pump();
    assert_eq!(net.take(client), [], "it is on one disk");
    net.release(1, 3);
    net.pump();
    assert_eq!(answers(&net.take(client)), [(1, "Done"), (2, "1")]);
}

/// S-14: a leader that has been deposed without knowing it does not answer a sync.
#[test]
fn a_deposed_leader_lets_no_sync_through() {
    let mut net = World::new(3);
    let (old, session, password) = net.open(3);
    net.hold(1, 3);
    net.hold(2, 3);
    net.fire(1, Timer::Silence(ServerId(3)));
    net.fire(2, Timer::Silence(ServerId(3)));
    net.pump();
    net.finalize();
    assert_eq!(net.node(2).role, Some(protocol::Role::Leading));
    assert!(net.node(2).serving && net.node(3).serving, "two lead, and one of them does not know better");
    let (writer, _, _) = net.open(2);
    net.request(writer, 1, set(1, 1));
    net.pump();
    assert_eq!(answers(&net.take(writer)), [(1, "Done")]);
    net.request(old, 1, sync());
    net.request(old, 2, get(1));
    net.fire(3, Timer::Ping);
    net.pump();
    assert_eq!(net.take(old), [], "not through: the read behind it would miss a write that is done");
    net.request(old, 3, get(1));
    net.release(1, 3);
    net.release(2, 3);
    net.pump();
    net.finalize();
    assert_eq!(net.take(old), [Said::Closed]);
    let again = net.reopen(3, session, password);
    net.request(again, 4, get(1));
    assert_eq!(answers(&net.take(again)), [(4, "1")]);
}

/// One round of PINGs serves all syncs that wait for it.
#[test]
fn syncs_share_rounds() {
    let mut net = World::new(3);
    let (a, _, _) = net.open(1);
    let (b, _, _) = net.open(3);
    net.hold(2, 3);
    net.request(b, 1, sync());
    for xid in 2..10 {
        net.request(a, xid, sync());
        net.request(b, xid, sync());
    }
    net.pump();
    for client in [a, b] {
        let said = net.take(client);
        assert!(answers(&said).iter().all(|(_, answer)| *answer == "sync /"));
        assert_eq!(answers(&said).len(), if client == a { 8 } else { 9 });
    }
}

/// A follower's sync comes behind the commits that it has to show.
#[test]
fn a_sync_through_a_follower_shows_what_others_have_written() {
    let mut net = World::new(3);
    let (writer, _, _) = net.open(3);
    let (reader, _, _) = net.open(1);
    net.hold(1, 3);
    net.request(writer, 1, set(1, 1));
    net.pump();
    assert_eq!(answers(&net.take(writer)), [(1, "Done")]);
    net.request(reader, 1, get(1));
    net.request(reader, 2, sync());
    net.request(reader, 3, get(1));
    net.release(1, 3);
    net.pump();
    assert_eq!(answers(&net.take(reader)), [(1, "NoNode"), (2, "sync /"), (3, "1")]);
}

#[test]
fn preparation_sees_what_is_outstanding() {
    let mut net = World::new(3);
    let (a, _, _) = net.open(3);
    let (b, _, _) = net.open(1);
    net.request(a, 1, set(1, 1));
    net.request(a, 2, ClientRequest::Write(Write::Swap(1, 1, 2)));
    net.request(b, 1, ClientRequest::Write(Write::Swap(1, 1, 3)));
    net.pump();
    assert_eq!(answers(&net.take(a)), [(1, "Done"), (2, "Done")]);
    assert_eq!(answers(&net.take(b)), [(1, "BadVersion")], "judged where it stands in the order");
    assert_eq!(net.node(2).machine.cells[&1].value, 2);
}

#[test]
fn clients_come_back_after_a_change_of_leader_with_their_sessions() {
    let mut net = World::new(3);
    let (a, a_session, a_password) = net.open(1);
    let (b, _, _) = net.open(3);
    net.request(a, 1, own(1, 1));
    net.pump();
    net.take(a);
    // A write that only the leader has dies with it.
    net.hold(1, 3);
    net.hold(2, 3);
    net.request(b, 1, set(2, 2));
    net.pump();
    net.release(1, 3);
    net.release(2, 3);
    net.crash(3);
    net.pump();
    net.finalize();
    assert_eq!(net.leader(), 2);
    assert_eq!(net.take(a), [Said::Closed], "its server followed, and lost its leader");
    assert_eq!(net.take(b), [Said::Closed]);
    let again = net.reopen(2, a_session, a_password);
    net.request(again, 2, get(1));
    net.request(again, 3, get(2));
    assert_eq!(answers(&net.take(again)), [(2, "1"), (3, "NoNode")]);
    // A new reign starts every session with its whole timeout; b does not come back.
    let b_session = *net.node(2).machine.sessions.keys().find(|id| **id != a_session).expect("b's session");
    for _ in 0..5 {
        net.request(again, -2, ClientRequest::Ping);
        tick(&mut net);
        assert!(net.node(2).machine.sessions.contains_key(&b_session));
    }
    net.request(again, -2, ClientRequest::Ping);
    tick(&mut net);
    assert!(!net.node(2).machine.sessions.contains_key(&b_session));
    assert!(net.node(2).machine.sessions.contains_key(&a_session));
    // The old leader returns, cuts what nobody else has, and serves.
    net.start(3);
    net.pump();
    assert!(net.node(3).serving);
    assert_eq!(net.node(3).machine, net.node(2).machine);
    let there = net.reopen(3, a_session, a_password);
    net.request(there, 9, own(7, 7));
    net.pump();
    assert_eq!(answers(&net.take(there)), [(9, "Done")]);
    assert_eq!(net.node(1).machine, net.node(2).machine);
}

/// What a follower had asked when its link broke is nobody's any more: the client cannot know, and comes back.
#[test]
fn a_broken_link_closes_the_connections_of_the_follower_only() {
    let mut net = World::new(3);
    let (a, session, password) = net.open(1);
    let (b, _, _) = net.open(2);
    net.hold(1, 3);
    net.request(a, 1, set(1, 1));
    net.request(a, 2, sync());
    net.release(1, 3);
    net.cut(1, 3);
    net.request(b, 1, set(2, 2));
    net.pump();
    net.finalize();
    assert_eq!(net.take(a), [Said::Closed]);
    assert_eq!(answers(&net.take(b)), [(1, "Done")]);
    let again = net.reopen(1, session, password);
    net.request(again, 3, get(1));
    net.request(again, 4, sync());
    net.request(again, 5, get(2));
    net.pump();
    assert_eq!(answers(&net.take(again)), [(3, "NoNode"), (4, "sync /"), (5, "2")]);
}

#[test]
fn nobody_is_served_without_a_leader() {
    let mut net = World::new(3);
    net.crash(3);
    net.crash(2);
    net.pump();
    let client = net.connect(1, SessionId(0), [0; 16], 5000, Zxid::ZERO);
    assert_eq!(net.take(client), [Said::Closed]);
    assert_eq!(net.node(1).peer.connections(), 0);
}

#[test]
fn identities_add_up_and_a_refused_one_ends_the_connection() {
    let mut net = World::new(3);
    let (client, _, _) = net.open(1);
    net.request(client, 1, set(1, 1));
    net.request(client, -4, ClientRequest::Authenticate(Some(5)));
    net.request(client, -4, ClientRequest::Authenticate(Some(6)));
    net.request(client, -4, ClientRequest::Authenticate(Some(5)));
    net.request(client, 2, ClientRequest::Read(Read::Identities));
    net.request(client, -4, ClientRequest::Authenticate(None));
    net.request(client, 3, set(1, 2));
    net.pump();
    let said = net.take(client);
    let expected = [(1, "Done"), (-4, "-"), (-4, "-"), (-4, "-"), (2, "[5, 6]"), (-4, "AuthFailed")];
    assert_eq!(answers(&said), expected);
    assert_eq!(said.last(), Some(&Said::Closed));
    assert_eq!(net.node(3).machine.cells[&1].value, 1, "nothing is taken behind it");
}

#[test]
fn what_is_not_offered_is_refused_in_its_turn() {
    let mut net = World::new(3);
    let (client, _, _) = net.open(1);
    net.request(client, 1, set(1, 1));
    net.request(client, 2, ClientRequest::Refused { code: ErrorCode::MarshallingError, close: false });
    net.request(client, 3, ClientRequest::Refused { code: ErrorCode::Unimplemented, close: true });
    net.request(client, 4, get(1));
    net.pump();
    let said = net.take(client);
    assert_eq!(answers(&said), [(1, "Done"), (2, "MarshallingError"), (3, "Unimplemented")]);
    assert_eq!(said.last(), Some(&Said::Closed));
}

#[test]
fn requests_before_the_session_is_there_wait_for_it() {
    let mut net = World::new(3);
    let client = net.connect(1, SessionId(0), [0; 16], 5000, Zxid::ZERO);
    net.request(client, 1, get(1));
    net.request(client, 2, set(1, 1));
    net.request(client, 3, get(1));
    net.pump();
    let said = net.take(client);
    assert!(matches!(said.first(), Some(Said::Accepted { .. })), "{said:?}");
    assert_eq!(answers(&said), [(1, "NoNode"), (2, "Done"), (3, "1")]);
}

#[test]
fn a_packet_out_of_role_costs_the_link() {
    let mut net = World::new(3);
    let stray: [(u64, u64, Packet<Register>); 4] = [
        (1, 3, Packet::Sync),
        (1, 3, Packet::Ping { last: Zxid::ZERO, touched: Vec::new() }),
        (3, 1, Packet::Sync),
        (3, 2, Packet::Revalidated { session: SessionId(4), valid: true }),
    ];
    for (from, to, packet) in stray {
        net.notes.clear();
        net.step(ServerId(to), Input::Packet { from: ServerId(from), packet, time: 0 });
        let dropped = Note::Dropped { peer: ServerId(from), violation: Violation::BadState };
        assert!(net.notes.contains(&(ServerId(to), dropped)), "{:?}", net.notes);
        net.pump();
        net.finalize();
        assert_eq!(net.leader(), 3, "it comes back");
        assert!(net.nodes.values().all(|node| node.serving));
    }
    net.notes.clear();
    let packet = Packet::Sync;
    net.step(ServerId(1), Input::Packet { from: ServerId(2), packet, time: 0 });
    assert_eq!(net.notes, [(ServerId(1), Note::Stray { from: ServerId(2) })], "no link with that server");
}

/// Apache's leaders send PINGs behind NEWLEADER, and would take an answer ahead of the ACK for a breach.
#[test]
fn a_ping_is_not_answered_before_the_epoch_is_joined() {
    let mut net = World::new(3);
    net.crash(1);
    net.start(1);
    let mut pinged = 0;
    while let Some(choice) = net.deliverable().into_iter().next() {
        net.deliver_choice(choice);
        let zab = net.node(1).peer.zab();
        if pinged == 0 && zab.is_past_discovery() && zab.joined().is_none() {
            let packet = Packet::Ping { last: Zxid::ZERO, touched: Vec::new() };
            net.step(ServerId(1), Input::Packet { from: ServerId(3), packet, time: 0 });
            pinged += 1;
        }
    }
    assert!(pinged > 0 && net.node(1).serving);
    let dropped = net.notes.iter().any(|(_, note)| matches!(note, Note::Dropped { .. }));
    assert!(!dropped, "{:?}", net.notes);
}

#[test]
fn stray_inputs_leave_a_note() {
    let mut net = World::new(3);
    for timer in [Timer::Ping, Timer::Expiry, Timer::Resend, Timer::Establish] {
        net.notes.clear();
        net.step(ServerId(1), Input::Timer { timer, time: 0 });
        assert_eq!(net.notes, [(ServerId(1), Note::IdleTimer(timer))]);
    }
    let client = ClientId(99);
    net.notes.clear();
    net.step(ServerId(1), Input::ClientRequest { client, xid: 1, request: get(1), time: 0 });
    net.step(ServerId(1), Input::ClientClosed(client));
    assert_eq!(net.notes, [(ServerId(1), Note::UnknownClient { client }); 2]);
}
