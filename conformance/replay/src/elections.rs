//! The steps of the `election` model, taken by whole peers.
//!
//! A server of that model is one actor, and an environment plays what is around it. Here a whole peer is around it: what
//! the environment does to the actor is brought about by what happens to the peer. A message, a timer and the loss of an
//! election link reach the actor as they are. A role ends with a timer or a link of the peer; an epoch is joined by
//! discovery and synchronisation with a server that the replay plays; a crash is one of the process. The actor behind
//! that has to be the model's; then the events are steps of a whole peer like any other.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use checker::{
    election::{Change, Election, Part as Piece, Server},
    engine::Model as _,
};
use protocol::{
    Message, Quorum, Role, Timer, Vote,
    election::Input as ActorInput,
    peer::{self, Input, Packet},
    zab,
};
use spec::{Epoch, Machine as _, ServerId, SessionId, Zxid};
use tree::{Settings, Tree, Txn, TxnBody, Watches};
use world::{Host, HostEvent, Keep, Left, Pace, Wire};

use crate::graph::{Graph, Print, Root, broken, exhausted, print, print_of};

/// A tick of the peers, in milliseconds.
const TICK_MS: u32 = 1000;

/// What decides the next step of a server of the model: what it has on disk, its actor, and its timers.
type Shipped = (Vote, Option<protocol::Election>, [bool; 2]);

/// A distinct step of a server of the model: what is done to it, and what it comes to.
struct Step<'s> {
    key: u128,
    change: &'s Change,
    after: &'s Server,
}

fn shipped(server: &Server) -> Shipped {
    (server.own(), server.actor().cloned(), server.timers())
}

/// The first transaction that a state was through, which is none that does anything.
fn state_through(last: Zxid) -> Tree {
    let mut state = Tree::default();
    let body = TxnBody::Error { code: 0 };
    let txn = Txn { session: SessionId(0), cxid: 0, time: 0, body, digest: None };
    state.apply(last, &txn, &mut Watches::default(), &mut |_, _| {});
    state
}

fn config(me: ServerId, quorum: &Quorum) -> peer::Config<Settings> {
    peer::Config {
        zab: zab::Config { me, quorum: quorum.clone(), window: 500, log_sync: true, counter_max: u32::MAX },
        tick_ms: TICK_MS,
        session_timeout_min_ms: 2 * i32::try_from(TICK_MS).unwrap_or(i32::MAX),
        session_timeout_max_ms: 2 * i32::try_from(TICK_MS).unwrap_or(i32::MAX),
        first_session: SessionId(i64::try_from(me.0).unwrap_or_default() << 56),
        settings: Settings::default(),
        sweep_max: 0,
        read_only: false,
    }
}

/// The whole peer that has this on its disk, as it starts.
fn root(own: Vote, quorum: &Quorum, servers: usize) -> Root {
    let last = own.zxid.unwrap_or(Zxid::ZERO);
    Root {
        servers,
        config: config(own.leader, quorum),
        pace: Pace::Eager,
        left: Left {
            snapshot: Some((last, Arc::new(state_through(last)))),
            log: Vec::new(),
            accepted: own.epoch,
            current: own.epoch,
        },
    }
}

/// Why a step is not taken whose server no whole peer can be.
const IN_VAIN: &str = "an actor in a role that a whole peer has given up at once, for a voter has shown it to be in vain (E-15), \
                       and what such an actor does";
/// Why a step is not taken behind one for which there is no way.
const BEHIND: &str = "an actor that comes of such a step, and what it does";

/// What a step of the model comes to for a whole peer, or why it does not take it.
pub type Part = Result<Vec<u32>, &'static str>;

