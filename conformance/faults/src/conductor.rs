//! One trial: an ensemble, the clients that write to it, and the judgement after each fault.
//!
//! A round ends at rest: every client has its replies or a broken connection, every server runs, and each server in
//! turn is asked what it shows. That must be the same on all of them, and within every client's account.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    client::{Client, Kind, Op, Stat},
    content::Claim,
    ensemble::{Ensemble, TICK_MS},
    ledger::{Ack, Broken, Ledger, Reading, judge_order, longest_gap},
    session::{SERVING_PATIENCE, SESSION_TIMEOUT_MS, connect, create},
    worker::{Order, Shared, Worker, ephemeral},
};

/// The timeout of sessions that are abandoned, in milliseconds.
const ABANDONED_TIMEOUT_MS: i32 = 1_000;

/// An ensemble under load.
#[derive(Debug)]
pub struct Trial {
    /// The clients; dropped first, so that they end before their servers.
    pub(crate) workers: Vec<Worker>,
    /// The servers.
    pub ensemble: Ensemble,
    /// What the clients obey.
    pub shared: Arc<Shared>,
    /// Ephemerals of sessions that were closed or abandoned.
    dead: BTreeSet<String>,
    last_zxid: i64,
}

/// What a round showed, where nothing was broken.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// How many writes were acknowledged.
    pub writes: u64,
    /// The longest time without one, in microseconds.
    pub gap: u64,
    /// How many clients lost their session after they had been without contact for over half its timeout: nothing can
    /// be said of their ephemerals.
    pub inconclusive: usize,
}

impl Trial {
    /// Starts the servers and lets `clients` clients rest, each with up to `window` requests under way once they run.
    ///
    /// # Errors
    /// If the ensemble does not serve.
    pub fn begin(mut ensemble: Ensemble, clients: usize, window: usize) -> Result<Self> {
        ensemble.start_all()?;
        ensemble.await_serving(SERVING_PATIENCE)?;
        let addresses = ensemble.addresses();
        let mut client = connect(addresses[0], SESSION_TIMEOUT_MS)?;
        create(&mut client, "/faults", Kind::Persistent)?;
        create(&mut client, "/faults/living", Kind::Persistent)?;
        let shared = Shared::new();
        let mut workers = Vec::new();
        for number in 0..clients {
            let path = Ledger::new(number, 0);
            create(&mut client, &path.folder(), Kind::Persistent)?;
            let zxid = create(&mut client, &path.register(), Kind::Persistent)?;
            let ledger = Ledger::new(number, zxid);
            workers.push(Worker::start(&shared, addresses.clone(), ledger, window, number));
        }
        client.call(&Op::Close)?;
        Ok(Self { workers, ensemble, shared, dead: BTreeSet::new(), last_zxid: 0 })
    }

    /// Opens two more sessions with an ephemeral node each; closes one and abandons the other. Both must go.
    ///
    /// # Errors
    /// If the ensemble does not serve.
    pub fn bury_two(&mut self) -> Result<()> {
        for close in [true, false] {
            let addresses = self.ensemble.addresses();
            let mut client = connect(addresses[self.dead.len() % addresses.len()], ABANDONED_TIMEOUT_MS)?;
            let path = ephemeral(client.session().id);
            create(&mut client, &path, Kind::Ephemeral)?;
            if close {
                let closed = client.call(&Op::Close)?;
                ensure!(closed.code == 0, "closing a session failed with {}", closed.code);
            }
            self.dead.insert(path);
        }
        Ok(())
    }

    /// Lets every client write.
    pub fn run(&self) {
        self.shared.order(Order::Run);
    }

