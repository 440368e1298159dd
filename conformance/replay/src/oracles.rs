//! The steps of the `zab` model, taken by whole peers.
//!
//! A server of that model is the actor of Zab alone: an oracle tells it of a leader, and its transactions are numbers.
//! Here a whole peer is around it. The oracle's word is the votes that bring the peer's election to it; transaction *n*
//! opens session *n*, and the learner by which a leader is asked for it is one of those that have joined; the state
//! that holds some transactions is the tree in which they have been applied. Everything else is the same event for
//! both.
//!
//! What comes of it is compared: the whole actor of Zab, field by field, its timers, the state, what is on disk with and
//! without what a crash may take, and all that goes to other servers, in order. Then the events are steps of a whole peer
//! like any other.
//!
//! A search takes situations that differ only in the names of servers for one, and so do the steps here: of the servers
//! that are alike but for the names, one stands for all.
//!
//! The shell tells of a learner's link with its first packet. So a link that has said nothing is kept back here: the
//! peer goes on without it, and is told of it when the packet is read. The steps that a server takes meanwhile are none
//! of the model's, though what comes of them may be.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use anyhow::{Context, ensure};
use checker::{
    engine::Model as _,
    zab::{Change, Part as Piece, Zab},
};
use protocol::{
    Message, Notification, ServerState, Timer, Vote, peer,
    peer::{Input, Op, Packet, Request},
    zab::{self, Input as ActorInput},
};
use serde_json::Value;
use spec::{ClientId, Epoch, Machine as _, ServerId, SessionId, Zxid};
use tree::{Identity, Settings, Tree, Txn, TxnBody, TxnDigest, Watches, digest};
use world::{
    DiskPace, Event, Frame, Host, HostEvent, Keep, Left, NetChange, Outcome, Pace, Server, Wire,
    renamed_timer,
};

use crate::{
    elections::Part,
    graph::{Graph, LATE, Print, Root, broken, exhausted, print, print_of},
};

/// A tick of the peers, and the timeout of their sessions, in milliseconds.
const TICK_MS: u32 = 1000;
const TIMEOUT_MS: i32 = 2000;

/// Why a leader is not asked that decides alone.
const ALONE: &str = "a leader without learners is asked by its own clients only, and behind a crash it names their sessions \
                     otherwise than the model numbers its transactions";
/// Why a step is not taken behind one for which there is no way.
const BEHIND: &str = "a server that comes of such a step alone, and what it does";
/// Why the steps of a row are not taken in which searches of the log take their time and nothing else does.
const SEARCHES: &str = "a server's searches of its log end in the order in which it asked, and not while all else is done at once";
/// Why a step is not taken that comes to something else.
const OTHERWISE: &str = "a whole peer does something else";

/// Under what names servers stand for each other.
type Names = BTreeMap<ServerId, ServerId>;

/// Adds what takes the steps of a search of the `zab` model: the steps of whole peers, and for each distinct step of the
/// model those that it comes to.
///
/// # Errors
/// As [`Graph::add_row`].
pub fn add(graph: &mut Graph, model: &Zab) -> anyhow::Result<Vec<Part>> {
    let search = exhausted(model)?;
    let classes = Classes { names: model.renamings().collect() };
    let mut steps: HashMap<u128, BTreeMap<u128, Event>> = HashMap::new();
    let mut known = HashMap::new();
    for step in search.steps() {
        let (Piece::Server(before), Change::Server(event)) = (step.before, step.change) else { continue };
        let (class, ways) = known.entry(std::ptr::from_ref(&**before)).or_insert_with(|| classes.of(before));
        let renamed = ways.iter().map(|way| renamed_event(event, &classes.names[*way]));
        let least = renamed.map(|event| (print_of(&event), event)).min_by_key(|(key, _)| *key);
        let (key, event) = least.context("a server has a name")?;
        steps.entry(*class).or_default().insert(key, event);
    }
    drop(known);
    if model.settings().disk == DiskPace::Searching {
        return Ok(steps.into_values().flat_map(BTreeMap::into_values).map(|_| Err(SEARCHES)).collect());
    }
    Walker { graph, model, classes, found: Vec::new(), queue: VecDeque::new() }.walk(steps)
}

