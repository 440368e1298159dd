//! The `session` model: what clients see of an ensemble of whole peers over the real tree.
//!
//! Two clients, one at the leader and one at a follower that may lag, do a thing each and look at what came of it.
//! They send as far ahead as they like, move to the other server and leave requests behind, and come back when they
//! lose their connection. The leader's clock ticks, its followers are sent PINGs, and the leader is deposed unawares or
//! crashes, whereupon the others elect one of themselves.
//!
//! Every server runs the peer that ships. What stands in for the `zab` and `election` models is when things happen:
//! disks are done at once; an election with all that follows is one transition; and of the two followers one is
//! prompt, in that it reads all that is there or nothing, so that there is a quorum for each commit while the other
//! one lags as far as it likes.

mod action;
mod bounds;
mod client;
mod parts;
mod record;
mod rules;
mod script;
mod servers;

use std::collections::VecDeque;

use protocol::{
    Quorum, Timer,
    peer::{ClientRequest, Config, Input},
    zab,
};
use spec::{ClientId, Machine as _, ServerId, SessionId, Zxid, machine::Author};
use tree::{Event, Identity, Outstanding, Settings, Tree, Txn, Watches};
use world::{Happened, Host, HostEvent, Link, Pace, Said, Side, text};

pub use self::{
    action::Action,
    bounds::{Bounds, Dialect},
    parts::{Budget, Change, HostView, Part, Spend, View, Yield},
    script::{DEEDS, Deed},
};
use self::{
    client::{Client, ClientChange, Letter, Which, letter},
    parts::{budget, client, host, link, record},
    record::{Record, RecordChange},
    rules::Judged,
    servers::PROMPT,
};
use crate::{
    engine::{Board, Broken, Model, Verdict, plain::Plain},
    voters,
};

/// A tick in milliseconds; sessions live for one.
const TICK_MS: u32 = 1000;
/// The ticks that a session's timeout spans.
const TIMEOUT_TICKS: u32 = 1;
/// The servers: the prompt follower, the follower that lags, and the first leader.
const SERVERS: u64 = 3;
/// The clients.
const CLIENTS: u8 = 2;
/// Where they connect from.
const ADDRESS: &str = "127.0.0.1";

/// The weights of the prompt voter and the first leader, if one of the three observes and the leader may change.
const PROMPT_OUTWEIGHS: [u32; 2] = [2, 1];

/// What happens to the server in a slot.
pub type OfServer = (usize, HostEvent<Tree>);

/// The model at some bounds.
#[derive(Clone, Debug)]
pub struct Session {
    bounds: Bounds,
    servers: Vec<ServerId>,
    witnesses: Vec<&'static str>,
    /// The state that every server starts from.
    start: Tree,
    initial: Vec<Part>,
    /// What happened to which server, by slot, before that.
    coming_up: Vec<OfServer>,
}

impl Session {
    /// The model at these bounds.
    ///
    /// # Panics
    /// If the servers do not come up, or the clients do not get their sessions.
    pub fn new(bounds: Bounds) -> Self {
        let servers: Vec<_> = (1..=SERVERS).map(ServerId).collect();
        let (witnesses, start) = (rules::witnesses(), start(&bounds));
        let mut model =
            Self { bounds, servers, witnesses, start, initial: Vec::new(), coming_up: Vec::new() };
        let mut state = model.come_up();
        let changes = state.changes.take().unwrap_or_default();
        model.initial = state.parts;
        model.coming_up = changes.into_iter().filter_map(of_a_host).collect();
        model
    }

    /// The servers as they start for the first time, and what happens to each of them, by slot, before a run begins.
    pub fn coming_up(&self) -> (Vec<Host<Tree>>, &[OfServer]) {
        let first = |id: &ServerId| self.first(*id).0;
        (self.servers.iter().map(first).collect(), &self.coming_up)
    }

    fn first(&self, id: ServerId) -> (Host<Tree>, Happened<Tree>) {
        Host::new(self.config(id), Pace::Eager, self.start.clone()).expect("an empty disk is a good start")
    }

