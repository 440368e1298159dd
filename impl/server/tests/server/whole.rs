//! The admin server's commands that not everybody may give.

use std::time::Duration;

use crate::alone::{Client, SET_ACL, Server, create, frame, request};

/// Somebody; who that is does not count where everybody may do everything.
const SOMEBODY: &str = "Authorization: digest bob:secret";
/// The super user, by the digest of its password.
const SUPER: &str = "Authorization: digest super:admin";
const SUPER_DIGEST: &str = "DigestAuthenticationProvider.superDigest=super:xQJmxLMiHGwaqBvst5y6rkB6HQs=\n";
const ON: &str = "admin.snapshot.enabled=true\nadmin.rateLimiterIntervalInMS=0\n";

#[test]
fn the_whole_state_goes_out_and_comes_back() {
    let server = Server::start(ON);
    let mut client = Client::connect(&server).expect("it may");
    for number in 1..=300 {
        client.send(&create(number, &format!("/n{number}"), &[7; 2000]));
        assert_eq!(client.answer(), Some((number, 0)));
    }
    let (status, head, body) = server.http("GET /commands/snapshot", &[SOMEBODY], "");
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    assert!(head.contains("content-type: application/octet-stream"), "{head}");
    assert!(head.contains(&format!("snapshot_size: {}", body.len())), "{} of {head}", body.len());
    let last = head.split("last_zxid: 0x").nth(1).and_then(|rest| rest.lines().next()).expect("it is told");
    let written = std::fs::read(server.files().join(format!("snapshot.{last}"))).expect("it stands there");
    assert!(body == written && body.starts_with(b"ZKSN") && body.len() > 600_000);

    let other = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(other.path().join("version-2")).expect("it is empty");
    std::fs::write(other.path().join("version-2").join(format!("snapshot.{last}")), &body).expect("room");
    let other = Server::start_in(other, "");
    assert!(Client::connect(&other).expect("it may").exists("/n300"));

    let (status, head, body) = server.http("GET /commands/snap?streaming=false", &[SOMEBODY], "");
    assert!(status == 200 && head.contains("last_zxid: 0x") && head.contains("application/json"), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("\"command\": \"snapshot\""));
}

#[test]
fn who_has_proved_nothing_gets_nothing() {
    let server = Server::start(&format!("{ON}{SUPER_DIGEST}"));
    let snapshot = |headers: &[&str]| server.refusal("GET /commands/snapshot?streaming=false", headers);
    assert_eq!(snapshot(&[]), (401, "Auth info is missing for the command".to_owned()));
    for odd in
        ["Authorization: digest", "Authorization: x509 a", "Authorization: digest a b", "Authorization: "]
    {
        assert_eq!(snapshot(&[odd]), (401, "Not authenticated".to_owned()), "{odd}");
    }
    assert_eq!(snapshot(&["Authorization: ip"]).0, 200, "everybody may");
    let mut client = Client::connect(&server).expect("it may");
    // Everybody may read, and nothing else.
    let list = [&1_i32.to_be_bytes()[..], &1_i32.to_be_bytes(), &frame(b"world"), &frame(b"anyone")].concat();
    client.send(&request(1, SET_ACL, &[frame(b"/"), list, (-1_i32).to_be_bytes().to_vec()].concat()));
    assert_eq!(client.answer(), Some((1, 0)));
    for denied in [SOMEBODY, "Authorization: ip", "Authorization: digest super:guess"] {
        assert_eq!(snapshot(&[denied]), (403, "Not authorized".to_owned()), "{denied}");
    }
    assert_eq!(snapshot(&[SUPER]).0, 200);
    assert_eq!(server.metric("snapshot_error_count"), Some(0));
}

#[test]
fn it_is_off_unless_turned_on_and_not_given_twice_in_a_while() {
    let server = Server::start("");
    let (status, error) = server.refusal("GET /commands/snapshot", &[SOMEBODY]);
    assert!(status == 503 && error.contains("admin.snapshot.enabled=true"), "{status} {error}");
    let (status, error) = server.refusal("POST /commands/restore", &[SOMEBODY]);
    assert!(status == 503 && error.starts_with("restore is not offered"), "{status} {error}");
    assert_eq!(server.refusal("POST /commands/rest", &[]).0, 401);

    let server = Server::start("admin.snapshot.enabled=true\n");
    let (status, _, _) = server.http("GET /commands/snapshot", &[SOMEBODY], "");
    let (again, error) = server.refusal("GET /commands/snapshot", &[SOMEBODY]);
    assert_eq!((status, again), (200, 429), "{error}");
    assert_eq!(server.metric("snapshot_rate_limited_count"), Some(1));
}

#[test]
fn connections_are_shed_where_that_is_turned_on() {
    let server = Server::start("");
    let (status, error) = server.refusal("POST /commands/shed_connections", &[SOMEBODY]);
    assert!(status == 503 && error.contains("zabkeeper.shedConnections=true"), "{status} {error}");

    let server = Server::start("zabkeeper.shedConnections=true\n");
    let shed = |body: &str| server.http("POST /commands/shed", &[SOMEBODY], body);
    let mut clients: Vec<_> = (0..8).map(|_| Client::connect(&server).expect("it may")).collect();
    for wrong in ["", "50", "{}", "{\"percentage\": 101}", "{\"percentage\": -1}"] {
        assert_eq!(shed(wrong).0, 400, "{wrong:?}");
    }
    assert_eq!(server.refusal("POST /commands/shed_connections", &[]).0, 401);
    assert!(String::from_utf8_lossy(&shed("{\"percentage\": 0}").2).contains("\"connections_shed\": 0"));
    assert!(clients.iter_mut().all(|client| client.exists("/zookeeper")));
    assert!(String::from_utf8_lossy(&shed("{\"percentage\": 100}").2).contains("\"connections_shed\": 8"));
    let closed = |client: &mut Client| Client::is_closed_within(&mut client.0, Duration::from_secs(5));
    assert!(clients.iter_mut().all(closed));
}
