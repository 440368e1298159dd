//! The flight recorder: what the peer is told goes into a buffer, and whole buffers to a thread that writes the ring.
//!
//! Nothing here waits. If the thread has not taken what was handed over before, the buffer is dropped, and its missing
//! number shows in the ring as a gap. A read that changes nothing is not recorded; what it changes is that its client
//! was heard of, so the first request of a client behind each collection of those is recorded.

use std::{
    path::Path,
    sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use protocol::{
    Recovered,
    peer::{self, Input, Peer},
};
use recording::{Boot, Checkpoint, Encoder, LinkMark, Told, TreeMark, Writes, ring::Ring};
use spec::{Machine, ServerId};
use tracing::warn;
use tree::{Tree, Txn};

use crate::Config;

/// What is handed over at once, in bytes, at least, unless it is older than [`WAIT_MAX`].
const HANDED_OVER: usize = 64 << 10;
/// How long something may stay in the buffer while turns follow one another.
const WAIT_MAX: Duration = Duration::from_millis(5);
/// Buffers that may wait for the disk.
const WAITING_MAX: usize = 64;

/// What the thread is told to write.
struct Order {
    number: u64,
    first: bool,
    records: Vec<u8>,
}

/// Records what the peer is told.
pub(crate) struct Recorder {
    encoder: Encoder,
    /// Over all that is recorded, and what came of it.
    pub(crate) told: Told,
    orders: SyncSender<Order>,
    /// Buffers that are written.
    spare: Receiver<Vec<u8>>,
    thread: JoinHandle<()>,
    /// Counts collections of those who were heard of.
    generation: u32,
    number: u64,
    handed: Instant,
    /// Bytes of the file that is being written.
    file_bytes: u64,
    file_bytes_max: u64,
    /// The next chunk begins a file.
    first: bool,
    /// The last transaction of the state that was marked.
    last_state: u64,
    /// A turn has begun, and nothing of it is recorded yet.
    turn: Option<Instant>,
    /// The two clocks at the start: only the monotonic one is read behind that.
    started: (Instant, u64),
    links: Vec<LinkMark>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Starts the thread that writes, if the recorder is on. A server whose ring cannot be written goes on without.
    pub(crate) fn start(config: &Config) -> Option<Self> {
        let dir = config.recorder_dir.as_deref()?;
        match Self::open(dir, config.recorder_bytes) {
            Ok(recorder) => Some(recorder),
            Err(error) => {
                warn!(dir = %dir.display(), %error, "nothing is recorded: the recorder's folder cannot be used");
                None
            }
        }
    }

    fn open(dir: &Path, bytes_max: u64) -> std::io::Result<Self> {
        let ring = Ring::open(dir, bytes_max)?;
        let (orders, queue) = sync_channel(WAITING_MAX);
        let (written, spare) = channel();
        let thread = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || write(ring, &queue, |buffer| drop(written.send(buffer))))?;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started = (Instant::now(), u64::try_from(wall.as_micros()).unwrap_or(u64::MAX));
        Ok(Self {
            encoder: Encoder::default(),
            told: Told::default(),
            orders,
            spare,
            thread,
            generation: 1,
            number: 0,
            handed: started.0,
            file_bytes: 0,
            file_bytes_max: Ring::file_bytes(bytes_max),
            first: true,
            last_state: 0,
            turn: None,
            started,
            links: Vec::new(),
        })
    }

    fn micros(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.started.0).as_micros();
        self.started.1.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// The process starts.
    pub(crate) fn boot(&mut self, config: &peer::Config, recovered: &Recovered<Txn>, tree: &Tree) {
        let (config, recovered) = (config.clone(), recovered.clone());
        let at_us = self.micros(Instant::now());
        self.encoder.boot(&Boot { at_us, config, recovered, tree: TreeMark::of(tree) });
    }

    /// A turn of the loop begins.
    pub(crate) fn turn(&mut self, now: Instant) {
        self.turn = Some(now);
    }

    /// Something of this turn is recorded next.
    fn begin(&mut self) {
        if let Some(now) = self.turn.take() {
            let at_us = self.micros(now);
            self.encoder.turn(at_us);
        }
    }

    /// The peer is about to be told this.
    pub(crate) fn input(&mut self, input: &Input<Tree>, learning: bool) {
        self.begin();
        self.told.input();
        if self.encoder.input(input, learning) == Writes::Collecting {
            self.generation = self.generation.wrapping_add(1);
        }
        if let Input::Disconnected(peer) = input {
            self.links.retain(|link| link.peer != *peer);
        }
    }

    /// Changes whenever it counts anew whether a client was heard of.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// A link is up, of which the peer is told next.
    pub(crate) fn link(&mut self, link: LinkMark) {
        self.begin();
        self.links.retain(|other| other.peer != link.peer);
        self.links.push(link);
        self.encoder.link(link);
    }

    /// The configuration node is set.
    pub(crate) fn adorn(&mut self, replaced: bool, text: &[u8], time: i64) {
        self.begin();
        self.encoder.adorn(replaced, text, time);
    }

    /// Another state takes the place of the one there was; the peer is told next.
    pub(crate) fn replaced(&mut self, tree: &Tree) {
        self.begin();
        self.encoder.replaced(TreeMark::of(tree));
    }

    /// Marks how a turn has left everything.
    pub(crate) fn end_turn(&mut self, now: Instant, tree: &Tree) {
        if self.turn.take().is_some() {
            return;
        }
        self.encoder.told(self.told.short());
        if self.encoder.len() >= HANDED_OVER || now.saturating_duration_since(self.handed) >= WAIT_MAX {
            self.hand_over(now, tree);
        }
    }

    /// Whether the next file is to begin, for which a checkpoint is needed.
    pub(crate) fn is_file_full(&self) -> bool {
        self.file_bytes >= self.file_bytes_max
    }

    /// Begins the next file with the peer as it is. Only between steps.
    pub(crate) fn checkpoint(&mut self, now: Instant, config: &peer::Config, peer: &Peer<Tree>, tree: &Tree) {
        self.hand_over(now, tree);
        self.first = true;
        self.file_bytes = 0;
        self.encoder.checkpoint(&Checkpoint {
            at_us: self.micros(now),
            config: config.clone(),
            peer: peer.clone(),
            tree: TreeMark::of(tree),
            told: self.told.number(),
            links: self.links.clone(),
        });
    }

    /// Hands the buffer to the thread.
    pub(crate) fn hand_over(&mut self, now: Instant, tree: &Tree) {
        if self.encoder.is_empty() {
            return;
        }
        let last = tree.last_processed();
        if last.0 != self.last_state {
            self.last_state = last.0;
            self.encoder.state(last, tree.digest());
        }
        self.handed = now;
        let mut next = self.spare.try_recv().unwrap_or_default();
        next.clear();
        let records = self.encoder.take(next);
        self.file_bytes += u64::try_from(records.len()).unwrap_or(0);
        let order = Order { number: self.number, first: self.first, records };
        // Handed over or dropped: a number that is missing in the ring says so.
        self.number += 1;
        self.first = false;
        match self.orders.try_send(order) {
            // What follows can be told again only from the next checkpoint on: it is made soon.
            Err(TrySendError::Full(_)) => self.file_bytes = self.file_bytes.max(self.file_bytes_max / 8 * 7),
            // The thread has said why it is gone.
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// The process ends in order: hands over what is left. The thread ends when it has written it.
    pub(crate) fn end(mut self, tree: &Tree) -> JoinHandle<()> {
        self.encoder.end();
        self.hand_over(Instant::now(), tree);
        self.thread
    }
}

impl Recorder {
    /// The process is killed: what was not handed over is lost. The thread ends when it has written the rest.
    pub(crate) fn kill(self) -> JoinHandle<()> {
        self.thread
    }
}

/// Writes what is handed over until nothing more comes, or the file system refuses.
fn write(mut ring: Ring, queue: &Receiver<Order>, written: impl Fn(Vec<u8>)) {
    while let Ok(Order { number, first, records }) = queue.recv() {
        if let Err(error) = ring.write(number, first, &records) {
            return warn!(%error, "nothing more is recorded: the recorder's file cannot be written");
        }
        written(records);
    }
}

/// The ends of a link's connection.
pub(crate) fn link_mark(
    peer: ServerId,
    accepted: bool,
    writer: &tokio::net::tcp::OwnedWriteHalf,
) -> LinkMark {
    let port = |address: std::io::Result<std::net::SocketAddr>| address.map_or(0, |address| address.port());
    LinkMark { peer, accepted, local: port(writer.local_addr()), remote: port(writer.peer_addr()) }
}
