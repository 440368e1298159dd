//! The files: a ring of bounded size in a folder.
//!
//! A file is a header and then chunks, each with its length, its number in this life of the process, and a checksum.
//! What a kill leaves of the last chunk does not read and ends the file. A number that is missing is a gap: the disk
//! was too slow, and the records were dropped.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, IoSlice, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::Error;

/// How a file begins.
pub const MAGIC: &[u8; 8] = b"ZKREC\0\0\x09";
/// What every file's name begins with; the file's number follows, in hex.
const PREFIX: &str = "ring.";
/// Length, number and checksum of a chunk.
const CHUNK_HEADER_BYTES: usize = 4 + 8 + 4;
/// The longest chunk that is read: far more than a server writes at once.
const CHUNK_BYTES_MAX: usize = 256 << 20;

/// Writes the ring.
#[derive(Debug)]
pub struct Ring {
    dir: PathBuf,
    bytes_max: u64,
    next: u64,
    /// The file that is being written, which is the last of them.
    file: Option<File>,
    /// All files and their sizes, the oldest first.
    files: VecDeque<(PathBuf, u64)>,
    /// Of all files.
    bytes: u64,
}

/// A chunk of a ring.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chunk {
    /// Its number in this life of the process, from 0.
    pub number: u64,
    /// Whether it is the first of its file.
    pub first: bool,
    /// Its records.
    pub records: Vec<u8>,
}

fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if let Some(number) = number.and_then(|number| u64::from_str_radix(number, 16).ok()) {
            files.push((number, entry.path(), entry.metadata()?.len()));
        }
    }
    files.sort_unstable();
    Ok(files)
}

impl Ring {
    /// Opens the ring in this folder, which is made if it is missing. Files of earlier lives stay until their room is
    /// needed.
    ///
    /// # Errors
    /// If the folder cannot be made or read.
    pub fn open(dir: &Path, bytes_max: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let found = list(dir)?;
        let next = found.last().map_or(1, |(number, ..)| number + 1);
        let bytes = found.iter().map(|(.., bytes)| bytes).sum();
        let files = found.into_iter().map(|(_, path, bytes)| (path, bytes)).collect();
        Ok(Self { dir: dir.to_owned(), bytes_max, next, file: None, files, bytes })
    }

