//! Words that could come in a flood: strangers decide how often.

use std::time::{Duration, Instant};

/// Between two lines of one kind.
const EVERY: Duration = Duration::from_secs(10);

/// One kind of line, which is logged at most once in a while, with the number of those that it stands for.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    told: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// Counts one. If a line is due, how many it tells of.
    pub(crate) fn count(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// Each kind there is.
#[derive(Debug, Default)]
pub(crate) struct SeldomLines {
    /// File descriptors are used up.
    pub(crate) files: Seldom,
    /// What clients send is wrong.
    pub(crate) clients: Seldom,
    /// Too many connections come at once.
    pub(crate) throttled: Seldom,
    /// Answers are longer than clients take.
    pub(crate) answers: Seldom,
    /// Answers are not read.
    pub(crate) unread: Seldom,
    /// No hands are shaken with clients.
    pub(crate) handshakes: Seldom,
    /// Clients do not prove by SASL who they are.
    pub(crate) identities: Seldom,
    /// Whoever dials the quorum port is no learner.
    pub(crate) learners: Seldom,
    /// Whoever dials the election port is no voter.
    pub(crate) voters: Seldom,
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Seldom;

    #[test]
    fn one_line_in_ten_seconds_stands_for_all() {
        let (mut seldom, start) = (Seldom::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let rows =
            [(0, Some(1)), (1, None), (9_999, None), (10_000, Some(3)), (10_001, None), (40_000, Some(2))];
        for (ms, expected) in rows {
            assert_eq!(seldom.count(at(ms)), expected, "after {ms} ms");
        }
    }
}
