//! What operators ask a server, over its sockets: four-letter words, admin commands, health, metrics.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use crate::alone::{CREATE, Client, PATIENCE, Server, create, frame, free_port, request, wait_until};
use serde_json::Value;
use server::{Config, ExitCode};
use socket2::{Domain, Socket, Type};
use storage::RealDisk;

/// The status, the head, and the body of what is answered to a request.
fn http(server: &Server, method: &str, path: &str) -> (u16, String, String) {
    let (status, head, body) = server.http(&format!("{method} {path}"), &[], "");
    (status, head, String::from_utf8(body).expect("text"))
}

fn command(server: &Server, name: &str) -> Value {
    let (status, head, body) = http(server, "GET", &format!("/commands/{name}"));
    assert_eq!(status, 200, "{name}: {body}");
    assert!(head.contains("content-type: application/json"), "{head}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{name}: {error} in {body}"))
}

/// Connects with a new session.
fn session(server: &Server) -> TcpStream {
    Client::connect(server).expect("it answers").0
}

/// Connects with a new session, and leaves a watch on `/zookeeper`.
fn watcher(server: &Server) -> TcpStream {
    let mut stream = session(server);
    let (_, error, _) = call(&mut stream, 7, 4, &[&10_i32.to_be_bytes()[..], b"/zookeeper\x01"].concat());
    assert_eq!(error, 0);
    stream
}

/// Asks for something; returns the xid, the error and the body of the answer.
fn call(stream: &mut TcpStream, xid: i32, operation: i32, body: &[u8]) -> (i32, i32, Vec<u8>) {
    stream.write_all(&request(xid, operation, body)).expect("it reads");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("it answers");
    let mut reply = vec![0; usize::try_from(u32::from_be_bytes(length)).expect("short")];
    stream.read_exact(&mut reply).expect("it answers");
    let int = |at: usize| i32::from_be_bytes(reply[at..at + 4].try_into().expect("four bytes"));
    (int(0), int(12), reply[16..].to_vec())
}

fn is_closed(stream: &mut TcpStream) -> bool {
    stream.read(&mut [0]).is_ok_and(|count| count == 0)
}

#[test]
fn every_word_is_answered() {
    let server = Server::start("");
    let _client = watcher(&server);
    let expected = [
        ("ruok", "imok"),
        ("isro", "rw"),
        ("gtmk", "306"),
        ("srvr", "Zookeeper version: 3.9.5-zabkeeper-"),
        ("envi", "Environment:\nzookeeper.version=3.9.5-zabkeeper-"),
        ("conf", "clientPort="),
        ("dirs", "datadir_size: "),
        ("mntr", "zk_version\t3.9.5-zabkeeper-"),
        ("wchs", "1 connections watching 1 paths\nTotal watches:1\n"),
        ("wchp", "/zookeeper\n\t0x"),
        ("crst", "Connection stats reset.\n"),
        ("srst", "Server stats reset.\n"),
    ];
    for (word, start) in expected {
        let answer = server.word(word).expect("it answers");
        assert!(answer.starts_with(start), "{word}: {answer}");
    }
    assert_eq!(server.metric("non_mtls_local_conn_count"), Some(0), "nobody could have come inside TLS");
    let by_session = server.word("wchc").expect("it answers");
    assert!(by_session.starts_with("0x") && by_session.ends_with("\n\t/zookeeper\n\n"), "{by_session}");
    let dump = server.word("dump").expect("it answers");
    assert!(dump.starts_with("SessionTracker dump:\nSession Sets (1)/(1):\n1 expire at "), "{dump}");
    assert!(
        dump.contains(" UTC 20") && dump.contains("\nephemeral nodes dump:\nSessions with Ephemerals (0):\n")
    );
    assert_eq!(server.word("nono").as_deref(), Some(""), "what is no word ends the connection");
    assert_eq!(server.word("hash").as_deref(), Some(""), "nothing is written yet");
    assert_eq!(server.word("stmk\0\0\0\0\0\0\0\x07").as_deref(), Some("7"));
    assert_eq!(server.word("gtmk").as_deref(), Some("7"));
}

