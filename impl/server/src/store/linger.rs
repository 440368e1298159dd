//! Looking for the next order before the log's thread sleeps.
//!
//! As the [loop](crate::linger) does, and for the same reason: to wake the thread on a core that sleeps takes tens of
//! microseconds, before a lone write has begun. It pays while one client writes at a time, and as soon as it is answered.

use std::{
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use super::LogJob;

/// How long the thread looks for the next order, and which orders come soon.
const LINGER_MAX: Duration = Duration::from_micros(400);
/// A look that took so much longer was interrupted: others have work for its core.
const CROWDED: Duration = Duration::from_micros(100);
/// For how many orders the thread does not linger then.
const CROWDED_ORDERS: u32 = 200;
/// A calm order has so many transactions at most.
const CALM_TXNS: usize = 2;
/// Behind how many calm orders in a row the thread lingers.
const CALM_ORDERS: u32 = 8;

/// What is known of the orders so far.
#[derive(Debug, Default)]
pub(super) struct Linger {
    /// When the last order was carried out.
    ended: Option<Instant>,
    /// How many orders in a row were small and came soon.
    calm: u32,
    /// For how many orders not to linger.
    crowded: u32,
}

impl Linger {
    /// An order is to be carried out.
    pub(super) fn begin(&mut self, job: &LogJob, now: Instant) {
        let soon = self.ended.is_some_and(|ended| now.saturating_duration_since(ended) < LINGER_MAX);
        let small = matches!(job, LogJob::Append { tickets, .. } if tickets.len() <= CALM_TXNS);
        self.calm = if soon && small { self.calm.saturating_add(1) } else { 0 };
        self.crowded = self.crowded.saturating_sub(1);
    }

    /// It is carried out.
    pub(super) fn end(&mut self, now: Instant) {
        self.ended = Some(now);
    }

    /// Looks for the next order, if that pays; once, until orders come soon again.
    pub(super) fn look(&mut self, queue: &Receiver<LogJob>) -> Option<LogJob> {
        let ended = self.ended.filter(|_| self.pays())?;
        loop {
            std::thread::yield_now();
            if let Ok(job) = queue.try_recv() {
                return Some(job);
            }
            let waited = ended.elapsed();
            if waited > LINGER_MAX {
                self.in_vain(waited);
                return None;
            }
        }
    }

    /// Whether it pays to look.
    fn pays(&self) -> bool {
        self.calm >= CALM_ORDERS && self.crowded == 0
    }

    /// A look ended so long behind the last order, and nothing came.
    fn in_vain(&mut self, waited: Duration) {
        self.calm = 0;
        if waited > LINGER_MAX + CROWDED {
            self.crowded = CROWDED_ORDERS;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::channel,
        time::{Duration, Instant},
    };

    use protocol::Ticket;
    use storage::Batch;

    use super::{CALM_ORDERS, CALM_TXNS, CROWDED, CROWDED_ORDERS, LINGER_MAX, Linger, LogJob};

    /// Carries out so many orders of this many transactions, each this long behind the one before.
    fn orders(linger: &mut Linger, count: u32, txns: usize, apart: Duration) {
        let start = Instant::now();
        for number in 0..count {
            let job = LogJob::Append { batch: Batch::new(), tickets: vec![Ticket(1); txns] };
            let now = start + apart * number;
            linger.begin(&job, now);
            linger.end(now);
        }
    }

    fn calm() -> Linger {
        Linger { ended: Some(Instant::now()), calm: CALM_ORDERS, crowded: 0 }
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
    fn a_look_ends_with_the_next_order() {
        let (orders_out, queue) = channel();
        orders_out.send(LogJob::Reload).expect("the queue is there");
        let mut linger = calm();
        assert!(matches!(linger.look(&queue), Some(LogJob::Reload)));
        assert!(linger.pays());
    }

    #[test]
    fn a_look_in_vain_ends_in_time_and_is_not_repeated() {
        let (_orders_out, queue) = channel();
        let mut linger = calm();
        assert!(linger.look(&queue).is_none(), "nothing comes");
        assert!(!linger.pays());
    }

    #[test]
    fn a_look_that_was_interrupted_is_not_repeated_for_long() {
        let mut linger = calm();
        linger.in_vain(LINGER_MAX + CROWDED);
        assert_eq!(linger.crowded, 0, "it ended in time");
        linger.in_vain(LINGER_MAX + CROWDED * 2);
        orders(&mut linger, CROWDED_ORDERS - 1, 1, LINGER_MAX / 2);
        assert!(!linger.pays(), "its core is wanted");
        orders(&mut linger, CALM_ORDERS, 1, LINGER_MAX / 2);
        assert!(linger.pays());
    }
}
