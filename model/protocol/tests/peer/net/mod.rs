//! A few peers and the least world that lets them work: queues for links, a disk that ends what it is asked in order,
//! timers that fire when a test says so, clients that remember what they were told.
pub(crate) mod chance;
mod out;
pub(crate) mod recorded;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(crate) use out::Wire;
use out::{Disk, Effect, Out};
use protocol::{
    Message, Note, Notification, Peer, Quorum, Recovered, Role, Ticket, Timer,
    peer::{ClientRequest, Config, Input, Packet},
    zab,
};
use spec::{ClientId, Epoch, Machine, ServerId, SessionId, Zxid};

/// A machine that tests can make and print.
pub(crate) trait Subject: Machine + Clone + Default {
    fn show(answer: &Self::Answer<'_>) -> String;
}

/// What a client was told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Said {
    Accepted { session: SessionId, timeout_ms: i32, password: [u8; 16], read_only: bool },
    Refused,
    Closed,
    Reply { xid: i32, zxid: Zxid, answer: String },
    Event { zxid: Zxid, event: String },
}

/// Something that can happen now.
#[derive(Clone, Copy)]
pub(crate) enum Choice {
    Broken(usize),
    Disk(ServerId),
    Mesh(ServerId, ServerId),
    Link(ServerId, ServerId),
    Dial(ServerId, ServerId),
}

pub(crate) struct Node<M: Machine> {
    pub(crate) peer: Peer<M>,
    pub(crate) machine: M,
    /// The timers that are set, and since when.
    pub(crate) timers: BTreeMap<Timer, u64>,
    pub(crate) role: Option<Role>,
    pub(crate) serving: bool,
    busy: VecDeque<(Ticket, Disk<M>)>,
    reloading: bool,
    disk: Durable<M>,
}

#[derive(Clone)]
struct Durable<M: Machine> {
    accepted: Epoch,
    current: Epoch,
    snapshot: (Zxid, M),
    log: Vec<(Zxid, M::Txn)>,
}

impl<M: Subject> Durable<M> {
    fn recover(&self) -> (Recovered<M::Txn>, M) {
        let (label, mut machine) = self.snapshot.clone();
        let tail: Vec<_> = self.log.iter().filter(|(zxid, _)| *zxid > label).cloned().collect();
        let mut watches = M::Watches::default();
        for (zxid, txn) in &tail {
            machine.apply(*zxid, txn, &mut watches, &mut |_, _| {});
        }
        let last = tail.last().map_or(label, |(zxid, _)| *zxid);
        let (accepted, current) = (self.accepted, self.current);
        (Recovered { accepted, current, floor: label, last, base: label, tail }, machine)
    }
}

/// The world.
pub(crate) struct Net<M: Machine> {
    pub(crate) nodes: BTreeMap<ServerId, Node<M>>,
    pub(crate) notes: Vec<(ServerId, Note)>,
    down: BTreeMap<ServerId, Durable<M>>,
    voters: u64,
    window: usize,
    counter_max: u32,
    pub(crate) settings: M::Settings,
    pub(crate) sweep_max: usize,
    /// Whether servers that find no leader serve clients that only read.
    pub(crate) read_only: bool,
    /// The clock that session ids are made from: one a start.
    pub(crate) starts: i64,
    /// What is on its way: from whom, to whom.
    pub(crate) links: BTreeMap<(ServerId, ServerId), VecDeque<Wire<M>>>,
    dials: BTreeSet<(ServerId, ServerId)>,
    broken: VecDeque<(ServerId, ServerId)>,
    /// Election messages under way: from whom, to whom.
    pub(crate) mesh: BTreeMap<(ServerId, ServerId), Notification>,
    /// Servers that do not say that they know our extensions, as Apache's do not.
    pub(crate) plain: BTreeSet<ServerId>,
    /// Pairs between which nothing gets through, and nobody knows.
    held: BTreeSet<(ServerId, ServerId)>,
    said: BTreeMap<ClientId, Vec<Said>>,
    homes: BTreeMap<ClientId, ServerId>,
    clients: u64,
    /// The time in milliseconds, for runs that keep one.
    pub(crate) now: u64,
}

