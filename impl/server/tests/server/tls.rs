//! Clients and servers inside TLS, over real sockets. The stores are those of the crate `tls`.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use crate::ports::free_port;
use bytes::Bytes;
use protocol::peer::ClientRequest;
use server::{Config, ExitCode, StartError};
use spec::{SessionId, Zxid};
use storage::RealDisk;
use tls::{
    Context, Secret, Settings, StoreFile,
    rustls::{ClientConnection, StreamOwned},
};
use tokio::sync::oneshot;
use tree::{Acl, CreateRequest, Read as Question, Text, Tree, Write as Change};
use wire::{
    Decoder,
    client::{ConnectRequest, Reply, Response, opcode, put_request},
    record::frame,
};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);
const ONE: &str = "CN=client one,OU=Clients,O=Zabkeeper tests,C=DE";

fn stores() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tls/tests/stores")
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A server in this process.
struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<ExitCode, StartError>>>,
}

impl Server {
    fn start(data: &Path, more: &str) -> Self {
        let text = format!(
            "dataDir={}\ntickTime=500\npreAllocSize=64\nadmin.enableServer=false\n4lw.commands.whitelist=*\n{more}",
            data.display()
        );
        let config = Config::parse("zoo.cfg", text, |path| fs::read_to_string(path)).expect("valid");
        let (stop, stopped) = oneshot::channel();
        let wait = async {
            let _ = stopped.await;
        };
        let thread = std::thread::spawn(move || server::run(config, RealDisk::new(false), None, wait));
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(std::thread::panicking() || matches!(ended, Ok(Ok(ExitCode::Finished))), "{ended:?}");
        }
    }
}

/// Asks until there is an answer as it should be.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(20));
    }
}

fn store(name: &str) -> StoreFile {
    StoreFile {
        path: stores().join(name),
        password: Secret("secret-of-tests".to_owned()),
        password_path: None,
    }
}

/// The lines that give a server its stores.
fn of_stores(prefix: &str, own: &str, trust: &str) -> String {
    let dir = stores();
    let dir = dir.display();
    format!(
        "{prefix}keyStore.location={dir}/{own}\n{prefix}keyStore.passwordPath={dir}/password.txt\n\
         {prefix}trustStore.location={dir}/{trust}\n{prefix}trustStore.password=secret-of-tests\n"
    )
}

type Wire = StreamOwned<ClientConnection, TcpStream>;

