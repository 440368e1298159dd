//! The `peer` model: everything that ships in one process, and nothing replaced.
//!
//! A few servers, each a whole peer over the real tree with its disk, the election mesh and the links among them, and
//! a client with one session. Servers elect a leader by the messages of elections, discovery and synchronisation run
//! packet by packet, and what the client asks for goes through the pipeline of requests. What the other models leave
//! to oracles is decided here by the actors: who is elected, when a role comes to nothing, what is delivered.
//!
//! A run starts with servers that have just started on empty disks, and have votes under way. What ends it is its
//! budget.

mod action;
mod bounds;
mod client;
mod events;
mod parts;

use protocol::{ServerState, Timer, election::outranks};
use spec::{
    ServerId,
    election::{is_strict_total_order, leader_votes, vote_was_offered},
    rule,
};
use world::{GhostChange, Host, HostEvent, Link, Places, Side, Step, text};

use self::parts::{budget, client, host, link, mesh, record};
pub use self::{
    action::Action,
    bounds::Bounds,
    client::{Client, ClientChange, Heard, Subject},
    parts::{
        Budget, Change, HostView, Mesh, MeshChange, Noted, Part, Record, RecordChange, RecordView, Spend,
        View, Yield,
    },
};
use crate::{
    engine::{Board, Broken, Model, Verdict},
    histories::Rules,
};

/// What a search should meet beside what all models of histories do: situations, then rules of other scopes.
const WITNESSES: &[&str] = &[
    "elected",
    "established",
    "given-up-in-vain",
    "second-election",
    "second-reign",
    "session-opened",
    "session-moved",
    "session-refused",
    "acknowledged",
    "acknowledged-at-a-follower",
    "acknowledged-before-a-reign",
    "expired",
    "S-5",
    "S-7",
    "S-8",
    "S-13",
    "F-1",
    "F-3",
    "F-4",
];

/// What a search should meet too where servers that find no leader serve clients that only read.
const READING: &[&str] = &[
    "read-only-opened",
    "read-only-ended",
    "write-declined",
    "session-turned-away",
    "shown-uncommitted",
    "let-in-behind-a-cut",
    "C-19",
    "S-17",
];

/// What is no witness there, to make room: other rows meet it, most of it behind faults of other kinds.
const ELSEWHERE: &[&str] = &[
    "snap",
    "diff-from-log",
    "overflow-step-down",
    "step-down-for-new-link",
    "torn-tail-kept-in-part",
    "crash-image-recovered",
    "acknowledged-before-a-reign",
];

/// What is out of reach here: three situations that the servers of the `zab` model alone tell of, and observers.
const NEVER: &[&str] = &[
    "commit-while-joining",
    "joined-behind",
    "observer-informed",
    "inform-while-joining",
    "search-overtaken",
    "ObserverNeverLeads",
    "ObserverLogsCommitted",
];

/// The model at some bounds.
#[derive(Clone, Debug)]
pub struct Peer {
    bounds: Bounds,
    servers: Vec<ServerId>,
    rules: Rules,
}

impl Peer {
    /// The model at these bounds.
    pub fn new(bounds: Bounds) -> Self {
        let servers: Vec<_> = (1..=u64::from(bounds.servers)).map(ServerId).collect();
        let (mut never, mut also) = (NEVER.to_vec(), WITNESSES.to_vec());
        if bounds.retreats > 0 {
            never.extend(ELSEWHERE);
            also.retain(|name| !ELSEWHERE.contains(name));
            also.extend(READING);
        }
        let rules = Rules::new(bounds.quorum(), bounds.local_rules, &never, &also);
        Self { bounds, servers, rules }
    }

    /// The bounds.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// The names of the situations that a search should meet.
    pub fn names(&self) -> &[&'static str] {
        self.rules.witnesses()
    }

    fn places(&self) -> Places {
        Places::of(self.servers.len())
    }

