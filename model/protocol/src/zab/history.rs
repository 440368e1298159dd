//! The recent end of the log in memory: what is logged, flushed and applied.
//!
//! Four marks move up through it, `base <= applied <= last` and `flushed <= last`: everything in `(base, last]` is
//! held here, everything up to `flushed` is durable, everything up to `applied` is in the state. Behind `applied`
//! stand the open proposals: of a leader those without a quorum, of a follower those without a COMMIT.

use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};
use spec::Zxid;

use crate::Recovered;

/// The recent end of the log.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct History<T> {
    window: usize,
    floor: Zxid,
    base: Zxid,
    entries: VecDeque<(Zxid, T)>,
    open: usize,
    last: Zxid,
    flushed: Zxid,
}

impl<T> History<T> {
    /// What recovery read, all of it applied; `flushed` says how much of it is durable.
    pub(super) fn new(recovered: Recovered<T>, window: usize, flushed: Zxid) -> Self {
        let mut history = Self {
            window,
            floor: recovered.floor,
            base: recovered.base,
            entries: recovered.tail.into(),
            open: 0,
            last: recovered.last,
            flushed,
        };
        history.trim();
        history
    }

    /// Nothing but a durable state whose last transaction is `last`.
    pub(super) fn reset(&mut self, last: Zxid) {
        self.entries.clear();
        self.open = 0;
        (self.floor, self.base, self.last, self.flushed) = (last, last, last, last);
    }

    /// The log on disk holds every transaction behind this one (rule R-4).
    pub fn floor(&self) -> Zxid {
        self.floor
    }

    /// Every transaction behind this one is held in memory.
    pub fn base(&self) -> Zxid {
        self.base
    }

    /// The last transaction handed to the log.
    pub fn last(&self) -> Zxid {
        self.last
    }

    /// The last transaction known to be durable, together with all before it.
    pub fn flushed(&self) -> Zxid {
        self.flushed
    }

    /// The last transaction in the state.
    pub fn applied(&self) -> Zxid {
        match self.entries.len() - self.open {
            0 => self.base,
            applied => self.entries[applied - 1].0,
        }
    }

    /// The transactions held, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &(Zxid, T)> + ExactSizeIterator {
        self.entries.iter()
    }

    /// The oldest open proposal.
    pub(super) fn oldest_open(&self) -> Option<&(Zxid, T)> {
        self.entries.get(self.entries.len() - self.open)
    }

    /// The open proposals, oldest first.
    pub(super) fn open(&self) -> impl Iterator<Item = &(Zxid, T)> {
        self.entries.range(self.entries.len() - self.open..)
    }

    /// The applied transactions behind `after`, oldest first.
    pub(super) fn applied_behind(&self, after: Zxid) -> impl Iterator<Item = &(Zxid, T)> {
        let start = self.entries.partition_point(|(zxid, _)| *zxid <= after);
        let end = self.entries.len() - self.open;
        self.entries.range(start.min(end)..end)
    }

    /// The last applied transaction at or before `zxid`, if the memory reaches back that far.
    pub(super) fn at_or_before(&self, zxid: Zxid) -> Option<Zxid> {
        if zxid < self.base {
            return None;
        }
        let end = self.entries.len() - self.open;
        let place = self.entries.partition_point(|(held, _)| *held <= zxid).min(end);
        Some(if place == 0 { self.base } else { self.entries[place - 1].0 })
    }

    /// Adds a proposal that was handed to the log.
    pub(super) fn push(&mut self, zxid: Zxid, txn: T) {
        assert!(zxid.follows(self.last), "R-4: {zxid} is logged behind {}", self.last);
        self.last = zxid;
        self.entries.push_back((zxid, txn));
        self.open += 1;
    }

    /// The oldest open proposal is in the state now.
    pub(super) fn settle(&mut self) {
        self.open -= 1;
        self.trim();
    }

    /// The log is durable through this transaction.
    pub(super) fn flush(&mut self, zxid: Zxid) {
        self.flushed = self.flushed.max(zxid);
    }

    fn trim(&mut self) {
        while self.entries.len() - self.open > self.window {
            if let Some((zxid, _)) = self.entries.pop_front() {
                self.base = zxid;
            }
        }
    }
}
