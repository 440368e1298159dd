//! Snapshots of the state as it was at one moment: to disk when they are due or asked for, and to learners.
//!
//! Each is a walk over the tree that goes on a slice at a time while the tree changes. The first slice is taken before
//! anything else is told to the peer, so that the walk shows the state that the effect meant.

use std::{cell::RefCell, rc::Weak, time::Instant};

use bytes::BytesMut;
use protocol::{Ticket, Timer};
use spec::{Machine, ServerId, Zxid};
use storage::snapshot::{put_head, put_node};
use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
};
use tracing::{debug, info};
use tree::{Progress, Tree, Walk};
use wire::snapshot::{put_end, put_signature};

use crate::{
    Config,
    core::{Core, Later, Shell},
    link::{Room, Stream, Sync},
    store::{SnapshotChunk, SnapshotJob},
};

/// Bytes of a snapshot that one slice makes.
const SLICE_BYTES: usize = 256 << 10;
/// Slices that may wait for the disk.
const SLICES_QUEUED: usize = 4;

/// When a snapshot is due, and those under way.
#[derive(Debug)]
pub(crate) struct Snapshots {
    /// Each save has a number; one that is not the current one any more stops.
    current_save: Option<u64>,
    /// Whether the state was received from a leader, which waits for it.
    received: bool,
    /// How often the state was replaced: a walk belongs to the state that it was begun on.
    generation: u64,
    last_save: u64,
    txns_max: u64,
    bytes_max: u64,
    txns_due: u64,
    bytes_due: u64,
    txns: u64,
    bytes: u64,
    /// The size of the last snapshot.
    size: u64,
    dice: u64,
    /// Who waits for a save, and for which.
    awaited: Option<(u64, oneshot::Sender<Option<u64>>)>,
    /// When the admin server has begun to give one out.
    pub(crate) given: Option<Instant>,
}

impl Snapshots {
    /// `size` is that of the newest snapshot; `seed` keeps the servers of an ensemble apart.
    pub(crate) fn new(config: &Config, size: u64, seed: u64) -> Self {
        let mut snapshots = Self {
            current_save: None,
            received: false,
            generation: 0,
            last_save: 0,
            txns_max: u64::from(config.snap_count),
            bytes_max: config.snap_size_bytes,
            txns_due: 0,
            bytes_due: 0,
            txns: 0,
            bytes: 0,
            size,
            dice: seed | 1,
            awaited: None,
            given: None,
        };
        snapshots.draw();
        snapshots
    }

    /// Draws when the next one is due: behind half of the limit at least, so that the servers of an ensemble do not
    /// all write at once.
    fn draw(&mut self) {
        let mut between = |max: u64| {
            self.dice ^= self.dice << 13;
            self.dice ^= self.dice >> 7;
            self.dice ^= self.dice << 17;
            max / 2 + self.dice % (max - max / 2).max(1)
        };
        (self.txns_due, self.bytes_due) = (between(self.txns_max), between(self.bytes_max));
        (self.txns, self.bytes) = (0, 0);
    }

    /// Counts a transaction that is logged.
    pub(crate) fn logged(&mut self, bytes: usize) {
        self.txns += 1;
        self.bytes += u64::try_from(bytes).unwrap_or(0);
    }

    /// Whether enough was logged since the last one: also more than that one's own size, for writing it again costs
    /// as much.
    fn is_due(&self) -> bool {
        let enough = self.txns >= self.txns_due || self.bytes >= self.bytes_due;
        enough && self.bytes >= self.size && self.current_save.is_none()
    }

    /// Gives up a snapshot of its own accord that is under way: the log it belongs to is about to be cut.
    pub(crate) fn cancel(&mut self) {
        if !self.received {
            self.current_save = None;
        }
    }

    /// Gives up any snapshot under way: this server stops.
    pub(crate) fn give_up(&mut self) {
        self.current_save = None;
    }

    /// A save is over; `size` if it is on disk.
    pub(crate) fn saved(&mut self, number: u64, size: Option<u64>) {
        if self.current_save == Some(number) {
            self.current_save = None;
        }
        if let Some(size) = size {
            self.size = size;
        }
        if let Some((_, waits)) = self.awaited.take_if(|(awaited, _)| *awaited == number) {
            // Who has waited may be gone.
            let _ = waits.send(size);
        }
    }

    /// Whether one is under way, or waited for.
    pub(crate) fn is_busy(&self) -> bool {
        self.current_save.is_some() || self.awaited.is_some()
    }

