//! Elections as whole peers show them: what backs each result, and what votes say.

use std::collections::BTreeSet;

use protocol::{Notification, Quorum, ServerState, Vote, election::outranks};
use spec::{
    ServerId,
    election::{is_strict_total_order, leader_votes, vote_was_offered},
    rule::Verdict,
};
use world::{Ear, Fault, Turn};

use crate::{coverage::Coverage, record::holds};

/// What is known of one server.
#[derive(Debug, Default)]
struct Voter {
    ear: Ear,
    /// What it began elections with.
    offered: BTreeSet<Vote>,
}

/// All votes of a run.
#[derive(Debug)]
pub(crate) struct Elections {
    quorum: Quorum,
    voters: Vec<Voter>,
}

impl Elections {
    pub(crate) fn new(servers: usize, quorum: Quorum) -> Self {
        Self { quorum, voters: (0..servers).map(|_| Voter::default()).collect() }
    }

    /// The process ends: it has heard nothing any more.
    pub(crate) fn forget(&mut self, server: usize) {
        self.voters[server].ear = Ear::default();
    }

    /// A server has come to look for a leader, with this to offer.
    pub(crate) fn looks(&mut self, server: usize, offer: Vote) {
        self.voters[server].offered.insert(offer);
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
        let named =
            usize::try_from(said.vote.leader.0).ok().and_then(|id| self.voters.get(id.wrapping_sub(1)));
        let offered = named.is_some_and(|voter| vote_was_offered(&said.vote, &voter.offered));
        holds("F-4", Verdict::of(true, || offered), coverage, || {
            format!("server {me} votes for {:?}, which that server never had to offer", said.vote)
        })
    }

    /// A server has taken a step, with this to offer. Judges the result of its election, if it has come to one (F-2,
    /// F-3).
    pub(crate) fn stepped(
        &mut self,
        server: usize,
        own: Vote,
        turn: &Turn,
        coverage: &mut Coverage,
    ) -> Result<(), Fault> {
        let me = own.leader;
        let ear = &mut self.voters[server].ear;
        ear.hear(turn, self.quorum.is_voter(me));
        let Some(result) = turn.result() else { return Ok(()) };
        let backing = ear.backing(me, own, turn, result);
        ear.close();
        let leader = result.vote.leader;
        holds("F-2", Verdict::of(true, || backing.suffices(&self.quorum)), coverage, || {
            format!("server {me} elects {leader} without a quorum for it: {backing:?}")
        })?;
        let may_lead = self.quorum.voters().filter(|voter| self.quorum.may_lead(*voter)).collect();
        holds("F-3", Verdict::of(true, || leader_votes(leader, &may_lead)), coverage, || {
            format!("server {me} elects {leader}, which may not lead")
        })
    }

    /// F-1, of every vote of the run.
    pub(crate) fn judge_order(&self, coverage: &mut Coverage) -> Result<(), Fault> {
        let votes: BTreeSet<_> = self.voters.iter().flat_map(|voter| voter.offered.iter().copied()).collect();
        let votes: Vec<_> = votes.into_iter().take(60).collect();
        let ordered = || is_strict_total_order(&votes, |one, other| outranks(&self.quorum, one, other));
        holds("F-1", Verdict::of(votes.len() > 1, ordered), coverage, || {
            format!("the votes {votes:?} have no best")
        })
    }
}
