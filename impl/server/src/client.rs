//! Connections of clients: what the loop knows of each, and the limits on them.

use std::{
    collections::{HashSet, VecDeque},
    hash::BuildHasher,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rustc_hash::FxHashMap;
use sasl::Exchange;
use spec::{ClientId, SessionId, Zxid};
use tokio::{sync::Notify, task::AbortHandle};
use tree::{Credential, Identity};
use wire::client::opcode;

use crate::{
    audit::{Asked, Audit, Who},
    core::Clock,
    knocking::Knocking,
    measure::{Summary, micros},
    namespaces::Nodes,
    stream::Writer,
    throttle::Orphans,
    view::ClientView,
};

/// Unsent bytes above which a client is not read from.
const UNSENT_PAUSE: usize = 1 << 20;
/// Unsent bytes above which a client is dropped.
pub(crate) const UNSENT_MAX: usize = 64 << 20;
/// Unsent bytes of all clients above which those are dropped that have most: a request of a kilobyte may have an answer
/// of 64 MiB, which whoever does not read it leaves here.
const UNSENT_ALL_MAX: usize = 1 << 30;
/// Reads that may wait behind a client's own writes. All are answered at once when the write is through: they are to
/// fit into what a client may leave unsent, also where each asks for as much as a node can hold.
const READS_WAITING_MAX: usize = 32;
/// How many credentials a connection may offer. What each proves is held against the lists of all that it reads, writes
/// and watches, and is copied for its watches: with a thousand, what watchers may see is a matter of seconds.
const PROOFS_MAX: usize = 100;
/// How many bytes they may have together: with what becomes of them, they have a place beside a write in a packet to the
/// leader, also where each byte that is not UTF-8 becomes three.
const PROOF_BYTES_MAX: usize = 256 << 10;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// It has not said who it is.
    Fresh(Instant),
    /// It has, or asks for, a session.
    Open,
    /// What is unsent goes out; then it is closed.
    Closing(Instant),
}

/// Where a connection stands among those who wait because too many requests are under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    /// It does not wait.
    None,
    /// It stands in the list.
    Waits,
    /// It is its turn.
    Now,
}

/// One connection.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, not one state")]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) phase: Phase,
    /// Whether the handshake has a read-only field, to be answered in kind.
    pub(crate) read_only: Option<bool>,
    pub(crate) out: BytesMut,
    /// How many bytes of that are in the sum of all.
    counted: usize,
    /// What is read and not taken: the beginning of a frame that has not come whole, or all that came when the
    /// connection was paused.
    pub(crate) partial: BytesMut,
    /// Whether whole frames may stand there.
    pub(crate) stalled: bool,
    /// Whether it has said a four-letter word, behind which nothing more is read.
    pub(crate) said_word: bool,
    /// Since when they wait because too many requests are under way.
    pub(crate) throttled: Option<Instant>,
    /// Where it stands among those who wait so.
    turn: Turn,
    /// Whether a large request is the next one here.
    pub(crate) holds_much: bool,
    /// The requests that are not answered, oldest first. Answers come in the order of requests.
    unanswered: VecDeque<Unanswered>,
    /// How many of them read.
    reads_waiting: usize,
    /// More was to be said than a client may leave unsent: it is to be dropped.
    pub(crate) overfull: bool,
    /// What it has offered to prove who it is.
    pub(crate) proofs: Proofs,
    /// Its session and the timeout of that, in milliseconds, once it has one.
    pub(crate) session: Option<(SessionId, i32)>,
    /// Who it is for the audit log, if there is one.
    pub(crate) who: Option<Box<Who>>,
    /// How it authenticates with SASL, once it does.
    pub(crate) exchange: Option<Exchange>,
    traffic: Traffic,
    pub(crate) writer: Rc<Writer>,
    /// As whom its certificate proves it; none without one.
    pub(crate) certified: Vec<Identity>,
    /// Something is unsent, and the connection stands in the list of those.
    pub(crate) dirty: bool,
    /// The socket took no more; a task waits until it does.
    pub(crate) blocked: bool,
    /// That task: it holds the socket open.
    waiter: Option<AbortHandle>,
    /// Wakes the reading task when it may go on.
    pub(crate) resume: Rc<Notify>,
    paused: bool,
    reader: Option<AbortHandle>,
    /// When something came last.
    pub(crate) came: Instant,
    /// The recorder's generation at the last request that was recorded.
    recorded: u32,
}

