//! The next file of the log, filled with zeros ahead of its use (rule D-12).
//!
//! Filling takes as long as writing a whole file, during which the log must go on: so it is a value that works on any
//! thread.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    Error,
    disk::{Disk, File},
    error::Context,
    layout::SPARE_LOG,
    store::Store,
};

/// Zeros are synced in steps of this many bytes, so that a sync of the log never waits for all of them. A file that is
/// waited for has no more.
pub(crate) const STEP_BYTES: u64 = 4 << 20;

/// The next file, to be filled with zeros.
#[derive(Debug)]
pub struct Spare<D: Disk> {
    store: Store<D>,
    /// Whether nobody wants it any more.
    given_up: Arc<AtomicBool>,
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
    pub(crate) fn new(store: Store<D>, given_up: Arc<AtomicBool>) -> Self {
        Self { store, given_up }
    }

    /// Fills it. The log gets it with [`Log::take_spare`](crate::Log::take_spare).
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::OutOfSpace`], [`Error::Sync`].
    pub fn fill(self) -> Result<FilledSpare<D>, Error> {
        filled(&self.store, SPARE_LOG, self.store.config().segment_bytes, |took| {
            // Half of the disk's time is left to others: to this server's log, and to those of servers that have
            // started at once on the same machine.
            thread::sleep(took);
            !self.given_up.load(Ordering::Relaxed)
        })
    }
}

/// A file of zeros, synced, and waited for.
pub(crate) fn zeroed<D: Disk>(store: &Store<D>, name: &str, length: u64) -> Result<FilledSpare<D>, Error> {
    filled(store, name, length, |_| true)
}

/// A file of zeros, synced. Behind each step, and told how long it took, `go_on` says whether to.
fn filled<D: Disk>(
    store: &Store<D>,
    name: &str,
    length: u64,
    go_on: impl Fn(Duration) -> bool,
) -> Result<FilledSpare<D>, Error> {
    let path = store.layout().logs.join(name);
    let file = store.disk().create(&path).context("create", &path)?;
    let mut at = 0;
    while at < length {
        let started = Instant::now();
        let to = length.min(at + STEP_BYTES);
        file.zero(at, to).context("fill with zeros", &path)?;
        file.sync().synced(&path)?;
        at = to;
        if !go_on(started.elapsed()) {
            break;
        }
    }
    Ok(FilledSpare { file, path, length: at })
}
