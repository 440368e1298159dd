//! Loading snapshots, in pieces.

use std::{io, path::Path};

use bytes::Bytes;
use spec::Zxid;
use tree::{Tree, TreeBuilder};
use wire::{
    Decoder,
    record::STREAM_FIELD_BYTES_MAX,
    snapshot::{self, Checksum, Piece, Reader, Trailer},
};

use crate::{
    Error,
    disk::{Disk, File},
    error::Context,
    layout::{GZIP_END, Packing, SNAPPY_END},
    text::if_there,
    unpack::{SNAPPY_HEADER, Stopped, Unpacked},
};

/// Read in pieces of at least this many bytes.
const PIECE_BYTES: usize = 1 << 20;
/// How every whole snapshot ends, unpacked.
const LAST_BYTES: [u8; 5] = [0, 0, 0, 1, b'/'];

/// What a snapshot file turned out to be.
#[derive(Debug)]
pub(crate) enum Loaded {
    /// The state that it holds.
    Whole(Box<Tree>),
    /// A crash came while it was written: it lacks its end.
    Unfinished,
    /// It does not read.
    Damaged(Damage),
}

/// Why a snapshot does not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error(transparent)]
    Wire(#[from] wire::Error),
    #[error(transparent)]
    Tree(#[from] tree::LoadError),
    #[error("it cannot be unpacked: {0}")]
    Packing(io::Error),
}

/// Whether a snapshot has its end: if not, a crash came while it was written. One that has been purged meanwhile has
/// none. A packed one is unpacked to see.
pub(crate) fn is_whole<D: Disk>(disk: &D, path: &Path, packing: Packing) -> Result<bool, Error> {
    let Some(file) = if_there(disk.open(path)).context("open", path)? else { return Ok(false) };
    let mut last = [0; LAST_BYTES.len()];
    if packing == Packing::Plain {
        let length = file.len().context("read the length of", path)?;
        let Some(at) = length.checked_sub(last.len() as u64) else { return Ok(false) };
        file.read_at(&mut last, at).context("read", path)?;
    } else {
        let (mut stream, mut piece) = (Unpacked::new(file, packing), vec![0; PIECE_BYTES]);
        loop {
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => {
                    let kept = count.min(last.len());
                    last.rotate_left(kept);
                    let from = last.len() - kept;
                    last[from..].copy_from_slice(&piece[count - kept..count]);
                }
                Err(Stopped::Disk(error)) => return Err(error).context("read", path),
                Err(Stopped::Packing(_)) => return Ok(false),
            }
        }
    }
    Ok(last == LAST_BYTES)
}

/// How the name of a file should end that begins as a packed one does, if it begins so.
pub(crate) fn looks_packed<D: Disk>(disk: &D, path: &Path) -> Result<Option<&'static str>, Error> {
    let Some(file) = if_there(disk.open(path)).context("open", path)? else { return Ok(None) };
    let mut head = [0; SNAPPY_HEADER.len()];
    let read = file.read_at(&mut head, 0).context("read", path)?;
    Ok(match &head[..read] {
        [0x1f, 0x8b, ..] => Some(GZIP_END),
        head if *head == SNAPPY_HEADER => Some(SNAPPY_END),
        _ => None,
    })
}

/// Loads a snapshot.
pub(crate) fn load<D: Disk>(disk: &D, path: &Path, label: Zxid, packing: Packing) -> Result<Loaded, Error> {
    // A packed one is unpacked once only: it shows its end or the lack of one when it gets there.
    if packing == Packing::Plain && !is_whole(disk, path, packing)? {
        return Ok(Loaded::Unfinished);
    }
    let stream = Unpacked::new(disk.open(path).context("open", path)?, packing);
    let mut input = Input { stream, ended: false, chunk: Bytes::new(), checksum: Checksum::new() };
    match input.tree(label) {
        Ok(tree) => Ok(Loaded::Whole(Box::new(tree))),
        // One that unpacks to its end, and is read as if it had none, is damaged in between.
        Err(Stop::Damage(damage))
            if packing != Packing::Plain && damage.is_early_end() && !is_whole(disk, path, packing)? =>
        {
            Ok(Loaded::Unfinished)
        }
        Err(Stop::Damage(damage)) => Ok(Loaded::Damaged(damage)),
        Err(Stop::Disk(error)) => Err(error).context("read", path),
    }
}