/// The credentials that a connection has offered, as numbers: one that comes again counts once. Who chooses credentials
/// does not know the key that they are hashed with.
#[derive(Debug, Default)]
pub(crate) struct Proofs {
    numbers: HashSet<u64>,
    bytes: usize,
}

impl Proofs {
    /// How many bytes at most what they prove has in a write that goes to the leader: what is no UTF-8 grows threefold.
    pub(crate) fn weight(&self) -> usize {
        3 * self.bytes
    }

    /// Whether this one may be offered too.
    pub(crate) fn admit(&mut self, credential: &Credential) -> bool {
        let number = self.numbers.hasher().hash_one(credential);
        if self.numbers.contains(&number) {
            return true;
        }
        self.bytes += credential.scheme.as_bytes().len() + credential.bytes.len();
        self.bytes <= PROOF_BYTES_MAX && self.numbers.len() < PROOFS_MAX && self.numbers.insert(number)
    }
}

/// A request under way.
#[derive(Clone, Debug)]
pub(crate) struct Unanswered {
    /// When it came.
    pub(crate) came: Instant,
    /// Whether it reads.
    pub(crate) reads: bool,
    /// Whether its answer counts among those of requests: not where it proves somebody, or goes on with a session.
    pub(crate) counts: bool,
    /// Which nodes it reads.
    pub(crate) nodes: Nodes,
    /// What it asks; its number in a request header.
    pub(crate) operation: i32,
    /// The client's number of it.
    pub(crate) xid: i32,
    /// Its bytes, if it is a large one.
    pub(crate) large: u32,
    /// Its bytes, if it writes.
    pub(crate) writes: u32,
    /// What the audit log is to tell of it.
    pub(crate) audited: Option<Box<Asked>>,
}

/// What came and went on a connection, for `cons`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// When the connection came, in milliseconds since 1970.
    pub(crate) established: i64,
    /// The operation that was answered last; none before the first, [`NO_OPERATION`] when it is counted anew.
    pub(crate) operation: Option<i32>,
    /// The last xid of those that clients count; pings and the like have negative ones. 0 before the first, none when it
    /// is counted anew.
    pub(crate) xid: Option<i32>,
    /// The zxid of the last answer; zero before the first, none when it is counted anew.
    pub(crate) zxid: Option<Zxid>,
    /// When that was given.
    pub(crate) answered: Option<Instant>,
    /// How long it took, in microseconds.
    pub(crate) took: u64,
    /// The same of all answers.
    pub(crate) latency: Summary,
}

/// The number of an operation that none has: nothing was asked since a connection is counted anew.
const NO_OPERATION: i32 = 0;

impl Traffic {
    /// Nothing yet, on a connection that came then.
    pub(crate) fn new(established: i64) -> Self {
        Self {
            received: 0,
            sent: 0,
            established,
            operation: None,
            xid: Some(0),
            zxid: Some(Zxid::ZERO),
            answered: None,
            took: 0,
            latency: Summary::default(),
        }
    }

    /// Nothing any more, of the same connection. *`ServerCnxn.resetStats`, which is told apart from the beginning.*
    pub(crate) fn anew(self) -> Self {
        Self { operation: Some(NO_OPERATION), xid: None, zxid: None, ..Self::new(self.established) }
    }
}

impl Unanswered {
    fn large_bytes(&self) -> usize {
        usize::try_from(self.large).unwrap_or(usize::MAX)
    }

    fn writes_bytes(&self) -> usize {
        usize::try_from(self.writes).unwrap_or(usize::MAX)
    }
}

