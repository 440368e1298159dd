//! One server told again: its actor, its state, and what its disk holds, by its own account.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
};

use protocol::{
    Recovered, Ticket,
    peer::{self, Input, Peer},
};
use recording::{Boot, Checkpoint, Told, TreeMark};
use rustc_hash::FxHasher;
use spec::{Entry, Epoch, Machine, ServerId, ServerView, Zxid};
use tree::{Settings, Tree, Txn, TxnBody};
use world::text;

use crate::{
    sink::{Effect, Sink},
    window::Cut,
};

/// An operation of the disk under way.
#[derive(Clone, Debug)]
enum Pending {
    Append(Zxid),
    Truncate(Zxid),
    Recovered,
    Accepted(Epoch),
    Current(Epoch),
    Store,
    Search,
}

/// What outlives a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    /// Everything behind this transaction is known.
    pub(crate) base: Zxid,
    /// What was handed to the log.
    pub(crate) logged: Vec<Entry>,
    /// What is known to be durable of it.
    pub(crate) durable: Vec<Entry>,
    pub(crate) accepted: Epoch,
    pub(crate) current: Epoch,
    /// Part of what was logged stands here by inference: its server was lost sight of, or has lost the end of a recording.
    pub(crate) guessed: bool,
}

/// A server that is up.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) id: ServerId,
    pub(crate) config: peer::Config<Settings>,
    pub(crate) peer: Peer<Tree>,
    pub(crate) tree: Tree,
    pub(crate) told: Told,
    pub(crate) disk: Disk,
    pending: BTreeMap<Ticket, Pending>,
    /// The state is not meant to be what the log says: the log is being cut, or a state was received.
    pub(crate) stale: bool,
    /// A transaction was applied whose content nobody recorded.
    pub(crate) tainted: bool,
    /// This has ever been so: what clients were told may be something else.
    pub(crate) guessed: bool,
    /// The history of the state that was received, and whether that is guessed.
    pub(crate) received: (Vec<Entry>, bool),
}

/// A transaction as rules know it. The digest that it tells is left out: a server that is told again of a write whose data
/// is nowhere to be had computes others from there on.
pub(crate) fn entry(zxid: Zxid, txn: &Txn) -> Entry {
    let mut hasher = FxHasher::default();
    let Txn { session, cxid, time, body, digest: _ } = txn;
    (session, cxid, time, body).hash(&mut hasher);
    Entry { zxid, digest: hasher.finish() }
}

/// Whether a transaction closes its session.
pub(crate) fn closes(txn: &Txn) -> bool {
    matches!(txn.body, TxnBody::CloseSession { .. })
}

/// The part of a history through this transaction.
pub(crate) fn through(history: &[Entry], last: Zxid) -> &[Entry] {
    &history[..history.partition_point(|entry| entry.zxid <= last)]
}

impl Disk {
    /// What a start or a reload has found, behind what was known before.
    pub(crate) fn recovered(&mut self, found: &Recovered<Txn>) {
        let base = found.base;
        let known = base == self.base || self.logged.binary_search_by_key(&base, |entry| entry.zxid).is_ok();
        if known {
            let keep = self.logged.partition_point(|entry| entry.zxid <= base);
            self.logged.truncate(keep);
        } else {
            self.base = base;
            self.logged.clear();
        }
        self.logged.extend(found.tail.iter().map(|(zxid, txn)| entry(*zxid, txn)));
        (self.accepted, self.current) = (found.accepted, found.current);
    }

    /// What is still known to be durable of what was: nothing that was lost.
    fn keep_durable(&mut self) {
        let same = self.durable.iter().zip(&self.logged).take_while(|(one, other)| one == other).count();
        self.durable.truncate(same);
    }

    /// Everything logged through this transaction is durable.
    pub(crate) fn flush(&mut self, last: Zxid) {
        let from = self.durable.last().map_or(Zxid::ZERO, |entry| entry.zxid);
        let start = self.logged.partition_point(|entry| entry.zxid <= from);
        let end = self.logged.partition_point(|entry| entry.zxid <= last);
        if start < end {
            let more = self.logged[start..end].to_vec();
            self.durable.extend(more);
        }
    }

