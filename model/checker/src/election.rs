//! The election model: the election actors of a few servers, a mesh of one slot for each ordered pair, and an
//! environment that plays everything else.
//!
//! What the environment plays: servers start, crash and start again; a role ends, because its leader does not lead
//! or has no quorum of followers, or for no reason that this model knows; a leader with a quorum establishes an
//! epoch, and its followers learn of it. Timers may fire whenever they are set.
//!
//! A message is lost by staying in its slot until a newer one replaces it, so no transition loses one: whatever a
//! run with losses does, a run in which the message is only late does too.

mod judge;
mod server;

use std::collections::BTreeSet;

use protocol::{Notification, Quorum, Vote, election::Input};
use serde::{Deserialize, Serialize};
use spec::{Epoch, ServerId, Zxid};
use world::text;

use crate::{
    engine::{Board, Broken, Model, Verdict},
    voters, words,
};

pub use self::server::{Server, Told};

/// The named situations that a search should meet.
pub const WITNESSES: [&str; 15] = [
    "joins-another-round",
    "joins-own-round",
    "later-round-resets",
    "earlier-round-answered",
    "early-unanimous",
    "early-unreachable",
    "waited",
    "better-vote-ends-wait",
    "two-leaders",
    "follows-a-non-leader",
    "settled",
    "joins-established-epoch",
    "observer-joins",
    "observer-told",
    "weight-decides",
];

/// How many of them three equal voters meet; the last of these needs an epoch that is established.
pub const PLAIN: usize = 12;

/// What bounds a search, and what it starts from.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Config {
    /// What the servers 1, 2, … have to offer: epoch and counter of the last transaction (of epoch 1).
    pub votes: Vec<(u32, u32)>,
    /// The highest round that a server may enter by losing its role.
    pub rounds: u64,
    /// How often roles may be lost.
    pub relooks: u8,
    /// How often servers may crash.
    pub crashes: u8,
    /// How often an election link between two live servers may be reset.
    pub breaks: u8,
    /// How many epochs may be established.
    pub epochs: u8,
    /// How many servers, the last ones, have no vote.
    #[serde(default)]
    pub observers: u8,
    /// The weights of the voters by group; empty for a plain majority.
    #[serde(default)]
    pub groups: Vec<Vec<u32>>,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Election {
    config: Config,
    quorum: Quorum,
}

/// A piece of the state.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
#[expect(clippy::large_enum_variant, reason = "parts are interned: few exist, and most are servers")]
pub enum Part {
    /// A server; slots `0..n`.
    Server(Server),
    /// The mesh from one server to another; slots `n..n + n * n` in the order of sender, then receiver.
    Mesh(Option<Notification>),
    /// What is left; the last slot.
    Budget(Budget),
}

/// What is left of the budgets.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct Budget {
    relooks: u8,
    crashes: u8,
    breaks: u8,
    epochs: u8,
    /// The last epoch established.
    epoch: Epoch,
}

/// What counts against a budget.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Cost {
    /// A role is lost.
    Relook,
    /// A server crashes.
    Crash,
    /// A link is reset.
    Break,
    /// An epoch is established.
    Epoch,
}

/// What can be done to a part.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Change {
    /// The server starts and looks for a leader.
    Start,
    /// The server crashes.
    Crash,
    /// The server's role ends, and it looks for a leader.
    Relook,
    /// The server's actor takes this.
    Step(Input),
    /// The server has joined this epoch, with its leader's history.
    Join(Epoch, Option<Zxid>),
    /// A message is sent.
    Send(Notification),
    /// The message has left the slot, delivered or dead with its receiver.
    Clear,
    /// Something is used up.
    Spend(Cost),
}

