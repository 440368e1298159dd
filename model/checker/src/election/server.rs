//! A server of the election model: its actor, its timers, and what the rules need to know beside them.

use std::{collections::BTreeSet, mem};

use protocol::{
    Election, Note, Notification, Quorum, ServerState, Timer, Vote,
    election::{Effects, Input, outranks},
};
use spec::{Epoch, ServerId, election};
use world::{Ear, Moment, Occasion, Turn, text};

use super::Change;
use crate::engine::Broken;

/// A server.
#[derive(Clone, Debug, Eq, Hash, PartialEq, serde::Serialize)]
pub struct Server {
    pub(super) id: ServerId,
    /// What it has to offer; it is on disk.
    pub(super) own: Vote,
    /// Every vote for itself that it ever began an election with.
    pub(super) offered: BTreeSet<Vote>,
    /// None while it is down.
    pub(super) actor: Option<Election>,
    pub(super) resend: bool,
    pub(super) finalize: bool,
    /// Whether its last election ended with every voter of the ensemble sharing the vote.
    pub(super) unanimous: bool,
    /// What rule F-2 needs of what it has heard.
    ear: Ear,
}

/// What a step yields beside the changed server.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Told {
    pub(super) sent: Vec<(ServerId, Notification)>,
    pub(super) elected: Option<ServerId>,
    pub(super) notes: Vec<Note>,
    pub(super) witnesses: u64,
}

/// Carries out what the actor asks for.
struct Sink<'s> {
    told: &'s mut Told,
    resend: &'s mut bool,
    finalize: &'s mut bool,
}

impl Sink<'_> {
    fn timer(&mut self, timer: Timer) -> &mut bool {
        match timer {
            Timer::Resend => self.resend,
            Timer::Finalize => self.finalize,
            Timer::Establish
            | Timer::Handshake(_)
            | Timer::Silence(_)
            | Timer::Ping
            | Timer::Expiry
            | Timer::Sweep
            | Timer::SweepNext
            | Timer::ReadOnly => {
                panic!("an election has no timer {timer:?}")
            }
        }
    }
}

impl Effects for Sink<'_> {
    fn notify(&mut self, to: ServerId, notification: &Notification) {
        self.told.sent.push((to, *notification));
    }

    fn elected(&mut self, leader: ServerId) {
        assert!(self.told.elected.is_none(), "an election ends once");
        self.told.elected = Some(leader);
    }

    fn set_timer(&mut self, timer: Timer) {
        *self.timer(timer) = true;
    }

    fn cancel_timer(&mut self, timer: Timer) {
        *self.timer(timer) = false;
    }

    fn note(&mut self, note: Note) {
        self.told.notes.push(note);
    }
}

impl Server {
    pub(super) fn down(own: Vote) -> Self {
        Self {
            id: own.leader,
            own,
            offered: BTreeSet::new(),
            actor: None,
            resend: false,
            finalize: false,
            unanimous: false,
            ear: Ear::default(),
        }
    }

    /// Whether its process runs.
    pub fn is_up(&self) -> bool {
        self.actor.is_some()
    }

    /// All that a reader is told of it, in some lines.
    pub fn sketch(&self) -> Vec<String> {
        let word = self.word().map_or_else(
            || if self.is_up() { "says nothing".to_owned() } else { "down".to_owned() },
            |word| text::notification(&word),
        );
        let mut lines = vec![word, format!("has {}", text::offer(self.own))];
        lines.extend(self.resend.then(|| "timer Resend".to_owned()));
        lines.extend(self.finalize.then(|| "timer Finalize".to_owned()));
        lines
    }

    /// Its actor, while it is up.
    pub fn actor(&self) -> Option<&Election> {
        self.actor.as_ref()
    }

    /// Whether the timer to tell its vote again runs, and the one that ends its wait for a better one.
    pub fn timers(&self) -> [bool; 2] {
        [self.resend, self.finalize]
    }

    pub(super) fn word(&self) -> Option<Notification> {
        self.actor.as_ref().and_then(Election::word)
    }

    pub(super) fn is_looking(&self) -> bool {
        self.word().is_some_and(|word| word.state == ServerState::Looking)
    }

    /// Whether it leads.
    pub fn leads(&self) -> bool {
        self.word().is_some_and(|word| word.state == ServerState::Leading)
    }

    /// Whom it follows.
    pub fn follows(&self) -> Option<ServerId> {
        let learns =
            |word: &Notification| matches!(word.state, ServerState::Following | ServerState::Observing);
        self.word().filter(learns).map(|word| word.vote.leader)
    }

    /// What it has to offer; it is on disk.
    pub fn own(&self) -> Vote {
        self.own
    }

    /// The epoch that it tells others who ask.
    pub(super) fn established(&self) -> Option<Epoch> {
        self.word().map(|word| word.vote.epoch)
    }

    pub(super) fn round(&self) -> u64 {
        self.actor.as_ref().map_or(0, Election::round)
    }

