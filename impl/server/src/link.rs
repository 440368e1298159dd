//! Links between a leader and its learners: one connection for each other server, dialled by the learner.
//!
//! What the peer sends is queued and goes out at the end of the turn, or before this server applies what it commits,
//! where that takes long. A state or a part of the log that is sent whole stands in the queue as a *stream*: a place
//! that is filled piece by piece, while what follows waits behind it. Each connection has a number, its *incarnation*;
//! whatever a task of an older one still brings is dropped here, so that the peer never hears of it.

mod read;
mod traffic;

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use protocol::{
    Message, Quorum, Timer,
    peer::{Input, Packet},
};
use spec::{ServerId, Zxid};
use tokio::{net::TcpStream, sync::Notify, task::AbortHandle};
use tree::{Tree, Txn};
use wire::{
    Sink,
    peer::{Sender, put_message, put_packet},
};

use crate::{
    Config,
    core::{Core, Later, Shell, wall_clock},
    excerpt::excerpt,
    net::{Backoff, set_silence_max},
    out::{self, Sent},
    recorder::link_mark,
    stats::Stats,
    stream::Writer,
    view::Learners,
};
pub(crate) use read::{accept, answer, call};
pub(crate) use traffic::ObserverLink;
use traffic::Traffic;

/// Unsent bytes above which a server that keeps up is dropped. It takes clients at eight servers to have so much under way
/// unless their requests are very large ([`crate::throttle::WRITES_BYTES_MAX`]).
const UNSENT_MAX: usize = 64 << 20;
/// The same of a learner that is brought up to date, and less the more of it it has taken: what it lacks comes at once, and
/// what is proposed meanwhile waits behind. It must not stop taking that for `initLimit`.
const SYNC_UNSENT_MAX: usize = 1 << 30;
/// How long a follower dials a leader that does not let it in before it looks for another one. Leaders are there
/// within the 200 ms that an election may last longer for them than for their followers.
const IN_VAIN_MAX: Duration = Duration::from_secs(1);
/// Bytes of a stream that wait at once.
pub(crate) const STREAM_ROOM: usize = 1 << 20;

/// What waits to be sent.
#[derive(Debug)]
enum Part {
    /// Packets.
    Packets(BytesMut),
    /// A stream that is being filled.
    Stream { number: u64, sync: Sync, bytes: BytesMut, room: Rc<Notify>, ended: bool },
}

/// What a learner is sent to be brought up to date.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sync {
    /// The whole state.
    Snapshot,
    /// A part of the log.
    Log,
}

/// The connection with one server.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, not one state")]
struct Link {
    incarnation: u64,
    /// Whether the other end dialled.
    accepted: bool,
    /// There once the connection is up.
    writer: Option<Rc<Writer>>,
    parts: VecDeque<Part>,
    packet_bytes: usize,
    /// How many of them there may be.
    packet_bytes_max: usize,
    dirty: bool,
    blocked: bool,
    task: Option<AbortHandle>,
    /// Waits until the socket takes more; it holds the socket open, and so must not outlive the link.
    waiter: Option<AbortHandle>,
    /// Whether UPTODATE has been sent.
    synced: bool,
    traffic: Traffic,
}

impl Drop for Link {
    fn drop(&mut self) {
        for task in [&self.task, &self.waiter].into_iter().flatten() {
            task.abort();
        }
        for part in &self.parts {
            if let Part::Stream { room, .. } = part {
                room.notify_one();
            }
        }
    }
}

/// Who this server is, in packets.
struct Me {
    sid: ServerId,
    config: Rc<Vec<u8>>,
}

impl Me {
    fn borrow(&self) -> Sender<'_> {
        Sender { sid: self.sid, config: &self.config, config_version: 0 }
    }
}

/// A place in a link's queue that is being filled.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) to: ServerId,
    incarnation: u64,
    number: u64,
    /// Told when bytes have gone out, and when the link is gone.
    pub(crate) room: Rc<Notify>,
}

