//! A whole server: the peer that ships, the state that it replicates, and its disk.
//!
//! Where [`Server`](crate::Server) has nothing but the order of proposals, a host has everything that decides in a
//! server. Its disk is the same, and so are the rules about what it says and how it changes, which are asked if its
//! state [remembers](Replica::history) what was applied to it. A crash and the restart behind it are one event.

mod sink;
mod storage;

use std::{collections::BTreeSet, fmt, sync::Arc};

use protocol::{
    Note, Notification, Peer, Recovered, Role, ServerState, Ticket, Timer,
    peer::{Config, Effects, Input, Packet},
};
use serde::{Serialize, Serializer};
use spec::{
    ClientId, Machine, ServerId, SessionId, Zxid,
    history::{Claim, ServerView},
};

use self::sink::Sink;
pub use self::storage::{Loaded, Start, Storage};
use crate::{
    Disk, Fault, Finished, GhostChange, Image, Keep, Left, NetChange, Replica, Sight, judge, view,
    watch::Watcher,
};

/// How long disk operations take.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Pace {
    /// None at all: each ends in the event that asks for it.
    Eager,
    /// Until [`HostEvent::Disk`] says so, each file's in their order.
    Async,
}

/// What travels between hosts.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Wire<M: Machine> {
    /// A packet.
    Packet(Packet<M>),
    /// A whole state, as who reads it loads it.
    Snapshot {
        /// The last transaction in it.
        last: Zxid,
        /// It.
        state: Box<M>,
    },
}

/// What a client is told.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Said<E> {
    /// It has its session.
    Accepted {
        /// The session.
        session: SessionId,
        /// Its password.
        password: [u8; 16],
        /// Whether the server does not write, and nobody else knows of the session.
        read_only: bool,
    },
    /// Its session is not to be had.
    Refused,
    /// The server hangs up.
    Closed,
    /// An answer.
    Reply {
        /// The client's number of the request.
        xid: i32,
        /// The last transaction of the state that is shown.
        zxid: Zxid,
        /// What it says.
        answer: String,
    },
    /// A watch has fired.
    Event {
        /// The transaction.
        zxid: Zxid,
        /// What happened.
        event: E,
    },
}

/// What happens to a host.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum HostEvent<M: Machine> {
    /// An input that is not a frame or a timer.
    Input(Input<M>),
    /// Something is read from the link with this server.
    Read(ServerId, Wire<M>),
    /// A timer fires.
    Timer(Timer),
    /// A disk operation ends, one of [`Disk::may_finish`].
    Disk(Ticket),
    /// The process ends, this is left of what it had not synced, and a new one starts.
    Crash(Keep),
}

/// What a server does with a timer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TimerChange {
    /// It starts, or starts anew.
    Set(Timer),
    /// It stops.
    Cancel(Timer),
}

/// What a step does beside changing its host.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Happened<M: Machine> {
    /// For the network, in order.
    pub net: Vec<NetChange<Wire<M>>>,
    /// For the election mesh, in order.
    pub votes: Vec<(ServerId, Notification)>,
    /// For clients, in order.
    pub told: Vec<(ClientId, Said<M::Event>)>,
    /// Sessions that this server, as leader, has found expired.
    pub expired: Vec<SessionId>,
    /// What this server, as leader, holds for committed; none if that is nothing new.
    pub committed: Option<Stretch<M::Txn>>,
    /// What became of timers, in order.
    pub timers: Vec<TimerChange>,
    /// What the server noted, in order.
    pub notes: Vec<Note>,
    /// What was met.
    pub sights: BTreeSet<Sight>,
    /// As in [`Outcome`](crate::Outcome); nothing if the state does not remember.
    pub ghost: Vec<GhostChange>,
    /// As in [`Outcome`](crate::Outcome).
    pub tested: BTreeSet<&'static str>,
    /// As in [`Outcome`](crate::Outcome).
    pub forgets: Option<Box<(ServerView, ServerView)>>,
}

/// A stretch of the order of transactions.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Stretch<T> {
    /// The place behind which it begins.
    pub after: Zxid,
    /// The transactions at their places.
    pub txns: Vec<(Zxid, T)>,
}