    /// The server, down, as the rules see it.
    pub(crate) fn view(&self, id: ServerId, votes: bool, cut: Cut) -> ServerView {
        let durable = cut.entries(&self.durable);
        world::down(id, votes, (self.accepted, self.current), Some(durable))
    }
}

impl Replica {
    /// Boots from what was recorded; `disk` is what was known of the disk before, `tree` the state that was loaded.
    ///
    /// What recovery has read is not durable before recovery has synced it, but for what was so before. With an
    /// `open_end` that is not known, and all of it may be.
    pub(crate) fn boot(
        boot: &Boot,
        mut disk: Disk,
        mut tree: Tree,
        open_end: bool,
    ) -> Result<(Self, Vec<Effect>), String> {
        disk.recovered(&boot.recovered);
        if open_end {
            disk.durable.clone_from(&disk.logged);
        } else {
            disk.keep_durable();
        }
        let mut told = Told::default();
        let mut sink = Sink { told: &mut told, effects: Vec::new() };
        let booted = catch_unwind(AssertUnwindSafe(|| {
            Peer::boot(boot.config.clone(), boot.recovered.clone(), &mut tree, &mut sink)
        }));
        let effects = sink.effects;
        let peer = booted.map_err(|panic| text::of_panic(panic.as_ref()))?;
        let mut replica = Self::new(boot.config.clone(), peer, tree, told, disk);
        replica.order(&effects);
        Ok((replica, effects))
    }

    fn new(config: peer::Config<Settings>, peer: Peer<Tree>, tree: Tree, told: Told, disk: Disk) -> Self {
        Self {
            id: config.zab.me,
            config,
            peer,
            tree,
            told,
            disk,
            pending: BTreeMap::new(),
            stale: false,
            tainted: false,
            guessed: false,
            received: (Vec::new(), false),
        }
    }

    /// Goes on from a checkpoint.
    pub(crate) fn resume(checkpoint: Checkpoint, tree: Tree) -> Self {
        let zab = checkpoint.peer.zab();
        let logged: Vec<Entry> = zab.history().entries().map(|(zxid, txn)| entry(*zxid, txn)).collect();
        let mut disk = Disk {
            base: zab.history().base(),
            logged,
            durable: Vec::new(),
            accepted: zab.accepted(),
            current: zab.current(),
            guessed: false,
        };
        disk.flush(zab.history().flushed());
        let told = checkpoint.told;
        Self::new(checkpoint.config, checkpoint.peer, tree, told, disk)
    }

    /// Tells the actor something; returns what it asks for.
    pub(crate) fn step(&mut self, input: Input<Tree>) -> Result<Vec<Effect>, String> {
        let unknown = self.before(&input);
        self.told.input();
        let mut sink = Sink { told: &mut self.told, effects: Vec::new() };
        let (peer, tree) = (&mut self.peer, &mut self.tree);
        catch_unwind(AssertUnwindSafe(|| peer.step(tree, input, &mut sink)))
            .map_err(|panic| text::of_panic(panic.as_ref()))?;
        let effects = sink.effects;
        self.order(&effects);
        if unknown {
            self.disk.flush(self.peer.zab().history().flushed());
            self.disk.accepted = self.disk.accepted.max(self.peer.zab().accepted());
            self.disk.current = self.disk.current.max(self.peer.zab().current());
        }
        Ok(effects)
    }

