//! Many connections at once: sessions that live on pings, and more connections than there are file descriptors.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    Figures,
    place::{Memory, Place, await_true, join, make, ms, told, with_words},
    probe::{Flood, Probe},
};
use crate::{
    client::{Client, Kind, Op},
    ensemble::Ensemble,
    jute::Encoder,
    session::connect,
};

/// Sessions that ping, and sessions that fall silent when the server is stopped.
const PINGING: usize = 1_500;
const SILENT: usize = 5;
/// Their timeout, and how long the server is stopped.
const TIMEOUT_MS: i32 = 5_000;
const STOPPED: Duration = Duration::from_secs(15);
const PING_EVERY: Duration = Duration::from_millis(500);

/// A connection that pings, whatever becomes of the answers.
struct Pinger {
    client: Client,
    pongs: u64,
}

impl Pinger {
    fn join(to: SocketAddr) -> Result<Self> {
        let client = connect(to, TIMEOUT_MS)?;
        client.stream().set_nonblocking(true)?;
        Ok(Self { client, pongs: 0 })
    }

    fn ping(&mut self) -> Result<()> {
        let ping = Encoder::new().int(-2).int(11).frame();
        let sent = self.client.stream().write(&ping)?;
        ensure!(sent == ping.len(), "a ping was cut");
        self.listen()
    }

