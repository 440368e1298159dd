//! A whole server: the peer that ships, the state that it replicates, and a disk that ends what it is asked at once.
//!
//! Where [`Server`](crate::Server) has nothing but the order of proposals, for the questions of what is on disk and
//! when, a host has everything that decides in a server, for the questions of what its clients see. A crash and the
//! restart behind it are one event.

mod sink;

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
};

use protocol::{
    Notification, Peer, Recovered, Role, Timer,
    peer::{Config, Effects, Input, Packet},
};
use serde::{Serialize, Serializer};
use spec::{ClientId, Epoch, Machine, ServerId, SessionId, Zxid};

use self::sink::{DiskCall, Sink};
use crate::{NetChange, Replica};

/// The wall clock of every server; no rule of the world is about it.
const NOW: i64 = 0;

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
    /// The process ends, and a new one starts.
    Crash,
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
        Self { net: Vec::new(), votes: Vec::new(), told: Vec::new(), expired: Vec::new(), committed: None }
    }
}

/// Who looks on while a host takes a step: shown each effect as the peer asks for it.
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

    fn sink<'s>(&'s mut self, timers: &'s mut BTreeSet<Timer>) -> Sink<'s, 'a, M> {
        Sink { timers, happened: &mut self.happened, onlooker: &mut self.onlooker, asked: VecDeque::new() }
    }
}

/// What outlives the process.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Store<M: Machine> {
    accepted: Epoch,
    current: Epoch,
    label: Zxid,
    snapshot: Box<M>,
    /// Behind the snapshot.
    log: Vec<(Zxid, M::Txn)>,
}

/// One server.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Host<M: Machine> {
    config: Config,
    peer: Peer<M>,
    state: Box<M>,
    timers: BTreeSet<Timer>,
    store: Store<M>,
}

impl<M: Replica> Host<M> {
    /// A server that starts for the first time, with this state.
    pub fn new(config: Config, state: M) -> (Self, Happened<M>) {
        let mut run = Run::new(None);
        let host = Self::first(config, state, &mut run);
        (host, run.happened)
    }

    /// The same before somebody.
    pub fn new_before(config: Config, state: M, onlooker: &mut dyn Onlooker<M>) -> Self {
        Self::first(config, state, &mut Run::new(Some(onlooker)))
    }

    fn first(config: Config, state: M, run: &mut Run<'_, M>) -> Self {
        let store = Store {
            accepted: Epoch(0),
            current: Epoch(0),
            label: state.last_processed(),
            snapshot: Box::new(state),
            log: Vec::new(),
        };
        Self::start(config, store, run)
    }

