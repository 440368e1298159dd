//! The `zab` model: discovery, synchronisation and broadcast, with elections decided by an oracle.
//!
//! In the *fine* tier each server that looks for a leader decides on its own to lead, or to follow any server, also
//! one that does not lead: more than any election could do wrong. In the *coarse* tier an election with the discovery
//! behind it is one transition, which takes the real actors through it message by message, and chooses no leader that
//! a follower outranks.
//!
//! Timers may fire whenever they run, and servers follow leaders as often as they like. What ends a run is its budget:
//! how often one is told to lead, how many transactions are proposed, how many crashes and breaks happen. A situation
//! that was met before with no more used of these is not looked at again: whatever can follow it has followed.

mod action;
mod coarse;
mod settings;
mod symmetry;

use std::collections::BTreeMap;

use protocol::{Role, zab::Input};
use spec::{
    ServerId,
    history::{Record, ServerView},
    rule,
};
use world::{Event, Frame, GhostChange, Link, LinkChange, NetChange, Outcome, Places, Server, Side, text};

use self::symmetry::Renaming;
pub use self::{
    action::Action,
    settings::{Bounds, Tier},
};
use crate::{
    engine::{Board, Broken, Model, Symmetry, Verdict},
    histories::Rules,
    words,
};

/// A leader whose name the record does not keep.
const NOBODY: ServerId = ServerId(0);

/// So many elections must be left, or a goal is not demanded: a leader may be needed.
const RESERVE: u8 = 1;

/// One piece of the state.
#[derive(Clone, Debug, Eq, Hash, PartialEq, serde::Serialize)]
pub enum Part {
    /// A server with its disk.
    Server(Box<Server>),
    /// A connection.
    Link(Link),
    /// What the servers cannot tell any more.
    Record(Record),
    /// What has been used of the bounds.
    Budget(Budget),
}

/// What has been used of the bounds.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq, serde::Serialize)]
pub struct Budget {
    /// How often a server was told to lead.
    pub elections: u8,
    /// Transactions proposed.
    pub txns: u8,
    /// Crashes.
    pub crashes: u8,
    /// Breaks.
    pub breaks: u8,
    /// Timers that fired; 0 if that is not bounded.
    pub timeouts: u8,
}

impl Budget {
    /// What of it is worth telling.
    pub fn sketch(&self) -> Vec<String> {
        let Self { elections, txns, crashes, breaks, timeouts } = *self;
        words::counts(&[
            (elections, "elections used"),
            (txns, "transactions used"),
            (crashes, "crashes used"),
            (breaks, "breaks used"),
            (timeouts, "timeouts used"),
        ])
    }
}

/// What happens to one part.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Change {
    /// To a server.
    Server(Event),
    /// To a connection.
    Link(LinkChange),
    /// To the record.
    Record(GhostChange),
    /// To the budget.
    Budget(Spend),
}

/// What is taken from the budget.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Spend {
    /// A server is told to lead.
    Election,
    /// A transaction.
    Txn,
    /// A crash.
    Crash,
    /// A break.
    Break,
    /// A timer that fires.
    Timeout,
}

/// What a change yields.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Yield {
    /// Of a server.
    Server(Outcome),
    /// Of a connection: the frame that was read.
    Frame(Option<Frame>),
    /// Of the rest.
    Nothing,
}

/// What rules about several parts see.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum View {
    /// A server.
    Server(ServerView),
    /// The record.
    Record(Record),
}

/// The model at some bounds.
#[derive(Clone, Debug)]
pub struct Zab {
    bounds: Bounds,
    settings: world::Settings,
    servers: Vec<ServerId>,
    rules: Rules,
    renamings: Vec<Renaming>,
}

impl Zab {
    /// The model at these bounds.
    pub fn new(bounds: Bounds) -> Self {
        let (servers, settings) = (bounds.servers(), bounds.settings());
        let alike = |slot: usize| bounds.symmetric && settings.quorum.alike(servers[slot], servers[slot + 1]);
        let renamings = symmetry::renamings(servers.len(), alike);
        let rules = Rules::new(settings.quorum.clone(), bounds.local_rules, &[], &[]);
        Self { bounds, settings, servers, rules, renamings }
    }