    /// Takes the answers that are there: each is a header of 16 bytes behind its length.
    fn listen(&mut self) -> Result<()> {
        let mut bytes = [0; 4096];
        loop {
            match self.client.stream().read(&mut bytes) {
                Ok(0) => bail!("session 0x{:x} was closed", self.client.session().id),
                Ok(count) => self.pongs += u64::try_from(count / 20)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// All that ping, in rounds.
struct Crowd {
    pingers: Vec<Pinger>,
    last: Instant,
}

impl Crowd {
    fn gather(to: SocketAddr) -> Result<Self> {
        let mut this = Self { pingers: Vec::new(), last: Instant::now() };
        for _ in 0..PINGING {
            this.pingers.push(Pinger::join(to)?);
            if this.last.elapsed() > PING_EVERY {
                this.ping()?;
            }
        }
        Ok(this)
    }

    /// One round, right now.
    fn ping(&mut self) -> Result<()> {
        let late = self.last.elapsed();
        let late_max = Duration::from_millis(TIMEOUT_MS.unsigned_abs().into()) / 2;
        ensure!(
            late < late_max,
            "this machine is too busy for this case: a ping came {late:?} after another"
        );
        self.last = Instant::now();
        self.pingers.iter_mut().try_for_each(Pinger::ping)
    }

    /// One round when it is time.
    fn ping_in_time(&mut self) -> Result<()> {
        thread::sleep(PING_EVERY.saturating_sub(self.last.elapsed()));
        self.ping()
    }
}

pub(super) fn stopped_standalone(place: &Place) -> Result<Figures> {
    let (mut ensemble, address) = place.alone("", &[])?;
    with_words(&mut ensemble, |ensemble| stop_alone(ensemble, address))
}

fn stop_alone(ensemble: &mut Ensemble, address: SocketAddr) -> Result<Figures> {
    let mut crowd = Crowd::gather(address)?;
    let mut silent = (0..SILENT).map(|_| connect(address, TIMEOUT_MS)).collect::<Result<Vec<_>>>()?;
    make(&mut silent[0], "/silent", Vec::new(), Kind::Ephemeral)?;
    for _ in 0..4 {
        crowd.ping_in_time()?;
        for client in &mut silent {
            client.call(&Op::Ping)?;
        }
    }
    ensure!(told(address, "zk_stale_sessions_expired")? == 0, "sessions expired before anything was done");
    ensemble.signal(1, "STOP")?;
    let stopped = Instant::now();
    while stopped.elapsed() < STOPPED {
        crowd.ping_in_time()?;
    }
    ensemble.signal(1, "CONT")?;
    let before: Vec<u64> = crowd.pingers.iter().map(|pinger| pinger.pongs).collect();
    for _ in 0..20 {
        crowd.ping_in_time()?;
    }
    for (pinger, before) in crowd.pingers.iter().zip(before) {
        ensure!(pinger.pongs > before, "session 0x{:x} gets no answers", pinger.client.session().id);
    }
    // What is silent must be found out, or nothing was tried here.
    let expired = told(address, "zk_stale_sessions_expired")?;
    ensure!(expired == u64::try_from(SILENT)?, "{expired} sessions expired; {SILENT} were silent");
    let mut other = connect(address, TIMEOUT_MS)?;
    ensure!(other.call(&Op::GetData("/silent".to_owned()))?.code == -101, "an ephemeral of the dead stands");
    Ok(vec![
        ("sessions with a timeout of 5 s that pinged", u64::try_from(PINGING)?, ""),
        ("stopped for", ms(STOPPED), "ms"),
        ("sessions expired, all of them silent", expired, ""),
        ("longest turn of the loop", told(address, "zk_max_turn_time_us")?, "us"),
    ])
}

/// File descriptors that the server may have.
const FILES_MAX: usize = 256;
/// Connections of the storm, and clients that were there before.
const STORM: usize = 600;
const BEFORE: usize = 30;
/// How long the storm lasts.
const STORM_LASTS: Duration = Duration::from_secs(5);

pub(super) fn storm(place: &Place) -> Result<Figures> {
    let limit = format!("--nofile={FILES_MAX}:{FILES_MAX}");
    // Small files of the log: new ones are opened all through the storm.
    let (mut ensemble, address) = place.alone("preAllocSize=256\n", &["prlimit", &limit])?;
    with_words(&mut ensemble, |ensemble| brave_storm(ensemble, address))
}

fn brave_storm(ensemble: &mut Ensemble, address: SocketAddr) -> Result<Figures> {
    let mut there = (0..BEFORE).map(|_| join(address)).collect::<Result<Vec<_>>>()?;
    let memory = Memory::watch(ensemble, 1)?;
    let before_kib = memory.now()?;
    let flood = Flood::start(address, "/flood", 16 << 10, 4)?;
    let probe = Probe::start(address, "/probe")?;
    let began = Instant::now();
    let mut held = Vec::new();
    let mut refused = 0_u64;
    let mut admitted = 0;
    while began.elapsed() < STORM_LASTS {
        while held.len() < STORM {
            held.push(TcpStream::connect_timeout(&address, Duration::from_secs(5)).context("no connection")?);
        }
        thread::sleep(Duration::from_millis(50));
        let all = held.len();
        held.retain(stands);
        refused += u64::try_from(all - held.len())?;
        admitted = admitted.max(held.len());
        for client in &mut there {
            ensure!(client.call(&Op::Ping)?.code == 0, "a client that was there before is not served");
        }
        ensemble.check_alive()?;
    }
    drop(held);
    let waits = probe.end()?;
    let sets = flood.end()?;
    let again = await_true("a new client is let in", Duration::from_secs(5), || {
        Ok(Client::connect(address, None, 10_000, 0, Duration::from_secs(1)).is_ok())
    })?;
    let output = ensemble.output(1)?;
    let lines = output.lines().filter(|line| line.contains("file descriptors")).count();
    let periods = usize::try_from(began.elapsed().as_secs())? / 10 + 1;
    ensure!(refused > 0, "no connection was refused: there was no storm");
    ensure!(
        (1..=periods).contains(&lines),
        "{lines} lines of the log tell of descriptors in {periods} periods"
    );
    ensure!(told(address, "zk_connection_rejected")? > 0, "no refusal is counted");
    let growth = memory.peak()?.saturating_sub(before_kib);
    ensure!(growth < 32 << 10, "the storm took {growth} KiB");
    Ok(vec![
        ("connections refused", refused, ""),
        ("connections held at most, of 256 descriptors", u64::try_from(admitted + BEFORE)?, ""),
        ("lines in the log", u64::try_from(lines)?, ""),
        ("files of the log opened meanwhile, about", sets * 16 / 256, ""),
        ("set and get of those inside: median", waits.p50, "us"),
        ("set and get of those inside: worst", waits.max, "us"),
        ("until a new client was let in", ms(again), "ms"),
        ("memory more at most", growth, "KiB"),
    ])
}

/// Whether the other side has not hung up.
fn stands(stream: &TcpStream) -> bool {
    let mut byte = [0];
    let looked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut byte));
    looked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}