pub(crate) const TICK_MS: u32 = 1000;

impl<M: Subject> Net<M> {
    /// This many servers, elected, established and quiet: the highest leads.
    pub(crate) fn new(servers: u64) -> Self {
        Self::observed(servers, 0)
    }

    /// This many voters, and observers whose numbers are behind theirs, elected, established and quiet: the highest
    /// voter leads.
    pub(crate) fn observed(voters: u64, observers: u64) -> Self {
        let mut net = Self::down(voters, observers, 100, u32::MAX - 1);
        for id in 1..=voters + observers {
            net.start(id);
        }
        net.pump();
        assert!(net.nodes.values().all(|node| node.serving), "the ensemble came up");
        net
    }

    /// This many voters and observers, none of them started, each of which keeps this many transactions in memory for
    /// others and proposes no more than this in an epoch.
    pub(crate) fn down(voters: u64, observers: u64, window: usize, counter_max: u32) -> Self {
        let mut net = Self {
            window,
            counter_max,
            settings: M::Settings::default(),
            sweep_max: 0,
            read_only: false,
            nodes: BTreeMap::new(),
            notes: Vec::new(),
            down: BTreeMap::new(),
            voters,
            starts: 0,
            links: BTreeMap::new(),
            dials: BTreeSet::new(),
            broken: VecDeque::new(),
            mesh: BTreeMap::new(),
            plain: BTreeSet::new(),
            held: BTreeSet::new(),
            said: BTreeMap::new(),
            homes: BTreeMap::new(),
            clients: 0,
            now: 0,
        };
        for id in 1..=voters + observers {
            let snapshot = (Zxid::ZERO, M::default());
            net.down.insert(
                ServerId(id),
                Durable { accepted: Epoch(0), current: Epoch(0), snapshot, log: Vec::new() },
            );
        }
        net
    }

    /// Starts a server that is down.
    pub(crate) fn start(&mut self, id: u64) {
        let id = ServerId(id);
        let disk = self.down.remove(&id).expect("the server is down");
        let (recovered, mut machine) = disk.recover();
        self.starts += 1;
        let config = Config {
            zab: zab::Config {
                me: id,
                quorum: Quorum::majority((1..=self.voters).map(ServerId)),
                window: self.window,
                log_sync: false,
                counter_max: self.counter_max,
            },
            tick_ms: TICK_MS,
            session_timeout_min_ms: 2000,
            session_timeout_max_ms: 20_000,
            first_session: SessionId(i64::try_from(id.0).expect("small") << 56 | self.starts << 24),
            settings: self.settings.clone(),
            sweep_max: self.sweep_max,
            read_only: self.read_only,
        };
        let mut out = Out(Vec::new());
        let peer = Peer::boot(config, recovered, &mut machine, &mut out);
        let node = Node {
            peer,
            machine,
            timers: BTreeMap::new(),
            role: None,
            serving: false,
            busy: VecDeque::new(),
            reloading: false,
            disk,
        };
        self.nodes.insert(id, node);
        self.carry_out(id, out.0);
    }

    /// The process ends; what its disk had not finished is lost. The others notice.
    pub(crate) fn crash(&mut self, id: u64) {
        let id = ServerId(id);
        let node = self.nodes.remove(&id).expect("the server is up");
        self.down.insert(id, node.disk);
        let others: Vec<_> = self.nodes.keys().copied().collect();
        self.dials.retain(|(from, to)| *from != id && *to != id);
        self.mesh.retain(|(from, to), _| *from != id && *to != id);
        for other in &others {
            self.unlink(id, *other);
        }
        self.broken.retain(|(at, _)| *at != id);
        for (client, home) in &self.homes {
            if *home == id {
                self.said.entry(*client).or_default().push(Said::Closed);
            }
        }
        self.homes.retain(|_, home| *home != id);
        for other in others {
            self.step(other, Input::ElectionLinkDown(id));
        }
    }

    /// From now on nothing gets through between these two, and nobody knows.
    pub(crate) fn hold(&mut self, a: u64, b: u64) {
        self.held.insert(pair(ServerId(a), ServerId(b)));
    }