    /// The state that runs start from: a server leads, the others follow, and both clients have their sessions. It is
    /// reached by the transitions of the model itself.
    fn come_up(&self) -> Plain<Self> {
        let mut votes = VecDeque::new();
        let mut parts = Vec::new();
        for id in &self.servers {
            let (host, happened) = self.first(*id);
            votes.extend(happened.votes.into_iter().map(|(to, vote)| (*id, to, vote)));
            parts.push(Part::Host(Box::new(host)));
        }
        parts.extend((parts.len()..self.places().end()).map(|_| Part::Link(Link::default())));
        parts.extend((1..=CLIENTS).map(|number| {
            Part::Client(Box::new(Client::new(number, self.bounds.restarts, self.bounds.demands())))
        }));
        parts.push(Part::Record(Box::new(Record::new(self.bounds.restarts))));
        parts.push(Part::Budget(Budget::default()));
        let mut state = Plain { changes: Some(Vec::new()), ..Plain::of(parts) };
        let all: Vec<_> = (0..self.servers.len()).collect();
        state.with_board(self, |board| self.bring_up(board, &all, &all, votes)).expect("servers come up");
        for (number, server) in (1..).zip([SERVERS, SERVERS - 1]) {
            state.step(self, &Action::Connect { client: number, server: ServerId(server) });
            self.calm(&mut state);
        }
        // One more tick without a word, and a session expires.
        let ticked = state.with_board(self, |board| self.tick(board, ServerId(SERVERS)));
        assert_eq!((&state.broken, ticked), (&None, Ok(())), "the start breaks no rule");
        state
    }

    /// Lets everything go on that is under way.
    fn calm(&self, state: &mut Plain<Self>) {
        let is_calm = |action: &Action| {
            matches!(action, Action::Take { .. } | Action::Read { .. } | Action::Agree { .. })
        };
        while let Some(action) = state.possible(self).into_iter().find(is_calm) {
            state.step(self, &action);
        }
    }

    fn config(&self, me: ServerId) -> Config<Settings> {
        let id = i64::try_from(me.0).expect("servers have small numbers");
        let timeout_ms = i32::try_from(TICK_MS * TIMEOUT_TICKS).expect("a short time");
        let demands = self.bounds.demands();
        let demanded = if demands { vec![tree::Text::from_static(script::SCHEME)] } else { Vec::new() };
        Config {
            zab: zab::Config {
                me,
                quorum: self.quorum(),
                window: self.bounds.window,
                log_sync: false,
                counter_max: u32::MAX - 1,
            },
            tick_ms: TICK_MS,
            session_timeout_min_ms: timeout_ms,
            session_timeout_max_ms: timeout_ms,
            first_session: SessionId(id << 56),
            settings: Settings { sasl: demands, demanded, ..Settings::default() },
            sweep_max: if self.bounds.sweeps > 0 { script::CONTAINERS.len() } else { 0 },
            read_only: false,
        }
    }

    fn voters(&self) -> impl Iterator<Item = ServerId> {
        let observer = self.bounds.observed.then_some(ServerId(SERVERS - 1));
        self.servers.iter().copied().filter(move |server| Some(*server) != observer)
    }

    /// Where one of three observes and the leader may change, the prompt one is a quorum by itself, with the observer
    /// or without: it can depose the leader, and the leader cannot do without it.
    fn quorum(&self) -> Quorum {
        let voters: Vec<_> = self.voters().collect();
        let may_depose = self.bounds.observed && self.bounds.changes > 0;
        let groups = may_depose.then(|| PROMPT_OUTWEIGHS.to_vec());
        voters::quorum(&voters, groups.as_slice())
    }

    /// The slots of the servers that clients connect to.
    pub(crate) fn visited(&self) -> impl Iterator<Item = usize> + use<> {
        let places = self.places();
        [SERVERS - 1, SERVERS].into_iter().map(move |id| places.server(ServerId(id)))
    }

    fn client_slots(&self) -> impl Iterator<Item = usize> + use<> {
        let first = self.places().end();
        first..first + usize::from(CLIENTS)
    }

    fn client_slot(&self, number: u8) -> usize {
        self.places().end() + usize::from(number) - 1
    }

    fn record_slot(&self) -> usize {
        self.places().end() + usize::from(CLIENTS)
    }

    fn budget_slot(&self) -> usize {
        self.record_slot() + 1
    }

    fn spend<B: Board<Self>>(&self, board: &mut B, spend: Spend) -> Result<(), Broken> {
        board.change(self.budget_slot(), Change::Budget(spend)).map(drop)
    }

