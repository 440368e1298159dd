//! What a server has heard in elections, kept beside its actor: it tells what backs a result (rule F-2).
//!
//! The actor keeps tables of its own, and a flaw may be in how it keeps them. So what counts is told again here, from
//! what goes into the actor and what it says before and behind each step.

use std::collections::BTreeMap;

use protocol::{Election, Notification, Quorum, ServerState, Vote};
use serde::Serialize;
use spec::{
    ServerId,
    election::{Elected, Word, result_is_backed},
};

/// The last words of others, as far as they count.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq, Serialize)]
pub struct Ear {
    /// What each other server said last in this election, as far as it is of this round or tells of a leader.
    heard: BTreeMap<ServerId, Notification>,
    /// What others that look for a leader in a later round said last while this server did not.
    early: BTreeMap<ServerId, Notification>,
}

/// What a step was, to an election.
#[derive(Clone, Copy, Debug)]
pub enum Occasion {
    /// This server has said this.
    Heard(ServerId, Notification),
    /// The election link with this server was lost.
    Lost(ServerId),
    /// Anything else.
    Other,
}

/// What an election was at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    word: Option<Notification>,
    round: u64,
}

/// A step of a server, as its election sees it.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// What it was.
    pub occasion: Occasion,
    /// The election before it.
    pub before: Moment,
    /// The election behind it.
    pub after: Moment,
}

/// What a result rests on.
#[derive(Clone, Debug)]
pub struct Backing {
    elected: Elected,
    /// The last word of each server that counts, its own included.
    pub words: Vec<Word>,
}

impl Moment {
    /// This election as it stands.
    pub fn of(election: &Election) -> Self {
        Self { word: election.word(), round: election.round() }
    }

    fn looks(&self) -> bool {
        self.word.is_some_and(|word| word.state == ServerState::Looking)
    }

    fn decided(&self) -> Option<Notification> {
        self.word.filter(|word| word.state != ServerState::Looking)
    }
}

impl Turn {
    /// What the election has come to in this step, if that is a leader.
    pub fn result(&self) -> Option<Notification> {
        let anew = self.before.decided().is_none() || self.before.round != self.after.round;
        self.after.decided().filter(|_| anew)
    }

    /// Whether an election has begun, in a round of its own.
    fn begins(&self) -> bool {
        !self.before.looks() && self.before.round != self.after.round
    }

    /// What was heard, by a server that looked for a leader.
    fn heard(&self) -> Option<Notification> {
        match self.occasion {
            Occasion::Heard(_, word) if self.before.looks() => Some(word),
            Occasion::Heard(..) | Occasion::Lost(_) | Occasion::Other => None,
        }
    }
}

impl Ear {
    /// Keeps what counts of a step. An observer, which has no vote, has an ear for leaders only.
    pub fn hear(&mut self, turn: &Turn, votes: bool) {
        let Turn { occasion, before, after } = turn;
        match *occasion {
            Occasion::Heard(from, word) if before.looks() => {
                if after.round != before.round && after.looks() {
                    self.heard.retain(|_, word| word.state != ServerState::Looking);
                }
                let counts = match word.state {
                    ServerState::Looking => votes && word.round == after.round,
                    ServerState::Following | ServerState::Leading => true,
                    ServerState::Observing => false,
                };
                if counts {
                    self.heard.insert(from, word);
                }
            }
            Occasion::Heard(from, word) => {
                self.early.remove(&from);
                if votes && word.state == ServerState::Looking && word.round > before.round {
                    self.early.insert(from, word);
                }
            }
            Occasion::Lost(peer) => {
                self.early.remove(&peer);
            }
            Occasion::Other => {}
        }
        if turn.begins() {
            self.heard = std::mem::take(&mut self.early);
            self.heard.retain(|_, word| word.round == after.round);
        }
    }