impl Client {
    /// Nothing that it asks waits any more because too many requests are under way.
    pub(crate) fn goes_on(&mut self) {
        (self.throttled, self.turn, self.holds_much) = (None, Turn::None, false);
    }

    /// Whether what it asks waits for longer than its session may be silent.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        let (Some(since), Some((_, timeout_ms))) = (self.throttled, self.session) else { return false };
        now.saturating_duration_since(since).as_millis() > u128::from(timeout_ms.unsigned_abs())
    }

    /// Whether requests are to wait: while its answers are not taken, while too many of its reads wait for a write,
    /// and while it and all others together have too many under way, or writes of too many bytes. Who has nothing under
    /// way may say that it lives, and ask for little.
    pub(crate) fn waits(&self, too_many: bool, too_much: bool) -> bool {
        self.out.len() > UNSENT_PAUSE
            || self.reads_waiting >= READS_WAITING_MAX
            || ((too_many || too_much) && !self.unanswered.is_empty())
            || (too_much && self.holds_much)
    }

    /// Notes that a request has come; the answer of one that reads may be large.
    pub(crate) fn asked(&mut self, request: Unanswered) {
        self.traffic.received += 1;
        self.reads_waiting += usize::from(request.reads);
        self.unanswered.push_back(request);
    }

    fn large_bytes(&self) -> usize {
        self.unanswered.iter().map(Unanswered::large_bytes).sum()
    }

    /// It is gone, and its writes are under way. How many bytes they have.
    fn orphan(&self, orphans: &mut Orphans) -> usize {
        let writes = || self.unanswered.iter().filter(|request| request.writes > 0);
        if let Some((session, _)) = self.session {
            writes().for_each(|write| orphans.add(session, write.xid, write.writes_bytes()));
        }
        writes().map(Unanswered::writes_bytes).sum()
    }

    /// It is gone: what it asked that is worth a line may still be done.
    pub(crate) fn leave_behind(&mut self, audit: &mut Audit) {
        let Some((session, _)) = self.session else { return };
        for request in self.unanswered.drain(..) {
            if let Some(asked) = request.audited {
                audit.left(session, request.xid, asked);
            }
        }
    }

    /// Whether a request that only asks, behind nothing that is unanswered, leaves the peer as it is: its client was
    /// heard of in this generation. Notes that it was.
    pub(crate) fn is_heard(&mut self, generation: u32) -> bool {
        let idle = self.unanswered.is_empty();
        idle && std::mem::replace(&mut self.recorded, generation) == generation
    }

    /// The socket took no more; this task waits until it does.
    pub(crate) fn waits_with(&mut self, waiter: AbortHandle) {
        self.blocked = true;
        self.waiter = Some(waiter);
    }

    /// Notes that the oldest request is answered, with this zxid, and returns it with the microseconds that it took.
    fn answered(&mut self, zxid: Zxid, now: Instant) -> Option<(Unanswered, u64)> {
        let traffic = &mut self.traffic;
        traffic.sent += 1;
        let request = self.unanswered.pop_front()?;
        self.reads_waiting -= usize::from(request.reads);
        if !request.counts {
            return Some((request, 0));
        }
        traffic.took = micros(now.saturating_duration_since(request.came));
        traffic.latency.record(traffic.took);
        traffic.operation = Some(request.operation);
        traffic.xid = Some(request.xid).filter(|xid| *xid >= 0).or(traffic.xid);
        (traffic.zxid, traffic.answered) = (Some(zxid), Some(now));
        Some((request, traffic.took))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        for task in [&self.reader, &self.waiter].into_iter().flatten() {
            task.abort();
        }
    }
}

