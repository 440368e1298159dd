//! The system's own files.

use std::{
    fs, io,
    num::NonZeroU64,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Advice, FallocateFlags, FlockOperation, fadvise, fallocate, fdatasync, flock, fsync},
    io::Errno,
};

use super::{Disk, File, Room, write_zeros};

/// The system's file system.
#[derive(Clone, Debug)]
pub struct RealDisk {
    syncs: bool,
}

impl RealDisk {
    /// The system's file system; with `syncs` off nothing is ever made durable (`forceSync=no`).
    pub fn new(syncs: bool) -> Self {
        Self { syncs }
    }
}

impl Default for RealDisk {
    fn default() -> Self {
        Self::new(true)
    }
}

/// A file of the system.
#[derive(Debug)]
pub struct RealFile {
    file: fs::File,
    syncs: bool,
}

/// A folder that is open and locked.
#[derive(Debug)]
pub struct RealLock {
    _open: fs::File,
}

impl Disk for RealDisk {
    type File = RealFile;
    type Lock = RealLock;

    fn open(&self, path: &Path) -> io::Result<RealFile> {
        Ok(RealFile { file: fs::File::open(path)?, syncs: self.syncs })
    }

    fn open_write(&self, path: &Path) -> io::Result<RealFile> {
        Ok(RealFile { file: fs::OpenOptions::new().read(true).write(true).open(path)?, syncs: self.syncs })
    }

    fn create(&self, path: &Path) -> io::Result<RealFile> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(RealFile { file, syncs: self.syncs })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        // Its own entry may never have been synced, if it is there: whoever made it was killed before.
        let missing = dir.ancestors().skip(1).take_while(|dir| !dir.exists());
        let unsure: Vec<PathBuf> = std::iter::once(dir).chain(missing).map(PathBuf::from).collect();
        fs::create_dir_all(dir)?;
        let was_there = unsure.len() == 1;
        for made in unsure.iter().filter_map(|dir| dir.parent()) {
            match self.sync_dir(if made.as_os_str().is_empty() { Path::new(".") } else { made }) {
                // Somebody else has made it, in a folder that is not to be read.
                Err(error) if was_there && error.kind() == io::ErrorKind::PermissionDenied => {}
                synced => synced?,
            }
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.syncs {
            fsync(fs::File::open(dir)?)?;
        }
        Ok(())
    }

    fn lock(&self, dir: &Path) -> io::Result<Option<RealLock>> {
        let open = fs::File::open(dir)?;
        match flock(&open, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(RealLock { _open: open })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.file.read_at(&mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Takes room without writing to it where the file system can: zeros that are written go to the disk besides the
    /// records that take their place.
    fn reserve(&self, from: u64, to: u64) -> io::Result<Room> {
        if from >= to {
            return Ok(Room::Written);
        }
        match fallocate(&self.file, FallocateFlags::ZERO_RANGE, from, to - from) {
            Ok(()) => Ok(Room::Taken),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                write_zeros(self, from, to)?;
                Ok(Room::Written)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn forget(&self, from: u64, to: u64) {
        if let Some(length) = to.checked_sub(from).and_then(NonZeroU64::new) {
            // It is advice: a file system that does not take it has lost nothing.
            let _ = fadvise(&self.file, from, Some(length), Advice::DontNeed);
        }
    }

    fn sync(&self) -> io::Result<()> {
        if self.syncs {
            fdatasync(&self.file)?;
        }
        Ok(())
    }
}
