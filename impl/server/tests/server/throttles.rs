//! What holds clients back: each throttle at work, and the same without it.

use std::{
    net::TcpStream,
    thread::ScopedJoinHandle,
    time::{Duration, Instant},
};

use crate::alone::{Client, PATIENCE, Server, create, wait_until};

/// THROTTLEDOP.
const THROTTLED: i32 = -127;

#[test]
fn a_burst_of_connections_is_cut() {
    let tokens = "connection_throttle_tokens=3\nconnection_throttle_fill_time=600000\n";
    let server = Server::start(tokens);
    let admitted: Vec<_> = (0..6).filter_map(|_| Client::connect(&server)).collect();
    assert_eq!(admitted.len(), 3);
    assert_eq!(
        (server.metric("connection_rejected"), server.metric("connection_request_count")),
        (Some(3), Some(3))
    );
    assert_eq!(server.metric("max_connection_token_deficit"), Some(3));
    assert_eq!(server.told("connection_drop_probability").as_deref(), Some("0.0"));

    let weighs = Server::start(&format!("{tokens}connection_throttle_weight_enabled=true\n"));
    let admitted = (0..6).filter_map(|_| Client::connect(&weighs)).count();
    assert_eq!(admitted, 3, "three times as many tokens, of which a new session takes three");

    let open = Server::start("");
    let admitted: Vec<_> = (0..6).filter_map(|_| Client::connect(&open)).collect();
    assert_eq!((admitted.len(), open.metric("connection_rejected")), (6, Some(0)));
    assert_eq!(open.metric("cnt_connection_token_deficit"), None, "there is no bucket");
}

#[test]
fn a_chance_turns_connections_away_that_there_are_tokens_for() {
    let server = Server::start(
        "connection_throttle_tokens=1\nconnection_throttle_fill_time=1\nconnection_throttle_fill_count=0\n\
         connection_throttle_freeze_time=0\nconnection_throttle_drop_increase=1\n",
    );
    assert!(Client::connect(&server).is_some());
    std::thread::sleep(Duration::from_millis(5));
    assert!(Client::connect(&server).is_none());
    assert_eq!(server.told("connection_drop_probability").as_deref(), Some("1.0"));
}

/// Asks for so many nodes at once. How many answers were good, and how many THROTTLEDOP; all come in their order.
fn burst(server: &Server, count: i32) -> (i32, i32) {
    let mut client = Client::connect(server).expect("it may");
    let all: Vec<_> = (1..=count).flat_map(|number| create(number, &format!("/n{number}"), b"")).collect();
    client.send(&all);
    let (mut made, mut throttled) = (Vec::new(), Vec::new());
    for number in 1..=count {
        match client.answer().expect("it answers") {
            (xid, 0) if xid == number => made.push(number),
            (xid, THROTTLED) if xid == number => throttled.push(number),
            other => panic!("{other:?} for {number}"),
        }
    }
    for number in made.iter().take(1).chain(made.last()) {
        assert!(client.exists(&format!("/n{number}")), "{number} was made");
    }
    for number in throttled.iter().take(1).chain(throttled.last()) {
        assert!(!client.exists(&format!("/n{number}")), "{number} was refused, and carried out");
    }
    let length = |numbers: &[i32]| i32::try_from(numbers.len()).expect("few");
    (length(&made), length(&throttled))
}

#[test]
fn what_waited_too_long_is_refused_in_its_turn() {
    let one_at_a_time = "request_throttle_max_requests=1\n";
    let server = Server::start(&format!("{one_at_a_time}throttled_op_wait_time=1\n"));
    let (made, throttled) = burst(&server, 1500);
    assert!(made > 0 && throttled > 0, "{made} were made, {throttled} refused");
    assert_eq!(server.metric("throttled_ops"), u64::try_from(throttled).ok());
    assert!(server.metric("request_throttle_wait_count") > Some(0));
    assert!(server.metric("max_request_throttle_queue_time_ms") >= Some(1));

    let patient = Server::start(one_at_a_time);
    assert_eq!(burst(&patient, 1500), (1500, 0));
    assert!(patient.metric("request_throttle_wait_count") > Some(0), "they waited");

    let open = Server::start("throttled_op_wait_time=1\n");
    assert_eq!(burst(&open, 1500), (1500, 0));
    assert_eq!(open.metric("request_throttle_wait_count"), Some(0));
}