    /// The bounds.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// What is the same for every server.
    pub fn settings(&self) -> &world::Settings {
        &self.settings
    }

    /// The names that servers may trade so that nothing else changes: for each way, the new name of every server.
    pub fn renamings(&self) -> impl Iterator<Item = BTreeMap<ServerId, ServerId>> + '_ {
        self.renamings
            .iter()
            .map(|renaming| self.servers.iter().map(|id| (*id, self.renamed(renaming, *id))).collect())
    }

    fn slot_of(&self, server: ServerId) -> usize {
        self.places().server(server)
    }

    /// The slot of the connection from a learner to a leader, both by slot.
    fn link(&self, learner: usize, leader: usize) -> usize {
        self.places().link(learner, leader)
    }

    fn places(&self) -> Places {
        Places::of(self.servers.len())
    }

    fn record_slot(&self) -> usize {
        self.places().end()
    }

    fn budget_slot(&self) -> usize {
        self.record_slot() + 1
    }

    /// The two servers of a connection's slot: learner and leader.
    fn ends(&self, slot: usize) -> (usize, usize) {
        self.places().ends(slot)
    }

    fn event<B: Board<Self>>(&self, board: &mut B, slot: usize, event: Event) -> Result<bool, Broken> {
        let yields = board.change(slot, Change::Server(event))?;
        let Yield::Server(outcome) = &*yields else { unreachable!("a server's change yields an outcome") };
        board.witness(self.rules.met(&outcome.sights, &outcome.tested));
        for change in &outcome.net {
            self.net(board, slot, change)?;
        }
        for change in &outcome.ghost {
            board.change(self.record_slot(), Change::Record(change.clone()))?;
        }
        if let Some(views) = &outcome.forgets {
            let record = record(board.part(self.record_slot()));
            let tested = self.rules.forgetting(&views.0, &views.1, record)?;
            board.witness(tested);
        }
        Ok(outcome.appended)
    }

    fn net<B: Board<Self>>(&self, board: &mut B, slot: usize, change: &NetChange) -> Result<(), Broken> {
        let routed = self.places().route(slot, change, |place| link(board.part(place)));
        if let Some((place, change)) = routed.map_err(|why| Broken::new("world", why))? {
            board.change(place, Change::Link(change))?;
        }
        Ok(())
    }

    /// The end that a server has of a connection with this peer, by slot.
    fn open_end<B: Board<Self>>(&self, board: &B, slot: usize, peer: usize) -> Option<(usize, Side)> {
        self.places().open_end(slot, peer, |place| link(board.part(place)))
    }

    fn close_all<B: Board<Self>>(&self, board: &mut B, slot: usize) -> Result<(), Broken> {
        for peer in (0..self.servers.len()).filter(|peer| *peer != slot) {
            while let Some((place, side)) = self.open_end(board, slot, peer) {
                board.change(place, Change::Link(LinkChange::Close(side)))?;
            }
        }
        Ok(())
    }

    fn read<B: Board<Self>>(&self, board: &mut B, place: usize, side: Side) -> Result<(), Broken> {
        let (learner, leader) = self.ends(place);
        let (reader, sender) = match side {
            Side::Learner => (learner, leader),
            Side::Leader => (leader, learner),
        };
        let yields = board.change(place, Change::Link(LinkChange::Read(side)))?;
        let Yield::Frame(Some(frame)) = &*yields else { unreachable!("there is something to read") };
        self.event(board, reader, Event::Frame(self.servers[sender], frame.clone()))?;
        Ok(())
    }

    fn link_up<B: Board<Self>>(&self, board: &mut B, place: usize) -> Result<(), Broken> {
        let (learner, leader) = self.ends(place);
        board.change(place, Change::Link(LinkChange::Open))?;
        self.event(board, leader, Event::Input(Input::Accepted(self.servers[learner])))?;
        self.event(board, learner, Event::Input(Input::Connected(self.servers[leader])))?;
        Ok(())
    }

    fn elected<B: Board<Self>>(&self, board: &mut B, slot: usize, leader: ServerId) -> Result<(), Broken> {
        if leader == self.servers[slot] {
            board.change(self.budget_slot(), Change::Budget(Spend::Election))?;
        }
        self.event(board, slot, Event::Input(Input::Elected(leader)))?;
        Ok(())
    }

    fn notice<B: Board<Self>>(&self, board: &mut B, place: usize, side: Side) -> Result<(), Broken> {
        let (learner, leader) = self.ends(place);
        let (who, other) = match side {
            Side::Learner => (learner, leader),
            Side::Leader => (leader, learner),
        };
        board.change(place, Change::Link(LinkChange::Close(side)))?;
        self.event(board, who, Event::Input(Input::Disconnected(self.servers[other])))?;
        Ok(())
    }

    /// A proposal costs nothing if the leader steps down instead.
    fn propose<B: Board<Self>>(&self, board: &mut B, slot: usize) -> Result<(), Broken> {
        let txn = budget(board.part(self.budget_slot())).txns + 1;
        if self.event(board, slot, Event::Input(Input::Propose(txn)))? {
            board.change(self.budget_slot(), Change::Budget(Spend::Txn))?;
        }
        Ok(())
    }
}

