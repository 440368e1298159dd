//! Snapshot files: written under another name, synced, renamed (rule D-13).

use std::{
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use spec::Zxid;
use tree::{Progress, Tree, Walk, WalkedNode};
use wire::{
    Sink,
    snapshot::{self, Checksum, SnapshotDigest, Trailer},
};

use crate::{
    Error,
    disk::{Disk, File},
    error::Context,
    layout::{NEXT_SNAPSHOT, Packing, SnapshotName},
    load::is_whole,
    pack::Packer,
    store::Store,
    text::if_there,
};

/// Written in pieces of about this many bytes.
const PIECE_BYTES: usize = 1 << 20;
/// Bytes that a snapshot may have ahead of its last sync. The log is synced beside it, and a file system that orders data
/// before its journal has the log wait for all of them.
const UNSYNCED_MAX: u64 = 4 << 20;
/// The same of one that leaves the disk to others.
const UNSYNCED_MAX_GENTLE: u64 = 1 << 20;
/// The formula of the tree's digest.
pub(crate) const DIGEST_VERSION: i32 = 2;

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
        Ok(SnapshotFile {
            store: self.store.clone(),
            file,
            path,
            name: SnapshotName { label, packing: self.store.config().packing },
            packer: Packer::new(self.store.config().packing),
            cuts,
            buffer,
            written: 0,
            synced: 0,
            checksum,
            gentle: false,
        })
    }

    /// Gives back the room of a snapshot that could not be written. If that fails, the next start does it.
    pub fn discard(&self) {
        let _ = self.store.disk().remove(&self.store.layout().snapshots.join(NEXT_SNAPSHOT));
    }

    /// Writes a whole tree at once, as `snapshot.<last transaction>`, durably; returns the length of the file in bytes.
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
            let done = match progress.expect("the walk is this tree's") {
                Progress::More => false,
                Progress::Done => {
                    snapshot::put_end(&mut piece);
                    true
                }
            };
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
        let name = layout.find_received(disk)?.filter(|name| name.label == label);
        let name = name.unwrap_or(SnapshotName { label, packing: Packing::Plain });
        // A start may have found it in memory alone, where a process that was killed had put it.
        let received = layout.received(name);
        disk.open_write(&received).context("open", &received)?.sync().synced(&received)?;
        disk.sync_dir(&layout.snapshots).synced(&layout.snapshots)?;
        for first in layout.list_logs(disk)?.iter().rev() {
            let path = layout.log(*first);
            // A purge may be removing some too.
            if_there(disk.remove(&path)).context("remove", &path)?;
        }
        disk.sync_dir(&layout.logs).synced(&layout.logs)?;
        self.drop_behind(label)?;
        // No log leads on from those before it any more, and one of the same label that is packed otherwise would stand
        // beside it.
        for other in layout.list_snapshots(disk)? {
            if other != name {
                let path = layout.snapshot(other.label, other.packing);
                if_there(disk.remove(&path)).context("remove", &path)?;
            }
        }
        let path = layout.snapshot(name.label, name.packing);
        disk.rename(&received, &path).context("rename to", &path)?;
        disk.sync_dir(&layout.snapshots).synced(&layout.snapshots)
    }

    /// The label and length in bytes of the newest snapshot that has its end.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn newest(&self) -> Result<Option<(Zxid, u64)>, Error> {
        let Some(name) = self.newest_whole(Zxid(u64::MAX))? else { return Ok(None) };
        let path = self.store.layout().snapshot(name.label, name.packing);
        // It may be purged meanwhile; there was a newer one then.
        Ok(self.length(&path)?.map(|length| (name.label, length)))
    }

    /// The label of the last of so many snapshots that have their end, newest first; nothing if there are fewer. Older
    /// ones are not looked at: a packed one would be unpacked for that.
    pub(crate) fn whole(&self, count: usize) -> Result<Option<Zxid>, Error> {
        let (mut last, mut found) = (None, 0);
        for name in self.store.layout().list_snapshots(self.store.disk())? {
            if last != Some(name.label) && self.is_whole(name)? {
                (last, found) = (Some(name.label), found + 1);
            }
            if found == count {
                return Ok(last);
            }
        }
        Ok(None)
    }

    /// The newest of them at or below `last`.
    pub(crate) fn newest_whole(&self, last: Zxid) -> Result<Option<SnapshotName>, Error> {
        for name in self.store.layout().list_snapshots(self.store.disk())? {
            if name.label <= last && self.is_whole(name)? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn is_whole(&self, name: SnapshotName) -> Result<bool, Error> {
        let path = self.store.layout().snapshot(name.label, name.packing);
        // The end of a plain one is read at once. To see that of a packed one all of it is unpacked, once.
        let length = match name.packing {
            Packing::Plain => None,
            Packing::Gzip | Packing::Snappy => self.length(&path)?,
        };
        if length.is_some_and(|length| self.store.is_known_whole(name, length)) {
            return Ok(true);
        }
        let whole = is_whole(self.store.disk(), &path, name.packing)?;
        if let Some(length) = length.filter(|_| whole) {
            self.store.know_whole(name, length);
        }
        Ok(whole)
    }

    /// Notes that a snapshot was read through to its end.
    pub(crate) fn know(&self, name: SnapshotName) -> Result<(), Error> {
        if let Some(length) = self.length(&self.store.layout().snapshot(name.label, name.packing))? {
            self.store.know_whole(name, length);
        }
        Ok(())
    }

    /// The length of a file in bytes; nothing if it is there no more.
    fn length(&self, path: &Path) -> Result<Option<u64>, Error> {
        let Some(file) = if_there(self.store.disk().open(path)).context("open", path)? else {
            return Ok(None);
        };
        file.len().context("read the length of", path).map(Some)
    }

    /// Removes every snapshot labelled behind `last`, durably, and keeps those that are being written from coming to
    /// stand.
    pub(crate) fn drop_behind(&self, last: Zxid) -> Result<(), Error> {
        let layout = self.store.layout();
        let mut cuts = self.store.cuts();
        *cuts += 1;
        for name in layout.list_snapshots(self.store.disk())? {
            if name.label > last {
                let path = layout.snapshot(name.label, name.packing);
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
    name: SnapshotName,
    packer: Packer,
    /// The count of cuts when this was begun.
    cuts: u64,
    buffer: Vec<u8>,
    written: u64,
    synced: u64,
    checksum: Checksum,
    gentle: bool,
}

impl<D: Disk> SnapshotFile<D> {
    /// Leaves half of the disk's time to others: for a snapshot that nobody waits for.
    #[must_use]
    pub fn gently(mut self) -> Self {
        self.gentle = true;
        self
    }

    /// Takes the next bytes of the body: what [`put_head`], [`put_node`] and [`snapshot::put_end`] yield, split
    /// anywhere.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::OutOfSpace`].
    pub fn write(&mut self, body: &[u8]) -> Result<(), Error> {
        self.checksum.update(body);
        self.buffer.extend_from_slice(body);
        if self.buffer.len() >= PIECE_BYTES { self.flush(false) } else { Ok(()) }
    }

    /// Behind the last of the body: makes the snapshot durable and gives it its name. Returns the file's length in bytes,
    /// or nothing if the log was cut since it was begun, for then it may hold what is gone.
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
        self.take_name(&self.store.layout().snapshot(self.name.label, self.name.packing))?;
        self.store.know_whole(self.name, self.written);
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
        self.take_name(&self.store.layout().received(self.name))?;
        Ok(self.written)
    }

    fn finish(&mut self, digest: Option<i64>) -> Result<(), Error> {
        let label = self.name.label;
        let digest = digest.map(|tree| SnapshotDigest { zxid: label, version: DIGEST_VERSION, tree });
        let trailer = if self.store.config().trailers {
            Trailer { digest, last_processed: Some(label) }
        } else {
            Trailer::default()
        };
        trailer.encode(self.checksum.clone(), &mut self.buffer);
        self.flush(true)?;
        self.file.sync().synced(&self.path)
    }

    fn take_name(&self, path: &Path) -> Result<(), Error> {
        let (disk, folder) = (self.store.disk(), &self.store.layout().snapshots);
        disk.rename(&self.path, path).context("rename to", path)?;
        disk.sync_dir(folder).synced(folder)
    }

    fn flush(&mut self, last: bool) -> Result<(), Error> {
        self.packer.pack(&mut self.buffer, last).context("pack", &self.path)?;
        self.file.write_at(&self.buffer, self.written).context("write", &self.path)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        let most = if self.gentle { UNSYNCED_MAX_GENTLE } else { UNSYNCED_MAX };
        if self.written - self.synced < most {
            return Ok(());
        }
        self.synced = self.written;
        let started = Instant::now();
        self.file.sync().synced(&self.path)?;
        if self.gentle {
            thread::sleep(started.elapsed());
        }
        Ok(())
    }
}

/// Appends what a snapshot's body begins with: sessions and access control lists.
pub fn put_head(walk: &Walk, out: &mut impl Sink) {
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
pub fn put_node(node: WalkedNode<'_>, out: &mut impl Sink) {
    snapshot::put_node(node.path.as_bytes(), node.data, node.acl, &node.stat, out);
}
