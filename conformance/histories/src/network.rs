//! A network of our own: a namespace a server, all on one bridge, in which packets between two of them can be lost.
//!
//! The whole program runs in a namespace of its own, made when it starts again within `unshare`. Nothing of the
//! machine's network is touched, and all of it vanishes with the processes. A direction is cut by giving the sender a
//! wrong link address for the receiver: packets leave, and nobody takes them, so that neither side is told.

use std::{
    io::Write,
    net::Ipv4Addr,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use faults::ensemble::Host;

/// Set in the environment of the process that runs within its own namespace.
const INSIDE: &str = "ZABKEEPER_HISTORIES_INSIDE";

/// The link address that nobody has.
const NOBODY: &str = "02:00:00:00:00:ff";

/// The bridge, on which the clients are.
const BRIDGE: &str = "zk0";

/// How long a namespace may take to come about.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why no network of our own can be had; nothing if it can.
pub fn refused() -> Option<String> {
    let probe = "ip link add zk0 type bridge && ip link add v type veth peer name w && tc qdisc add dev v root tbf \
                 rate 1mbit burst 2000 latency 1s";
    let output = Command::new("unshare").args(["--net", "sh", "-c", probe]).output();
    match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!(
            "network namespaces with bridge, veth and tbf are refused here: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Some(format!("unshare cannot be run: {error}")),
    }
}

/// Runs this program again within a network of its own, unless this is it.
///
/// # Errors
/// If it cannot be started.
pub fn within() -> Result<Option<ExitStatus>> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(None);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--net"]).arg(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).env(INSIDE, "1");
    Ok(Some(command.status().context("cannot run setpriv and unshare")?))
}

/// One end of a cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// All clients.
    Clients,
    /// A server, by its number from 1.
    Server(usize),
}

/// The hosts and the bridge between them.
#[derive(Debug)]
pub struct Network {
    /// A process that does nothing in each namespace, and keeps it.
    holders: Vec<Child>,
}

impl Network {
    /// Lays out so many hosts.
    ///
    /// # Errors
    /// If the system refuses, or this process is not in a namespace of its own.
    pub fn new(hosts: usize) -> Result<Self> {
        ensure!(std::env::var_os(INSIDE).is_some(), "this runs in a network namespace of its own only");
        ip(None, "link set lo up")?;
        ip(None, &format!("link add {BRIDGE} address {} type bridge", link_address(0)))?;
        ip(None, &format!("addr add {}/24 dev {BRIDGE}", address(0)))?;
        ip(None, &format!("link set {BRIDGE} up"))?;
        let mut this = Self { holders: Vec::new() };
        for host in 1..=hosts {
            this.add(host)?;
        }
        this.heal()?;
        Ok(this)
    }

    fn add(&mut self, host: usize) -> Result<()> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--net", "cat"]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let (ours, theirs) = (std::fs::read_link("/proc/self/ns/net")?, namespace(&holder));
        let deadline = Instant::now() + PATIENCE;
        while std::fs::read_link(&theirs).is_ok_and(|theirs| theirs == ours) {
            ensure!(holder.try_wait()?.is_none(), "no network namespace can be had: this takes root");
            ensure!(Instant::now() < deadline, "no network namespace within {PATIENCE:?}");
            thread::sleep(Duration::from_millis(5));
        }
        let pid = holder.id();
        self.holders.push(holder);
        let mac = link_address(host);
        ip(None, &format!("link add v{host} type veth peer name eth0 address {mac} netns {pid}"))?;
        ip(None, &format!("link set v{host} master {BRIDGE} up"))?;
        let inside = Some(&self.holders[host - 1]);
        ip(inside, "link set lo up")?;
        ip(inside, &format!("addr add {}/24 dev eth0", address(host)))?;
        ip(inside, "link set eth0 up")
    }

    /// Where the servers are to run.
    pub fn hosts(&self) -> Vec<Host> {
        let host = |(index, holder): (usize, &Child)| Host {
            address: address(index + 1),
            enter: vec!["nsenter".to_owned(), format!("--net={}", namespace(holder))],
        };
        self.holders.iter().enumerate().map(host).collect()
    }

    /// From now on, what one end sends to the other is lost.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn cut(&self, from: End, to: End) -> Result<()> {
        self.point(from, to, NOBODY)
    }

    fn point(&self, from: End, to: End, link: &str) -> Result<()> {
        let (holder, device) = match from {
            End::Clients => (None, BRIDGE),
            End::Server(id) => (Some(&self.holders[id - 1]), "eth0"),
        };
        let to = address(number(to));
        ip(holder, &format!("neigh replace {to} lladdr {link} dev {device} nud permanent"))
    }

    /// From now on, a server's packets leave at so many kilobits a second, and wait up to three seconds for that.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn slow(&self, server: usize, kbit: u64) -> Result<()> {
        let holder = Some(&self.holders[server - 1]);
        run(holder, "tc", &format!("qdisc replace dev eth0 root tbf rate {kbit}kbit burst 3200 latency 3s"))
    }

    /// Ends every cut and slowness.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn heal(&self) -> Result<()> {
        let servers = (1..=self.holders.len()).map(End::Server);
        let ends: Vec<End> = servers.chain([End::Clients]).collect();
        for from in &ends {
            for to in ends.iter().filter(|to| *to != from) {
                self.point(*from, *to, &link_address(number(*to)))?;
            }
        }
        for holder in &self.holders {
            run(Some(holder), "tc", "qdisc replace dev eth0 root pfifo limit 1000")?;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            // Nothing is left to do about a process that cannot be killed.
            let _ = holder.kill();
            let _ = holder.wait();
        }
        for link in (1..=self.holders.len()).map(|host| format!("v{host}")).chain([BRIDGE.to_owned()]) {
            // The links of a host may have gone with its namespace already.
            let _ = Command::new("ip").args(["link", "del", &link]).stderr(Stdio::null()).status();
        }
    }
}

fn number(end: End) -> usize {
    match end {
        End::Clients => 0,
        End::Server(id) => id,
    }
}

/// Of the clients with 0, else of a server.
fn address(host: usize) -> Ipv4Addr {
    let last = u8::try_from(host).ok().filter(|host| (1..250).contains(host)).unwrap_or(254);
    Ipv4Addr::new(10, 77, 0, last)
}

fn link_address(host: usize) -> String {
    format!("02:00:00:00:01:{host:02x}")
}

fn namespace(holder: &Child) -> String {
    format!("/proc/{}/ns/net", holder.id())
}

fn ip(inside: Option<&Child>, words: &str) -> Result<()> {
    run(inside, "ip", words)
}

fn run(inside: Option<&Child>, program: &str, words: &str) -> Result<()> {
    let mut command = match inside {
        None => Command::new(program),
        Some(holder) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={}", namespace(holder))).arg(program);
            command
        }
    };
    let output = command.args(words.split_whitespace()).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        std::io::stderr().write_all(&output.stderr)?;
        bail!("{program} {words} failed: {}", output.status);
    }
    Ok(())
}