    /// Something goes into the record, or is judged by it.
    fn note<B: Board<Self>>(&self, board: &mut B, change: RecordChange) -> Result<(), Broken> {
        let yields = board.change(self.record_slot(), Change::Record(change))?;
        if let Yield::Judged(judged) = &*yields {
            board.witness(judged.bits());
        }
        Ok(())
    }

    /// Something happens to a client; what its server has read is handed back.
    fn to_client<B: Board<Self>>(
        &self,
        board: &mut B,
        number: u8,
        change: ClientChange,
    ) -> Result<Option<Letter>, Broken> {
        let yields = board.change(self.client_slot(number), Change::Client(change))?;
        let Yield::Client(heard) = &*yields else { unreachable!("a client's change yields what it heard") };
        board.witness(heard.judged.bits());
        for question in &heard.questions {
            self.note(board, RecordChange::Ask(question.clone()))?;
        }
        Ok(heard.letter.clone())
    }

    fn tell<B: Board<Self>>(&self, board: &mut B, id: ClientId, said: &Said<Event>) -> Result<(), Broken> {
        self.to_client(board, Client::number_of(id), ClientChange::Hear(id, said.clone())).map(drop)
    }

    /// A client sends its next request.
    fn send<B: Board<Self>>(&self, board: &mut B, number: u8) -> Result<(), Broken> {
        let one = client(board.part(self.client_slot(number)));
        // There a sync is no barrier (rule C-16): a leader that was deposed unawares answers it.
        let is_flush = one.is_about_to_sync()
            && self.bounds.changes > 0
            && one.home.as_ref().is_some_and(|home| self.is_plain(home.server));
        let known = if is_flush { Zxid::ZERO } else { record(board.part(self.record_slot())).told() };
        self.to_client(board, number, ClientChange::Send(known)).map(drop)
    }

    fn connect<B: Board<Self>>(&self, board: &mut B, number: u8, server: ServerId) -> Result<(), Broken> {
        self.to_client(board, number, ClientChange::Connect(server))?;
        self.take_at_once(board, number)
    }

    /// What is sent later does as well as what is read later, so long as its client stays.
    fn take_at_once<B: Board<Self>>(&self, board: &mut B, number: u8) -> Result<(), Broken> {
        if self.bounds.merged { self.take(board, number, Which::Home) } else { Ok(()) }
    }

    /// A server reads from a client's connection.
    fn take<B: Board<Self>>(&self, board: &mut B, number: u8, which: Which) -> Result<(), Broken> {
        let one = client(board.part(self.client_slot(number)));
        let connection = one.connection(which).expect("it has the connection");
        let (id, server, session) = (connection.id, connection.server, one.session);
        let mut judged = Judged::default();
        if one.closes_behind_a_write() {
            judged.met("close-with-open-create");
        }
        let letter = self.to_client(board, number, ClientChange::Take(which))?;
        let slot = self.places().server(server);
        let reader = host(board.part(slot));
        let deposed = reader.leads()
            && self.servers.iter().any(|other| {
                let other = host(board.part(self.places().server(*other)));
                other.leads() && other.peer().zab().current() > reader.peer().zab().current()
            });
        let input = match letter.expect("there is something to read") {
            Letter::Connect { session, password, seen } => {
                if reader.peer().is_serving() && reader.state().last_processed() < seen {
                    judged.met("behind-turned-away");
                }
                let timeout_ms = i32::MAX;
                let identities = vec![Identity::ip(ADDRESS)];
                Input::ClientConnect {
                    client: id,
                    identities,
                    session,
                    password,
                    timeout_ms,
                    last_seen: seen,
                    read_only: false,
                    time: 0,
                }
            }
            Letter::Request(xid, request) => {
                if deposed && matches!(request, ClientRequest::Sync(_)) {
                    judged.met("sync-at-a-deposed-leader");
                }
                let one = client(board.part(self.client_slot(number)));
                if matches!(request, ClientRequest::Write(_)) && one.waits_ahead_of(xid) {
                    judged.met("held-behind-a-sync");
                }
                Input::ClientRequest { client: id, xid, request, time: 0 }
            }
        };
        board.witness(judged.bits());
        self.event(board, slot, HostEvent::Input(input))?;
        // One that was turned away at once was not heard of.
        let stays = client(board.part(self.client_slot(number))).connection(which).is_some();
        if host(board.part(slot)).leads() && stays {
            self.note(board, RecordChange::Hear(server, vec![session]))?;
        }
        Ok(())
    }