/// Dials inside TLS, with these stores.
fn dial(port: u16, own: &str) -> std::io::Result<Wire> {
    let settings = Settings {
        key_store: (!own.is_empty()).then(|| store(own)),
        trust_store: Some(store("trust.pem")),
        ..Settings::default()
    };
    let config = Context::load(&settings).expect("good stores").client.expect("it trusts somebody");
    let name = tls::name_of("localhost").expect("a name");
    let connection = ClientConnection::new(config, name).expect("a good configuration");
    let stream = TcpStream::connect_timeout(&local(port), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(StreamOwned::new(connection, stream))
}

/// What comes as answer to a word.
fn word(mut stream: impl Read + Write, word: &str) -> std::io::Result<String> {
    stream.write_all(word.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn serves(port: u16, own: &str) {
    until("it serves inside TLS", || {
        dial(port, own).and_then(|wire| word(wire, "srvr")).ok().filter(|text| text.contains("Mode: "))
    });
}

/// A session, over any stream.
struct Session<S> {
    stream: S,
    input: Vec<u8>,
    xid: i32,
}

impl<S: Read + Write> Session<S> {
    fn open(mut stream: S) -> std::io::Result<Self> {
        let mut bytes = Vec::new();
        let hello = ConnectRequest {
            protocol_version: 0,
            last_seen: Zxid(0),
            timeout_ms: 10_000,
            session: SessionId(0),
            password: [0; 16],
            read_only: Some(false),
        };
        hello.encode(&mut bytes);
        stream.write_all(&bytes)?;
        let mut session = Self { stream, input: Vec::new(), xid: 0 };
        session.payload()?;
        Ok(session)
    }

    fn payload(&mut self) -> std::io::Result<Vec<u8>> {
        loop {
            if let Some(payload) = frame(&self.input, 64 << 20).expect("a frame") {
                let payload = payload.to_vec();
                self.input.drain(..4 + payload.len());
                return Ok(payload);
            }
            let mut chunk = vec![0; 64 << 10];
            match self.stream.read(&mut chunk)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => self.input.extend_from_slice(&chunk[..count]),
            }
        }
    }

    /// The error code of the answer, and what else it says.
    fn ask(&mut self, operation: i32, request: &ClientRequest<Tree>) -> (i32, Option<Response>) {
        self.xid += 1;
        let mut bytes = Vec::new();
        put_request(self.xid, request, &mut bytes).expect("it has a place on the wire");
        self.stream.write_all(&bytes).expect("it takes the request");
        let payload = self.payload().expect("it answers");
        let reply = Reply::decode(Decoder::stream(&payload)).expect("an answer");
        let response = (reply.error == 0).then(|| reply.response(operation).expect("as it should be"));
        (reply.error, response)
    }

    fn create(&mut self, path: &str, data: Vec<u8>, acl: Acl) -> i32 {
        let create = Change::Create {
            path: Text::from(path),
            data: Some(Bytes::from(data)),
            acl: vec![acl],
            flags: 0,
            request: CreateRequest::Create,
        };
        self.ask(opcode::CREATE, &ClientRequest::Write(create)).0
    }

    fn who_am_i(&mut self) -> Vec<(String, String)> {
        match self.ask(opcode::WHO_AM_I, &ClientRequest::Read(Question::WhoAmI)) {
            (0, Some(Response::Identities(identities))) => identities
                .iter()
                .map(|one| (one.scheme.as_str().to_owned(), one.id.as_str().to_owned()))
                .collect(),
            other => panic!("{other:?}"),
        }
    }
}

fn acl(scheme: &str, id: &str) -> Acl {
    Acl { perms: 31, scheme: Text::from(scheme), id: Text::from(id) }
}

#[test]
fn a_certificate_says_who_a_client_is() {
    let (data, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let more = format!(
        "secureClientPort={port}\nsecureClientPortAddress=127.0.0.1\n\
         X509AuthenticationProvider.superUser=CN=alone\n{}",
        of_stores("ssl.", "server-keytool.p12", "trust.jks")
    );
    let _server = Server::start(data.path(), &more);
    serves(port, "client.pem");
    let mut one = Session::open(dial(port, "client.p12").expect("it is there")).expect("a session");
    let who = one.who_am_i();
    assert!(who.contains(&("x509".to_owned(), ONE.to_owned())), "{who:?}");
    assert_eq!(one.create("/auth", vec![1], acl("auth", "")), 0);
    let read = ClientRequest::Read(Question::GetAcl { path: Text::from("/auth") });
    match one.ask(opcode::GET_ACL, &read) {
        (0, Some(Response::Acl(list, _))) => assert_eq!(list, [acl("x509", ONE)]),
        other => panic!("{other:?}"),
    }
    assert_eq!(one.create("/named", vec![], acl("x509", "CN=client one")), 0, "a name of somebody else");
    assert_eq!(one.create("/wrong", vec![], acl("x509", "no name")), -114);
    let get = |path: &str| ClientRequest::Read(Question::GetData { path: Text::from(path), watch: false });
    assert_eq!(one.ask(opcode::GET_DATA, &get("/named")).0, -102);
    // Who may do everything, by name; and somebody else, who may not.
    let mut top = Session::open(dial(port, "alone.pem").expect("it is there")).expect("a session");
    assert_eq!(top.ask(opcode::GET_DATA, &get("/named")).0, 0);
    let mut own = Session::open(dial(port, "own.p12").expect("it is there")).expect("a session");
    assert_eq!(own.ask(opcode::GET_DATA, &get("/auth")).0, -102);
}

#[test]
fn answers_are_whole_however_large_they_are() {
    let (data, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let more = format!("secureClientPort={port}\n{}", of_stores("ssl.", "server.pem", "trust.pem"));
    let _server = Server::start(data.path(), &more);
    serves(port, "client.pem");
    let mut one = Session::open(dial(port, "client.pem").expect("it is there")).expect("a session");
    let large: Vec<u8> = (0..1_000_000_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
    assert_eq!(one.create("/large", large.clone(), acl("world", "anyone")), 0);
    let get = ClientRequest::<Tree>::Read(Question::GetData { path: Text::from("/large"), watch: false });
    // Many are asked for before the first answer is read: more than the socket takes at once.
    let mut bytes = Vec::new();
    for xid in 100..130 {
        put_request(xid, &get, &mut bytes).expect("it has a place on the wire");
    }
    one.stream.write_all(&bytes).expect("it takes the requests");
    sleep(Duration::from_millis(200));
    for xid in 100..130 {
        let payload = one.payload().expect("it answers");
        let reply = Reply::decode(Decoder::stream(&payload)).expect("an answer");
        assert_eq!((reply.xid, reply.error), (xid, 0));
        match reply.response(opcode::GET_DATA) {
            Ok(Response::Data(Some(found), _)) => assert!(found == large, "answer {xid}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn whoever_shows_no_good_certificate_is_not_let_in_and_holds_nobody_up() {
    let (data, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let more = format!(
        "secureClientPort={port}\nmaxClientCnxns=20\n{}",
        of_stores("ssl.", "server.pem", "trust.pem")
    );
    let _server = Server::start(data.path(), &more);
    serves(port, "client.pem");
    for own in ["", "stranger.pem"] {
        let refused = dial(port, own).and_then(Session::open);
        assert!(refused.is_err(), "{own:?} is let in");
    }
    // What is no TLS, and what never ends.
    for noise in [&b"srvr"[..], &[0x16, 3, 1, 0xff, 0xff], &[0; 100], &[0x16, 3, 3, 0, 4, 1, 0, 0, 0]] {
        let mut stream = TcpStream::connect_timeout(&local(port), PATIENCE).expect("it listens");
        stream.write_all(noise).expect("it takes bytes");
        stream.shutdown(std::net::Shutdown::Write).expect("it is open");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        let mut answer = Vec::new();
        // An alert, or nothing; never an answer.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 16, "{answer:?}");
    }
    // Those who say nothing count as connections of their address; some places are left.
    let silent: Vec<_> =
        (0..15).map(|_| TcpStream::connect_timeout(&local(port), PATIENCE).expect("it listens")).collect();
    assert!(dial(port, "client.pem").and_then(Session::open).is_ok());
    let more: Vec<_> =
        (0..5).map(|_| TcpStream::connect_timeout(&local(port), PATIENCE).expect("it listens")).collect();
    until("there is no place left", || {
        dial(port, "client.pem").and_then(Session::open).is_err().then_some(())
    });
    drop((silent, more));
    until("there is a place again", || dial(port, "client.pem").and_then(Session::open).ok());
}

#[test]
fn one_port_takes_plain_clients_and_those_inside_tls() {
    let (data, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let more = format!(
        "clientPort={port}\nclient.portUnification=true\nssl.clientAuth=want\n{}",
        of_stores("ssl.", "server.jks", "trust.p12")
    );
    let _server = Server::start(data.path(), &more);
    serves(port, "");
    let plain = || TcpStream::connect_timeout(&local(port), PATIENCE).expect("it listens");
    assert!(word(plain(), "ruok").expect("an answer") == "imok");
    assert!(word(dial(port, "client.jks").expect("it is there"), "ruok").expect("an answer") == "imok");
    let has_name = |who: &[(String, String)]| who.iter().any(|(scheme, _)| scheme == "x509");
    assert!(!has_name(&Session::open(plain()).expect("a session").who_am_i()));
    assert!(!has_name(&Session::open(dial(port, "").expect("it is there")).expect("a session").who_am_i()));
    let mut one = Session::open(dial(port, "client.jks").expect("it is there")).expect("a session");
    assert!(has_name(&one.who_am_i()));
    assert!(dial(port, "stranger.pem").and_then(Session::open).is_err(), "a wrong one is worse than none");
    let told = word(plain(), "mntr").expect("an answer");
    let came_plain = told.lines().find_map(|line| line.strip_prefix("zk_non_mtls_local_conn_count\t"));
    assert_eq!(came_plain, Some("3"), "a word, a session, and who asks");
}

#[test]
fn stores_are_read_anew_when_they_change_and_the_old_ones_hold_when_they_cannot_be() {
    let (data, port) = (tempfile::tempdir().expect("a folder"), free_port());
    let (own, trust) = (data.path().join("own.pem"), data.path().join("trust.pem"));
    // Written beside it and moved: the file is never half there.
    let put = |bytes: &[u8], to: &Path| {
        let beside = to.with_extension("new");
        fs::write(&beside, bytes).expect("it can be written");
        fs::rename(beside, to).expect("it can be moved");
    };
    let read = |name: &str| fs::read(stores().join(name)).expect(name);
    put(&read("server.pem"), &own);
    put(&read("ca.pem"), &trust);
    let more = format!(
        "secureClientPort={port}\nssl.keyStore.location={}\nssl.trustStore.location={}\n",
        own.display(),
        trust.display()
    );
    let _server = Server::start(data.path(), &more);
    serves(port, "client.pem");
    let is_let_in = |name: &str| dial(port, name).and_then(Session::open).is_ok();
    assert!(!is_let_in("alone.pem"));
    put(&read("trust.pem"), &trust);
    until("it is trusted now", || is_let_in("alone.pem").then_some(()));
    put(b"no store at all", &trust);
    put(&read("elsewhere.pem"), &own);
    sleep(Duration::from_secs(4));
    assert!(is_let_in("alone.pem"), "the old ones hold");
    put(&read("ca.pem"), &trust);
    until("the other certificate is shown", || {
        let shown = dial(port, "client.pem").and_then(Session::open);
        shown.is_err_and(|error| error.to_string().contains("not valid for name")).then_some(())
    });
}

#[test]
fn what_cannot_be_had_ends_the_start_with_what_to_do() {
    let data = tempfile::tempdir().expect("a folder");
    let stores_of = |own: &str, trust: &str| of_stores("ssl.", own, trust);
    let good = stores_of("server.pem", "trust.pem");
    let rows = [
        ("secureClientPort=1\n".to_owned(), "needs a key store"),
        ("clientPort=1\nadmin.forceHttps=true\n".to_owned(), "admin.portUnification needs a key store"),
        (format!("secureClientPort=1\n{}", stores_of("weak.pem", "trust.pem")), "signed with SHA-1"),
        (
            format!("secureClientPort=1\n{}", stores_of("server.pem", "server.jks")),
            "no certificate in it that is trusted",
        ),
        (format!("secureClientPort=1\n{good}ssl.protocol=TLSv1.1\n"), "TLSv1.1"),
        (format!("secureClientPort=1\n{good}ssl.enabledProtocols=TLSv1.2,TLSv1\n"), "\"TLSv1\""),
        (format!("secureClientPort=1\n{good}ssl.crl=true\n"), "ssl.crl is not possible"),
        (format!("secureClientPort=1\n{good}ssl.clientAuth=perhaps\n"), "none, want or need"),
        (
            format!("secureClientPort=1\n{good}ssl.ciphersuites=TLS_RSA_WITH_AES_128_CBC_SHA\n"),
            "TLS_RSA_WITH_AES_128_CBC_SHA, which is not spoken here",
        ),
        (format!("secureClientPort=1\n{good}ssl.keyStore.type=BCFKS\n"), "BCFKS"),
        (format!("clientPort=1\nsecureClientPortAddress=x\n{good}"), "needs a secureClientPort"),
    ];
    for (more, expected) in rows {
        let text = format!("dataDir={}\n{more}", data.path().display());
        let error = Config::parse("zoo.cfg", text, |path| fs::read_to_string(path)).expect_err(expected);
        let server::config::ConfigError::Invalid { problems, .. } = error else { panic!("{error:?}") };
        let told: Vec<_> = problems.iter().map(server::config::Problem::summary).collect();
        let told = told.join("; ");
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

#[test]
fn the_command_line_speaks_tls_by_zkclis_properties() {
    let (data, port, other) = (tempfile::tempdir().expect("a folder"), free_port(), free_port());
    let start = |name: &str, port: u16, own: &str| {
        let dir = data.path().join(name);
        fs::create_dir(&dir).expect("a folder");
        Server::start(&dir, &format!("secureClientPort={port}\n{}", of_stores("ssl.", own, "trust.pem")))
    };
    let _server = start("one", port, "server.pem");
    let _other = start("other", other, "elsewhere.pem");
    serves(port, "client.pem");
    let properties = data.path().join("client.cfg");
    let text = of_stores("zookeeper.ssl.", "client.p12", "trust.jks");
    fs::write(&properties, format!("# for zkCli.sh\nzookeeper.client.secure=true\n{text}")).expect("a file");
    let ask = |port: u16, more: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_zabkeeper"))
            .args(["cli", "-timeout", "5000", "-server", &format!("localhost:{port}")])
            .arg("-client-configuration")
            .arg(&properties)
            .args(more)
            .env_remove("CLIENT_JVMFLAGS")
            .env_remove("JVMFLAGS")
            .output()
            .expect("it runs");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (output.status.code(), text.concat())
    };
    let (code, text) = ask(port, &["whoami"]);
    assert!(code == Some(0) && text.contains(&format!("x509: {ONE}")), "{code:?}: {text}");
    let large = "x".repeat(100_000);
    let (code, text) = ask(port, &["create", "/large", &large]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = ask(port, &["get", "/large"]);
    assert!(code == Some(0) && text.trim() == large, "{code:?}: {} bytes", text.len());
    // A server whose certificate is another host's, which may be let pass.
    let (code, text) = ask(other, &["whoami"]);
    assert!(code == Some(1) && text.contains("not valid for name"), "{code:?}: {text}");
    let (code, text) = ask(other, &["-Dzookeeper.ssl.hostnameVerification=false", "whoami"]);
    assert!(code == Some(0) && text.contains(ONE), "{code:?}: {text}");
    // Plain, where TLS is spoken.
    let (code, text) = ask(port, &["-Dzookeeper.client.secure=false", "whoami"]);
    assert_eq!(code, Some(1), "{text}");
}

/// Three servers that speak TLS with each other.
fn ensemble(dir: &Path, each: impl Fn(usize) -> String) -> (Vec<Server>, Vec<u16>) {
    let ports: Vec<_> = (0..3).map(|_| [free_port(), free_port(), free_port()]).collect();
    let line =
        |(at, ports): (usize, &[u16; 3])| format!("server.{}=127.0.0.1:{}:{}\n", at + 1, ports[1], ports[2]);
    let list = ports.iter().enumerate().map(line).collect::<Vec<_>>().concat();
    let servers = (0..3).map(|at| {
        let data = dir.join(at.to_string());
        fs::create_dir_all(&data).expect("a folder");
        fs::write(data.join("myid"), (at + 1).to_string()).expect("a file");
        let more = format!("clientPort={}\ninitLimit=20\nsyncLimit=10\n{list}{}", ports[at][0], each(at));
        Server::start(&data, &more)
    });
    (servers.collect(), ports.iter().map(|[client, ..]| *client).collect())
}

fn mode(port: u16) -> Option<String> {
    let stream = TcpStream::connect_timeout(&local(port), PATIENCE).ok()?;
    let text = word(stream, "srvr").ok()?;
    text.lines().find_map(|line| line.strip_prefix("Mode: ").map(str::to_owned))
}

fn writes(ports: &[u16], path: &str) {
    for (at, port) in ports.iter().enumerate() {
        let stream = TcpStream::connect_timeout(&local(*port), PATIENCE).expect("it listens");
        let mut session = Session::open(stream).expect("a session");
        let data = vec![7; 200_000];
        assert_eq!(session.create(&format!("{path}-{at}"), data, acl("world", "anyone")), 0);
    }
}

#[test]
fn servers_speak_tls_with_each_other_and_with_nobody_else() {
    let dir = tempfile::tempdir().expect("a folder");
    let (servers, ports) = ensemble(dir.path(), |at| {
        let own = ["server.pem", "server-keytool.p12", "server.jks"][at];
        format!("sslQuorum=true\n{}", of_stores("ssl.quorum.", own, "trust.pem"))
    });
    for port in &ports {
        until("it serves", || mode(*port));
    }
    writes(&ports, "/within");
    drop(servers);
    // The third one has nothing that the others trust: it stays outside, and the two go on.
    let dir = tempfile::tempdir().expect("a folder");
    let (_servers, ports) = ensemble(dir.path(), |at| {
        let own = ["server.pem", "server.pem", "stranger.pem"][at];
        format!("sslQuorum=true\n{}", of_stores("ssl.quorum.", own, "trust.pem"))
    });
    for port in &ports[..2] {
        until("it serves", || mode(*port));
    }
    writes(&ports[..2], "/without");
    sleep(Duration::from_secs(1));
    assert_eq!(mode(ports[2]), None, "the third one is let in");
}

#[test]
fn servers_move_to_tls_one_after_the_other() {
    let dir = tempfile::tempdir().expect("a folder");
    // One dials plain and takes both, one dials inside TLS and takes both, and one has done so for longer.
    let (_servers, ports) = ensemble(dir.path(), |at| {
        let dials = if at == 0 { "false" } else { "true" };
        format!(
            "portUnification=true\nsslQuorum={dials}\n{}",
            of_stores("ssl.quorum.", "server.pem", "trust.pem")
        )
    });
    for port in &ports {
        until("it serves", || mode(*port));
    }
    writes(&ports, "/mixed");
}

/// What comes as answer to a request over HTTP: its head, and the rest.
fn http(mut stream: impl Read + Write, path: &str) -> std::io::Result<(String, Vec<u8>)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: ip\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
    let rest = answer.split_off(end + 4);
    Ok((String::from_utf8_lossy(&answer).to_ascii_lowercase(), rest))
}

fn plain(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&local(port), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The lines of a server whose admin server has the stores that servers have.
fn administered(client: u16, admin: u16, more: &str) -> String {
    format!(
        "clientPort={client}\nclientPortAddress=127.0.0.1\nadmin.enableServer=true\n\
         admin.serverAddress=127.0.0.1\nadmin.serverPort={admin}\n{more}{}",
        of_stores("ssl.quorum.", "server.pem", "trust.pem")
    )
}

#[test]
fn operators_come_inside_tls_or_without_as_they_like() {
    let (data, client, admin) = (tempfile::tempdir().expect("a folder"), free_port(), free_port());
    let more = "admin.portUnification=true\nadmin.snapshot.enabled=true\n";
    let _server = Server::start(data.path(), &administered(client, admin, more));
    let (head, _) = until("it serves without TLS", || http(plain(admin).ok()?, "/commands/ruok").ok());
    assert!(head.starts_with("http/1.1 200") && !head.contains("strict-transport-security"), "{head}");
    let (head, rest) = http(dial(admin, "").expect("it listens"), "/commands/ruok").expect("an answer");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("strict-transport-security: max-age=86400; includesubdomains"), "{head}");
    assert!(rest.starts_with(b"{"), "{rest:?}");
    // An answer that no socket takes at once.
    let mut session = Session::open(plain(client).expect("it listens")).expect("a session");
    for number in 0..10_u8 {
        let data: Vec<u8> = (0..900_000_u32).map(|at| at.to_le_bytes()[1] ^ number).collect();
        assert_eq!(session.create(&format!("/{number}"), data, acl("world", "anyone")), 0);
    }
    let (head, rest) = http(dial(admin, "").expect("it listens"), "/commands/snapshot").expect("an answer");
    assert!(rest.len() > 9_000_000, "{head}");
    assert!(head.contains(&format!("snapshot_size: {}\r\n", rest.len())), "{head}");
    let kept = fs::read_dir(data.path().join("version-2")).expect("a folder").flatten();
    let is_it = |path: PathBuf| fs::read(path).is_ok_and(|bytes| bytes == rest);
    assert!(kept.into_iter().any(|entry| is_it(entry.path())), "it is the snapshot in the folder");
}

#[test]
fn operators_are_let_in_by_their_certificate_alone_where_that_is_asked_for() {
    let (data, client, admin) = (tempfile::tempdir().expect("a folder"), free_port(), free_port());
    let more = "admin.forceHttps=true\nadmin.needClientAuth=true\n";
    let _server = Server::start(data.path(), &administered(client, admin, more));
    let (head, _) =
        until("it serves inside TLS", || http(dial(admin, "client.pem").ok()?, "/commands/ruok").ok());
    assert!(head.starts_with("http/1.1 200"), "{head}");
    for own in ["", "stranger.pem"] {
        let refused = dial(admin, own).and_then(|wire| http(wire, "/commands/ruok"));
        assert!(refused.is_err(), "{own:?} is let in: {refused:?}");
    }
    let refused = plain(admin).and_then(|stream| http(stream, "/commands/ruok"));
    assert!(refused.is_err(), "it answers without TLS: {refused:?}");
}