    fn slot_of(&self, server: ServerId) -> usize {
        self.places().server(server)
    }

    /// The slot of a connection, by the ids of its learner and its leader.
    fn link_slot(&self, learner: ServerId, leader: ServerId) -> usize {
        self.places().link(self.slot_of(learner), self.slot_of(leader))
    }

    /// The slot of the mesh from one server to another.
    fn mesh_slot(&self, from: ServerId, to: ServerId) -> usize {
        let links = self.places().end() - self.servers.len();
        self.link_slot(from, to) + links
    }

    /// The two servers of a slot of the mesh: sender and receiver.
    fn mesh_ends(&self, slot: usize) -> (ServerId, ServerId) {
        let links = self.places().end() - self.servers.len();
        let (from, to) = self.places().ends(slot - links);
        (self.servers[from], self.servers[to])
    }

    fn client_slot(&self) -> usize {
        self.places().end() * 2 - self.servers.len()
    }

    fn record_slot(&self) -> usize {
        self.client_slot() + 1
    }

    fn budget_slot(&self) -> usize {
        self.client_slot() + 2
    }

    fn host_offers(&self, host: &Host<Subject>, out: &mut Vec<Action>) {
        let server = host.id();
        let mut offer = |step| out.push(Action::World(step));
        host.timers().for_each(|timer| offer(Step::Timeout { server, timer }));
        host.disk().may_finish().into_iter().for_each(|ticket| offer(Step::Finish { server, ticket }));
        if self.bounds.crashes > 0 {
            let images = host.disk().crash_images(self.bounds.torn);
            for keep in images {
                offer(Step::Crash { server, keep });
            }
        }
    }

    fn link_offers(&self, slot: usize, link: &Link<world::Wire<Subject>>, out: &mut Vec<Action>) {
        let (learner, leader) = self.places().ends(slot);
        let (learner, leader) = (self.servers[learner], self.servers[leader]);
        let mut offer = |step| out.push(Action::World(step));
        if link.is_dialling() {
            offer(Step::Connect { learner, leader });
        }
        for at in [Side::Learner, Side::Leader] {
            if link.next(at).is_some() {
                offer(Step::Read { learner, leader, at });
            }
            if link.is_cut(at) {
                offer(Step::Notice { learner, leader, at });
            }
        }
        if link.is_joined() {
            offer(Step::Break { learner, leader });
        }
    }

    fn client_offers(&self, client: &Client, out: &mut Vec<Action>) {
        match client.home {
            None if client.connections < self.bounds.connections => {
                out.extend(self.servers.iter().map(|server| Action::Join { server: *server }));
                if self.bounds.retreats > 0 {
                    out.extend(self.servers.iter().map(|server| Action::Visit { server: *server }));
                }
            }
            None => {}
            Some(home) => {
                if home.open && home.asked.is_none() && client.writes < self.bounds.writes {
                    out.push(Action::Ask);
                }
                if home.reads_only && home.open && home.asked.is_none() && client.reads < self.bounds.reads {
                    out.push(Action::Look);
                }
                // Without another one, it may as well stay.
                if client.connections < self.bounds.connections {
                    out.push(Action::Leave);
                }
            }
        }
    }

    /// Whether the bounds allow a step of the world.
    fn allows<B: Board<Self>>(&self, board: &B, used: Budget, step: &Step) -> bool {
        match step {
            Step::Connect { leader, .. } => {
                self.bounds.refusals || host(board.part(self.slot_of(*leader))).leads()
            }
            Step::Timeout { timer, .. } => match timer {
                Timer::Finalize => true,
                Timer::Resend => used.resends < self.bounds.resends,
                Timer::Ping => used.pings < self.bounds.pings,
                Timer::Expiry => used.ticks < self.bounds.ticks,
                Timer::ReadOnly => used.retreats < self.bounds.retreats,
                Timer::Sweep | Timer::SweepNext => false,
                Timer::Establish | Timer::Handshake(_) | Timer::Silence(_) => {
                    used.timeouts < self.bounds.timeouts
                }
            },
            Step::Crash { .. } => used.crashes < self.bounds.crashes,
            Step::Break { .. } => used.breaks < self.bounds.breaks,
            Step::Read { .. } | Step::Notice { .. } | Step::Finish { .. } => true,
            Step::Decide { .. }
            | Step::Elect { .. }
            | Step::Join { .. }
            | Step::Reach { .. }
            | Step::Propose { .. } => false,
        }
    }

