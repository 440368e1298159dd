//! An ensemble in this process, over its sockets.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use server::{Config, ExitCode, StartError};
use storage::RealDisk;
use tokio::sync::oneshot;

use crate::ports::free_port;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What stops it, and what it comes to.
type Running = (oneshot::Sender<()>, JoinHandle<Result<ExitCode, StartError>>);

/// A server in this process, running or not.
pub(crate) struct Server {
    text: String,
    pub(crate) client: SocketAddr,
    admin: SocketAddr,
    /// Where learners come.
    pub(crate) quorum: SocketAddr,
    running: Option<Running>,
    _data: tempfile::TempDir,
}

/// So many servers, none of them running, the last ones of which observe; with more lines of zoo.cfg.
pub(crate) fn ensemble(voters: usize, observers: usize, more: &str) -> Vec<Server> {
    let servers = voters + observers;
    let ports: Vec<_> = (0..4 * servers).map(|_| free_port()).collect();
    let port = |place: usize| ports[place];
    let member = |at: usize| {
        let role = if at < voters { "participant" } else { "observer" };
        format!("server.{}=127.0.0.1:{}:{}:{role}\n", at + 1, port(2 * servers + at), port(3 * servers + at))
    };
    let members: String = (0..servers).map(member).collect();
    let server = |at: usize| {
        let data = tempfile::tempdir().expect("a folder");
        std::fs::write(data.path().join("myid"), (at + 1).to_string()).expect("a file");
        let (client, admin) = (port(at), port(servers + at));
        let text = format!(
            "dataDir={}\nclientPort={client}\nclientPortAddress=127.0.0.1\ntickTime=500\ninitLimit=20\nsyncLimit=10\n\
             preAllocSize=64\nadmin.serverAddress=127.0.0.1\nadmin.serverPort={admin}\n\
             4lw.commands.whitelist=srvr,mntr,isro,hash\n{more}{members}",
            data.path().display()
        );
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let quorum = address(port(2 * servers + at));
        Server { text, client: address(client), admin: address(admin), quorum, running: None, _data: data }
    };
    (0..servers).map(server).collect()
}

impl Server {
    pub(crate) fn start(&mut self) {
        let text = self.text.clone();
        let config = Config::parse("zoo.cfg", text, |path| std::fs::read_to_string(path)).expect("valid");
        let (stop, stopped) = oneshot::channel();
        let wait = async {
            let _ = stopped.await;
        };
        let thread = std::thread::spawn(move || server::run(config, RealDisk::new(false), None, wait));
        self.running = Some((stop, thread));
    }

    pub(crate) fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            let _ = thread.join();
        }
    }

    /// Sends these bytes, and reads to the end.
    fn ask(address: SocketAddr, bytes: &[u8]) -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(bytes)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    pub(crate) fn word(&self, word: &str) -> String {
        Self::ask(self.client, word.as_bytes()).unwrap_or_default()
    }

    pub(crate) fn http(&self, path: &str) -> String {
        // Who asks is where it asks from.
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: ip\r\n\r\n");
        Self::ask(self.admin, request.as_bytes()).expect("it answers")
    }

    /// Waits until it says this to the word `isro`.
    pub(crate) fn comes_to(&self, isro: &str) {
        let started = Instant::now();
        loop {
            let said = self.word("isro");
            if said == isro {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "it says {said:?}, and never {isro:?}");
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