/// A transition; servers by id.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// A server starts.
    Start(ServerId),
    /// A server crashes.
    Crash(ServerId),
    /// A message arrives.
    Deliver {
        /// Its sender.
        from: ServerId,
        /// Its receiver.
        to: ServerId,
    },
    /// A server tells its vote again.
    Resend(ServerId),
    /// A server's wait for a better vote is over.
    Finalize(ServerId),
    /// A server that is down refuses the election link.
    Refuse {
        /// Who dials.
        at: ServerId,
        /// Who is down.
        of: ServerId,
    },
    /// The election link with a live server is reset.
    Break {
        /// Who is told.
        at: ServerId,
        /// The other end.
        of: ServerId,
    },
    /// A server's role ends because it came to nothing: no leader there, or no quorum here.
    GiveUp(ServerId),
    /// A server's role ends for no reason that this model knows.
    Lose(ServerId),
    /// A leader with a quorum of followers establishes an epoch.
    Establish(ServerId),
    /// A follower learns of the epoch that its leader has established.
    Learn(ServerId),
}

impl Election {
    /// The model at these bounds.
    pub fn new(config: Config) -> Self {
        let voters: Vec<_> = ids(config.votes.len() - usize::from(config.observers)).collect();
        let quorum = voters::quorum(&voters, &config.groups);
        Self { config, quorum }
    }

    /// Its bounds.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Which sets of servers decide.
    pub fn quorum(&self) -> &Quorum {
        &self.quorum
    }

    fn count(&self) -> usize {
        self.config.votes.len()
    }

    /// The highest epoch that a server has joined at the start.
    fn first_epoch(&self) -> Option<Epoch> {
        self.config.votes.iter().map(|(epoch, _)| Epoch(*epoch)).max()
    }

    fn mesh(&self, from: ServerId, to: ServerId) -> usize {
        self.count() * (1 + place(from)) + place(to)
    }

    fn budget_slot(&self) -> usize {
        self.count() * (1 + self.count())
    }

    fn budget<B: Board<Self>>(&self, board: &B) -> Budget {
        match board.part(self.budget_slot()) {
            Part::Budget(budget) => *budget,
            Part::Server(_) | Part::Mesh(_) => unreachable!("the last slot is the budget"),
        }
    }

    /// Whether the role of this server has come to nothing: Zab will time out and look again.
    fn must_give_up(&self, id: ServerId, servers: &[&Server]) -> bool {
        let one = servers[place(id)];
        if one.leads() {
            !self.quorum.decides(&following(id, servers.iter().copied()))
        } else {
            one.follows().is_some_and(|leader| !servers[place(leader)].leads())
        }
    }

    fn servers<'b, B: Board<Self>>(&self, board: &'b B) -> Vec<&'b Server> {
        (0..self.count()).map(|slot| server(board.part(slot))).collect()
    }

    /// The goal of every healed run: one leads, and every other server follows it.
    pub fn goal(&self, parts: &[&Part]) -> bool {
        let servers: Vec<_> = parts[..self.count()].iter().copied().map(server).collect();
        servers.iter().any(|leader| {
            leader.leads() && following(leader.id, servers.iter().copied()).len() == self.count()
        })
    }

    /// Whether every role that has come to nothing may still end: progress is demanded of such states alone, for the
    /// budget stands in the way of others.
    fn may_look_again(&self, parts: &[&Part]) -> bool {
        let servers: Vec<_> = parts[..self.count()].iter().copied().map(server).collect();
        let Part::Budget(budget) = parts[self.budget_slot()] else { return false };
        let in_vain = || servers.iter().filter(|one| self.must_give_up(one.id, &servers));
        in_vain().count() <= budget.relooks.into() && in_vain().all(|one| one.round() < self.config.rounds)
    }

    /// Steps the server's actor and puts what it says into the mesh.
    fn act<B: Board<Self>>(&self, board: &mut B, id: ServerId, change: Change) -> Result<(), Broken> {
        let told = board.change(place(id), change)?;
        board.witness(told.witnesses);
        let joined = server_of(board, id).established().filter(|_| told.elected.is_some());
        if joined > self.first_epoch() {
            board.witness(1 << 11);
        }
        for (to, notification) in &told.sent {
            board.change(self.mesh(id, *to), Change::Send(*notification))?;
        }
        Ok(())
    }

    fn spend<B: Board<Self>>(&self, board: &mut B, cost: Cost) -> Result<(), Broken> {
        board.change(self.budget_slot(), Change::Spend(cost)).map(|_| ())
    }

    fn crash<B: Board<Self>>(&self, board: &mut B, id: ServerId) -> Result<(), Broken> {
        self.spend(board, Cost::Crash)?;
        board.change(place(id), Change::Crash)?;
        for from in ids(self.count()).filter(|from| *from != id) {
            board.change(self.mesh(from, id), Change::Clear)?;
        }
        Ok(())
    }
}

