//! `zabkeeper ensemble`: a whole ensemble on this machine, for trying things out.
//!
//! Each server is a process of its own, as it would be in production, with a folder of its own. Nothing is restarted
//! behind the user's back: a server that dies stays dead, and that is said.

mod found;
mod layout;
mod watch;

use std::{
    fs::{self, File},
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, Signal, kill_process},
};
use std::os::unix::process::CommandExt;

pub use layout::{Layout, Member, Size};

/// How long servers have to stop before they are killed.
const STOP_MAX: Duration = Duration::from_secs(5);
/// How often the servers are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many servers.
    pub size: Size,
    /// The folder for everything.
    pub dir: PathBuf,
    /// The client port of the first server; those of the folder, or 2181 and up, if not given.
    pub base_port: Option<u16>,
}

/// A server that was started.
struct Running {
    member: Member,
    child: Child,
    ended: Option<ExitStatus>,
    role: Option<String>,
}

impl Running {
    fn leads(&self) -> bool {
        self.ended.is_none() && self.role.as_deref() == Some("leader")
    }
}

/// Starts the servers, tells what becomes of them, and stops them when told to.
///
/// # Errors
/// If they cannot be started, or all of them die.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    fs::create_dir_all(&options.dir).with_context(|| format!("cannot make {}", options.dir.display()))?;
    let _lock = lock(&options.dir)?;
    let layout = Layout::plan(&options.dir, options.size, options.base_port, layout::port_is_free)?;
    for change in &layout.changes {
        println!("{change}");
    }
    layout.write()?;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let started = Instant::now();
    let observers = layout.members.iter().filter(|member| member.observer).count();
    let beside = if observers == 0 { String::new() } else { format!(" and {observers} observers") };
    println!("{} servers{beside} in {}", layout.members.len() - observers, layout.dir.display());
    println!("connect string: {}", layout.connect_string());
    if let Some(port) = layout.members.first().and_then(|member| member.admin_port) {
        println!("server 1 tells of itself: http://127.0.0.1:{port}/commands");
    }
    let (mut waiting, whole): (Vec<_>, Vec<_>) =
        layout.members.into_iter().partition(|member| layout.lost.contains_key(&member.id));
    let mut servers = Vec::new();
    start(whole, &mut servers)?;
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut complete = false;
    let outcome = loop {
        tokio::select! {
            _ = interrupt.recv() => break Ok(()),
            _ = terminate.recv() => break Ok(()),
            _ = look.tick() => {}
        }
        observe(&mut servers);
        if servers.iter().any(Running::leads) {
            start(std::mem::take(&mut waiting), &mut servers)?;
        }
        if !complete && waiting.is_empty() && servers.iter().all(|server| server.role.is_some()) {
            complete = true;
            println!("all are serving after {} ms; Ctrl-C stops them", started.elapsed().as_millis());
        }
        if servers.iter().all(|server| server.ended.is_some()) {
            break Err(anyhow::anyhow!("no server is left"));
        }
    };
    stop(&mut servers);
    outcome
}

fn lock(dir: &Path) -> anyhow::Result<File> {
    let file = File::open(dir)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => bail!("another ensemble runs in {}", dir.display()),
    }
}

/// Starts these servers beside those that run. If one cannot be started all are stopped.
fn start(members: Vec<Member>, servers: &mut Vec<Running>) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    for member in members {
        match spawn(&program, &member) {
            Ok(child) => servers.push(Running { member, child, ended: None, role: None }),
            Err(error) => {
                stop(servers);
                return Err(error).with_context(|| format!("cannot start server {}", member.id));
            }
        }
    }
    Ok(())
}

/// Starts one server. Its standard input is a pipe that this process holds: when this process ends, however it ends,
/// the pipe closes and the server stops.
fn spawn(program: &Path, member: &Member) -> io::Result<Child> {
    let log = fs::OpenOptions::new().create(true).append(true).open(member.log())?;
    Command::new(program)
        .arg("serve")
        .arg("--while-stdin-is-open")
        .arg(member.config())
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
}

/// Looks at every server once, and prints what has changed.
fn observe(servers: &mut [Running]) {
    for server in servers.iter_mut().filter(|server| server.ended.is_none()) {
        let member = &server.member;
        if let Ok(Some(status)) = server.child.try_wait() {
            println!("server {} has died: {status}; its log is {}", member.id, member.log().display());
            println!("  to start it again: zabkeeper serve {}", member.config().display());
            server.ended = Some(status);
            continue;
        }
        let role = watch::role(Ipv4Addr::LOCALHOST, member.client_port);
        if role != server.role {
            let shown = role.as_deref().unwrap_or("not serving");
            println!("server {} on 127.0.0.1:{}: {shown}", member.id, member.client_port);
            server.role = role;
        }
    }
}

/// Stops every server: politely, and after a while not.
fn stop(servers: &mut [Running]) {
    for server in servers.iter().filter(|server| server.ended.is_none()) {
        signal(&server.child, Signal::TERM);
    }
    let deadline = Instant::now() + STOP_MAX;
    for server in servers.iter_mut().filter(|server| server.ended.is_none()) {
        while matches!(server.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                println!("server {} does not stop; it is killed", server.member.id);
                signal(&server.child, Signal::KILL);
                let _ = server.child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // The only error is that it is gone, which is what was wanted.
        let _ = kill_process(pid, signal);
    }
}