#[test]
fn those_who_wait_have_their_turn() {
    let server = Server::start("request_throttle_max_requests=2\n");
    std::thread::scope(|scope| {
        let client = |name: usize| {
            let mut client = Client::connect(&server).expect("it may");
            let all: Vec<_> =
                (1..=200).flat_map(|xid| create(xid, &format!("/c{name}-{xid}"), b"")).collect();
            client.send(&all);
            (1..=200).all(|xid| client.answer() == Some((xid, 0)))
        };
        let clients: Vec<_> = (0..20).map(|name| scope.spawn(move || client(name))).collect();
        for client in clients {
            assert!(client.join().expect("no panic"), "an answer is wrong, or missing");
        }
    });
    assert_eq!(server.metric("outstanding_requests"), Some(0));
}

/// Of writes that are large only some are under way: a connection that has none goes on meanwhile, and all are carried out
/// in the end, also those of a client that has hung up.
#[test]
fn large_writes_wait_for_each_other_and_nobody_else_does() {
    let server = Server::start("");
    let data = vec![7; 900_000];
    let mut gone = Client::connect(&server).expect("it may");
    gone.send(&create(1, "/gone", &data));
    drop(gone);
    std::thread::scope(|scope| {
        let client = |name: usize| {
            let (mut client, data) = (Client::connect(&server).expect("it may"), &data);
            for xid in 1..=10 {
                client.send(&create(xid, &format!("/c{name}-{xid}"), data));
            }
            (1..=10).all(|xid| client.answer() == Some((xid, 0)))
        };
        let clients: Vec<_> = (0..20).map(|name| scope.spawn(move || client(name))).collect();
        let mut other = Client::connect(&server).expect("it may");
        let mut asked = 0;
        while asked == 0 || !clients.iter().all(ScopedJoinHandle::is_finished) {
            assert!(other.exists("/zookeeper"), "somebody else is answered");
            asked += 1;
        }
        for client in clients {
            assert!(client.join().expect("no panic"), "an answer is wrong, or missing");
        }
    });
    assert_eq!(server.metric("outstanding_requests"), Some(0));
    assert!(Client::connect(&server).expect("it may").exists("/c19-10"));
}

/// What is told of requests that were of no use any more: those that went on, and those that were dropped.
fn stale(server: &Server) -> (u64, u64) {
    let count = |name| server.metric(name).expect("it is told");
    (count("stale_requests"), count("stale_requests_dropped"))
}

/// A client hangs up whose request waits, if all goes well, behind many of another's. Whether it was carried out.
fn hang_up_while_waiting(server: &Server, round: i32) -> bool {
    let connect = || Client::connect(server).expect("it may");
    let (mut busy, mut gone) = (connect(), connect());
    let path = |name: &str| format!("/{name}{round}");
    let all: Vec<_> = (1..=1200).flat_map(|xid| create(xid, &path(&format!("b{xid}-")), b"")).collect();
    busy.send(&all);
    gone.send(&create(1, &path("gone"), b""));
    drop(gone);
    for _ in 1..=1200 {
        busy.answer().expect("it answers");
    }
    // What waited behind the others has its turn now, at the latest behind this.
    (0..3).any(|_| busy.exists(&path("gone")))
}

#[test]
fn what_nobody_waits_for_is_dropped() {
    let throttle = "request_throttle_max_requests=1\n";
    let drops = Server::start(throttle);
    let round = (0..300).find(|round| !hang_up_while_waiting(&drops, *round));
    assert!(round.is_some(), "each time it was too late to wait");
    assert_eq!(stale(&drops), (0, 1));

    let keeps = Server::start(&format!("{throttle}request_throttle_drop_stale=false\n"));
    let seen = (0..300).any(|round| {
        assert!(hang_up_while_waiting(&keeps, round), "it was dropped");
        stale(&keeps) == (1, 0)
    });
    assert!(seen, "each time it was too late to wait");

    let blind = Server::start(&format!("{throttle}request_stale_connection_check=false\n"));
    assert!((0..5).all(|round| hang_up_while_waiting(&blind, round)), "it was dropped");
    assert_eq!(stale(&blind), (0, 0));
}