#[test]
fn a_connection_is_told_with_its_last_operation() {
    let server = Server::start("");
    let _client = watcher(&server);
    let line = server.word("cons").expect("it answers");
    for part in ["[1](queued=0,recved=2,sent=2,sid=0x", ",lop=GETD,est=1", ",to=5000,lcxid=0x7,lzxid=0x"] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(line.contains("[0](queued=0,recved=0,sent=0)"), "of who asks nothing more is read: {line}");
    let connections = command(&server, "connections");
    let row =
        connections["connections"].as_array().and_then(|rows| rows.iter().find(|row| row["session_id"] != 0));
    let row = row.expect("the session's connection");
    assert_eq!((&row["last_operation"], &row["last_cxid"]), (&"GETD".into(), &7.into()));
    let waits = TcpStream::connect(server.client).expect("it listens");
    let row = |find: &dyn Fn(&Value) -> bool| {
        let told = command(&server, "connections");
        told["connections"].as_array().and_then(|rows| rows.iter().find(|row| find(row)).cloned())
    };
    wait_until("it is listed", || row(&|row| row["session_id"] == 0).is_some());
    let fresh = row(&|row| row["session_id"] == 0).expect("it is listed");
    assert_eq!(
        (&fresh["last_operation"], &fresh["last_cxid"], &fresh["last_zxid"]),
        (&Value::Null, &0.into(), &0.into())
    );
    drop(waits);
    let mut proved = session(&server);
    let zxid = command(&server, "server_stats")["server_stats"]["last_processed_zxid"].clone();
    let made = row(&|row| row["last_operation"] == "SESS").expect("the new session");
    assert_eq!((&made["last_cxid"], &made["last_zxid"]), (&0.into(), &zxid));
    let credential = [&0_i32.to_be_bytes()[..], b"\0\0\0\x06digest\0\0\0\x03a:b"].concat();
    assert_eq!(call(&mut proved, -4, 100, &credential).1, 0);
    let line = server.word("cons").expect("it answers");
    assert!(
        line.contains(",lop=SESS,") && !line.contains(",lop=NA,"),
        "who proves itself asks nothing: {line}"
    );
    drop(proved);
    server.word("crst");
    let line = server.word("cons").expect("it answers");
    assert!(line.contains("(queued=0,recved=0,sent=0,sid=0x") && line.contains(",lop=NA,"), "{line}");
}

#[test]
fn every_command_of_the_page_is_answered() {
    let server = Server::start("");
    let _client = watcher(&server);
    let (status, head, page) = http(&server, "GET", "/commands");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/html"), "{head}");
    let names: Vec<_> = page.lines().filter_map(|line| line.split('"').nth(1)).collect();
    assert_eq!(names.len(), 28, "{page}");
    for name in names {
        let name = name.strip_prefix("/commands/").expect("a link to a command");
        if ["snapshot", "restore"].contains(&name) {
            // They answer with a whole state, or take one, where that is turned on.
            continue;
        }
        let answer = command(&server, name);
        assert_eq!(answer["command"], name);
        let alone = ["leader", "set_trace_mask"].contains(&name);
        assert_eq!(answer["error"].is_null(), !alone, "{answer}");
    }
    let aliases = [("conf", "configuration", "client_port"), ("srvr", "server_stats", "node_count")];
    for (alias, name, key) in aliases {
        let answer = command(&server, alias);
        assert_eq!(answer["command"], name);
        assert!(answer[key].is_number(), "{answer}");
    }
    for key in ["auth_failed_count", "non_mtlslocal_conn_count", "non_mtlsremote_conn_count"] {
        assert!(command(&server, "stats")["server_stats"][key].is_number(), "{key}");
    }
    assert_eq!(command(&server, "stmk?traceMask=12")["tracemask"], 12);
    assert_eq!(command(&server, "monitor")["znode_count"], 5);
    assert_eq!(command(&server, "wchs")["num_total_watches"], 1);
    assert_eq!(command(&server, "no_such")["error"], "Unknown command: no_such");
    assert_eq!(command(&server, "no%5Fsuch%20one")["error"], "Unknown command: no_such one");
    assert_eq!(command(&server, "%73tat")["command"], "stats");
    let (status, _, body) = http(&server, "POST", "/commands/no_such");
    assert!(status == 200 && body.contains("\"error\": \"Unknown command: no_such\""), "{status} {body}");
    assert_eq!(http(&server, "POST", "/commands/ruok").0, 405, "it is there, and not posted");
}

#[test]
fn health_and_metrics_have_paths_of_their_own() {
    let server = Server::start("");
    assert_eq!(http(&server, "GET", "/livez").0, 200);
    let (status, _, body) = http(&server, "GET", "/readyz");
    assert_eq!((status, body.as_str()), (200, "ok: standalone\n"));
    let (status, head, body) = http(&server, "GET", "/metrics");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("\nznode_count 5\n") && body.contains("\ndbinittime_count 1\n"), "{body}");
    assert!(body.contains("\nlooking_count 0\n") && body.contains("\nelection_time_count 0\n"), "{body}");
    for query in ["name[]=znode_count&name[]=no_such", "x=y&name%5B%5D=znode%5Fcount"] {
        let (status, _, only) = http(&server, "GET", &format!("/metrics?{query}"));
        let expected = "# HELP znode_count znode_count\n# TYPE znode_count gauge\nznode_count 5\n";
        assert_eq!((status, only.as_str()), (200, expected), "{query}");
    }
    let value = |name: &str| {
        let line = body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("no {name} in {body}"))
    };
    let now = std::time::UNIX_EPOCH.elapsed().expect("a time").as_secs_f64();
    assert!((0.0..3600.0).contains(&(now - value("process_start_time_seconds"))));
    assert!(value("process_cpu_seconds_total") >= 0.0 && value("process_open_fds") > 3.0);
    assert!(value("process_max_fds") >= value("process_open_fds"));
    assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
    assert_eq!(http(&server, "GET", "/").0, 404);
    assert_eq!(http(&server, "DELETE", "/commands/ruok").0, 405);
    for (method, path) in
        [("GET", "/commands/snapshot"), ("POST", "/commands/restore"), ("GET", "/commands/rest")]
    {
        assert_eq!(http(&server, method, path).0, 401, "{path}");
    }
}