    /// Waits until `count` more writes are acknowledged.
    ///
    /// # Errors
    /// If that takes longer than `patience`, a server ended by itself, or a promise was broken.
    pub fn await_writes(&mut self, count: u64, patience: Duration) -> Result<()> {
        let (goal, deadline) = (self.shared.acked() + count, Instant::now() + patience);
        while self.shared.acked() < goal {
            self.check_promises()?;
            self.ensemble.check_alive()?;
            ensure!(Instant::now() < deadline, "writes do not go on within {patience:?}");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn check_promises(&self) -> Result<()> {
        for worker in &self.workers {
            if let Some(broken) = &worker.state().broken {
                bail!(Broken(broken.clone()));
            }
        }
        Ok(())
    }

    /// What must stand of all that the clients have made, while they rest and everything is settled.
    ///
    /// # Errors
    /// If a client has no session, or no ephemeral node.
    pub fn claims(&self) -> Result<BTreeMap<String, Claim>> {
        let folders = ["/faults", "/faults/living"].map(|path| (path.to_owned(), Claim::holds("0")));
        let mut claims = BTreeMap::from(folders);
        for worker in &self.workers {
            let state = worker.state();
            claims.extend(state.ledger.claims());
            let session = state.session.as_ref().context("a resting client has a session")?;
            let made = state.ephemeral.context("a resting client has an ephemeral")?;
            let (owner, czxid, mzxid, version) = (session.id, Some(made), Some(made), Some(0));
            let claim = Claim { czxid, mzxid, version, owner, ..Claim::holds("") };
            claims.insert(ephemeral(session.id), claim);
        }
        Ok(claims)
    }

    /// The sessions of the clients.
    pub fn sessions(&self) -> Vec<i64> {
        let id = |worker: &Worker| worker.state().session.as_ref().map(|session| session.id);
        self.workers.iter().filter_map(id).collect()
    }

    /// How often a session has gone on at another server.
    pub fn session_moves(&self) -> u64 {
        self.workers.iter().map(|worker| worker.state().moves).sum()
    }

    /// Lets the clients rest, and holds every server against every account.
    ///
    /// # Errors
    /// Says what was lost, reordered, kept or dropped wrongly.
    pub fn judge(&mut self) -> Result<Round> {
        self.rest()?;
        self.judge_at_rest().map_err(|error| Broken::new(&error))
    }

    fn judge_at_rest(&mut self) -> Result<Round> {
        let mut acks: Vec<Ack> = Vec::new();
        let mut inconclusive = 0;
        for worker in &self.workers {
            let mut state = worker.state();
            acks.extend(state.ledger.take_acks());
            for (session, silence) in std::mem::take(&mut state.lost) {
                let half = u64::try_from(SESSION_TIMEOUT_MS / 2)?;
                ensure!(
                    silence > half,
                    "session 0x{session:x} was declared dead, and its client was never without contact for longer \
                     than {silence} ms"
                );
                self.dead.insert(ephemeral(session));
                inconclusive += 1;
            }
        }
        let (writes, gap) = (u64::try_from(acks.len())?, longest_gap(&acks));
        judge_order(&mut acks)?;
        if let (Some(first), Some(last)) = (acks.first(), acks.last()) {
            ensure!(
                first.zxid > self.last_zxid,
                "0x{:x} was acknowledged after 0x{:x} of an earlier round",
                first.zxid,
                self.last_zxid
            );
            self.last_zxid = last.zxid;
        }
        self.judge_servers()?;
        self.judge_ephemerals()?;
        Ok(Round { writes, gap, inconclusive })
    }

    fn rest(&mut self) -> Result<()> {
        self.shared.order(Order::Rest);
        let deadline = Instant::now() + SERVING_PATIENCE;
        loop {
            self.check_promises()?;
            self.ensemble.check_alive()?;
            if self.workers.iter().all(|worker| worker.state().resting) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "not every client has a connection after {SERVING_PATIENCE:?}"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn judge_servers(&mut self) -> Result<()> {
        let mut first: Option<Vec<Reading>> = None;
        for (index, address) in self.ensemble.addresses().into_iter().enumerate() {
            let mut client = connect(address, SESSION_TIMEOUT_MS)?;
            sync(&mut client)?;
            let mut readings = Vec::new();
            for worker in &self.workers {
                let (register, folder) = {
                    let state = worker.state();
                    (state.ledger.register(), state.ledger.folder())
                };
                let (register, stat) = read_register(&mut client, &register)?;
                let names = children(&mut client, &folder)?;
                let reading = Reading { register, stat, names };
                worker.state().ledger.judge(&reading).with_context(|| format!("on server {}", index + 1))?;
                readings.push(reading);
            }
            client.call(&Op::Close)?;
            let same = first.get_or_insert_with(|| readings.clone());
            ensure!(*same == readings, "servers 1 and {} differ: {same:?} and {readings:?}", index + 1);
        }
        for (worker, reading) in self.workers.iter().zip(first.unwrap_or_default()) {
            worker.state().ledger.settle(&reading);
        }
        Ok(())
    }

    /// On each server, the ephemerals of the living stand under their owner, and those of the dead are gone in time.
    fn judge_ephemerals(&mut self) -> Result<()> {
        let timeout = u64::try_from(ABANDONED_TIMEOUT_MS.max(SESSION_TIMEOUT_MS))?;
        let deadline =
            Instant::now() + Duration::from_millis(2 * timeout + 4 * TICK_MS) + SERVING_PATIENCE / 3;
        for (index, address) in self.ensemble.addresses().into_iter().enumerate() {
            loop {
                let shown = read_ephemerals(address)?;
                let mut living = BTreeMap::new();
                for worker in &self.workers {
                    let session = worker.state().session.clone().context("a resting client has a session")?;
                    living.insert(ephemeral(session.id), session.id);
                }
                for (path, owner) in &living {
                    ensure!(
                        shown.get(path) == Some(owner),
                        "on server {}, {path} of a living session is {:x?}",
                        index + 1,
                        shown.get(path)
                    );
                }
                let left: Vec<_> = shown.keys().filter(|path| !living.contains_key(*path)).collect();
                if left.is_empty() {
                    break;
                }
                ensure!(left.iter().all(|path| self.dead.contains(*path)), "ephemerals of nobody: {left:?}");
                ensure!(
                    Instant::now() < deadline,
                    "on server {}, ephemerals of the dead stay: {left:?}",
                    index + 1
                );
                thread::sleep(Duration::from_millis(100));
            }
        }
        self.dead.clear();
        Ok(())
    }
}

fn sync(client: &mut Client) -> Result<()> {
    let reply = client.call(&Op::Sync("/".to_owned()))?;
    ensure!(reply.code == 0, "sync failed with {}", reply.code);
    Ok(())
}

fn read_register(client: &mut Client, path: &str) -> Result<(u64, Stat)> {
    let reply = client.call(&Op::GetData(path.to_owned()))?;
    ensure!(reply.code == 0, "reading {path} failed with {}: it is lost", reply.code);
    let (data, stat) = reply.data()?;
    let number = String::from_utf8(data)?.parse().with_context(|| format!("{path} holds no number"))?;
    Ok((number, stat))
}

fn children(client: &mut Client, path: &str) -> Result<BTreeSet<String>> {
    let reply = client.call(&Op::GetChildren(path.to_owned()))?;
    ensure!(reply.code == 0, "listing {path} failed with {}: it is lost", reply.code);
    Ok(reply.children()?.into_iter().collect())
}

/// Every ephemeral node on a server, with its owner.
fn read_ephemerals(address: SocketAddr) -> Result<BTreeMap<String, i64>> {
    let mut client = connect(address, SESSION_TIMEOUT_MS)?;
    sync(&mut client)?;
    let mut shown = BTreeMap::new();
    for name in children(&mut client, "/faults/living")? {
        let path = format!("/faults/living/{name}");
        let reply = client.call(&Op::GetData(path.clone()))?;
        // It may go between the two reads.
        if reply.code != -101 {
            ensure!(reply.code == 0, "reading {path} failed with {}", reply.code);
            shown.insert(path, reply.data()?.1.owner);
        }
    }
    client.call(&Op::Close)?;
    Ok(shown)
}
