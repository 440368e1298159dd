//! Clients that work beside a hardship: one that measures how long it waits, and one that floods.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};

use super::place::{join, make};
use crate::client::{Kind, Op};

/// However a case ends, its clients end by then.
const RUN_MAX: Duration = Duration::from_mins(10);

/// A client that asks one thing after the other, and measures.
#[derive(Debug)]
pub(super) struct Probe {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Vec<u64>>>>,
}

/// How long answers took, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    pub(super) p50: u64,
    pub(super) max: u64,
}

impl Probe {
    /// Writes and reads a node of its own, a pair every 5 ms.
    pub(super) fn start(to: SocketAddr, path: &str) -> Result<Self> {
        let mut client = join(to)?;
        make(&mut client, path, b"0".to_vec(), Kind::Ephemeral)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, path) = (Arc::clone(&stop), path.to_owned());
        let thread = thread::spawn(move || {
            let (began, mut waits, mut number) = (Instant::now(), Vec::new(), 0_u64);
            while !stopped.load(Ordering::Relaxed) && began.elapsed() < RUN_MAX {
                number += 1;
                let data = number.to_string().into_bytes();
                let asked = Instant::now();
                let set = client.call(&Op::SetData { path: path.clone(), data: data.clone() })?;
                let get = client.call(&Op::GetData(path.clone()))?;
                waits.push(u64::try_from(asked.elapsed().as_micros())?);
                ensure!(set.code == 0 && get.code == 0, "codes {} and {}", set.code, get.code);
                ensure!(get.data()?.0 == data, "a client does not read what it has written");
                thread::sleep(Duration::from_millis(5));
            }
            client.call(&Op::Close)?;
            Ok(waits)
        });
        Ok(Self { stop, thread: Some(thread) })
    }

    /// What it measured.
    ///
    /// # Errors
    /// If an answer was wrong or did not come.
    pub(super) fn end(mut self) -> Result<Waits> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it ends once")?;
        let mut waits = thread
            .join()
            .map_err(|_| anyhow!("a client panicked"))?
            .context("a client beside the hardship was hurt")?;
        waits.sort_unstable();
        let max = waits.last().copied().context("a client beside the hardship got no answer")?;
        Ok(Waits { p50: waits[waits.len() / 2], max })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its case has failed for a reason of its own.
            let _ = thread.join();
        }
    }
}

/// A client that sets large values as fast as they are taken.
#[derive(Debug)]
pub(super) struct Flood {
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<u64>>>,
}

impl Flood {
    /// Sets a node, again and again, to values of so many bytes, of which the first eight are a number; `window`
    /// sets are under way.
    pub(super) fn start(to: SocketAddr, path: &str, bytes: usize, window: usize) -> Result<Self> {
        let mut client = join(to)?;
        make(&mut client, path, vec![0; bytes], Kind::Persistent)?;
        let (stop, acked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count, path) = (Arc::clone(&stop), Arc::clone(&acked), path.to_owned());
        let thread = thread::spawn(move || {
            let (began, mut under_way, mut number) = (Instant::now(), VecDeque::new(), 0_u64);
            loop {
                let ends = stopped.load(Ordering::Relaxed) || began.elapsed() > RUN_MAX;
                while under_way.len() < window && !ends {
                    number += 1;
                    let mut data = vec![0x5a; bytes];
                    data[..8].copy_from_slice(&number.to_be_bytes());
                    under_way.push_back(client.send(&Op::SetData { path: path.clone(), data })?);
                }
                let Some(xid) = under_way.pop_front() else { break };
                let reply = client.receive()?;
                ensure!(reply.xid == xid && reply.code == 0, "reply {} code {}", reply.xid, reply.code);
                count.fetch_add(1, Ordering::Relaxed);
            }
            client.call(&Op::Close)?;
            Ok(number)
        });
        Ok(Self { stop, acked, thread: Some(thread) })
    }

    /// How many sets are acknowledged.
    pub(super) fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Ends it, and returns the number of the last value, which is acknowledged.
    ///
    /// # Errors
    /// If a set failed.
    pub(super) fn end(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it ends once")?;
        thread.join().map_err(|_| anyhow!("the flood panicked"))?.context("the flood was broken")
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its case has failed for a reason of its own.
            let _ = thread.join();
        }
    }
}

/// The number in what a flood has left on a server.
pub(super) fn flooded(at: SocketAddr, path: &str) -> Result<u64> {
    let mut client = join(at)?;
    let synced = client.call(&Op::Sync(path.to_owned()))?;
    ensure!(synced.code == 0, "sync failed with {}", synced.code);
    let reply = client.call(&Op::GetData(path.to_owned()))?;
    ensure!(reply.code == 0, "reading {path} failed with {}", reply.code);
    let (data, _) = reply.data()?;
    client.call(&Op::Close)?;
    Ok(u64::from_be_bytes(*data.first_chunk().context("the value is too short")?))
}
