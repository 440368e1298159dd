//! The barrier that makes sync see every write completed before it.
//!
//! A leader that answers from what it believes may be deposed without knowing it, and then a sync through it misses
//! what its successor has committed. So a sync is through once two things hold (rule S-14). Everything that this
//! leader had proposed when the sync came is committed. And a quorum has answered a PING that was sent after the sync
//! came: a server that answers has not promised a later epoch at that moment, so no later epoch was established when
//! the sync came, for its quorum of promises would share a server with ours.
//!
//! A claim that is to be refused passes the barrier too, since its client takes the refusal for the end of its session,
//! and so does each claim at an observer, so that it has what the session's old server had proposed (rule C-15).
//!
//! One round of PINGs serves every sync that came before it was sent; those that come while it is under way wait for
//! the next. PINGs carry no number (Apache's followers echo what they were sent), so the echoes of a link are counted.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};

use serde::{Deserialize, Serialize};
use spec::{ClientId, ServerId, SessionId, Zxid};

use crate::Quorum;

/// Where a request came from: the place that its answer goes to.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(super) enum Source {
    /// A client of this server.
    Client(ClientId),
    /// A learner, which knows the client.
    Learner(ServerId),
}

/// What waits behind the barrier.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(super) enum Waiter {
    /// A sync.
    Sync(Source),
    /// The refusal of a claim to this session. A leader that has been deposed does not know the sessions that its
    /// successor has opened, and one whose links are held marks sessions as closing that live (rule C-4).
    Refusal(Source, SessionId),
    /// A claim to this session at an observer. It is granted unless the session is closed meanwhile.
    Claim(ServerId, SessionId),
}

impl Waiter {
    fn source(self) -> Source {
        match self {
            Self::Sync(source) | Self::Refusal(source, _) => source,
            Self::Claim(observer, _) => Source::Learner(observer),
        }
    }
}

/// Something that is not through.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
struct Waiting {
    waiter: Waiter,
    /// The last proposal when it came.
    after: Zxid,
}

#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(super) struct Barrier {
    /// PINGs of each learner that it has not echoed.
    in_flight: BTreeMap<ServerId, u32>,
    round: Option<Round>,
    /// Syncs that came since the round under way was sent.
    next: Vec<Waiting>,
    /// Syncs whose quorum has answered, in the order they came, which is the order of `after`.
    confirmed: VecDeque<Waiting>,
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
struct Round {
    /// Echoes to come, up to and including the one of this round's PING.
    awaited: BTreeMap<ServerId, u32>,
    /// This leader, and those that have echoed this round's PING.
    answered: BTreeSet<ServerId>,
    syncs: Vec<Waiting>,
}

impl Barrier {
    /// A sync has come. Returns whether a round has to be [begun](Self::begin) for it now.
    #[must_use]
    pub(super) fn ask(&mut self, waiter: Waiter, after: Zxid) -> bool {
        self.next.push(Waiting { waiter, after });
        self.round.is_none()
    }

    /// A round begins: the PINGs that are [sent](Self::pinged) next are its own.
    pub(super) fn begin(&mut self, me: ServerId) {
        self.round = Some(Round {
            awaited: BTreeMap::new(),
            answered: BTreeSet::from([me]),
            syncs: core::mem::take(&mut self.next),
        });
    }

    /// A PING was put on the link with this learner. The first one counts for the round, so a learner that joins
    /// while it is under way takes part from then on.
    pub(super) fn pinged(&mut self, learner: ServerId) {
        let in_flight = self.in_flight.entry(learner).or_default();
        *in_flight += 1;
        if let Some(round) = &mut self.round
            && !round.answered.contains(&learner)
        {
            round.awaited.entry(learner).or_insert(*in_flight);
        }
    }

    /// A learner has echoed a PING. Returns false if none was under way.
    #[must_use]
    pub(super) fn echoed(&mut self, learner: ServerId) -> bool {
        let Some(in_flight) = self.in_flight.get_mut(&learner).filter(|count| **count > 0) else {
            return false;
        };
        *in_flight -= 1;
        if let Some(round) = &mut self.round
            && let Some(count) = round.awaited.get_mut(&learner)
        {
            *count -= 1;
            if *count == 0 {
                round.awaited.remove(&learner);
                round.answered.insert(learner);
            }
        }
        true
    }

    /// Ends the round if its quorum has answered. Returns whether syncs wait for another one.
    #[must_use]
    pub(super) fn conclude(&mut self, quorum: &Quorum) -> bool {
        match self.round.take() {
            Some(round) if quorum.decides(&round.answered) => self.confirmed.extend(round.syncs),
            unfinished => self.round = unfinished,
        }
        self.round.is_none() && !self.next.is_empty()
    }