    fn judge_server(&self, host: &Host<Subject>) -> Verdict {
        let server = host.view().expect("its state remembers");
        let mut verdict = self.rules.server(&server);
        if let Some(word) = host.peer().election().word().filter(|word| word.state != ServerState::Looking) {
            let quorum = self.rules.quorum();
            let may_lead = quorum.voters().filter(|voter| quorum.may_lead(*voter)).collect();
            verdict = verdict.and(self.holds("F-3", leader_votes(word.vote.leader, &may_lead), || {
                format!("server {} has {} for a leader, which may not lead", server.id, word.vote.leader)
            }));
            verdict.witnesses |= self.rules.bit("elected");
        }
        verdict
    }

    fn judge_record(&self, record: &Record) -> Verdict {
        let votes: Vec<_> = record.offered.iter().copied().collect();
        let ordered = is_strict_total_order(&votes, |one, other| outranks(self.rules.quorum(), one, other));
        let mut verdict = self.rules.record(&record.history);
        if votes.len() > 1 {
            verdict = verdict.and(self.holds("F-1", ordered, || format!("the votes {votes:?} have no best")));
        }
        let met = |met: bool, name: &str| if met { self.rules.bit(name) } else { 0 };
        let reigns = record.history.reigns().len();
        verdict.witnesses |= met(reigns > 0, "established")
            | met(reigns > 1, "second-reign")
            | met(record.acknowledged_before_a_reign(), "acknowledged-before-a-reign");
        verdict
    }

    /// F-4, of what any server had to offer.
    fn judge_vote(&self, view: &HostView, record: &RecordView) -> Verdict {
        let Some(word) = view.word.filter(|word| word.state == ServerState::Looking) else {
            return Verdict::default();
        };
        self.holds("F-4", vote_was_offered(&word.vote, &record.offered), || {
            format!("server {} votes for {:?}; offered were {:?}", view.server.id, word.vote, record.offered)
        })
    }

    fn holds(&self, rule: &str, holds: bool, why: impl FnOnce() -> String) -> Verdict {
        let broken = (!holds).then(|| Broken::new(rule, why()));
        Verdict { broken, witnesses: self.rules.bit(rule) }
    }
}

impl Model for Peer {
    type Part = Part;
    type Change = Change;
    type Yield = Yield;
    type Action = Action;
    type View = View;

    fn initial(&self) -> Vec<Part> {
        self.cold()
    }

    fn offers(&self, slot: usize, part: &Part, out: &mut Vec<Action>) {
        match part {
            Part::Host(host) => self.host_offers(host, out),
            Part::Link(link) => self.link_offers(slot, link, out),
            Part::Mesh(mesh) => {
                let (from, to) = self.mesh_ends(slot);
                if mesh.message.is_some() {
                    out.push(Action::Deliver { from, to });
                }
                out.push(if mesh.reset {
                    Action::Hear { at: to, of: from }
                } else {
                    Action::Reset { at: to, of: from }
                });
            }
            Part::Client(client) => self.client_offers(client, out),
            Part::Record(_) | Part::Budget(_) => {}
        }
    }