/// Adds what takes the steps of a search of the `election` model: the steps of whole peers, and for each distinct step of
/// the model those that it comes to.
///
/// # Errors
/// As [`Graph::add_row`].
pub fn add(graph: &mut Graph, model: &Election) -> anyhow::Result<Vec<Part>> {
    let search = exhausted(model)?;
    let mut steps: HashMap<u128, Vec<Step<'_>>> = HashMap::new();
    for step in search.steps() {
        let (Piece::Server(before), Piece::Server(after)) = (step.before, step.after) else { continue };
        let from = steps.entry(print_of(&shipped(before))).or_default();
        let key = print_of(step.change);
        if from.iter().all(|known| known.key != key) {
            from.push(Step { key, change: step.change, after });
        }
    }
    let (mut found, mut queue, mut known) = (Vec::new(), VecDeque::new(), HashSet::new());
    let servers = model.initial().iter().filter(|piece| matches!(piece, Piece::Server(_))).count();
    for piece in model.initial() {
        if let Piece::Server(server) = piece {
            let root = root(server.own(), model.quorum(), servers);
            let host = root.boot()?;
            graph.root(root, &host);
            let key = print_of(&shipped(&server));
            known.insert(key);
            queue.push_back((key, None, host));
        }
    }
    let mut in_vain = Vec::new();
    // A server that is down stands beside the peer that is to crash, or to start for the first time.
    while let Some((from, running, host)) = queue.pop_front() {
        let mut next = steps.remove(&from).unwrap_or_default();
        next.sort_unstable_by_key(|step| step.key);
        for Step { change, after, .. } in next {
            let key = print_of(&shipped(after));
            match way(graph, &host, running, change, after)? {
                None => found.push(Err(no_way(change))),
                Some(Way { edges, host, arrives }) => {
                    found.push(Ok(edges));
                    if !arrives {
                        in_vain.push(key);
                    } else if known.insert(key) {
                        queue.push_back((key, Some(after.is_up()), host));
                    }
                }
            }
        }
    }
    while let Some(from) = in_vain.pop() {
        for Step { after, .. } in steps.remove(&from).unwrap_or_default() {
            found.push(Err(IN_VAIN));
            in_vain.push(print_of(&shipped(after)));
        }
    }
    found.extend(steps.into_values().flatten().map(|_| Err(BEHIND)));
    Ok(found)
}

/// Why a change is not brought about.
fn no_way(change: &Change) -> &'static str {
    match change {
        Change::Relook => "a role ends while nothing is there that could end it in a whole peer",
        Change::Join(..) => {
            "an epoch is joined while discovery and synchronisation do not lead a whole peer there"
        }
        Change::Step(ActorInput::Notification { .. }) => {
            "a message of a voter after which a whole peer does more"
        }
        Change::Step(_) | Change::Start | Change::Crash => "a whole peer does more",
        Change::Send(_) | Change::Clear | Change::Spend(_) => "it is no change of a server",
    }
}

/// How a whole peer takes a step of the model.
struct Way {
    edges: Vec<u32>,
    /// The peer behind it.
    host: Host<Tree>,
    /// Whether that has the model's actor, and nothing more has happened to it.
    arrives: bool,
}

/// Finds it. `running` is none before the first start.
fn way(
    graph: &mut Graph,
    host: &Host<Tree>,
    running: Option<bool>,
    change: &Change,
    after: &Server,
) -> anyhow::Result<Option<Way>> {
    if matches!(change, Change::Crash) || (matches!(change, Change::Start) && running.is_none()) {
        // The process starts in the same event that ends it; of its first start each walk is a witness.
        let arrives = !after.is_up() || is_as(host, after);
        return Ok(Some(Way { edges: Vec::new(), host: host.clone(), arrives }));
    }
    for events in candidates(host, change, after) {
        let mut changed = host.clone();
        let mut taken: Vec<(Print, HostEvent<Tree>, Print, _)> = Vec::new();
        for event in events {
            let before = print(&changed);
            let happened = changed.step(&event).map_err(broken)?;
            taken.push((before, event, print(&changed), happened.net));
        }
        let arrives = is_as(&changed, after);
        if arrives || goes_on(host, &changed, change, after) {
            let edges = taken.iter().map(|(before, event, to, net)| graph.step(*before, event, *to, net));
            return Ok(Some(Way { edges: edges.collect(), host: changed, arrives }));
        }
    }
    Ok(None)
}

/// Whether a peer has the actor, the timers and the vote of this server of the model.
fn is_as(host: &Host<Tree>, server: &Server) -> bool {
    let [resend, finalize] = server.timers();
    let own = server.own();
    server.actor() == Some(host.peer().election())
        && host.has_timer(Timer::Resend) == resend
        && host.has_timer(Timer::Finalize) == finalize
        && host.peer().zab().rank().0 == own.epoch
        && Some(host.state().last_processed()) == own.zxid
}

