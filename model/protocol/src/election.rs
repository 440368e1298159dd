//! Fast Leader Election: notifications in, a leader out.
//!
//! Every server that looks for a leader proposes itself, and adopts any better proposal that it hears of in its
//! round. A proposal that a quorum shares is elected, after a short wait for a better one. Zab is safe whatever comes
//! out of this; what depends on it is that a leader comes out at all, and soon.
//!
//! Numbered rules: `spec/election.md`. Source: ZooKeeper `FastLeaderElection`.

use alloc::collections::{BTreeMap, BTreeSet};
use core::mem;

use serde::{Deserialize, Serialize};
use spec::{Epoch, ServerId};

use crate::{Note, Notification, Quorum, ServerState, Timer, Vote};

#[cfg(test)]
mod tests;

/// One server's part in elections.
///
/// It answers nothing before the first [`Input::Look`], and nothing between [`Input::Stopped`] and the next one.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Election {
    me: ServerId,
    quorum: Quorum,
    /// Counts this server's elections, and catches up with whoever counted more.
    round: u64,
    /// The last word of each voter that looks for a leader in a later round, while this server does not: it may have
    /// come an instant too early, and nobody repeats it for a while (rule E-14).
    early: BTreeMap<ServerId, Notification>,
    /// The observers that have asked who leads while nobody did: told once somebody does (rule E-16).
    asked: BTreeSet<ServerId>,
    stage: Stage,
}

/// What an election is told.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub enum Input {
    /// Look for a leader, with this to offer.
    Look(Vote),
    /// An election message.
    Notification {
        /// Who sent it.
        from: ServerId,
        /// What it says.
        notification: Notification,
    },
    /// The election link with this server was refused or reset.
    LinkDown(ServerId),
    /// [`Timer::Resend`] or [`Timer::Finalize`] has fired.
    Timer(Timer),
    /// The epoch is established under the leader that was elected.
    Established(Epoch),
    /// The role that came out of the last election is lost; [`Input::Look`] follows when the disk has caught up.
    Stopped,
}

/// What an election asks for. Each call is carried out in order; none answers.
pub trait Effects {
    /// Sends an election message; a newer one replaces one that has not left yet.
    fn notify(&mut self, to: ServerId, notification: &Notification);
    /// The election is over, and this server is to lead: perhaps this one itself.
    fn elected(&mut self, leader: ServerId);
    /// Starts (anew) a timer.
    fn set_timer(&mut self, timer: Timer);
    /// Stops a timer, if it runs.
    fn cancel_timer(&mut self, timer: Timer);
    /// Tells something that changes nothing.
    fn note(&mut self, note: Note);
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
enum Stage {
    /// No role, and no election: the disk is busy.
    Resting,
    Looking(Looking),
    /// An election came to an end, and its result holds.
    Decided {
        state: ServerState,
        vote: Vote,
    },
}

/// An election under way.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
struct Looking {
    /// What this server has to offer.
    own: Vote,
    /// What it proposes: the best of its round.
    vote: Vote,
    /// The last word of each voter in this round, its own included (ZooKeeper's `recvset`).
    received: BTreeMap<ServerId, Notification>,
    /// The last word of each voter that has a leader, of whatever round (ZooKeeper's `outofelection`).
    settled: BTreeMap<ServerId, Notification>,
    /// Voters whose election link was refused or reset in this round, and who were not heard of since.
    unreachable: BTreeSet<ServerId>,
    /// Whether a quorum shares the proposal, and only a better one is waited for.
    finalizing: bool,
}

/// Whether proposal `a` is better than `b`: the higher epoch, then the later transaction, then the higher server; a
/// server that may not lead loses to any that may (rule E-3).
///
/// Each level counts only if the levels above it are equal. Otherwise two proposals may each be better than the
/// other, and two servers outbid each other for ever (ZooKeeper issue 1419).
pub fn outranks(quorum: &Quorum, a: &Vote, b: &Vote) -> bool {
    match (quorum.may_lead(a.leader), quorum.may_lead(b.leader)) {
        (false, true) => false,
        (true, false) => true,
        (true, true) | (false, false) => {
            a.epoch > b.epoch
                || (a.epoch == b.epoch && (a.zxid > b.zxid || (a.zxid == b.zxid && a.leader > b.leader)))
        }
    }
}

/// Whether two servers say the same. Of servers that have a leader, round and transaction may differ, since they
/// joined it at different times; leader and epoch tell whether it is the same reign (ZooKeeper issue 1805).
fn agree(a: &Notification, b: &Notification) -> bool {
    if a.state == ServerState::Looking || b.state == ServerState::Looking {
        a.vote == b.vote && a.round == b.round
    } else {
        a.vote.leader == b.vote.leader && a.vote.epoch == b.vote.epoch
    }
}

impl Election {
    /// A server that has not looked for a leader yet.
    pub fn new(me: ServerId, quorum: Quorum) -> Self {
        Self { me, quorum, round: 0, early: BTreeMap::new(), asked: BTreeSet::new(), stage: Stage::Resting }
    }