    fn part_with<B: Board<Self>>(&self, board: &mut B, number: u8) -> Result<(), Broken> {
        let left = client(board.part(self.client_slot(number))).left.as_ref().expect("it has left one");
        let (id, slot) = (left.id, self.places().server(left.server));
        self.to_client(board, number, ClientChange::Lose(Which::Left))?;
        self.event(board, slot, HostEvent::Input(Input::ClientClosed(id))).map(drop)
    }

    fn tick<B: Board<Self>>(&self, board: &mut B, leader: ServerId) -> Result<(), Broken> {
        let slot = self.places().server(leader);
        let sessions = host(board.part(slot)).state().sessions().into_iter().map(|(session, _)| session);
        self.note(board, RecordChange::Tick(leader, sessions.collect()))?;
        self.event(board, slot, HostEvent::Timer(Timer::Expiry)).map(drop)
    }

    fn client_offers(&self, one: &Client, out: &mut Vec<Action>) {
        let client = one.number;
        if one.may_send() && (one.is_caught_up() || !self.bounds.merged) {
            out.push(Action::Send { client });
        }
        for which in [Which::Home, Which::Left] {
            if one.connection(which).is_some_and(client::Connection::has_unread) {
                out.push(Action::Take { client, which });
            }
        }
        // What it never reads may as well not have been sent.
        if one.left.as_ref().is_some_and(|left| !left.has_unread() || !self.bounds.merged) {
            out.push(Action::Part { client });
        }
        if one.connections >= self.bounds.connections {
            return;
        }
        for server in [ServerId(SERVERS), ServerId(SERVERS - 1)] {
            match &one.home {
                None if one.may_connect() => out.push(Action::Connect { client, server }),
                Some(home) if one.may_move() && (home.server != server || self.bounds.restarts) => {
                    let wishes = if self.bounds.merged { one.wishes() } else { 0 };
                    let behind = 0..=u8::try_from(wishes).expect("scripts are short");
                    out.extend(behind.map(|behind| Action::Move { client, server, behind }));
                }
                Some(_) | None => {}
            }
        }
    }

    fn host_offers(&self, one: &Host<Tree>, out: &mut Vec<Action>) {
        let id = one.id();
        if one.leads() && one.peer().is_serving() {
            if one.has_timer(Timer::Ping) {
                out.push(Action::Ping { leader: id });
            }
            if one.has_timer(Timer::Expiry) {
                out.push(Action::Tick { leader: id });
            }
            if one.has_timer(Timer::Sweep) {
                out.push(Action::Sweep { leader: id });
            }
            if one.has_timer(Timer::SweepNext) {
                out.push(Action::SweepNext { leader: id });
            }
            let all = [[false, false], [false, true], [true, false], [true, true]];
            let logs = if self.bounds.merged { &all[..] } else { &all[..1] };
            for crash in [false, true] {
                for [prompt_logs, other_logs] in logs.iter().copied() {
                    out.push(Action::Depose { leader: id, crash, prompt_logs, other_logs, stays: false });
                }
            }
            if self.bounds.observed {
                // What the observer reads it can read behind this too.
                for [prompt_logs, other_logs] in logs.iter().copied().filter(|[_, other]| !other) {
                    let crash = false;
                    out.push(Action::Depose { leader: id, crash, prompt_logs, other_logs, stays: true });
                }
            }
            out.push(Action::Notice { server: id });
        }
    }

    /// Whether a client has more to ask, or waits for an answer, or has left something behind.
    fn is_anything_under_way<B: Board<Self>>(&self, board: &B) -> bool {
        self.client_slots().any(|slot| client(board.part(slot)).is_busy())
    }

    /// Whether both others serve under this leader.
    fn has_followers<B: Board<Self>>(&self, board: &B, leader: ServerId) -> bool {
        let slot = self.places().server(leader);
        let follows = |other: usize| {
            let joined = link(board.part(self.places().link(other, slot))).is_joined();
            other == slot || (joined && host(board.part(other)).peer().is_serving())
        };
        (0..self.servers.len()).all(follows)
    }

    /// Whether every other voter has left this leader.
    fn is_cut_off<B: Board<Self>>(&self, board: &B, server: ServerId) -> bool {
        let slot = self.places().server(server);
        let others = self.voters().filter(|other| *other != server);
        let mut places = others.map(|other| self.places().link(self.places().server(other), slot));
        places.all(|place| link(board.part(place)).is_cut(Side::Leader))
    }
}

