//! The folders of one server, locked, and what is shared by all who work in them.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use spec::{Epoch, Zxid};

use crate::{
    Error,
    disk::Disk,
    error::Context,
    layout::{Layout, Packing, SnapshotName},
    log::Log,
    recover::Recovery,
    snapshot::Snapshots,
    text::{Epochs, if_there},
};

/// What the operator sets.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of ZooKeeper's")]
pub struct Config {
    /// The folder of `myid`, epochs and snapshots (`dataDir`).
    pub data_dir: PathBuf,
    /// The folder of the log, if it is another (`dataLogDir`).
    pub data_log_dir: Option<PathBuf>,
    /// The length of a file of the log, in bytes (`preAllocSize`).
    pub segment_bytes: u64,
    /// How many of the last transactions recovery hands out (`commitLogCount`).
    pub window: usize,
    /// A server without any data is new (`zookeeper.db.autocreate`).
    pub autocreate: bool,
    /// Folders are made that are missing (`zookeeper.datadir.autocreate`).
    pub make_folders: bool,
    /// A log without a snapshot starts from the empty state (`zookeeper.snapshot.trust.empty`).
    pub trust_empty: bool,
    /// A learner is served from the log on disk only if that takes fewer bytes than this many millionths of the
    /// newest snapshot (`zookeeper.snapshotSizeFactor`); 0 is no limit.
    pub snapshot_size_millionths: u32,
    /// Digests are relied on (`zookeeper.digest.enabled`): snapshots carry that of the state and their last transaction
    /// behind the first seal, which ZooKeeper without digests does not read past; and a log that does not make the states
    /// that it tells of is refused (rule D-17).
    pub trailers: bool,
    /// How snapshots are written; each is read as its name says (`zookeeper.snapshot.compression.method`).
    pub packing: Packing,
}

impl Config {
    /// ZooKeeper's defaults, in this folder.
    pub fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            data_log_dir: None,
            segment_bytes: 64 << 20,
            window: 500,
            autocreate: true,
            make_folders: true,
            trust_empty: false,
            snapshot_size_millionths: 330_000,
            trailers: true,
            packing: Packing::Plain,
        }
    }
}

/// The folders of one server, locked against others. Clones are the same store; all of them can work at once, on
/// threads of their own, but there is one [`Log`].
#[derive(Debug)]
pub struct Store<D: Disk> {
    inner: Arc<Inner<D>>,
}

impl<D: Disk> Clone for Store<D> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

#[derive(Debug)]
struct Inner<D: Disk> {
    disk: D,
    layout: Layout,
    config: Config,
    /// The last epoch promised that this process knows to be durable.
    accepted: AtomicU32,
    /// The log is whole from here on.
    floor: AtomicU64,
    /// What is before this place was purged, by this process.
    purged: AtomicU64,
    /// Readers of the log, by where they stand.
    readers: Mutex<Readers>,
    /// Counts cuts of the log: a snapshot begun before one is not to come to stand behind it.
    cuts: Mutex<u64>,
    /// Purging, cutting, and taking a received state: one at a time.
    removals: Mutex<()>,
    /// Packed snapshots that were seen to have their end, with their lengths.
    whole: Mutex<BTreeMap<SnapshotName, u64>>,
    _locks: Vec<D::Lock>,
}

#[derive(Debug, Default)]
pub(crate) struct Readers {
    next: u64,
    after: BTreeMap<u64, Zxid>,
}

impl Readers {
    /// The first place that a reader needs the log behind of.
    pub(crate) fn behind(&self) -> Option<Zxid> {
        self.after.values().min().copied()
    }
}