    fn enabled<B: Board<Self>>(&self, board: &B, action: &Action) -> bool {
        let used = *budget(board.part(self.budget_slot()));
        if used.looks > self.bounds.looks {
            return false;
        }
        match action {
            Action::World(step) => self.allows(board, used, step),
            Action::Reset { .. } => used.breaks < self.bounds.breaks,
            Action::Join { server } | Action::Visit { server } => {
                let peer = host(board.part(self.slot_of(*server))).peer();
                peer.is_serving() || peer.is_read_only()
            }
            Action::Deliver { .. } | Action::Hear { .. } | Action::Ask | Action::Look | Action::Leave => true,
        }
    }

    fn next<B: Board<Self>>(&self, board: &mut B, action: &Action) -> Result<(), Broken> {
        self.carry_out(board, action)
    }

    fn change(&self, part: &mut Part, change: &Change) -> Result<Yield, Broken> {
        match (part, change) {
            (Part::Host(host), Change::Host(event)) => {
                let happened = host.step(event);
                happened.map(|happened| Yield::Host(Box::new(happened))).map_err(Broken::from)
            }
            (Part::Link(link), Change::Link(change)) => Ok(Yield::Frame(link.change(change))),
            (Part::Mesh(mesh), Change::Mesh(change)) => {
                match change {
                    MeshChange::Send(message) => mesh.message = Some(*message),
                    MeshChange::Clear => mesh.message = None,
                    MeshChange::Reset => mesh.reset = true,
                    MeshChange::Heard => mesh.reset = false,
                }
                Ok(Yield::Nothing)
            }
            (Part::Client(client), Change::Client(change)) => {
                client.change(change).map(|heard| Yield::Client(Box::new(heard)))
            }
            (Part::Record(record), Change::Record(change)) => record.change(change).map(Yield::Noted),
            (Part::Budget(budget), Change::Budget(spend)) => {
                budget.spend(*spend);
                Ok(Yield::Nothing)
            }
            (part, change) => unreachable!("{change:?} does not fit {part:?}"),
        }
    }

    fn view(&self, _: usize, part: &Part) -> Option<View> {
        match part {
            Part::Host(host) => Some(View::Server(Box::new(HostView::of(host)))),
            Part::Client(client) => Some(View::Client(client.acknowledged.clone())),
            Part::Record(record) => {
                let (history, offered) = (record.history.clone(), record.offered.clone());
                Some(View::Record(Box::new(RecordView { history, offered })))
            }
            Part::Link(_) | Part::Mesh(_) | Part::Budget(_) => None,
        }
    }

    fn judge_part(&self, _: usize, part: &Part) -> Verdict {
        match part {
            Part::Host(host) => self.judge_server(host),
            Part::Record(record) => self.judge_record(record),
            Part::Link(_) | Part::Mesh(_) | Part::Client(_) | Part::Budget(_) => Verdict::default(),
        }
    }

    fn judge_pair(&self, _: (usize, usize), views: (&View, &View)) -> Verdict {
        match views {
            (View::Server(one), View::Server(other)) => self.rules.pair(&one.server, &other.server),
            (View::Server(host), View::Client(acknowledged)) => match host.lacks(acknowledged) {
                None => Verdict::default(),
                Some(zxid) => {
                    let why =
                        format!("server {} serves without {zxid}, which was acknowledged", host.server.id);
                    Verdict { broken: Some(Broken::new("S-8", why)), witnesses: 0 }
                }
            },
            (View::Server(host), View::Record(record)) => {
                let verdict = self.rules.server_and_record(&host.server, &record.history);
                verdict.and(self.judge_vote(host, record))
            }
            (View::Client(_) | View::Record(_), _) => Verdict::default(),
        }
    }

    fn judge_whole(&self, views: &[(usize, &View)]) -> Verdict {
        let servers = views.iter().filter_map(|(_, view)| match view {
            View::Server(host) => Some(&host.server),
            View::Client(_) | View::Record(_) => None,
        });
        let record = views.iter().find_map(|(_, view)| match view {
            View::Record(record) => Some(&record.history),
            View::Server(_) | View::Client(_) => None,
        });
        let servers: Vec<_> = servers.collect();
        record.map_or_else(Verdict::default, |record| self.rules.quorums(&servers, record))
    }

