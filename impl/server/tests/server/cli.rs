//! `zabkeeper cli` against a server: what it prints, and how it ends.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, ChildStdin, Command, Output, Stdio},
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use crate::ports::free_port;
use serde_json::{Value, json};
use server::{Config, ExitCode, StartError};
use storage::RealDisk;
use tokio::sync::oneshot;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server in this process, alone.
struct Server {
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<ExitCode, StartError>>>,
}

impl Server {
    fn start(data: &Path, port: u16) -> Self {
        Self::with(data, port, "")
    }

    /// With more lines of zoo.cfg.
    fn with(data: &Path, port: u16, more: &str) -> Self {
        let text = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=500\npreAllocSize=64\n\
             admin.enableServer=false\nextendedTypesEnabled=true\n{more}",
            data.display()
        );
        let started = Instant::now();
        let mut server = Self::begin(&text, port);
        while !server.serves() {
            assert!(started.elapsed() < PATIENCE, "it does not serve");
            if let Some(ended) = server.thread.take_if(|thread| thread.is_finished()) {
                match ended.join() {
                    // A process that another test just starts has every socket of this one until it becomes a program.
                    Ok(Err(StartError::Port { source, .. })) if source.kind() == ErrorKind::AddrInUse => {
                        server = Self::begin(&text, port);
                    }
                    ended => panic!("it does not start: {ended:?}"),
                }
            }
            sleep(Duration::from_millis(10));
        }
        server
    }

    fn begin(text: &str, port: u16) -> Self {
        let config =
            Config::parse("zoo.cfg", text.into(), |path| std::fs::read_to_string(path)).expect("valid");
        let (stop, stopped) = oneshot::channel();
        let wait = async {
            let _ = stopped.await;
        };
        let thread = std::thread::spawn(move || server::run(config, RealDisk::new(false), None, wait));
        Self { port, stop: Some(stop), thread: Some(thread) }
    }

    fn serves(&self) -> bool {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let Ok(mut stream) = TcpStream::connect_timeout(&address, PATIENCE) else { return false };
        let mut text = String::new();
        stream.set_read_timeout(Some(PATIENCE)).is_ok()
            && stream.write_all(b"srvr").is_ok()
            && stream.read_to_string(&mut text).is_ok()
            && text.contains("Mode: standalone")
    }

    /// The client, at this server, with these arguments.
    fn command(&self, chroot: &str, arguments: &[&str]) -> Command {
        let mut command = client();
        command.args(["-server", &format!("127.0.0.1:{}{chroot}", self.port), "-timeout", "8000"]);
        command.args(arguments);
        command
    }

    /// Runs one command, which must end with this code; what it wrote to both outputs.
    fn run(&self, code: i32, arguments: &[&str]) -> (String, String) {
        ended(&mut self.command("", arguments), code)
    }

    /// Standard output of a command that succeeds.
    fn out(&self, arguments: &[&str]) -> String {
        let (out, _) = self.run(0, arguments);
        out
    }

    /// Gives these lines on standard input.
    fn lines(&self, code: i32, lines: &[&str]) -> (String, String) {
        let mut child = Conversation::start(&mut self.command("", &[]));
        for line in lines {
            child.say(line);
        }
        child.end(code)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn client() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zabkeeper"));
    command.arg("cli").env("TZ", "UTC").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ended(command: &mut Command, code: i32) -> (String, String) {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let (out, err) =
        (String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned());
    assert_eq!(status.code(), Some(code), "{command:?}: {out}{err}");
    (out, err)
}

/// A client that is spoken to line by line.
struct Conversation {
    child: Child,
    input: Option<ChildStdin>,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Conversation {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it runs");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines() {
                let Ok(line) = line else { return };
                let _ = sender.send(line);
            }
        });
        Self { child, input, lines }
    }

    fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it is open");
        writeln!(input, "{line}").expect("it reads");
    }

    /// Reads up to a line that contains this.
    fn hear(&self, wanted: &str) -> String {
        let began = Instant::now();
        let mut heard = Vec::new();
        while let Some(left) = PATIENCE.checked_sub(began.elapsed()) {
            let Ok(line) = self.lines.recv_timeout(left) else { break };
            if line.contains(wanted) {
                return line;
            }
            heard.push(line);
        }
        panic!("{wanted:?} does not come; what came: {heard:#?}")
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Closes its input, and waits for its end; what it wrote that was not heard.
    fn end(mut self, code: i32) -> (String, String) {
        drop(self.input.take());
        self.ended(code)
    }

    /// Waits for its end, with its input open.
    fn ended(mut self, code: i32) -> (String, String) {
        let mut err = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut err).expect("it is text");
        let status = self.child.wait().expect("it ends");
        let out: String = self.lines.iter().map(|line| line + "\n").collect();
        assert_eq!(status.code(), Some(code), "{out}{err}");
        (out, err)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn with_server(test: impl FnOnce(&Server)) {
    let data = tempfile::tempdir().expect("a folder");
    test(&Server::start(data.path(), free_port()));
}

#[test]
fn nodes_are_created_read_changed_and_deleted() {
    with_server(|server| {
        assert_eq!(server.run(0, &["create", "/a", "one"]), (String::new(), "Created /a\n".to_owned()));
        assert_eq!(server.out(&["get", "/a"]), "one\n");
        assert_eq!(server.out(&["set", "/a", "two words"]), "");
        let got = server.out(&["get", "-s", "/a"]);
        assert!(got.starts_with("two words\ncZxid = 0x"), "{got}");
        assert!(got.contains("\ndataVersion = 1\n") && got.contains("\ndataLength = 9\n"), "{got}");
        assert!(got.contains(" UTC 20"), "{got}");
        assert_eq!(server.out(&["get", "-b", "/a"]), "dHdvIHdvcmRz\n");
        assert!(server.out(&["get", "-x", "/a"]).contains("|00000000| 74 77 6f 20"));
        server.out(&["create", "/a/b"]);
        assert_eq!(server.out(&["get", "/a/b"]), "null\n");
        server.out(&["create", "-c", "/a/c", "x"]);
        server.out(&["create", "-t", "3600000", "/a/t", "x"]);
        assert_eq!(server.run(0, &["create", "-s", "/a/n-"]).1, "Created /a/n-0000000003\n");
        assert_eq!(server.out(&["ls", "/a"]), "[b, c, n-0000000003, t]\n");
        assert!(server.out(&["ls", "-s", "/a"]).contains("\nnumChildren = 4\n"));
        assert_eq!(server.out(&["ls", "-R", "/a"]), "/a\n/a/b\n/a/c\n/a/n-0000000003\n/a/t\n");
        assert_eq!(server.out(&["getAllChildrenNumber", "/a"]), "4\n");
        assert_eq!(server.out(&["sync", "/a"]), "Sync is OK\n");
        assert!(server.out(&["stat", "/a"]).starts_with("cZxid = 0x"));
        server.out(&["delete", "/a/b"]);
        server.out(&["deleteall", "-b", "2", "/a"]);
        assert_eq!(server.out(&["ls", "/"]), "[zookeeper]\n");
    });
}

#[test]
fn errors_have_zookeepers_words_a_next_step_and_a_code() {
    with_server(|server| {
        server.out(&["create", "/a", "x"]);
        server.out(&["create", "/a/b", "x"]);
        server.out(&["create", "/s", "x", "digest:user:Xg==:r"]);
        let rows: [(i32, &[&str], &str, &str); 14] = [
            (1, &["get", "/c"], "Node does not exist: /c\n", ""),
            (1, &["create", "/c/d"], "Node does not exist: /c/d\n", "its parent /c is missing"),
            (1, &["create", "/a"], "Node already exists: /a\n", ""),
            (1, &["delete", "/a"], "Node not empty: /a\n", "deleteall /a"),
            (1, &["set", "-v", "7", "/a", "x"], "version No is not valid : /a\n", "stat /a"),
            (1, &["removewatches", "/a"], "KeeperErrorCode = No such watcher for /a\n", ""),
            (1, &["deleteall", "/"], "/ holds /zookeeper", ""),
            (
                1,
                &["listquota", "/a"],
                "absolute path is /zookeeper/quota/a/zookeeper_limits\n",
                "does not exist",
            ),
            (1, &["create", "/s/b"], "Insufficient permission : /s/b\n", "`getAcl /s` who may"),
            (
                1,
                &["set", "/s", "x"],
                "Insufficient permission : /s\n",
                "`-auth digest:user:password` in front",
            ),
            (1, &["setAcl", "/a", "auth::r"], "Acl is not valid : /a\n", "addauth"),
            (2, &["get", "a"], "Path must start with / character", ""),
            (2, &["gte", "/a"], "Command not found: gte\n", "did you mean get?"),
            (2, &["ls", "-z", "/"], "Unrecognized option: -z\n", "usage: ls [-s] [-w] [-R] path"),
        ];
        for (code, arguments, message, advice) in rows {
            let (out, err) = server.run(code, arguments);
            assert!(out.is_empty(), "{arguments:?}: {out}");
            assert!(err.starts_with(message) && err.contains(advice), "{arguments:?}: {err}");
        }
    });
    let (out, err) = ended(client().args(["-server", &format!("127.0.0.1:{}", free_port()), "ls", "/"]), 1);
    assert!(out.is_empty(), "{out}");
    assert!(err.starts_with("KeeperErrorCode = ConnectionLoss for /\n") && err.contains("refused"), "{err}");
}

#[test]
fn a_subtree_that_may_not_be_deleted_is_no_success() {
    with_server(|server| {
        for path in ["/a", "/a/b", "/a/b/c"] {
            server.out(&["create", path]);
        }
        server.out(&["setAcl", "/a/b", "world:anyone:cr"]);
        let (out, err) = server.run(1, &["deleteall", "/a"]);
        assert!(out.is_empty(), "{out}");
        assert!(err.starts_with("Insufficient permission : /a/b/c\n"), "{err}");
        assert_eq!(server.out(&["ls", "-R", "/a"]), "/a\n/a/b\n/a/b/c\n");
    });
}

#[test]
fn a_result_that_finds_no_room_is_no_success() {
    with_server(|server| {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
        let (_, err) = ended(server.command("", &["ls", "/"]).stdout(full), 1);
        assert!(err.starts_with("cannot write the result"), "{err}");
    });
}

#[test]
fn a_first_server_is_waited_for_on_demand() {
    let (data, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let server = format!("127.0.0.1:{port}");
    let mut child = Conversation::start(client().args(["-server", &server, "-waitforconnection", "ls", "/"]));
    sleep(Duration::from_millis(300));
    assert!(child.child.try_wait().expect("its state").is_none(), "it waits");
    let server = Server::start(data.path(), port);
    let (out, err) = child.ended(0);
    assert!(out.ends_with("[zookeeper]\n"), "{out}{err}");
    drop(server);
}

#[test]
fn lists_of_access_identities_and_quotas_are_shown_and_set() {
    with_server(|server| {
        server.out(&["create", "/a", "x"]);
        assert_eq!(server.out(&["getAcl", "/a"]), "'world,'anyone\n: cdrwa\n");
        assert_eq!(server.out(&["whoami"]), "Auth scheme: User\nip: 127.0.0.1\n");
        let (out, err) = server.lines(
            0,
            &[
                "addauth digest ann:secret",
                "whoami",
                "setAcl -R /a auth::cdrwa",
                "getAcl -s /a",
                "getEphemerals",
            ],
        );
        assert!(out.contains("digest: ann\n") && out.contains("\n'digest,'ann:"), "{out}{err}");
        assert!(out.contains("\naclVersion = 1\n") && out.ends_with("\n[]\n"), "{out}");
        assert!(!out.contains("secret") && !err.contains("secret"), "{out}{err}");
        let (_, err) = server.run(1, &["get", "/a"]);
        assert!(err.starts_with("Insufficient permission : /a\n"), "{err}");

        server.out(&["create", "/q"]);
        server.out(&["create", "/q/b"]);
        assert_eq!(
            server.out(&["setquota", "-n", "1", "/q"]),
            "[Warning]: the count quota you create is less than the existing count:2\n"
        );
        server.out(&["setquota", "-B", "100", "/q"]);
        assert_eq!(
            server.out(&["listquota", "/q"]),
            "Output quota for /q count=1,bytes=-1=;byteHardLimit=100;countHardLimit=-1\n\
             Output stat for /q count=2,bytes=0\n"
        );
        assert!(
            server.run(1, &["setquota", "-n", "1", "/q/b"]).1.contains("has a parent /q which has a quota")
        );
        server.out(&["delquota", "-n", "/q"]);
        assert!(server.out(&["listquota", "/q"]).starts_with("Output quota for /q count=-1,"));
        server.out(&["delquota", "/q"]);
        assert_eq!(server.out(&["ls", "/zookeeper/quota"]), "[]\n");
    });
}

#[test]
fn lines_of_standard_input_are_commands() {
    with_server(|server| {
        let (out, err) = server.lines(
            2,
            &[
                "create -e /a 'two words'",
                "",
                "get -w /a",
                "set /a 2",
                "getEphemerals",
                "printwatches off",
                "get -w /a",
                "set /a 3",
                "redo 2",
                "history",
                "close",
                "ls /",
                "connect",
                "ls /",
                "frob",
            ],
        );
        let expected = [
            "two words\n",
            "\nWATCHER::\n\nWatchedEvent state:SyncConnected type:NodeDataChanged path:/a zxid: ",
            "\n[/a]\n",
            "\n2\n",
            "0 - create -e /a 'two words'\n",
            "7 - set /a 2\n8 - history\n",
            "[zookeeper]\n",
        ];
        for wanted in expected {
            assert!(out.contains(wanted), "{wanted:?} is not in {out}{err}");
        }
        assert_eq!(out.matches("NodeDataChanged").count(), 1, "the second is not printed: {out}");
        assert!(!out.contains("Disconnected"), "a session that is closed is not lost: {out}");
        assert!(
            err.contains("Created /a\n") && err.contains("Not connected") && err.contains("not found: frob"),
            "{err}"
        );
    });
}

#[test]
fn the_first_command_that_fails_is_the_last_one_on_demand() {
    with_server(|server| {
        let say = |options: &[&str], code: i32| {
            let mut child = Conversation::start(&mut server.command("", options));
            for line in ["create /a", "get /none", "create /b"] {
                child.say(line);
            }
            child.end(code).1
        };
        let err = say(&["--stop-on-error"], 1);
        assert!(err.contains("Created /a\nNode does not exist: /none\n") && !err.contains("/b"), "{err}");
        assert_eq!(server.out(&["ls", "/"]), "[a, zookeeper]\n");
        let err = say(&[], 0);
        assert!(err.contains("Node already exists: /a\n") && err.contains("Created /b\n"), "{err}");
    });
}

#[test]
fn watch_tails_events_until_it_is_interrupted() {
    with_server(|server| {
        server.out(&["create", "/a"]);
        for json in [false, true] {
            let more: &[&str] = if json { &["--json", "watch", "/a"] } else { &["watch", "/a"] };
            let tail = Conversation::start(&mut server.command("", more));
            // Before the watch is there nothing is told, so something happens until something is.
            let began = Instant::now();
            let first = loop {
                assert!(began.elapsed() < PATIENCE, "no event comes");
                server.out(&["set", "/a", "x"]);
                if let Ok(line) = tail.lines.recv_timeout(Duration::from_millis(200)) {
                    break line;
                }
            };
            server.out(&["create", "/a/b"]);
            server.out(&["delete", "/a/b"]);
            if json {
                let event: Value = serde_json::from_str(&first).expect("an object");
                assert_eq!((&event["type"], &event["path"]), (&json!("NodeDataChanged"), &json!("/a")));
                let event: Value = serde_json::from_str(&tail.hear("NodeCreated")).expect("an object");
                assert_eq!(event["path"], json!("/a/b"));
            } else {
                assert!(first.starts_with("NodeDataChanged     /a zxid 0x"), "{first}");
                assert!(tail.hear("NodeCreated").contains(" /a/b "));
            }
            assert!(tail.hear("NodeDeleted").contains("/a/b"));
            tail.signal("-INT");
            let (_, err) = tail.ended(130);
            assert_eq!(err, "", "being told to end is no error");
        }
    });
}

#[test]
fn an_interrupt_closes_the_session() {
    with_server(|server| {
        let mut child = Conversation::start(&mut server.command("", &[]));
        child.say("create -e /held");
        child.say("ls /");
        assert_eq!(child.hear("held"), "[held, zookeeper]");
        child.signal("-INT");
        child.ended(130);
        // Its timeout is eight seconds: what is gone by now was closed.
        assert_eq!(server.out(&["ls", "/"]), "[zookeeper]\n");
    });
}

#[test]
fn results_are_json_on_demand() {
    with_server(|server| {
        let one = |arguments: &[&str]| -> Value {
            let out = server.out(&[&["--json"], arguments].concat());
            serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error} in {out}"))
        };
        assert_eq!(one(&["create", "/a", "{}"]), json!({"created": "/a"}));
        let got = one(&["get", "-s", "/a"]);
        assert_eq!((&got["data"], &got["stat"]["version"]), (&json!("{}"), &json!(0)));
        assert_eq!(one(&["ls", "/"]), json!({"children": ["a", "zookeeper"]}));
        assert_eq!(one(&["getAcl", "/a"])["acl"][0]["perms"], json!("cdrwa"));
        let (_, err) = server.run(1, &["--json", "delete", "/b"]);
        let error: Value = serde_json::from_str(&err).expect("an object");
        assert_eq!((&error["error"], &error["path"]), (&json!("NoNode"), &json!("/b")));
        let (_, err) = server.run(2, &["--json", "frob"]);
        assert_eq!(serde_json::from_str::<Value>(&err).expect("an object")["error"], json!("Usage"));
    });
}

#[test]
fn below_a_chroot_paths_are_those_of_the_client() {
    with_server(|server| {
        server.out(&["create", "/app"]);
        let run = |arguments: &[&str]| ended(&mut server.command("/app", arguments), 0);
        assert_eq!(run(&["create", "/a", "x"]).1, "Created /a\n");
        assert_eq!(run(&["ls", "-R", "/"]).0, "/\n/a\n");
        assert_eq!(server.out(&["ls", "-R", "/app"]), "/app\n/app/a\n");
        let mut child = Conversation::start(&mut server.command("/app", &[]));
        child.say("create -e /e");
        child.say("getEphemerals");
        assert_eq!(child.hear("["), "[/e]");
        child.say("get -w /a");
        child.hear("x");
        server.out(&["set", "/app/a", "y"]);
        assert!(child.hear("NodeDataChanged").contains(" path:/a "));
        child.end(0);
        run(&["deleteall", "/"]);
        assert_eq!(server.out(&["ls", "/"]), "[zookeeper]\n", "the chroot is a node as any other");
        let (_, err) = ended(&mut server.command("/app", &["create", "/a"]), 1);
        assert_eq!(err, "Node does not exist: /a\n  the chroot /app is missing; `create /` makes it\n");
    });
}

#[test]
fn a_session_goes_on_when_its_server_comes_back() {
    let data = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let server = Server::start(data.path(), port);
    let mut child = Conversation::start(&mut server.command("", &[]));
    child.say("addauth digest ann:secret");
    child.say("create -e /mine x auth::cdrwa");
    child.say("stat -w /mine");
    let owner = child.hear("ephemeralOwner");
    child.say("addWatch /mine");
    child.say("getEphemerals");
    child.hear("[/mine]");
    drop(server);
    child.hear("state:Disconnected type:None");
    let server = Server::start(data.path(), port);
    child.hear("state:SyncConnected type:None");
    child.say("stat /mine");
    assert_eq!(child.hear("ephemeralOwner"), owner, "the same session");
    child.say("get /mine");
    assert_eq!(child.hear("x"), "x", "the credential was shown again");
    child.say("set /mine y");
    assert!(child.hear("NodeDataChanged").contains("path:/mine"), "the watch was left again");
    child.end(0);
    assert_eq!(server.out(&["ls", "/"]), "[zookeeper]\n", "the session was closed");
}

#[test]
fn who_names_a_jaas_file_proves_who_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let module = "org.apache.zookeeper.server.auth.DigestLoginModule required";
    let jaas = folder.path().join("jaas.conf");
    let text = format!(
        "Server {{ {module} user_bob=\"a \\\"secret\\\"\"; }};\n\
         Client {{ {module} username=bob password=\"a \\\"secret\\\"\"; }};\n\
         Wrong {{ {module} username=bob password=\"a secret\"; }};\n"
    );
    std::fs::write(&jaas, text).expect("it is written");
    let jaas = format!("java.security.auth.login.config={}", jaas.display());
    let provider = "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider";
    let data = folder.path().join("data");
    let server =
        Server::with(&data, free_port(), &format!("{jaas}\n{provider}\nsessionRequireClientSASLAuth=true\n"));
    let proving = format!("-D{jaas}");
    server.out(&[&proving, "create", "/a", "x", "sasl:bob:cdrwa"]);
    assert!(server.out(&[&proving, "whoami"]).contains("\nsasl: bob\n"));
    assert_eq!(server.out(&[&proving, "get", "/a"]), "x\n");
    let (_, told) = server.run(1, &[&proving, "-Dzookeeper.sasl.clientconfig=Wrong", "get", "/a"]);
    assert!(told.contains("AuthFailed") && told.contains("the server refuses it"), "{told}");
    let (_, told) = server.run(1, &[&proving, "-Dzookeeper.sasl.client=false", "get", "/a"]);
    assert!(told.contains("Session closed because client failed to authenticate"), "{told}");
    // A server that knows nobody has nothing to say.
    let server = Server::start(&folder.path().join("other"), free_port());
    let (_, told) = server.run(1, &[&proving, "ls", "/"]);
    assert!(told.contains("the server has no SASL"), "{told}");
}

#[test]
fn help_needs_no_server() {
    let (help, _) = ended(client().arg("--help"), 0);
    assert!(help.contains("zabkeeper cli -server zk1:2181,zk2:2181/app ls /"), "{help}");
    let (list, _) = ended(client().arg("help"), 0);
    assert!(list.contains("getAllChildrenNumber path"), "{list}");
    let (one, _) = ended(client().args(["help", "create"]), 0);
    assert!(one.starts_with("create [-s] [-e] [-c] [-t ttl] path [data] [acl]\n"), "{one}");
    let (version, _) = ended(client().arg("version"), 0);
    assert!(version.starts_with("ZooKeeper CLI version: 3.9.5-zabkeeper-"), "{version}");
    let (_, err) = ended(client().args(["--colour", "ls"]), 2);
    assert!(err.starts_with("--colour is no option\n"), "{err}");
}