/// Which servers are the same but for the names.
struct Classes {
    names: Vec<Names>,
}

impl Classes {
    /// The class of a server, and the renamings, by number, that make it the one that stands for the class.
    fn of(&self, server: &Server) -> (u128, Vec<usize>) {
        let print = |names: &Names| print_of_server(&server.renamed(|id| names[&id]));
        let prints: Vec<_> = self.names.iter().map(print).collect();
        let least = prints.iter().copied().min().unwrap_or_default();
        let ways = (0..prints.len()).filter(|way| prints[*way] == least).collect();
        (least, ways)
    }

    /// The names by which the one that stands for the class of a server becomes that server, and an event its own.
    fn back(&self, server: &Server) -> Names {
        let (_, ways) = self.of(server);
        self.names[ways[0]].iter().map(|(from, to)| (*to, *from)).collect()
    }
}

/// All that decides what a server of the model does.
fn print_of_server(server: &Server) -> u128 {
    let timers: Vec<_> = server.timers().collect();
    print_of(&(server.id, server.zab(), server.state(), timers, server.disk()))
}

fn renamed_event(event: &Event, names: &Names) -> Event {
    let name = |id: &ServerId| names[id];
    match event {
        Event::Input(input) => Event::Input(match input {
            ActorInput::Elected(leader) => ActorInput::Elected(name(leader)),
            ActorInput::Connected(to) => ActorInput::Connected(name(to)),
            ActorInput::Accepted(from) => ActorInput::Accepted(name(from)),
            ActorInput::Disconnected(from) => ActorInput::Disconnected(name(from)),
            ActorInput::Propose(_)
            | ActorInput::Message { .. }
            | ActorInput::Snapshot { .. }
            | ActorInput::Timer(_)
            | ActorInput::Done(_)
            | ActorInput::Located { .. }
            | ActorInput::Reloaded(_) => input.clone(),
        }),
        Event::Frame(from, frame) => Event::Frame(name(from), frame.clone()),
        Event::Timer(timer) => Event::Timer(renamed_timer(*timer, &|id| name(&id))),
        Event::Disk(_) | Event::Crash(_) => event.clone(),
    }
}

/// A server of the model, and the whole peer that is it, but for the links that have said nothing.
struct Place {
    class: u128,
    server: Server,
    host: Host<Tree>,
    silent: BTreeSet<ServerId>,
}

/// What takes the steps, as they are found from the first starts on.
struct Walker<'a> {
    graph: &'a mut Graph,
    model: &'a Zab,
    classes: Classes,
    found: Vec<Part>,
    queue: VecDeque<Place>,
}

impl Walker<'_> {
    fn walk(mut self, mut steps: HashMap<u128, BTreeMap<u128, Event>>) -> anyhow::Result<Vec<Part>> {
        let mut reached = HashSet::new();
        for piece in self.model.initial() {
            let Piece::Server(server) = piece else { continue };
            let (class, _) = self.classes.of(&server);
            if reached.insert(class) {
                let host = self.first(&server)?;
                self.queue.push_back(Place { class, server: *server, host, silent: BTreeSet::new() });
            }
        }
        while let Some(place) = self.queue.pop_front() {
            let back = self.classes.back(&place.server);
            for event in steps.remove(&place.class).unwrap_or_default().into_values() {
                let event = renamed_event(&event, &back);
                let mut after = place.server.clone();
                let outcome = after.step(self.model.settings(), &event).map_err(broken)?;
                let (class, _) = self.classes.of(&after);
                match take(&place, &event, &after, &outcome)? {
                    Err(why) => self.found.push(Err(why)),
                    Ok(Taken { steps, host, silent, is_exact, greeting }) => {
                        let mut edge =
                            |(before, event, to, net): &Move| self.graph.step(*before, event, *to, net);
                        let edges: Vec<_> = steps.iter().map(&mut edge).collect();
                        if let Some(greeting) = greeting {
                            edge(&greeting);
                        }
                        self.found.push(if is_exact { Ok(edges) } else { Err(LATE) });
                        if reached.insert(class) {
                            self.queue.push_back(Place { class, server: after, host, silent });
                        }
                    }
                }
            }
        }
        self.found.extend(steps.into_values().flat_map(BTreeMap::into_values).map(|_| Err(BEHIND)));
        Ok(self.found)
    }

    /// The whole peer that starts for the first time, and has come to look for a leader.
    fn first(&mut self, server: &Server) -> anyhow::Result<Host<Tree>> {
        let settings = self.model.settings();
        let root = Root {
            servers: settings.servers().count(),
            config: config(server.id, settings),
            pace: match settings.disk {
                DiskPace::Eager => Pace::Eager,
                DiskPace::Searching | DiskPace::Lagging => Pace::Async,
            },
            left: Left {
                snapshot: Some((Zxid::ZERO, Tree::default().into())),
                log: Vec::new(),
                accepted: Epoch(0),
                current: Epoch(0),
            },
        };
        let mut host = root.boot()?;
        self.graph.root(root, &host);
        while let Some(ticket) = host.disk().may_finish().first().copied() {
            let (before, event) = (print(&host), HostEvent::Disk(ticket));
            let happened = host.step(&event).map_err(broken)?;
            self.graph.step(before, &event, print(&host), &happened.net);
        }
        ensure!(
            is_as(&host, server)?,
            "a whole peer starts as something else: {}",
            difference(&host, server)?
        );
        Ok(host)
    }
}