    /// Tells the size of the save that was begun last when it is on disk, or that it came to nothing.
    pub(crate) fn awaited(&mut self) -> oneshot::Receiver<Option<u64>> {
        let (sender, receiver) = oneshot::channel();
        self.awaited = Some((self.last_save, sender));
        receiver
    }
}

/// Why the state is written to disk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Saving {
    /// It was received from a leader, which waits for that.
    Received(Ticket),
    /// Somebody has asked for it, and waits.
    Asked,
    /// It is time, and nobody waits.
    Due,
}

impl Shell {
    /// Begins to write the state, as it is now, to disk.
    pub(crate) fn begin_save(&mut self, saving: Saving, label: Zxid, tree: &mut Tree) {
        let (ticket, gentle) = match saving {
            Saving::Received(ticket) => (Some(ticket), false),
            Saving::Asked => (None, false),
            Saving::Due => (None, true),
        };
        let walk = Walk::start(tree);
        let snapshots = &mut self.snapshots;
        snapshots.last_save += 1;
        snapshots.current_save = Some(snapshots.last_save);
        snapshots.received = ticket.is_some();
        snapshots.draw();
        let (number, generation) = (snapshots.last_save, snapshots.generation);
        let (sink, chunks) = mpsc::channel(SLICES_QUEUED);
        self.store.save_snapshot(SnapshotJob {
            gentle,
            ticket,
            label,
            digest: walk.digest(),
            number,
            chunks,
        });
        tokio::task::spawn_local(save(self.me.clone(), Going::new(walk, generation), sink, number));
    }

    /// Begins to send the state, as it is now, to a learner, behind what is queued for it.
    pub(crate) fn begin_send(&mut self, to: ServerId, last: Zxid, tree: &mut Tree) {
        if let Some(stream) = self.links.begin_stream(to, Sync::Snapshot) {
            let walk = Walk::start(tree);
            assert_eq!(walk.last_processed(), last, "R-7: the state sent is not the one that was meant");
            tokio::task::spawn_local(send(
                self.me.clone(),
                Going::new(walk, self.snapshots.generation),
                stream,
            ));
        }
    }
}

impl Core {
    /// Begins a snapshot, if one is due.
    pub(crate) fn begin_due_save(&mut self) {
        if self.shell.part.serving && self.shell.snapshots.is_due() {
            let label = self.tree.last_processed();
            self.shell.begin_save(Saving::Due, label, &mut self.tree);
        }
    }

    /// Puts a state in the place of the one there is.
    pub(crate) fn replace_tree(&mut self, tree: Tree) {
        let old = std::mem::replace(&mut self.tree, tree);
        // A large tree takes a while to take down.
        drop(tokio::task::spawn_blocking(move || drop(old)));
        self.shell.snapshots.generation += 1;
        if let Some(recorder) = &mut self.shell.recorder {
            recorder.replaced(&self.tree);
        }
        self.adorn_tree(true);
    }

    /// Shows the ensemble in the configuration node.
    pub(crate) fn adorn_tree(&mut self, replaced: bool) {
        if !self.shell.config.standalone() {
            let text = self.shell.config.ensemble_text();
            let time = self.shell.touch().wall;
            if let Some(recorder) = &mut self.shell.recorder {
                recorder.adorn(replaced, text.as_bytes(), time);
            }
            self.tree.set_config(text.as_bytes(), Zxid::ZERO, time);
        }
    }
}

/// Appends the next nodes. True behind the last; `None` if the tree was replaced.
fn put_slice(going: &mut Going, core: &mut Core, out: &mut BytesMut) -> Option<bool> {
    if going.generation != core.shell.snapshots.generation {
        return None;
    }
    match going.walk.next(&mut core.tree, SLICE_BYTES, &mut |node| put_node(node, out)) {
        Ok(Progress::More) => Some(false),
        Ok(Progress::Done) => {
            put_end(out);
            Some(true)
        }
        Err(_) => None,
    }
}

/// What became of a slice.
enum Slice {
    /// It is under way; there are more.
    More,
    /// It was the last.
    Last,
    /// There is no room for it yet.
    Wait,
    /// The snapshot is given up.
    Over,
}

/// A snapshot under way: the walk, and whether its head is still to come.
struct Going {
    walk: Walk,
    headless: bool,
    generation: u64,
}

impl Going {
    fn new(walk: Walk, generation: u64) -> Self {
        Self { walk, headless: true, generation }
    }

    /// Takes what stands before the nodes, once.
    fn put_head(&mut self, out: &mut BytesMut) -> bool {
        let first = std::mem::take(&mut self.headless);
        if first {
            put_head(&self.walk, out);
        }
        first
    }
}