impl Model for Election {
    type Part = Part;
    type Change = Change;
    type Yield = Told;
    type Action = Action;
    type View = judge::View;

    fn initial(&self) -> Vec<Part> {
        let servers = self.config.votes.iter().zip(ids(self.count())).map(|(&(epoch, counter), id)| {
            let zxid = Some(Zxid::new(Epoch(1), counter));
            Part::Server(Server::down(Vote { epoch: Epoch(epoch), zxid, leader: id }))
        });
        let mesh = (0..self.count() * self.count()).map(|_| Part::Mesh(None));
        let Config { relooks, crashes, breaks, epochs, .. } = self.config;
        let epoch = self.first_epoch().unwrap_or_default();
        let budget = Budget { relooks, crashes, breaks, epochs, epoch };
        servers.chain(mesh).chain([Part::Budget(budget)]).collect()
    }

    fn offers(&self, slot: usize, part: &Part, out: &mut Vec<Action>) {
        match part {
            Part::Server(server) => self.offers_of(server, out),
            Part::Mesh(Some(_)) => {
                let pair = slot - self.count();
                out.push(Action::Deliver { from: id(pair / self.count()), to: id(pair % self.count()) });
            }
            Part::Mesh(None) | Part::Budget(_) => {}
        }
    }

    fn enabled<B: Board<Self>>(&self, board: &B, action: &Action) -> bool {
        let budget = self.budget(board);
        let is_up = |id| server_of(board, id).is_up();
        let may_look = |id| budget.relooks > 0 && server_of(board, id).round() < self.config.rounds;
        match *action {
            Action::Start(_) | Action::Resend(_) | Action::Finalize(_) => true,
            Action::Crash(_) => budget.crashes > 0,
            Action::Deliver { to, .. } => is_up(to),
            Action::Refuse { of, .. } => !is_up(of),
            Action::Break { of, .. } => is_up(of) && budget.breaks > 0,
            Action::GiveUp(id) => may_look(id) && self.must_give_up(id, &self.servers(board)),
            Action::Lose(id) => may_look(id) && !self.must_give_up(id, &self.servers(board)),
            Action::Establish(id) => budget.epochs > 0 && !self.must_give_up(id, &self.servers(board)),
            Action::Learn(id) => {
                let one = server_of(board, id);
                let leader = one.follows().map(|leader| server_of(board, leader));
                leader.is_some_and(|leader| leader.leads() && leader.established() > one.established())
            }
        }
    }

    fn next<B: Board<Self>>(&self, board: &mut B, action: &Action) -> Result<(), Broken> {
        match *action {
            Action::Start(id) => self.act(board, id, Change::Start),
            Action::Crash(id) => self.crash(board, id),
            Action::Deliver { from, to } => {
                let slot = self.mesh(from, to);
                let &Part::Mesh(Some(notification)) = board.part(slot) else {
                    unreachable!("only a full slot offers a delivery")
                };
                board.change(slot, Change::Clear)?;
                self.act(board, to, Change::Step(Input::Notification { from, notification }))
            }
            Action::Resend(id) => self.act(board, id, Change::Step(Input::Timer(protocol::Timer::Resend))),
            Action::Finalize(id) => {
                self.act(board, id, Change::Step(Input::Timer(protocol::Timer::Finalize)))
            }
            Action::Refuse { at, of } => self.act(board, at, Change::Step(Input::LinkDown(of))),
            Action::Break { at, of } => {
                self.spend(board, Cost::Break)?;
                self.act(board, at, Change::Step(Input::LinkDown(of)))
            }
            Action::GiveUp(id) | Action::Lose(id) => {
                self.spend(board, Cost::Relook)?;
                self.act(board, id, Change::Relook)
            }
            Action::Establish(id) => {
                self.spend(board, Cost::Epoch)?;
                let (epoch, zxid) = (self.budget(board).epoch, server_of(board, id).own.zxid);
                self.act(board, id, Change::Join(epoch, zxid))
            }
            Action::Learn(id) => {
                let leader = server_of(board, id).follows().expect("only a follower learns");
                let own = server_of(board, leader).own;
                self.act(board, id, Change::Join(own.epoch, own.zxid))
            }
        }
    }