    pub(super) fn change(&mut self, change: &Change, quorum: &Quorum) -> Result<Told, Broken> {
        match change {
            Change::Start => {
                self.actor = Some(Election::new(self.id, quorum.clone()));
                self.step(Input::Look(self.own), quorum)
            }
            Change::Crash => {
                *self = Self { offered: mem::take(&mut self.offered), ..Self::down(self.own) };
                Ok(Told::default())
            }
            Change::Relook => {
                self.unanimous = false;
                self.step(Input::Stopped, quorum)?;
                self.step(Input::Look(self.own), quorum)
            }
            Change::Step(input) => self.step(*input, quorum),
            Change::Join(epoch, zxid) => {
                self.own.epoch = *epoch;
                self.own.zxid = *zxid;
                self.step(Input::Established(*epoch), quorum)
            }
            Change::Send(_) | Change::Clear | Change::Spend(_) => {
                unreachable!("{change:?} is not for a server")
            }
        }
    }

    fn step(&mut self, input: Input, quorum: &Quorum) -> Result<Told, Broken> {
        let mut told = Told::default();
        let Some(actor) = &mut self.actor else { unreachable!("a server that is down takes no step") };
        let before = actor.clone();
        let votes = quorum.is_voter(self.id);
        match input {
            Input::Timer(Timer::Resend) => self.resend = false,
            Input::Timer(Timer::Finalize) => self.finalize = false,
            Input::Look(own) => {
                self.offered.insert(own);
            }
            Input::Timer(_)
            | Input::Notification { .. }
            | Input::LinkDown(_)
            | Input::Established(_)
            | Input::Stopped => {}
        }
        let mut sink = Sink { told: &mut told, resend: &mut self.resend, finalize: &mut self.finalize };
        actor.step(input, &mut sink);
        let after = actor.clone();
        let turn = Turn { occasion: occasion(input), before: Moment::of(&before), after: Moment::of(&after) };
        self.ear.hear(&turn, votes);
        let told_observer = told.elected.is_some() && told.sent.iter().any(|(to, _)| !quorum.is_voter(*to));
        told.witnesses = witnesses(input, &before, &after, &told);
        told.witnesses |= u64::from(told.elected.is_some() && !votes) << 12 | u64::from(told_observer) << 13;
        if let Some(leader) = told.elected {
            let light = self.judge(leader, &turn, quorum)?;
            told.witnesses |= u64::from(light) << 14;
            self.ear.close();
        }
        if self.finalize != after.is_finalizing() {
            return Err(Broken::new("timers", "Finalize is set exactly while a quorum shares the vote"));
        }
        Ok(told)
    }

    /// F-2 and F-3, at the moment of a result. Also remembers whether the vote was unanimous. Returns whether half of
    /// the voters or fewer were enough.
    fn judge(&mut self, leader: ServerId, turn: &Turn, quorum: &Quorum) -> Result<bool, Broken> {
        let result = turn.result().expect("a result is a word");
        let backing = self.ear.backing(self.id, self.own, turn, result);
        if !backing.suffices(quorum) {
            return Err(Broken::new(
                "F-2",
                format!("server {} elects {leader} without a quorum for it", self.id),
            ));
        }
        let may_lead = quorum.voters().filter(|voter| quorum.may_lead(*voter)).collect();
        if !election::leader_votes(leader, &may_lead) {
            return Err(Broken::new(
                "F-3",
                format!("server {} elects {leader}, which may not lead", self.id),
            ));
        }
        let (voters, sharing) = (quorum.voters().count(), backing.sharing(quorum));
        self.unanimous = sharing == voters;
        Ok(sharing > 0 && sharing * 2 <= voters && leader == self.id)
    }
}

/// What an input is to the ear of its server.
fn occasion(input: Input) -> Occasion {
    match input {
        Input::Notification { from, notification } => Occasion::Heard(from, notification),
        Input::LinkDown(peer) => Occasion::Lost(peer),
        Input::Look(_) | Input::Timer(_) | Input::Established(_) | Input::Stopped => Occasion::Other,
    }
}

fn is_looking(actor: &Election) -> bool {
    actor.word().is_some_and(|word| word.state == ServerState::Looking)
}

fn witnesses(input: Input, before: &Election, after: &Election, told: &Told) -> u64 {
    let bit = |number: u32, met: bool| u64::from(met) << number;
    let elected = told.elected.is_some();
    match input {
        Input::Notification { notification, .. } if is_looking(before) => {
            let settled = notification.state != ServerState::Looking;
            let joins = elected && settled && after.word().is_some_and(|w| w.vote == notification.vote);
            let later = notification.round > before.round();
            let better = before.word().is_some_and(|word| {
                let everyone = Quorum::majority([word.vote.leader, notification.vote.leader]);
                outranks(&everyone, &notification.vote, &word.vote)
            });
            bit(0, joins && notification.round != before.round())
                | bit(1, joins && notification.round == before.round())
                | bit(2, !settled && later && after.round() == notification.round)
                | bit(3, !settled && notification.round < before.round() && !told.sent.is_empty())
                | bit(4, elected && !settled)
                | bit(7, before.is_finalizing() && !settled && better && !elected)
        }
        Input::LinkDown(_) => bit(5, elected),
        Input::Timer(_) => bit(6, elected),
        Input::Notification { .. } | Input::Look(_) | Input::Established(_) | Input::Stopped => 0,
    }
}