    /// What an input says of the disk. Whether it ends an operation that is not known, of before a checkpoint.
    fn before(&mut self, input: &Input<Tree>) -> bool {
        match input {
            Input::Done(ticket) | Input::Located { ticket, .. } => match self.pending.remove(ticket) {
                None => return true,
                Some(Pending::Append(zxid)) => self.disk.flush(zxid),
                Some(Pending::Truncate(last)) => {
                    let keep = through(&self.disk.durable, last).len();
                    self.disk.durable.truncate(keep);
                }
                Some(Pending::Recovered) => {
                    self.disk.durable.clear();
                    self.disk.durable.extend_from_slice(&self.disk.logged);
                }
                Some(Pending::Accepted(epoch)) => self.disk.accepted = epoch,
                Some(Pending::Current(epoch)) => self.disk.current = epoch,
                Some(Pending::Store) => {
                    self.disk.durable.clone_from(&self.disk.logged);
                    self.stale = false;
                }
                Some(Pending::Search) => {}
            },
            Input::Reloaded(found) => {
                self.disk.recovered(found);
                self.disk.durable.clone_from(&self.disk.logged);
                (self.stale, self.tainted) = (false, false);
            }
            Input::Snapshot { .. } => (self.stale, self.tainted) = (true, false),
            _ => {}
        }
        false
    }

    /// Takes down what was asked of the disk.
    fn order(&mut self, effects: &[Effect]) {
        for effect in effects {
            let (ticket, pending) = match effect {
                Effect::Append(ticket, zxid, txn) => {
                    self.disk.logged.push(entry(*zxid, txn));
                    (ticket, Pending::Append(*zxid))
                }
                Effect::Truncate(ticket, last) => {
                    let keep = through(&self.disk.logged, *last).len();
                    self.disk.logged.truncate(keep);
                    self.stale = true;
                    (ticket, Pending::Truncate(*last))
                }
                Effect::SyncLog(ticket) => (ticket, Pending::Recovered),
                Effect::Accepted(ticket, epoch) => (ticket, Pending::Accepted(*epoch)),
                Effect::Current(ticket, epoch) => (ticket, Pending::Current(*epoch)),
                Effect::Store(ticket, label) => {
                    self.disk.logged = through(&self.received.0, *label).to_vec();
                    (ticket, Pending::Store)
                }
                Effect::Locate(ticket) => (ticket, Pending::Search),
                _ => continue,
            };
            self.pending.insert(*ticket, pending);
        }
    }

    /// The last transaction that it holds for decided.
    pub(crate) fn delivered(&self) -> Zxid {
        self.tree.last_processed().min(self.peer.zab().committed())
    }

    /// The mark of the state.
    pub(crate) fn mark(&self) -> TreeMark {
        TreeMark::of(&self.tree)
    }

    /// Whether this input may take something away that was durable.
    pub(crate) fn may_shrink(&self, input: &Input<Tree>) -> bool {
        match input {
            Input::Done(ticket) => matches!(
                self.pending.get(ticket),
                Some(Pending::Truncate(_) | Pending::Store | Pending::Accepted(_) | Pending::Current(_))
            ),
            Input::Reloaded(_) => true,
            _ => false,
        }
    }

    /// As the rules about one server's words and steps see it: without state and window.
    pub(crate) fn light_view(&self, cut: Cut) -> ServerView {
        let zab = self.peer.zab();
        let mut view = world::acting(self.disk.view(self.id, !zab.is_observer(), cut), zab);
        view.logged = cut.entries(&self.disk.logged);
        view.delivered = cut.entries(through(&self.disk.logged, self.delivered()));
        view.processed = cut.place(self.tree.last_processed());
        view
    }

    /// As the rules see it; `replayed` is the digest that the state should have, if anything is known of that.
    pub(crate) fn view(&self, cut: Cut, replayed: Option<i64>) -> ServerView {
        let zab = self.peer.zab();
        let mut view = self.light_view(cut);
        if !self.stale {
            view.state = self.tree.digest().cast_unsigned();
            view.replayed = replayed.map_or(view.state, i64::cast_unsigned);
            let applied = zab.history().applied();
            let held = zab.history().entries().rev().skip_while(|(zxid, _)| *zxid > applied);
            let mut window: Vec<Entry> = held
                .take_while(|(zxid, _)| cut.is_behind(*zxid))
                .map(|(zxid, txn)| entry(*zxid, txn))
                .collect();
            window.reverse();
            view.window = cut.entries(&window);
        }
        view
    }
}