    /// Writes a chunk; `first` begins a new file with it, and so does a file that has grown to twice its size. The oldest
    /// files make room; a chunk that is longer than the whole ring is left out.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn write(&mut self, number: u64, first: bool, records: &[u8]) -> io::Result<()> {
        let length = u32::try_from(records.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let bytes = u64::from(length) + (MAGIC.len() + CHUNK_HEADER_BYTES) as u64;
        if bytes > self.bytes_max {
            return Ok(());
        }
        let grown = self.files.back().is_some_and(|(_, bytes)| *bytes > 2 * Self::file_bytes(self.bytes_max));
        if first || grown {
            self.file = None;
        }
        self.make_room(bytes)?;
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.begin()?,
        };
        let mut header = [0; CHUNK_HEADER_BYTES];
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[4..12].copy_from_slice(&number.to_le_bytes());
        header[12..].copy_from_slice(&crc32fast::hash(records).to_le_bytes());
        let written = file.write_vectored(&[IoSlice::new(&header), IoSlice::new(records)])?;
        file.write_all(header.get(written..).unwrap_or_default())?;
        file.write_all(&records[written.saturating_sub(CHUNK_HEADER_BYTES)..])?;
        self.file = Some(file);
        self.bytes += bytes;
        if let Some((_, length)) = self.files.back_mut() {
            *length += bytes;
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<File> {
        let path = self.dir.join(format!("{PREFIX}{:016x}", self.next));
        // What clients write stands in it.
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        self.next += 1;
        self.files.push_back((path, 0));
        file.write_all(MAGIC)?;
        Ok(file)
    }

    /// A file is an eighth of the ring.
    pub fn file_bytes(bytes_max: u64) -> u64 {
        bytes_max / 8
    }

    /// Removes the oldest files until so much more is within bounds; if nothing else helps, the one that is being
    /// written.
    fn make_room(&mut self, more: u64) -> io::Result<()> {
        while self.bytes + more > self.bytes_max
            && let Some((path, bytes)) = self.files.pop_front()
        {
            self.bytes -= bytes;
            match fs::remove_file(path) {
                // Somebody else has done it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => outcome?,
            }
            if self.files.is_empty() {
                self.file = None;
            }
        }
        Ok(())
    }
}

/// Reads a ring, file by file, as far as each reads.
///
/// # Errors
/// If the folder or a file of it cannot be read at all.
pub fn read(dir: &Path) -> Result<Vec<Chunk>, Error> {
    let mut chunks = Vec::new();
    for (_, path, _) in list(dir)? {
        let mut bytes = Vec::new();
        File::open(path)?.read_to_end(&mut bytes)?;
        chunks.extend(self::chunks(&bytes));
    }
    Ok(chunks)
}

/// The chunks of a file with this content, as far as it reads.
pub fn chunks(file: &[u8]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut rest = file.strip_prefix(MAGIC.as_slice()).unwrap_or_default();
    while let Some((chunk, behind)) = take(rest, chunks.is_empty()) {
        chunks.push(chunk);
        rest = behind;
    }
    chunks
}

fn take(bytes: &[u8], first: bool) -> Option<(Chunk, &[u8])> {
    let (header, rest) = bytes.split_at_checked(CHUNK_HEADER_BYTES)?;
    let length = u32::from_le_bytes(header[..4].try_into().ok()?);
    let number = u64::from_le_bytes(header[4..12].try_into().ok()?);
    let sum = u32::from_le_bytes(header[12..].try_into().ok()?);
    let length = usize::try_from(length).ok().filter(|length| *length <= CHUNK_BYTES_MAX)?;
    let (records, rest) = rest.split_at_checked(length)?;
    (crc32fast::hash(records) == sum).then(|| (Chunk { number, first, records: records.to_vec() }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_end_is_left_out_and_the_next_life_goes_on_in_a_new_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut ring = Ring::open(dir.path(), 8 << 20).expect("opened");
        ring.write(0, true, b"one").expect("written");
        ring.write(1, false, b"two").expect("written");
        let (_, path, length) = list(dir.path()).expect("listed").remove(0);
        File::options().write(true).open(path).expect("there").set_len(length - 1).expect("cut");
        let mut again = Ring::open(dir.path(), 8 << 20).expect("opened");
        again.write(0, true, b"three").expect("written");
        let read: Vec<_> = read(dir.path()).expect("read").into_iter().map(|chunk| chunk.records).collect();
        assert_eq!(read, [b"one".to_vec(), b"three".to_vec()]);
    }

    #[test]
    fn the_ring_stays_within_its_size() {
        let dir = tempfile::tempdir().expect("a folder");
        let max = 80_000;
        let mut ring = Ring::open(dir.path(), max).expect("opened");
        // Files as they should be, one without an end, a chunk that is too long, and then a ring of earlier lives.
        for life in 0..2 {
            for number in 0..400 {
                let length = if number == 250 { 100_000 } else { 1000 };
                ring.write(number, number < 200 && number % 9 == 0, &vec![7; length]).expect("written");
                let total: u64 = list(dir.path()).expect("listed").iter().map(|(.., bytes)| bytes).sum();
                assert!(total <= max, "{total} bytes behind chunk {number} of life {life}");
            }
            let chunks = read(dir.path()).expect("read");
            assert!(chunks[0].first && chunks[0].number > 0, "turned over: {}", chunks[0].number);
            assert!(chunks.len() > 50, "{} chunks are left", chunks.len());
            ring = Ring::open(dir.path(), max).expect("opened");
        }
    }
}
