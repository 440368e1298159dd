//! What is set of the data folder, as a server carries it out.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::alone::{Client, Server, create, frame, free_port, request, wait_until};
use server::{Config, ExitCode, StartError};
use storage::RealDisk;

const ANYBODY: &str = "Authorization: ip";
const GIVES: &str = "admin.snapshot.enabled=true\nadmin.rateLimiterIntervalInMS=0\n";

fn names(folder: &Path, kind: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it is there").flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name.starts_with(kind));
    names.sort();
    names
}

/// Why a server does not start on this folder.
fn refused(data: &Path, more: &str) -> StartError {
    let text = format!(
        "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n{more}",
        data.display(),
        free_port()
    );
    let config = Config::parse("zoo.cfg", text, |_| unreachable!("it is alone")).expect("valid");
    server::run(config, RealDisk::new(false), None, std::future::pending()).expect_err("it starts")
}

#[test]
fn a_server_packs_its_snapshots_and_reads_any() {
    let mut data = tempfile::tempdir().expect("a folder");
    let mut count = 0;
    for (method, end, magic) in
        [("gz", ".gz", &b"\x1f\x8b"[..]), ("snappy", ".snappy", b"\x82SNAPPY\0"), ("", "", b"ZKSN")]
    {
        let server = Server::start_in(data, &format!("{GIVES}snapshot.compression.method={method}\n"));
        let mut client = Client::connect(&server).expect("a session");
        for _ in 0..50 {
            count += 1;
            client.send(&create(count, &format!("/n{count}"), &[7; 2000]));
            assert_eq!(client.answer(), Some((count, 0)));
        }
        let (status, head, body) = server.http("GET /commands/snapshot", &[ANYBODY], "");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let last =
            head.split("last_zxid: 0x").nth(1).and_then(|rest| rest.lines().next()).expect("it is told");
        let file = fs::read(server.files().join(format!("snapshot.{last}{end}"))).expect("it stands there");
        assert!(file == body && file.starts_with(magic), "{head}");
        assert!(head.contains(&format!("snapshot_size: {}", file.len())), "{head}");
        let told = String::from_utf8(server.http("GET /commands/last_snapshot", &[], "").2).expect("text");
        assert!(told.contains(&format!("\"zxid\": \"{last}\"")), "{told}");
        data = server.stop();
        // What comes next has to read this one: the log goes, and the mark, which would miss it.
        let folder = data.path().join("version-2");
        for name in ["log.", "snapshot.", "synced."].iter().flat_map(|kind| names(&folder, kind)) {
            if name != format!("snapshot.{last}{end}") {
                fs::remove_file(folder.join(name)).expect("it is there");
            }
        }
    }
    let server = Server::start_in(data, "");
    let mut client = Client::connect(&server).expect("a session");
    assert!((1..=count).all(|number| client.exists(&format!("/n{number}"))));
}

#[test]
fn a_log_without_snapshots_is_refused_unless_it_is_trusted() {
    let server = Server::start("");
    let mut client = Client::connect(&server).expect("a session");
    client.send(&create(1, "/kept", b""));
    assert_eq!(client.answer(), Some((1, 0)));
    drop(client);
    let data = server.stop();
    let folder = data.path().join("version-2");
    for name in names(&folder, "snapshot.") {
        fs::remove_file(folder.join(name)).expect("it is there");
    }
    let error = refused(data.path(), "");
    assert_eq!(error.exit_code(), ExitCode::DataDir);
    let text = error.to_string();
    assert!(
        text.contains(
            "there is no snapshot to start from; restore the snapshot, or set snapshot.trust.empty"
        )
    );
    let server = Server::start_in(data, "snapshot.trust.empty=true\n");
    assert!(Client::connect(&server).expect("a session").exists("/kept"));
    wait_until("there is one now", || names(&server.files(), "snapshot.") == ["snapshot.0"]);
    // From now on nothing has to be trusted.
    let server = Server::start_in(server.stop(), "");
    assert!(Client::connect(&server).expect("a session").exists("/kept"));
}

#[test]
fn an_empty_folder_is_refused_where_that_has_to_be_said() {
    let data = tempfile::tempdir().expect("a folder");
    let error = refused(data.path(), "db.autocreate=false\n");
    assert_eq!(error.exit_code(), ExitCode::DataDir);
    assert!(error.to_string().contains("put a file named initialize into dataDir if this server is new"));
    fs::write(data.path().join("initialize"), "").expect("room");
    let server = Server::start_in(data, "db.autocreate=false\n");
    wait_until("it is said once", || !server.files().join("../initialize").exists());
    drop(Server::start_in(server.stop(), "db.autocreate=false\n"));
}

#[test]
fn a_folder_that_is_missing_is_refused_where_none_is_to_be_made() {
    let data = tempfile::tempdir().expect("a folder");
    let error = refused(data.path(), "datadir.autocreate=false\n");
    assert_eq!(error.exit_code(), ExitCode::DataDir);
    let text = error.to_string();
    assert!(text.contains("version-2 is missing, and zookeeper.datadir.autocreate is false"), "{text}");
    assert!(!data.path().join("version-2").exists());
}

