//! Three server processes on loopback, each killed and started at will.
//!
//! The same faults run against Apache ZooKeeper: what its servers do not pass shows a judge that is wrong.

use std::{
    fs::{self, File},
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::client;

/// Whose servers.
#[derive(Clone, Debug)]
pub enum Servers {
    /// The real binary.
    Zabkeeper {
        /// Where it is.
        binary: PathBuf,
        /// What stands before it on the command line, such as a tracer; `{start}` counts the server's starts, `{home}`
        /// is its folder.
        wrapper: Vec<String>,
        /// More lines of configuration, each with its end.
        config: String,
    },
    /// This binary again, as a server whose disks can lose their power.
    Cuttable {
        /// The subcommand and its options; the configuration file follows.
        command: Vec<String>,
    },
    /// Apache ZooKeeper.
    Java {
        /// Its jars, as `java -cp` takes them.
        classpath: String,
    },
}

/// The unit of time of the servers, in milliseconds.
pub const TICK_MS: u64 = 500;

/// The size of each server's ring: no run here fills it, so that all of it is judged.
const RECORDER_BYTES: u64 = 4 << 30;

/// How long a server may take to answer a four-letter word.
const ROLE_PATIENCE: Duration = Duration::from_secs(2);

/// Ports are claimed in blocks of this many, each aligned, so that claims of different size cannot overlap.
const PORT_BLOCK: u16 = 32;

/// Between two looks at something that is awaited.
const POLL: Duration = Duration::from_millis(20);

/// What makes Apache ZooKeeper log to its output, whichever logger it finds.
const LOGGING: [(&str, &str); 2] = [
    (
        "log4j.properties",
        "log4j.rootLogger=INFO, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n\
         log4j.appender.out.layout=org.apache.log4j.PatternLayout\n\
         log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %-5p %c{1} %m%n\n",
    ),
    (
        "log4j2.properties",
        "rootLogger.level=info\nrootLogger.appenderRefs=out\nrootLogger.appenderRef.out.ref=out\n\
         appender.out.name=out\nappender.out.type=Console\nappender.out.layout.type=PatternLayout\n\
         appender.out.layout.pattern=%d %-5p %c{1} %m%n\n",
    ),
];

/// One server: where it listens, where it writes, and its process while it runs.
#[derive(Debug)]
struct Server {
    id: usize,
    kind: Servers,
    client: SocketAddr,
    /// The ports of the quorum and of elections.
    between: (u16, u16),
    dir: PathBuf,
    /// What stands before all else on its command line.
    before: Vec<String>,
    child: Option<Child>,
    starts: usize,
}

/// A place of its own for a server, where its ports are free.
#[derive(Clone, Debug)]
pub struct Host {
    /// Where it listens, and the others find it.
    pub address: Ipv4Addr,
    /// What stands before its command line, so that it runs there; `{home}` is its folder.
    pub enter: Vec<String>,
}

/// Where one server listens: for clients, for learners, for elections.
type Ports = (SocketAddr, u16, u16);

/// Servers that know each other, and die with this value.
#[derive(Debug)]
pub struct Ensemble {
    servers: Vec<Server>,
    /// Holds the block of ports against other runs of these programs, on a host that is shared.
    _claim: Option<TcpListener>,
}

/// A part that a server plays.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// It decides; alone, if there is no other.
    Leader,
    /// It follows.
    Follower,
    /// It follows without a vote.
    Observer,
}

impl Ensemble {
    /// Lays out `count` servers under `dir` on free ports; none runs yet.
    ///
    /// # Errors
    /// If the folder cannot be written, or no ports are free.
    pub fn new(kind: Servers, count: usize, dir: &Path) -> Result<Self> {
        Self::with_observers(kind, count, 0, dir)
    }

    /// The same with observers, whose numbers are behind those of the voters.
    ///
    /// # Errors
    /// As [`Ensemble::new`].
    pub fn with_observers(kind: Servers, voters: usize, observers: usize, dir: &Path) -> Result<Self> {
        let count = voters + observers;
        let (claim, first) = claim_ports(3 * count)?;
        let port = |index: usize| -> Result<u16> { Ok(first + u16::try_from(index)?) };
        let ports = |id: usize| -> Result<Ports> {
            let client = SocketAddr::from((Ipv4Addr::LOCALHOST, port(id)?));
            Ok((client, port(count + 2 * id - 1)?, port(count + 2 * id)?))
        };
        let places: Vec<Ports> = (1..=count).map(ports).collect::<Result<_>>()?;
        let limits = format!("tickTime={TICK_MS}\ninitLimit=20\nsyncLimit=20\n");
        let servers = Self::lay_out(kind, dir, &limits, (&places, voters), &vec![Vec::new(); count])?;
        Ok(Self { servers, _claim: Some(claim) })
    }

