//! The disk, as the loop sees it: orders go to threads, and what has become durable comes back as events.
//!
//! One thread owns the log: it takes every batch that waits, writes them as one, syncs once, and reports. What is long or
//! rare has threads of its own: epoch files, which elections wait for; searching the log for learners, who have initLimit
//! to be brought up to date; reading it, one thread for each of them, as fast as the link takes it; snapshots, which may
//! take long to pack, and purging. The loop itself never touches a file.

mod linger;
mod log_thread;
mod side_thread;

use std::{sync::mpsc as blocking, thread::JoinHandle, time::Duration};

use bytes::{Bytes, BytesMut};
use protocol::{Recovered, Ticket};
use spec::{Epoch, Zxid};
use storage::{Batch, Disk, Log};
use tokio::sync::mpsc;
use tree::{Tree, Txn};

/// What has happened on disk.
#[derive(Debug)]
pub(crate) enum DiskEvent {
    /// These operations are durable.
    Done {
        /// In the order in which they were asked for.
        tickets: Vec<Ticket>,
        /// How long the log took, if it was a batch of it.
        flushed: Option<Flushed>,
    },
    /// The answer to a question about the log.
    Located {
        /// Which question.
        ticket: Ticket,
        /// The place.
        at: Option<Zxid>,
    },
    /// The state was loaded anew.
    Reloaded {
        /// It.
        tree: Box<Tree>,
        /// What was found.
        recovered: Recovered<Txn>,
    },
    /// A snapshot is over.
    Saved {
        /// Which.
        number: u64,
        /// Its size in bytes, if it came to stand.
        size: Option<u64>,
        /// How long it took.
        took: Duration,
    },
    /// Something failed that must not: the server has to end.
    Failed {
        /// What.
        error: storage::Error,
        /// Whether it was a snapshot.
        snapshot: bool,
    },
}

/// How long a batch of the log took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flushed {
    /// To be synced.
    pub(crate) sync: Duration,
    /// To be written and synced.
    pub(crate) whole: Duration,
    /// How many bytes it had.
    pub(crate) bytes: usize,
}

/// An order to the thread of the log.
#[derive(Debug)]
pub(super) enum LogJob {
    Append {
        batch: Batch,
        tickets: Vec<Ticket>,
    },
    Truncate {
        ticket: Ticket,
        last: Zxid,
    },
    SyncRecovered(Ticket),
    Install {
        ticket: Ticket,
        label: Zxid,
    },
    Reload,
    /// To be read once all before is written: whoever asks knows of that, and would miss it.
    Read {
        job: SideJob,
        reads: blocking::Sender<SideJob>,
    },
}

/// An order to the thread for everything else.
#[derive(Debug)]
pub(super) enum SideJob {
    SaveAccepted(Ticket, Epoch),
    SaveCurrent(Ticket, Epoch),
    Locate(Ticket, Zxid),
    Snapshot(SnapshotJob),
    Stream(StreamJob),
    Purge { retain: usize },
}

/// A snapshot to write.
#[derive(Debug)]
pub(crate) struct SnapshotJob {
    /// Whether it leaves the disk to others half of the time: nobody waits for it.
    pub(crate) gentle: bool,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) label: Zxid,
    pub(crate) digest: i64,
    pub(crate) number: u64,
    pub(crate) chunks: mpsc::Receiver<SnapshotChunk>,
}

/// A piece of a snapshot.
#[derive(Debug)]
pub(crate) struct SnapshotChunk {
    pub(crate) bytes: Bytes,
    pub(crate) last: bool,
}

/// A part of the log to read for a learner.
#[derive(Debug)]
pub(super) struct StreamJob {
    after: Zxid,
    through: Zxid,
    pieces: mpsc::Sender<Result<LogPiece, storage::Error>>,
}

/// A piece of the log, as PROPOSAL and COMMIT packets.
#[derive(Debug)]
pub(crate) struct LogPiece {
    pub(crate) packets: BytesMut,
    pub(crate) last: bool,
}

/// A transaction of so many bytes takes long to apply: thousands of nodes that go with a session.
const LARGE: usize = 64 << 10;
/// How much room is taken for a batch ahead, in bytes.
const BATCH_ROOM_MAX: usize = 256 << 10;
/// So many bytes may be on their way to the disk before nothing more is taken from a leader: 64 MiB, as much as waits for
/// a learner at the leader.
const UNSYNCED_MAX: usize = 64 << 20;
/// Pieces of a log that may wait for a learner.
const PIECES_QUEUED: usize = 4;

/// The way to the threads of the disk.
#[derive(Debug)]
pub(crate) struct Store {
    batch: Batch,
    tickets: Vec<Ticket>,
    last_large: Option<Zxid>,
    /// The bytes of the batches that were handed over and are not synced.
    unsynced: usize,
    log: blocking::Sender<LogJob>,
    /// Epoch files, which elections wait for.
    epochs: blocking::Sender<SideJob>,
    /// Reading the log for learners.
    reads: blocking::Sender<SideJob>,
    /// Snapshots and purging.
    slow: blocking::Sender<SideJob>,
}