#[test]
fn a_folder_that_another_server_has_is_no_reason_to_give_up_for_good() {
    let server = Server::start("");
    let data = server.files();
    let error = refused(data.parent().expect("dataDir"), "");
    assert!(error.to_string().contains("in use by another server"), "{error}");
    assert_eq!(error.exit_code(), ExitCode::Unexpected);
}

#[test]
fn the_log_may_stand_in_the_folder_of_snapshots_by_another_name() {
    let (data, links) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let link = links.path().join("log");
    std::os::unix::fs::symlink(data.path(), &link).expect("a link");
    let server = Server::start_in(data, &format!("dataLogDir={}\n", link.display()));
    let mut client = Client::connect(&server).expect("a session");
    client.send(&create(1, "/kept", b""));
    assert_eq!(client.answer(), Some((1, 0)));
    drop(client);
    assert!(Client::connect(&Server::start_in(server.stop(), "")).expect("a session").exists("/kept"));
}

#[test]
fn what_proves_an_identity_is_recorded_and_no_password() {
    let server = Server::start("");
    let mut client = Client::connect(&server).expect("a session");
    let proof = [&0_i32.to_be_bytes()[..], &frame(b"digest"), &frame(b"ann:hidden-word")].concat();
    client.send(&request(-4, 100, &proof));
    assert_eq!(client.answer(), Some((-4, 0)));
    drop(client);
    let data = server.stop();
    let rings = fs::read_dir(data.path().join("recorder")).expect("it records").flatten();
    let recorded: Vec<u8> = rings.flat_map(|file| fs::read(file.path()).expect("it is there")).collect();
    let holds = |word: &[u8]| recorded.windows(word.len()).any(|window| window == word);
    assert!(holds(b"ann:") && !holds(b"hidden-word"), "{} bytes", recorded.len());
}

#[test]
fn the_audit_log_has_a_file_of_its_own() {
    let data = tempfile::tempdir().expect("a folder");
    let path = |name: &str| data.path().join(name);
    let config = format!(
        "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\npreAllocSize=64\n\
         audit.enable=true\nzabkeeper.auditFile={}\n",
        path("data").display(),
        free_port(),
        path("audit.log").display()
    );
    fs::write(path("zoo.cfg"), config).expect("room");
    let mut command = Command::new(env!("CARGO_BIN_EXE_zabkeeper"));
    command.args(["serve", "--while-stdin-is-open"]).env("RUST_LOG", "warn");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let lines = || fs::read_to_string(path("audit.log")).unwrap_or_default();

    let failing = ["-Dzookeeper.datadir.autocreate=false"];
    let output = command.args(failing).arg(path("zoo.cfg")).output().expect("it runs");
    assert_eq!(output.status.code(), Some(ExitCode::DataDir as i32));
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(
        said.contains("zookeeper.datadir.autocreate is false") && !said.contains("serverStart"),
        "{said}"
    );
    assert_eq!(lines().lines().count(), 1, "{}", lines());
    assert!(lines().contains(" ERROR user=") && lines().ends_with("operation=serverStart\tresult=failure\n"));

    let mut command = Command::new(env!("CARGO_BIN_EXE_zabkeeper"));
    command.args(["serve", "--while-stdin-is-open"]).arg(path("zoo.cfg")).env("RUST_LOG", "warn");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = command.spawn().expect("it runs");
    wait_until("it has started", || lines().contains("operation=serverStart\tresult=success"));
    drop(server.stdin.take());
    assert!(server.wait().expect("it ends").success());
    assert!(lines().ends_with("operation=serverStop\tresult=invoked\n"), "{}", lines());
    assert_eq!(lines().lines().count(), 3, "{}", lines());
}

#[test]
fn a_server_that_is_alone_needs_no_file() {
    let data = tempfile::tempdir().expect("a folder");
    let port = free_port().to_string();
    let mut server = Command::new(env!("CARGO_BIN_EXE_zabkeeper"))
        .args(["serve", "-Dzookeeper.admin.enableServer=false", "-Dzookeeper.4lw.commands.whitelist=conf"])
        .args(["--while-stdin-is-open", &port])
        .arg(data.path())
        .args(["500", "7"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary is there");
    let mut said = String::new();
    wait_until("it serves", || {
        said.clear();
        let asked = TcpStream::connect(format!("127.0.0.1:{port}")).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"conf")?;
            stream.read_to_string(&mut said)
        });
        asked.is_ok() && said.contains("tickTime=500")
    });
    drop(server.stdin.take());
    assert!(server.wait().expect("it ends").success());
    assert!(said.contains("maxClientCnxns=7") && said.contains(&format!("clientPort={port}")), "{said}");
    assert!(data.path().join("version-2").is_dir());
}