    /// What backs the result of this step, of a server that has this to offer.
    pub fn backing(&self, me: ServerId, own: Vote, turn: &Turn, result: Notification) -> Backing {
        let names_it = |word: &Notification| word.state == ServerState::Looking && word.vote == result.vote;
        let adopted = turn.heard().is_some_and(|word| names_it(&word));
        // An election that begins with words of its round may end at once.
        let at_once = turn.begins() && (own == result.vote || self.heard.values().any(names_it));
        let shared = adopted || at_once || turn.before.word.is_some_and(|word| names_it(&word));
        let words = self.heard.iter().map(|(id, word)| Word {
            of: *id,
            leader: word.vote.leader,
            same_vote: word.vote == result.vote && word.round == result.round,
            same_reign: word.state != ServerState::Looking && word.vote.epoch == result.vote.epoch,
            leads: word.state == ServerState::Leading,
        });
        let leader = result.vote.leader;
        let own = Word { of: me, leader, same_vote: shared, same_reign: false, leads: false };
        let own_round = turn.before.round == result.round;
        let joins = turn.heard().is_some_and(|word| word.state != ServerState::Looking);
        Backing { elected: Elected { me, leader, own_round, joins }, words: words.chain([own]).collect() }
    }

    /// The election is over: what was heard in it counts no more.
    pub fn close(&mut self) {
        self.heard.clear();
    }
}

impl Backing {
    /// F-2, of these voters.
    pub fn suffices(&self, quorum: &Quorum) -> bool {
        result_is_backed(&self.elected, &self.words, |servers| quorum.decides(servers))
    }

    /// How many voters share the vote of the result.
    pub fn sharing(&self, quorum: &Quorum) -> usize {
        self.words.iter().filter(|word| word.same_vote && quorum.is_voter(word.of)).count()
    }
}

#[cfg(test)]
mod tests {
    use spec::{Epoch, Zxid};

    use super::*;

    const ME: ServerId = ServerId(1);
    const LEADER: u64 = 5;

    fn vote(leader: u64) -> Vote {
        Vote { epoch: Epoch(1), zxid: Some(Zxid::ZERO), leader: ServerId(leader) }
    }

    fn says(state: ServerState, leader: u64, round: u64) -> Notification {
        Notification { state, vote: vote(leader), round }
    }

    fn at(word: Notification) -> Moment {
        Moment { word: Some(word), round: word.round }
    }

    /// Whether a server that looks for a leader in this round, and has heard all of this, may be led in round 5.
    fn may_be_led(round: u64, votes: bool, heard: &[(u64, ServerState)]) -> bool {
        let mut ear = Ear::default();
        let looks = at(says(ServerState::Looking, ME.0, round));
        let result = says(ServerState::Following, LEADER, 5);
        let mut turn = Turn { occasion: Occasion::Other, before: looks, after: looks };
        for (place, (from, state)) in heard.iter().enumerate() {
            turn.occasion = Occasion::Heard(ServerId(*from), says(*state, LEADER, 5));
            turn.after = if place + 1 == heard.len() { at(result) } else { looks };
            ear.hear(&turn, votes);
        }
        assert_eq!(turn.result(), Some(result));
        ear.backing(ME, vote(ME.0), &turn, result).suffices(&Quorum::majority((1..=5).map(ServerId)))
    }

    #[test]
    fn what_backs_a_result() {
        use ServerState::{Following, Leading, Looking};
        let followers = [2, 3, 4].map(|from| (from, Following));
        let reign = [(LEADER, Leading), (3, Following), (4, Following)];
        assert!(may_be_led(2, true, &reign), "a quorum has this leader, and it says so");
        assert!(!may_be_led(2, true, &reign[..2]), "two are no quorum");
        assert!(!may_be_led(2, true, &followers), "the leader says nothing, and its round was never shared");
        assert!(may_be_led(5, true, &followers), "in the round of this server they have voted");
        let voters = [2, 3].map(|from| (from, Looking));
        assert!(may_be_led(5, true, &voters), "the third vote is that of this server, which adopts theirs");
        assert!(!may_be_led(5, false, &voters), "an observer has no ear for votes");
    }
}