    /// What was held goes on.
    pub(crate) fn release(&mut self, a: u64, b: u64) {
        self.held.remove(&pair(ServerId(a), ServerId(b)));
    }

    /// Breaks the link between these two, and both notice.
    pub(crate) fn cut(&mut self, a: u64, b: u64) {
        let (a, b) = (ServerId(a), ServerId(b));
        if self.unlink(a, b) {
            self.broken.push_back((a, b));
        }
    }

    /// Fires a timer that must be set.
    pub(crate) fn fire(&mut self, id: u64, timer: Timer) {
        let id = ServerId(id);
        let set = self.node_mut(id).timers.remove(&timer);
        assert!(set.is_some(), "{timer:?} is not set at {id}");
        self.step(id, Input::Timer { timer, time: 0 });
    }

    /// Ends elections that wait for better votes.
    pub(crate) fn finalize(&mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            if self.node_mut(id).timers.contains_key(&Timer::Finalize) {
                self.fire(id.0, Timer::Finalize);
            }
        }
        self.pump();
    }

    /// The leader by this server's account.
    pub(crate) fn node(&self, id: u64) -> &Node<M> {
        &self.nodes[&ServerId(id)]
    }

    /// The server that leads and serves.
    pub(crate) fn leader(&self) -> u64 {
        let mut leaders =
            self.nodes.iter().filter(|(_, node)| node.serving && node.role == Some(Role::Leading));
        let (id, _) = leaders.next().expect("somebody leads");
        assert!(leaders.next().is_none(), "one leads");
        id.0
    }

    /// A client asks for a new session of this many milliseconds, or to go on with one.
    pub(crate) fn connect(
        &mut self,
        server: u64,
        session: SessionId,
        password: [u8; 16],
        timeout_ms: i32,
        last_seen: Zxid,
    ) -> ClientId {
        self.connect_as(server, (session, password), timeout_ms, last_seen, false)
    }

    /// The same for a client that goes without writing while there is no leader, if it `reads_only`.
    pub(crate) fn connect_as(
        &mut self,
        server: u64,
        (session, password): (SessionId, [u8; 16]),
        timeout_ms: i32,
        last_seen: Zxid,
        reads_only: bool,
    ) -> ClientId {
        self.clients += 1;
        let client = ClientId(self.clients);
        self.homes.insert(client, ServerId(server));
        self.said.insert(client, Vec::new());
        self.step(
            ServerId(server),
            Input::ClientConnect {
                client,
                identities: Vec::new(),
                session,
                password,
                timeout_ms,
                last_seen,
                read_only: reads_only,
                time: 0,
            },
        );
        client
    }

    /// A new session, pumped through.
    pub(crate) fn open(&mut self, server: u64) -> (ClientId, SessionId, [u8; 16]) {
        let client = self.connect(server, SessionId(0), [0; 16], 5000, Zxid::ZERO);
        self.pump();
        match self.take(client).as_slice() {
            [Said::Accepted { session, timeout_ms: 5000, password, read_only: false }] => {
                (client, *session, *password)
            }
            other => panic!("no session: {other:?}"),
        }
    }

    /// Another connection for this session, pumped through.
    pub(crate) fn reopen(&mut self, server: u64, session: SessionId, password: [u8; 16]) -> ClientId {
        let client = self.connect(server, session, password, 5000, Zxid::ZERO);
        self.pump();
        let accepted = Said::Accepted { session, timeout_ms: 5000, password, read_only: false };
        assert_eq!(self.take(client), [accepted]);
        client
    }

    pub(crate) fn request(&mut self, client: ClientId, xid: i32, request: ClientRequest<M>) {
        let home = self.homes[&client];
        self.step(home, Input::ClientRequest { client, xid, request, time: 0 });
    }

    /// The client goes away without a word.
    pub(crate) fn hang_up(&mut self, client: ClientId) {
        let home = self.homes.remove(&client).expect("connected");
        self.step(home, Input::ClientClosed(client));
    }

    /// What the client was told since the last call.
    pub(crate) fn take(&mut self, client: ClientId) -> Vec<Said> {
        std::mem::take(self.said.entry(client).or_default())
    }

    /// Delivers everything that can be delivered, until all is quiet.
    pub(crate) fn pump(&mut self) {
        let mut refused = BTreeSet::new();
        for _ in 0..100_000 {
            let choices = self.deliverable();
            let next = choices.into_iter().find(|choice| match choice {
                Choice::Dial(from, to) => !refused.contains(&(*from, *to)),
                Choice::Broken(_) | Choice::Disk(_) | Choice::Mesh(..) | Choice::Link(..) => true,
            });
            match next {
                Some(Choice::Dial(from, to)) => {
                    if self.dial(from, to) {
                        refused.clear();
                    } else {
                        refused.insert((from, to));
                    }
                }
                Some(choice) => self.deliver_choice(choice),
                None => return,
            }
        }
        panic!("it does not come to rest");
    }

    /// Everything that could come next, except timers and faults.
    pub(crate) fn deliverable(&self) -> Vec<Choice> {
        let passes = |a: ServerId, b: ServerId| !self.held.contains(&pair(a, b));
        let up = |id: &ServerId| self.nodes.contains_key(id);
        let broken = (0..self.broken.len()).filter(|place| {
            let (at, by) = self.broken[*place];
            passes(at, by)
        });
        let disks = self.nodes.iter().filter(|(_, node)| !node.busy.is_empty() || node.reloading);
        let mesh = self.mesh.keys().filter(|(from, to)| up(to) && passes(*from, *to));
        let links = self.links.iter().filter(|((from, to), queue)| !queue.is_empty() && passes(*from, *to));
        let dials = self.dials.iter().filter(|(from, to)| up(to) && passes(*from, *to));
        broken
            .map(Choice::Broken)
            .chain(disks.map(|(id, _)| Choice::Disk(*id)))
            .chain(mesh.map(|(from, to)| Choice::Mesh(*from, *to)))
            .chain(links.map(|((from, to), _)| Choice::Link(*from, *to)))
            .chain(dials.map(|(from, to)| Choice::Dial(*from, *to)))
            .collect()
    }

    /// Lets one of these things happen.
    pub(crate) fn deliver_choice(&mut self, choice: Choice) {
        match choice {
            Choice::Broken(place) => {
                let (at, by) = self.broken.remove(place).expect("still there");
                self.step(at, Input::Disconnected(by));
            }
            Choice::Disk(id) => {
                self.work_disk(id);
            }
            Choice::Mesh(from, to) => {
                let notification = self.mesh.remove(&(from, to)).expect("still there");
                self.step(to, Input::Notification { from, notification });
            }
            Choice::Link(from, to) => {
                self.deliver(from, to);
            }
            Choice::Dial(from, to) => {
                self.dial(from, to);
            }
        }
    }

    /// Makes a link that was dialled. Returns whether it stays.
    fn dial(&mut self, from: ServerId, to: ServerId) -> bool {
        self.dials.remove(&(from, to));
        // Whatever was left of an older link with the same server is behind it.
        self.broken.retain(|gone| *gone != (to, from));
        self.links.insert((from, to), VecDeque::new());
        self.links.insert((to, from), VecDeque::new());
        self.step(to, Input::Accepted(from));
        let stays = self.links.contains_key(&(from, to));
        if stays {
            self.step(from, Input::Connected(to));
        }
        stays
    }

    /// Delivers the next packet from one to the other.
    fn deliver(&mut self, from: ServerId, to: ServerId) {
        match self.links.get_mut(&(from, to)).and_then(VecDeque::pop_front) {
            Some(Wire::Packet(mut packet)) => {
                if self.plain.contains(&from)
                    && let Packet::Zab(Message::FollowerInfo { extended, .. }) = &mut packet
                {
                    *extended = false;
                }
                self.step(to, Input::Packet { from, packet, time: 0 });
            }
            Some(Wire::Snapshot(zxid, machine)) => {
                if self.node(to.0).peer.takes_snapshot(from, zxid) {
                    self.node_mut(to).machine = machine;
                }
                self.step(to, Input::Snapshot { from, zxid });
            }
            None => {}
        }
    }

    /// Ends the oldest disk operation of this server.
    fn work_disk(&mut self, id: ServerId) {
        let node = self.node_mut(id);
        if let Some((ticket, operation)) = node.busy.pop_front() {
            match operation {
                Disk::Append(zxid, txn) => node.disk.log.push((zxid, txn)),
                Disk::Truncate(last) => node.disk.log.retain(|(zxid, _)| *zxid <= last),
                Disk::Sync => {}
                Disk::Accepted(epoch) => node.disk.accepted = epoch,
                Disk::Current(epoch) => node.disk.current = epoch,
                Disk::Snapshot(label, machine) => {
                    node.disk.log.clear();
                    node.disk.snapshot = (label, machine);
                }
            }
            self.step(id, Input::Done(ticket));
        } else if node.reloading {
            node.reloading = false;
            let (recovered, machine) = node.disk.recover();
            node.machine = machine;
            self.step(id, Input::Reloaded(recovered));
        }
    }

    fn node_mut(&mut self, id: ServerId) -> &mut Node<M> {
        self.nodes.get_mut(&id).expect("the server is up")
    }

    pub(crate) fn step(&mut self, id: ServerId, input: Input<M>) {
        let node = self.node_mut(id);
        let mut out = Out(Vec::new());
        node.peer.step(&mut node.machine, input, &mut out);
        self.carry_out(id, out.0);
    }

    fn carry_out(&mut self, id: ServerId, effects: Vec<Effect<M>>) {
        for effect in effects {
            match effect {
                Effect::Send(to, wire) => {
                    if let Some(queue) = self.links.get_mut(&(id, to)) {
                        queue.push_back(wire);
                    }
                }
                Effect::Connect(to) => {
                    self.dials.insert((id, to));
                }
                Effect::Disconnect(to) => {
                    self.dials.remove(&(id, to));
                    self.broken.retain(|gone| *gone != (id, to));
                    self.unlink(id, to);
                }
                Effect::Refuse(from) => {
                    self.unlink(id, from);
                }
                Effect::Disk(ticket, operation) => self.node_mut(id).busy.push_back((ticket, operation)),
                Effect::Locate(ticket) => self.step(id, Input::Located { ticket, at: None }),
                Effect::Reload => self.node_mut(id).reloading = true,
                Effect::Notify(to, notification) => {
                    self.mesh.insert((id, to), notification);
                }
                Effect::SetTimer(timer) => {
                    let now = self.now;
                    self.node_mut(id).timers.insert(timer, now);
                }
                Effect::CancelTimer(timer) => {
                    self.node_mut(id).timers.remove(&timer);
                }
                Effect::Role(role, serving) => {
                    let node = self.node_mut(id);
                    (node.role, node.serving) = (role, serving);
                }
                Effect::Client(client, said) => {
                    if matches!(said, Said::Closed | Said::Refused) {
                        self.homes.remove(&client);
                    }
                    self.said.entry(client).or_default().push(said);
                }
                Effect::Note(note) => self.notes.push((id, note)),
            }
        }
    }

    /// Breaks the link; `a` knows, `b` will notice. Returns whether there was one.
    fn unlink(&mut self, a: ServerId, b: ServerId) -> bool {
        self.links.remove(&(b, a));
        let was_up = self.links.remove(&(a, b)).is_some();
        if was_up {
            self.broken.push_back((b, a));
        }
        was_up
    }
}

fn pair(a: ServerId, b: ServerId) -> (ServerId, ServerId) {
    (a.min(b), a.max(b))
}

/// The answers in what a client was told, with their numbers.
pub(crate) fn answers(said: &[Said]) -> Vec<(i32, &str)> {
    said.iter()
        .filter_map(|said| match said {
            Said::Reply { xid, answer, .. } => Some((*xid, answer.as_str())),
            Said::Accepted { .. } | Said::Refused | Said::Closed | Said::Event { .. } => None,
        })
        .collect()
}