/// Whether a stream may go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Room {
    /// There is room for a piece.
    Free,
    /// Not before [`Stream::room`] tells.
    Full,
    /// The link is gone.
    Gone,
}

/// How much room is kept for the next packet that goes to many, in bytes.
const ENCODED_KEPT: usize = 64 << 10;

/// A packet that goes to many, at its place in the order.
type Encoded = Option<(Zxid, BytesMut)>;

/// The links of this server.
#[derive(Debug)]
pub(crate) struct Links {
    table: BTreeMap<ServerId, Link>,
    dirty: Vec<ServerId>,
    backoff: BTreeMap<ServerId, Backoff>,
    /// How long a leader is dialled that does not let this server in.
    in_vain_max: Duration,
    /// How long a server that is up to date may leave unacknowledged what it is sent.
    silence_max: Duration,
    last_number: u64,
    me: ServerId,
    /// The ensemble as text, as NEWLEADER carries it.
    config_text: Rc<Vec<u8>>,
    /// The last PROPOSAL that was encoded: it goes to each follower.
    proposal: Encoded,
    /// The last INFORM that was encoded: it goes to each observer.
    inform: Encoded,
}

impl Links {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            table: BTreeMap::new(),
            dirty: Vec::new(),
            backoff: BTreeMap::new(),
            in_vain_max: IN_VAIN_MAX,
            silence_max: silence_max(config),
            last_number: 0,
            me: config.me,
            config_text: Rc::new(config.ensemble_text().into_bytes()),
            proposal: None,
            inform: None,
        }
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Puts a packet on the link, if it is up.
    pub(crate) fn send(&mut self, to: ServerId, packet: &Packet<Tree>, stats: &mut Stats) {
        let sender = self.sender();
        let queued = self.queue(to, |out| put_packet(packet, sender.borrow(), out));
        stats.packets_between_servers += u64::from(queued);
    }

    /// Puts a packet of the order of proposals on the link, if it is up. What goes to many is encoded once for all.
    pub(crate) fn send_message(&mut self, to: ServerId, message: &Message<Txn>, stats: &mut Stats) {
        let sender = self.sender();
        let encoded = |links: &mut Self, zxid: &Zxid, kept: fn(&mut Self) -> &mut Encoded| {
            let bytes = match kept(links).take() {
                Some((encoded, bytes)) if encoded == *zxid => bytes,
                before => {
                    let room =
                        before.map(|(_, bytes)| bytes).filter(|bytes| bytes.capacity() <= ENCODED_KEPT);
                    let mut bytes = room.unwrap_or_default();
                    bytes.clear();
                    put_message(message, sender.borrow(), &mut bytes);
                    bytes
                }
            };
            let queued = links.queue(to, |out| out.put(&bytes));
            *kept(links) = Some((*zxid, bytes));
            queued
        };
        let queued = if let Message::Proposal { zxid, .. } = message {
            encoded(self, zxid, |links| &mut links.proposal)
        } else if let Message::Inform { zxid, .. } = message {
            encoded(self, zxid, |links| &mut links.inform)
        } else {
            self.queue(to, |out| put_message(message, sender.borrow(), out))
        };
        stats.packets_between_servers += u64::from(queued);
        if let (Message::UpToDate, Some(link)) = (message, self.table.get_mut(&to)) {
            link.synced = true;
            if let Some(Err(error)) =
                link.writer.as_ref().map(|writer| set_silence_max(writer.tcp(), self.silence_max))
            {
                tracing::debug!(peer = %to, %error, "a link's silence is not bounded anew");
            }
        }
    }

    fn sender(&self) -> Me {
        Me { sid: self.me, config: Rc::clone(&self.config_text) }
    }

    fn queue(&mut self, to: ServerId, put: impl FnOnce(&mut BytesMut)) -> bool {
        let Some(link) = self.table.get_mut(&to).filter(|link| link.writer.is_some()) else {
            return false;
        };
        if !matches!(link.parts.back(), Some(Part::Packets(_))) {
            link.parts.push_back(Part::Packets(BytesMut::new()));
        }
        if let Some(Part::Packets(out)) = link.parts.back_mut() {
            let before = out.len();
            put(out);
            link.traffic.goes(&out[before..]);
            link.packet_bytes += out.len() - before;
        }
        self.mark(to);
        true
    }

    /// Turns away a link that has just come up.
    pub(crate) fn refuse(&mut self, from: ServerId) {
        if self.table.get(&from).is_some_and(|link| link.accepted) {
            self.close(from);
        }
    }

    /// Begins to dial a server, instead of any link with it that there is.
    pub(crate) fn connect(&mut self, to: ServerId, config: &Rc<Config>, me: &Weak<RefCell<Core>>) {
        let incarnation = self.number();
        let task = tokio::task::spawn_local(read::dial(me.clone(), Rc::clone(config), to, incarnation));
        self.insert(to, incarnation, false, None, Some(task.abort_handle()));
    }

    fn insert(
        &mut self,
        peer: ServerId,
        incarnation: u64,
        accepted: bool,
        writer: Option<Writer>,
        task: Option<AbortHandle>,
    ) {
        let link = Link {
            incarnation,
            accepted,
            writer: writer.map(Rc::new),
            parts: VecDeque::new(),
            packet_bytes: 0,
            packet_bytes_max: if accepted { SYNC_UNSENT_MAX } else { UNSENT_MAX },
            dirty: false,
            blocked: false,
            task,
            waiter: None,
            synced: false,
            traffic: Traffic { established: wall_clock(), ..Traffic::default() },
        };
        self.table.insert(peer, link);
    }

    /// Closes the link with a server, or ends dialling it.
    pub(crate) fn close(&mut self, peer: ServerId) {
        if let Some(mut link) = self.table.remove(&peer) {
            // What was said before the link is given up, a refusal for example, still has its chance.
            if let (Some(writer), Some(Part::Packets(bytes))) = (link.writer.clone(), link.parts.front_mut())
            {
                out::send(&writer, bytes, out::KEPT_OF_LINK);
            }
        }
    }

    /// Closes every link: this server stops.
    pub(crate) fn close_all(&mut self) {
        let peers: Vec<_> = self.table.keys().copied().collect();
        for peer in peers {
            self.close(peer);
        }
    }

    /// Whether this server has dialled that one.
    fn is_dialled(&self, peer: ServerId) -> bool {
        self.table.get(&peer).is_some_and(|link| !link.accepted)
    }

    /// Whether this is still the link with that server.
    fn is_current(&self, peer: ServerId, incarnation: u64) -> bool {
        self.table.get(&peer).is_some_and(|link| link.incarnation == incarnation)
    }

    /// Dials start quickly again.
    pub(crate) fn reset_backoff(&mut self) {
        self.backoff.clear();
    }

    /// Whether the server that was elected has not let this one in for so long that it is no leader, in all
    /// likelihood: it found a better vote in the last instant, or it died.
    fn in_vain(&self, to: ServerId, now: Instant) -> bool {
        self.backoff.get(&to).is_some_and(|backoff| backoff.since(now) > self.in_vain_max)
    }

    /// No dial is in vain, however long it takes.
    pub(crate) fn dial_for_ever(&mut self) {
        self.in_vain_max = Duration::MAX;
    }

    /// How long to wait before dialling a server: not at all the first time.
    fn wait_before(&mut self, to: ServerId, now: Instant) -> Duration {
        match self.backoff.entry(to) {
            Entry::Vacant(entry) => {
                entry.insert(Backoff::new(now));
                Duration::ZERO
            }
            Entry::Occupied(entry) => entry.get().wait(now),
        }
    }

    pub(crate) fn any_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The other end of each link, and whether it is up.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (ServerId, bool)> + '_ {
        self.table.iter().map(|(peer, link)| (*peer, link.writer.is_some()))
    }

    /// Links that learners have dialled.
    pub(crate) fn learners(&self, quorum: &Quorum) -> Learners {
        let learners = self.table.iter().filter(|(_, link)| link.accepted && link.writer.is_some());
        let synced = learners.clone().filter(|(_, link)| link.synced).map(|(id, _)| *id);
        let (followers, observers): (Vec<_>, Vec<_>) = synced.partition(|id| quorum.is_voter(*id));
        Learners {
            links: learners.count(),
            synced_followers: followers.len(),
            synced_observers: observers.len(),
        }
    }

    /// Takes a place behind everything that is queued for this server.
    pub(crate) fn begin_stream(&mut self, to: ServerId, sync: Sync) -> Option<Stream> {
        let number = self.number();
        let link = self.table.get_mut(&to).filter(|link| link.writer.is_some())?;
        let room = Rc::new(Notify::new());
        let bytes = BytesMut::new();
        link.parts.push_back(Part::Stream { number, sync, bytes, room: Rc::clone(&room), ended: false });
        Some(Stream { to, incarnation: link.incarnation, number, room })
    }

    /// How many learners are being sent this.
    fn syncs(&self, sync: Sync) -> usize {
        let goes = |link: &Link| {
            link.parts.iter().any(|part| matches!(part, Part::Stream { sync: own, .. } if *own == sync))
        };
        self.table.values().filter(|link| goes(link)).count()
    }

    fn stream_bytes(&mut self, stream: &Stream) -> Option<(&mut BytesMut, &mut bool)> {
        let link = self.table.get_mut(&stream.to).filter(|link| link.incarnation == stream.incarnation)?;
        link.parts.iter_mut().find_map(|part| match part {
            Part::Stream { number, bytes, ended, .. } if *number == stream.number => Some((bytes, ended)),
            Part::Stream { .. } | Part::Packets(_) => None,
        })
    }

    pub(crate) fn room(&mut self, stream: &Stream) -> Room {
        match self.stream_bytes(stream) {
            None => Room::Gone,
            Some((bytes, _)) if bytes.len() >= STREAM_ROOM => Room::Full,
            Some(_) => Room::Free,
        }
    }

    /// Where the next piece of a stream goes, if its link is still there.
    pub(crate) fn fill(&mut self, stream: &Stream, fill: impl FnOnce(&mut BytesMut), last: bool) {
        if let Some((bytes, ended)) = self.stream_bytes(stream) {
            fill(bytes);
            *ended |= last;
            self.mark(stream.to);
        }
    }

    /// A stream cannot go on: its link is dropped.
    pub(crate) fn fail(&mut self, stream: &Stream) -> Option<ServerId> {
        if !self.is_current(stream.to, stream.incarnation) {
            return None;
        }
        self.table.remove(&stream.to);
        Some(stream.to)
    }

    fn mark(&mut self, peer: ServerId) {
        if let Some(link) = self.table.get_mut(&peer)
            && !link.dirty
        {
            link.dirty = true;
            self.dirty.push(peer);
        }
    }

    /// Sends what is queued for one server, in order, up to a stream that has nothing to send yet.
    fn flush(&mut self, peer: ServerId) -> Option<Flushed> {
        let link = self.table.get_mut(&peer)?;
        link.dirty = false;
        let writer = Rc::clone(link.writer.as_ref()?);
        if link.synced {
            link.packet_bytes_max = link.packet_bytes_max.min(link.packet_bytes.saturating_add(UNSENT_MAX));
        }
        if link.packet_bytes > link.packet_bytes_max {
            return Some(Flushed::Broken);
        }
        if link.blocked {
            return None;
        }
        while let Some(part) = link.parts.front_mut() {
            let (sent, over) = match part {
                Part::Packets(bytes) => {
                    let before = bytes.len();
                    let sent = out::send(&writer, bytes, out::KEPT_OF_LINK);
                    link.packet_bytes -= before - bytes.len();
                    if link.packet_bytes == 0 {
                        link.traffic.queued = 0;
                    }
                    (sent, true)
                }
                Part::Stream { bytes, room, ended, .. } => {
                    let sent = out::send(&writer, bytes, out::KEPT_OF_LINK);
                    if bytes.len() < STREAM_ROOM {
                        room.notify_one();
                    }
                    (sent, *ended)
                }
            };
            match sent {
                Sent::All if over && link.parts.len() > 1 => {
                    link.parts.pop_front();
                }
                Sent::All if matches!(link.parts.front(), Some(Part::Stream { ended: true, .. })) => {
                    link.parts.pop_front();
                }
                Sent::All => return None,
                Sent::Blocked => {
                    link.blocked = true;
                    return Some(Flushed::Blocked { writer, incarnation: link.incarnation });
                }
                Sent::Gone => return Some(Flushed::Broken),
            }
        }
        None
    }

    fn unblock(&mut self, peer: ServerId, incarnation: u64) {
        if let Some(link) = self.table.get_mut(&peer).filter(|link| link.incarnation == incarnation) {
            link.blocked = false;
            self.mark(peer);
        }
    }
}