fn of_a_host((slot, change): (usize, Change)) -> Option<OfServer> {
    match change {
        Change::Host(event) => Some((slot, event)),
        Change::Link(_) | Change::Client(_) | Change::Record(_) | Change::Budget(_) => None,
    }
}

/// A tree with the node that everything is about, and nothing of the session that created it. If leaders sweep, there
/// are containers too that had a child.
fn start(bounds: &Bounds) -> Tree {
    let (mut tree, mut open, mut watches) = (Tree::new(), Outstanding::default(), Watches::default());
    let author = Author { session: SessionId(1), xid: 0, identities: &[], time: 0 };
    let mut writes = vec![script::create(script::NODE, 0, 0)];
    if bounds.sweeps > 0 {
        writes.extend(script::containers());
    }
    let mut zxids = (1..).map(Zxid);
    let mut next = || zxids.next().expect("there are many");
    let mut apply = |tree: &mut Tree, zxid: Zxid, txn: &Txn| {
        tree.apply(zxid, txn, &mut watches, &mut |_, _| {});
    };
    let zxid = next();
    let txn = tree.prepare_create_session(&mut open, author, zxid, 1);
    apply(&mut tree, zxid, &txn);
    for write in &writes {
        let zxid = next();
        let txn = tree.prepare(&Settings::default(), &mut open, author, zxid, write);
        apply(&mut tree, zxid, &txn);
    }
    let zxid = next();
    let txn = tree.prepare_close_session(&mut open, author, zxid);
    apply(&mut tree, zxid, &txn);
    tree
}

impl Model for Session {
    type Part = Part;
    type Change = Change;
    type Yield = Yield;
    type Action = Action;
    type View = View;

    fn initial(&self) -> Vec<Part> {
        self.initial.clone()
    }

    fn offers(&self, slot: usize, part: &Part, out: &mut Vec<Action>) {
        match part {
            Part::Host(host) => self.host_offers(host, out),
            Part::Link(link) => {
                let (learner, leader) = self.places().ends(slot);
                let (learner, leader) = (self.servers[learner], self.servers[leader]);
                let answers = link.next(Side::Leader).is_some();
                if self.is_worth_reading(slot, link) {
                    out.push(Action::Read { learner, leader, at: Side::Learner });
                }
                if answers {
                    out.push(Action::Read { learner, leader, at: Side::Leader });
                }
                let prompt = self.bounds.merged && self.places().ends(slot).0 == PROMPT;
                if prompt && link.next(Side::Learner).is_some() {
                    out.push(Action::Agree { leader });
                }
            }
            Part::Client(client) => self.client_offers(client, out),
            Part::Record(_) => {
                for first in &self.bounds.first {
                    let pairs = self.bounds.second.iter();
                    out.extend(pairs.map(|second| Action::Assign { first: *first, second: *second }));
                }
            }
            Part::Budget(_) => {}
        }
    }

    fn enabled<B: Board<Self>>(&self, board: &B, action: &Action) -> bool {
        let used = || budget(board.part(self.budget_slot()));
        let serves = |id: &ServerId| host(board.part(self.places().server(*id))).peer().is_serving();
        // Nothing comes before it, but what leads to the initial state.
        let is_assigned = client(board.part(self.client_slot(1))).deed.is_some();
        if is_assigned == matches!(action, Action::Assign { .. }) && !self.initial.is_empty() {
            return false;
        }
        match action {
            Action::Assign { .. } => !self.initial.is_empty(),
            Action::Send { .. }
            | Action::Take { .. }
            | Action::Part { .. }
            | Action::Agree { .. }
            | Action::SweepNext { .. }
            | Action::Read { .. } => true,
            Action::Connect { server, .. } => serves(server),
            Action::Move { server, .. } => used().moves < self.bounds.moves && serves(server),
            Action::Ping { .. } => used().pings < self.bounds.pings && used().ticks < self.bounds.ticks,
            Action::Tick { .. } => used().ticks < self.bounds.ticks,
            Action::Sweep { .. } => used().sweeps < self.bounds.sweeps,
            Action::Depose { leader, prompt_logs, other_logs, .. } => {
                used().changes < self.bounds.changes
                    && self.is_anything_under_way(board)
                    && self.has_followers(board, *leader)
                    && self.may_log(board, *leader, [*prompt_logs, *other_logs])
            }
            Action::Notice { server } => self.is_cut_off(board, *server),
        }
    }