    /// The round that this server is in, or decided in.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// What this server tells others: its state and its vote. None while it has neither.
    pub fn word(&self) -> Option<Notification> {
        let (state, vote) = match &self.stage {
            Stage::Resting => return None,
            Stage::Looking(looking) => (ServerState::Looking, looking.vote),
            Stage::Decided { state, vote } => (*state, *vote),
        };
        Some(Notification { state, vote, round: self.round })
    }

    /// What this server has to offer, while it looks for a leader. Its proposal may name it with something else: what
    /// others say it had to offer before a crash.
    pub fn offer(&self) -> Option<Vote> {
        match &self.stage {
            Stage::Looking(looking) => Some(looking.own),
            Stage::Resting | Stage::Decided { .. } => None,
        }
    }

    /// The voters that share this server's proposal in its round, while it looks for a leader.
    #[cfg(test)]
    fn supporters(&self) -> BTreeSet<ServerId> {
        match (&self.stage, self.word()) {
            (Stage::Looking(looking), Some(word)) => looking.supporters(&word),
            (Stage::Looking(_) | Stage::Resting | Stage::Decided { .. }, _) => BTreeSet::new(),
        }
    }

    /// Whether a quorum shares this server's proposal, and it waits for a better one.
    pub fn is_finalizing(&self) -> bool {
        matches!(&self.stage, Stage::Looking(looking) if looking.finalizing)
    }

    /// Takes one input.
    pub fn step(&mut self, input: Input, out: &mut impl Effects) {
        match input {
            Input::Look(own) => self.look(own, out),
            Input::Notification { from, notification } => self.on_notification(from, notification, out),
            Input::LinkDown(peer) => self.on_link_down(peer, out),
            Input::Timer(timer) => self.on_timer(timer, out),
            Input::Established(epoch) => {
                // Who joins later must hear the same epoch from all of us (ZooKeeper issue 1732).
                if let Stage::Decided { vote, .. } = &mut self.stage {
                    vote.epoch = epoch;
                }
            }
            Input::Stopped => {
                self.leave_election(Stage::Resting, out);
            }
        }
    }

    fn look(&mut self, own: Vote, out: &mut impl Effects) {
        self.leave_election(Stage::Resting, out);
        // An observer offers nothing: it only asks.
        let own = Vote { zxid: own.zxid.filter(|_| self.quorum.is_voter(self.me)), ..own };
        // A count that cannot grow only costs the reset of stale votes; a peer may send any number.
        self.round = self.round.saturating_add(1);
        self.stage = Stage::Looking(Looking {
            own,
            vote: own,
            received: BTreeMap::new(),
            settled: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            finalizing: false,
        });
        self.broadcast(out);
        for (from, notification) in mem::take(&mut self.early) {
            self.on_notification(from, notification, out);
        }
        self.tally(out);
    }

    fn on_notification(&mut self, from: ServerId, said: Notification, out: &mut impl Effects) {
        if !self.quorum.is_voter(from) {
            return self.on_question(from, said, out);
        }
        let Stage::Looking(looking) = &mut self.stage else {
            return self.on_word_out_of_election(from, said, out);
        };
        looking.unreachable.remove(&from);
        let settled = said.state != ServerState::Looking;
        if !self.quorum.is_voter(said.vote.leader) || (settled && !self.quorum.may_lead(said.vote.leader)) {
            return out.note(Note::VoteIgnored { from });
        }
        match said.state {
            ServerState::Looking => self.on_vote(from, said, out),
            ServerState::Following | ServerState::Leading => self.on_settled(from, said, out),
            ServerState::Observing => out.note(Note::VoteIgnored { from }),
        }
    }