impl<D: Disk> Store<D> {
    /// Makes the folders where they are missing, if it may, and locks them.
    ///
    /// # Errors
    /// [`Error::NoFolder`] if it may not, [`Error::NoLogs`] if the log's cannot be right, [`Error::Locked`] if another server uses one of them, [`Error::Misplaced`] if
    /// something of one stands in the other, [`Error::Io`].
    pub fn open(disk: D, config: Config) -> Result<Self, Error> {
        let layout = Layout::new(&config.data_dir, config.data_log_dir.as_deref());
        layout.judge_folders(&disk)?;
        let mut dirs = vec![layout.snapshots.clone(), layout.logs.clone()];
        dirs.dedup();
        let mut locks = Vec::new();
        for dir in dirs {
            if !config.make_folders && if_there(disk.list(&dir)).context("list", &dir)?.is_none() {
                return Err(Error::NoFolder { path: dir });
            }
            disk.create_dir(&dir).context("create", &dir)?;
            locks.push(disk.lock(&dir).context("lock", &dir)?.ok_or(Error::Locked { path: dir })?);
        }
        layout.judge(&disk)?;
        let inner = Inner {
            disk,
            layout,
            config,
            accepted: AtomicU32::new(0),
            floor: AtomicU64::new(0),
            purged: AtomicU64::new(0),
            removals: Mutex::default(),
            readers: Mutex::default(),
            cuts: Mutex::default(),
            whole: Mutex::default(),
            _locks: locks,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Reads everything and decides what to make of it; writes nothing. Also for later, while no operation on the log
    /// is under way.
    ///
    /// # Errors
    /// [`Error::Refused`] if the files do not allow a safe start, [`Error::Unreadable`], [`Error::Text`],
    /// [`Error::Io`].
    pub fn recover(&self) -> Result<Recovery, Error> {
        let recovery = crate::recover::recover(self)?;
        self.inner.accepted.store(recovery.recovered.accepted.0, Ordering::Release);
        self.set_floor(recovery.recovered.floor);
        Ok(recovery)
    }

    /// Opens the log behind what was recovered. Once per process.
    pub fn log(&self, recovery: &mut Recovery) -> Log<D> {
        Log::new(self.clone(), recovery.recovered.last, std::mem::take(&mut recovery.repairs))
    }

    /// Stores the epoch promised; it is durable when this returns.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::OutOfSpace`], [`Error::Sync`]: the process has to end.
    pub fn save_accepted(&self, epoch: Epoch) -> Result<(), Error> {
        self.epochs().save_accepted(epoch)?;
        self.inner.accepted.store(epoch.0, Ordering::Release);
        Ok(())
    }

    /// Stores the epoch joined; it is durable when this returns.
    ///
    /// # Errors
    /// As [`Self::save_accepted`].
    pub fn save_current(&self, epoch: Epoch) -> Result<(), Error> {
        self.epochs().save_current(epoch)
    }

    /// The snapshots.
    pub fn snapshots(&self) -> Snapshots<D> {
        Snapshots::new(self.clone())
    }

    /// The epoch files.
    pub fn epochs(&self) -> Epochs<D> {
        Epochs { disk: self.inner.disk.clone(), layout: self.inner.layout.clone() }
    }

    /// The disk.
    pub fn disk(&self) -> &D {
        &self.inner.disk
    }

    /// The folders.
    pub fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn accepted(&self) -> Epoch {
        Epoch(self.inner.accepted.load(Ordering::Acquire))
    }

    pub(crate) fn floor(&self) -> Zxid {
        Zxid(self.inner.floor.load(Ordering::Acquire))
    }

    /// The log is to go back to this place at most: what is before it is purged.
    pub(crate) fn purges_before(&self, place: Zxid) {
        self.inner.purged.fetch_max(place.0, Ordering::AcqRel);
        self.inner.floor.fetch_max(place.0, Ordering::AcqRel);
    }

    /// A state at this place has taken that of everything else.
    pub(crate) fn begins_at(&self, place: Zxid) {
        self.inner.purged.store(place.0, Ordering::Release);
        self.set_floor(place);
    }

    /// Held while files of what is older, or of what comes to nothing, are taken away: what a purge keeps may be what a cut
    /// is about to drop, and the other way round.
    pub(crate) fn removals(&self) -> MutexGuard<'_, ()> {
        self.inner.removals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what stands behind this place was not purged.
    pub(crate) fn is_kept_behind(&self, place: Zxid) -> bool {
        place.0 >= self.inner.purged.load(Ordering::Acquire)
    }

    pub(crate) fn set_floor(&self, floor: Zxid) {
        self.inner.floor.store(floor.0, Ordering::Release);
    }

    /// The count of cuts; while the guard is held none happens.
    pub(crate) fn cuts(&self) -> MutexGuard<'_, u64> {
        self.inner.cuts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a packed snapshot was seen to have its end, when it was as long as it is now.
    pub(crate) fn is_known_whole(&self, name: SnapshotName, length: u64) -> bool {
        self.whole().get(&name) == Some(&length)
    }

    /// Notes that a snapshot has its end. That of a plain one is soon read again.
    pub(crate) fn know_whole(&self, name: SnapshotName, length: u64) {
        if name.packing != Packing::Plain {
            self.whole().insert(name, length);
        }
    }

    /// Forgets what was noted of snapshots that are gone.
    pub(crate) fn forget_whole(&self, gone: SnapshotName) {
        self.whole().remove(&gone);
    }

    fn whole(&self) -> MutexGuard<'_, BTreeMap<SnapshotName, u64>> {
        self.inner.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn readers(&self) -> MutexGuard<'_, Readers> {
        self.inner.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps purging from taking the log behind this place, until [`Self::leave`].
    pub(crate) fn enter(&self, after: Zxid) -> u64 {
        let mut readers = self.readers();
        readers.next += 1;
        let id = readers.next;
        readers.after.insert(id, after);
        id
    }

    pub(crate) fn leave(&self, reader: u64) {
        self.readers().after.remove(&reader);
    }
}