/// Whether a connection's task may read on.
#[derive(Debug)]
pub(crate) enum Reading {
    /// Yes.
    On,
    /// When it is told to.
    Wait(Rc<Notify>),
    /// The connection is no more.
    Over,
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    table: FxHashMap<u64, Client>,
    per_address: FxHashMap<IpAddr, u32>,
    pub(crate) dirty: Vec<ClientId>,
    /// Those whose session was made in this turn.
    pub(crate) made: Vec<ClientId>,
    paused: Vec<ClientId>,
    /// Those who wait because too many requests are under way, in the order in which they have come to it.
    throttled: VecDeque<ClientId>,
    /// Bytes of large requests that are under way.
    pub(crate) large_bytes: usize,
    /// Bytes of writes that are not answered.
    pub(crate) writes_bytes: usize,
    /// Writes that are under way and will not be answered.
    pub(crate) orphans: Orphans,
    /// Bytes that clients have unsent, as they were counted last.
    unsent: usize,
    /// Those who shake hands.
    pub(crate) knocking: Knocking<AbortHandle>,
    next: u64,
}

/// How many connections there may be; 0 is no limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    /// Of one address.
    pub(crate) per_address: u32,
    /// In all.
    pub(crate) in_all: u32,
}

impl Clients {
    /// Admits a connection, if its address and the whole server may have one more.
    pub(crate) fn admit(
        &mut self,
        address: SocketAddr,
        writer: Writer,
        certified: Vec<Identity>,
        most: Most,
        clock: Clock,
    ) -> Option<ClientId> {
        let ip = self.count(address, most)?;
        self.next += 1;
        let client = Client {
            address: SocketAddr::new(ip, address.port()),
            phase: Phase::Fresh(clock.now),
            read_only: None,
            out: BytesMut::new(),
            partial: BytesMut::new(),
            stalled: false,
            said_word: false,
            throttled: None,
            counted: 0,
            holds_much: false,
            turn: Turn::None,
            unanswered: VecDeque::new(),
            reads_waiting: 0,
            overfull: false,
            proofs: Proofs::default(),
            session: None,
            who: None,
            exchange: None,
            traffic: Traffic::new(clock.wall),
            writer: Rc::new(writer),
            certified,
            dirty: false,
            blocked: false,
            resume: Rc::new(Notify::new()),
            paused: false,
            reader: None,
            waiter: None,
            came: clock.now,
            recorded: 0,
        };
        self.table.insert(self.next, client);
        Some(ClientId(self.next))
    }

    /// Counts one more connection of an address, if it and the whole server may have one.
    fn count(&mut self, address: SocketAddr, most: Most) -> Option<IpAddr> {
        let ip = crate::net::plain_ip(address);
        let count = self.per_address.get(&ip).copied().unwrap_or(0);
        let all = self.table.len() + self.knocking.len();
        let full = most.in_all > 0 && all >= usize::try_from(most.in_all).unwrap_or(usize::MAX);
        if full || (most.per_address > 0 && count >= most.per_address) {
            return None;
        }
        self.per_address.insert(ip, count + 1);
        Some(ip)
    }

