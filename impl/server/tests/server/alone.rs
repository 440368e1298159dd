//! A server in this process, and a client that speaks bytes.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

pub(crate) use crate::ports::free_port;
use serde_json::Value;
use server::{Config, ExitCode, StartError};
use storage::RealDisk;
use tempfile::TempDir;
use tokio::sync::oneshot;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Numbers of operations.
pub(crate) const CREATE: i32 = 1;
pub(crate) const EXISTS: i32 = 3;
pub(crate) const SET_ACL: i32 = 7;

/// The server.
pub(crate) struct Server {
    pub(crate) client: SocketAddr,
    pub(crate) admin: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<ExitCode, StartError>>>,
    data: TempDir,
}

impl Server {
    pub(crate) fn start(more: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), more)
    }

    /// Starts an ensemble of one, which leads it.
    pub(crate) fn start_leader(more: &str) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        std::fs::write(data.path().join("myid"), "1\n").expect("room");
        let (quorum, election) = (free_port(), free_port());
        let list = format!(
            "server.1=127.0.0.1:{quorum}:{election}\nstandaloneEnabled=false\ninitLimit=10\nsyncLimit=5\n"
        );
        Self::start_in(data, &format!("{list}{more}"))
    }

    pub(crate) fn start_in(data: TempDir, more: &str) -> Self {
        let (client, admin) = (free_port(), free_port());
        let text = format!(
            "dataDir={}\nclientPort={client}\nclientPortAddress=127.0.0.1\ntickTime=500\npreAllocSize=64\n\
             admin.serverAddress=127.0.0.1\nadmin.serverPort={admin}\n4lw.commands.whitelist=*\n{more}",
            data.path().display()
        );
        let config = Config::parse("zoo.cfg", text, |path| std::fs::read_to_string(path)).expect("valid");
        let (stop, stopped) = oneshot::channel();
        let wait = async {
            let _ = stopped.await;
        };
        let thread = std::thread::spawn(move || server::run(config, RealDisk::new(false), None, wait));
        let server = Self {
            client: SocketAddr::from(([127, 0, 0, 1], client)),
            admin: SocketAddr::from(([127, 0, 0, 1], admin)),
            stop: Some(stop),
            thread: Some(thread),
            data,
        };
        wait_until("it serves", || server.word("srvr").is_some_and(|text| text.contains("Mode: ")));
        server
    }

    /// Stops it; its folder.
    pub(crate) fn stop(mut self) -> TempDir {
        self.end();
        std::mem::replace(&mut self.data, tempfile::tempdir().expect("a folder"))
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// The folder of snapshots and logs.
    pub(crate) fn files(&self) -> PathBuf {
        self.data.path().join("version-2")
    }

    /// Sends these bytes, and reads to the end.
    pub(crate) fn ask(address: SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(bytes)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }

    pub(crate) fn word(&self, word: &str) -> Option<String> {
        String::from_utf8(Self::ask(self.client, word.as_bytes()).ok()?).ok()
    }

    /// What is told of a metric; nothing if there is none of this name.
    pub(crate) fn told(&self, name: &str) -> Option<String> {
        let text = self.word("mntr").expect("it answers");
        text.lines().find_map(|line| line.strip_prefix(&format!("zk_{name}\t")).map(str::to_owned))
    }

    /// The same as a whole number.
    pub(crate) fn metric(&self, name: &str) -> Option<u64> {
        self.told(name).map(|value| value.parse().expect("a whole number"))
    }

    /// The status, the head in small letters, and the body of what is answered to a request with these headers.
    pub(crate) fn http(&self, request: &str, headers: &[&str], body: &str) -> (u16, String, Vec<u8>) {
        let mut lines =
            vec![format!("{request} HTTP/1.1"), "Host: x".to_owned(), "Connection: close".to_owned()];
        lines.push(format!("Content-Length: {}", body.len()));
        lines.extend(headers.iter().map(|header| (*header).to_owned()));
        let request = format!("{}\r\n\r\n{body}", lines.join("\r\n"));
        let answer = Self::ask(self.admin, request.as_bytes()).expect("it answers");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head and a body");
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, head, answer[end + 4..].to_vec())
    }

    /// The status and the error of a command.
    pub(crate) fn refusal(&self, request: &str, headers: &[&str]) -> (u16, String) {
        let (status, _, body) = self.http(request, headers, "");
        let value: Value = serde_json::from_slice(&body).expect("JSON");
        (status, value["error"].as_str().unwrap_or_default().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits, and no longer than that.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "not in time: {what}");
        sleep(Duration::from_millis(10));
    }
}

/// Bytes behind their length, as a frame and as a buffer in a record.
pub(crate) fn frame(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).expect("short").to_be_bytes()[..], body].concat()
}

/// A request as it goes out.
pub(crate) fn request(xid: i32, operation: i32, body: &[u8]) -> Vec<u8> {
    frame(&[&xid.to_be_bytes()[..], &operation.to_be_bytes(), body].concat())
}

/// Makes a node that everybody may do everything with.
pub(crate) fn create(xid: i32, path: &str, data: &[u8]) -> Vec<u8> {
    let acl = [&1_i32.to_be_bytes()[..], &31_i32.to_be_bytes(), &frame(b"world"), &frame(b"anyone")].concat();
    request(xid, CREATE, &[frame(path.as_bytes()), frame(data), acl, 0_i32.to_be_bytes().to_vec()].concat())
}

/// A connection.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    /// Connects, and asks for a new session. Nothing if it is hung up on.
    pub(crate) fn connect(server: &Server) -> Option<Self> {
        let mut stream = TcpStream::connect(server.client).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        let mut hello = vec![0; 12];
        hello.extend(5000_i32.to_be_bytes());
        hello.extend([0; 8]);
        hello.extend(16_i32.to_be_bytes());
        hello.extend([0; 17]);
        stream.write_all(&frame(&hello)).ok()?;
        stream.read_exact(&mut [0; 41]).ok()?;
        Some(Self(stream))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("it reads");
    }

    /// The xid and the error of the next answer. Nothing behind the end of the connection.
    pub(crate) fn answer(&mut self) -> Option<(i32, i32)> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let mut reply = vec![0; usize::try_from(u32::from_be_bytes(length)).expect("short")];
        self.0.read_exact(&mut reply).ok()?;
        let int = |at: usize| i32::from_be_bytes(reply[at..at + 4].try_into().expect("four bytes"));
        Some((int(0), int(12)))
    }

    /// Whether there is such a node.
    pub(crate) fn exists(&mut self, path: &str) -> bool {
        self.send(&request(0, EXISTS, &[&frame(path.as_bytes())[..], &[0]].concat()));
        self.answer().expect("it answers").1 == 0
    }

    /// Whether the other end hangs up, and for how long it did not.
    pub(crate) fn is_closed_within(stream: &mut TcpStream, wait: Duration) -> bool {
        stream.set_read_timeout(Some(wait)).expect("an option");
        match stream.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}