/// Whether the step of the actor is the first that a peer takes of several: what a voter says may show a role to be in
/// vain, and then the peer goes on to look for another one at once (rule E-15).
fn goes_on(before: &Host<Tree>, changed: &Host<Tree>, change: &Change, after: &Server) -> bool {
    let (Change::Step(ActorInput::Notification { .. }), Some(actor)) = (change, after.actor()) else {
        return false;
    };
    let mut actor = actor.clone();
    let mut nobody = Nobody;
    actor.step(ActorInput::Look(after.own()), &mut nobody);
    before.peer().zab().role().is_some() && *changed.peer().election() == actor
}

/// Who does nothing of what an election asks for.
struct Nobody;

impl protocol::election::Effects for Nobody {
    fn notify(&mut self, _: ServerId, _: &protocol::Notification) {}

    fn elected(&mut self, _: ServerId) {}

    fn set_timer(&mut self, _: Timer) {}

    fn cancel_timer(&mut self, _: Timer) {}

    fn note(&mut self, _: protocol::Note) {}
}

/// What may bring a change about, the likeliest first.
fn candidates(host: &Host<Tree>, change: &Change, after: &Server) -> Vec<Vec<HostEvent<Tree>>> {
    let one = |event| vec![vec![event]];
    match change {
        Change::Step(ActorInput::Notification { from, notification }) => {
            one(HostEvent::Input(Input::Notification { from: *from, notification: *notification }))
        }
        Change::Step(ActorInput::LinkDown(of)) => one(HostEvent::Input(Input::ElectionLinkDown(*of))),
        Change::Step(ActorInput::Timer(timer)) => one(HostEvent::Timer(*timer)),
        Change::Start => one(HostEvent::Crash(Keep::ALL)),
        Change::Relook => ends_of_a_role(host),
        Change::Join(epoch, zxid) => match host.peer().zab().role() {
            Some((Role::Leading, _)) => vec![established(host, *epoch)],
            Some((Role::Following(leader) | Role::Observing(leader), _)) => {
                vec![joined(leader, *epoch, zxid.unwrap_or(Zxid::ZERO))]
            }
            None => Vec::new(),
        },
        Change::Step(ActorInput::Look(_) | ActorInput::Established(_) | ActorInput::Stopped)
        | Change::Crash
        | Change::Send(_)
        | Change::Clear
        | Change::Spend(_) => unreachable!("{change:?} comes to {after:?} in no model"),
    }
}

/// A role ends when one of its timers fires, or a link is lost.
fn ends_of_a_role(host: &Host<Tree>) -> Vec<Vec<HostEvent<Tree>>> {
    let of_election = |timer: &Timer| matches!(timer, Timer::Resend | Timer::Finalize);
    let timers = host.timers().filter(|timer| !of_election(timer)).map(HostEvent::Timer);
    let others = host.config().zab.quorum.voters().filter(|voter| *voter != host.id());
    let losses = others.map(|other| HostEvent::Input(Input::Disconnected(other)));
    timers.chain(losses).map(|event| vec![event]).collect()
}

fn said(from: ServerId, message: Message<Txn>) -> HostEvent<Tree> {
    HostEvent::Read(from, Wire::Packet(Packet::Zab(message)))
}

/// A follower without anything, with which it is a quorum, joins a leader, which establishes this epoch.
fn established(host: &Host<Tree>, epoch: Epoch) -> Vec<HostEvent<Tree>> {
    let (me, quorum) = (host.id(), &host.config().zab.quorum);
    let Some(follower) = quorum.voters().find(|voter| *voter != me && quorum.decides(&[me, *voter])) else {
        return Vec::new();
    };
    let promised = Epoch(epoch.0.saturating_sub(1));
    let nothing = Message::AckEpoch { current: Some(Epoch(0)), last: Zxid::ZERO, floor: Zxid::ZERO };
    vec![
        HostEvent::Input(Input::Accepted(follower)),
        said(follower, Message::FollowerInfo { accepted: promised, extended: true }),
        said(follower, nothing),
        said(follower, Message::Ack { zxid: epoch.start() }),
    ]
}

/// A leader that has established this epoch with a history through `last` takes a follower in.
fn joined(leader: ServerId, epoch: Epoch, last: Zxid) -> Vec<HostEvent<Tree>> {
    vec![
        HostEvent::Input(Input::Connected(leader)),
        said(leader, Message::LeaderInfo { epoch, extended: true }),
        HostEvent::Read(leader, Wire::Snapshot { last, state: Box::new(state_through(last)) }),
        said(leader, Message::NewLeader { epoch }),
    ]
}
