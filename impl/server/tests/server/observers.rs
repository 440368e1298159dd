//! What a leader tells of those that observe.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    alone::{Client, frame, request},
    ensemble::{PATIENCE, Server, ensemble},
};
use bytes::{BufMut as _, BytesMut};
use serde_json::{Value, json};
use spec::Zxid;
use tree::StatPersisted;
use wire::{
    peer::{QuorumPacket, kind, put_snap},
    snapshot,
};

/// What the admin server says to this command.
fn told(server: &Server, command: &str) -> Value {
    let answer = server.http(&format!("/commands/{command}"));
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    serde_json::from_str(body).expect("JSON")
}

/// The one observer as the leader tells of it, once that is so.
fn the_observer(leader: &Server, is_so: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let answer = told(leader, "observers");
        if is_so(&answer["observers"][0]) {
            assert_eq!(answer["synced_observers"], json!(1));
            assert_eq!(answer["observers"].as_array().map(Vec::len), Some(1));
            return answer["observers"][0].clone();
        }
        assert!(started.elapsed() < PATIENCE, "{answer}");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_observers_link_is_told_of_at_its_leader_and_counted_anew() {
    let mut servers = ensemble(1, 1, "standaloneEnabled=false\n");
    servers.iter_mut().for_each(Server::start);
    let (leader, observer) = (&servers[0], &servers[1]);
    leader.comes_to("rw");
    observer.comes_to("rw");
    // A session that is opened at the observer goes to the leader and comes back.
    let session = cli::run(&words(observer, &["create", "/a", "x"]));
    assert_eq!(session, 0);
    let count = |row: &Value, key: &str| row[key].as_u64().unwrap_or_default();
    let row = the_observer(leader, |row| count(row, "requests") >= 2 && count(row, "queued_packets") == 0);
    assert_eq!((&row["sid"], &row["queued_packets_size"]), (&json!(2), &json!(0)), "{row}");
    assert!(count(&row, "packets_received") > 2 && count(&row, "packets_sent") > 2, "{row}");
    assert!(
        row["remote_socket_address"].as_str().is_some_and(|from| from.starts_with("/127.0.0.1:")),
        "{row}"
    );
    let last = told(leader, "server_stats")["server_stats"]["last_processed_zxid"].clone();
    assert_eq!(row["last_zxid"], last, "{row}");
    assert!(count(&row, "established") > 1_700_000_000_000, "{row}");

    told(leader, "observer_connection_stat_reset");
    let row = the_observer(leader, |row| count(row, "requests") == 0);
    assert_eq!(row["last_zxid"], json!(-1), "{row}");
    assert_eq!(
        told(observer, "observers"),
        json!({
            "synced_observers": 0, "observers": [], "command": "observers", "error": null,
        })
    );
}

/// Asks for a session of 1 s, or for this one, in the words of the handshake; its number and password.
fn session(server: &Server, wanted: Option<&[u8]>) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(server.client).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    let mut hello = vec![0; 12];
    hello.extend(1000_i32.to_be_bytes());
    let anew = [&[0; 8][..], &16_i32.to_be_bytes(), &[0; 16]].concat();
    hello.extend(wanted.unwrap_or(&anew));
    hello.push(0);
    stream.write_all(&frame(&hello)).expect("it reads");
    let mut answer = [0; 41];
    stream.read_exact(&mut answer).expect("it answers");
    (stream, answer[12..40].to_vec())
}

#[test]
fn a_connection_that_its_session_has_left_is_closed() {
    let mut servers = ensemble(1, 1, "standaloneEnabled=false\nnio.sessionlessCnxnTimeout=300\n");
    servers.iter_mut().for_each(Server::start);
    for server in &servers {
        server.comes_to("rw");
    }
    let (mut left, proof) = session(&servers[1], None);
    let (mut stays, same) = session(&servers[0], Some(&proof));
    assert_eq!(same, proof);
    let began = Instant::now();
    while !Client::is_closed_within(&mut left, Duration::from_millis(100)) {
        assert!(began.elapsed() < PATIENCE, "it stays open");
        stays.write_all(&request(-2, 11, &[])).expect("it reads");
        stays.read_exact(&mut [0; 20]).expect("the session lives");
    }
    assert!(began.elapsed() >= Duration::from_millis(1200), "after {:?}", began.elapsed());
}

#[test]
fn a_state_that_nobody_asked_for_is_not_taken() {
    let mut servers = ensemble(1, 1, "standaloneEnabled=false\n");
    servers[0].start();
    let leader = &servers[0];
    leader.comes_to("rw");
    assert_eq!(cli::run(&words(leader, &["create", "/a", "x"])), 0);
    let mut stranger = TcpStream::connect_timeout(&leader.quorum, PATIENCE).expect("it listens");
    stranger.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut out = BytesMut::new();
    let mut info = BytesMut::new();
    info.put_u64(2);
    info.put_u32(0x1_0000);
    info.put_u64(0);
    let hello =
        QuorumPacket { kind: kind::OBSERVERINFO, zxid: 0, data: Some(info.freeze()), identities: None };
    hello.encode(&mut out);
    put_snap(Zxid(u64::MAX), &mut out);
    // No session and no list, a root without anything, and the end.
    snapshot::put_count(0, &mut out);
    snapshot::put_count(0, &mut out);
    snapshot::put_node(b"", None, -1, &StatPersisted::default(), &mut out);
    snapshot::put_end(&mut out);
    snapshot::put_signature(&mut out);
    stranger.write_all(&out).expect("there is room");
    let mut said = Vec::new();
    // LEADERINFO, and then it hangs up; what it has not read turns that into a reset.
    let _ = stranger.read_to_end(&mut said);
    let stat = told(leader, "server_stats")["server_stats"].clone();
    assert_eq!(stat["last_processed_zxid"].as_u64().map(|zxid| zxid >> 32), Some(1), "{stat}");
    assert_eq!(cli::run(&words(leader, &["get", "/a"])), 0, "the node is still there");
}

/// The words of a command at this server.
fn words(server: &Server, command: &[&str]) -> Vec<String> {
    let place = server.client.to_string();
    ["-server", &place].iter().chain(command).map(|word| (*word).to_owned()).collect()
}