    /// A server without a vote asks who leads, if it looks for a leader; its own opinion counts for nothing. Another
    /// word of it is no question, and an answer would only be answered. An observer has nothing to tell another.
    fn on_question(&mut self, from: ServerId, said: Notification, out: &mut impl Effects) {
        let voter = self.quorum.is_voter(self.me);
        if !voter || said.state != ServerState::Looking {
            return out.note(Note::VoteIgnored { from });
        }
        match self.stage {
            Stage::Looking(_) | Stage::Resting => {
                self.asked.insert(from);
            }
            Stage::Decided { .. } => {}
        }
        self.answer(from, out);
    }

    /// A voter tells its word while this server is not looking.
    fn on_word_out_of_election(&mut self, from: ServerId, said: Notification, out: &mut impl Effects) {
        self.early.remove(&from);
        match said.state {
            // A voter never asks an observer: what is late here is an answer.
            _ if !self.quorum.is_voter(self.me) => out.note(Note::StaleVote { from }),
            ServerState::Looking => {
                if said.round > self.round {
                    self.early.insert(from, said);
                }
                self.answer(from, out);
            }
            ServerState::Following | ServerState::Leading | ServerState::Observing => {
                out.note(Note::StaleVote { from });
            }
        }
    }

    /// Another server that looks for a leader tells its proposal.
    fn on_vote(&mut self, from: ServerId, said: Notification, out: &mut impl Effects) {
        let Stage::Looking(looking) = &mut self.stage else { return };
        // It has no leader any more, whatever it said before.
        looking.settled.remove(&from);
        if said.vote.zxid.is_none() || looking.own.zxid.is_none() {
            // It may have said in this round that it has one.
            looking.received.remove(&from);
            return out.note(Note::VoteIgnored { from });
        }
        if said.round < self.round {
            out.note(Note::StaleVote { from });
            return self.answer(from, out);
        }
        let better = outranks(&self.quorum, &said.vote, &looking.vote);
        if said.round > self.round {
            let counted_on = from == looking.vote.leader
                || looking.received.get(&from).is_some_and(|word| word.vote == looking.vote);
            if looking.finalizing && !better && !counted_on {
                // The result is due any moment, and will be the answer. But if one of those that make it has moved
                // on, it comes to nothing: the proposed leader looks again, or the quorum is gone.
                return out.note(Note::VoteIgnored { from });
            }
            self.round = said.round;
            looking.received.clear();
            looking.unreachable.clear();
            looking.vote =
                if outranks(&self.quorum, &said.vote, &looking.own) { said.vote } else { looking.own };
            looking.received.insert(from, said);
            self.broadcast(out);
        } else {
            looking.received.insert(from, said);
            if better {
                looking.vote = said.vote;
                self.broadcast(out);
            }
        }
        self.tally(out);
    }

    /// Another server tells which leader it has, perhaps itself.
    fn on_settled(&mut self, from: ServerId, said: Notification, out: &mut impl Effects) {
        let Stage::Looking(looking) = &mut self.stage else { return };
        looking.settled.insert(from, said);
        let in_round = said.round == self.round;
        if in_round {
            looking.received.insert(from, said);
        } else {
            looking.received.remove(&from);
        }
        let Stage::Looking(looking) = &self.stage else { return };
        let joins = |table: &BTreeMap<ServerId, Notification>| {
            let sharing = table.iter().filter(|(_, word)| agree(word, &said)).map(|(id, _)| id);
            self.quorum.decides(sharing) && self.leads(said.vote.leader, said.round, table)
        };
        if (in_round && joins(&looking.received)) || joins(&looking.settled) {
            self.round = said.round;
            self.decide(said.vote, out);
        } else {
            self.tally(out);
        }
    }

    /// Whether this server leads, as far as one can tell: it says so itself. Without that, servers would go on
    /// electing a leader that has crashed, on the word of those that followed it (ZooKeeper's `checkLeader`).
    fn leads(&self, leader: ServerId, round: u64, table: &BTreeMap<ServerId, Notification>) -> bool {
        if leader == self.me {
            self.round == round
        } else {
            table.get(&leader).is_some_and(|word| word.state == ServerState::Leading)
        }
    }

    fn on_link_down(&mut self, peer: ServerId, out: &mut impl Effects) {
        self.early.remove(&peer);
        self.asked.remove(&peer);
        match &mut self.stage {
            Stage::Looking(looking) if self.quorum.is_voter(peer) => {
                looking.unreachable.insert(peer);
                self.tally(out);
            }
            Stage::Looking(_) | Stage::Resting | Stage::Decided { .. } => {}
        }
    }

