//! Three servers on loopback, ours or Apache ZooKeeper's, with the same configuration.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How many servers.
pub const SERVERS: usize = 3;
/// The unit of time of the servers, in milliseconds.
const TICK_MS: u32 = 2000;
/// How long servers may take to serve, with a million nodes under Java.
const SERVE_MAX: Duration = Duration::from_mins(2);
/// How long a server may take to answer a four-letter word.
const WORD_MAX: Duration = Duration::from_secs(1);
/// Between two looks at what is awaited.
const POLL: Duration = Duration::from_millis(5);
/// The heap of each JVM: ample for a million nodes, and three of them fit a small machine.
const HEAP: &str = "-Xmx3g";

/// Whose servers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Ours.
    Zabkeeper {
        /// A release build.
        binary: PathBuf,
        /// Whether its allocator is to tell at the end what it has counted.
        counts: bool,
        /// Lines that its configuration has more.
        config: String,
    },
    /// Apache ZooKeeper's.
    Java {
        /// As `java -cp` takes it.
        classpath: String,
    },
}

#[derive(Debug)]
struct Server {
    client: SocketAddr,
    dir: PathBuf,
    child: Option<Child>,
}

/// Servers that know each other, and die with this value.
#[derive(Debug)]
pub struct Ensemble {
    kind: Kind,
    servers: Vec<Server>,
}

impl Ensemble {
    /// Lays out the servers below `dir`, and starts them.
    ///
    /// # Errors
    /// If they do not serve.
    pub fn start(kind: Kind, dir: &Path) -> Result<Self> {
        let ports = free_ports(3 * SERVERS)?;
        let member = |id: usize| {
            let (quorum, election) = (ports[SERVERS + id - 1], ports[2 * SERVERS + id - 1]);
            format!("server.{id}=127.0.0.1:{quorum}:{election}")
        };
        let members = (1..=SERVERS).map(member).collect::<Vec<_>>().join("\n");
        let more = match &kind {
            Kind::Zabkeeper { config, .. } => config.as_str(),
            Kind::Java { .. } => "",
        };
        let mut servers = Vec::new();
        for id in 1..=SERVERS {
            let client = SocketAddr::from((Ipv4Addr::LOCALHOST, ports[id - 1]));
            let home = dir.join(format!("server{id}"));
            let data = home.join("data");
            fs::create_dir_all(&data)?;
            fs::write(data.join("myid"), format!("{id}\n"))?;
            let config = format!(
                "tickTime={TICK_MS}\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={}\n\
                 clientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\n\
                 4lw.commands.whitelist=*\n{members}\n{more}",
                data.display(),
                client.port()
            );
            fs::write(home.join("zoo.cfg"), config)?;
            servers.push(Server { client, dir: home, child: None });
        }
        let mut ensemble = Self { kind, servers };
        ensemble.start_all()?;
        Ok(ensemble)
    }

    /// Where clients connect: followers first, the leader last.
    ///
    /// # Errors
    /// If nobody leads.
    pub fn addresses(&self) -> Result<Vec<SocketAddr>> {
        let leader = self.leader()?;
        let mut ids: Vec<usize> = (0..SERVERS).collect();
        ids.sort_by_key(|id| *id == leader);
        Ok(ids.into_iter().map(|id| self.servers[id].client).collect())
    }

    /// The address of one server.
    pub fn address(&self, id: usize) -> SocketAddr {
        self.servers[id].client
    }

    /// The processes.
    pub fn pids(&self) -> Vec<u32> {
        self.servers.iter().filter_map(|server| server.child.as_ref().map(Child::id)).collect()
    }

    /// Which server leads, from 0.
    ///
    /// # Errors
    /// If nobody does.
    pub fn leader(&self) -> Result<usize> {
        let leads = |id: &usize| mode(self.servers[*id].client).as_deref() == Some("leader");
        (0..SERVERS).find(leads).context("nobody leads")
    }

    /// Starts every server that is down, and waits until all serve; returns how long that took.
    ///
    /// # Errors
    /// If they do not.
    pub fn start_all(&mut self) -> Result<Duration> {
        let started = Instant::now();
        for id in 0..SERVERS {
            if self.servers[id].child.is_none() {
                self.spawn(id)?;
            }
        }
        self.await_serving()?;
        Ok(started.elapsed())
    }