    /// Lays out one server a host under `dir`; none runs yet. `limits` is the lines of configuration that say how long
    /// a tick is and how many of them may pass, each with its end.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn on_hosts(kind: Servers, hosts: &[Host], dir: &Path, limits: &str) -> Result<Self> {
        let ports = |host: &Host| (SocketAddr::from((host.address, 2181)), 2888, 3888);
        let places: Vec<Ports> = hosts.iter().map(ports).collect();
        let before: Vec<Vec<String>> = hosts.iter().map(|host| host.enter.clone()).collect();
        Ok(Self {
            servers: Self::lay_out(kind, dir, limits, (&places, places.len()), &before)?,
            _claim: None,
        })
    }

    fn lay_out(
        kind: Servers,
        dir: &Path,
        limits: &str,
        (places, voters): (&[Ports], usize),
        before: &[Vec<String>],
    ) -> Result<Vec<Server>> {
        let member = |(index, (client, quorum, election)): (usize, &Ports)| {
            let role = if index < voters { "" } else { ":observer" };
            format!("server.{}={}:{quorum}:{election}{role}", index + 1, client.ip())
        };
        let members = places.iter().enumerate().map(member).collect::<Vec<_>>().join("\n");
        let more = match &kind {
            // Small log files and frequent snapshots: their ends and beginnings are where cuts can hurt.
            Servers::Cuttable { .. } => "preAllocSize=256\nsnapCount=2000\n",
            Servers::Zabkeeper { config, .. } => config,
            Servers::Java { .. } => "",
        };
        let mut servers = Vec::new();
        for (index, (client, quorum, election)) in places.iter().enumerate() {
            let id = index + 1;
            let home = dir.join(format!("server{id}"));
            let data = home.join("data");
            fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
            fs::write(data.join("myid"), format!("{id}\n"))?;
            let config = format!(
                "{limits}dataDir={}\nclientPort={}\nclientPortAddress={}\nmaxClientCnxns=0\n\
                 admin.enableServer=false\n4lw.commands.whitelist=*\n\
                 zabkeeper.recorderBytes={RECORDER_BYTES}\n{more}{members}\n",
                data.display(),
                client.port(),
                client.ip()
            );
            fs::write(home.join("zoo.cfg"), config)?;
            servers.push(Server {
                id,
                kind: kind.clone(),
                client: *client,
                between: (*quorum, *election),
                dir: home,
                before: before[index].clone(),
                child: None,
                starts: 0,
            });
        }
        Ok(servers)
    }

    /// The numbers of the servers, from 1.
    pub fn ids(&self) -> Vec<usize> {
        self.servers.iter().map(|server| server.id).collect()
    }

    /// Whether its servers record what they are told: those of other makers do not.
    pub fn records(&self) -> bool {
        !self.servers.iter().any(|server| matches!(server.kind, Servers::Java { .. }))
    }

    /// Where clients connect, in the order of the numbers.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.client).collect()
    }

    /// The ports on which leaders take learners.
    pub fn quorum_ports(&self) -> impl Iterator<Item = u16> {
        self.servers.iter().map(|server| server.between.0)
    }

    /// The ports of elections.
    pub fn election_ports(&self) -> impl Iterator<Item = u16> {
        self.servers.iter().map(|server| server.between.1)
    }

    /// The folder of a server: its configuration, its output and its data.
    pub fn dir(&self, id: usize) -> &Path {
        &self.servers[id - 1].dir
    }

    /// Starts a server that is down.
    ///
    /// # Errors
    /// If its process cannot be started.
    pub fn start(&mut self, id: usize) -> Result<()> {
        let server = &mut self.servers[id - 1];
        ensure!(server.child.is_none(), "server {id} runs already");
        put_aside(&server.dir)?;
        server.starts += 1;
        let mut command = command_line(server)?;
        let output = File::options().create(true).append(true).open(server.dir.join("output"))?;
        let stdin =
            if matches!(server.kind, Servers::Cuttable { .. }) { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(output.try_clone()?).stderr(output).current_dir(&server.dir);
        server.child = Some(command.spawn().with_context(|| format!("cannot start {command:?}"))?);
        Ok(())
    }

    /// From its next start on, a server is one of these, on the same data.
    pub fn become_one_of(&mut self, id: usize, kind: &Servers) {
        self.servers[id - 1].kind = kind.clone();
    }

    /// Starts every server that is down.
    ///
    /// # Errors
    /// As [`Ensemble::start`].
    pub fn start_all(&mut self) -> Result<()> {
        for id in self.ids() {
            if self.servers[id - 1].child.is_none() {
                self.start(id)?;
            }
        }
        Ok(())
    }

    /// Kills a server with SIGKILL, if it runs.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(&mut self, id: usize) -> Result<()> {
        if let Some(mut child) = self.servers[id - 1].child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Asks a server to end in order (SIGTERM), and waits for it.
    ///
    /// # Errors
    /// If it is still there after `patience`.
    pub fn terminate(&mut self, id: usize, patience: Duration) -> Result<()> {
        if let Some(mut child) = self.servers[id - 1].child.take() {
            let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
            let gone = asked.success() && await_exit(&mut child, patience)?;
            if !gone {
                child.kill()?;
                child.wait()?;
                bail!("server {id} did not end within {patience:?} of SIGTERM");
            }
        }
        Ok(())
    }

    /// The process of a server that runs.
    ///
    /// # Errors
    /// If it does not.
    pub fn pid(&self, id: usize) -> Result<u32> {
        let child = self.servers[id - 1].child.as_ref();
        child.map(Child::id).with_context(|| format!("server {id} does not run"))
    }

    /// Sends a server a signal, named as for `kill`.
    ///
    /// # Errors
    /// If it does not run, or the system refuses.
    pub fn signal(&self, id: usize, signal: &str) -> Result<()> {
        let pid = self.pid(id)?.to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid]).status()?;
        ensure!(sent.success(), "server {id} takes no SIG{signal}");
        Ok(())
    }

    /// Waits until a server has ended by itself, and says how.
    ///
    /// # Errors
    /// If it does not within `patience`.
    pub fn await_end(&mut self, id: usize, patience: Duration) -> Result<ExitStatus> {
        let child = self.servers[id - 1].child.as_mut().context("the server does not run")?;
        ensure!(await_exit(child, patience)?, "server {id} did not end within {patience:?}");
        let status = child.wait()?;
        self.servers[id - 1].child = None;
        Ok(status)
    }

    /// All that a server has printed so far.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn output(&self, id: usize) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.dir(id).join("output"))?).into_owned())
    }

    /// Sends a line to the standard input of these servers.
    ///
    /// # Errors
    /// If one of them does not run.
    pub fn command(&mut self, ids: &[usize], line: &str) -> Result<()> {
        for id in ids {
            let child =
                self.servers[id - 1].child.as_mut().with_context(|| format!("server {id} does not run"))?;
            let stdin = child.stdin.as_mut().context("the server takes no commands")?;
            writeln!(stdin, "{line}").with_context(|| format!("server {id} takes no commands"))?;
        }
        Ok(())
    }

    /// Waits until these servers have ended.
    ///
    /// # Errors
    /// If one of them does not within `patience`.
    pub fn await_ends(&mut self, ids: &[usize], patience: Duration) -> Result<()> {
        for id in ids {
            let mut child = self.servers[id - 1].child.take().context("the server does not run")?;
            if !await_exit(&mut child, patience)? {
                child.kill()?;
                child.wait()?;
                bail!("server {id} did not end within {patience:?}");
            }
        }
        Ok(())
    }

    /// What part a server plays now, if it serves.
    pub fn role(&self, id: usize) -> Option<Role> {
        let server = &self.servers[id - 1];
        server.child.as_ref()?;
        let answer = client::four_letters(server.client, "srvr", ROLE_PATIENCE).ok()?;
        let mode = answer.lines().find_map(|line| line.strip_prefix("Mode: "))?;
        match mode.trim() {
            "leader" | "standalone" => Some(Role::Leader),
            "follower" => Some(Role::Follower),
            "observer" => Some(Role::Observer),
            _ => None,
        }
    }

    /// Waits until every server that runs serves, and returns the leader.
    ///
    /// # Errors
    /// If that takes longer than `patience`, or a server has ended by itself.
    pub fn await_serving(&mut self, patience: Duration) -> Result<usize> {
        let deadline = Instant::now() + patience;
        loop {
            self.check_alive()?;
            let running: Vec<usize> =
                self.servers.iter().filter(|server| server.child.is_some()).map(|server| server.id).collect();
            let roles: Vec<_> = running.iter().map(|id| self.role(*id)).collect();
            let leaders: Vec<usize> = running
                .iter()
                .zip(&roles)
                .filter(|(_, role)| **role == Some(Role::Leader))
                .map(|(id, _)| *id)
                .collect();
            if let ([leader], true) = (leaders.as_slice(), roles.iter().all(Option::is_some)) {
                return Ok(*leader);
            }
            ensure!(Instant::now() < deadline, "not every server serves after {patience:?}: {roles:?}");
            thread::sleep(POLL);
        }
    }

    /// Fails if a server has ended by itself.
    ///
    /// # Errors
    /// Names the server and the end of its output.
    pub fn check_alive(&mut self) -> Result<()> {
        for server in &mut self.servers {
            if let Some(child) = &mut server.child
                && let Some(status) = child.try_wait()?
            {
                server.child = None;
                bail!(
                    "server {} ended by itself ({status}); its last words:\n{}",
                    server.id,
                    last_words(&server.dir)
                );
            }
        }
        Ok(())
    }

    /// The end of what each server has printed, for a failure's report.
    pub fn last_words(&self) -> String {
        let words = |server: &Server| format!("--- server {}\n{}\n", server.id, last_words(&server.dir));
        self.servers.iter().map(words).collect()
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

/// Keeps what a server that starts again has in its folder, under a second name beside it: a state that it is sent takes
/// the place of log and snapshots, and the judge of recordings could not have the state of this start any more.
fn put_aside(dir: &Path) -> Result<()> {
    let data = dir.join("data");
    if !data.join("recorder").is_dir() {
        return Ok(());
    }
    let kept = dir.join("kept/version-2");
    fs::create_dir_all(&kept)?;
    for file in fs::read_dir(data.join("version-2"))? {
        let file = file?;
        let name = file.file_name();
        let is_history =
            [b"log.".as_slice(), b"snapshot."].iter().any(|kind| name.as_bytes().starts_with(kind));
        if is_history && !kept.join(&name).exists() {
            fs::hard_link(file.path(), kept.join(&name))?;
        }
    }
    Ok(())
}

fn command_line(server: &Server) -> Result<Command> {
    let config = server.dir.join("zoo.cfg");
    // The server must not outlive these programs, however they end.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    let home = server.dir.to_string_lossy();
    let fill = |part: &String| part.replace("{start}", &server.starts.to_string()).replace("{home}", &home);
    command.args(server.before.iter().map(fill));
    match &server.kind {
        Servers::Zabkeeper { binary, wrapper, .. } => {
            ensure!(binary.exists(), "{} is not built", binary.display());
            command.args(wrapper.iter().map(fill)).arg(binary).arg("serve").arg(config);
        }
        Servers::Cuttable { command: words } => {
            command.arg(std::env::current_exe()?).args(words);
            // Another subset of the unsynced bytes at each start.
            command.args(["--seed", &(1000 * server.starts + server.id).to_string()]).arg(config);
        }
        Servers::Java { classpath } => {
            let first = classpath.split(':').next().unwrap_or_default();
            let there = Path::new(first.strip_suffix("/*").unwrap_or(first)).exists();
            ensure!(there, "{first} is not there: install Debian's zookeeper, or name another class path");
            for (name, text) in LOGGING {
                fs::write(server.dir.join(name), text)?;
            }
            command.args(["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
            command.arg(format!("{}:{classpath}", server.dir.display()));
            command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(config);
        }
    }
    Ok(command)
}

fn await_exit(child: &mut Child, patience: Duration) -> Result<bool> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        thread::sleep(POLL);
    }
    Ok(false)
}

fn last_words(dir: &Path) -> String {
    let output = dir.join("output");
    // From a pipe that somebody keeps open there is no end to read to.
    let output = if output.is_file() { fs::read(output).unwrap_or_default() } else { Vec::new() };
    let text = String::from_utf8_lossy(&output);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// Finds `count` free neighbouring ports, and returns the first with a listener on it that claims the block; the
/// others are the caller's.
///
/// Below the range that the system takes outgoing ports from: else a client that redials a dead server could take
/// that server's port, or even connect to itself.
fn claim_ports(count: usize) -> Result<(TcpListener, u16)> {
    ensure!(count < usize::from(PORT_BLOCK), "{count} ports are more than a block");
    let block = PORT_BLOCK;
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let lowest: u16 = range.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(32_768);
    let (from, to) = if lowest > 12_000 + block { (12_000, lowest - block) } else { (12_000, 32_000) };
    let blocks = (to - from) / block;
    let start = u16::try_from(std::process::id() % u32::from(blocks))?;
    for step in 0..blocks {
        let first = from + (start + step) % blocks * block;
        let Ok(claim) = TcpListener::bind((Ipv4Addr::LOCALHOST, first)) else { continue };
        let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if (first + 1..).take(count).all(free) {
            return Ok((claim, first));
        }
    }
    bail!("no {count} neighbouring ports are free between {from} and {to}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_claims_never_share_a_port() {
        let (held, first) = claim_ports(9).expect("ports");
        let (_also_held, second) = claim_ports(9).expect("ports");
        assert!(first.abs_diff(second) >= 32, "{first} {second}");
        drop(held);
    }
}
