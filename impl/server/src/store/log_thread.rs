//! The thread that owns the log.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use protocol::Ticket;
use storage::{Batch, Disk, Error, FilledSpare, Log, Store};
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use super::{DiskEvent, Flushed, LogJob, linger::Linger};

/// How long nothing must be ordered before the log's mark is written.
const IDLE: Duration = Duration::from_millis(50);

/// The thread that fills the next file of the log.
type Filler<D> = JoinHandle<Result<FilledSpare<D>, Error>>;

/// Carries orders out until the loop is gone, or one fails.
pub(super) fn run<D: Disk>(
    store: &Store<D>,
    mut log: Log<D>,
    queue: &Receiver<LogJob>,
    events: &UnboundedSender<DiskEvent>,
) {
    let mut filler = None;
    carry_out(store, &mut log, queue, events, &mut filler);
    // At an orderly end nothing waits any more: the mark says so to the next start. A log that has failed writes none.
    if let Err(error) = log.idle() {
        warn!(%error, "the log's mark is not what it could be");
    }
    // It holds the lock of the folders.
    log.give_up_spare();
    if let Some(filler) = filler {
        filler.thread().unpark();
        let _ = filler.join();
    }
}

fn carry_out<D: Disk>(
    store: &Store<D>,
    log: &mut Log<D>,
    queue: &Receiver<LogJob>,
    events: &UnboundedSender<DiskEvent>,
    filler: &mut Option<Filler<D>>,
) {
    let mut ahead = None;
    let mut idle = false;
    let mut linger = Linger::default();
    loop {
        if let Err(error) = ready_next(log, filler) {
            let _ = events.send(DiskEvent::Failed { error, snapshot: false });
            return;
        }
        let job = match ahead.take().or_else(|| linger.look(queue)) {
            Some(job) => job,
            None if idle => match queue.recv() {
                Ok(job) => job,
                Err(_) => return,
            },
            None => match queue.recv_timeout(IDLE) {
                Ok(job) => job,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    idle = true;
                    if let Err(error) = log.idle() {
                        let _ = events.send(DiskEvent::Failed { error, snapshot: false });
                        return;
                    }
                    continue;
                }
            },
        };
        idle = false;
        let begun = Instant::now();
        linger.begin(&job, begun);
        let event = match job {
            LogJob::Append { batch, tickets } => append(log, (batch, tickets), queue, &mut ahead, begun),
            LogJob::Truncate { ticket, last } => log.truncate(last).map(|_| done(ticket)),
            LogJob::SyncRecovered(ticket) => log.sync_recovered().map(|()| done(ticket)),
            LogJob::Install { ticket, label } => log.install(label).map(|()| done(ticket)),
            LogJob::Read { job, reads } => {
                // A thread that is gone has reported why, and the server is ending.
                let _ = reads.send(job);
                continue;
            }
            LogJob::Reload => store.recover().map(|recovery| DiskEvent::Reloaded {
                tree: Box::new(recovery.tree),
                recovered: recovery.recovered,
            }),
        };
        let event = event.unwrap_or_else(|error| DiskEvent::Failed { error, snapshot: false });
        let failed = matches!(event, DiskEvent::Failed { .. });
        if events.send(event).is_err() || failed {
            return;
        }
        linger.end(Instant::now());
    }
}

/// Has the next file of the log filled on a thread of its own when it is time, and hands it over when it is there.
fn ready_next<D: Disk>(log: &mut Log<D>, filler: &mut Option<Filler<D>>) -> Result<(), Error> {
    if let Some(filled) = filler.take_if(|filler| filler.is_finished()) {
        match filled.join() {
            Ok(spare) => {
                if let Err(error @ Error::OutOfSpace { .. }) = &spare {
                    warn!(%error, "the next file of the log is not filled ahead");
                }
                log.take_spare(spare)?;
            }
            // It has said why.
            Err(_) => log.go_on_without_spare(),
        }
    }
    if let Some(filler) = filler.as_ref().filter(|_| log.hurry_spare()) {
        filler.thread().unpark();
    }
    if let Some(spare) = log.spare() {
        let begun = std::thread::Builder::new().name("spare".to_owned()).spawn(|| spare.fill());
        *filler = begun.inspect_err(|error| warn!(%error, "no thread to fill the next file of the log")).ok();
        if filler.is_none() {
            log.go_on_without_spare();
        }
    }
    Ok(())
}

fn done(ticket: Ticket) -> DiskEvent {
    DiskEvent::Done { tickets: vec![ticket], flushed: None }
}

/// Appends a batch with all that wait behind it, as far as they make one batch, and syncs once.
fn append<D: Disk>(
    log: &mut Log<D>,
    (mut batch, mut tickets): (Batch, Vec<Ticket>),
    queue: &Receiver<LogJob>,
    ahead: &mut Option<LogJob>,
    begun: Instant,
) -> Result<DiskEvent, Error> {
    while let Ok(job) = queue.try_recv() {
        match job {
            LogJob::Append { batch: more, tickets: theirs } if batch.has_room(more.len()) => {
                batch.extend(&more);
                tickets.extend(theirs);
            }
            job @ (LogJob::Append { .. }
            | LogJob::Truncate { .. }
            | LogJob::SyncRecovered(_)
            | LogJob::Install { .. }
            | LogJob::Reload
            | LogJob::Read { .. }) => {
                *ahead = Some(job);
                break;
            }
        }
    }
    log.append_batch(&batch)?;
    let started = Instant::now();
    log.sync()?;
    let ended = Instant::now();
    let flushed = Flushed { sync: ended - started, whole: ended - begun, bytes: batch.len() };
    Ok(DiskEvent::Done { tickets, flushed: Some(flushed) })
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::mpsc::channel};

    use spec::{Epoch, Zxid};
    use storage::{Config, File, MemoryDisk};
    use tokio::sync::mpsc::unbounded_channel;
    use tree::{Txn, TxnBody};

    use super::*;

    /// The mark is written when nothing is ordered for a while, and so it is when nothing can be any more.
    #[test]
    fn the_mark_names_the_last_write_before_an_orderly_end() {
        let disk = MemoryDisk::default();
        let store = Store::open(disk.clone(), Config::new("/data".into())).expect("new");
        let mut recovery = store.recover().expect("new");
        let log = store.log(&mut recovery);
        let (orders, queue) = channel();
        let (events, _reports) = unbounded_channel();
        let body = TxnBody::CreateSession { timeout_ms: 1000 };
        let txn = Txn { session: spec::SessionId(7), cxid: 0, time: 0, body, digest: None };
        let mut batch = Batch::new();
        batch.push(Zxid::new(Epoch(1), 1), &txn);
        orders.send(LogJob::SyncRecovered(Ticket(1))).expect("there");
        orders.send(LogJob::Append { batch, tickets: vec![Ticket(2)] }).expect("there");
        drop(orders);
        run(&store, log, &queue, &events);
        let mark = disk.open(Path::new("/data/version-2/synced.mark")).expect("there is one");
        let mut text = [0; 64];
        mark.read_at(&mut text, 0).expect("read");
        assert!(text.starts_with(b"synced 100000001 "), "{}", String::from_utf8_lossy(&text));
    }
}