fn config(me: ServerId, settings: &world::Settings) -> peer::Config<Settings> {
    let world::Settings { quorum, window, log_sync, counter_max, .. } = settings;
    peer::Config {
        zab: zab::Config {
            me,
            quorum: quorum.clone(),
            window: *window,
            log_sync: *log_sync,
            counter_max: *counter_max,
        },
        tick_ms: TICK_MS,
        session_timeout_min_ms: TIMEOUT_MS,
        session_timeout_max_ms: TIMEOUT_MS,
        first_session: session(1),
        settings: Settings::default(),
        sweep_max: 0,
        read_only: false,
    }
}

/// A step of a whole peer: the peer before, what happens to it, the peer behind, and what it asks of the network.
type Move = (Print, HostEvent<Tree>, Print, Vec<NetChange<Wire<Tree>>>);

/// How a whole peer takes a step of the model.
struct Taken {
    steps: Vec<Move>,
    /// The peer behind it.
    host: Host<Tree>,
    /// The learners whose links have said nothing.
    silent: BTreeSet<ServerId>,
    /// Whether it is the step of the model, and not that of a server which has not heard of a link.
    is_exact: bool,
    /// If it is a link that comes up: what its learner says first, with which the shell tells of it.
    greeting: Option<Move>,
}

/// A whole peer on its way.
struct Going {
    host: Host<Tree>,
    steps: Vec<Move>,
}

impl Going {
    fn from(place: &Place) -> Self {
        Self { host: place.host.clone(), steps: Vec::new() }
    }

    fn take(&mut self, event: HostEvent<Tree>) -> anyhow::Result<()> {
        let before = print(&self.host);
        let happened = self.host.step(&event).map_err(broken)?;
        self.steps.push((before, event, print(&self.host), happened.net));
        Ok(())
    }
}

/// What a step of the model comes to for a whole peer: events, and the learners whose links have said nothing then.
type Candidate = (Vec<HostEvent<Tree>>, BTreeSet<ServerId>);

/// Has the whole peer take a step of the model, or tells why it does not.
fn take(
    place: &Place,
    event: &Event,
    after: &Server,
    outcome: &Outcome,
) -> anyhow::Result<Result<Taken, &'static str>> {
    for (events, silent) in candidates(place, event) {
        let mut going = Going::from(place);
        for event in events {
            going.take(event)?;
        }
        if let Some(taken) = arrived(place, event, (after, outcome), going, silent)? {
            return Ok(Ok(taken));
        }
    }
    let is_alone = place.host.peer().zab().joined_learners().next().is_none();
    Ok(Err(if !hears_all(place, event) {
        LATE
    } else if is_alone && matches!(event, Event::Input(ActorInput::Propose(_))) {
        ALONE
    } else {
        OTHERWISE
    }))
}