    fn on_timer(&mut self, timer: Timer, out: &mut impl Effects) {
        match (timer, &self.stage) {
            (Timer::Resend, Stage::Looking(_)) => self.broadcast(out),
            (Timer::Finalize, Stage::Looking(looking)) if looking.finalizing => {
                self.decide(looking.vote, out);
            }
            (
                Timer::Resend
                | Timer::Finalize
                | Timer::Establish
                | Timer::Handshake(_)
                | Timer::Silence(_)
                | Timer::Ping
                | Timer::Expiry
                | Timer::Sweep
                | Timer::SweepNext
                | Timer::ReadOnly,
                Stage::Looking(_) | Stage::Resting | Stage::Decided { .. },
            ) => out.note(Note::IdleTimer(timer)),
        }
    }

    /// Looks whether a quorum shares the proposal, and whether there is anyone left to wait for.
    fn tally(&mut self, out: &mut impl Effects) {
        let Some(word) = self.word() else { return };
        let Stage::Looking(looking) = &mut self.stage else { return };
        let supporters = looking.supporters(&word);
        // Without its data, or a vote, a server cannot judge a proposal; it can only join a leader that others have. And
        // others, whose lists are not this one's, may propose a server that may not lead here.
        let may_judge = looking.own.zxid.is_some() && self.quorum.may_lead(word.vote.leader);
        if !may_judge || !self.quorum.decides(&supporters) {
            if mem::take(&mut looking.finalizing) {
                out.cancel_timer(Timer::Finalize);
            }
            return;
        }
        let heard_of = |voter: &ServerId| supporters.contains(voter) || looking.unreachable.contains(voter);
        if self.quorum.voters().all(|voter| heard_of(&voter)) {
            // Nobody is left who could bring a better one (rule E-8).
            self.decide(word.vote, out);
        } else if !looking.finalizing {
            looking.finalizing = true;
            out.set_timer(Timer::Finalize);
        }
    }

    /// Ends the election with this result. Those who have not voted the same in this round are told, since they may
    /// be waiting for an answer, and so are the observers that have asked. An observer has nothing to tell.
    fn decide(&mut self, vote: Vote, out: &mut impl Effects) {
        let state = if !self.quorum.is_voter(self.me) {
            ServerState::Observing
        } else if vote.leader == self.me {
            ServerState::Leading
        } else {
            ServerState::Following
        };
        let received = self.leave_election(Stage::Decided { state, vote }, out);
        out.elected(vote.leader);
        if state == ServerState::Observing {
            return;
        }
        let word = Notification { state, vote, round: self.round };
        for observer in mem::take(&mut self.asked) {
            out.notify(observer, &word);
        }
        for voter in self.quorum.voters().filter(|voter| *voter != self.me) {
            if received.get(&voter).is_none_or(|word| word.vote != vote) {
                out.notify(voter, &word);
            }
        }
    }

    /// Goes to another stage; yields what was heard in this round.
    fn leave_election(&mut self, next: Stage, out: &mut impl Effects) -> BTreeMap<ServerId, Notification> {
        match mem::replace(&mut self.stage, next) {
            Stage::Looking(looking) => {
                out.cancel_timer(Timer::Resend);
                if looking.finalizing {
                    out.cancel_timer(Timer::Finalize);
                }
                looking.received
            }
            Stage::Resting | Stage::Decided { .. } => BTreeMap::new(),
        }
    }

    /// Tells every voter the proposal, this server itself included, and again after a while. For an observer, that is
    /// to ask.
    fn broadcast(&mut self, out: &mut impl Effects) {
        let Some(word) = self.word() else { return };
        if let Stage::Looking(looking) = &mut self.stage
            && self.quorum.is_voter(self.me)
        {
            looking.received.insert(self.me, word);
        }
        for voter in self.quorum.voters().filter(|voter| *voter != self.me) {
            out.notify(voter, &word);
        }
        out.set_timer(Timer::Resend);
    }

    fn answer(&mut self, to: ServerId, out: &mut impl Effects) {
        match self.word() {
            Some(word) => out.notify(to, &word),
            None => out.note(Note::StaleVote { from: to }),
        }
    }
}

impl Looking {
    fn supporters(&self, word: &Notification) -> BTreeSet<ServerId> {
        let sharing = self.received.iter().filter(|(_, other)| agree(other, word));
        sharing.map(|(id, _)| *id).collect()
    }
}