#[test]
fn a_connection_that_says_nothing_goes() {
    let server = Server::start("admin.idleTimeout=100");
    let mut silent = TcpStream::connect(server.admin).expect("it listens");
    silent.set_read_timeout(Some(PATIENCE)).expect("an option");
    silent.write_all(b"GET /livez HT").expect("it reads");
    let mut rest = Vec::new();
    let ended = silent.read_to_end(&mut rest);
    assert!(ended.is_ok_and(|_| !rest.starts_with(b"HTTP/1.1 200")), "it waits for more");
}

#[test]
fn a_server_that_is_alone_wants_its_admin_port() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("it is bound").port();
    let data = tempfile::tempdir().expect("a folder");
    let text = format!(
        "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\nadmin.serverAddress=127.0.0.1\nadmin.serverPort={port}\n",
        data.path().display(),
        free_port()
    );
    let config = Config::parse("zoo.cfg", text, |_| unreachable!("it is alone")).expect("valid");
    let error = server::run(config, RealDisk::new(false), None, async {}).expect_err("the port is taken");
    assert_eq!(error.exit_code(), ExitCode::AdminPort);
    assert!(error.to_string().starts_with(&format!("cannot listen on admin port {port}")), "{error}");
}

#[test]
fn a_word_outside_of_the_whitelist_says_so() {
    let server = Server::start("4lw.commands.whitelist=ruok\n");
    let refused = |word: &str| format!("{word} is not executed because it is not in the whitelist.\n");
    for word in ["stat", "mntr", "stmk"] {
        assert_eq!(server.word(word), Some(refused(word)));
    }
    assert_eq!(server.word("ruok").as_deref(), Some("imok"));
}

/// Connects to the admin server from this address of this machine.
fn connect_from(server: &Server, address: [u8; 4]) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((address, 0)).into()).expect("every 127.x.y.z is this machine");
    socket.connect(&server.admin.into()).expect("it listens");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream
}

#[test]
fn those_who_do_not_ask_leave_room_for_others() {
    let server = Server::start("");
    let mut other = connect_from(&server, [127, 0, 0, 9]);
    other.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n").expect("it reads");
    let crowd: Vec<_> = (0..70).map(|_| connect_from(&server, [127, 0, 0, 1])).collect();
    assert_eq!(http(&server, "GET", "/livez").0, 200, "of their own address");
    let _ = other.write_all(b"\r\n");
    let mut answer = [0; 12];
    other.read_exact(&mut answer).expect("those of another address do not drive it out");
    assert_eq!(&answer, b"HTTP/1.1 200");
    let crowds = (11..16).flat_map(|host| (0..16).map(move |_| [127, 0, 0, host]));
    let crowds: Vec<_> = crowds.map(|address| connect_from(&server, address)).collect();
    assert_eq!(http(&server, "GET", "/livez").0, 200, "when all places are taken");
    drop((crowd, crowds));
}

#[test]
fn a_request_is_not_waited_for_as_long_as_its_answer() {
    let server = Server::start("");
    let mut silent = TcpStream::connect(server.admin).expect("it listens");
    silent.write_all(b"GET /livez HT").expect("it reads");
    // A third of admin.idleTimeout.
    assert!(Client::is_closed_within(&mut silent, Duration::from_secs(10)));
}

#[test]
fn a_connection_has_one_answer() {
    let server = Server::start("");
    let twice = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2);
    let answers = Server::ask(server.admin, twice.as_bytes()).expect("it answers and ends");
    let answers = String::from_utf8(answers).expect("text");
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 1, "{answers}");
}

#[test]
fn a_server_of_an_ensemble_does_without_its_admin_port() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("it is bound").port();
    let data = tempfile::tempdir().expect("a folder");
    let text = format!(
        "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\nadmin.serverAddress=127.0.0.1\nadmin.serverPort={port}\n\
         initLimit=5\nsyncLimit=5\nstandaloneEnabled=false\nserver.1=127.0.0.1:{}:{}\n",
        data.path().display(),
        free_port(),
        free_port(),
        free_port()
    );
    let config = Config::parse("zoo.cfg", text, |_| Ok("1".to_owned())).expect("valid");
    let code = server::run(config, RealDisk::new(false), None, async {}).expect("it starts");
    assert_eq!(code, ExitCode::Finished);
}