    /// Waits until all servers serve.
    ///
    /// # Errors
    /// If one has ended, or they take too long.
    pub fn await_serving(&mut self) -> Result<()> {
        let deadline = Instant::now() + SERVE_MAX;
        let mut waiting: Vec<usize> = (0..SERVERS).collect();
        while let Some(id) = waiting.last() {
            let server = &mut self.servers[*id];
            if let Some(status) = server.child.as_mut().context("a server is down")?.try_wait()? {
                let words = fs::read_to_string(server.dir.join("output")).unwrap_or_default();
                let end: Vec<&str> = words.lines().rev().take(20).collect();
                server.child = None;
                bail!(
                    "server {} ended by itself ({status}), saying, last line first:\n{}",
                    id + 1,
                    end.join("\n")
                );
            }
            if mode(server.client).is_some() {
                waiting.pop();
                continue;
            }
            ensure!(Instant::now() < deadline, "server {} does not serve after {SERVE_MAX:?}", id + 1);
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn spawn(&mut self, id: usize) -> Result<()> {
        let server = &mut self.servers[id];
        // The server must not outlive this process, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        match &self.kind {
            Kind::Zabkeeper { binary, counts, .. } => {
                ensure!(binary.exists(), "{} is not built", binary.display());
                command.arg(binary).arg("serve");
                if *counts {
                    command.env("MIMALLOC_SHOW_STATS", "1");
                }
            }
            Kind::Java { classpath } => {
                command.args(["java", HEAP, "-Dzookeeper.jmx.log4j.disable=true", "-cp", classpath]);
                command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain");
            }
        }
        let output = File::options().create(true).append(true).open(server.dir.join("output"))?;
        command.arg(server.dir.join("zoo.cfg"));
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).current_dir(&server.dir);
        server.child = Some(command.spawn().with_context(|| format!("cannot start {command:?}"))?);
        Ok(())
    }

    /// Starts one server that is down, and does not wait for it.
    ///
    /// # Errors
    /// If its process cannot be started.
    pub fn restart(&mut self, id: usize) -> Result<()> {
        ensure!(self.servers[id].child.is_none(), "server {} runs", id + 1);
        self.spawn(id)
    }

    /// Kills a server with SIGKILL.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self, id: usize) -> Result<()> {
        let mut child = self.servers[id].child.take().context("the server does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Stops every server in order, and waits for each.
    ///
    /// # Errors
    /// If one has to be killed.
    pub fn stop_all(&mut self) -> Result<()> {
        for id in 0..SERVERS {
            self.signal(id, Signal::TERM)?;
        }
        for id in 0..SERVERS {
            let mut child = self.servers[id].child.take().context("the server does not run")?;
            let deadline = Instant::now() + Duration::from_secs(20);
            while child.try_wait()?.is_none() {
                if Instant::now() > deadline {
                    child.kill()?;
                    child.wait()?;
                    bail!("server {} did not stop", id + 1);
                }
                thread::sleep(POLL);
            }
        }
        Ok(())
    }

    /// What each server has written to its output.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn outputs(&self) -> Result<Vec<String>> {
        self.servers.iter().map(|server| Ok(fs::read_to_string(server.dir.join("output"))?)).collect()
    }

    /// Sends a signal to a server.
    ///
    /// # Errors
    /// If it does not run.
    pub fn signal(&self, id: usize, signal: Signal) -> Result<()> {
        let child = self.servers[id].child.as_ref().context("the server does not run")?;
        let pid = Pid::from_raw(i32::try_from(child.id())?).context("no process")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Removes what a server that is down has stored, but not its number.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn wipe(&self, id: usize) -> Result<()> {
        ensure!(self.servers[id].child.is_none(), "server {} runs", id + 1);
        Ok(fs::remove_dir_all(self.servers[id].dir.join("data/version-2"))?)
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        for server in &mut self.servers {
            if let Some(child) = &mut server.child {
                // Nothing is left to do about a process that cannot be killed.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// What a server answers to a four-letter word.
///
/// # Errors
/// If it does not, or not in time.
pub fn word(address: SocketAddr, word: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, WORD_MAX)?;
    stream.set_read_timeout(Some(WORD_MAX))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// What part a server plays, if it serves.
pub fn mode(address: SocketAddr) -> Option<String> {
    let answer = word(address, "srvr").ok()?;
    answer.lines().find_map(|line| line.strip_prefix("Mode: ")).map(|mode| mode.trim().to_owned())
}

/// Ports that are free now, below those that the system gives to outgoing connections, and never the same again: the
/// port of a follower for learners looks free until it leads.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + u16::try_from(std::process::id() % 15_000)?;
    let mut held = Vec::new();
    while held.len() < count {
        let step = GIVEN.fetch_add(1, Ordering::Relaxed);
        ensure!(step < 5000, "no {count} ports are free");
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, first + step)) {
            held.push((first + step, listener));
        }
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}