    fn has_ledger(&self) -> bool {
        self.bounds.covering
    }

    /// Every bound is only ever compared with what is used of it.
    fn allows_all_of(&self, this: &Part, other: &Part) -> bool {
        budget(this).allows_all_of(*budget(other))
    }

    fn witnesses(&self) -> &[&'static str] {
        self.rules.witnesses()
    }

    fn is_about_histories(&self, broken: &Broken) -> bool {
        let listed = || rule::all().any(|rule| rule.id == broken.rule && rule.is_about_histories());
        broken.rule.starts_with("F-") || listed()
    }

    /// A write of the client is done.
    fn is_goal(&self, parts: &[&Part]) -> bool {
        !client(parts[self.client_slot()]).acknowledged.is_empty()
    }

    /// Progress is the matter of the other models, and of simulated runs.
    fn is_demanded(&self, _: &[&Part]) -> bool {
        false
    }

    fn is_fault_free(&self, action: &Action) -> bool {
        !matches!(
            action,
            Action::Reset { .. } | Action::Leave | Action::World(Step::Crash { .. } | Step::Break { .. })
        )
    }

    fn describe(&self, action: &Action) -> String {
        action.to_string()
    }

    fn narrate(&self, slot: usize, change: &Change, yields: &Yield, _: &Part, after: &Part) -> Vec<String> {
        let name = self.slot_name(slot);
        match (change, yields, after) {
            (Change::Host(event), Yield::Host(happened), Part::Host(host)) => {
                let mut lines = Vec::new();
                if let HostEvent::Read(from, wire) = event {
                    lines.push(format!("{name} reads {wire} from {from}"));
                }
                lines.extend(happened.notes.iter().map(|note| format!("{name} notes {note:?}")));
                lines.push(format!("{name}: {host}"));
                lines
            }
            (Change::Client(ClientChange::Hear(_, said)), ..) => {
                vec![format!("the client is told: {}", text::said(said))]
            }
            (Change::Record(RecordChange::Ghost(GhostChange::Establish(epoch, leader, initial))), ..) => {
                vec![format!("epoch {epoch} is established under {leader} with {}", text::sequence(initial))]
            }
            (Change::Record(RecordChange::Ghost(GhostChange::Commit(leader, held))), ..) => {
                vec![format!("committed, as leader {leader} holds: {}", text::sequence(held))]
            }
            _ => Vec::new(),
        }
    }

    fn is_host(&self, slot: usize) -> bool {
        slot < self.servers.len() || slot == self.client_slot()
    }

    fn carries(&self, action: &Action) -> Option<(usize, usize)> {
        let (from, to) = match action {
            Action::World(step) => step.message()?,
            Action::Deliver { from, to } => (*from, *to),
            Action::Hear { .. }
            | Action::Reset { .. }
            | Action::Join { .. }
            | Action::Visit { .. }
            | Action::Ask
            | Action::Look
            | Action::Leave => return None,
        };
        Some((self.slot_of(from), self.slot_of(to)))
    }

    fn slot_name(&self, slot: usize) -> String {
        let places = self.places();
        if slot < self.servers.len() {
            format!("server {}", self.servers[slot])
        } else if slot < places.end() {
            let (learner, leader) = places.ends(slot);
            format!("link of {} to {}", self.servers[learner], self.servers[leader])
        } else if slot < self.client_slot() {
            let (from, to) = self.mesh_ends(slot);
            format!("mesh from {from} to {to}")
        } else if slot == self.client_slot() {
            "client".to_owned()
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
            Part::Mesh(mesh) => mesh.sketch(),
            Part::Client(client) => client.sketch(),
            Part::Record(record) => vec![text::record(&record.history)],
            Part::Budget(budget) => budget.sketch(),
        }
    }
}