    /// The oldest sync that is through, now that everything up to `committed` is committed.
    pub(super) fn release(&mut self, committed: Zxid) -> Option<Waiter> {
        // Counter 0 is no transaction: nothing had been proposed.
        let sync =
            self.confirmed.front().filter(|sync| sync.after <= committed || sync.after.counter() == 0)?;
        let waiter = sync.waiter;
        self.confirmed.pop_front();
        Some(waiter)
    }

    /// The link with this learner is gone, or new.
    pub(super) fn forget(&mut self, learner: ServerId) {
        self.in_flight.remove(&learner);
        let stays = |sync: &Waiting| sync.waiter.source() != Source::Learner(learner);
        self.next.retain(stays);
        self.confirmed.retain(stays);
        if let Some(round) = &mut self.round {
            // What it has answered stays true; what it has not, it never will.
            round.awaited.remove(&learner);
            round.syncs.retain(stays);
        }
    }
}

#[cfg(test)]
mod tests {
    use spec::{ClientId, Epoch, ServerId, Zxid};

    use super::{Barrier, Source, Waiter};
    use crate::Quorum;

    const ME: ServerId = ServerId(1);
    const A: ServerId = ServerId(2);
    const B: ServerId = ServerId(3);

    fn quorum() -> Quorum {
        Quorum::majority([ME, A, B])
    }

    fn client(number: u64) -> Waiter {
        Waiter::Sync(Source::Client(ClientId(number)))
    }

    fn zxid(counter: u32) -> Zxid {
        Zxid::new(Epoch(4), counter)
    }

    /// Sends a round to these learners.
    fn round(barrier: &mut Barrier, learners: &[ServerId]) {
        barrier.begin(ME);
        for learner in learners {
            barrier.pinged(*learner);
        }
    }

    #[test]
    fn an_echo_of_an_older_ping_confirms_nothing() {
        let mut barrier = Barrier::default();
        barrier.pinged(A);
        assert!(barrier.ask(client(1), zxid(0)));
        round(&mut barrier, &[A, B]);
        assert!(barrier.echoed(A));
        assert!(!barrier.conclude(&quorum()));
        assert_eq!(barrier.release(zxid(9)), None, "the echo is of the PING from before the sync");
        assert!(barrier.echoed(A));
        assert!(!barrier.conclude(&quorum()));
        assert_eq!(barrier.release(zxid(0)), Some(client(1)));
        assert!(barrier.echoed(B));
        assert!(!barrier.echoed(B), "an echo without a PING");
    }

    #[test]
    fn syncs_under_way_share_the_next_round_and_wait_for_their_commits() {
        let mut barrier = Barrier::default();
        assert!(barrier.ask(client(1), zxid(1)));
        round(&mut barrier, &[A]);
        assert!(!barrier.ask(client(2), zxid(2)), "a round is under way");
        assert!(!barrier.ask(client(3), zxid(3)));
        assert!(barrier.echoed(A));
        assert!(barrier.conclude(&quorum()), "another round is due");
        assert_eq!(barrier.release(zxid(0)), None, "1 is not committed");
        round(&mut barrier, &[A]);
        assert_eq!(barrier.release(zxid(3)), Some(client(1)));
        assert_eq!(barrier.release(zxid(3)), None, "the second round has no answer yet");
        assert!(barrier.echoed(A));
        assert!(!barrier.conclude(&quorum()));
        assert_eq!(barrier.release(zxid(2)), Some(client(2)));
        assert_eq!(barrier.release(zxid(2)), None);
        assert_eq!(barrier.release(zxid(3)), Some(client(3)));
    }

    #[test]
    fn a_learner_that_joins_late_counts_and_one_that_left_is_not_waited_for() {
        let mut barrier = Barrier::default();
        assert!(barrier.ask(client(1), zxid(0)));
        assert!(barrier.ask(Waiter::Sync(Source::Learner(A)), zxid(0)));
        round(&mut barrier, &[A]);
        barrier.forget(A);
        barrier.pinged(B);
        assert!(barrier.echoed(B));
        assert!(!barrier.conclude(&quorum()));
        assert_eq!(barrier.release(zxid(0)), Some(client(1)));
        assert_eq!(barrier.release(zxid(0)), None, "the syncs of a learner go with its link");
    }

    #[test]
    fn one_voter_needs_no_answer() {
        let mut barrier = Barrier::default();
        assert!(barrier.ask(client(1), zxid(5)));
        round(&mut barrier, &[]);
        assert!(!barrier.conclude(&Quorum::majority([ME])));
        assert_eq!(barrier.release(zxid(4)), None);
        assert_eq!(barrier.release(zxid(5)), Some(client(1)));
    }
}
