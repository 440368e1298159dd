//! The load: connections with a number of requests under way, driven by a few threads.
//!
//! A thread waits for its sockets, reads once from each that is ready, judges every answer, asks as much as was
//! answered, and sends that with one write. So the generator costs little beside the servers on the same cores.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Barrier,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use rustix::{
    event::{Timespec, epoll},
    fd::OwnedFd,
};

use crate::{
    connection::{self, Connection, Sent},
    frame,
    workload::{Client, Kind, Question},
};

/// Of how many answers one is looked at closely.
const CLOSELY_EVERY: u64 = 100;
/// How long nothing may come.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How long one wait lasts at most, so that silence and the end are seen.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// How many loads this process has run.
static RUNS: AtomicU32 = AtomicU32::new(0);

/// What to run.
#[derive(Clone, Debug)]
pub struct Load {
    /// What is asked.
    pub kind: Kind,
    /// How many connections, spread over the servers.
    pub connections: usize,
    /// How many operations each has under way.
    pub outstanding: usize,
    /// How many threads drive them.
    pub threads: usize,
    /// What is not counted at the beginning.
    pub warm: Duration,
    /// What is counted; a load that ends by itself may end earlier.
    pub window: Duration,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Measured {
    /// How many operations were answered within the window.
    pub operations: u64,
    /// How many of them with an error, over the whole run.
    pub errors: u64,
    /// How many answers were looked at closely.
    pub judged: u64,
    /// From sending to the answer, in nanoseconds.
    pub latency: Histogram<u64>,
    /// How long the window was.
    pub window: Duration,
}

/// A histogram of times, in nanoseconds, up to a minute.
///
/// # Errors
/// Never, with these bounds.
pub fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

/// Runs a load, and calls `at_start` and `at_end` around its window, on this thread.
///
/// # Errors
/// If an answer is wrong, out of order or missing.
pub fn run(
    load: &Load,
    addresses: &[SocketAddr],
    at_start: impl FnOnce(),
    at_end: impl FnOnce(),
) -> Result<Measured> {
    let threads = load.threads.min(load.connections).max(1);
    let ready = Barrier::new(threads + 1);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let all = connection::open(addresses, load.connections)?;
    let mut shares: Vec<Vec<Lane>> = (0..threads).map(|_| Vec::new()).collect();
    for (number, connection) in all.into_iter().enumerate() {
        let lane = Lane::new(connection, Client::new(load.kind, u32::try_from(number)?, run))?;
        // By turns of servers, so that each thread has connections to each.
        shares[number / addresses.len() % threads].push(lane);
    }
    thread::scope(|scope| {
        let running: Vec<_> = shares
            .into_iter()
            .map(|lanes| scope.spawn(|| Driver::new(load, lanes).and_then(|driver| driver.drive(&ready))))
            .collect();
        ready.wait();
        thread::sleep(load.warm);
        at_start();
        let end = Instant::now() + load.window;
        while Instant::now() < end && !running.iter().all(thread::ScopedJoinHandle::is_finished) {
            thread::sleep(Duration::from_millis(5).min(end.saturating_duration_since(Instant::now())));
        }
        at_end();
        let mut total: Option<Measured> = None;
        for thread in running {
            let Ok(outcome) = thread.join() else { bail!("a thread of the load panicked") };
            let seen = outcome?;
            match &mut total {
                None => total = Some(seen),
                Some(total) => total.add(&seen)?,
            }
        }
        total.context("no thread ran")
    })
}

impl Measured {
    fn add(&mut self, other: &Self) -> Result<()> {
        self.operations += other.operations;
        self.errors += other.errors;
        self.judged += other.judged;
        self.latency.add(&other.latency)?;
        self.window = self.window.max(other.window);
        Ok(())
    }
}

/// A question that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Pending {
    xid: i32,
    question: Question,
    asked: Instant,
}

/// A connection with what it asks.
#[derive(Debug)]
struct Lane {
    connection: Connection,
    client: Client,
    pending: VecDeque<Pending>,
    xid: i32,
    /// Nothing more is asked.
    done: bool,
    blocked: bool,
}

impl Lane {
    fn new(mut connection: Connection, mut client: Client) -> Result<Self> {
        if let Some(path) = client.set_alone() {
            let body =
                connection.call(1, |out| frame::look(out, 1, frame::GET_DATA, path.as_bytes(), false))?;
            client.learn(&body).with_context(|| format!("{path} cannot be read"))?;
        }
        connection.stream.set_nonblocking(true)?;
        Ok(Self { connection, client, pending: VecDeque::new(), xid: 1, done: false, blocked: false })
    }

