//! A disk whose power can be cut: it keeps what is not synced in its own memory.
//!
//! Killing a process keeps the page cache, and so proves nothing about syncs. This layer is the page cache: writes
//! and names go to the disk below only at their sync, and at a cut dice decide which of the rest arrives there: any
//! subset of the sectors (of 512 bytes, or what is asked for) of a file's unsynced writes, any subset of a folder's
//! unsynced creations, renames and removals. A process that is killed instead, or ends, leaves an image in which all of
//! the rest is lost, which is one that a cut may leave too.
//!
//! The layer keeps a file's durable content in the disk below, under its durable name if it has one, else under a
//! name that begins with `cut.`; those are gone after a cut, or at the next start.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Disk, File};

/// What a disk writes as a whole, in bytes, if nothing else is said.
const SECTOR: usize = 512;
/// How the names begin that stand for files without a durable name.
const NAMELESS: &str = "cut.";

/// A disk whose power can be cut, over another.
#[derive(Debug)]
pub struct Cuttable<D: Disk> {
    state: Arc<Mutex<State<D>>>,
}

impl<D: Disk> Clone for Cuttable<D> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state) }
    }
}

/// Choices of what survives.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The same seed throws the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `sides` (of which there is at least one).
    pub fn throw(&mut self, sides: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides.max(1) as u64).unwrap_or(0)
    }
}

type Inode = u64;

#[derive(Debug)]
struct State<D: Disk> {
    below: D,
    inodes: BTreeMap<Inode, Node<D>>,
    dirs: BTreeMap<PathBuf, Dir>,
    next: Inode,
    /// What is written as a whole, in bytes.
    sector: usize,
    /// Operations that still work before the power goes by itself.
    fuse: Option<u64>,
    cut: bool,
    lies: bool,
    fails: bool,
}

#[derive(Debug)]
struct Node<D: Disk> {
    file: D::File,
    /// Its name in the disk below.
    backing: PathBuf,
    length: u64,
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { at: u64, bytes: Vec<u8> },
    Length(u64),
}

#[derive(Clone, Debug, Default)]
struct Dir {
    synced: BTreeMap<String, Inode>,
    now: BTreeMap<String, Inode>,
    pending: Vec<Rename>,
}

/// An inode gets the name `to`, or loses its name, and loses the name `from`.
#[derive(Clone, Debug)]
struct Rename {
    inode: Inode,
    from: Option<String>,
    to: Option<String>,
}

impl Rename {
    fn apply(&self, names: &mut BTreeMap<String, Inode>) {
        if let Some(from) = &self.from
            && names.get(from) == Some(&self.inode)
        {
            names.remove(from);
        }
        if let Some(to) = &self.to {
            names.insert(to.clone(), self.inode);
        }
    }
}

/// A file of a disk whose power can be cut.
#[derive(Debug)]
pub struct CuttableFile<D: Disk> {
    disk: Cuttable<D>,
    inode: Inode,
}

