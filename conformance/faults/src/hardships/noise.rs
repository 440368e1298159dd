//! Bytes that mean nothing, on every port.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    Figures,
    place::{Memory, Place, ms},
    probe::Probe,
};
use crate::{conductor::Trial, jute::Encoder, session::SERVING_PATIENCE};

/// Connections with random bytes, on each port.
const RANDOM: u64 = 200;
/// Bytes that are pushed behind a length that promises more.
const PUSHED: usize = 24 << 20;
/// Connections that push at once.
const PUSHERS: usize = 6;
/// What all the noise may cost one server at once, in KiB.
const GROWTH_MAX_KIB: u64 = 96 << 10;
/// How many lines a port's noise may leave in the log of one server.
const LINES_MAX: usize = 40;

/// Numbers that look like chance; the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 29)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    fn bytes(&mut self, count: u64) -> Vec<u8> {
        (0..count).map(|_| self.roll().to_le_bytes()[0]).collect()
    }
}

pub(super) fn noise(place: &Place) -> Result<Figures> {
    let ensemble = place.ensemble(3, "", &[])?;
    let mut trial = Trial::begin(ensemble, 2, 2)?;
    let outcome = make_noise(&mut trial);
    if outcome.is_err() {
        eprintln!("{}", trial.ensemble.last_words());
    }
    outcome
}

/// What is said on one port.
struct Noise {
    /// Then it hangs up.
    said: Vec<Vec<u8>>,
    /// Then more and more follows, on several connections at once.
    pushed: Vec<Vec<u8>>,
}

fn make_noise(trial: &mut Trial) -> Result<Figures> {
    trial.run();
    trial.await_writes(500, SERVING_PATIENCE)?;
    let leader = trial.ensemble.await_serving(SERVING_PATIENCE)?;
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let client = trial.ensemble.addresses()[leader - 1];
    let quorum = trial.ensemble.quorum_ports().nth(leader - 1).map(local).context("a quorum port")?;
    let election = trial.ensemble.election_ports().nth(leader - 1).map(local).context("an election port")?;
    let probe = Probe::start(client, "/probe")?;
    let mut dice = Dice(17);
    let mut figures = Figures::new();
    let ports = [
        (
            client,
            client_noise(&mut dice),
            ["client port: memory more", "client port: lines", "client port: closed after"],
        ),
        (
            quorum,
            quorum_noise(&mut dice),
            ["quorum port: memory more", "quorum port: lines", "quorum port: closed after"],
        ),
        (
            election,
            election_noise(&mut dice),
            ["election port: memory more", "election port: lines", "election port: closed after"],
        ),
    ];
    for (port, noise, [of_memory, of_lines, of_time]) in ports {
        let words = trial.ensemble.output(leader)?.len();
        let memory = Memory::watch(&trial.ensemble, leader)?;
        let before_kib = memory.now()?;
        let longest = noise.make(port, &mut dice).context(of_time)?;
        trial.ensemble.check_alive()?;
        let growth = memory.peak()?.saturating_sub(before_kib);
        ensure!(growth < GROWTH_MAX_KIB, "{of_memory}: {growth} KiB");
        let output = trial.ensemble.output(leader)?;
        ensure!(!output.contains("panicked"), "the server panicked");
        let lines = output[words..].lines().filter(|line| line.contains("WARN")).count();
        ensure!((1..=LINES_MAX).contains(&lines), "{of_lines}: {lines}, where 1 to {LINES_MAX} are expected");
        figures.push((of_memory, growth, "KiB"));
        figures.push((of_lines, u64::try_from(lines)?, ""));
        figures.push((of_time, ms(longest), "ms"));
    }
    let waits = probe.end()?;
    figures.push(("set and get of others: median", waits.p50, "us"));
    figures.push(("set and get of others: worst", waits.max, "us"));
    ensure!(trial.ensemble.await_serving(SERVING_PATIENCE)? == leader, "noise made an election");
    let round = trial.judge()?;
    ensure!(round.inconclusive == 0, "{} sessions died", round.inconclusive);
    Ok(figures)
}

impl Noise {
    /// Makes it, with random bytes before; how long the server took to hang up, at most.
    fn make(&self, port: SocketAddr, dice: &mut Dice) -> Result<Duration> {
        for _ in 0..RANDOM {
            let count = 1 + dice.below(600);
            say(port, &dice.bytes(count))?;
        }
        for bytes in &self.said {
            say(port, bytes)?;
        }
        let mut longest = Duration::ZERO;
        for bytes in &self.pushed {
            let head = &bytes[..bytes.len().min(32)];
            longest = longest.max(push(port, bytes).with_context(|| format!("{head:02x?}"))?);
        }
        Ok(longest)
    }
}

