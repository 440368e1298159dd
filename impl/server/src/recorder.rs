//! The flight recorder: what the peer is told goes into a buffer, and whole buffers to a thread that writes the ring.
//!
//! Nothing here waits. If the thread has not taken what was handed over before, the buffer is dropped, and its missing
//! number shows in the ring as a gap. A read that changes nothing is not recorded; what it changes is that its client
//! was heard of, so the first request of a client behind each collection of those is recorded.

use std::{
    path::Path,
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use protocol::{
    Recovered,
    peer::{self, ClientRequest, Input, Peer},
};
use recording::{Boot, Checkpoint, Encoder, LinkMark, Told, TreeMark, Writes, ring::Ring};
use spec::{Machine, ServerId};
use tracing::warn;
use tree::{Settings, Tree, Txn, auth};

use crate::Config;

/// What is handed over at once, in bytes, at least, unless it is older than [`WAIT_MAX`]: to wake the thread costs more
/// than what a thousand records do.
const HANDED_OVER: usize = 256 << 10;
/// How long something may stay in the buffer while turns follow one another.
const WAIT_MAX: Duration = Duration::from_millis(40);
/// Bytes that may wait for the disk.
const WAITING_MAX: usize = 8 << 20;
/// Buffers that have grown beyond this are given back.
const KEPT: usize = 2 * HANDED_OVER;

/// What the thread is told to write.
struct Order {
    number: u64,
    first: bool,
    records: Vec<u8>,
}

/// Records what the peer is told.
pub(crate) struct Recorder {
    encoder: Encoder,
    /// What makes identities of credentials.
    settings: Settings,
    /// Over all that is recorded, and what came of it.
    pub(crate) told: Told,
    orders: Sender<Order>,
    /// Bytes that were handed over, and not come back.
    waiting: usize,
    /// Buffers that are written.
    spare: Receiver<Vec<u8>>,
    thread: JoinHandle<()>,
    /// Counts collections of those who were heard of.
    generation: u32,
    number: u64,
    handed: Instant,
    /// [`HANDED_OVER`], or less for a small ring.
    handed_over: usize,
    /// Bytes of the file that is being written.
    file_bytes: u64,
    file_bytes_max: u64,
    /// The next chunk begins a file.
    first: bool,
    /// The checkpoint that the file was to begin with is too long for one record.
    too_long: bool,
    /// The last transaction of the state that was marked.
    last_state: u64,
    /// A turn has begun, and nothing of it is recorded yet.
    turn: Option<Instant>,
    /// The two clocks at the start: only the monotonic one is read behind that.
    started: (Instant, u64),
    links: Vec<LinkMark>,
    /// The thread is gone, and has said why: nothing more is recorded.
    pub(crate) is_over: bool,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Starts the thread that writes, if the recorder is on. A server whose ring cannot be written goes on without.
    pub(crate) fn start(config: &Config) -> Option<Box<Self>> {
        let dir = config.recorder_dir.as_deref()?;
        match Self::open(dir, config.recorder_bytes) {
            Ok(recorder) => Some(Box::new(recorder)),
            Err(error) => {
                warn!(dir = %dir.display(), %error, "nothing is recorded: the recorder's folder cannot be used");
                None
            }
        }
    }

    fn open(dir: &Path, bytes_max: u64) -> std::io::Result<Self> {
        let ring = Ring::open(dir, bytes_max)?;
        let (orders, queue) = channel();
        let (written, spare) = channel();
        let thread = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || write(ring, &queue, |buffer| drop(written.send(buffer))))?;
        Ok(Self::new(orders, spare, thread, Ring::file_bytes(bytes_max)))
    }

    fn new(
        orders: Sender<Order>,
        spare: Receiver<Vec<u8>>,
        thread: JoinHandle<()>,
        file_bytes_max: u64,
    ) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started = (Instant::now(), u64::try_from(wall.as_micros()).unwrap_or(u64::MAX));
        let handed_over =
            usize::try_from(file_bytes_max / 4).map_or(HANDED_OVER, |most| most.min(HANDED_OVER));
        Self {
            encoder: Encoder::default(),
            settings: Settings::default(),
            told: Told::default(),
            orders,
            waiting: 0,
            spare,
            thread,
            generation: 1,
            number: 0,
            handed: started.0,
            handed_over,
            file_bytes: 0,
            file_bytes_max,
            first: true,
            too_long: false,
            last_state: 0,
            turn: None,
            started,
            links: Vec::new(),
            is_over: false,
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.started.0).as_micros();
        self.started.1.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// The process starts.
    pub(crate) fn boot(&mut self, config: &peer::Config<Settings>, recovered: &Recovered<Txn>, tree: &Tree) {
        self.settings = config.settings.clone();
        let (config, recovered) = (config.clone(), recovered.clone());
        let at_us = self.micros(Instant::now());
        self.encoder.boot(&Boot { at_us, config, recovered, tree: TreeMark::of(tree) });
    }

    /// What stands in the place of an input that tells of a password.
    fn sealed(&self, input: &Input<Tree>) -> Option<Input<Tree>> {
        let Input::ClientRequest { client, xid, request: ClientRequest::Authenticate(credential), time } =
            input
        else {
            return None;
        };
        let request = ClientRequest::Authenticate(auth::sealed(&self.settings, credential));
        Some(Input::ClientRequest { client: *client, xid: *xid, request, time: *time })
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
        let sealed = self.sealed(input);
        if self.encoder.input(sealed.as_ref().unwrap_or(input), learning) == Writes::Collecting {
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
        if self.encoder.len() >= self.handed_over || now.saturating_duration_since(self.handed) >= WAIT_MAX {
            self.hand_over(now, tree);
        }
    }

    /// Whether the next file is to begin, for which a checkpoint is needed.
    pub(crate) fn is_file_full(&self) -> bool {
        self.file_bytes >= self.file_bytes_max
    }

    /// Begins the next file with the peer as it is. Only between steps.
    pub(crate) fn checkpoint(
        &mut self,
        now: Instant,
        config: &peer::Config<Settings>,
        peer: &Peer<Tree>,
        tree: &Tree,
    ) {
        self.hand_over(now, tree);
        self.first = true;
        self.file_bytes = 0;
        self.encoder.checkpoint(&Checkpoint {
            at_us: self.micros(now),
            config: config.clone(),
            peer: peer.clone(),
            tree: TreeMark::of(tree),
            told: self.told,
            links: self.links.clone(),
        });
        self.too_long = self.encoder.is_empty();
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
        let mut next = Vec::new();
        loop {
            match self.spare.try_recv() {
                Ok(written) => {
                    self.waiting -= written.len();
                    next = written;
                }
                Err(TryRecvError::Empty) => break,
                // The thread has said why it is gone.
                Err(TryRecvError::Disconnected) => {
                    self.is_over = true;
                    break;
                }
            }
        }
        if next.capacity() > KEPT {
            next = Vec::new();
        }
        next.clear();
        // Handed over or dropped: a number that is missing in the ring says so.
        let number = self.number;
        self.number += 1;
        let whole = self.encoder.take(next);
        let too_long = std::mem::take(&mut self.too_long);
        let Some(records) = whole.filter(|_| self.waiting <= WAITING_MAX) else {
            // The next checkpoint will be too long as well: it costs too much to be tried again soon.
            if !too_long {
                self.missed();
            }
            return;
        };
        self.file_bytes += u64::try_from(records.len()).unwrap_or(0);
        self.waiting += records.len();
        let order = Order { number, first: self.first, records };
        self.first = false;
        // Seen the next time, if it is gone.
        let _ = self.orders.send(order);
    }

    /// Something is not in the ring: what follows can be told again only from the next checkpoint on, which is made
    /// soon.
    fn missed(&mut self) {
        self.file_bytes = self.file_bytes.max(self.file_bytes_max / 8 * 7);
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
pub(crate) fn link_mark(peer: ServerId, accepted: bool, socket: &tokio::net::TcpStream) -> LinkMark {
    let port = |address: std::io::Result<std::net::SocketAddr>| address.map_or(0, |address| address.port());
    LinkMark { peer, accepted, local: port(socket.local_addr()), remote: port(socket.peer_addr()) }
}

#[cfg(test)]
mod tests {
    use spec::ClientId;
    use tree::{Text, Write};

    use super::*;

    /// A turn in which something of this length is told.
    fn turn(recorder: &mut Recorder, length: usize) {
        let path = Text::from("/".repeat(length));
        let request = ClientRequest::Write(Write::Delete { path, version: -1 });
        recorder.turn(Instant::now());
        recorder.input(&Input::ClientRequest { client: ClientId(1), xid: 1, request, time: 0 }, false);
        recorder.end_turn(Instant::now(), &Tree::new());
    }

    #[test]
    fn a_disk_that_takes_nothing_costs_records_and_bounded_memory() {
        let ((orders, queue), (written, spare)) = (channel(), channel());
        let mut recorder = Recorder::new(orders, spare, std::thread::spawn(|| ()), 1 << 28);
        for _ in 0..2 * WAITING_MAX / HANDED_OVER {
            turn(&mut recorder, HANDED_OVER);
        }
        assert!(recorder.file_bytes > (1 << 28) / 4 * 3, "what follows is to begin with a checkpoint");
        let waiting: Vec<Order> = queue.try_iter().collect();
        let bytes: usize = waiting.iter().map(|order| order.records.len()).sum();
        assert!((WAITING_MAX..WAITING_MAX + 2 * HANDED_OVER).contains(&bytes), "{bytes} bytes wait");
        let last = waiting.last().map(|order| order.number);
        for order in waiting {
            written.send(order.records).expect("the recorder is there");
        }
        turn(&mut recorder, HANDED_OVER);
        let next = queue.try_recv().expect("there is room again").number;
        assert!(Some(next) > last.map(|last| last + 1), "the gap shows: {next} behind {last:?}");
    }

    #[test]
    fn a_disk_that_fails_ends_the_recording_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut recorder = Recorder::open(dir.path(), 1 << 20).expect("opened");
        std::fs::remove_dir_all(dir.path()).expect("removed");
        let deadline = Instant::now() + Duration::from_secs(20);
        while !recorder.is_over {
            assert!(Instant::now() < deadline, "it goes on");
            turn(&mut recorder, HANDED_OVER);
        }
        recorder.end(&Tree::new()).join().expect("the thread has ended in order");
    }
}
