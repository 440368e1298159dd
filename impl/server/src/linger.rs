//! Looking for more before the loop sleeps.
//!
//! To wake a thread on another core takes tens of microseconds, on virtual machines above all: as long as all the rest
//! of a read. So the loop looks at its sockets a little longer where that pays: while one client at most is waited for,
//! and the last wait was a short one. A server that many ask at once has no time to sleep anyway, and one that is
//! asked now and then sleeps at once. In between it lets others on its core go first.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::task::yield_now;

use crate::core::Shared;

/// How long the loop looks for more at most, and which waits are short.
pub(crate) const LINGER_MAX: Duration = Duration::from_micros(50);
/// For how many turns the loop does not linger behind a look that took twice as long: others have work for its core.
const CROWDED_TURNS: u32 = 200;
/// What a turn of a server with little to do brings at most: a request, or a packet with a proposal and a commit.
pub(crate) const CALM_STEPS: u32 = 2;

/// What is known of the turns so far.
#[derive(Debug, Default)]
pub(crate) struct Linger {
    /// How many there were.
    turns: u64,
    /// What the peer has been told in this one.
    steps: u32,
    /// When the last one ended.
    ended: Option<Instant>,
    /// Whether the wait before this one was short.
    paid: bool,
    /// For how many turns not to linger.
    crowded: u32,
}

impl Linger {
    /// A turn begins.
    pub(crate) fn turn_begins(&mut self, now: Instant) {
        self.turns += 1;
        self.steps = 0;
        self.paid = self.ended.is_some_and(|ended| now.saturating_duration_since(ended) < LINGER_MAX);
    }

    /// The peer is told something.
    pub(crate) fn step(&mut self) {
        self.steps = self.steps.saturating_add(1);
    }

    /// A turn ends, with so many requests of clients not answered. Whether to look for more.
    pub(crate) fn turn_ends(&mut self, now: Instant, outstanding: usize) -> bool {
        self.ended = Some(now);
        self.crowded = self.crowded.saturating_sub(1);
        self.crowded == 0 && self.paid && self.steps <= CALM_STEPS && outstanding <= 1
    }
}

/// Looks for more behind each turn for which that is wanted.
pub(crate) async fn linger(core: Shared) {
    let wanted = Rc::clone(&core.borrow().shell.wakes.linger);
    loop {
        wanted.notified().await;
        let turns = core.borrow().shell.linger.turns;
        let until = Instant::now() + LINGER_MAX;
        loop {
            std::thread::yield_now();
            // Polls the sockets, without a wait.
            yield_now().await;
            let (now, linger) = (Instant::now(), &mut core.borrow_mut().shell.linger);
            if now > until + LINGER_MAX {
                linger.crowded = CROWDED_TURNS;
            }
            if now > until || linger.turns != turns {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_pays_behind_short_waits_while_there_is_little_to_do() {
        let start = Instant::now();
        // Wait before the turn in microseconds, what it brings, what stays unanswered.
        let rows = [
            (10, 1, 0, true, "a read"),
            (10, 1, 1, true, "a write that is under way"),
            (1000, 1, 0, false, "behind a long wait"),
            (10, 1, 0, true, "and again"),
            (10, 5, 0, false, "much at once"),
            (10, 1, 2, false, "two are waited for"),
        ];
        let mut linger = Linger::default();
        linger.turn_begins(start);
        assert!(!linger.turn_ends(start, 0), "the first turn of all");
        let mut now = start;
        for (wait, steps, outstanding, wanted, why) in rows {
            now += Duration::from_micros(wait);
            linger.turn_begins(now);
            (0..steps).for_each(|_| linger.step());
            assert_eq!(linger.turn_ends(now, outstanding), wanted, "{why}");
        }
    }
}
