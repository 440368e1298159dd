//! What a host asks of its disk, so that it may have another one: files in a format of bytes.

use std::sync::Arc;

use protocol::{Recovered, Ticket};
use spec::{Epoch, Machine, Zxid, history::Entry};

use super::{HostDisk, Stretch};
use crate::{Disk, Fault, Keep, Replica, disk::Finished, server::refused, view::hash_of};

/// What a start reads.
#[derive(Clone, Debug)]
pub struct Start<T, S> {
    /// What the actor is told.
    pub recovered: Recovered<T>,
    /// The state, with all of it applied.
    pub state: S,
    /// Whether a torn batch was cut.
    pub cut: bool,
}

/// What a [`Storage`] yields when it is read.
pub type Loaded<M> = Result<Start<<M as Machine>::Txn, Arc<M>>, Fault>;

/// A server's disk. Operations are asked for, and end later, with their tickets; what is not synced may be lost.
pub trait Storage<M: Replica> {
    /// What a process that starts makes of the files, whatever is synced of them.
    ///
    /// # Errors
    /// The start is refused.
    fn start(&mut self, window: usize) -> Loaded<M>;

    /// What a server that was brought to rest loads anew.
    ///
    /// # Errors
    /// As [`Self::start`].
    fn reload(&mut self, window: usize) -> Loaded<M>;

    /// What a start would read if a crash now kept nothing but what is synced.
    ///
    /// # Errors
    /// As [`Self::start`].
    fn rest(&self, window: usize) -> Loaded<M>;

    /// Puts a transaction behind the log.
    fn append(&mut self, ticket: Ticket, zxid: Zxid, txn: M::Txn);

    /// Cuts the log behind this transaction.
    fn truncate(&mut self, ticket: Ticket, last: Zxid);

    /// Syncs what a start has read.
    fn sync_log(&mut self, ticket: Ticket);

    /// Stores the epoch promised.
    fn save_accepted(&mut self, ticket: Ticket, epoch: Epoch);

    /// Stores the epoch joined.
    fn save_current(&mut self, ticket: Ticket, epoch: Epoch);

    /// Stores a state in the place of all that there is.
    fn save_snapshot(&mut self, ticket: Ticket, label: Zxid, state: M);

    /// Looks for a transaction in the log.
    fn locate(&mut self, ticket: Ticket, zxid: Zxid);

    /// The operations that may end next.
    fn may_finish(&self) -> Vec<Ticket>;

    /// Ends one of them.
    ///
    /// # Errors
    /// It fails.
    fn finish(&mut self, ticket: Ticket) -> Result<Finished, Fault>;

    /// The process ends, and this is kept of what is not synced.
    ///
    /// # Errors
    /// The disk itself fails.
    fn crash(&mut self, keep: Keep) -> Result<(), Fault>;

    /// The transactions of the log in `(after, through]`, if it holds them all.
    fn slice(&mut self, after: Zxid, through: Zxid) -> Option<Vec<(Zxid, M::Txn)>>;

    /// Whether a truncation or a snapshot is under way, so that the state in memory does not belong to the log.
    fn in_flux(&self) -> bool;

    /// Whether everything is durable.
    fn is_synced(&self) -> bool;

    /// The epochs on disk, promised and joined, as a crash now would leave them at the least.
    fn epochs(&self) -> (Epoch, Epoch);

    /// The last transaction that was handed to it, in whatever form.
    fn last(&self) -> Zxid;

    /// The history that a start would find if a crash now kept nothing but what is synced; none if it were refused.
    fn durable_history(&self) -> Option<Vec<Entry>>;

    /// The history that was handed to it, durable or not. Truncations and snapshots count once they are durable.
    fn logged_history(&self) -> Vec<Entry>;

    /// What was handed to it behind its snapshot, up to this transaction.
    fn stretch(&self, through: Zxid) -> Stretch<M::Txn>;

    /// The state that the snapshot and the log make up to this transaction, durable or not.
    fn replayed(&self, through: Zxid) -> Arc<M>;

    /// The server, which serves, has this state now: an occasion to store it.
    fn serves(&mut self, _state: &mut Arc<M>) {}
}

impl<M: Replica> Storage<M> for HostDisk<M> {
    fn start(&mut self, window: usize) -> Loaded<M> {
        Self::start(self, window).map_err(refused)
    }

    fn reload(&mut self, window: usize) -> Loaded<M> {
        Disk::reload(self, window).map_err(refused)
    }

    fn rest(&self, window: usize) -> Loaded<M> {
        Disk::reload(self, window).map_err(refused)
    }

    fn append(&mut self, ticket: Ticket, zxid: Zxid, txn: M::Txn) {
        Self::append(self, ticket, (zxid, txn));
    }

    fn truncate(&mut self, ticket: Ticket, last: Zxid) {
        Self::truncate(self, ticket, last);
    }

    fn sync_log(&mut self, ticket: Ticket) {
        self.sync(ticket);
    }

    fn save_accepted(&mut self, ticket: Ticket, epoch: Epoch) {
        Self::save_accepted(self, ticket, epoch);
    }

    fn save_current(&mut self, ticket: Ticket, epoch: Epoch) {
        Self::save_current(self, ticket, epoch);
    }

    fn save_snapshot(&mut self, ticket: Ticket, label: Zxid, state: M) {
        Self::save_snapshot(self, ticket, label, Arc::new(state));
    }

    fn locate(&mut self, ticket: Ticket, zxid: Zxid) {
        Self::locate(self, ticket, zxid);
    }

    fn may_finish(&self) -> Vec<Ticket> {
        Self::may_finish(self)
    }

    fn finish(&mut self, ticket: Ticket) -> Result<Finished, Fault> {
        Ok(Self::finish(self, ticket))
    }

    fn crash(&mut self, keep: Keep) -> Result<(), Fault> {
        Self::crash(self, keep);
        Ok(())
    }

    fn slice(&mut self, after: Zxid, through: Zxid) -> Option<Vec<(Zxid, M::Txn)>> {
        Disk::slice(self, after, through)
    }

    fn in_flux(&self) -> bool {
        Self::in_flux(self)
    }

    fn is_synced(&self) -> bool {
        Self::is_synced(self)
    }

    fn epochs(&self) -> (Epoch, Epoch) {
        Self::epochs(self)
    }

    fn last(&self) -> Zxid {
        Self::last(self)
    }

    fn durable_history(&self) -> Option<Vec<Entry>> {
        let (image, log) = self.durable_log(hash_of).ok()?;
        let mut durable = history(image);
        durable.extend(log.into_iter().map(|(zxid, digest)| Entry { zxid, digest }));
        Some(durable)
    }

    fn logged_history(&self) -> Vec<Entry> {
        let mut logged = history(self.snapshot().map(|(_, image)| image));
        logged.extend(self.appended().map(|(zxid, txn)| Entry { zxid: *zxid, digest: hash_of(txn) }));
        logged
    }

    fn stretch(&self, through: Zxid) -> Stretch<M::Txn> {
        let after = self.snapshot().map_or(Zxid::ZERO, |(label, _)| *label);
        let txns = self.appended().filter(|(zxid, _)| *zxid <= through).cloned().collect();
        Stretch { after, txns }
    }

    fn replayed(&self, through: Zxid) -> Arc<M> {
        Self::replayed(self, through)
    }
}

fn history<M: Replica>(image: Option<&Arc<M>>) -> Vec<Entry> {
    image.and_then(|image| image.history()).map(<[Entry]>::to_vec).unwrap_or_default()
}