impl Core {
    fn send_slice(&mut self, going: &mut Going, stream: &Stream) -> Slice {
        match self.shell.links.room(stream) {
            Room::Gone => return Slice::Over,
            Room::Full => return Slice::Wait,
            Room::Free => {}
        }
        let mut slice = BytesMut::new();
        if going.headless {
            wire::peer::put_snap(going.walk.last_processed(), &mut slice);
        }
        going.put_head(&mut slice);
        let Some(done) = put_slice(going, self, &mut slice) else {
            // The state was replaced, so this server leads no longer, and its links are closing anyway.
            let peer = self.shell.links.fail(stream);
            self.shell.later.extend(peer.map(Later::LinkGone));
            self.settle();
            return Slice::Over;
        };
        if done {
            put_signature(&mut slice);
        }
        self.shell.links.fill(stream, |out| out.extend_from_slice(&slice), done);
        self.shell.sends_on(stream.to);
        self.shell.touch();
        if done { Slice::Last } else { Slice::More }
    }

    fn save_slice(&mut self, going: &mut Going, number: u64, room: mpsc::Permit<'_, SnapshotChunk>) -> Slice {
        if self.shell.snapshots.current_save != Some(number) {
            debug!("a snapshot was given up: the log is being cut");
            return Slice::Over;
        }
        let mut slice = BytesMut::new();
        going.put_head(&mut slice);
        let Some(last) = put_slice(going, self, &mut slice) else {
            return Slice::Over;
        };
        if self.shell.snapshots.received {
            self.shell.comes_on(Timer::Establish);
        }
        room.send(SnapshotChunk { bytes: slice.freeze(), last });
        if last { Slice::Last } else { Slice::More }
    }
}

/// Sends the state to a learner, as its link takes it.
async fn send(me: Weak<RefCell<Core>>, mut going: Going, stream: Stream) {
    let started = Instant::now();
    loop {
        let Some(core) = me.upgrade() else { return };
        let slice = core.borrow_mut().send_slice(&mut going, &stream);
        drop(core);
        match slice {
            Slice::More => yield_now().await,
            Slice::Wait => stream.room.notified().await,
            Slice::Last => {
                let ms = started.elapsed().as_millis();
                return info!(nodes = going.walk.node_count(), ms, "the state was sent to a learner");
            }
            Slice::Over => return cancel(&me, going),
        }
    }
}

/// Writes the state to disk, as the disk takes it.
async fn save(me: Weak<RefCell<Core>>, mut going: Going, sink: mpsc::Sender<SnapshotChunk>, number: u64) {
    while let Ok(room) = sink.reserve().await {
        let Some(core) = me.upgrade() else { return };
        let slice = core.borrow_mut().save_slice(&mut going, number, room);
        drop(core);
        match slice {
            Slice::More | Slice::Wait => yield_now().await,
            Slice::Last => return,
            Slice::Over => break,
        }
    }
    cancel(&me, going);
}

fn cancel(me: &Weak<RefCell<Core>>, going: Going) {
    if let Some(core) = me.upgrade() {
        let core = &mut *core.borrow_mut();
        if going.generation == core.shell.snapshots.generation {
            going.walk.cancel(&mut core.tree);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Snapshots;

    fn snapshots(count: u32, size: u64, seed: u64) -> Snapshots {
        let text = format!("dataDir=/d\nclientPort=1\nsnapCount={count}");
        let config = crate::Config::parse("zoo.cfg", text, |_| unreachable!("alone")).expect("valid");
        Snapshots::new(&config, size, seed)
    }

    #[test]
    fn a_snapshot_is_due_between_half_the_limit_and_the_limit() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 1..50 {
            let mut snapshots = snapshots(100, 0, seed * 0x9e37_79b9);
            let due = (0..200).find(|_| {
                snapshots.logged(10);
                snapshots.is_due()
            });
            let txns = due.expect("due at all") + 1;
            assert!((50..=100).contains(&txns), "{txns}");
            seen.insert(txns);
        }
        assert!(seen.len() > 10, "servers do not coincide: {seen:?}");
    }

    #[test]
    fn not_before_the_log_is_as_large_as_the_last_snapshot() {
        let mut snapshots = snapshots(100, 5000, 7);
        for _ in 0..100 {
            snapshots.logged(10);
        }
        assert!(!snapshots.is_due(), "1,000 bytes of log, and a snapshot of 5,000");
        for _ in 0..400 {
            snapshots.logged(10);
        }
        assert!(snapshots.is_due());
    }
}