/// The threads of the disk, to wait for.
#[derive(Debug)]
pub(crate) struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    /// Waits until everything that was ordered is done, once the [`Store`] is dropped.
    pub(crate) fn join(self) {
        for thread in self.0 {
            // A thread that panicked has said why.
            let _ = thread.join();
        }
    }
}

/// Starts the threads over a log that is open.
pub(crate) fn start<D: Disk>(
    store: &storage::Store<D>,
    log: Log<D>,
    events: mpsc::UnboundedSender<DiskEvent>,
) -> std::io::Result<(Store, Threads)> {
    let (log_orders, log_queue) = blocking::channel();
    let (epoch_orders, epoch_queue) = blocking::channel();
    let (read_orders, read_queue) = blocking::channel();
    let (slow_orders, slow_queue) = blocking::channel();
    let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(run)
    };
    let (for_log, log_events) = (store.clone(), events.clone());
    let side = |name, queue: blocking::Receiver<SideJob>| {
        let (store, events, log) = (store.clone(), events.clone(), log_orders.clone());
        spawn(name, Box::new(move || side_thread::run(&store, &queue, &events, &log)))
    };
    let threads = vec![
        spawn("log", Box::new(move || log_thread::run(&for_log, log, &log_queue, &log_events)))?,
        side("epochs", epoch_queue)?,
        side("reading", read_queue)?,
        side("snapshots", slow_queue)?,
    ];
    let store = Store {
        batch: Batch::new(),
        tickets: Vec::new(),
        last_large: None,
        unsynced: 0,
        log: log_orders,
        epochs: epoch_orders,
        reads: read_orders,
        slow: slow_orders,
    };
    Ok((store, Threads(threads)))
}

impl Store {
    /// Puts a transaction into the batch that leaves at the end of the turn; returns its size in bytes.
    pub(crate) fn append(&mut self, ticket: Ticket, zxid: Zxid, txn: &Txn) -> usize {
        if !self.batch.has_room(0) {
            self.hand_over();
        }
        let before = self.batch.len();
        self.batch.push(zxid, txn);
        self.tickets.push(ticket);
        let bytes = self.batch.len() - before;
        if bytes >= LARGE {
            self.last_large = Some(zxid);
        }
        bytes
    }

    /// The last transaction that takes long to apply.
    pub(crate) fn last_large(&self) -> Option<Zxid> {
        self.last_large
    }

    /// The last transaction of the batch that has not left.
    pub(crate) fn batch_last(&self) -> Option<Zxid> {
        self.batch.last()
    }

    pub(crate) fn has_batch(&self) -> bool {
        !self.tickets.is_empty()
    }

    /// Hands the batch to the log's thread.
    pub(crate) fn hand_over(&mut self) {
        if self.has_batch() {
            // The next batch will be about as large: room for it is taken at once, and a little more.
            let room = self.batch.len() + self.batch.len() / 2;
            let next = Batch::with_capacity(room.min(BATCH_ROOM_MAX));
            let batch = std::mem::replace(&mut self.batch, next);
            let next = Vec::with_capacity(self.tickets.len());
            let tickets = std::mem::replace(&mut self.tickets, next);
            self.unsynced += batch.len();
            self.order(LogJob::Append { batch, tickets });
        }
    }

    /// So many bytes that were handed over are synced.
    pub(crate) fn synced(&mut self, bytes: usize) {
        self.unsynced -= bytes;
    }

    /// Whether the disk is so slow that what else there is to write had better wait elsewhere.
    pub(crate) fn is_behind(&self) -> bool {
        self.unsynced >= UNSYNCED_MAX
    }

    /// Orders for the log are carried out in their order.
    fn order(&mut self, job: LogJob) {
        // A thread that is gone has reported why, and the server is ending.
        let _ = self.log.send(job);
    }

    pub(crate) fn truncate(&mut self, ticket: Ticket, last: Zxid) {
        self.hand_over();
        self.order(LogJob::Truncate { ticket, last });
    }

    pub(crate) fn sync(&mut self, ticket: Ticket) {
        self.hand_over();
        self.order(LogJob::SyncRecovered(ticket));
    }

    pub(crate) fn reload(&mut self) {
        self.hand_over();
        self.order(LogJob::Reload);
    }

    pub(crate) fn save_accepted(&mut self, ticket: Ticket, epoch: Epoch) {
        let _ = self.epochs.send(SideJob::SaveAccepted(ticket, epoch));
    }

    pub(crate) fn save_current(&mut self, ticket: Ticket, epoch: Epoch) {
        let _ = self.epochs.send(SideJob::SaveCurrent(ticket, epoch));
    }

    pub(crate) fn locate(&mut self, ticket: Ticket, zxid: Zxid) {
        self.read(SideJob::Locate(ticket, zxid));
    }

    fn read(&mut self, job: SideJob) {
        self.hand_over();
        self.order(LogJob::Read { job, reads: self.reads.clone() });
    }

    pub(crate) fn save_snapshot(&mut self, job: SnapshotJob) {
        let _ = self.slow.send(SideJob::Snapshot(job));
    }

    pub(crate) fn purge(&mut self, retain: usize) {
        let _ = self.slow.send(SideJob::Purge { retain });
    }

