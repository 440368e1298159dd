//! Elections as whole peers show them: what backs each result, and what votes say.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{Notification, Quorum, ServerState, Vote, election::outranks};
use spec::{
    ServerId,
    election::{Word, is_strict_total_order, leader_votes, result_is_backed},
    rule::Verdict,
};
use world::Fault;

use crate::{coverage::Coverage, record::holds};

/// What one server has heard.
#[derive(Debug, Default)]
struct Ear {
    /// The last word of each, as far as it is of this round or tells of a leader.
    heard: BTreeMap<ServerId, Notification>,
    /// Words of later rounds, heard while there is a leader.
    early: BTreeMap<ServerId, Notification>,
    /// What it began elections with.
    offered: BTreeSet<Vote>,
}

/// All votes of a run.
#[derive(Debug)]
pub(crate) struct Elections {
    quorum: Quorum,
    ears: Vec<Ear>,
}

/// What a step was, to an election.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Occasion {
    /// A message came.
    Heard(ServerId, Notification),
    /// The election link with this server was lost.
    Lost(ServerId),
    /// Anything else.
    Other,
}

/// What a server's election was before a step, and behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) word: Option<Notification>,
    pub(crate) round: u64,
    /// Whether it has a role.
    pub(crate) role: bool,
}

impl Moment {
    fn looks(&self) -> bool {
        self.word.is_some_and(|word| word.state == ServerState::Looking)
    }
}

impl Elections {
    pub(crate) fn new(servers: usize, quorum: Quorum) -> Self {
        Self { quorum, ears: (0..servers).map(|_| Ear::default()).collect() }
    }

    /// The process ends: it has heard nothing any more.
    pub(crate) fn forget(&mut self, server: usize) {
        let ear = &mut self.ears[server];
        ear.heard.clear();
        ear.early.clear();
    }

    /// A server has come to look for a leader, with this to offer.
    pub(crate) fn looks(&mut self, server: usize, offer: Vote) {
        self.ears[server].offered.insert(offer);
    }

    /// A vote that a server sends: it is about what the named server had to offer (F-4).
    pub(crate) fn voted(
        &mut self,
        me: ServerId,
        said: &Notification,
        coverage: &mut Coverage,
    ) -> Result<(), Fault> {
        // Who has nothing to offer only asks.
        if said.state != ServerState::Looking || said.vote.zxid.is_none() {
            return Ok(());
        }
        let named = usize::try_from(said.vote.leader.0).ok().and_then(|id| self.ears.get(id.wrapping_sub(1)));
        let offered = named.is_some_and(|ear| ear.offered.contains(&said.vote));
        holds("F-4", Verdict::of(true, || offered), coverage, || {
            format!("server {me} votes for {:?}, which that server never had to offer", said.vote)
        })
    }

    /// A server has taken a step. Judges the result of its election, if it has come to one (F-2, F-3).
    pub(crate) fn stepped(
        &mut self,
        server: usize,
        occasion: Occasion,
        before: Moment,
        after: Moment,
        coverage: &mut Coverage,
    ) -> Result<(), Fault> {
        self.ears[server].hear(occasion, before, after);
        let decided = after.role && (!before.role || before.round != after.round);
        if decided {
            self.judge(server, occasion, before, after, coverage)?;
            self.ears[server].heard.clear();
        }
        Ok(())
    }

    fn judge(
        &self,
        server: usize,
        occasion: Occasion,
        before: Moment,
        after: Moment,
        coverage: &mut Coverage,
    ) -> Result<(), Fault> {
        let Some(result) = after.word else { return Ok(()) };
        let (me, leader) = (crate::node::server_id(server), result.vote.leader);
        let heard = &self.ears[server].heard;
        let names_it = |word: &Notification| word.vote == result.vote && word.state == ServerState::Looking;
        let adopted = match occasion {
            Occasion::Heard(_, word) => names_it(&word),
            Occasion::Lost(_) | Occasion::Other => false,
        };
        // An election that begins with words of its round may end at once.
        let at_once = !before.looks() && (result.vote.leader == me || heard.values().any(names_it));
        let shared = adopted || at_once || before.word.is_some_and(|word| word.vote == result.vote);
        let words = heard.iter().map(|(id, word)| Word {
            of: *id,
            leader: word.vote.leader,
            same_vote: word.vote == result.vote && word.round == result.round,
            same_reign: word.state != ServerState::Looking && word.vote.epoch == result.vote.epoch,
            leads: word.state == ServerState::Leading,
        });
        let own = Word { of: me, leader, same_vote: shared, same_reign: false, leads: false };
        let words: Vec<_> = words.chain([own]).collect();
        let own_round = before.round == result.round || !before.looks();
        let backed =
            || result_is_backed(me, leader, own_round, &words, |servers| self.quorum.decides(servers));
        holds("F-2", Verdict::of(true, backed), coverage, || {
            format!("server {me} elects {leader} without a quorum for it: {words:?}")
        })?;
        let may_lead = self.quorum.voters().filter(|voter| self.quorum.may_lead(*voter)).collect();
        holds("F-3", Verdict::of(true, || leader_votes(leader, &may_lead)), coverage, || {
            format!("server {me} elects {leader}, which may not lead")
        })
    }

    /// F-1, of every vote of the run.
    pub(crate) fn judge_order(&self, coverage: &mut Coverage) -> Result<(), Fault> {
        let votes: BTreeSet<_> = self.ears.iter().flat_map(|ear| ear.offered.iter().copied()).collect();
        let votes: Vec<_> = votes.into_iter().take(60).collect();
        let ordered = || is_strict_total_order(&votes, |one, other| outranks(&self.quorum, one, other));
        holds("F-1", Verdict::of(votes.len() > 1, ordered), coverage, || {
            format!("the votes {votes:?} have no best")
        })
    }
}

impl Ear {
    fn hear(&mut self, occasion: Occasion, before: Moment, after: Moment) {
        match occasion {
            Occasion::Heard(from, word) if before.looks() => {
                if after.round != before.round && after.looks() {
                    self.heard.retain(|_, word| word.state != ServerState::Looking);
                }
                let counts = match word.state {
                    ServerState::Looking => word.round == after.round,
                    ServerState::Following | ServerState::Leading => true,
                    ServerState::Observing => false,
                };
                if counts {
                    self.heard.insert(from, word);
                }
            }
            Occasion::Heard(from, word) => {
                self.early.remove(&from);
                if word.state == ServerState::Looking && word.round > before.round {
                    self.early.insert(from, word);
                }
            }
            Occasion::Lost(peer) => {
                self.early.remove(&peer);
            }
            Occasion::Other => {}
        }
        // It has begun an election, in a round of its own.
        if !before.looks() && before.round != after.round {
            self.heard = std::mem::take(&mut self.early);
            self.heard.retain(|_, word| word.round == after.round);
        } else if before.role && !after.role {
            self.heard.clear();
        }
    }
}
