//! A disk that is a map: everything is durable at once. Under [`Cuttable`](super::Cuttable) it makes a machine
//! whose power can be cut many thousand times a second.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Disk, File};

/// A disk in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, MemoryFile>,
    locked: BTreeSet<PathBuf>,
}

/// A file in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryFile {
    content: Arc<Mutex<Vec<u8>>>,
}

/// A folder that is locked.
#[derive(Debug)]
pub struct MemoryLock {
    disk: MemoryDisk,
    dir: PathBuf,
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.disk.state().locked.remove(&self.dir);
    }
}

impl MemoryDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A disk of its own with the same files.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = |(path, file): (&PathBuf, &MemoryFile)| {
            let content = file.content().clone();
            (path.clone(), MemoryFile { content: Arc::new(Mutex::new(content)) })
        };
        let files = self.state().files.iter().map(copy).collect();
        Self { state: Arc::new(Mutex::new(State { files, locked: BTreeSet::new() })) }
    }
}

impl MemoryFile {
    fn content(&self) -> MutexGuard<'_, Vec<u8>> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;
    type Lock = MemoryLock;

    fn open(&self, path: &Path) -> io::Result<MemoryFile> {
        self.state().files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open_write(&self, path: &Path) -> io::Result<MemoryFile> {
        self.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<MemoryFile> {
        let file = MemoryFile::default();
        self.state().files.insert(path.into(), file.clone());
        Ok(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let file = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(to.into(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state().files.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        let inside = state.files.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, dir: &Path) -> io::Result<Option<MemoryLock>> {
        let free = self.state().locked.insert(dir.into());
        Ok(free.then(|| MemoryLock { disk: self.clone(), dir: dir.into() }))
    }
}

impl File for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.content();
        let there = usize::try_from(offset).ok().and_then(|at| content.get(at..)).unwrap_or_default();
        let count = there.len().min(buffer.len());
        buffer[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let mut content = self.content();
        let end = start + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.content().resize(usize::try_from(length).map_err(io::Error::other)?, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content().len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
