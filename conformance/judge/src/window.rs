//! The stretch of a run that rules are put to: what stands behind a cut.
//!
//! A run has hundreds of thousands of transactions, and rules compare whole histories. What is committed and stands in
//! every history that reaches so far is cut off in front, and the counters of the epoch that is cut through are
//! counted on from the cut, so that what follows stands as a history from the first transaction on.

use spec::{Entry, Zxid};

/// Where the stretch begins: everything behind this transaction belongs to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut(pub(crate) Zxid);

impl Cut {
    pub(crate) fn is_behind(self, zxid: Zxid) -> bool {
        zxid > self.0
    }

    /// The place of a transaction in the stretch.
    pub(crate) fn place(self, zxid: Zxid) -> Zxid {
        if !self.is_behind(zxid) {
            Zxid::ZERO
        } else if zxid.epoch() == self.0.epoch() && zxid.counter() > self.0.counter() {
            Zxid::new(zxid.epoch(), zxid.counter() - self.0.counter())
        } else {
            zxid
        }
    }

    /// The part of a history that belongs to the stretch.
    pub(crate) fn entries(self, history: &[Entry]) -> Vec<Entry> {
        let start = history.partition_point(|entry| !self.is_behind(entry.zxid));
        history[start..]
            .iter()
            .map(|entry| Entry { zxid: self.place(entry.zxid), digest: entry.digest })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use spec::{Entry, Epoch, Zxid};

    use super::Cut;

    #[test]
    fn a_stretch_starts_like_a_history() {
        let zxid = |epoch, counter| Zxid::new(Epoch(epoch), counter);
        let history = [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1)];
        let history: Vec<Entry> =
            history.map(|(epoch, counter)| Entry { zxid: zxid(epoch, counter), digest: 7 }).into();
        let places = |cut| Cut(cut).entries(&history).into_iter().map(|entry| entry.zxid).collect::<Vec<_>>();
        assert_eq!(places(zxid(1, 2)), [zxid(1, 1), zxid(1, 2), zxid(2, 1)]);
        assert_eq!(places(zxid(1, 4)), [zxid(2, 1)]);
        assert_eq!(places(Zxid::ZERO).len(), 5);
        assert_eq!(Cut(zxid(1, 2)).place(zxid(1, 2)), Zxid::ZERO);
        assert_eq!(Cut(zxid(1, 2)).place(zxid(2, 0)), zxid(2, 0));
    }
}