/// Whether a server of the model has been told no more than the whole peer: no link has said nothing, or this is the
/// first packet of the only one.
fn hears_all(place: &Place, event: &Event) -> bool {
    place.silent.is_empty() || matches!(event, Event::Frame(from, _) if place.silent.iter().eq([from]))
}

/// What may bring a step about, the likeliest first.
fn candidates(place: &Place, event: &Event) -> Vec<Candidate> {
    let Place { host, silent, .. } = place;
    let without = |learner: &ServerId| {
        let mut left = silent.clone();
        left.remove(learner).then_some(left)
    };
    // The link that has said nothing may have taken the place of one that the peer knows.
    let gone = |learner: &ServerId, left: BTreeSet<ServerId>| {
        let event = HostEvent::Input(Input::Disconnected(*learner));
        vec![(Vec::new(), left.clone()), (vec![event], left)]
    };
    let events = match event {
        Event::Input(ActorInput::Accepted(learner)) if host.leads() => {
            let mut all = silent.clone();
            all.insert(*learner);
            // With an older link of this learner the leader may lose its quorum, and then gives up all of them.
            let lost = vec![HostEvent::Input(Input::Accepted(*learner))];
            return vec![(Vec::new(), all), (lost, BTreeSet::new())];
        }
        Event::Input(ActorInput::Disconnected(learner)) | Event::Timer(Timer::Handshake(learner))
            if let Some(left) = without(learner) =>
        {
            return gone(learner, left);
        }
        Event::Frame(learner, frame) if let Some(left) = without(learner) => {
            let link = HostEvent::Input(Input::Accepted(*learner));
            return vec![(vec![link, HostEvent::Read(*learner, wire(frame))], left)];
        }
        Event::Input(ActorInput::Elected(leader)) => {
            words(host, *leader).into_iter().map(HostEvent::Input).collect()
        }
        Event::Input(ActorInput::Propose(number)) => {
            let learner = host.peer().zab().joined_learners().next();
            vec![learner.map_or_else(|| client(*number), |learner| asked(learner, *number))]
        }
        Event::Frame(from, frame) => vec![HostEvent::Read(*from, wire(frame))],
        Event::Input(input) => vec![HostEvent::Input(told(input))],
        Event::Timer(timer) => vec![HostEvent::Timer(*timer)],
        Event::Disk(ticket) => vec![HostEvent::Disk(*ticket)],
        Event::Crash(keep) => vec![HostEvent::Crash(*keep)],
    };
    // A role that is lost takes all links with it.
    vec![(events.clone(), silent.clone()), (events, BTreeSet::new())]
}

/// What has become of the whole peer, if that is what has become of the server of the model.
fn arrived(
    place: &Place,
    event: &Event,
    (after, outcome): (&Server, &Outcome),
    going: Going,
    silent: BTreeSet<ServerId>,
) -> anyhow::Result<Option<Taken>> {
    let Going { host, mut steps } = going;
    // All links are there in the model.
    let is_exact = hears_all(place, event);
    let mut whole = Going { host: host.clone(), steps: Vec::new() };
    for learner in &silent {
        whole.take(HostEvent::Input(Input::Accepted(*learner)))?;
    }
    let Going { host: whole, steps: links } = whole;
    if is_exact {
        steps.extend(links);
    }
    let hears = silent.is_empty() || whole.leads();
    if !hears || !is_as(&whole, after)? {
        return Ok(None);
    }
    let sent = steps.iter().flat_map(|(.., net)| net.iter().cloned());
    if is_exact && !sent.eq(outcome.net.iter().map(asked_of_net)) {
        return Ok(None);
    }
    let mut greeting = None;
    if let (true, Some(learner)) = (is_exact, silent.first()) {
        let mut greeted = Going { host: whole, steps: Vec::new() };
        greeted.take(introduction(&host, *learner))?;
        greeting = greeted.steps.pop();
    }
    Ok(Some(Taken { steps, host, silent, is_exact, greeting }))
}

