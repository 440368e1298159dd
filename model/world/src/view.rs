//! What the rules see of a server.

use std::hash::{BuildHasher, Hash};

use protocol::{Role, zab::Zab};
use rustc_hash::FxBuildHasher;
use spec::{
    Epoch, ServerId, Zxid,
    history::{Entry, Part, Phase, ServerView, Stored},
};

use crate::{Logged, Server, Txn};

/// Logged transactions as rules know them.
pub fn entries(logged: &[Logged]) -> Vec<Entry> {
    logged.iter().map(|(zxid, txn)| entry(*zxid, txn, DIGEST)).collect()
}

fn entry<T>(zxid: Zxid, txn: &T, digest: fn(&T) -> u64) -> Entry {
    Entry { zxid, digest: digest(txn) }
}

/// A number says all about itself.
const DIGEST: fn(&Txn) -> u64 = |txn| u64::from(*txn);

/// Tells values apart.
pub(crate) fn hash_of(value: &impl Hash) -> u64 {
    FxBuildHasher.hash_one(value)
}

impl Server {
    /// This server as it stands.
    pub fn view(&self) -> ServerView {
        let durable = self.disk.durable().ok().map(|durable| entries(&durable));
        let view = down(self.id, !self.zab().is_observer(), self.disk.epochs(), durable);
        if self.process.booting {
            return view;
        }
        let (logged, state) = (self.disk.logged(), &self.process.state);
        // While a truncation or a snapshot is under way, the state is not meant to be what the log says.
        let states = (!self.disk.in_flux()).then(|| {
            let processed = state.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
            let through = logged.partition_point(|(zxid, _)| *zxid <= processed);
            (hash_of(&&state[..]), hash_of(&&logged[..through]))
        });
        up(view, &self.process.zab, entries(state), entries(&logged), DIGEST, states)
    }
}

/// What is to be seen of a server that has not finished its start; nothing durable if its disk would be refused.
pub fn down(
    id: ServerId,
    votes: bool,
    (accepted, current): (Epoch, Epoch),
    durable: Option<Vec<Entry>>,
) -> ServerView {
    let stored = |durable: Epoch| Stored { memory: durable, durable };
    let recovers = durable.is_some();
    let durable = durable.unwrap_or_default();
    ServerView {
        id,
        votes,
        part: Part::Down,
        serving: false,
        accepted: stored(accepted),
        current: stored(current),
        joined: None,
        logged: durable.clone(),
        durable,
        delivered: Vec::new(),
        window: Vec::new(),
        processed: Zxid::ZERO,
        state: 0,
        replayed: 0,
        recovers,
    }
}

/// The same of one that has, as far as its actor tells.
pub fn acting<T: Clone>(view: ServerView, zab: &Zab<T>) -> ServerView {
    ServerView {
        part: part(zab),
        serving: zab.is_serving(),
        accepted: Stored { memory: accepted(zab), ..view.accepted },
        current: Stored { memory: zab.current(), ..view.current },
        joined: zab.joined(),
        ..view
    }
}

/// The same with what it has applied and logged, and the digests of its state and of what the log says that it should
/// be, if it should.
pub(crate) fn up<T: Clone>(
    view: ServerView,
    zab: &Zab<T>,
    state: Vec<Entry>,
    logged: Vec<Entry>,
    digest: fn(&T) -> u64,
    states: Option<(u64, u64)>,
) -> ServerView {
    let mut view = acting(view, zab);
    view.processed = state.last().map_or(Zxid::ZERO, |entry| entry.zxid);
    view.delivered = state;
    view.delivered.retain(|entry| entry.zxid <= zab.committed());
    if let Some((held, replayed)) = states {
        (view.state, view.replayed) = (held, replayed);
        let applied = zab.history().applied();
        let window = zab.history().entries().filter(|(zxid, _)| *zxid <= applied);
        view.window = window.map(|(zxid, txn)| entry(*zxid, txn, digest)).collect();
    }
    view.logged = logged;
    view
}

/// The promise that the process works with.
fn accepted<T: Clone>(zab: &Zab<T>) -> Epoch {
    match zab.role() {
        Some((Role::Following(_) | Role::Observing(_), epoch)) => epoch.max(zab.accepted()),
        Some((Role::Leading, _)) | None => zab.accepted(),
    }
}

/// What part in the ensemble this actor plays.
fn part<T: Clone>(zab: &Zab<T>) -> Part {
    let phase = match (zab.is_past_discovery(), zab.is_serving()) {
        (_, true) => Phase::Broadcast,
        (true, false) => Phase::Synchronisation,
        (false, false) => Phase::Discovery,
    };
    match zab.role() {
        None => Part::Looking,
        Some((Role::Leading, _)) => Part::Leading(phase),
        Some((Role::Following(leader) | Role::Observing(leader), _)) => Part::Following(leader, phase),
    }
}