/// Says something and hangs up.
fn say(to: SocketAddr, bytes: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
    // It may be closed already: that is the server's right.
    let _ = stream.write_all(bytes);
    Ok(())
}

/// Several connections at once say something and push more behind it, until the server hangs up; how long that took
/// at most.
fn push(to: SocketAddr, bytes: &[u8]) -> Result<Duration> {
    let began = Instant::now();
    let pushers: Vec<_> = (0..PUSHERS)
        .map(|_| {
            let bytes = bytes.to_vec();
            thread::spawn(move || -> Result<()> {
                let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
                stream.set_write_timeout(Some(Duration::from_secs(15)))?;
                stream.set_read_timeout(Some(Duration::from_secs(15)))?;
                let more = vec![0x41; 1 << 20];
                if stream.write_all(&bytes).is_err() {
                    return Ok(());
                }
                let mut pushed = 0;
                while pushed < PUSHED && stream.write_all(&more).is_ok() {
                    pushed += more.len();
                }
                let mut answer = [0; 4096];
                while let Ok(1..) = stream.read(&mut answer) {}
                Ok(())
            })
        })
        .collect();
    for pusher in pushers {
        pusher.join().map_err(|_| anyhow::anyhow!("a pusher panicked"))??;
    }
    let took = began.elapsed();
    ensure!(took < Duration::from_secs(14), "a connection with noise was not closed for {took:?}");
    Ok(took)
}

/// Frames that promise much, handshakes and requests that end early or hold what cannot be.
fn client_noise(dice: &mut Dice) -> Noise {
    let hello = |password: i32| Encoder::new().int(0).long(0).int(10_000).long(0).int(password).frame();
    let good = Encoder::new().int(0).long(0).int(10_000).long(0).bytes(&[0; 16]).bool(false).frame();
    let behind_good = |request: &[u8]| [good.clone(), Encoder::new().bytes(request).body()].concat();
    // Each operation with a body of chance, and with a count that promises much.
    let mut said = Vec::new();
    for op in (-12..=110).chain([i32::MAX, i32::MIN]) {
        for body in [vec![0x7f, 0xff, 0xff, 0xff, 0, 0], dice.bytes(40)] {
            said.push(behind_good(&[Encoder::new().int(1).int(op).body(), body].concat()));
        }
    }
    // A multi whose list has no end.
    let mut multi = Encoder::new().int(1).int(14).body();
    for _ in 0..50_000 {
        multi.extend(Encoder::new().int(13).bool(false).int(-1).bytes(b"/").int(-1).body());
    }
    let pushed = vec![
        i32::MAX.to_be_bytes().to_vec(),
        (-1_i32).to_be_bytes().to_vec(),
        0_i32.to_be_bytes().to_vec(),
        0x10_0000_i32.to_be_bytes().to_vec(),
        hello(i32::MAX),
        hello(-2),
        hello(1 << 30),
        behind_good(&multi),
        [good.clone(), i32::MAX.to_be_bytes().to_vec()].concat(),
    ];
    Noise { said, pushed }
}

/// First packets that are none, or promise much.
fn quorum_noise(dice: &mut Dice) -> Noise {
    let packet = |kind: i32, length: i32| Encoder::new().int(kind).long(0).int(length).body();
    let mut known = Encoder::new().int(11).long(0).body();
    known.extend(Encoder::new().bytes(&[0xff; 20]).body());
    known.extend(Encoder::new().int(i32::MAX).body());
    let pushed = vec![
        packet(11, i32::MAX),
        packet(11, 60 << 20),
        packet(11, -5),
        packet(2, 60 << 20),
        packet(15, 0),
        packet(99, 4),
        known,
        dice.bytes(64),
    ];
    Noise { said: Vec::new(), pushed }
}

/// Greetings of nobody, and lists of addresses without end.
fn election_noise(dice: &mut Dice) -> Noise {
    let hello =
        |version: i64, sid: i64, length: i32| Encoder::new().long(version).long(sid).int(length).body();
    // One that says it is another server, and then too much.
    let mut impostor = hello(-65_536, 2, 11);
    impostor.extend_from_slice(b"127.0.0.1:1");
    impostor.extend_from_slice(&i32::MAX.to_be_bytes());
    let pushed = vec![
        impostor,
        hello(-65_536, 2, i32::MAX),
        hello(-65_536, 2, -1),
        hello(-65_535, 99, 2_000),
        hello(-1, 2, 10),
        hello(99, 0, 0),
        hello(i64::MIN, 0, 0),
        dice.bytes(64),
    ];
    Noise { said: Vec::new(), pushed }
}