impl Damage {
    /// Whether more of the file could have made it whole.
    fn is_early_end(&self) -> bool {
        match self {
            Self::Wire(error) => error.is_short(),
            Self::Packing(error) => error.kind() == io::ErrorKind::UnexpectedEof,
            Self::Tree(_) => false,
        }
    }
}

enum Stop {
    Damage(Damage),
    Disk(io::Error),
}

impl<T: Into<Damage>> From<T> for Stop {
    fn from(damage: T) -> Self {
        Self::Damage(damage.into())
    }
}

/// A snapshot as it is read.
struct Input<F> {
    stream: Unpacked<F>,
    /// Whether all of it is read.
    ended: bool,
    /// What is read and not taken yet.
    chunk: Bytes,
    checksum: Checksum,
}

impl<F: File> Input<F> {
    fn tree(&mut self, label: Zxid) -> Result<Tree, Stop> {
        self.fill()?;
        let mut decoder = Decoder::stream(&self.chunk);
        snapshot::file_header(&mut decoder)?;
        let left = decoder.rest().len();
        self.take(left);
        let (mut reader, mut builder) = (Reader::new(), TreeBuilder::new());
        while !self.pieces(&mut reader, &mut builder)? {
            if self.ended {
                return Err(wire::Error::Short { wanted: 1, left: 0 }.into());
            }
            self.fill()?;
        }
        while !self.ended {
            if self.chunk.len() > Trailer::BYTES_MAX {
                return Err(wire::Error::Trailing { what: "snapshot", left: self.chunk.len() }.into());
            }
            self.fill()?;
        }
        Trailer::decode(self.checksum.clone(), &self.chunk)?;
        Ok(builder.finish(label)?)
    }

    /// Takes every piece that is whole; whether the last was among them.
    fn pieces(&mut self, reader: &mut Reader, builder: &mut TreeBuilder) -> Result<bool, Stop> {
        let chunk = self.chunk.clone();
        let mut decoder = Decoder::shared(&chunk, STREAM_FIELD_BYTES_MAX);
        let ended = loop {
            match reader.next(&mut decoder)? {
                None => break false,
                Some(Piece::End) => break true,
                Some(piece) => add(builder, piece)?,
            }
        };
        let left = decoder.rest().len();
        self.take(left);
        Ok(ended)
    }

    /// Takes all but the last `left` bytes of what was read.
    fn take(&mut self, left: usize) {
        let taken = self.chunk.split_to(self.chunk.len() - left);
        self.checksum.update(&taken);
    }

    /// Reads on behind what is not taken: at least as much again, so that a long field is not read time after time.
    fn fill(&mut self) -> Result<(), Stop> {
        let have = self.chunk.len();
        let mut next = vec![0; have + PIECE_BYTES.max(have)];
        next[..have].copy_from_slice(&self.chunk);
        let read = self.stream.read(&mut next[have..]).map_err(|stopped| match stopped {
            Stopped::Disk(error) => Stop::Disk(error),
            Stopped::Packing(error) => Stop::Damage(Damage::Packing(error)),
        })?;
        self.ended = read < next.len() - have;
        next.truncate(have + read);
        self.chunk = next.into();
        Ok(())
    }
}

fn add(builder: &mut TreeBuilder, piece: Piece) -> Result<(), tree::LoadError> {
    match piece {
        Piece::Session { session, timeout_ms } => builder.session(session, timeout_ms),
        Piece::Acl { key, acl } => builder.acl(key, &acl),
        Piece::Node { path, data, acl, stat } => builder.node(path.as_str(), data.as_deref(), acl, stat)?,
        Piece::End => {}
    }
    Ok(())
}