    fn next<B: Board<Self>>(&self, board: &mut B, action: &Action) -> Result<(), Broken> {
        match action {
            Action::Assign { first, second } => {
                self.to_client(board, 1, ClientChange::Assign(*first))?;
                self.to_client(board, 2, ClientChange::Assign(*second)).map(drop)
            }
            Action::Send { client } => {
                self.send(board, *client)?;
                self.take_at_once(board, *client)
            }
            Action::Take { client, which } => self.take(board, *client, *which),
            Action::Part { client } => self.part_with(board, *client),
            Action::Connect { client, server } => self.connect(board, *client, *server),
            Action::Move { client, server, behind } => {
                self.spend(board, Spend::Move)?;
                for _ in 0..*behind {
                    self.send(board, *client)?;
                }
                self.connect(board, *client, *server)
            }
            Action::Agree { leader } => self.agree(board, self.places().server(*leader)),
            Action::Read { learner, leader, at } => {
                let places = self.places();
                self.read(board, places.link(places.server(*learner), places.server(*leader)), *at)
            }
            Action::Ping { leader } => {
                self.spend(board, Spend::Ping)?;
                self.event(board, self.places().server(*leader), HostEvent::Timer(Timer::Ping)).map(drop)
            }
            Action::Tick { leader } => {
                self.spend(board, Spend::Tick)?;
                self.tick(board, *leader)?;
                if budget(board.part(self.budget_slot())).ticks == self.bounds.ticks {
                    self.note(board, RecordChange::LastTick)?;
                }
                Ok(())
            }
            Action::Sweep { leader } => {
                self.spend(board, Spend::Sweep)?;
                self.event(board, self.places().server(*leader), HostEvent::Timer(Timer::Sweep)).map(drop)
            }
            Action::SweepNext { leader } => {
                let event = HostEvent::Timer(Timer::SweepNext);
                self.event(board, self.places().server(*leader), event).map(drop)
            }
            Action::Depose { leader, crash, prompt_logs, other_logs, stays } => {
                self.spend(board, Spend::Change)?;
                let leavers = if *stays { vec![PROMPT] } else { self.others(*leader) };
                self.depose(board, *leader, &leavers, *crash, [*prompt_logs, *other_logs])
            }
            Action::Notice { server } => self.notice(board, self.places().server(*server)),
        }
    }

    fn change(&self, part: &mut Part, change: &Change) -> Result<Yield, Broken> {
        match (part, change) {
            (Part::Host(host), Change::Host(event)) => {
                let happened = host.step(event);
                happened.map(|happened| Yield::Host(Box::new(happened))).map_err(Broken::from)
            }
            (Part::Link(link), Change::Link(change)) => Ok(Yield::Frame(link.change(change))),
            (Part::Client(client), Change::Client(change)) => {
                client.change(change).map(|heard| Yield::Client(Box::new(heard)))
            }
            (Part::Record(record), Change::Record(change)) => {
                record.change(&self.start, change).map(Yield::Judged)
            }
            (Part::Budget(budget), Change::Budget(spend)) => {
                match spend {
                    Spend::Move => budget.moves += 1,
                    Spend::Tick => budget.ticks += 1,
                    Spend::Ping => budget.pings += 1,
                    Spend::Change => budget.changes += 1,
                    Spend::Sweep => budget.sweeps += 1,
                }
                Ok(Yield::Nothing)
            }
            (part, change) => unreachable!("{change:?} does not fit {part:?}"),
        }
    }

    fn view(&self, _: usize, part: &Part) -> Option<View> {
        match part {
            Part::Host(host) => Some(View::Host(host.peer().is_serving().then(|| HostView::of(host)))),
            Part::Record(record) => Some(View::Record(record.view(&self.start))),
            Part::Link(_) | Part::Client(_) | Part::Budget(_) => None,
        }
    }

    fn judge_part(&self, _: usize, part: &Part) -> Verdict {
        match part {
            Part::Host(host) => rules::judge_host(&HostView::of(host)),
            Part::Link(_) | Part::Client(_) | Part::Record(_) | Part::Budget(_) => Verdict::default(),
        }
    }

