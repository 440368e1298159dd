//! Clients that ask for much and use none of it: watches, connections, and connections between servers that say nothing.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    Figures,
    hostile::{OTHERS_MAX_US, beside, dial, frame, handshake},
    place::{Memory, Place, join, ms, told, with_words},
    probe::Probe,
};
use crate::{
    client::{Op, Watches},
    ensemble::Ensemble,
    jute::Encoder,
    session::{SERVING_PATIENCE, connect},
};

/// Watches of one client, and how many of them one request has.
const WATCHES: usize = 1_000_000;
const WATCHES_AT_ONCE: usize = 20_000;
/// What a watch may cost, in bytes: its path twice, and the places of both in their tables.
const WATCH_BYTES_MAX: u64 = 600;
/// The timeout of the client that watches, which is busy for a while.
const WATCHER_MS: i32 = 40_000;

pub(super) fn watches(place: &Place) -> Result<Figures> {
    let (mut ensemble, address) = place.alone("", &[])?;
    let growth_max_kib = ((WATCH_BYTES_MAX * u64::try_from(WATCHES)?) >> 10) + (32 << 10);
    with_words(&mut ensemble, |ensemble| {
        beside(ensemble, address, growth_max_kib, |_, memory| watch_all(address, memory))
    })
}

/// How much more memory the same watches may take when another client sets them, in KiB: none is kept for those that are
/// gone.
const AGAIN_MAX_KIB: u64 = 48 << 10;

fn watch_all(address: SocketAddr, memory: Memory) -> Result<Figures> {
    let mut figures = watch_once(address, memory)?;
    let first = memory.peak()?;
    watch_once(address, memory)?;
    let again = memory.peak()?.saturating_sub(first);
    ensure!(again < AGAIN_MAX_KIB, "the same watches take {again} KiB more the second time");
    figures.push(("memory more when another client does the same", again, "KiB"));
    Ok(figures)
}

fn watch_once(address: SocketAddr, memory: Memory) -> Result<Figures> {
    let before = memory.now()?;
    let mut client = connect(address, WATCHER_MS)?;
    let began = Instant::now();
    for first in (0..WATCHES).step_by(WATCHES_AT_ONCE) {
        let exists = (first..first + WATCHES_AT_ONCE).map(|number| format!("/watched/{number:09}")).collect();
        // Nothing of this has happened: each is a watch for a node that is not there.
        let watches = Watches { seen: 1 << 40, exists, ..Watches::default() };
        let reply = client.call(&Op::SetWatches(watches))?;
        ensure!(reply.code == 0, "watches are refused with {}", reply.code);
    }
    let took = began.elapsed();
    let counted = told(address, "zk_watch_count")?;
    ensure!(counted >= u64::try_from(WATCHES)?, "{counted} watches of {WATCHES}");
    let bytes = (memory.now()?.saturating_sub(before) << 10) / u64::try_from(WATCHES)?;
    let left = Instant::now();
    drop(client);
    while told(address, "zk_watch_count")? > 0 {
        ensure!(left.elapsed() < Duration::from_secs(20), "the watches of a client that is gone stay");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(vec![
        ("watches of one client", counted, ""),
        ("bytes a watch, with a path of 18", bytes, "B"),
        ("until all were set", ms(took), "ms"),
        ("until all were gone", ms(left.elapsed()), "ms"),
    ])
}

/// Connections that stay idle.
const IDLE: usize = 10_000;
/// What each may cost, in bytes.
const IDLE_BYTES_MAX: u64 = 8 << 10;
/// Their session timeout; the case is over sooner.
const IDLE_MS: i32 = 40_000;
/// How long they are idle.
const IDLE_LASTS: Duration = Duration::from_secs(5);

pub(super) fn idle(place: &Place) -> Result<Figures> {
    let (mut ensemble, address) = place.alone("", &["prlimit", "--nofile=15000:15000"])?;
    let growth_max_kib = ((IDLE_BYTES_MAX * u64::try_from(IDLE)?) >> 10) + (32 << 10);
    with_words(&mut ensemble, |ensemble| {
        beside(ensemble, address, growth_max_kib, |_, memory| be_idle(address, memory))
    })
}

fn be_idle(address: SocketAddr, memory: Memory) -> Result<Figures> {
    let before = memory.now()?;
    let began = Instant::now();
    let mut crowd = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        let mut stream = dial(address).context("this case holds 10,000 sockets: ulimit -n is to be above")?;
        stream.write_all(&handshake(IDLE_MS))?;
        crowd.push(stream);
    }
    for stream in &crowd {
        frame(stream)?.context("a connection is refused")?;
    }
    let took = began.elapsed();
    let bytes = (memory.now()?.saturating_sub(before) << 10) / u64::try_from(IDLE)?;
    thread::sleep(IDLE_LASTS);
    let alive = told(address, "zk_num_alive_connections")?;
    ensure!(alive >= u64::try_from(IDLE)?, "{alive} connections of {IDLE} are left");
    // Nobody among them is forgotten.
    let ping = Encoder::new().int(-2).int(11).frame();
    for stream in &mut crowd {
        stream.write_all(&ping)?;
    }
    for stream in &crowd {
        frame(stream)?.context("a connection that was idle is gone")?;
    }
    Ok(vec![
        ("connections with a session, idle", alive, ""),
        ("bytes a connection", bytes, "B"),
        ("until all had their session", ms(took), "ms"),
    ])
}