impl<M: Machine> Default for Happened<M> {
    fn default() -> Self {
        Self {
            net: Vec::new(),
            votes: Vec::new(),
            told: Vec::new(),
            expired: Vec::new(),
            committed: None,
            timers: Vec::new(),
            notes: Vec::new(),
            sights: BTreeSet::new(),
            ghost: Vec::new(),
            tested: BTreeSet::new(),
            forgets: None,
        }
    }
}

/// Who looks on while a host takes a step: shown each effect as the peer asks for it. A stretch of the log that is sent
/// is shown as the messages that it comes to.
pub trait Onlooker<M: Machine>: Effects<M> {
    /// The peer is told this next: what has happened, or that the disk has done something that the step asked for.
    fn told(&mut self, input: &Input<M>);
}

/// What comes of a step, and who looks on.
struct Run<'a, M: Machine> {
    happened: Happened<M>,
    onlooker: Option<&'a mut dyn Onlooker<M>>,
}

impl<'a, M: Machine> Run<'a, M> {
    fn new(onlooker: Option<&'a mut dyn Onlooker<M>>) -> Self {
        Self { happened: Happened::default(), onlooker }
    }
}

impl<M: Replica> Image<M::Txn> for Arc<M> {
    fn empty() -> Self {
        Self::default()
    }

    fn replay(&mut self, zxid: Zxid, txn: &M::Txn) {
        Self::make_mut(self).apply(zxid, txn, &mut M::Watches::default(), &mut |_, _| {});
    }
}

/// What outlives the process. Copies of a disk share their snapshots.
pub type HostDisk<M> = Disk<<M as Machine>::Txn, Arc<M>>;

/// What a process starts with: its actor, its state, its timers.
type Process<M> = (Peer<M>, Arc<M>, BTreeSet<Timer>);

/// One server, on a disk that only the world knows, or on another one.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Host<M: Machine, D = HostDisk<M>> {
    config: Config<M::Settings>,
    pace: Pace,
    /// Whether to judge what it says and how it changes, step by step.
    local_rules: bool,
    /// The wall clock, in milliseconds since 1970.
    now: i64,
    peer: Peer<M>,
    /// Shared with every server that came of this one, or that it came of, and has the same.
    state: Arc<M>,
    timers: BTreeSet<Timer>,
    /// The start is not over: no vote was given yet.
    booting: bool,
    disk: D,
}

impl<M: Replica> Host<M> {
    /// A server that starts for the first time, with this state. Its wall clock stands at 0.
    ///
    /// # Errors
    /// The rule that its start breaks.
    pub fn new(config: Config<M::Settings>, pace: Pace, state: M) -> Result<(Self, Happened<M>), Fault> {
        Self::on(config, pace, Self::furnished(state))
    }

    fn furnished(state: M) -> HostDisk<M> {
        Disk::holding(Some((state.last_processed(), Arc::new(state))))
    }

    /// A server that starts over what is on its disk, before somebody. Its wall clock stands at 0.
    ///
    /// # Errors
    /// As [`Host::new`].
    pub fn over(
        config: Config<M::Settings>,
        pace: Pace,
        left: &Left<M::Txn, Arc<M>>,
        onlooker: Option<&mut dyn Onlooker<M>>,
    ) -> Result<Self, Fault> {
        Self::first(config, pace, Disk::of(left), Run::new(onlooker)).map(|(host, _)| host)
    }

    /// What [`Host::recovered`] tells, behind a crash that keeps this of what is not synced.
    ///
    /// # Errors
    /// As [`Host::recovered`].
    pub fn recovered_behind(&self, keep: Keep) -> Result<(Recovered<M::Txn>, M), Fault> {
        let mut disk = self.disk.clone();
        disk.crash(keep);
        let Start { recovered, state, .. } = Storage::start(&mut disk, self.config.zab.window)?;
        Ok((recovered, Arc::unwrap_or_clone(state)))
    }
}

impl<M: Replica, D: Storage<M>> Host<M, D> {
    /// A server that starts on this disk. Its wall clock stands at 0.
    ///
    /// # Errors
    /// The rule that its start breaks.
    pub fn on(config: Config<M::Settings>, pace: Pace, disk: D) -> Result<(Self, Happened<M>), Fault> {
        Self::first(config, pace, disk, Run::new(None))
    }

