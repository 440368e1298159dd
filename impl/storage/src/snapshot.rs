//! Snapshot files: written under another name, synced, renamed (rule D-13); loaded in pieces.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use spec::Zxid;
use tree::{Progress, Tree, TreeBuilder, Walk, WalkedNode};
use wire::{
    Decoder,
    record::STREAM_FIELD_BYTES_MAX,
    snapshot::{self, Checksum, Piece, Reader, SnapshotDigest, Trailer},
};

use crate::{
    Error,
    disk::{Disk, File},
    error::Context,
    layout::NEXT_SNAPSHOT,
    store::Store,
    text::if_there,
};

/// Written and read in pieces of about this many bytes.
const PIECE_BYTES: usize = 1 << 20;
/// How every whole snapshot ends.
const LAST_BYTES: [u8; 5] = [0, 0, 0, 1, b'/'];
/// The formula of the tree's digest.
const DIGEST_VERSION: i32 = 2;

/// The snapshots of one server.
#[derive(Clone, Debug)]
pub struct Snapshots<D: Disk> {
    store: Store<D>,
}

impl<D: Disk> Snapshots<D> {
    pub(crate) fn new(store: Store<D>) -> Self {
        Self { store }
    }

    /// Begins a snapshot with this label. There is one at a time: a second takes the first one's place.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::OutOfSpace`].
    pub fn begin(&self, label: Zxid) -> Result<SnapshotFile<D>, Error> {
        let path = self.store.layout().snapshots.join(NEXT_SNAPSHOT);
        let cuts = *self.store.cuts();
        let file = self.store.disk().create(&path).context("create", &path)?;
        let (mut buffer, mut checksum) = (Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4), Checksum::new());
        snapshot::put_file_header(&mut buffer);
        checksum.update(&buffer);
        Ok(SnapshotFile { store: self.store.clone(), file, path, label, cuts, buffer, written: 0, checksum })
    }

    /// Writes a whole tree at once, as `snapshot.<last transaction>`, durably; returns its length in bytes.
    ///
    /// # Errors
    /// As [`SnapshotFile::commit`].
    pub fn save(&self, tree: &mut Tree) -> Result<u64, Error> {
        let mut walk = Walk::start(tree);
        let mut file = self.begin(walk.last_processed())?;
        let mut piece = Vec::new();
        put_head(&walk, &mut piece);
        loop {
            let progress = walk.next(tree, PIECE_BYTES, &mut |node| put_node(node, &mut piece));
            let done = progress != Ok(Progress::More);
            if done {
                snapshot::put_end(&mut piece);
            }
            if let Err(error) = file.write(&piece) {
                walk.cancel(tree);
                return Err(error);
            }
            piece.clear();
            if done {
                return Ok(file.commit(Some(walk.digest()))?.unwrap_or_default());
            }
        }
    }

    /// Has the received state with this label take the place of everything on disk (rule D-13). Carried out again
    /// from the start, it ends the same, until the last step takes the received state's name away.
    pub(crate) fn install(&self, label: Zxid) -> Result<(), Error> {
        let (disk, layout) = (self.store.disk(), self.store.layout());
        // A start may have found it in memory alone, where a process that was killed had put it.
        let received = layout.received(label);
        disk.open_write(&received).context("open", &received)?.sync().synced(&received)?;
        disk.sync_dir(&layout.snapshots).synced(&layout.snapshots)?;
        for first in layout.list_logs(disk)?.iter().rev() {
            let path = layout.log(*first);
            disk.remove(&path).context("remove", &path)?;
        }
        disk.sync_dir(&layout.logs).synced(&layout.logs)?;
        self.drop_behind(label)?;
        let path = layout.snapshot(label);
        disk.rename(&received, &path).context("rename to", &path)?;
        disk.sync_dir(&layout.snapshots).synced(&layout.snapshots)
    }

    /// The label and length in bytes of the newest snapshot that has its end.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn newest(&self) -> Result<Option<(Zxid, u64)>, Error> {
        let Some(label) = self.newest_whole(Zxid(u64::MAX))? else { return Ok(None) };
        let path = self.store.layout().snapshot(label);
        let file = self.store.disk().open(&path).context("open", &path)?;
        Ok(Some((label, file.len().context("read the length of", &path)?)))
    }

    /// The labels of the snapshots that have their end, newest first.
    pub(crate) fn whole(&self) -> Result<Vec<Zxid>, Error> {
        let mut whole = Vec::new();
        for (label, compressed) in self.store.layout().list_snapshots(self.store.disk())? {
            if compressed.is_none() && is_whole(self.store.disk(), &self.store.layout().snapshot(label))? {
                whole.push(label);
            }
        }
        Ok(whole)
    }

    /// The newest of them at or below `last`.
    pub(crate) fn newest_whole(&self, last: Zxid) -> Result<Option<Zxid>, Error> {
        Ok(self.whole()?.into_iter().find(|label| *label <= last))
    }

    /// Removes every snapshot labelled behind `last`, durably, and keeps those that are being written from coming to
    /// stand.
    pub(crate) fn drop_behind(&self, last: Zxid) -> Result<(), Error> {
        let layout = self.store.layout();
        let mut cuts = self.store.cuts();
        *cuts += 1;
        for (label, compressed) in layout.list_snapshots(self.store.disk())? {
            if label > last {
                let path = compressed.unwrap_or_else(|| layout.snapshot(label));
                if_there(self.store.disk().remove(&path)).context("remove", &path)?;
            }
        }
        self.store.disk().sync_dir(&layout.snapshots).synced(&layout.snapshots)
    }
}