    /// What shapes its actor.
    pub fn config(&self) -> &Config {
        &self.config
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

    /// Whether this timer runs.
    pub fn has_timer(&self, timer: Timer) -> bool {
        self.timers.contains(&timer)
    }

    /// The timers that run.
    pub fn timers(&self) -> &BTreeSet<Timer> {
        &self.timers
    }

    /// What a start would read from disk now, and the state that it would have.
    pub fn recovered(&self) -> (Recovered<M::Txn>, M) {
        self.store.recover(self.config.zab.window)
    }

    /// Whether it leads.
    pub fn leads(&self) -> bool {
        matches!(self.peer.zab().role(), Some((Role::Leading, _)))
    }

    /// What happens to it.
    pub fn step(&mut self, event: &HostEvent<M>) -> Happened<M> {
        self.run(event, Run::new(None))
    }

    /// The same before somebody.
    pub fn step_before(&mut self, event: &HostEvent<M>, onlooker: &mut dyn Onlooker<M>) -> Happened<M> {
        self.run(event, Run::new(Some(onlooker)))
    }

    fn run(&mut self, event: &HostEvent<M>, mut run: Run<'_, M>) -> Happened<M> {
        let before = self.held();
        match event {
            HostEvent::Input(input) => self.input(input.clone(), &mut run),
            HostEvent::Read(from, Wire::Packet(packet)) => {
                let input = Input::Packet { from: *from, packet: packet.clone(), time: NOW };
                self.input(input, &mut run);
            }
            HostEvent::Read(from, Wire::Snapshot { last, state }) => {
                self.state.clone_from(state);
                self.input(Input::Snapshot { from: *from, zxid: *last }, &mut run);
            }
            HostEvent::Timer(timer) => {
                self.timers.remove(timer);
                self.input(Input::Timer { timer: *timer, time: NOW }, &mut run);
            }
            HostEvent::Crash => {
                let mut config = self.config.clone();
                // The clock has gone on.
                config.first_session = SessionId(config.first_session.0 + (1 << 24));
                *self = Self::start(config, self.store.clone(), &mut run);
            }
        }
        let held = self.held();
        if held != before && held.is_some() {
            let last = self.state.last_processed();
            let log = self.store.log.iter().filter(|(zxid, _)| *zxid <= last).cloned();
            run.happened.committed = Some(Stretch { after: self.store.label, txns: log.collect() });
        }
        run.happened
    }

    /// The last transaction that it holds for committed, as a leader that serves.
    fn held(&self) -> Option<Zxid> {
        (self.leads() && self.peer.is_serving()).then(|| self.state.last_processed())
    }

    fn start(config: Config, store: Store<M>, run: &mut Run<'_, M>) -> Self {
        let (recovered, mut state) = store.recover(config.zab.window);
        let mut timers = BTreeSet::new();
        let mut sink = run.sink(&mut timers);
        let peer = Peer::boot(config.clone(), recovered, &mut state, &mut sink);
        let asked = sink.asked;
        let mut host = Self { config, peer, state: Box::new(state), timers, store };
        host.settle(asked, run);
        host
    }

    fn input(&mut self, input: Input<M>, run: &mut Run<'_, M>) {
        let asked = self.ask(input, run);
        self.settle(asked, run);
    }

    fn ask(&mut self, input: Input<M>, run: &mut Run<'_, M>) -> VecDeque<DiskCall<M>> {
        if let Some(onlooker) = &mut run.onlooker {
            onlooker.told(&input);
        }
        let mut sink = run.sink(&mut self.timers);
        self.peer.step(&mut self.state, input, &mut sink);
        sink.asked
    }

    /// Ends what was asked of the disk, in the order of the calls.
    fn settle(&mut self, mut asked: VecDeque<DiskCall<M>>, run: &mut Run<'_, M>) {
        while let Some(call) = asked.pop_front() {
            let ended = self.end(call);
            asked.extend(self.ask(ended, run));
        }
    }

    fn end(&mut self, call: DiskCall<M>) -> Input<M> {
        let store = &mut self.store;
        match call {
            DiskCall::Append(ticket, zxid, txn) => {
                store.log.push((zxid, txn));
                Input::Done(ticket)
            }
            DiskCall::Truncate(ticket, last) => {
                store.log.retain(|(zxid, _)| *zxid <= last);
                Input::Done(ticket)
            }
            DiskCall::Sync(ticket) => Input::Done(ticket),
            DiskCall::Accepted(ticket, epoch) => {
                store.accepted = epoch;
                Input::Done(ticket)
            }
            DiskCall::Current(ticket, epoch) => {
                store.current = epoch;
                Input::Done(ticket)
            }
            DiskCall::Snapshot(ticket, label, state) => {
                store.log.clear();
                (store.label, store.snapshot) = (label, state);
                Input::Done(ticket)
            }
            DiskCall::Locate(ticket) => Input::Located { ticket, at: None },
            DiskCall::Reload => {
                let (recovered, state) = store.recover(self.config.zab.window);
                *self.state = state;
                Input::Reloaded(recovered)
            }
        }
    }
}

impl<M: Replica> Store<M> {
    fn recover(&self, window: usize) -> (Recovered<M::Txn>, M) {
        let mut state = (*self.snapshot).clone();
        let mut watches = M::Watches::default();
        for (zxid, txn) in &self.log {
            state.apply(*zxid, txn, &mut watches, &mut |_, _| {});
        }
        let last = self.log.last().map_or(self.label, |(zxid, _)| *zxid);
        let skipped = self.log.len().saturating_sub(window);
        let base = skipped.checked_sub(1).map_or(self.label, |at| self.log[at].0);
        let recovered = Recovered {
            accepted: self.accepted,
            current: self.current,
            floor: self.label,
            last,
            base,
            tail: self.log[skipped..].to_vec(),
        };
        (recovered, state)
    }
}

/// As it is printed: enough to tell hosts apart.
impl<M: Replica> Serialize for Host<M> {
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

impl<M: Replica> fmt::Display for Host<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer.zab().role() {
            Some((Role::Leading, epoch)) => write!(f, "leads {epoch}")?,
            Some((Role::Following(leader), epoch)) => write!(f, "follows {leader} in {epoch}")?,
            None => f.write_str("looking")?,
        }
        if self.peer.is_serving() {
            f.write_str(", serving")?;
        }
        let logged = self.store.log.last().map_or(self.store.label, |(zxid, _)| *zxid);
        write!(f, "; state through {}, logged through {logged}", self.state.last_processed())
    }
}

/// In a line.
impl<M: Replica> fmt::Display for Wire<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet(Packet::Zab(message)) => write!(f, "{message:?}"),
            Self::Packet(packet) => write!(f, "{packet:?}"),
            Self::Snapshot { last, .. } => write!(f, "SNAP through {last}"),
        }
    }
}
