//! One set, and everybody who watches is told.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rustix::event::{Timespec, epoll};

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
/// # Errors
/// If somebody is told something else, or not in time.
pub fn run(addresses: &[SocketAddr]) -> Result<Vec<Duration>> {
    let path = own(0);
    let mut watchers = connection::open(addresses, WATCHERS)?;
    let mut setter = connection::open(addresses, 1)?.remove(0);
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (number, watcher) in watchers.iter().enumerate() {
        let data = epoll::EventData::new_u64(u64::try_from(number)?);
        epoll::add(&poll, &watcher.stream, data, epoll::EventFlags::IN)?;
    }
    let mut took = Vec::new();
    for number in 0..SETS {
        let xid = i32::try_from(number + 1)?;
        watch(&mut watchers, xid, &path)?;
        let started = Instant::now();
        let set_value = value(path.as_bytes(), number);
        setter.call(xid, |out| frame::set(out, xid, path.as_bytes(), &set_value))?;
        await_events(&mut watchers, &poll, path.as_bytes())?;
        took.push(started.elapsed());
    }
    Ok(took)
}

fn watch(watchers: &mut [Connection], xid: i32, path: &str) -> Result<()> {
    for watcher in &mut *watchers {
        frame::look(&mut watcher.out, xid, frame::GET_DATA, path.as_bytes(), true);
        watcher.send()?;
    }
    for watcher in watchers {
        let reply = watcher.next_blocking()?;
        let (head, _) = frame::head(&reply)?;
        ensure!(head.xid == xid && head.error == 0, "a watch was not set: {head:?}");
        watcher.stream.set_nonblocking(true)?;
    }
    Ok(())
}

fn await_events(watchers: &mut [Connection], poll: &impl rustix::fd::AsFd, path: &[u8]) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut told = vec![false; watchers.len()];
    let mut left = watchers.len();
    let mut events = Vec::with_capacity(1024);
    let wait = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    while left > 0 {
        ensure!(Instant::now() < deadline, "{left} watchers were not told within {PATIENCE:?}");
        events.clear();
        epoll::wait(poll, rustix::buffer::spare_capacity(&mut events), Some(&wait))?;
        for event in &events {
            let number = usize::try_from(event.data.u64())?;
            watchers[number].receive()?;
            while let Some(reply) = watchers[number].next_frame()? {
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