impl Model for Zab {
    type Part = Part;
    type Change = Change;
    type Yield = Yield;
    type Action = Action;
    type View = View;

    fn initial(&self) -> Vec<Part> {
        let start = |id: &ServerId| {
            let server = Server::new(*id, &self.settings).expect("an empty disk is a good start");
            Part::Server(Box::new(server))
        };
        let links = self.record_slot() - self.servers.len();
        let mut parts: Vec<_> = self.servers.iter().map(start).collect();
        parts.extend((0..links).map(|_| Part::Link(Link::default())));
        parts.push(Part::Record(Record::default()));
        parts.push(Part::Budget(Budget::default()));
        parts
    }

    fn offers(&self, slot: usize, part: &Part, out: &mut Vec<Action>) {
        match part {
            Part::Server(server) => self.server_offers(server, out),
            Part::Link(link) => self.link_offers(slot, link, out),
            Part::Record(_) | Part::Budget(_) => {}
        }
    }

    fn enabled<B: Board<Self>>(&self, board: &B, action: &Action) -> bool {
        let used = || budget(board.part(self.budget_slot()));
        match action {
            Action::Decide { server, leader } => server != leader || used().elections < self.bounds.elections,
            Action::Reach { leader, .. } => is_leading(board.part(self.slot_of(*leader))),
            Action::Elect { leader, followers } => {
                used().elections < self.bounds.elections && self.may_elect(board, *leader, followers)
            }
            Action::Join { learner, leader } => self.may_join(board, *learner, *leader),
            Action::Connect { leader, .. } => {
                self.bounds.refusals || is_leading(board.part(self.slot_of(*leader)))
            }
            Action::Propose { .. } => used().txns < self.bounds.txns,
            Action::Crash { .. } => used().crashes < self.bounds.crashes,
            Action::Break { .. } => used().breaks < self.bounds.breaks,
            Action::Timeout { .. } => used().timeouts < self.bounds.timeouts,
            Action::Read { .. } | Action::Notice { .. } | Action::Finish { .. } => true,
        }
    }

    fn next<B: Board<Self>>(&self, board: &mut B, action: &Action) -> Result<(), Broken> {
        let place =
            |learner: &ServerId, leader: &ServerId| self.link(self.slot_of(*learner), self.slot_of(*leader));
        match action {
            Action::Decide { server, leader } => self.elected(board, self.slot_of(*server), *leader),
            Action::Reach { learner, leader } => {
                self.elected(board, self.slot_of(*learner), *leader)?;
                self.link_up(board, place(learner, leader))
            }
            Action::Elect { leader, followers } => self.elect(board, *leader, followers),
            Action::Join { learner, leader } => self.join(board, *learner, *leader),
            Action::Connect { learner, leader } => self.link_up(board, place(learner, leader)),
            Action::Read { learner, leader, at } => self.read(board, place(learner, leader), *at),
            Action::Notice { learner, leader, at } => self.notice(board, place(learner, leader), *at),
            Action::Timeout { server, timer } => {
                if self.bounds.timeouts != u8::MAX {
                    board.change(self.budget_slot(), Change::Budget(Spend::Timeout))?;
                }
                self.event(board, self.slot_of(*server), Event::Timer(*timer)).map(drop)
            }
            Action::Finish { server, ticket } => {
                self.event(board, self.slot_of(*server), Event::Disk(*ticket)).map(drop)
            }
            Action::Propose { server } => self.propose(board, self.slot_of(*server)),
            Action::Break { learner, leader } => {
                board.change(self.budget_slot(), Change::Budget(Spend::Break))?;
                board.change(place(learner, leader), Change::Link(LinkChange::Break)).map(drop)
            }
            Action::Crash { server, keep } => {
                board.change(self.budget_slot(), Change::Budget(Spend::Crash))?;
                self.close_all(board, self.slot_of(*server))?;
                self.event(board, self.slot_of(*server), Event::Crash(*keep)).map(drop)
            }
        }
    }

