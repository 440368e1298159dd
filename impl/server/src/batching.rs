//! When a leader lets proposals go.
//!
//! One batch of them is under way at a time: what is proposed before it is committed goes together behind it, one sync
//! and one packet train for all. The more there is to do, the larger the batches, and a single proposal never waits,
//! as with Nagle's algorithm. A commit takes a journey between servers and a sync; where that is long, a batch waits
//! no longer than [`WAIT_MAX`].

use std::time::{Duration, Instant};

use spec::Zxid;

/// How long proposals wait at most for the batch before them.
pub(crate) const WAIT_MAX: Duration = Duration::from_millis(1);

/// The batch of a leader that is under way.
#[derive(Debug, Default)]
pub(crate) struct Batching {
    /// Its last proposal, and when it went.
    under_way: Option<(Zxid, Instant)>,
    /// Whether the loop will look again by itself.
    pub(crate) wakes: bool,
}

impl Batching {
    /// Whether what has been proposed is to wait, at a server that has applied everything through `processed`.
    pub(crate) fn waits(&self, processed: Zxid, now: Instant) -> bool {
        self.under_way.is_some_and(|(last, sent)| last > processed && now < sent + WAIT_MAX)
    }

    /// A batch goes.
    pub(crate) fn sent(&mut self, last: Zxid, now: Instant) {
        self.under_way = Some((last, now));
    }
}

#[cfg(test)]
mod tests {
    use spec::Epoch;

    use super::*;

    #[test]
    fn a_batch_waits_for_the_one_before_and_not_for_ever() {
        let (start, zxid) = (Instant::now(), |counter| Zxid::new(Epoch(1), counter));
        let mut batching = Batching::default();
        assert!(!batching.waits(zxid(0), start), "nothing is under way");
        batching.sent(zxid(3), start);
        assert!(batching.waits(zxid(2), start), "it is not committed");
        assert!(!batching.waits(zxid(3), start), "it is committed");
        assert!(!batching.waits(zxid(2), start + WAIT_MAX), "it takes too long");
    }
}