    fn uncount(&mut self, ip: IpAddr) {
        match self.per_address.get_mut(&ip) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.per_address.remove(&ip);
            }
        }
    }

    /// Somebody begins to shake hands, who counts as a connection from now on, if there may be one more: its place, and
    /// who gives way to it.
    pub(crate) fn knocks(&mut self, address: SocketAddr, most: Most) -> Option<(u64, Option<SocketAddr>)> {
        self.count(address, most)?;
        let (place, gone) = self.knocking.enter(address);
        let gone = gone.map(|(address, handshake)| {
            if let Some(handshake) = handshake {
                handshake.abort();
            }
            self.uncount(crate::net::plain_ip(address));
            address
        });
        Some((place, gone))
    }

    /// Hands are shaken, or will not be.
    pub(crate) fn knocked(&mut self, place: u64) {
        if let Some((address, _)) = self.knocking.leave(place) {
            self.uncount(crate::net::plain_ip(address));
        }
    }

    /// The next connection gets this number.
    pub(crate) fn number_next(&mut self, id: ClientId) {
        self.next = id.0 - 1;
    }

    pub(crate) fn reads_with(&mut self, id: ClientId, reader: AbortHandle) {
        if let Some(client) = self.get(id) {
            client.reader = Some(reader);
        }
    }

    pub(crate) fn get(&mut self, id: ClientId) -> Option<&mut Client> {
        self.table.get_mut(&id.0)
    }

    /// The buffer of a connection that can still be told something. It will be sent at the end of the turn. What one
    /// step says to a client is bounded too: behind [`UNSENT_MAX`] the connection takes nothing more, and goes.
    pub(crate) fn buffer(&mut self, id: ClientId) -> Option<&mut BytesMut> {
        let client = self.table.get_mut(&id.0)?;
        if matches!(client.phase, Phase::Closing(_)) {
            return None;
        }
        if !client.dirty {
            client.dirty = true;
            self.dirty.push(id);
        }
        client.overfull |= client.out.len() > UNSENT_MAX;
        (!client.overfull).then_some(&mut client.out)
    }

    /// Closes a connection once what is unsent is out.
    pub(crate) fn close(&mut self, id: ClientId) {
        if let Some(client) = self.table.get_mut(&id.0) {
            client.phase = Phase::Closing(Instant::now());
            // Nothing of it will be answered, and others do not wait until it has taken what is unsent.
            self.large_bytes -= client.large_bytes();
            self.writes_bytes -= client.orphan(&mut self.orphans);
            for request in &mut client.unanswered {
                (request.large, request.writes) = (0, 0);
            }
            if !client.dirty {
                client.dirty = true;
                self.dirty.push(id);
            }
        }
    }

    /// Forgets a connection and closes its socket. Whether there was one.
    pub(crate) fn remove(&mut self, id: ClientId) -> Option<Client> {
        let client = self.table.remove(&id.0)?;
        if self.large_bytes > 0 || self.writes_bytes > 0 {
            self.large_bytes -= client.large_bytes();
            self.writes_bytes -= client.orphan(&mut self.orphans);
        }
        self.unsent -= client.counted;
        self.uncount(client.address.ip());
        client.resume.notify_one();
        Some(client)
    }

    /// Whether this connection may be read from, and what came on it be taken.
    pub(crate) fn reading(&mut self, id: ClientId, too_many: bool, too_much: bool) -> Reading {
        let Some(client) = self.table.get_mut(&id.0) else {
            return Reading::Over;
        };
        if matches!(client.phase, Phase::Closing(_)) {
            return Reading::Over;
        }
        if client.waits(too_many, too_much) {
            if !client.paused {
                client.paused = true;
                self.paused.push(id);
            }
            return Reading::Wait(Rc::clone(&client.resume));
        }
        if client.turn == Turn::Waits {
            return Reading::Wait(Rc::clone(&client.resume));
        }
        Reading::On
    }

    /// Wakes the tasks of paused connections; each looks for itself whether it may go on.
    pub(crate) fn resume(&mut self) {
        for id in std::mem::take(&mut self.paused) {
            if let Some(client) = self.table.get_mut(&id.0) {
                client.paused = false;
                client.resume.notify_one();
            }
        }
    }

    pub(crate) fn any_paused(&self) -> bool {
        !self.paused.is_empty()
    }

    /// Whether requests of a connection wait for others to be answered, of which there may be no more: those who wait go
    /// first. It stands in the list then; whether it has just come there.
    pub(crate) fn hold(&mut self, id: ClientId, full: bool, now: Instant) -> Option<bool> {
        let others = !self.throttled.is_empty();
        let client = self.table.get_mut(&id.0)?;
        if !full && (!others || client.turn == Turn::Now) {
            return None;
        }
        let first = client.throttled.is_none();
        client.throttled.get_or_insert(now);
        client.stalled = true;
        match std::mem::replace(&mut client.turn, Turn::Waits) {
            Turn::Waits => {}
            Turn::None => self.throttled.push_back(id),
            Turn::Now => self.throttled.push_front(id),
        }
        Some(first)
    }

    /// Lets so many of those go on who wait so.
    pub(crate) fn grant(&mut self, mut room: usize) {
        while room > 0 {
            let Some(id) = self.throttled.pop_front() else { return };
            if let Some(client) = self.get(id) {
                client.turn = Turn::Now;
                client.resume.notify_one();
                room -= 1;
            }
        }
    }

    /// Whether anybody waits so.
    pub(crate) fn any_throttled(&self) -> bool {
        !self.throttled.is_empty()
    }

    /// Those of the connections that wait so whose requests do so for longer than their session may be silent.
    pub(crate) fn late(&self, now: Instant) -> Vec<ClientId> {
        let late = |id: &&ClientId| self.table.get(&id.0).is_some_and(|client| client.is_late(now));
        self.throttled.iter().filter(late).copied().collect()
    }

    /// Connections that have said nothing for too long.
    pub(crate) fn silent(&self, now: Instant, max: Duration) -> Vec<ClientId> {
        self.which(|client| matches!(client.phase, Phase::Fresh(since) if now - since > max))
    }

    /// Connections that have a session, ask nothing, and are silent for longer than that may be, and `more`: it was closed,
    /// or goes on elsewhere.
    pub(crate) fn left(&self, now: Instant, more: Duration) -> Vec<ClientId> {
        let is_left = |client: &Client| {
            let timeout = client.session.map(|(_, timeout_ms)| u64::try_from(timeout_ms).unwrap_or(0));
            let idle = client.unanswered.is_empty() && !client.paused && !client.stalled;
            let max = timeout.map(|timeout_ms| Duration::from_millis(timeout_ms) + more);
            idle && max.is_some_and(|max| now.saturating_duration_since(client.came) > max)
        };
        self.which(is_left)
    }

    /// Connections that are to be closed and have not taken what is unsent for too long.
    pub(crate) fn lingering(&self, now: Instant, max: Duration) -> Vec<ClientId> {
        self.which(|client| matches!(client.phase, Phase::Closing(since) if now - since > max))
    }

    fn which(&self, is: impl Fn(&Client) -> bool) -> Vec<ClientId> {
        let is = |id: &ClientId| self.table.get(&id.0).is_some_and(&is);
        self.sorted().into_iter().filter(is).collect()
    }

    /// Counts what a connection has unsent.
    pub(crate) fn count_unsent(&mut self, id: ClientId) {
        if let Some(client) = self.table.get_mut(&id.0) {
            self.unsent = self.unsent - client.counted + client.out.len();
            client.counted = client.out.len();
        }
    }

    /// Who has most unsent, and how much that is, while all together have too much.
    pub(crate) fn heaviest(&self) -> Option<(ClientId, usize)> {
        if self.unsent <= UNSENT_ALL_MAX {
            return None;
        }
        self.table
            .iter()
            .map(|(id, client)| (ClientId(*id), client.counted))
            .max_by_key(|(id, unsent)| (*unsent, id.0))
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Every connection, for those who ask about them.
    pub(crate) fn views(&self) -> Vec<ClientView> {
        let view = |id: ClientId| {
            self.table.get(&id.0).map(|client| ClientView {
                address: client.address,
                outstanding: client.unanswered.len(),
                session: client.session,
                traffic: client.traffic,
                interest: u8::from(!client.said_word),
                is_secure: matches!(*client.writer, Writer::Secure(_)),
            })
        };
        self.sorted().into_iter().filter_map(view).collect()
    }

    /// Notes that the oldest request of a connection is answered, as [`Client::answered`].
    pub(crate) fn answered(&mut self, id: ClientId, zxid: Zxid, now: Instant) -> Option<(Unanswered, u64)> {
        let client = self.get(id)?;
        let (request, took) = client.answered(zxid, now)?;
        if client.paused && client.unanswered.is_empty() {
            // It may say that it lives, however much others have under way.
            client.resume.notify_one();
        }
        self.large_bytes -= request.large_bytes();
        self.writes_bytes -= request.writes_bytes();
        Some((request, took))
    }

    /// The state has come this far: sessions that were made in this turn were answered with it, and nothing was since.
    pub(crate) fn applied(&mut self, last: Zxid) {
        for id in std::mem::take(&mut self.made) {
            if let Some(client) = self.get(id)
                && client.traffic.operation == Some(opcode::CREATE_SESSION)
            {
                client.traffic.zxid = Some(last);
            }
        }
    }

    /// Syncs that are not answered.
    pub(crate) fn open_syncs(&self) -> usize {
        let of =
            |client: &Client| client.unanswered.iter().filter(|one| one.operation == opcode::SYNC).count();
        self.sorted().iter().filter_map(|id| self.table.get(&id.0)).map(of).sum()
    }

    /// A connection was told of an event.
    pub(crate) fn told(&mut self, id: ClientId) {
        if let Some(client) = self.get(id) {
            client.traffic.sent += 1;
        }
    }

    /// Begins to count anew what comes and goes on each connection.
    pub(crate) fn reset_traffic(&mut self) {
        for id in self.sorted() {
            if let Some(client) = self.get(id) {
                client.traffic = client.traffic.anew();
            }
        }
    }

    /// Every connection, in the order in which they came.
    pub(crate) fn sorted(&self) -> Vec<ClientId> {
        let mut ids: Vec<_> = self.table.keys().copied().map(ClientId).collect();
        ids.sort_unstable();
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shakes_hands_counts_as_a_connection() {
        let mut clients = Clients::default();
        let address = |last: u8| SocketAddr::from(([10, 0, 0, last], 1));
        let few = Most { per_address: 1, in_all: 2 };
        assert_eq!(clients.knocks(address(1), few), Some((0, None)));
        assert_eq!(clients.knocks(address(1), few), None, "of one address");
        assert_eq!(clients.knocks(address(2), few), Some((1, None)));
        assert_eq!(clients.knocks(address(3), few), None, "in all");
        clients.knocked(0);
        clients.knocked(0);
        assert_eq!(clients.knocks(address(1), few), Some((2, None)));
    }

    #[test]
    fn a_connection_offers_so_many_credentials_and_the_same_as_often_as_it_likes() {
        let mut proofs = Proofs::default();
        let credential = |number: usize| Credential {
            scheme: "digest".into(),
            bytes: format!("user{number}:password").into_bytes().into(),
            sealed: false,
        };
        for number in (0..PROOFS_MAX).chain(0..PROOFS_MAX) {
            assert!(proofs.admit(&credential(number)), "credential {number}");
        }
        assert!(!proofs.admit(&credential(PROOFS_MAX)));
        assert!(proofs.admit(&credential(0)), "an old one is refused");
    }

    #[test]
    fn the_credentials_of_a_connection_have_a_place_in_a_packet_to_the_leader() {
        // What is the longest when an identity is made of it: no byte is UTF-8, and there are as many as there may be.
        let each = PROOF_BYTES_MAX / PROOFS_MAX - "digest".len();
        let (mut proofs, mut bytes) = (Proofs::default(), 0);
        let settings = tree::Settings { digest: tree::Digest::Sha512, ..tree::Settings::default() };
        for number in 0..2 * PROOFS_MAX {
            let mut user = number.to_string().into_bytes();
            user.resize(each - 2, 0xff);
            let credential = Credential {
                scheme: "digest".into(),
                bytes: [&user[..], b":p"].concat().into(),
                sealed: false,
            };
            if !proofs.admit(&credential) {
                break;
            }
            for identity in
                <tree::Tree as spec::Machine>::authenticate(&settings, &[], &credential).expect("proved")
            {
                bytes += 8 + identity.scheme.as_bytes().len() + identity.id.as_bytes().len();
            }
        }
        let beside = wire::peer::PACKET_BYTES_MAX - wire::record::STREAM_FIELD_BYTES_MAX;
        assert!((beside / 2..beside).contains(&bytes), "{bytes} bytes of identities");
        let long =
            Credential { scheme: "digest".into(), bytes: vec![b'u'; PROOF_BYTES_MAX].into(), sealed: false };
        assert!(!Proofs::default().admit(&long), "one that is too long is taken");
    }
}