const SASL: i32 = 102;

#[test]
fn a_client_of_sasl_is_challenged_and_refused_without_the_password() {
    let server = Server::start("");
    let mut client = session(&server);
    assert_eq!(
        call(&mut client, 1, SASL, &frame(b"")),
        (1, 0, vec![255; 4]),
        "no users, nothing to talk about"
    );

    let folder = tempfile::tempdir().expect("a folder");
    let jaas = folder.path().join("jaas.conf");
    let text = "Server { org.apache.zookeeper.server.auth.DigestLoginModule required user_bob=\"secret\"; };";
    std::fs::write(&jaas, text).expect("it is written");
    let server = Server::start(&format!("java.security.auth.login.config={}", jaas.display()));
    let mut client = session(&server);
    let (_, error, challenge) = call(&mut client, 1, SASL, &frame(b""));
    let challenge = String::from_utf8_lossy(&challenge[4..]).into_owned();
    assert_eq!(error, 0);
    assert!(challenge.starts_with("realm=\"zk-sasl-md5\",nonce=\""), "{challenge}");
    let nonce = challenge.split('"').nth(3).expect("it has a nonce");
    let answer = format!(
        "username=\"bob\",realm=\"zk-sasl-md5\",nonce=\"{nonce}\",nc=00000001,cnonce=\"c\",\
         digest-uri=\"zookeeper/zk-sasl-md5\",response={},qop=auth,charset=utf-8",
        "0".repeat(32)
    );
    let (_, error, _) = call(&mut client, 2, SASL, &frame(answer.as_bytes()));
    assert_eq!(error, -115);
    assert!(is_closed(&mut client));
}

#[test]
fn who_has_not_proved_what_is_demanded_is_told_and_hung_up_on() {
    let server = Server::start("enforce.auth.enabled=true\nenforce.auth.schemes=digest");
    let read = [&frame(b"/zookeeper")[..], b"\0"].concat();
    let mut client = session(&server);
    assert_eq!(call(&mut client, 1, 4, &read).1, -124);
    assert!(is_closed(&mut client));
    let mut client = session(&server);
    let proof = [&0_i32.to_be_bytes()[..], &frame(b"digest"), &frame(b"ann:secret")].concat();
    assert_eq!(call(&mut client, -4, 100, &proof).1, 0);
    assert_eq!(call(&mut client, 1, 4, &read).1, 0);
}

#[test]
fn passwords_are_not_told_whether_they_count_or_not() {
    let secrets = "#ssl.keyStore.password=oldSecret\n! DigestAuthenticationProvider.superDigest: super:oldSecret\n\
        DigestAuthenticationProvider.superDigest=super:oldSecret\n";
    let server = Server::start(secrets);
    let told = command(&server, "initial_configuration")["initial_configuration"].to_string();
    assert!(!told.contains("oldSecret"), "{told}");
    assert!(told.contains("#ssl.keyStore.password=***"), "{told}");
}

#[test]
fn quotas_are_summed_by_the_name_that_they_stand_below() {
    const TOGETHER: i32 = 500;
    let server = Server::start("");
    let mut client = Client::connect(&server).expect("it may");
    let figures = |at: i32| format!("f{at}=1,");
    let limits = (0..140).map(figures).collect::<String>() + "count=2,bytes=-1";
    let part = |path: &str, data: &str| {
        let request = create(0, path, data.as_bytes());
        [&CREATE.to_be_bytes()[..], &[0], &(-1_i32).to_be_bytes(), &request[12..]].concat()
    };
    let end = [&(-1_i32).to_be_bytes()[..], &[1], &(-1_i32).to_be_bytes()].concat();
    client.send(&create(1, "/zookeeper/quota/a", b""));
    assert_eq!(client.answer(), Some((1, 0)));
    for xid in 2..18 {
        let subjects = (0..TOGETHER).map(|at| format!("/zookeeper/quota/a/{}", xid * TOGETHER + at));
        let parts = subjects
            .flat_map(|at| part(&at, "").into_iter().chain(part(&format!("{at}/zookeeper_limits"), &limits)));
        client.send(&request(xid, 14, &parts.chain(end.iter().copied()).collect::<Vec<_>>()));
        assert_eq!(client.answer(), Some((xid, 0)));
    }
    let text = http(&server, "GET", "/metrics").2;
    assert!(text.contains("quota_count_limit_per_namespace{key=\"a\"} 16000\n"), "{text}");
}
