//! What a server's threads of the disk have to do, and how each of them does it.

use std::collections::{BTreeMap, VecDeque};

use protocol::Ticket;
use spec::{Epoch, Zxid};
use storage::{Batch, Cuttable, Log, MemoryDisk, Store};
use tree::Txn;
use world::Finished;

use crate::links::told;

/// The file system, with what it has not synced.
pub(crate) type Cache = Cuttable<MemoryDisk>;

/// An order to the thread of the log.
#[derive(Debug)]
pub(crate) enum LogOrder {
    Append(Ticket, Zxid, Txn),
    Truncate(Ticket, Zxid),
    SyncRecovered(Ticket),
    Install(Ticket, Zxid),
}

/// An order to the thread of the epoch files.
#[derive(Debug)]
pub(crate) enum EpochOrder {
    Accepted(Ticket, Epoch),
    Current(Ticket, Epoch),
}

/// An order to the thread of what takes long.
#[derive(Debug)]
pub(crate) enum SlowOrder {
    Snapshot(Snapshot),
    Locate(Ticket, Zxid),
}

impl SlowOrder {
    fn is_own_snapshot(&self) -> bool {
        matches!(self, Self::Snapshot(snapshot) if snapshot.ticket.is_none())
    }
}

/// A state to write.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Of one that was received.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) label: Zxid,
    pub(crate) body: Vec<u8>,
    pub(crate) digest: i64,
}

/// The threads of one process, with the store that they work on.
#[derive(Debug)]
pub(crate) struct Threads {
    pub(crate) store: Store<Cache>,
    log: Log<Cache>,
    pub(crate) log_orders: VecDeque<LogOrder>,
    pub(crate) epoch_orders: VecDeque<EpochOrder>,
    pub(crate) slow_orders: VecDeque<SlowOrder>,
    /// What has been done.
    pub(crate) done: BTreeMap<Ticket, Finished>,
    /// Batches that were written.
    batches: u64,
}

/// Behind so many batches the log's mark is written.
const MARK_EVERY: u64 = 3;
/// Snapshots that purging leaves.
const RETAINED: usize = 3;
/// States are written in pieces of so many bytes.
const PIECE_BYTES: usize = 300;

impl Threads {
    pub(crate) fn new(store: Store<Cache>, log: Log<Cache>) -> Self {
        Self {
            store,
            log,
            log_orders: VecDeque::new(),
            epoch_orders: VecDeque::new(),
            slow_orders: VecDeque::new(),
            done: BTreeMap::new(),
            batches: 0,
        }
    }

    fn is_durable(&mut self, ticket: Ticket) {
        self.done.insert(ticket, Finished::Durable);
    }

    /// The log's thread carries out what it finds next: of appends, all that wait, with one sync. False if there is
    /// nothing.
    pub(crate) fn log(&mut self) -> Result<bool, String> {
        let Some(order) = self.log_orders.pop_front() else { return Ok(false) };
        match order {
            LogOrder::Append(ticket, zxid, txn) => self.append(ticket, zxid, &txn)?,
            LogOrder::Truncate(ticket, last) => {
                self.log.truncate(last).map_err(told)?;
                self.is_durable(ticket);
            }
            LogOrder::SyncRecovered(ticket) => {
                self.log.sync_recovered().map_err(told)?;
                self.is_durable(ticket);
            }
            LogOrder::Install(ticket, label) => {
                self.log.install(label).map_err(told)?;
                self.is_durable(ticket);
            }
        }
        Ok(true)
    }

    fn append(&mut self, ticket: Ticket, zxid: Zxid, txn: &Txn) -> Result<(), String> {
        let (mut batch, mut tickets) = (Batch::new(), vec![ticket]);
        batch.push(zxid, txn);
        while batch.has_room(0)
            && let Some(LogOrder::Append(..)) = self.log_orders.front()
            && let Some(LogOrder::Append(ticket, zxid, txn)) = self.log_orders.pop_front()
        {
            batch.push(zxid, &txn);
            tickets.push(ticket);
        }
        self.log.append_batch(&batch).map_err(told)?;
        self.log.sync().map_err(told)?;
        for ticket in tickets {
            self.is_durable(ticket);
        }
        self.batches += 1;
        if self.batches.is_multiple_of(MARK_EVERY) {
            self.log.idle().map_err(told)?;
        }
        if let Some(spare) = self.log.spare() {
            self.log.take_spare(spare.fill()).map_err(told)?;
        }
        Ok(())
    }

    /// The same for the epochs' thread.
    pub(crate) fn epochs(&mut self) -> Result<bool, String> {
        let Some(order) = self.epoch_orders.pop_front() else { return Ok(false) };
        let ticket = match order {
            EpochOrder::Accepted(ticket, epoch) => {
                self.store.save_accepted(epoch).map_err(told)?;
                ticket
            }
            EpochOrder::Current(ticket, epoch) => {
                self.store.save_current(epoch).map_err(told)?;
                ticket
            }
        };
        self.is_durable(ticket);
        Ok(true)
    }

    /// The same for what takes long.
    pub(crate) fn slow(&mut self) -> Result<bool, String> {
        let Some(order) = self.slow_orders.pop_front() else { return Ok(false) };
        match order {
            SlowOrder::Snapshot(snapshot) => self.write(&snapshot)?,
            SlowOrder::Locate(ticket, zxid) => {
                // It reads what was handed over before.
                self.append_all()?;
                let at = self.store.locate(zxid).map_err(told)?;
                self.done.insert(ticket, Finished::Located(at));
            }
        }
        Ok(true)
    }

    fn write(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let Snapshot { ticket, label, body, digest } = snapshot;
        let mut file = self.store.snapshots().begin(*label).map_err(told)?;
        for piece in body.chunks(PIECE_BYTES) {
            file.write(piece).map_err(told)?;
        }
        if let Some(ticket) = ticket {
            file.commit_received(Some(*digest)).map_err(told)?;
            // Until it stands in the place of the old state, the log cannot go on behind it.
            self.log_orders.push_back(LogOrder::Install(*ticket, *label));
        } else {
            file.commit(Some(*digest)).map_err(told)?;
            self.store.purge(RETAINED).map_err(told)?;
        }
        Ok(())
    }

    /// Appends what waits to be appended and stands behind nothing else.
    pub(crate) fn append_all(&mut self) -> Result<(), String> {
        while matches!(self.log_orders.front(), Some(LogOrder::Append(..))) {
            self.log()?;
        }
        Ok(())
    }

    /// Writes states that the server stores of its own accord, as far as they are next.
    pub(crate) fn write_own_snapshots(&mut self) -> Result<(), String> {
        while self.slow_orders.front().is_some_and(SlowOrder::is_own_snapshot) {
            self.slow()?;
        }
        Ok(())
    }

    /// Forgets states that the server was about to write of its own accord.
    pub(crate) fn forget_own_snapshots(&mut self) {
        self.slow_orders.retain(|order| !order.is_own_snapshot());
    }
}