    /// Gives the orders away: once dropped, the threads end when they have done what they have.
    pub(crate) fn take_away(&mut self) -> Self {
        let nowhere = || blocking::channel().0;
        let (log, epochs, reads, slow) = (blocking::channel().0, nowhere(), nowhere(), nowhere());
        let (batch, tickets) = (Batch::new(), Vec::new());
        let nothing = Self {
            batch,
            tickets,
            last_large: self.last_large,
            unsynced: self.unsynced,
            log,
            epochs,
            reads,
            slow,
        };
        std::mem::replace(self, nothing)
    }

    /// Has a part of the log read, piece by piece. Without a last piece it was broken off.
    pub(crate) fn stream_log(
        &mut self,
        after: Zxid,
        through: Zxid,
    ) -> mpsc::Receiver<Result<LogPiece, storage::Error>> {
        let (pieces, received) = mpsc::channel(PIECES_QUEUED);
        self.read(SideJob::Stream(StreamJob { after, through, pieces }));
        received
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Instant};

    use spec::SessionId;
    use storage::RealDisk;
    use tree::{CreateKind, CreateTxn, TxnBody};

    use super::*;

    fn txn(number: u32) -> Txn {
        let body = TxnBody::Create(CreateTxn {
            kind: CreateKind::Create { ephemeral: false },
            path: format!("/{number}").into(),
            data: Some(Bytes::from(vec![7; 256 << 10])),
            acl: Vec::new(),
            parent_cversion: 1,
        });
        Txn { session: SessionId(1), cxid: 1, time: 1, body, digest: None }
    }

    /// The threads over a new folder, and what they tell.
    fn started(dir: &Path) -> (Store, Threads, mpsc::UnboundedReceiver<DiskEvent>) {
        let config = storage::Config::new(dir.to_owned());
        let files = storage::Store::open(RealDisk::new(false), config).expect("an empty folder");
        let log = files.log(&mut files.recover().expect("nothing is in it"));
        let (events, done) = mpsc::unbounded_channel();
        let (store, threads) = start(&files, log, events).expect("threads");
        (store, threads, done)
    }

    /// What comes next, within a time in which it must.
    fn next<T>(mut receive: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(found) = receive() {
                return found;
            }
            assert!(Instant::now() < deadline, "nothing comes");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Nothing but the answer to who has asked depends on a snapshot that was asked for.
    #[test]
    fn a_snapshot_that_was_asked_for_and_cannot_be_written_ends_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut store, threads, mut done) = started(dir.path());
        // In the place of the file that it would be written to.
        std::fs::create_dir(dir.path().join("version-2/next.snapshot")).expect("created");
        for (gentle, number) in [(false, 1), (true, 2)] {
            let (_, chunks) = mpsc::channel(1);
            let label = Zxid::ZERO;
            store.save_snapshot(SnapshotJob { gentle, ticket: None, label, digest: 0, number, chunks });
            match (gentle, next(|| done.try_recv().ok())) {
                (false, DiskEvent::Saved { number: 1, size: None, .. })
                | (true, DiskEvent::Failed { snapshot: true, .. }) => {}
                (_, other) => panic!("{other:?}"),
            }
        }
        drop(store);
        threads.join();
    }

    #[test]
    fn what_is_on_its_way_to_the_disk_is_counted_until_it_is_there() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut store, threads, mut done) = started(dir.path());
        store.sync(Ticket(0));
        let mut number = 0;
        while !store.is_behind() {
            number += 1;
            assert!(number <= 256, "{} bytes are not counted", store.unsynced);
            store.append(Ticket(number), Zxid::new(Epoch(1), number), &txn(number));
            store.hand_over();
        }
        while store.unsynced > 0 {
            let event = next(|| done.try_recv().ok());
            let DiskEvent::Done { flushed, .. } = event else { panic!("{event:?}") };
            store.synced(flushed.map_or(0, |batch| batch.bytes));
        }
        drop(store);
        threads.join();
    }

    #[test]
    fn a_learner_that_reads_nothing_holds_up_no_other() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut store, threads, mut done) = started(dir.path());
        let last = Zxid::new(Epoch(1), 20);
        store.sync(Ticket(0));
        for number in 1..=last.counter() {
            store.append(Ticket(number), Zxid::new(Epoch(1), number), &txn(number));
        }

        let idle = store.stream_log(Zxid::ZERO, last);
        let mut read = store.stream_log(Zxid::ZERO, last);
        let (mut pieces, mut bytes) = (0, 0);
        loop {
            let piece = next(|| read.try_recv().ok()).expect("the log can be read");
            (pieces, bytes) = (pieces + 1, bytes + piece.packets.len());
            if piece.last {
                break;
            }
        }
        assert!(pieces > PIECES_QUEUED && bytes > 20 * (256 << 10), "{pieces} pieces, {bytes} bytes");
        store.locate(Ticket(99), last);
        let located =
            next(|| if let DiskEvent::Located { at, .. } = done.try_recv().ok()? { Some(at) } else { None });
        assert_eq!(located, Some(last));
        drop((store, idle));
        threads.join();
    }
}