/// A snapshot that is being written. Dropped, it leaves nothing behind that counts.
#[derive(Debug)]
pub struct SnapshotFile<D: Disk> {
    store: Store<D>,
    file: D::File,
    path: PathBuf,
    label: Zxid,
    /// The count of cuts when this was begun.
    cuts: u64,
    buffer: Vec<u8>,
    written: u64,
    checksum: Checksum,
}

impl<D: Disk> SnapshotFile<D> {
    /// Takes the next bytes of the body: what [`put_head`], [`put_node`] and [`snapshot::put_end`] yield, split
    /// anywhere.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::OutOfSpace`].
    pub fn write(&mut self, body: &[u8]) -> Result<(), Error> {
        self.checksum.update(body);
        self.buffer.extend_from_slice(body);
        if self.buffer.len() >= PIECE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Behind the last of the body: makes the snapshot durable and gives it its name. Returns its length in bytes, or
    /// nothing if the log was cut since it was begun, for then it may hold what is gone.
    ///
    /// `digest` is that of the tree, if it was walked here.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::OutOfSpace`], [`Error::Sync`].
    pub fn commit(mut self, digest: Option<i64>) -> Result<Option<u64>, Error> {
        self.finish(digest)?;
        let cuts = self.store.cuts();
        if *cuts != self.cuts {
            return Ok(None);
        }
        self.name(&self.store.layout().snapshot(self.label))?;
        drop(cuts);
        Ok(Some(self.written))
    }

    /// Behind the last of the body of a state that a leader sent: makes it durable under a name of its own. From now
    /// on a start takes it for the state, and [`Log::install`](crate::Log::install) has it take the old one's place
    /// on disk. Returns its length in bytes.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn commit_received(mut self, digest: Option<i64>) -> Result<u64, Error> {
        self.finish(digest)?;
        self.name(&self.store.layout().received(self.label))?;
        Ok(self.written)
    }

    fn finish(&mut self, digest: Option<i64>) -> Result<(), Error> {
        let digest = digest.map(|tree| SnapshotDigest { zxid: self.label, version: DIGEST_VERSION, tree });
        let trailer = Trailer { digest, last_processed: Some(self.label) };
        trailer.encode(self.checksum.clone(), &mut self.buffer);
        self.flush()?;
        self.file.sync().synced(&self.path)
    }