/// What is left to do behind an attempt to send.
enum Flushed {
    /// Wait until the socket takes more.
    Blocked { writer: Rc<Writer>, incarnation: u64 },
    /// Drop the link.
    Broken,
}

impl Shell {
    /// Sends what is queued on every link.
    pub(crate) fn flush_links(&mut self) {
        for peer in std::mem::take(&mut self.links.dirty) {
            match self.links.flush(peer) {
                None => {}
                Some(Flushed::Broken) => {
                    tracing::warn!(%peer, "a link broke, or did not take what was sent");
                    self.links.table.remove(&peer);
                    self.later.push_back(Later::LinkGone(peer));
                }
                Some(Flushed::Blocked { writer, incarnation }) => {
                    let me = self.me.clone();
                    let waiter = tokio::task::spawn_local(async move {
                        let _ = writer.writable().await;
                        if let Some(core) = me.upgrade() {
                            let mut core = core.borrow_mut();
                            core.shell.links.unblock(peer, incarnation);
                            core.shell.touch();
                        }
                    });
                    if let Some(link) = self.links.table.get_mut(&peer) {
                        link.waiter = Some(waiter.abort_handle());
                    }
                }
            }
        }
    }
}

impl Shell {
    /// Whether a learner may be brought up to date now. An observer waits if this server does so for as many as it may,
    /// and its link is dropped: it comes back. Voters never wait, but count.
    pub(crate) fn may_sync(&mut self, to: ServerId, sync: Sync) -> bool {
        let throttles = &self.config.throttles;
        let pipeline = &mut self.stats.pipeline;
        let (max, at_once) = match sync {
            Sync::Snapshot => (throttles.snap_syncs_max, &mut pipeline.snaps_at_once),
            Sync::Log => (throttles.diff_syncs_max, &mut pipeline.diffs_at_once),
        };
        let under_way = self.links.syncs(sync);
        let may = under_way < max || self.config.quorum.is_voter(to);
        if may {
            at_once.record(u64::try_from(under_way + 1).unwrap_or(u64::MAX));
            self.stats.snaps += u64::from(sync == Sync::Snapshot);
        } else if self.links.table.remove(&to).is_some() {
            tracing::info!(peer = %to, ?sync, under_way, "an observer has to wait until others are up to date");
            self.later.push_back(Later::LinkGone(to));
        }
        may
    }
}