    fn change(&self, part: &mut Part, change: &Change) -> Result<Told, Broken> {
        match (part, change) {
            (Part::Server(server), change) => server.change(change, &self.quorum),
            (Part::Mesh(slot), Change::Send(notification)) => {
                *slot = Some(*notification);
                Ok(Told::default())
            }
            (Part::Mesh(slot), Change::Clear) => {
                *slot = None;
                Ok(Told::default())
            }
            (Part::Budget(budget), Change::Spend(cost)) => {
                budget.spend(*cost);
                Ok(Told::default())
            }
            (Part::Mesh(_) | Part::Budget(_), change) => unreachable!("{change:?} is not for this part"),
        }
    }

    fn view(&self, _: usize, part: &Part) -> Option<judge::View> {
        match part {
            Part::Server(server) => Some(judge::View::of(server)),
            Part::Mesh(_) | Part::Budget(_) => None,
        }
    }

    fn judge_part(&self, _: usize, _: &Part) -> Verdict {
        Verdict::default()
    }

    fn judge_pair(&self, _: (usize, usize), (one, other): (&judge::View, &judge::View)) -> Verdict {
        judge::pair(one, other, self.config.crashes == 0)
    }

    fn judge_whole(&self, views: &[(usize, &judge::View)]) -> Verdict {
        judge::whole(views, &self.quorum)
    }

    fn witnesses(&self) -> &[&'static str] {
        &WITNESSES
    }

    fn is_goal(&self, parts: &[&Part]) -> bool {
        self.goal(parts)
    }

    fn is_demanded(&self, parts: &[&Part]) -> bool {
        self.may_look_again(parts)
    }

    fn is_fault_free(&self, action: &Action) -> bool {
        match action {
            Action::Crash(_) | Action::Break { .. } | Action::Lose(_) => false,
            Action::Start(_)
            | Action::Deliver { .. }
            | Action::Resend(_)
            | Action::Finalize(_)
            | Action::Refuse { .. }
            | Action::GiveUp(_)
            | Action::Establish(_)
            | Action::Learn(_) => true,
        }
    }

    fn describe(&self, action: &Action) -> String {
        match action {
            Action::Start(id) => format!("server {id} starts"),
            Action::Crash(id) => format!("server {id} crashes"),
            Action::Deliver { from, to } => format!("the notification of {from} arrives at {to}"),
            Action::Resend(id) => format!("server {id} tells its vote again"),
            Action::Finalize(id) => format!("server {id} has waited long enough for a better vote"),
            Action::Refuse { at, of } => format!("server {at} finds server {of} down"),
            Action::Break { at, of } => format!("server {at} is cut off from server {of}"),
            Action::GiveUp(id) => format!("server {id} gives up a role that came to nothing"),
            Action::Lose(id) => format!("server {id} loses its role"),
            Action::Establish(id) => format!("server {id} establishes an epoch"),
            Action::Learn(id) => format!("server {id} learns of its leader's epoch"),
        }
    }

