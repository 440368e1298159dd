//! The next file of the log, made ahead of its use (rule D-12).
//!
//! Its room is taken first, which is quick, and then zeros are written to it, as far as that comes before the log needs
//! it. Where zeros stand a sync costs half, since the file system has nothing to note beside it; but they go to the
//! disk besides the records. So they are written in small steps, half of the disk's time being left to the log, and
//! only while the log's own batches are small: large ones make little of what a sync costs.
//!
//! All this takes long, and the log must go on meanwhile: so it is a value that works on any thread.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    Error,
    disk::{Disk, File, Room, write_zeros},
    error::Context,
    layout::SPARE_LOG,
    store::Store,
};

/// Room is made in steps of this many bytes where that is writing, so that a sync of the log never waits for all of
/// it. A file that is waited for has no more.
pub(crate) const STEP_BYTES: u64 = 4 << 20;
/// Zeros that are written to room that was taken go in steps of this many bytes: a sync of the log may wait for one.
/// Behind each as much time is left to others as it took; with more, a busy log is there before the zeros are.
const ZEROS_BYTES: u64 = 256 << 10;
/// Batches of this many bytes are large.
const BATCH_LARGE: u64 = 64 << 10;
/// How long to wait for batches to become small again.
const LARGE_PAUSE: Duration = Duration::from_millis(50);

/// What the log tells of itself while its next file is being filled.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// It wants the file soon, as it is; or never.
    pub(crate) hurry: AtomicBool,
    /// How many bytes a batch has of late.
    pub(crate) batch_bytes: AtomicU64,
}

/// The next file, to be filled with zeros.
#[derive(Debug)]
pub struct Spare<D: Disk> {
    store: Store<D>,
    needs: Arc<Needs>,
}

/// The next file, filled and synced.
#[derive(Debug)]
pub struct FilledSpare<D: Disk> {
    pub(crate) file: D::File,
    /// Its name until its first batch is durable.
    pub(crate) path: PathBuf,
    pub(crate) length: u64,
}

impl<D: Disk> Spare<D> {
    pub(crate) fn new(store: Store<D>, needs: Arc<Needs>) -> Self {
        Self { store, needs }
    }

    /// Fills it. The log gets it with [`Log::take_spare`](crate::Log::take_spare). In between the thread is parked now
    /// and then, and goes on sooner if it is unparked.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::OutOfSpace`], [`Error::Sync`].
    pub fn fill(self) -> Result<FilledSpare<D>, Error> {
        self.filled().inspect_err(|error| {
            if matches!(error, Error::OutOfSpace { .. }) {
                // The log needs what room there is. If this fails, the next start does it.
                let _ = self.store.disk().remove(&self.store.layout().logs.join(SPARE_LOG));
            }
        })
    }

    fn filled(&self) -> Result<FilledSpare<D>, Error> {
        let wanted = self.store.config().segment_bytes;
        let (spare, room) = reserved(&self.store, SPARE_LOG, wanted, |took| {
            // Half of the disk's time is left to others: to this server's log, and to those of servers that have
            // started at once on the same machine.
            thread::park_timeout(took);
            !self.hurries()
        })?;
        if room == Room::Taken {
            self.write(&spare)?;
        }
        Ok(spare)
    }

    fn hurries(&self) -> bool {
        self.needs.hurry.load(Ordering::Relaxed)
    }

    /// Writes zeros from the start, until the log wants the file.
    fn write(&self, spare: &FilledSpare<D>) -> Result<(), Error> {
        let mut at = 0;
        while at < spare.length && !self.hurries() {
            if self.needs.batch_bytes.load(Ordering::Relaxed) >= BATCH_LARGE {
                thread::park_timeout(LARGE_PAUSE);
                continue;
            }
            let started = Instant::now();
            let to = spare.length.min(at + ZEROS_BYTES);
            write_zeros(&spare.file, at, to).context("fill with zeros", &spare.path)?;
            spare.file.sync().context("sync", &spare.path)?;
            at = to;
            thread::park_timeout(started.elapsed());
        }
        Ok(())
    }
}

/// A file that reads as zeros, synced, and waited for.
pub(crate) fn zeroed<D: Disk>(store: &Store<D>, name: &str, length: u64) -> Result<FilledSpare<D>, Error> {
    reserved(store, name, length, |_| true).map(|(spare, _)| spare)
}

/// A file that reads as zeros, synced, and how its room was had. Behind each step that wrote, and told how long it
/// took, `go_on` says whether to.
fn reserved<D: Disk>(
    store: &Store<D>,
    name: &str,
    length: u64,
    go_on: impl Fn(Duration) -> bool,
) -> Result<(FilledSpare<D>, Room), Error> {
    let path = store.layout().logs.join(name);
    let file = store.disk().create(&path).context("create", &path)?;
    let (mut at, mut room) = (0, Room::Written);
    while at < length {
        let started = Instant::now();
        let to = length.min(at + STEP_BYTES);
        room = file.reserve(at, to).context("make room in", &path)?;
        file.sync().context("sync", &path)?;
        at = to;
        if room == Room::Written && !go_on(started.elapsed()) {
            break;
        }
    }
    Ok((FilledSpare { file, path, length: at }, room))
}
