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

use super::{DiskEvent, LogJob};

/// How long nothing must be ordered before the log's mark is written.
const IDLE: Duration = Duration::from_millis(50);
/// A sync that takes longer is worth a warning.
const SYNC_SLOW: Duration = Duration::from_secs(1);

/// How long the thread looks for the next order before it sleeps, and which orders come soon.
const LINGER_MAX: Duration = Duration::from_micros(400);
/// A look that took so much longer was interrupted: others have work for its core.
const CROWDED: Duration = Duration::from_micros(100);
/// For how many orders the thread does not linger then.
const CROWDED_ORDERS: u32 = 200;
/// A calm order has so many transactions at most.
const CALM_TXNS: usize = 2;
/// Behind how many calm orders in a row the thread lingers.
const CALM_ORDERS: u32 = 8;

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
        linger.begin(&job, Instant::now());
        let event = match job {
            LogJob::Append { batch, tickets } => append(log, batch, tickets, queue, &mut ahead),
            LogJob::Truncate { ticket, last } => log.truncate(last).map(|found| {
                if found == last { done(ticket) } else { DiskEvent::TruncateFailed { wanted: last, found } }
            }),
            LogJob::SyncRecovered(ticket) => log.sync_recovered().map(|()| done(ticket)),
            LogJob::Install { ticket, label } => log.install(label).map(|()| done(ticket)),
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
        // A thread that panicked has said why, and the log fills the file by itself.
        if let Ok(spare) = filled.join() {
            log.take_spare(spare)?;
        }
    }
    if let Some(filler) = filler.as_ref().filter(|_| log.hurry_spare()) {
        filler.thread().unpark();
    }
    if let Some(spare) = log.spare() {
        *filler = Some(std::thread::spawn(|| spare.fill()));
    }
    Ok(())
}

fn done(ticket: Ticket) -> DiskEvent {
    DiskEvent::Done { tickets: vec![ticket], synced_in: None }
}

/// Appends a batch with all that wait behind it, as far as they make one batch, and syncs once.
fn append<D: Disk>(
    log: &mut Log<D>,
    mut batch: Batch,
    mut tickets: Vec<Ticket>,
    queue: &Receiver<LogJob>,
    ahead: &mut Option<LogJob>,
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
            | LogJob::Reload) => {
                *ahead = Some(job);
                break;
            }
        }
    }
    log.append_batch(&batch)?;
    let started = Instant::now();
    log.sync()?;
    let took = started.elapsed();
    if took > SYNC_SLOW {
        warn!(ms = took.as_millis(), "a sync of the log took long");
    }
    Ok(DiskEvent::Done { tickets, synced_in: Some(took) })
}

/// Looking for the next order before the thread sleeps, as the [loop](crate::linger) does, and for the same reason: to
/// wake it on a core that sleeps takes a fifth of a lone write. It pays while one client writes at a time, and as soon
/// as it is answered.
#[derive(Debug, Default)]
struct Linger {
    /// When the last order was carried out.
    ended: Option<Instant>,
    /// How many orders in a row were small and came soon.
    calm: u32,
    /// For how many orders not to linger.
    crowded: u32,
}

impl Linger {
    /// An order is to be carried out.
    fn begin(&mut self, job: &LogJob, now: Instant) {
        let soon = self.ended.is_some_and(|ended| now.saturating_duration_since(ended) < LINGER_MAX);
        let small = matches!(job, LogJob::Append { tickets, .. } if tickets.len() <= CALM_TXNS);
        self.calm = if soon && small { self.calm.saturating_add(1) } else { 0 };
        self.crowded = self.crowded.saturating_sub(1);
    }

    /// It is carried out.
    fn end(&mut self, now: Instant) {
        self.ended = Some(now);
    }

    /// Whether it pays to look for the next one.
    fn pays(&self) -> bool {
        self.calm >= CALM_ORDERS && self.crowded == 0
    }

    /// Looks for the next order, if that pays.
    fn look(&mut self, queue: &Receiver<LogJob>) -> Option<LogJob> {
        let ended = self.ended.filter(|_| self.pays())?;
        loop {
            std::thread::yield_now();
            if let Ok(job) = queue.try_recv() {
                return Some(job);
            }
            let waited = ended.elapsed();
            if waited > LINGER_MAX + CROWDED {
                self.crowded = CROWDED_ORDERS;
            }
            if waited > LINGER_MAX {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::channel, time::Instant};

    use protocol::Ticket;
    use storage::Batch;

    use super::{CALM_ORDERS, CALM_TXNS, LINGER_MAX, Linger, LogJob};

    /// Carries out so many orders of this many transactions, each this long behind the one before.
    fn orders(linger: &mut Linger, count: u32, txns: usize, apart: std::time::Duration) {
        let start = Instant::now();
        for number in 0..count {
            let job = LogJob::Append { batch: Batch::new(), tickets: vec![Ticket(1); txns] };
            let now = start + apart * number;
            linger.begin(&job, now);
            linger.end(now);
        }
    }

    #[test]
    fn the_thread_lingers_behind_small_orders_that_come_soon() {
        let mut linger = Linger::default();
        orders(&mut linger, CALM_ORDERS, 1, LINGER_MAX / 2);
        assert!(!linger.pays(), "the first one came behind nothing");
        orders(&mut linger, 2, 1, LINGER_MAX / 2);
        assert!(linger.pays());
        orders(&mut linger, 1, CALM_TXNS + 1, LINGER_MAX / 2);
        assert!(!linger.pays(), "many write");
        orders(&mut linger, 2 * CALM_ORDERS, 1, LINGER_MAX);
        assert!(!linger.pays(), "they come too late");
    }

    #[test]
    fn a_look_ends_with_the_next_order_or_in_time() {
        let (orders_out, queue) = channel();
        let mut linger = Linger { ended: Some(Instant::now()), calm: CALM_ORDERS, crowded: 0 };
        assert!(linger.look(&queue).is_none(), "nothing comes");
        linger = Linger { ended: Some(Instant::now()), calm: CALM_ORDERS, crowded: 0 };
        orders_out.send(LogJob::Reload).expect("the queue is there");
        assert!(matches!(linger.look(&queue), Some(LogJob::Reload)));
    }
}