    fn narrate(&self, slot: usize, _: &Change, told: &Told, before: &Part, after: &Part) -> Vec<String> {
        match (before, after) {
            (Part::Server(before), Part::Server(after)) => judge::story(before, after, told),
            (Part::Mesh(_), Part::Mesh(Some(notification))) => {
                vec![format!("{}: {}", self.slot_name(slot), text::notification(notification))]
            }
            (Part::Mesh(_) | Part::Budget(_) | Part::Server(_), _) => vec![],
        }
    }

    fn is_host(&self, slot: usize) -> bool {
        slot < self.count()
    }

    fn carries(&self, action: &Action) -> Option<(usize, usize)> {
        match action {
            Action::Deliver { from, to } => Some((place(*from), place(*to))),
            Action::Start(_)
            | Action::Crash(_)
            | Action::Resend(_)
            | Action::Finalize(_)
            | Action::Refuse { .. }
            | Action::Break { .. }
            | Action::GiveUp(_)
            | Action::Lose(_)
            | Action::Establish(_)
            | Action::Learn(_) => None,
        }
    }

    fn slot_name(&self, slot: usize) -> String {
        if slot < self.count() {
            format!("server {}", id(slot))
        } else if slot == self.budget_slot() {
            "budget".to_owned()
        } else {
            let pair = slot - self.count();
            format!("{}->{}", id(pair / self.count()), id(pair % self.count()))
        }
    }

    fn tell(&self, part: &Part) -> Vec<String> {
        match part {
            Part::Server(server) => server.sketch(),
            Part::Mesh(message) => message.iter().map(text::notification).collect(),
            Part::Budget(Budget { relooks, crashes, breaks, epochs, .. }) => words::counts(&[
                (*relooks, "lost roles left"),
                (*crashes, "crashes left"),
                (*breaks, "breaks left"),
                (*epochs, "epochs left"),
            ]),
        }
    }
}

impl Election {
    fn offers_of(&self, server: &Server, out: &mut Vec<Action>) {
        let id = server.id;
        if !server.is_up() {
            out.push(Action::Start(id));
            return;
        }
        if self.config.crashes > 0 {
            out.push(Action::Crash(id));
        }
        if server.resend {
            out.push(Action::Resend(id));
        }
        if server.finalize {
            out.push(Action::Finalize(id));
        }
        if server.is_looking() {
            for of in ids(self.count()).filter(|of| *of != id) {
                out.push(Action::Refuse { at: id, of });
                if self.config.breaks > 0 {
                    out.push(Action::Break { at: id, of });
                }
            }
        } else {
            out.extend([Action::GiveUp(id), Action::Lose(id)]);
        }
        if server.leads() && self.config.epochs > 0 {
            out.push(Action::Establish(id));
        }
        if server.follows().is_some() && self.config.epochs > 0 {
            out.push(Action::Learn(id));
        }
    }
}

impl Budget {
    fn spend(&mut self, cost: Cost) {
        match cost {
            Cost::Relook => self.relooks -= 1,
            Cost::Crash => self.crashes -= 1,
            Cost::Break => self.breaks -= 1,
            Cost::Epoch => {
                self.epochs -= 1;
                self.epoch = self.epoch.next();
            }
        }
    }
}

/// The servers 1, 2, … of a model.
fn ids(count: usize) -> impl Iterator<Item = ServerId> {
    (0..count).map(id)
}

fn id(slot: usize) -> ServerId {
    ServerId(slot as u64 + 1)
}

/// The slot of a server.
fn place(id: ServerId) -> usize {
    usize::try_from(id.0 - 1).expect("ids of a model are small")
}

fn server(part: &Part) -> &Server {
    match part {
        Part::Server(server) => server,
        Part::Mesh(_) | Part::Budget(_) => unreachable!("the first slots are the servers"),
    }
}

fn server_of<B: Board<Election>>(board: &B, id: ServerId) -> &Server {
    server(board.part(place(id)))
}

/// The followers of a server that leads, itself included.
fn following<'s>(leader: ServerId, servers: impl Iterator<Item = &'s Server>) -> BTreeSet<ServerId> {
    let followers = servers.filter(|server| server.follows() == Some(leader)).map(|server| server.id);
    followers.chain([leader]).collect()
}