impl Core {
    /// A dial has succeeded. Whether it is still wanted.
    fn link_connected(&mut self, to: ServerId, incarnation: u64, writer: Writer) -> bool {
        let Some(link) = self.shell.links.table.get_mut(&to).filter(|link| link.incarnation == incarnation)
        else {
            return false;
        };
        let mark = link_mark(to, false, writer.tcp());
        link.writer = Some(Rc::new(writer));
        self.shell.record_link(mark);
        self.step(Input::Connected(to));
        true
    }

    /// A learner has dialled and said who it is. The number of the link, if it is wanted.
    fn link_accepted(&mut self, from: ServerId, writer: Writer) -> Option<u64> {
        match self.shell.links.table.get(&from) {
            // This server follows that one, and so leads nobody.
            Some(link) if !link.accepted => return None,
            // Its task ends with it, and the peer takes the new one for it.
            Some(_) | None => drop(self.shell.links.table.remove(&from)),
        }
        self.shell.stats.pipeline.begins(from);
        let incarnation = self.shell.links.number();
        self.shell.record_link(link_mark(from, true, writer.tcp()));
        self.shell.links.insert(from, incarnation, true, Some(writer), None);
        self.step(Input::Accepted(from));
        self.shell.links.is_current(from, incarnation).then_some(incarnation)
    }