    fn judge_pair(&self, _: (usize, usize), views: (&View, &View)) -> Verdict {
        match views {
            (View::Host(Some(host)), View::Record(record)) => rules::judge_host_and_record(host, record),
            (View::Host(Some(one)), View::Host(Some(other))) => rules::judge_hosts(one, other),
            (View::Host(_) | View::Record(_), _) => Verdict::default(),
        }
    }

    fn judge_whole(&self, _: &[(usize, &View)]) -> Verdict {
        Verdict::default()
    }

    fn witnesses(&self) -> &[&'static str] {
        &self.witnesses
    }

    fn is_about_histories(&self, broken: &Broken) -> bool {
        broken.rule != "panic" && broken.rule != "world"
    }

    /// Nobody waits for an answer on the connection that it uses: what the search for traps looks for is rule S-20.
    fn is_goal(&self, parts: &[&Part]) -> bool {
        !self.client_slots().any(|slot| client(parts[slot]).waits())
    }

    fn is_demanded(&self, parts: &[&Part]) -> bool {
        !self.is_goal(parts)
    }

    /// Who leaves a connection, or loses its session, waits no more: that is no answer.
    fn is_fault_free(&self, action: &Action) -> bool {
        match action {
            Action::Send { .. }
            | Action::Take { .. }
            | Action::Read { .. }
            | Action::Agree { .. }
            | Action::Ping { .. }
            | Action::Sweep { .. }
            | Action::SweepNext { .. }
            | Action::Notice { .. } => true,
            Action::Assign { .. }
            | Action::Connect { .. }
            | Action::Move { .. }
            | Action::Part { .. }
            | Action::Tick { .. }
            | Action::Depose { .. } => false,
        }
    }

    fn describe(&self, action: &Action) -> String {
        action.to_string()
    }

    fn narrate(&self, slot: usize, change: &Change, yields: &Yield, _: &Part, after: &Part) -> Vec<String> {
        let name = self.slot_name(slot);
        match (change, yields, after) {
            (Change::Host(HostEvent::Read(from, wire)), _, Part::Host(host)) => {
                vec![format!("{name} reads {wire} from {from}: {host}")]
            }
            (Change::Host(_), _, Part::Host(host)) => vec![format!("{name}: {host}")],
            (Change::Client(ClientChange::Hear(id, said)), ..) => {
                vec![format!("{name} is told on connection {}: {}", id.0, text::said(said))]
            }
            (Change::Client(ClientChange::Take(_)), Yield::Client(heard), _) => {
                heard.letter.iter().map(|asked| format!("{name} has asked: {}", letter(asked))).collect()
            }
            _ => Vec::new(),
        }
    }

    fn is_host(&self, slot: usize) -> bool {
        slot < self.servers.len() || self.client_slots().any(|client| client == slot)
    }

    fn carries(&self, action: &Action) -> Option<(usize, usize)> {
        let (from, to) = match *action {
            Action::Read { learner, leader, at: Side::Leader } => (learner, leader),
            Action::Read { learner, leader, at: Side::Learner } => (leader, learner),
            Action::Assign { .. }
            | Action::Send { .. }
            | Action::Take { .. }
            | Action::Part { .. }
            | Action::Connect { .. }
            | Action::Move { .. }
            | Action::Agree { .. }
            | Action::Ping { .. }
            | Action::Tick { .. }
            | Action::Sweep { .. }
            | Action::SweepNext { .. }
            | Action::Depose { .. }
            | Action::Notice { .. } => return None,
        };
        Some((self.places().server(from), self.places().server(to)))
    }

    fn slot_name(&self, slot: usize) -> String {
        let places = self.places();
        if slot < self.servers.len() {
            format!("server {}", self.servers[slot])
        } else if slot < places.end() {
            let (learner, leader) = places.ends(slot);
            format!("link of {} to {}", self.servers[learner], self.servers[leader])
        } else if slot < self.record_slot() {
            format!("client {}", slot - places.end() + 1)
        } else if slot == self.record_slot() {
            "record".to_owned()
        } else {
            "budget".to_owned()
        }
    }

    fn tell(&self, part: &Part) -> Vec<String> {
        match part {
            Part::Host(host) => host.sketch(),
            Part::Link(link) if *link == Link::default() => Vec::new(),
            Part::Link(link) => vec![link.to_string()],
            Part::Client(client) => client.sketch(),
            Part::Record(record) => record.sketch(),
            Part::Budget(budget) => budget.sketch(),
        }
    }
}
