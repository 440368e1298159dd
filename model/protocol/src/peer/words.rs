//! Who stands by the result of an election, by the last word of each voter (rule E-15).
//!
//! A server that has a role, and an epoch that is not established, waits for others: a leader for a quorum of
//! followers, a follower for its leader. Election messages show when that is in vain. To give the role up then is
//! what a timer may do at any moment, so nothing rests on whether the words are right, or old.

use alloc::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spec::ServerId;

use crate::{Notification, Quorum, ServerState};

/// The last word of each voter whose election link has not broken since.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(super) struct Words(BTreeMap<ServerId, Notification>);

impl Words {
    /// A voter has said this.
    pub(super) fn hear(&mut self, voter: ServerId, said: Notification) {
        self.0.insert(voter, said);
    }

    /// The election link with this server was refused or reset: it may be down.
    pub(super) fn lose(&mut self, server: ServerId) {
        self.0.remove(&server);
    }

    /// Whether a quorum stands by a server that is to lead: who has that leader, and who votes for it in its round.
    /// One that looks in another round has moved on, or has started anew.
    pub(super) fn stand_by(&self, quorum: &Quorum, leader: ServerId, round: u64) -> bool {
        quorum.decides_where(|voter| {
            let stands = |word: &Notification| {
                word.vote.leader == leader && (word.state != ServerState::Looking || word.round == round)
            };
            voter == leader || self.0.get(&voter).is_some_and(stands)
        })
    }

    /// Whether the server that is to be followed may still lead: it was heard of, and has not said that it looks in
    /// a later round, or is for somebody else. In an earlier round it may still hear that it was elected.
    pub(super) fn may_lead(&self, leader: ServerId, round: u64) -> bool {
        self.0.get(&leader).is_some_and(|word| match word.state {
            ServerState::Looking if word.round != round => word.round < round,
            ServerState::Looking | ServerState::Following | ServerState::Leading | ServerState::Observing => {
                word.vote.leader == leader
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use spec::{Epoch, ServerId, Zxid};

    use super::Words;
    use crate::{Notification, Quorum, ServerState, Vote};

    const ROUND: u64 = 5;

    fn word(state: ServerState, leader: u64, round: u64) -> Notification {
        let vote = Vote { epoch: Epoch(1), zxid: Some(Zxid::ZERO), leader: ServerId(leader) };
        Notification { state, vote, round }
    }

    /// What server 1 says, and whether that lets server 2 lead, and lets a follower of 1 wait for it.
    #[test]
    fn a_word_stands_by_a_result_or_does_not() {
        use ServerState::{Following, Leading, Looking};
        let quorum = Quorum::majority([1, 2, 3].map(ServerId));
        let table = [
            // Two elects two: the one other vote that it needs.
            (word(Looking, 2, 5), true, false),
            (word(Following, 2, 5), true, false),
            (word(Following, 2, 9), true, false),
            // It has started anew, or moved on.
            (word(Looking, 2, 4), false, true),
            (word(Looking, 2, 6), false, false),
            // It has found a better vote in the last instant.
            (word(Looking, 3, 5), false, false),
            (word(Following, 3, 5), false, false),
            // It leads, or is about to.
            (word(Leading, 1, 5), false, true),
            (word(Leading, 1, 9), false, true),
            (word(Looking, 1, 5), false, true),
            (word(Looking, 1, 4), false, true),
            (word(Looking, 1, 6), false, false),
        ];
        for (said, two_leads, one_leads) in table {
            let mut words = Words::default();
            words.hear(ServerId(1), said);
            assert_eq!(words.stand_by(&quorum, ServerId(2), ROUND), two_leads, "{said:?}");
            assert_eq!(words.may_lead(ServerId(1), ROUND), one_leads, "{said:?}");
            words.lose(ServerId(1));
            assert!(!words.stand_by(&quorum, ServerId(2), ROUND));
            assert!(!words.may_lead(ServerId(1), ROUND));
        }
    }

    #[test]
    fn a_server_alone_stands_by_itself() {
        let quorum = Quorum::majority([ServerId(1)]);
        assert!(Words::default().stand_by(&quorum, ServerId(1), ROUND));
    }
}