    /// A link's task has found its connection broken, or its packets wrong.
    fn link_lost(&mut self, peer: ServerId, incarnation: u64) {
        if self.shell.links.is_current(peer, incarnation) {
            self.shell.links.table.remove(&peer);
            self.step(Input::Disconnected(peer));
        }
    }

    /// Ends the wait for a leader that does not let this server in: the timer of that wait fires early.
    fn give_up_dialling(&mut self, to: ServerId, incarnation: u64) {
        let now = Instant::now();
        let links = &self.shell.links;
        let in_vain = links.is_current(to, incarnation) && links.in_vain(to, now);
        if in_vain && self.shell.timers.take(Timer::Establish) {
            tracing::info!(peer = %to, "the elected leader does not let this server in");
            let time = self.shell.touch().wall;
            self.step(Input::Timer { timer: Timer::Establish, time });
        }
    }

    fn link_task(&mut self, peer: ServerId, incarnation: u64, task: AbortHandle) {
        if let Some(link) =
            self.shell.links.table.get_mut(&peer).filter(|link| link.incarnation == incarnation)
        {
            link.task = Some(task);
        } else {
            task.abort();
        }
    }
}

/// A port between servers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Port {
    /// Learners dial their leader's.
    Quorum,
    /// Voters dial each other's.
    Election,
}