/// What a learner begins with.
fn introduction(host: &Host<Tree>, learner: ServerId) -> HostEvent<Tree> {
    let accepted = host.peer().zab().accepted();
    let message = if host.config().zab.quorum.is_voter(learner) {
        Message::FollowerInfo { accepted, extended: true }
    } else {
        Message::ObserverInfo { accepted, extended: true }
    };
    HostEvent::Read(learner, Wire::Packet(Packet::Zab(message)))
}

/// What others say until the election has this result.
fn words(host: &Host<Tree>, leader: ServerId) -> Vec<Input<Tree>> {
    let (me, quorum, election) = (host.id(), &host.config().zab.quorum, host.peer().election());
    let (state, vote) = match election.offer() {
        // It proposes itself, and the others do too.
        Some(own) if leader == me => (ServerState::Looking, own),
        // The leader has joined a later epoch.
        Some(own) if quorum.is_voter(me) => {
            let epoch = own.epoch.checked_next().unwrap_or(own.epoch);
            (ServerState::Looking, Vote { epoch, leader, ..own })
        }
        // It asks, and is told.
        own => {
            let epoch = own.map_or(Epoch(0), |own| own.epoch);
            (ServerState::Following, Vote { epoch, zxid: Some(Zxid::ZERO), leader })
        }
    };
    let others = quorum.voters().filter(|voter| *voter != me && *voter != leader);
    let all = (leader != me).then_some(leader).into_iter().chain(others);
    let said = all.map(|from| {
        let leads = from == leader && state == ServerState::Following;
        let state = if leads { ServerState::Leading } else { state };
        Input::Notification { from, notification: Notification { state, vote, round: election.round() } }
    });
    said.collect()
}

/// A transaction of the model.
fn txn(number: world::Txn) -> Txn {
    let (session, body) = (session(number), TxnBody::CreateSession { timeout_ms: TIMEOUT_MS });
    // Sessions are not in the digest: it stays that of the tree without a node.
    let digest = Some(TxnDigest { version: digest::VERSION, tree: Tree::new().digest() });
    Txn { session, cxid: 0, time: 0, body, digest }
}

fn session(number: world::Txn) -> SessionId {
    SessionId(i64::from(number))
}

/// A client of this learner asks for the session that a transaction opens.
fn asked(learner: ServerId, number: world::Txn) -> HostEvent<Tree> {
    let op = Op::CreateSession { timeout_ms: TIMEOUT_MS };
    let request = Request { session: session(number), xid: 0, identities: Vec::new(), op };
    HostEvent::Read(learner, Wire::Packet(Packet::Request(request)))
}

/// A client of a leader without learners asks for a session, which the leader names itself: the first one after a start
/// of the process as the model's first transaction.
fn client(number: world::Txn) -> HostEvent<Tree> {
    HostEvent::Input(Input::ClientConnect {
        client: ClientId(u64::from(number)),
        identities: vec![Identity { scheme: "ip".into(), id: "127.0.0.1".into() }],
        session: SessionId(0),
        password: [0; 16],
        timeout_ms: TIMEOUT_MS,
        last_seen: Zxid::ZERO,
        read_only: false,
        time: 0,
    })
}

/// The state in which these have been applied.
fn state(txns: &[world::Logged]) -> Tree {
    let mut state = Tree::default();
    for (zxid, number) in txns {
        state.apply(*zxid, &txn(*number), &mut Watches::default(), &mut |_, _| {});
    }
    state
}

fn told(input: &ActorInput<world::Txn>) -> Input<Tree> {
    match input {
        ActorInput::Connected(to) => Input::Connected(*to),
        ActorInput::Accepted(from) => Input::Accepted(*from),
        ActorInput::Disconnected(peer) => Input::Disconnected(*peer),
        ActorInput::Elected(_)
        | ActorInput::Propose(_)
        | ActorInput::Message { .. }
        | ActorInput::Snapshot { .. }
        | ActorInput::Timer(_)
        | ActorInput::Done(_)
        | ActorInput::Located { .. }
        | ActorInput::Reloaded(_) => unreachable!("{input:?} happens to no server of the model in this form"),
    }
}

fn wire(frame: &Frame) -> Wire<Tree> {
    match frame {
        Frame::Packet(message) => Wire::Packet(Packet::Zab(with_txn(message))),
        Frame::Snapshot { last, state: held } => Wire::Snapshot { last: *last, state: Box::new(state(held)) },
    }
}

