//! Scenarios of requests: the order of answers, events, commits, sync.
use crate::net::{Choice, Said, Wire, answers};
use crate::register::{Read, Register, Write};
use crate::{World, get, set, sync, watch};
use protocol::peer::{ClientRequest, Input, Packet};
use protocol::{Message, Timer};
use spec::{ErrorCode, ServerId, SessionId, Zxid};

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
fn who_looks_for_another_ensemble_is_hung_up_on_in_its_turn() {
    let mut net = World::new(3);
    let (client, _, _) = net.open(1);
    net.request(client, 1, set(1, 1));
    net.request(client, -4, ClientRequest::Authenticate(Some(254)));
    net.request(client, 2, set(1, 2));
    net.pump();
    let said = net.take(client);
    assert_eq!(answers(&said), [(1, "Done")]);
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

/// Steps of a mechanism are answered in their turn, and what they prove counts at once.
#[test]
fn a_step_of_a_mechanism_is_answered_in_its_turn() {
    let mut net = World::new(3);
    let (client, _, _) = net.open(1);
    net.request(client, 1, set(1, 1));
    net.request(client, 2, ClientRequest::Exchange { answer: Some(vec![7]), proves: Vec::new() });
    net.request(client, 3, ClientRequest::Exchange { answer: None, proves: vec![5] });
    net.pump();
    let expected = [(1, "Done"), (2, "exchange Some([7])"), (3, "exchange None")];
    assert_eq!(answers(&net.take(client)), expected);
}

/// Where an operator demands an identity, a connection without it may do nothing but prove it.
#[test]
fn a_connection_that_may_not_ask_is_told_and_hung_up_on() {
    for request in [get(1), set(1, 2), sync(), ClientRequest::Ping, ClientRequest::Close] {
        let mut net = World::new(3);
        let (client, _, _) = net.open(3);
        // The register lets nobody ask who has proved this.
        net.request(client, 1, ClientRequest::Exchange { answer: None, proves: vec![u8::MAX] });
        net.request(client, 2, request);
        net.pump();
        let said = net.take(client);
        assert_eq!(answers(&said), [(1, "exchange None"), (2, "SessionClosedRequireAuth")]);
        assert_eq!(said.last(), Some(&Said::Closed));
    }
}

/// A server without our extensions matches what it is told with the oldest of its requests alone, so its SYNC has its
/// place among the commits, also where one step decides several: a voter that joins has acknowledged them before (rule
/// C-16).
#[test]
fn the_sync_of_a_plain_server_comes_between_the_commits_of_one_step() {
    let mut net = World::down(3, 0, 100, u32::MAX - 1);
    let (plain, quick, leader) = (ServerId(1), ServerId(2), ServerId(3));
    net.plain.insert(plain);
    for id in 1..=3 {
        net.start(id);
    }
    net.pump();
    let (elsewhere, _, _) = net.open(3);
    let (syncs, _, _) = net.open(1);
    let (writes, _, _) = net.open(1);
    net.crash(2);
    net.hold(1, 3);
    let last = net.node(3).peer.zab().committed();
    net.request(elsewhere, 1, set(1, 1));
    net.request(syncs, 1, sync());
    net.request(writes, 1, set(2, 2));
    net.deliver_choice(Choice::Link(plain, leader));
    net.deliver_choice(Choice::Link(plain, leader));
    net.pump();

    net.step(leader, Input::Accepted(quick));
    let epoch = last.epoch();
    let ack = |counter| Message::Ack { zxid: Zxid::new(epoch, counter) };
    let joining = [
        Message::FollowerInfo { accepted: epoch, extended: true },
        Message::AckEpoch { current: Some(epoch), last, floor: Zxid::ZERO },
        ack(last.counter() + 1),
        ack(last.counter() + 2),
        ack(0),
    ];
    for message in joining {
        net.step(leader, Input::Packet { from: quick, packet: Packet::Zab(message), time: 0 });
    }
    let told: Vec<_> = net.links[&(leader, plain)].iter().map(kind).collect();
    assert_eq!(told, ["proposal", "proposal", "commit", "sync", "commit"]);
    net.release(1, 3);
    net.pump();
    assert_eq!(answers(&net.take(syncs)), [(1, "sync /")]);
    assert_eq!(answers(&net.take(writes)), [(1, "Done")]);
}

fn kind(wire: &Wire<Register>) -> &'static str {
    match wire {
        Wire::Packet(Packet::Zab(Message::Proposal { .. })) => "proposal",
        Wire::Packet(Packet::Zab(Message::Commit { .. })) => "commit",
        Wire::Packet(Packet::Sync) => "sync",
        Wire::Packet(_) | Wire::Snapshot(..) => "something else",
    }
}