/// Whoever dialled a port between servers has no business there, and is turned away.
pub(crate) fn refuse_stranger(me: &Weak<RefCell<Core>>, port: Port, why: &str) {
    let Some(core) = me.upgrade() else { return };
    let seldom = &mut core.borrow_mut().shell.seldom;
    let (port, lines) = match port {
        Port::Quorum => ("quorum", &mut seldom.learners),
        Port::Election => ("election", &mut seldom.voters),
    };
    let why = &*excerpt(why);
    tracing::debug!(why, "a stranger was refused on the {port} port");
    if let Some(refused) = lines.count(Instant::now()) {
        tracing::warn!(refused, why, "strangers were refused on the {port} port");
    }
}

/// The option values of a link's socket. A learner that is brought up to date may read nothing for as long as
/// `initLimit` says: it writes what it got to disk first.
fn prepare(stream: &TcpStream, config: &Config, accepted: bool) -> std::io::Result<()> {
    let silence = silence_max(config);
    let longer = Duration::from_millis(u64::from(config.tick_ms) * u64::from(config.init_limit));
    crate::net::set_options(stream, if accepted { silence.max(longer) } else { silence })
}

/// How long a server that is up to date may leave unacknowledged what it is sent.
pub(crate) fn silence_max(config: &Config) -> Duration {
    Duration::from_millis(u64::from(config.tick_ms) * u64::from(config.sync_limit))
}