fn with_txn(message: &Message<world::Txn>) -> Message<Txn> {
    match *message {
        Message::FollowerInfo { accepted, extended } => Message::FollowerInfo { accepted, extended },
        Message::ObserverInfo { accepted, extended } => Message::ObserverInfo { accepted, extended },
        Message::LeaderInfo { epoch, extended } => Message::LeaderInfo { epoch, extended },
        Message::AckEpoch { current, last, floor } => Message::AckEpoch { current, last, floor },
        Message::Diff { last } => Message::Diff { last },
        Message::Trunc { last } => Message::Trunc { last },
        Message::Proposal { zxid, txn: number } => Message::Proposal { zxid, txn: txn(number) },
        Message::Commit { zxid } => Message::Commit { zxid },
        Message::Inform { zxid, txn: number } => Message::Inform { zxid, txn: txn(number) },
        Message::NewLeader { epoch } => Message::NewLeader { epoch },
        Message::Ack { zxid } => Message::Ack { zxid },
        Message::UpToDate => Message::UpToDate,
    }
}

fn asked_of_net(change: &NetChange) -> NetChange<Wire<Tree>> {
    match change {
        NetChange::Send(to, frame) => NetChange::Send(*to, wire(frame)),
        NetChange::Dial(to) => NetChange::Dial(*to),
        NetChange::Close(peer) => NetChange::Close(*peer),
        NetChange::Refuse(from) => NetChange::Refuse(*from),
    }
}

/// Whether a whole peer has the actor of Zab, the timers, the state and the disk of this server of the model.
fn is_as(host: &Host<Tree>, server: &Server) -> anyhow::Result<bool> {
    let of_zab = |timer: &Timer| matches!(timer, Timer::Establish | Timer::Handshake(_) | Timer::Silence(_));
    Ok(host.timers().filter(of_zab).eq(server.timers())
        && *host.state() == state(server.state())
        && on_disk(host, server)
        && actor(host.peer().zab())? == serde_json::to_value(server.zab())?)
}

fn on_disk(host: &Host<Tree>, server: &Server) -> bool {
    let (theirs, ours) = (host.disk(), server.disk());
    let kept = |keep| {
        let (theirs, ours) = (theirs.left(keep), ours.left(keep));
        let (label, held) = theirs.snapshot.unwrap_or_default();
        let (of_model, txns) = ours.snapshot.unwrap_or_default();
        let log = ours.log.iter().map(|record| record.map(|(zxid, number)| (zxid, txn(number))));
        label == of_model
            && *held == state(&txns)
            && theirs.log.into_iter().eq(log)
            && (theirs.accepted, theirs.current) == (ours.accepted, ours.current)
    };
    theirs.may_finish() == ours.may_finish()
        && theirs.epochs() == ours.epochs()
        && kept(Keep::ALL)
        && kept(Keep::default())
}

/// An actor of Zab as it is written down, each transaction by the number that it has in the model.
fn actor(zab: &zab::Zab<Txn>) -> anyhow::Result<Value> {
    fn number(value: &mut Value) {
        match value {
            Value::Object(fields) => match (fields.contains_key("cxid"), fields.get("session")) {
                (true, Some(session)) => *value = session.clone(),
                _ => fields.values_mut().for_each(number),
            },
            Value::Array(values) => values.iter_mut().for_each(number),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut value = serde_json::to_value(zab)?;
    number(&mut value);
    Ok(value)
}

/// What tells them apart, for whoever looks into it.
fn difference(host: &Host<Tree>, server: &Server) -> anyhow::Result<String> {
    let timers: Vec<_> = host.timers().collect();
    let of_model: Vec<_> = server.timers().collect();
    Ok(format!(
        "\n{}\n{}\n{timers:?}\n{of_model:?}\n{}\n{:?}\n{:?}\n{:?}",
        actor(host.peer().zab())?,
        serde_json::to_value(server.zab())?,
        host.state().last_processed(),
        server.state(),
        host.disk(),
        server.disk()
    ))
}