    fn first(
        config: Config<M::Settings>,
        pace: Pace,
        mut disk: D,
        mut run: Run<'_, M>,
    ) -> Result<(Self, Happened<M>), Fault> {
        let (peer, state, timers) = Self::start(&config, &mut disk, &mut run)?;
        let mut host =
            Self { config, pace, local_rules: true, now: 0, peer, state, timers, booting: true, disk };
        host.settle(&mut run)?;
        Ok((host, run.happened))
    }

    /// What shapes its actor.
    pub fn config(&self) -> &Config<M::Settings> {
        &self.config
    }

    /// How long its disk takes.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Which server.
    pub fn id(&self) -> ServerId {
        self.config.zab.me
    }

    /// Its actor.
    pub fn peer(&self) -> &Peer<M> {
        &self.peer
    }

    /// The state.
    pub fn state(&self) -> &M {
        &self.state
    }

    /// Its disk.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// Whether this timer runs.
    pub fn has_timer(&self, timer: Timer) -> bool {
        self.timers.contains(&timer)
    }

    /// The timers that run.
    pub fn timers(&self) -> impl Iterator<Item = Timer> + '_ {
        self.timers.iter().copied()
    }

    /// What a start would read from its disk if nothing but what is synced were kept, and the state that it would have.
    ///
    /// # Errors
    /// The start would be refused.
    pub fn recovered(&self) -> Result<(Recovered<M::Txn>, M), Fault> {
        let Start { recovered, state, .. } = self.disk.rest(self.config.zab.window)?;
        Ok((recovered, Arc::unwrap_or_clone(state)))
    }

    /// Whether it leads.
    pub fn leads(&self) -> bool {
        matches!(self.peer.zab().role(), Some((Role::Leading, _)))
    }

    /// Sets the wall clock, in milliseconds since 1970, which rides on what is read from then on.
    pub fn set_clock(&mut self, now: i64) {
        self.now = now;
    }

    /// Judges it by whole histories only from now on, and not by what it says and how it changes.
    pub fn without_local_rules(&mut self) {
        self.local_rules = false;
    }

    /// This server as the rules see it; none if its state does not remember.
    pub fn view(&self) -> Option<ServerView> {
        self.view_after(None)
    }

    /// The same, sparing the work that went into an earlier view of this server.
    pub fn view_after(&self, earlier: Option<&ServerView>) -> Option<ServerView> {
        let mut view = self.view_of_order()?;
        // While a truncation or a snapshot is under way, the state is not meant to be what the log says.
        if !self.booting && !self.disk.in_flux() {
            let processed = self.state.last_processed();
            let same = |earlier: &&ServerView| {
                earlier.state != 0 && earlier.processed == processed && earlier.logged == view.logged
            };
            let known = earlier.filter(same).map(|earlier| earlier.replayed);
            let replayed = known.unwrap_or_else(|| view::hash_of(&self.disk.replayed(processed)));
            (view.state, view.replayed) = (view::hash_of(&self.state), replayed);
        }
        Some(view)
    }

    /// The same without the digests of its state, which a rule about one server compares.
    pub fn view_of_order(&self) -> Option<ServerView> {
        let state = self.state.history()?.to_vec();
        let durable = self.disk.durable_history();
        let view = view::down(self.id(), !self.config.zab.is_observer(), self.disk.epochs(), durable);
        if self.booting {
            return Some(view);
        }
        let logged = self.disk.logged_history();
        let states = (!self.disk.in_flux()).then_some((0, 0));
        Some(view::up(view, self.peer.zab(), state, logged, view::hash_of, states))
    }

    /// What happens to it.
    ///
    /// # Errors
    /// The rule that the step breaks.
    pub fn step(&mut self, event: &HostEvent<M>) -> Result<Happened<M>, Fault> {
        self.run(event, Run::new(None))
    }

    /// The same before somebody.
    ///
    /// # Errors
    /// As [`Host::step`].
    pub fn step_before(
        &mut self,
        event: &HostEvent<M>,
        onlooker: &mut dyn Onlooker<M>,
    ) -> Result<Happened<M>, Fault> {
        self.run(event, Run::new(Some(onlooker)))
    }

    fn run(&mut self, event: &HostEvent<M>, mut run: Run<'_, M>) -> Result<Happened<M>, Fault> {
        let (held, before) = (self.held(), self.view_of_order());
        match event {
            HostEvent::Input(input) => self.input(input.clone(), &mut run)?,
            HostEvent::Read(from, Wire::Packet(packet)) => {
                let input = Input::Packet { from: *from, packet: packet.clone(), time: self.now };
                self.input(input, &mut run)?;
            }
            HostEvent::Read(from, Wire::Snapshot { last, state }) => {
                if self.peer.takes_snapshot(*from, *last) {
                    self.state = Arc::new((**state).clone());
                }
                self.input(Input::Snapshot { from: *from, zxid: *last }, &mut run)?;
            }
            HostEvent::Timer(timer) => {
                self.timers.remove(timer);
                self.input(Input::Timer { timer: *timer, time: self.now }, &mut run)?;
            }
            HostEvent::Disk(ticket) => self.finish(*ticket, &mut run)?,
            HostEvent::Crash(keep) => self.crash(*keep, &mut run)?,
        }
        self.settle(&mut run)?;
        let mut happened = run.happened;
        if let (Some(before), Some(after)) = (before, self.view_of_order()) {
            if self.local_rules {
                judge::step(&before, &after, &mut happened.tested)?;
            }
            let forgets = !after.durable.starts_with(&before.durable);
            happened.forgets = forgets.then(|| Box::new((before, after)));
        }
        if self.held() != held && self.held().is_some() {
            happened.committed = Some(self.disk.stretch(self.state.last_processed()));
        }
        if self.peer.is_serving() {
            self.disk.serves(&mut self.state);
        }
        Ok(happened)
    }

    /// The last transaction that it holds for committed, as a leader that serves.
    fn held(&self) -> Option<Zxid> {
        (self.leads() && self.peer.is_serving()).then(|| self.state.last_processed())
    }

    fn start(config: &Config<M::Settings>, disk: &mut D, run: &mut Run<'_, M>) -> Result<Process<M>, Fault> {
        let Start { recovered, state, cut } = disk.start(config.zab.window)?;
        let mut state = state;
        if cut {
            run.happened.sights.insert(Sight::TornTailKept);
        }
        let mut timers = BTreeSet::new();
        let mut sink = Sink::new(disk, &mut timers, run);
        let peer = lend(&mut state, |state| Peer::boot(config.clone(), recovered, state, &mut sink));
        if let (.., Some(fault)) = sink.end() {
            return Err(fault);
        }
        Ok((peer, state, timers))
    }

    fn crash(&mut self, keep: Keep, run: &mut Run<'_, M>) -> Result<(), Fault> {
        let lost = self.disk.last();
        self.disk.crash(keep)?;
        // The clock has gone on.
        self.config.first_session.0 += 1 << 24;
        (self.peer, self.state, self.timers) = Self::start(&self.config, &mut self.disk, run)?;
        self.booting = true;
        if self.state.last_processed() < lost || !self.disk.is_synced() {
            run.happened.sights.insert(Sight::CrashImageRecovered);
        }
        Ok(())
    }

    /// With an eager disk, ends every operation in the order of the calls.
    fn settle(&mut self, run: &mut Run<'_, M>) -> Result<(), Fault> {
        while self.pace == Pace::Eager
            && let Some(ticket) = self.disk.may_finish().first().copied()
        {
            self.finish(ticket, run)?;
        }
        Ok(())
    }

    fn finish(&mut self, ticket: Ticket, run: &mut Run<'_, M>) -> Result<(), Fault> {
        let input = match self.disk.finish(ticket)? {
            Finished::Durable => Input::Done(ticket),
            Finished::Located(at) => Input::Located { ticket, at },
        };
        self.input(input, run)
    }

    /// One input of the actor, and what it asks for; judged by the rules about messages.
    fn input(&mut self, input: Input<M>, run: &mut Run<'_, M>) -> Result<(), Fault> {
        if let Some(onlooker) = &mut run.onlooker {
            onlooker.told(&input);
        }
        let (led, committed) = (self.leads(), self.peer.zab().committed());
        let votes = run.happened.votes.len();
        let mut sink = Sink::new(&mut self.disk, &mut self.timers, run);
        lend(&mut self.state, |state| self.peer.step(state, input, &mut sink));
        let (watch, reload, fault) = sink.end();
        if let Some(fault) = fault
            && (self.local_rules || fault.rule == "R-5")
        {
            return Err(fault);
        }
        let Watcher { claims, breaches, established, looked, .. } = watch;
        self.booting &= !looked;
        self.judge(claims, &breaches, votes, &mut run.happened)?;
        let delivered = led && self.peer.zab().committed() != committed;
        if (established.is_some() || delivered)
            && let Some(view) = self.view_of_order()
        {
            if let Some(epoch) = established {
                run.happened.ghost.push(GhostChange::Establish(epoch, self.id(), view.logged.clone()));
            }
            if delivered {
                run.happened.ghost.push(GhostChange::Commit(self.id(), view.delivered));
            }
        }
        if looked {
            self.judge_rest()?;
        }
        if reload {
            let Start { recovered, state, .. } = self.disk.reload(self.config.zab.window)?;
            self.state = state;
            self.input(Input::Reloaded(recovered), run)?;
        }
        Ok(())
    }

    /// The rules about what it has just said; its votes for itself, from `votes` on, are claims as well.
    fn judge(
        &self,
        mut claims: Vec<Claim>,
        breaches: &[spec::history::Breach],
        votes: usize,
        happened: &mut Happened<M>,
    ) -> Result<(), Fault> {
        let me = self.id();
        let said = happened.votes[votes..].iter().map(|(_, said)| said);
        // An observer that has nothing to offer only asks. And a proposal may name this server with what others have
        // heard of it before a crash, which cost it something that nobody else needs: they would not give way to less,
        // so it says so too. What it claims itself is its offer.
        let asks = |said: &Notification| self.config.zab.is_observer() && said.vote.zxid.is_none();
        let offer = self.peer.election().offer();
        let echoes = |said: &Notification| offer.is_some_and(|offer| offer != said.vote);
        let own = said
            .filter(|said| said.state == ServerState::Looking && said.vote.leader == me)
            .filter(|said| !asks(said) && !echoes(said));
        claims.extend(own.map(|said| {
            let last = said.vote.zxid.unwrap_or(Zxid::ZERO);
            Claim::Vote { current: said.vote.epoch, last }
        }));
        claims.dedup();
        if !self.local_rules || (claims.is_empty() && breaches.is_empty()) {
            return Ok(());
        }
        self.view_of_order()
            .map_or(Ok(()), |view| judge::words(&view, &claims, breaches, &mut happened.tested))
    }

    /// A server that comes to rest holds what a start would load.
    fn judge_rest(&self) -> Result<(), Fault> {
        if !self.local_rules || self.state.history().is_none() {
            return Ok(());
        }
        let start = self.disk.rest(self.config.zab.window)?;
        if *start.state == *self.state {
            return Ok(());
        }
        let (held, loaded) = (self.state.last_processed(), start.state.last_processed());
        let why =
            format!("at rest with a state through {held}, while a start would load one through {loaded}");
        Err(Fault { rule: "R-7".to_owned(), why })
    }
}

/// Has a state worked on in place, or in a copy where others share it: they go on sharing it if it is the same behind that.
fn lend<M: Replica, R>(state: &mut Arc<M>, work: impl FnOnce(&mut M) -> R) -> R {
    let shared = (Arc::strong_count(state) > 1).then(|| Arc::clone(state));
    let outcome = work(Arc::make_mut(state));
    if let Some(shared) = shared.filter(|shared| shared == state) {
        *state = shared;
    }
    outcome
}

/// As it is printed: enough to tell hosts apart.
impl<M: Replica, D: fmt::Debug> Serialize for Host<M, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

/// As it is printed.
impl<M: Replica> Serialize for Wire<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}