#[test]
fn a_connection_that_never_speaks_is_closed_in_time() {
    let server = Server::start("nio.sessionlessCnxnTimeout=300\n");
    let expired = server.metric("sessionless_connections_expired");
    let mut session = Client::connect(&server).expect("it may");
    let mut silent = TcpStream::connect(server.client).expect("it listens");
    let connected = Instant::now();
    assert!(Client::is_closed_within(&mut silent, PATIENCE));
    assert!(connected.elapsed() >= Duration::from_millis(300), "after {:?}", connected.elapsed());
    assert_eq!((expired, server.metric("sessionless_connections_expired")), (Some(0), Some(1)));
    assert!(session.exists("/zookeeper"), "who has a session stays");

    let patient = Server::start("");
    let mut silent = TcpStream::connect(patient.client).expect("it listens");
    assert!(!Client::is_closed_within(&mut silent, Duration::from_millis(1500)), "ten seconds are allowed");
}

#[test]
fn large_requests_share_a_bound() {
    let bytes = [7; 6000];
    let server = Server::start("largeRequestThreshold=1000\nlargeRequestMaxBytes=5000\n");
    let mut client = Client::connect(&server).expect("it may");
    client.send(&create(1, "/one", &bytes[..4000]));
    assert_eq!(client.answer(), Some((1, 0)));
    client.send(&create(2, "/large", &bytes));
    assert_eq!(client.answer(), None, "it is hung up on");
    assert_eq!(server.metric("large_requests_rejected"), Some(1));

    let mut client = Client::connect(&server).expect("it may");
    let three =
        [create(1, "/a", &bytes[..2000]), create(2, "/b", &bytes[..2000]), create(3, "/c", &bytes[..2000])];
    client.send(&three.concat());
    while client.answer().is_some() {}
    wait_until("the third is refused", || server.metric("large_requests_rejected") == Some(2));
    let mut client = Client::connect(&server).expect("it may");
    client.send(&create(1, "/d", &bytes[..4000]));
    assert_eq!(client.answer(), Some((1, 0)), "what was under way is so no more");
    for small in 2..30 {
        client.send(&create(small, &format!("/small{small}"), &bytes[..500]));
    }
    for small in 2..30 {
        assert_eq!(client.answer(), Some((small, 0)), "small ones do not count");
    }

    let open = Server::start("largeRequestMaxBytes=5000\n");
    let mut client = Client::connect(&open).expect("it may");
    client.send(&create(1, "/large", &bytes));
    assert_eq!(client.answer(), Some((1, 0)), "nothing is large");
}

#[test]
fn a_leader_may_leave_clients_to_others() {
    let server = Server::start_leader("leaderServes=no\n");
    assert!(Client::connect(&server).is_none());
    assert!(server.word("srvr").expect("words are answered").contains("Mode: leader"));
    let server = Server::start_leader("");
    assert!(Client::connect(&server).is_some());
}

#[test]
fn a_leader_tells_how_long_its_transactions_take() {
    let server = Server::start_leader("");
    let mut client = Client::connect(&server).expect("it may");
    for number in 1..=20 {
        client.send(&create(number, &format!("/n{number}"), b""));
        assert_eq!(client.answer(), Some((number, 0)));
    }
    // The session is the first transaction.
    for name in ["commit_count", "proposal_count", "cnt_quorum_ack_latency", "cnt_propagation_latency"] {
        assert_eq!(server.metric(name), Some(21), "{name}");
    }
    assert_eq!(server.metric("sync_processor_request_queued"), Some(21));
    assert_eq!(server.metric("cnt_commit_propagation_latency"), Some(0), "it learns from nobody");
    assert_eq!(server.metric("cnt_leader_unavailable_time"), Some(1));

    let alone = Server::start("");
    let mut client = Client::connect(&alone).expect("it may");
    client.send(&create(1, "/n", b""));
    assert_eq!(client.answer(), Some((1, 0)));
    let counts = ["commit_count", "proposal_count", "cnt_quorum_ack_latency", "cnt_propagation_latency"]
        .map(|name| alone.metric(name));
    assert_eq!(counts, [Some(0), Some(0), Some(0), Some(2)], "there is nobody to ask");
}
