//! One set, and everybody who watches is told.

use std::{
    net::SocketAddr,
    num::NonZero,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use rustix::{
    event::{Timespec, epoll},
    fd::OwnedFd,
};

use crate::{
    connection::{self, Connection},
    frame,
    value::value,
    workload::own,
};

/// How many watch.
pub const WATCHERS: usize = 9000;
/// How often the node is set.
const SETS: u32 = 5;
/// How long they may take to be told.
const PATIENCE: Duration = Duration::from_secs(30);
/// The event that tells of new data, and the state of a session that is well.
const DATA_CHANGED: (i32, i32) = (3, 3);

/// How long each set took to reach the last watcher.
///
/// The watchers are shared out to as many threads as there are processors: one alone takes longer to hear of the set
/// than servers take to tell of it.
///
/// # Errors
/// If somebody is told something else, or not in time.
pub fn run(addresses: &[SocketAddr]) -> Result<Vec<Duration>> {
    let path = own(0);
    let mut setter = connection::open(addresses, 1)?.remove(0);
    let mut crowds = crowds(connection::open(addresses, WATCHERS)?)?;
    let mut took = Vec::new();
    for number in 0..SETS {
        let xid = i32::try_from(number + 1)?;
        for crowd in &mut crowds {
            crowd.watch(xid, &path)?;
        }
        let set_value = value(path.as_bytes(), number);
        took.push(thread::scope(|scope| -> Result<Duration> {
            let told = crowds.iter_mut().map(|crowd| scope.spawn(|| crowd.await_events(path.as_bytes())));
            let told: Vec<_> = told.collect();
            let started = Instant::now();
            setter.call(xid, |out| frame::set(out, xid, path.as_bytes(), &set_value))?;
            for crowd in told {
                crowd.join().map_err(|_| anyhow!("a thread that listens panicked"))??;
            }
            Ok(started.elapsed())
        })?);
    }
    let xid = i32::try_from(SETS + 1)?;
    for crowd in &mut crowds {
        crowd.close(xid)?;
    }
    setter.call(xid, |out| frame::close(out, xid))?;
    Ok(took)
}

/// Watchers that one thread listens to.
struct Crowd {
    watchers: Vec<Connection>,
    poll: OwnedFd,
}

/// The watchers, shared out.
fn crowds(mut watchers: Vec<Connection>) -> Result<Vec<Crowd>> {
    let count = thread::available_parallelism().map_or(1, NonZero::get);
    let each = watchers.len().div_ceil(count);
    let mut crowds = Vec::with_capacity(count);
    while !watchers.is_empty() {
        let rest = watchers.split_off(each.min(watchers.len()));
        crowds.push(Crowd::new(std::mem::replace(&mut watchers, rest))?);
    }
    Ok(crowds)
}

impl Crowd {
    fn new(watchers: Vec<Connection>) -> Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (number, watcher) in watchers.iter().enumerate() {
            let data = epoll::EventData::new_u64(u64::try_from(number)?);
            epoll::add(&poll, &watcher.stream, data, epoll::EventFlags::IN)?;
        }
        Ok(Self { watchers, poll })
    }

    /// Leaves a watch on the node for each.
    fn watch(&mut self, xid: i32, path: &str) -> Result<()> {
        for watcher in &mut self.watchers {
            frame::look(&mut watcher.out, xid, frame::GET_DATA, path.as_bytes(), true);
            watcher.send()?;
        }
        for watcher in &mut self.watchers {
            let reply = watcher.next_blocking()?;
            let (head, _) = frame::head(&reply)?;
            ensure!(head.xid == xid && head.error == 0, "a watch was not set: {head:?}");
            watcher.stream.set_nonblocking(true)?;
        }
        Ok(())
    }

    /// Ends all sessions: left to time out, they would live on in the servers, for other rows to count.
    fn close(&mut self, xid: i32) -> Result<()> {
        for watcher in &mut self.watchers {
            frame::close(&mut watcher.out, xid);
            watcher.send()?;
        }
        for watcher in &mut self.watchers {
            let reply = watcher.next_blocking()?;
            let (head, _) = frame::head(&reply)?;
            ensure!(head.xid == xid && head.error == 0, "a session was not closed: {head:?}");
        }
        Ok(())
    }

    /// Waits until each is told, once.
    fn await_events(&mut self, path: &[u8]) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut told = vec![false; self.watchers.len()];
        let mut left = self.watchers.len();
        let mut events = Vec::with_capacity(1024);
        let wait = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        while left > 0 {
            ensure!(Instant::now() < deadline, "{left} watchers were not told within {PATIENCE:?}");
            events.clear();
            epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), Some(&wait))?;
            for event in &events {
                let number = usize::try_from(event.data.u64())?;
                let watcher = &mut self.watchers[number];
                watcher.receive()?;
                while let Some(reply) = watcher.next_frame()? {
                    let (head, body) = frame::head(reply)?;
                    let mut read = frame::Reader(body);
                    ensure!(head.xid == frame::EVENT_XID, "request {} is answered, none was made", head.xid);
                    let event = (read.int()?, read.int()?);
                    ensure!(event == DATA_CHANGED && read.bytes()? == path, "a wrong event: {event:?}");
                    ensure!(!told[number], "a watcher is told twice");
                    told[number] = true;
                    left -= 1;
                }
            }
        }
        Ok(())
    }
}