impl<D: Disk> Cuttable<D> {
    /// A layer over `below`, all of which is durable.
    pub fn new(below: D) -> Self {
        let state = State {
            below,
            inodes: BTreeMap::new(),
            dirs: BTreeMap::new(),
            next: 0,
            sector: SECTOR,
            fuse: None,
            cut: false,
            lies: false,
            fails: false,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// What the disk writes as a whole, in bytes: as little as one.
    pub fn set_sector(&self, bytes: usize) {
        self.state().sector = bytes.max(1);
    }

    /// The power goes after this many more operations that change something: each later one fails.
    pub fn cut_after(&self, operations: u64) {
        self.state().fuse = Some(operations);
    }

    /// Behind [`Self::cut_after`], without a [`Self::cut`]: it was the process that was killed and not the power that
    /// went. What was written is there, synced or not, and works again.
    pub fn revive(&self) {
        let mut state = self.state();
        (state.fuse, state.cut) = (None, false);
    }

    /// Whether the power is gone.
    pub fn is_cut(&self) -> bool {
        self.state().cut
    }

    /// With `true`, syncs say that they are done and do nothing: a server above such a disk must lose something.
    pub fn lie(&self, lies: bool) {
        self.state().lies = lies;
    }

    /// With `true`, syncs fail.
    pub fn fail_syncs(&self, fails: bool) {
        self.state().fails = fails;
    }

    /// Written bytes that no sync has made durable, of all files.
    pub fn unsynced_bytes(&self) -> usize {
        let state = self.state();
        let changes = state.inodes.values().flat_map(|node| &node.pending);
        changes.map(|change| if let Change::Write { bytes, .. } = change { bytes.len() } else { 0 }).sum()
    }

    /// Cuts the power: every later operation fails, the dice decide what survives of what was not synced, and the
    /// disk below holds just that when this returns.
    ///
    /// # Errors
    /// Those of the disk below.
    pub fn cut(&self, dice: &mut Dice) -> io::Result<()> {
        let mut state = self.state();
        state.cut = true;
        let dirs: Vec<PathBuf> = state.dirs.keys().cloned().collect();
        for dir in dirs {
            state.cut_dir(&dir, dice)?;
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State<D>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, for something that changes the disk.
    fn change(&self) -> io::Result<MutexGuard<'_, State<D>>> {
        let mut state = self.state();
        match &mut state.fuse {
            Some(0) => state.cut = true,
            Some(left) => *left -= 1,
            None => {}
        }
        if state.cut { Err(io::Error::other("the power is cut")) } else { Ok(state) }
    }

    fn file(&self, inode: Inode) -> CuttableFile<D> {
        CuttableFile { disk: self.clone(), inode }
    }
}

fn split(path: &Path) -> io::Result<(PathBuf, String)> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
    Ok((path.parent().unwrap_or(Path::new("")).into(), name.into()))
}

impl<D: Disk> State<D> {
    /// A folder, read from the disk below when it is first met.
    fn dir(&mut self, dir: &Path) -> io::Result<&mut Dir> {
        if !self.dirs.contains_key(dir) {
            let mut names = BTreeMap::new();
            for name in self.below.list(dir)? {
                let path = dir.join(&name);
                if name.starts_with(NAMELESS) {
                    self.below.remove(&path)?;
                } else if let Ok(file) = self.below.open_write(&path) {
                    // What does not open is a folder, and has no part in this.
                    names.insert(name, self.adopt(file, path)?);
                }
            }
            self.dirs.insert(dir.into(), Dir { synced: names.clone(), now: names, pending: Vec::new() });
        }
        self.dirs.get_mut(dir).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn adopt(&mut self, file: D::File, backing: PathBuf) -> io::Result<Inode> {
        let length = file.len()?;
        self.next += 1;
        self.inodes.insert(self.next, Node { file, backing, length, pending: Vec::new() });
        Ok(self.next)
    }

    fn rename(&mut self, dir: &Path, rename: Rename) -> io::Result<()> {
        let dir = self.dir(dir)?;
        rename.apply(&mut dir.now);
        dir.pending.push(rename);
        Ok(())
    }

    fn node(&mut self, inode: Inode) -> io::Result<&mut Node<D>> {
        self.inodes.get_mut(&inode).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Brings the names in the disk below to those in `names`.
    fn settle(&mut self, dir: &Path, names: &BTreeMap<String, Inode>) -> io::Result<()> {
        // First out of each other's way, then to the new names.
        let moved = names.iter().filter(|(name, inode)| {
            self.inodes.get(inode).is_some_and(|node| node.backing != dir.join(name))
        });
        let moved: Vec<(PathBuf, Inode)> = moved.map(|(name, inode)| (dir.join(name), *inode)).collect();
        for (_, inode) in &moved {
            let aside = dir.join(format!("{NAMELESS}{inode}"));
            if self.node(*inode)?.backing != aside {
                self.move_backing(*inode, aside)?;
            }
        }
        let gone = self.dir(dir)?.synced.iter().filter(|(name, inode)| names.get(*name) != Some(inode));
        let gone: Vec<(PathBuf, Inode)> = gone.map(|(name, inode)| (dir.join(name), *inode)).collect();
        for (path, inode) in gone {
            // A file that has lost its last name lives on while it is open.
            if self.node(inode)?.backing == path {
                self.move_backing(inode, dir.join(format!("{NAMELESS}{inode}")))?;
            }
        }
        for (path, inode) in moved {
            self.move_backing(inode, path)?;
        }
        self.dir(dir)?.synced.clone_from(names);
        Ok(())
    }

    fn move_backing(&mut self, inode: Inode, to: PathBuf) -> io::Result<()> {
        let from = self.node(inode)?.backing.clone();
        self.below.rename(&from, &to)?;
        self.node(inode)?.backing = to;
        Ok(())
    }

    /// Forgets the files that have no name.
    fn sweep(&mut self, dir: &Path) -> io::Result<()> {
        let known = self.dir(dir)?.clone();
        let nameless: Vec<Inode> = self
            .inodes
            .iter()
            .filter(|(inode, node)| {
                node.backing.parent() == Some(dir)
                    && !known.now.values().chain(known.synced.values()).any(|named| named == *inode)
            })
            .map(|(inode, _)| *inode)
            .collect();
        for inode in nameless {
            if let Some(node) = self.inodes.remove(&inode) {
                self.below.remove(&node.backing)?;
            }
        }
        Ok(())
    }

    fn cut_dir(&mut self, path: &Path, dice: &mut Dice) -> io::Result<()> {
        let (dir, sector) = (self.dir(path)?.clone(), self.sector);
        let mut names = dir.synced.clone();
        let style = dice.throw(3);
        for rename in &dir.pending {
            if style == 0 || (style == 1 && dice.throw(2) == 0) {
                rename.apply(&mut names);
            }
        }
        self.dir(path)?.now.clone_from(&names);
        for inode in names.values() {
            self.node(*inode)?.cut(sector, dice)?;
        }
        self.settle(path, &names)?;
        self.sweep(path)
    }
}

impl<D: Disk> Node<D> {
    fn flush(&mut self) -> io::Result<()> {
        for change in self.pending.drain(..) {
            match change {
                Change::Write { at, bytes } => self.file.write_at(&bytes, at)?,
                Change::Length(length) => self.file.set_len(length)?,
            }
        }
        Ok(())
    }

    /// Lets a part of what is pending arrive: nothing, all, the first changes and a part of the next, or any sectors.
    fn cut(&mut self, sector: usize, dice: &mut Dice) -> io::Result<()> {
        let changes = self.pending.len();
        let (whole, scattered) = match dice.throw(4) {
            0 => (0, false),
            1 => (changes, false),
            2 => (dice.throw(changes + 1), true),
            _ => (0, true),
        };
        for (index, change) in self.pending.drain(..).enumerate() {
            match change {
                Change::Write { at, bytes } if index < whole => self.file.write_at(&bytes, at)?,
                Change::Write { at, bytes } if scattered => {
                    let mut from = 0;
                    while from < bytes.len() {
                        // Sectors are those of the file, not of the write.
                        let in_sector = usize::try_from((at + from as u64) % sector as u64).unwrap_or(0);
                        let to = bytes.len().min(from + sector - in_sector);
                        if dice.throw(2) == 0 {
                            self.file.write_at(&bytes[from..to], at + from as u64)?;
                        }
                        from = to;
                    }
                }
                Change::Length(length) if index < whole || (scattered && dice.throw(2) == 0) => {
                    self.file.set_len(length)?;
                }
                Change::Write { .. } | Change::Length(_) => {}
            }
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let length = self.length.saturating_sub(offset).min(buffer.len() as u64);
        let buffer = &mut buffer[..usize::try_from(length).unwrap_or(0)];
        let read = self.file.read_at(buffer, offset)?;
        buffer[read..].fill(0);
        let end = offset + buffer.len() as u64;
        for change in &self.pending {
            match change {
                Change::Write { at, bytes } => {
                    let (from, to) = ((*at).max(offset), (at + bytes.len() as u64).min(end));
                    if from < to {
                        let index = |at: u64, base: u64| usize::try_from(at - base).unwrap_or(0);
                        buffer[index(from, offset)..index(to, offset)]
                            .copy_from_slice(&bytes[index(from, *at)..index(to, *at)]);
                    }
                }
                Change::Length(length) if *length < end => {
                    let from = usize::try_from(length.saturating_sub(offset)).unwrap_or(0);
                    buffer[from..].fill(0);
                }
                Change::Length(_) => {}
            }
        }
        Ok(buffer.len())
    }
}

impl<D: Disk> Disk for Cuttable<D> {
    type File = CuttableFile<D>;
    type Lock = D::Lock;

    fn open(&self, path: &Path) -> io::Result<CuttableFile<D>> {
        let (dir, name) = split(path)?;
        let inode = self.state().dir(&dir)?.now.get(&name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(inode))
    }

    fn open_write(&self, path: &Path) -> io::Result<CuttableFile<D>> {
        self.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<CuttableFile<D>> {
        let (dir, name) = split(path)?;
        let mut state = self.change()?;
        state.dir(&dir)?;
        let backing = dir.join(format!("{NAMELESS}{}", state.next + 1));
        let file = state.below.create(&backing)?;
        let inode = state.adopt(file, backing)?;
        state.rename(&dir, Rename { inode, from: None, to: Some(name) })?;
        Ok(self.file(inode))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((dir, from), (dir_to, to)) = (split(from)?, split(to)?);
        if dir != dir_to {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut state = self.change()?;
        let inode = state.dir(&dir)?.now.get(&from).copied().ok_or(io::ErrorKind::NotFound)?;
        state.rename(&dir, Rename { inode, from: Some(from), to: Some(to) })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (dir, name) = split(path)?;
        let mut state = self.change()?;
        let inode = state.dir(&dir)?.now.get(&name).copied().ok_or(io::ErrorKind::NotFound)?;
        state.rename(&dir, Rename { inode, from: Some(name), to: None })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        Ok(self.state().dir(dir)?.now.keys().cloned().collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.change()?.below.create_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        if state.fails {
            return Err(io::Error::other("a sync that was made to fail"));
        }
        if state.lies {
            return Ok(());
        }
        let known = state.dir(dir)?;
        known.pending.clear();
        let names = known.now.clone();
        state.settle(dir, &names)
    }

    fn lock(&self, dir: &Path) -> io::Result<Option<D::Lock>> {
        self.state().below.lock(dir)
    }
}

impl<D: Disk> File for CuttableFile<D> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.state().node(self.inode)?.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.change()?;
        let node = state.node(self.inode)?;
        node.length = node.length.max(offset + bytes.len() as u64);
        node.pending.push(Change::Write { at: offset, bytes: bytes.into() });
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.change()?;
        let node = state.node(self.inode)?;
        node.length = length;
        node.pending.push(Change::Length(length));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().node(self.inode)?.length)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.change()?;
        if state.fails {
            return Err(io::Error::other("a sync that was made to fail"));
        }
        if state.lies {
            return Ok(());
        }
        state.node(self.inode)?.flush()
    }
}
