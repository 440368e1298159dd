//! Scenarios of roles: alone, a change of leader, broken links, packets and inputs out of place.
use crate::net::{Said, answers};
use crate::register::Register;
use crate::{World, get, own, set, sync, tick};
use protocol::peer::{ClientRequest, Input, Packet};
use protocol::{Note, Timer, Violation};
use spec::{ClientId, ServerId, SessionId, Zxid};

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