    /// Asks one operation, which may be more than one request.
    fn ask(&mut self, now: Instant) {
        while !self.done {
            self.xid += 1;
            match self.client.ask(self.xid, &mut self.connection.out) {
                Some(question) => {
                    self.pending.push_back(Pending { xid: self.xid, question, asked: now });
                    if question != Question::Sync {
                        return;
                    }
                }
                None => self.done = true,
            }
        }
    }

    fn stop(&mut self, now: Instant) {
        if !self.done {
            self.done = true;
            self.xid += 1;
            if let Some(question) = self.client.ask_last(self.xid, &mut self.connection.out) {
                self.pending.push_back(Pending { xid: self.xid, question, asked: now });
            }
        }
    }
}

/// One thread's connections.
struct Driver<'a> {
    load: &'a Load,
    lanes: Vec<Lane>,
    poll: OwnedFd,
    seen: Measured,
    answers: u64,
    /// What of the time counts; known once all are ready.
    window: (Instant, Instant),
}

impl<'a> Driver<'a> {
    fn new(load: &'a Load, lanes: Vec<Lane>) -> Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (number, lane) in lanes.iter().enumerate() {
            let data = epoll::EventData::new_u64(u64::try_from(number)?);
            epoll::add(&poll, &lane.connection.stream, data, epoll::EventFlags::IN)?;
        }
        let now = Instant::now();
        let seen =
            Measured { operations: 0, errors: 0, judged: 0, latency: histogram()?, window: load.window };
        Ok(Self { load, lanes, poll, seen, answers: 0, window: (now, now) })
    }

    fn drive(mut self, ready: &Barrier) -> Result<Measured> {
        ready.wait();
        let start = Instant::now() + self.load.warm;
        self.window = (start, start + self.load.window);
        for number in 0..self.lanes.len() {
            for _ in 0..self.load.outstanding {
                self.lanes[number].ask(Instant::now());
            }
            self.send(number)?;
        }
        let mut last = Instant::now();
        let mut stopping = false;
        let mut events = Vec::with_capacity(256);
        while self.lanes.iter().any(|lane| !lane.done || !lane.pending.is_empty()) {
            events.clear();
            match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&WAIT)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot wait for sockets"),
            }
            for event in &events {
                self.serve(usize::try_from(event.data.u64())?)?;
            }
            let now = Instant::now();
            if !events.is_empty() {
                last = now;
            }
            ensure!(now < last + SILENCE_MAX, "{} requests are not answered", self.unanswered());
            if now >= self.window.1 && !stopping {
                stopping = true;
                for number in 0..self.lanes.len() {
                    self.lanes[number].stop(now);
                    self.send(number)?;
                }
            }
        }
        let end = Instant::now().min(self.window.1);
        self.seen.window = end.saturating_duration_since(self.window.0);
        Ok(self.seen)
    }

    fn unanswered(&self) -> usize {
        self.lanes.iter().map(|lane| lane.pending.len()).sum()
    }

    fn serve(&mut self, number: usize) -> Result<()> {
        let lane = &mut self.lanes[number];
        lane.connection.receive()?;
        let now = Instant::now();
        while let Some(reply) = lane.connection.next_frame()? {
            let (head, body) = frame::head(reply)?;
            let Some(pending) = lane.pending.pop_front() else {
                bail!("an answer to nothing: request {}, error {}", head.xid, head.error);
            };
            ensure!(head.xid == pending.xid, "request {} is answered as {}", pending.xid, head.xid);
            self.answers += 1;
            if head.error == 0 {
                let closely = self.answers.is_multiple_of(CLOSELY_EVERY);
                lane.client.judge(pending.question, head.zxid, body, closely)?;
                self.seen.judged += u64::from(closely);
            } else {
                self.seen.errors += 1;
            }
            if matches!(pending.question, Question::Sync | Question::GetOwn(_)) {
                continue;
            }
            if now >= self.window.0 && now < self.window.1 {
                self.seen.operations += 1;
                let took = now.saturating_duration_since(pending.asked).as_nanos();
                self.seen.latency.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
            }
            lane.ask(now);
        }
        self.send(number)
    }

    /// Sends what a connection has, and waits for room if there is none.
    fn send(&mut self, number: usize) -> Result<()> {
        let lane = &mut self.lanes[number];
        let blocked = lane.connection.send()? == Sent::Blocked;
        if blocked != lane.blocked {
            lane.blocked = blocked;
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, blocked);
            let data = epoll::EventData::new_u64(u64::try_from(number)?);
            epoll::modify(&self.poll, &lane.connection.stream, data, flags)?;
        }
        Ok(())
    }
}
