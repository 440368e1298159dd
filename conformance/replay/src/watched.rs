//! A disk that knows what is not synced.
//!
//! Everything goes to the disk below at once. Beside it stands, for each file by its name, whether something was
//! written since its last sync, and for each folder, which of its names have changed since it was synced. While the disk
//! is *held*, no sync ends: what is reported as durable then is not.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use storage::{Disk, File};

use crate::expected::Covers;

/// A disk under watch. Clones are the same.
#[derive(Clone, Debug)]
pub struct Watched<D> {
    below: D,
    unsynced: Arc<Mutex<Unsynced>>,
    gate: Arc<Gate>,
}

/// Where syncs wait while the disk is held.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    opened: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    held: bool,
    /// The names of the threads that wait.
    waiting: Vec<String>,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self) {
        let mut state = self.state();
        if state.held {
            let name = thread::current().name().unwrap_or_default().to_owned();
            state.waiting.push(name.clone());
            while state.held {
                state = self.opened.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.waiting.retain(|one| *one != name);
        }
    }
}

/// What is not synced.
#[derive(Debug, Default)]
struct Unsynced {
    /// Files by name, each with the number of the file that has the name.
    names: BTreeMap<PathBuf, u64>,
    next: u64,
    /// Files with content that is not synced.
    files: BTreeSet<u64>,
    /// Names that their folder does not keep yet.
    entries: BTreeSet<PathBuf>,
}

/// An open file under watch.
#[derive(Debug)]
pub struct WatchedFile<F> {
    below: F,
    number: u64,
    unsynced: Arc<Mutex<Unsynced>>,
    gate: Arc<Gate>,
}

fn lock(unsynced: &Mutex<Unsynced>) -> MutexGuard<'_, Unsynced> {
    unsynced.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Unsynced {
    fn number(&mut self, path: &Path) -> u64 {
        if let Some(known) = self.names.get(path) {
            return *known;
        }
        self.next += 1;
        self.names.insert(path.to_owned(), self.next);
        self.next
    }
}

impl<D: Disk> Watched<D> {
    /// A disk on top of another one, of which everything is synced.
    pub fn new(below: D) -> Self {
        Self { below, unsynced: Arc::default(), gate: Arc::default() }
    }

    fn open(&self, path: &Path, below: D::File) -> WatchedFile<D::File> {
        let number = lock(&self.unsynced).number(path);
        self.file(below, number)
    }

    fn file(&self, below: D::File, number: u64) -> WatchedFile<D::File> {
        WatchedFile { below, number, unsynced: Arc::clone(&self.unsynced), gate: Arc::clone(&self.gate) }
    }

    /// Keeps syncs from ending, or lets them.
    pub fn hold(&self, held: bool) {
        self.gate.state().held = held;
        self.gate.opened.notify_all();
    }

    /// Counts the files of this folder as not synced, as what a start finds behind a crash may not be.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn doubt(&self, dir: &Path) -> io::Result<()> {
        let names = self.below.list(dir)?;
        let mut unsynced = lock(&self.unsynced);
        for name in names {
            let number = unsynced.number(&dir.join(name));
            unsynced.files.insert(number);
        }
        Ok(())
    }

    /// Whether a thread that carries such operations out waits for a sync to end.
    pub fn is_waiting(&self, covers: Covers) -> bool {
        let thread = match covers {
            Covers::Batch => "log",
            Covers::Accepted | Covers::Current => "epochs",
            Covers::Log | Covers::Snapshot | Covers::Nothing => return false,
        };
        self.gate.state().waiting.iter().any(|one| one == thread)
    }

    /// What such an operation should have synced and has not.
    pub fn unsynced(&self, covers: Covers) -> Option<String> {
        let prefixes: &[&str] = match covers {
            Covers::Log | Covers::Batch => &["log."],
            Covers::Accepted => &["acceptedEpoch"],
            Covers::Current => &["currentEpoch"],
            Covers::Snapshot => &["log.", "snapshot."],
            Covers::Nothing => return None,
        };
        let covered = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            prefixes.iter().any(|prefix| name.starts_with(prefix))
        };
        let unsynced = lock(&self.unsynced);
        let file =
            unsynced.names.iter().find(|(path, number)| covered(path) && unsynced.files.contains(number));
        let entry = unsynced.entries.iter().find(|path| covered(path));
        file.map(|(path, _)| format!("{} is written and not synced", path.display()))
            .or_else(|| entry.map(|path| format!("the folder of {} is not synced", path.display())))
    }
}

impl<D: Disk> Disk for Watched<D> {
    type File = WatchedFile<D::File>;
    type Lock = D::Lock;

    fn open(&self, path: &Path) -> io::Result<Self::File> {
        Ok(self.open(path, self.below.open(path)?))
    }

    fn open_write(&self, path: &Path) -> io::Result<Self::File> {
        Ok(self.open(path, self.below.open_write(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Self::File> {
        let below = self.below.create(path)?;
        let mut unsynced = lock(&self.unsynced);
        unsynced.names.remove(path);
        let number = unsynced.number(path);
        unsynced.files.insert(number);
        unsynced.entries.insert(path.to_owned());
        drop(unsynced);
        Ok(self.file(below, number))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.below.rename(from, to)?;
        let mut unsynced = lock(&self.unsynced);
        let number = unsynced.number(from);
        unsynced.names.remove(from);
        unsynced.names.insert(to.to_owned(), number);
        unsynced.entries.insert(from.to_owned());
        unsynced.entries.insert(to.to_owned());
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.below.remove(path)?;
        let mut unsynced = lock(&self.unsynced);
        unsynced.names.remove(path);
        unsynced.entries.insert(path.to_owned());
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.below.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.below.create_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.gate.pass();
        self.below.sync_dir(dir)?;
        lock(&self.unsynced).entries.retain(|path| path.parent() != Some(dir));
        Ok(())
    }

    fn lock(&self, dir: &Path) -> io::Result<Option<Self::Lock>> {
        self.below.lock(dir)
    }
}

impl<F: File> WatchedFile<F> {
    fn written(&self) {
        lock(&self.unsynced).files.insert(self.number);
    }
}

impl<F: File> File for WatchedFile<F> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.below.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.written();
        self.below.write_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.written();
        self.below.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        self.below.len()
    }

    fn sync(&self) -> io::Result<()> {
        self.gate.pass();
        self.below.sync()?;
        lock(&self.unsynced).files.remove(&self.number);
        Ok(())
    }
}