    fn change(&self, part: &mut Part, change: &Change) -> Result<Yield, Broken> {
        match (part, change) {
            (Part::Server(server), Change::Server(event)) => {
                let outcome = server.step(&self.settings, event);
                outcome.map(Yield::Server).map_err(Broken::from)
            }
            (Part::Link(link), Change::Link(change)) => Ok(Yield::Frame(link.change(change))),
            (Part::Record(record), Change::Record(change)) => {
                match change {
                    // Rules do not ask who led; without the name, records are the same under all names.
                    GhostChange::Establish(epoch, _, initial) => record.establish(*epoch, NOBODY, initial),
                    GhostChange::Commit(_, held) => record.commit(NOBODY, held),
                }
                Ok(Yield::Nothing)
            }
            (Part::Budget(budget), Change::Budget(spend)) => {
                match spend {
                    Spend::Election => budget.elections += 1,
                    Spend::Txn => budget.txns += 1,
                    Spend::Crash => budget.crashes += 1,
                    Spend::Break => budget.breaks += 1,
                    Spend::Timeout => budget.timeouts += 1,
                }
                Ok(Yield::Nothing)
            }
            (part, change) => unreachable!("{change:?} does not fit {part:?}"),
        }
    }

    fn view(&self, _: usize, part: &Part) -> Option<View> {
        match part {
            Part::Server(server) => Some(View::Server(server.view())),
            Part::Record(record) => Some(View::Record(record.clone())),
            Part::Link(_) | Part::Budget(_) => None,
        }
    }

    fn judge_part(&self, _: usize, part: &Part) -> Verdict {
        match part {
            Part::Server(server) => self.rules.server(&server.view()),
            Part::Record(record) => self.rules.record(record),
            Part::Link(_) | Part::Budget(_) => Verdict::default(),
        }
    }

    fn judge_pair(&self, _: (usize, usize), views: (&View, &View)) -> Verdict {
        match views {
            (View::Server(one), View::Server(other)) => self.rules.pair(one, other),
            (View::Server(server), View::Record(record)) => self.rules.server_and_record(server, record),
            (View::Record(_), _) => Verdict::default(),
        }
    }

    fn judge_whole(&self, views: &[(usize, &View)]) -> Verdict {
        let servers = views.iter().filter_map(|(_, view)| match view {
            View::Server(server) => Some(server),
            View::Record(_) => None,
        });
        let record = views.iter().find_map(|(_, view)| match view {
            View::Record(record) => Some(record),
            View::Server(_) => None,
        });
        let servers: Vec<_> = servers.collect();
        record.map_or_else(Verdict::default, |record| self.rules.quorums(&servers, record))
    }

    fn symmetries(&self) -> Vec<Symmetry> {
        self.renamings.iter().map(|renaming| self.symmetry(renaming)).collect()
    }

    fn rename_part(&self, symmetry: usize, part: &Part) -> Part {
        let renaming = &self.renamings[symmetry];
        match part {
            Part::Server(server) => Part::Server(Box::new(server.renamed(|id| self.renamed(renaming, id)))),
            Part::Link(_) | Part::Record(_) | Part::Budget(_) => part.clone(),
        }
    }

    fn rename_action(&self, symmetry: usize, action: &Action) -> Action {
        action.renamed(|id| self.renamed(&self.renamings[symmetry], id))
    }

    fn has_ledger(&self) -> bool {
        self.bounds.covering
    }

    /// Every bound is only ever compared with what is used of it. The number of transactions also names the next one.
    fn allows_all_of(&self, this: &Part, other: &Part) -> bool {
        let (this, other) = (budget(this), budget(other));
        this.txns == other.txns
            && this.elections <= other.elections
            && this.crashes <= other.crashes
            && this.breaks <= other.breaks
            && this.timeouts <= other.timeouts
    }