/// Connections to a port between servers that say little and stay.
const SILENT: usize = 300;
/// How long they are given to be closed.
const SILENT_LASTS: Duration = Duration::from_secs(25);
/// What they may cost the leader, in KiB.
const SILENT_GROWTH_MAX_KIB: u64 = 32 << 10;

pub(super) fn silent_peers(place: &Place) -> Result<Figures> {
    let mut ensemble = place.ensemble(3, "", &[])?;
    ensemble.start_all()?;
    with_words(&mut ensemble, be_silent)
}

/// Beginnings of greetings, on both ports of a leader, and then nothing.
fn be_silent(ensemble: &mut Ensemble) -> Result<Figures> {
    let leader = ensemble.await_serving(SERVING_PATIENCE)?;
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let quorum = ensemble.quorum_ports().nth(leader - 1).map(local).context("a quorum port")?;
    let election = ensemble.election_ports().nth(leader - 1).map(local).context("an election port")?;
    let client = ensemble.addresses()[leader - 1];
    let memory = Memory::watch(ensemble, leader)?;
    let before = memory.now()?;
    let probe = Probe::start(client, "/probe")?;
    // Half a FOLLOWERINFO; half a greeting of server 2.
    let packet = Encoder::new().int(11).long(0).bytes(&[0; 20]).int(-1).body();
    let hello = Encoder::new().long(-65_536).long(2).bytes(b"127.0.0.1:1").body();
    let began = Instant::now();
    let mut held = Vec::new();
    for number in 0..SILENT {
        for (port, bytes) in [(quorum, &packet), (election, &hello)] {
            let mut stream = dial(port)?;
            // From nothing at all to all but the last byte. It may be closed at once.
            let _ = stream.write_all(&bytes[..number % bytes.len()]);
            stream.set_nonblocking(true)?;
            held.push(stream);
        }
    }
    let all = held.len();
    while !held.is_empty() && began.elapsed() < SILENT_LASTS {
        held.retain_mut(stands);
        thread::sleep(Duration::from_millis(100));
        ensemble.check_alive()?;
    }
    let (closed, took) = (all - held.len(), began.elapsed());
    ensure!(held.is_empty(), "{} of {all} connections stand after {took:?}, and say nothing", held.len());
    let waits = probe.end()?;
    let growth = memory.peak()?.saturating_sub(before);
    ensure!(growth < SILENT_GROWTH_MAX_KIB, "they cost {growth} KiB");
    ensure!(waits.max < OTHERS_MAX_US, "clients waited for {} us", waits.max);
    ensure!(ensemble.await_serving(SERVING_PATIENCE)? == leader, "they made an election");
    let mut other = join(client)?;
    ensure!(other.call(&Op::GetData("/".to_owned()))?.code == 0, "a new client is not served");
    Ok(vec![
        ("connections to ports between servers, all closed", u64::try_from(closed)?, ""),
        ("all of them gone within", ms(took), "ms"),
        ("resident before", before >> 10, "MiB"),
        ("resident at most", memory.peak()? >> 10, "MiB"),
        ("resident after", memory.now()? >> 10, "MiB"),
        ("set and get of others: median", waits.p50, "us"),
        ("set and get of others: worst", waits.max, "us"),
    ])
}

/// Whether the other side has not hung up.
fn stands(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}
