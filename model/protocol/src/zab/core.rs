//! What a server keeps through every role: its epochs, its history, and the disk's open tickets.

use serde::{Deserialize, Serialize};
use spec::{Epoch, ServerId, Zxid};

use super::{
    Config, Effects,
    history::History,
    ticket::{Pending, Tickets},
};
use crate::{Message, Recovered, Vote};

/// Whether a role goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub(super) enum Next {
    /// It goes on.
    Stay,
    /// It is lost: look for a leader.
    Look,
}

/// The rank of a history, from the epoch in the file and the last transaction.
pub(super) fn rank(current: Epoch, last: Zxid) -> (Epoch, Zxid) {
    (current.max(last.epoch()), last)
}

/// What outlives a role. `accepted` and `current` are what the disk holds, never what it is about to hold.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(super) struct Core<T> {
    pub(super) config: Config,
    pub(super) accepted: Epoch,
    pub(super) current: Epoch,
    /// The last transaction that this start of the process knows to be committed.
    pub(super) committed: Zxid,
    pub(super) history: History<T>,
    pub(super) tickets: Tickets,
    /// The state in memory is not what the disk would give: a snapshot that is not durable, or a log that was cut.
    pub(super) stale: bool,
    /// The state is being loaded anew.
    pub(super) reloading: bool,
}

impl<T: Clone> Core<T> {
    pub(super) fn new(config: Config, recovered: Recovered<T>) -> Self {
        let (accepted, current) = (recovered.accepted, recovered.current);
        Self {
            history: History::new(recovered, config.window, Zxid::ZERO),
            config,
            accepted,
            current,
            committed: Zxid::ZERO,
            tickets: Tickets::default(),
            stale: false,
            reloading: false,
        }
    }

    /// What this server offers an election, all of it durable (rule R-6).
    pub(super) fn vote(&self) -> Vote {
        assert!(
            self.history.flushed() == self.history.last(),
            "R-6: a vote for {} while only {} is durable",
            self.history.last(),
            self.history.flushed()
        );
        let (epoch, last) = self.rank();
        Vote { epoch, zxid: Some(last), leader: self.config.me }
    }

    /// What elections compare: the last epoch joined, and the last transaction. Whoever holds a transaction of an epoch
    /// has joined it, whatever the file says (rule D-7): told by that alone, a server whose file a power cut put back
    /// would lose to one that lacks what it acknowledged.
    pub(super) fn rank(&self) -> (Epoch, Zxid) {
        rank(self.current, self.history.last())
    }

    /// Logs a transaction as the next open proposal.
    pub(super) fn append(&mut self, zxid: Zxid, txn: T, out: &mut impl Effects<T>) {
        let ticket = self.tickets.issue(Pending::Append(zxid));
        out.append(ticket, zxid, &txn);
        self.history.push(zxid, txn);
    }

    /// Applies the oldest open proposal, which is committed.
    pub(super) fn deliver(&mut self, out: &mut impl Effects<T>) {
        if let Some((zxid, txn)) = self.history.oldest_open() {
            self.committed = *zxid;
            out.deliver(*zxid, txn);
            self.history.settle();
        }
    }

    /// Applies every open proposal, committed or not: the state becomes what boot would give (rule Z-12).
    pub(super) fn replay(&mut self, out: &mut impl Effects<T>) {
        while let Some((zxid, txn)) = self.history.oldest_open() {
            out.replay(*zxid, txn);
            self.history.settle();
        }
    }

    pub(super) fn save_accepted(&mut self, epoch: Epoch, out: &mut impl Effects<T>) {
        let ticket = self.tickets.issue(Pending::Accepted(epoch));
        out.save_accepted(ticket, epoch);
    }

    pub(super) fn save_current(&mut self, epoch: Epoch, out: &mut impl Effects<T>) {
        let ticket = self.tickets.issue(Pending::Current(epoch));
        out.save_current(ticket, epoch);
    }

    /// Cuts the log: until the state is loaded anew, it is not what the disk would give.
    pub(super) fn truncate(&mut self, last: Zxid, out: &mut impl Effects<T>) {
        self.stale = true;
        let ticket = self.tickets.issue(Pending::Truncate(last));
        out.truncate(ticket, last);
    }

    /// Stores the state that was received.
    pub(super) fn store(&mut self, label: Zxid, out: &mut impl Effects<T>) {
        let ticket = self.tickets.issue(Pending::Snapshot(label));
        out.save_snapshot(ticket, label);
    }

    pub(super) fn reload(&mut self, out: &mut impl Effects<T>) {
        self.reloading = true;
        out.reload();
    }

    /// Tells a leader that its epoch is promised, and what this server holds; and whether that counts (rule Z-4).
    pub(super) fn send_ack_epoch(&self, to: ServerId, counts: bool, out: &mut impl Effects<T>) {
        let ((current, last), floor) = (self.rank(), self.history.floor());
        let current = counts.then_some(current);
        out.send(to, &Message::AckEpoch { current, last, floor });
    }

    /// Takes over what was loaded anew, all of it durable.
    pub(super) fn on_reloaded(&mut self, recovered: Recovered<T>) {
        let last = recovered.last;
        self.history = History::new(recovered, self.config.window, last);
        self.stale = false;
        self.reloading = false;
    }
}
