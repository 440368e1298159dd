//! What storage asks of a disk, so that a power cut can be played.
//!
//! The promises are those of a file system that keeps its word, and no more: a write is visible to later reads at
//! once, and survives a power cut only when [`File::sync`] has returned; a file's name (new, renamed, removed)
//! survives only when [`Disk::sync_dir`] has returned for its folder. Until then any part of it may survive,
//! independently of everything else. [`Cuttable`] plays exactly that on top of any disk.

mod cuttable;
mod memory;
mod real;

use std::{fmt::Debug, io, path::Path};

pub use cuttable::{Cuttable, Dice};
pub use memory::MemoryDisk;
pub use real::RealDisk;

/// A file system. Clones are the same disk.
pub trait Disk: Clone + Debug + Send + Sync + 'static {
    /// An open file. It stays the same file when its name changes.
    type File: File;
    /// A lock that is held until it is dropped.
    type Lock: Debug + Send + Sync + 'static;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// As the system says; [`io::ErrorKind::NotFound`] if there is no such file.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens a file that exists for reading and writing.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn open_write(&self, path: &Path) -> io::Result<Self::File>;

    /// Makes an empty file for reading and writing, in the place of one that has the name.
    ///
    /// # Errors
    /// As the system says.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Renames a file inside its folder, in the place of one that has the new name.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names of the files in a folder, in no order.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes a folder with all that lead to it, durably, if it is not there.
    ///
    /// # Errors
    /// As the system says.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// As the system says. Not to be tried again (rule D-15).
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Locks a folder against other processes; `None` if one has it.
    ///
    /// # Errors
    /// As the system says.
    fn lock(&self, dir: &Path) -> io::Result<Option<Self::Lock>>;
}

/// An open file.
#[expect(clippy::len_without_is_empty, reason = "a file's length may fail to be had")]
pub trait File: Debug + Send + Sync + 'static {
    /// Reads into `buffer` what stands at `offset`, and returns how many bytes: fewer than asked only at the end.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`; a hole before them reads as zeros.
    ///
    /// # Errors
    /// As the system says; then any part of the bytes may be written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Shortens the file, or lengthens it with zeros.
    ///
    /// # Errors
    /// As the system says.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    /// As the system says.
    fn len(&self) -> io::Result<u64>;

    /// Makes content and length durable.
    ///
    /// # Errors
    /// As the system says. Not to be tried again (rule D-15).
    fn sync(&self) -> io::Result<()>;

    /// Says that what is synced in `[from, to)` will hardly be read, and need not stay in memory.
    fn forget(&self, _from: u64, _to: u64) {}

    /// Has `[from, to)` read as zeros, with room on the disk: later writes there change no length, and a sync makes
    /// them durable sooner than in a file that grows.
    ///
    /// # Errors
    /// As [`Self::write_at`].
    fn reserve(&self, from: u64, to: u64) -> io::Result<Room>
    where
        Self: Sized,
    {
        write_zeros(self, from, to)?;
        Ok(Room::Written)
    }
}

/// How room on the disk was had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Room {
    /// Zeros were written. Later writes there change content, and nothing that the file system has to note.
    Written,
    /// The file system has noted that nothing is written there yet, and notes it again when something is: each sync
    /// takes longer for that.
    Taken,
}

/// Writes zeros over `[from, to)`.
pub(crate) fn write_zeros<F: File>(file: &F, from: u64, to: u64) -> io::Result<()> {
    static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
    let mut at = from;
    while at < to {
        let length = usize::try_from(to - at).map_or(ZEROS.len(), |rest| rest.min(ZEROS.len()));
        file.write_at(&ZEROS[..length], at)?;
        at += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
