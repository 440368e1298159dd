//! The order in which a learner of Apache's is answered.
//!
//! Such a server keeps what its clients ask the leader for, writes and syncs of all of them, in one queue, and compares
//! what comes with the head of it alone: a commit that overtakes the SYNC before it leaves a head that nothing will
//! answer any more, and all of its clients wait for ever. Behind the barrier a SYNC may take longer than a write that was
//! forwarded after it. So the sync of a learner that does not know our extensions does not pass the barrier: its SYNC
//! follows the commit of what was the last proposal when it came, before the next commit, as from an Apache leader
//! (rule C-16).

use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};
use spec::{ServerId, Zxid};

/// Syncs of such learners that wait for a commit, in the order in which they came: the commit, and who.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(super) struct Turns {
    syncs: VecDeque<(Zxid, ServerId)>,
}

impl Turns {
    /// A sync of this learner has come behind the proposal `after`, which is not committed.
    pub(super) fn wait(&mut self, learner: ServerId, after: Zxid) {
        self.syncs.push_back((after, learner));
    }

    /// The next learner whose turn it is, now that everything up to `committed` is committed.
    pub(super) fn next(&mut self, committed: Zxid) -> Option<ServerId> {
        let (_, learner) = *self.syncs.front().filter(|(after, _)| *after <= committed)?;
        self.syncs.pop_front();
        Some(learner)
    }

    /// The link with this learner is gone, or new.
    pub(super) fn forget(&mut self, learner: ServerId) {
        self.syncs.retain(|(_, waits)| *waits != learner);
    }
}

#[cfg(test)]
mod tests {
    use spec::{Epoch, ServerId, Zxid};

    use super::Turns;

    #[test]
    fn a_turn_comes_with_its_commit_and_goes_with_its_link() {
        let (a, b) = (ServerId(2), ServerId(3));
        let zxid = |counter| Zxid::new(Epoch(4), counter);
        let mut turns = Turns::default();
        for (learner, after) in [(a, 1), (b, 1), (a, 2), (b, 3)] {
            turns.wait(learner, zxid(after));
        }
        assert_eq!(turns.next(zxid(0)), None);
        assert_eq!([turns.next(zxid(1)), turns.next(zxid(1)), turns.next(zxid(1))], [Some(a), Some(b), None]);
        turns.forget(a);
        assert_eq!([turns.next(zxid(3)), turns.next(zxid(3))], [Some(b), None]);
    }
}