    fn name(&self, path: &Path) -> Result<(), Error> {
        let (disk, folder) = (self.store.disk(), &self.store.layout().snapshots);
        disk.rename(&self.path, path).context("rename to", path)?;
        disk.sync_dir(folder).synced(folder)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.file.write_at(&self.buffer, self.written).context("write", &self.path)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Appends what a snapshot's body begins with: sessions and access control lists.
pub fn put_head(walk: &Walk, out: &mut Vec<u8>) {
    snapshot::put_count(walk.sessions().len(), out);
    for (session, timeout_ms) in walk.sessions() {
        snapshot::put_session(*session, *timeout_ms, out);
    }
    snapshot::put_count(walk.acls().len(), out);
    for (key, acl) in walk.acls() {
        snapshot::put_acl(*key, acl, out);
    }
}

/// Appends a node to a snapshot's body.
pub fn put_node(node: WalkedNode<'_>, out: &mut Vec<u8>) {
    snapshot::put_node(node.path.as_bytes(), node.data, node.acl, &node.stat, out);
}

/// Whether a snapshot has its end: if not, a crash came while it was written. One that has been purged meanwhile has
/// none.
pub(crate) fn is_whole<D: Disk>(disk: &D, path: &Path) -> Result<bool, Error> {
    let Some(file) = if_there(disk.open(path)).context("open", path)? else { return Ok(false) };
    let length = file.len().context("read the length of", path)?;
    let Some(at) = length.checked_sub(LAST_BYTES.len() as u64) else { return Ok(false) };
    let mut last = [0; LAST_BYTES.len()];
    file.read_at(&mut last, at).context("read", path)?;
    Ok(last == LAST_BYTES)
}

/// Loads a snapshot; `Ok(Err(…))` if it does not read.
pub(crate) fn load<D: Disk>(disk: &D, path: &Path, label: Zxid) -> Result<Result<Tree, Damage>, Error> {
    let file = disk.open(path).context("open", path)?;
    let length = file.len().context("read the length of", path)?;
    let mut input = Input { file, path, length, at: 0, chunk: Bytes::new(), checksum: Checksum::new() };
    match input.tree(label) {
        Ok(tree) => Ok(Ok(tree)),
        Err(Stop::Damage(damage)) => Ok(Err(damage)),
        Err(Stop::Error(error)) => Err(error),
    }
}

/// Why a snapshot does not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error(transparent)]
    Wire(#[from] wire::Error),
    #[error(transparent)]
    Tree(#[from] tree::LoadError),
}

enum Stop {
    Damage(Damage),
    Error(Error),
}

impl<T: Into<Damage>> From<T> for Stop {
    fn from(damage: T) -> Self {
        Self::Damage(damage.into())
    }
}

/// A snapshot file as it is read.
struct Input<'a, F> {
    file: F,
    path: &'a Path,
    length: u64,
    /// What is read of the file.
    at: u64,
    /// What is read and not taken yet.
    chunk: Bytes,
    checksum: Checksum,
}

impl<F: File> Input<'_, F> {
    fn tree(&mut self, label: Zxid) -> Result<Tree, Stop> {
        self.fill()?;
        let mut decoder = Decoder::stream(&self.chunk);
        snapshot::file_header(&mut decoder)?;
        let left = decoder.rest().len();
        self.take(left);
        let (mut reader, mut builder) = (Reader::new(), TreeBuilder::new());
        while !self.pieces(&mut reader, &mut builder)? {
            if self.at >= self.length {
                return Err(wire::Error::Short { wanted: 1, left: 0 }.into());
            }
            self.fill()?;
        }
        while self.at < self.length {
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
        let unread = usize::try_from(self.length - self.at).unwrap_or(usize::MAX);
        let mut next = vec![0; have + unread.min(PIECE_BYTES.max(have))];
        next[..have].copy_from_slice(&self.chunk);
        let read =
            self.file.read_at(&mut next[have..], self.at).context("read", self.path).map_err(Stop::Error)?;
        if read < next.len() - have {
            // It is shorter than it was.
            self.length = self.at + read as u64;
            next.truncate(have + read);
        }
        self.at += read as u64;
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
