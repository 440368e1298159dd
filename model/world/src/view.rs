//! What the rules see of a server.

use std::hash::{BuildHasher, Hash};

use protocol::Role;
use rustc_hash::FxBuildHasher;
use spec::{
    Epoch, Zxid,
    history::{Entry, Part, Phase, ServerView, Stored},
};

use crate::{Disk, Logged, Server, server::Process};

/// Logged transactions as rules know them.
pub fn entries(logged: &[Logged]) -> Vec<Entry> {
    logged.iter().map(|(zxid, txn)| Entry { zxid: *zxid, digest: u64::from(*txn) }).collect()
}

fn digest(state: &[Logged]) -> u64 {
    let mut hasher = FxBuildHasher.build_hasher();
    state.hash(&mut hasher);
    std::hash::Hasher::finish(&hasher)
}

impl Server {
    /// This server as it stands.
    pub fn view(&self) -> ServerView {
        let (durable, recovers) = match self.disk.durable() {
            Ok(durable) => (entries(&durable), true),
            Err(_) => (Vec::new(), false),
        };
        let view = self.view_down(durable, recovers);
        if self.process.booting { view } else { self.process.complete(&self.disk, view) }
    }

    /// What is to be seen of a server that has not finished its start.
    fn view_down(&self, durable: Vec<Entry>, recovers: bool) -> ServerView {
        let (accepted, current) = self.disk.epochs();
        let down = |durable: Epoch| Stored { memory: durable, durable };
        ServerView {
            id: self.id,
            votes: !self.zab().is_observer(),
            part: Part::Down,
            serving: false,
            accepted: down(accepted),
            current: down(current),
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
}

impl Process {
    fn complete(&self, disk: &Disk, mut view: ServerView) -> ServerView {
        let logged = disk.logged();
        let processed = self.state.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        view.part = self.part();
        view.serving = self.zab.is_serving();
        view.accepted.memory = self.accepted();
        view.current.memory = self.zab.current();
        view.joined = self.zab.joined();
        view.delivered = entries(&self.state);
        view.delivered.retain(|entry| entry.zxid <= self.zab.committed());
        view.processed = processed;
        // While a truncation or a snapshot is under way, the state is not meant to be what the log says.
        if !disk.in_flux() {
            let through = logged.partition_point(|(zxid, _)| *zxid <= processed);
            view.state = digest(&self.state);
            view.replayed = digest(&logged[..through]);
            let applied = self.zab.history().applied();
            let window = self.zab.history().entries().filter(|(zxid, _)| *zxid <= applied);
            view.window = entries(&window.copied().collect::<Vec<_>>());
        }
        view.logged = entries(&logged);
        view
    }

    /// The promise that the process works with.
    fn accepted(&self) -> Epoch {
        match self.zab.role() {
            Some((Role::Following(_) | Role::Observing(_), epoch)) => epoch.max(self.zab.accepted()),
            Some((Role::Leading, _)) | None => self.zab.accepted(),
        }
    }

    fn part(&self) -> Part {
        let phase = match (self.zab.is_past_discovery(), self.zab.is_serving()) {
            (_, true) => Phase::Broadcast,
            (true, false) => Phase::Synchronisation,
            (false, false) => Phase::Discovery,
        };
        match self.zab.role() {
            None => Part::Looking,
            Some((Role::Leading, _)) => Part::Leading(phase),
            Some((Role::Following(leader) | Role::Observing(leader), _)) => Part::Following(leader, phase),
        }
    }
}