    fn witnesses(&self) -> &[&'static str] {
        self.rules.witnesses()
    }

    fn is_about_histories(&self, broken: &Broken) -> bool {
        rule::all().any(|rule| rule.id == broken.rule && rule.is_about_histories())
    }

    /// A leader serves, and the last committed transaction is of its epoch.
    fn is_goal(&self, parts: &[&Part]) -> bool {
        let Some(last) = record(parts[self.record_slot()]).committed().last() else { return false };
        parts[..self.servers.len()].iter().copied().map(server).any(|server| {
            let led = server.zab().role();
            let leads = matches!(led, Some((Role::Leading, epoch)) if epoch == last.zxid.epoch());
            leads && server.zab().is_serving()
        })
    }

    /// A transaction and an election are left.
    fn is_demanded(&self, parts: &[&Part]) -> bool {
        let used = budget(parts[self.budget_slot()]);
        used.txns < self.bounds.txns && used.elections + RESERVE <= self.bounds.elections
    }

    fn is_fault_free(&self, action: &Action) -> bool {
        !matches!(action, Action::Crash { .. } | Action::Break { .. })
    }

    fn describe(&self, action: &Action) -> String {
        action.to_string()
    }

    fn narrate(&self, slot: usize, change: &Change, _: &Yield, before: &Part, _: &Part) -> Vec<String> {
        match (before, change) {
            (Part::Server(server), Change::Server(event)) => {
                let story = server.story(&self.settings, event).into_iter();
                story.map(|line| format!("server {} {line}", self.servers[slot])).collect()
            }
            (_, Change::Record(GhostChange::Establish(epoch, leader, initial))) => {
                vec![format!("epoch {epoch} is established under {leader} with {}", text::sequence(initial))]
            }
            (_, Change::Record(GhostChange::Commit(leader, held))) => {
                vec![format!("committed, as leader {leader} holds: {}", text::sequence(held))]
            }
            _ => Vec::new(),
        }
    }

    fn is_host(&self, slot: usize) -> bool {
        slot < self.servers.len()
    }

    fn carries(&self, action: &Action) -> Option<(usize, usize)> {
        action.message().map(|(from, to)| (self.slot_of(from), self.slot_of(to)))
    }

    fn slot_name(&self, slot: usize) -> String {
        if slot < self.servers.len() {
            format!("server {}", self.servers[slot])
        } else if slot < self.record_slot() {
            let (learner, leader) = self.ends(slot);
            format!("link of {} to {}", self.servers[learner], self.servers[leader])
        } else if slot == self.record_slot() {
            "record".to_owned()
        } else {
            "budget".to_owned()
        }
    }

    fn tell(&self, part: &Part) -> Vec<String> {
        match part {
            Part::Server(server) => vec![server.to_string()],
            Part::Link(link) if *link == Link::default() => Vec::new(),
            Part::Link(link) => vec![link.to_string()],
            Part::Record(record) => vec![text::record(record)],
            Part::Budget(budget) => budget.sketch(),
        }
    }
}

/// Whether a dial is taken up rather than turned away.
fn is_leading(part: &Part) -> bool {
    matches!(server(part).zab().role(), Some((Role::Leading, _)))
}

fn server(part: &Part) -> &Server {
    match part {
        Part::Server(server) => server,
        Part::Link(_) | Part::Record(_) | Part::Budget(_) => unreachable!("a server's slot holds a server"),
    }
}

fn link(part: &Part) -> &Link {
    match part {
        Part::Link(link) => link,
        Part::Server(_) | Part::Record(_) | Part::Budget(_) => unreachable!("a link's slot holds a link"),
    }
}

fn record(part: &Part) -> &Record {
    match part {
        Part::Record(record) => record,
        Part::Server(_) | Part::Link(_) | Part::Budget(_) => {
            unreachable!("the record's slot holds the record")
        }
    }
}

fn budget(part: &Part) -> &Budget {
    match part {
        Part::Budget(budget) => budget,
        Part::Server(_) | Part::Link(_) | Part::Record(_) => {
            unreachable!("the budget's slot holds the budget")
        }
    }
}
