//! A start: read what is there, let [`protocol::recovery`] decide, load and replay. Nothing is written here; what is
//! left to do on disk is kept as [`Repairs`] until the log is told to carry them out.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use protocol::{
    Recovered,
    recovery::{
        self, BATCH_BYTES_MAX, Found, Mark, Plan, Record, Segment, Snapshot, SnapshotVerdict, Verdict,
    },
};
use spec::{Epoch, Machine, Zxid};
use tree::{Tree, Txn};
use wire::{
    Decoder,
    log::{FILE_HEADER_BYTES, decode_body},
};

use crate::{
    Error,
    disk::{Disk, File},
    error::Context,
    layout::{NEXT_LOG, NEXT_SNAPSHOT, Packing, SPARE_LOG, SnapshotName},
    load::{Loaded, load, looks_packed},
    mark,
    segment::{Entries, Place, Told},
    snapshot::DIGEST_VERSION,
    store::Store,
    text::{if_there, is_initialize, remove_initialize},
};

/// What a start found, with the state loaded.
#[derive(Debug)]
pub struct Recovery {
    /// The state, all that was found applied.
    pub tree: Tree,
    /// What the actors are told.
    pub recovered: Recovered<Txn>,
    /// What is worth telling the operator, a line each: nothing on most starts.
    pub warnings: Vec<String>,
    /// How many records were replayed.
    pub replayed: usize,
    /// How long it took to load the snapshot.
    pub loading: Duration,
    /// How long it took to read the log and to replay it.
    pub replaying: Duration,
    pub(crate) repairs: Repairs,
}

impl Recovery {
    /// Whether a torn end of the log is to be cut.
    pub fn cuts(&self) -> bool {
        !self.repairs.cuts.is_empty()
    }
}

/// What recovery leaves to do on disk before the first vote.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repairs {
    /// Where files end; offset 0 takes the file away. In the order of files.
    cuts: Vec<Mark>,
    /// The files of the log that were read.
    segments: Vec<Zxid>,
    /// The snapshot that was read; without one the empty state is to be stored.
    snapshot: Option<PathBuf>,
    /// The received state that is to take the place of everything else.
    install: Option<Zxid>,
    /// The epochs whose file is missing.
    accepted: Option<Epoch>,
    current: Option<Epoch>,
    /// The end of the log behind the cuts.
    pub(crate) end: Option<Mark>,
    /// From where on in the last file the disk may never have got what was read.
    unsure: u64,
}

impl Repairs {
    /// Cuts, and syncs all that was read (rules D-9, D-11).
    pub(crate) fn carry_out<D: Disk>(&self, store: &Store<D>) -> Result<(), Error> {
        let (disk, layout) = (store.disk(), store.layout());
        // What was being written when a process ended counts for nothing, and a full disk needs the room.
        let (logs, snapshots) = (&layout.logs, &layout.snapshots);
        for path in [logs.join(NEXT_LOG), logs.join(SPARE_LOG), snapshots.join(NEXT_SNAPSHOT)] {
            if_there(disk.remove(&path)).context("remove", &path)?;
        }
        if let Some(label) = self.install {
            let mut mark = mark::MarkFile::new(disk.clone(), layout.clone());
            mark.write(mark::NOWHERE, store.accepted())?;
            mark.sync()?;
            store.snapshots().install(label)?;
            store.begins_at(label);
        }
        for cut in self.cuts.iter().rev() {
            let path = layout.log(cut.segment);
            if cut.offset == 0 {
                disk.remove(&path).context("remove", &path)?;
                disk.sync_dir(&layout.logs).synced(&layout.logs)?;
            } else {
                let file = disk.open_write(&path).context("open", &path)?;
                file.set_len(cut.offset).context("shorten", &path)?;
            }
        }
        for first in self.segments.iter().filter(|first| !self.is_removed(**first)) {
            let path = layout.log(*first);
            let file = disk.open_write(&path).context("open", &path)?;
            if let Some(end) = self.end.filter(|end| end.segment == *first) {
                write_again(&file, self.unsure, end.offset).context("write", &path)?;
            }
            file.sync().synced(&path)?;
        }
        disk.sync_dir(&layout.logs).synced(&layout.logs)?;
        if let Some(path) = &self.snapshot {
            disk.open_write(path).context("open", path)?.sync().synced(path)?;
        } else {
            store.snapshots().save(&mut Tree::new())?;
        }
        store.epochs().sync()?;
        // In this order: a promise is never behind.
        if let Some(epoch) = self.accepted {
            store.epochs().save_accepted(epoch)?;
        }
        if let Some(epoch) = self.current {
            store.epochs().save_current(epoch)?;
        }
        disk.sync_dir(&layout.snapshots).synced(&layout.snapshots)?;
        remove_initialize(disk, &layout.data)
    }

    fn is_removed(&self, first: Zxid) -> bool {
        self.cuts.iter().any(|cut| cut.segment == first && cut.offset == 0)
    }
}

/// Writes what stands in `[from, to)` once more. Behind a failed sync the kernel may hold pages for written that the disk
/// never got: they read as they should, and a later sync passes them over (rule D-9).
fn write_again(file: &impl File, from: u64, to: u64) -> std::io::Result<()> {
    let mut piece = vec![0; 256 << 10];
    let mut at = from;
    while at < to {
        let wanted = usize::try_from(to - at).map_or(piece.len(), |left| left.min(piece.len()));
        let read = file.read_at(&mut piece[..wanted], at)?;
        if read == 0 {
            break;
        }
        file.write_at(&piece[..read], at)?;
        at += read as u64;
    }
    Ok(())
}

pub(crate) fn recover<D: Disk>(store: &Store<D>) -> Result<Recovery, Error> {
    let (disk, layout) = (store.disk(), store.layout());
    let started = Instant::now();
    let received = layout.find_received(disk)?;
    let Looked { snapshots, loaded, mut warnings } = match received {
        Some(name) => look_at_received(store, name)?,
        None => look(store)?,
    };
    let loading = started.elapsed();
    let label = snapshots.last().filter(|s| s.verdict == SnapshotVerdict::Valid).map(|s| s.label);
    // What was received takes the place of the log too.
    let files = if received.is_some() { Vec::new() } else { layout.list_logs(disk)? };
    // Files that end before the label are of no use; the last that begins before it may go on behind it.
    let from = label.map_or(0, |label| files.partition_point(|first| *first <= label).saturating_sub(1));
    let (mut segments, mut told) = (Vec::new(), Told::new());
    for first in files.get(from..).unwrap_or_default() {
        segments.push(scan(store, *first, label.unwrap_or_default(), &mut told)?);
    }
    let (accepted, current) = (store.epochs().accepted()?, store.epochs().current()?);
    let synced = if received.is_some() { None } else { mark::read(disk, layout, accepted)? };
    let found = Found { snapshots, segments, synced, accepted, current };
    let config = recovery::Config {
        fresh: store.config().autocreate || is_initialize(disk, &layout.data)?,
        unsnapped: store.config().trust_empty,
        batch_bytes_max: BATCH_BYTES_MAX,
    };
    if found.snapshots.is_empty() && found.segments.is_empty() {
        layout.judge_names(disk)?;
    }
    let plan = match recovery::recover(config, &found) {
        Ok(plan) => plan,
        Err(refusal) => return Err(Error::Refused { path: layout.logs.clone(), refusal, notes: warnings }),
    };
    warnings.extend(plan.cuts.iter().map(|cut| tell_cut(*cut, &found, &plan)));
    let (mut tree, snapshot) = loaded.map(|(tree, path)| (tree, Some(path))).unwrap_or_default();
    let repairs = Repairs { install: received.map(|name| name.label), snapshot, ..repairs(&found, &plan) };
    let replayed = plan.replay.len();
    let (recovered, digests) = replay(store, &found, &plan, &mut tree)?;
    warnings.extend(digests.judge(store)?);
    let replaying = started.elapsed().saturating_sub(loading);
    Ok(Recovery { tree, recovered, warnings, replayed, loading, replaying, repairs })
}

impl<D: Disk> Store<D> {
    /// The state as it was behind this transaction, if a snapshot and the log reach it; writes nothing.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Unreadable`].
    pub fn state_at(&self, zxid: Zxid) -> Result<Option<Tree>, Error> {
        let mut tree = None;
        for name in self.layout().list_snapshots(self.disk())? {
            let path = self.layout().snapshot(name.label, name.packing);
            if name.label <= zxid
                && let Loaded::Whole(loaded) = load(self.disk(), &path, name.label, name.packing)?
            {
                tree = Some(*loaded);
                break;
            }
        }
        let Some(mut tree) = tree else { return Ok(None) };
        let mut watches = <Tree as Machine>::Watches::default();
        for (at, txn) in self.transactions(tree.last_processed(), zxid)? {
            tree.apply(at, &txn, &mut watches, &mut |_, _| {});
        }
        Ok(Some(tree).filter(|tree| tree.last_processed() == zxid))
    }

    /// The transactions of the log in `(after, through]`, as far as it reads.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Unreadable`].
    pub fn transactions(&self, after: Zxid, through: Zxid) -> Result<Vec<(Zxid, Txn)>, Error> {
        let mut range = self.read(after, through)?;
        let mut found = Vec::new();
        while let Some((zxid, body)) = range.next_any()? {
            let is_new = found.last().is_none_or(|(last, _)| *last < zxid);
            if is_new && zxid > after && zxid <= through {
                let path = self.layout().logs.clone();
                let (_, txn) = decode_body(&mut Decoder::stream(body))
                    .map_err(|source| Error::Unreadable { path, at: 0, source })?;
                found.push((zxid, txn));
            }
        }
        Ok(found)
    }
}

struct Looked {
    snapshots: Vec<Snapshot>,
    /// The state in the last of them, if that is valid, and its file (for one that was received, its file to be).
    loaded: Option<(Tree, PathBuf)>,
    warnings: Vec<String>,
}

/// Looks at the snapshots, newest first, up to the first that is whole.
fn look<D: Disk>(store: &Store<D>) -> Result<Looked, Error> {
    let (disk, layout) = (store.disk(), store.layout());
    let mut looked = Looked { snapshots: Vec::new(), loaded: None, warnings: Vec::new() };
    for name in layout.list_snapshots(disk)? {
        let (label, path) = (name.label, layout.snapshot(name.label, name.packing));
        let (verdict, why) = match load(disk, &path, label, name.packing)? {
            Loaded::Whole(tree) => {
                looked.snapshots.push(Snapshot { label, verdict: SnapshotVerdict::Valid });
                store.snapshots().know(name)?;
                looked.loaded = Some((*tree, path));
                break;
            }
            Loaded::Unfinished => (SnapshotVerdict::Incomplete, tell_unfinished(disk, &path, name)?),
            Loaded::Damaged(damage) => (SnapshotVerdict::Broken, format!("is damaged: {damage}")),
        };
        looked.warnings.push(format!("passed over {}, which {why}", path.display()));
        looked.snapshots.push(Snapshot { label, verdict });
    }
    Ok(looked)
}

/// What a snapshot without its end is, for the operator.
fn tell_unfinished<D: Disk>(disk: &D, path: &Path, name: SnapshotName) -> Result<String, Error> {
    let packed = if name.packing == Packing::Plain { looks_packed(disk, path)? } else { None };
    Ok(match packed {
        Some(end) => format!("is packed, as its first bytes show, and its name does not end in {end}"),
        None => "was never finished, or is cut short".to_owned(),
    })
}

/// A crash came between receiving a state and having it take the place of the old one: it counts (rule D-13).
fn look_at_received<D: Disk>(store: &Store<D>, name: SnapshotName) -> Result<Looked, Error> {
    let (layout, label, path) = (store.layout(), name.label, store.layout().received(name));
    let damaged = |why: String| {
        let warning = format!("{} is damaged: {why}", path.display());
        (SnapshotVerdict::Broken, None, warning)
    };
    let (verdict, loaded, warning) = match load(store.disk(), &path, label, name.packing)? {
        Loaded::Whole(tree) => {
            let warning = format!("{} takes the place of the older state and its log", path.display());
            (SnapshotVerdict::Valid, Some((*tree, layout.snapshot(name.label, name.packing))), warning)
        }
        Loaded::Unfinished => damaged("it has no end".to_owned()),
        Loaded::Damaged(damage) => damaged(damage.to_string()),
    };
    Ok(Looked { snapshots: vec![Snapshot { label, verdict }], loaded, warnings: vec![warning] })
}

/// What stands where in a file of the log; what files before it have told is not told again.
fn scan<D: Disk>(store: &Store<D>, first: Zxid, label: Zxid, told: &mut Told) -> Result<Segment<()>, Error> {
    let path = store.layout().log(first);
    let file = store.disk().open(&path).context("open", &path)?;
    let mut entries = Entries::behind(file, &path, std::mem::take(told))?.needed_above(label);
    let mut records = Vec::new();
    loop {
        match entries.next()? {
            Place::Record { at, zxid } => {
                records.push(Record { at, verdict: Verdict::Valid { zxid, txn: () } });
            }
            Place::Broken { at, altered: false } => records.push(Record { at, verdict: Verdict::Broken }),
            Place::Broken { at, altered: true } => records.push(Record { at, verdict: Verdict::Altered }),
            Place::End { at } => {
                *told = entries.into_told();
                return Ok(Segment { first, records, end: at });
            }
        }
    }
}

fn tell_cut(cut: Mark, found: &Found<()>, plan: &Plan<()>) -> String {
    let end = found.segments.iter().find(|s| s.first == cut.segment).and_then(|s| s.records.last());
    let reach = end.map_or(0, |record| record.at.saturating_sub(cut.offset));
    format!(
        "the torn end of {cut} is cut; it reaches over at least {reach} bytes, and {} records in torn ends are dropped, \
         none of which is known to be synced",
        plan.dropped
    )
}

fn repairs(found: &Found<()>, plan: &Plan<()>) -> Repairs {
    // A file without a record is none.
    let header = FILE_HEADER_BYTES as u64;
    let cuts: Vec<Mark> = plan
        .cuts
        .iter()
        .map(|cut| Mark { offset: if cut.offset <= header { 0 } else { cut.offset }, ..*cut })
        .collect();
    let end_of = |segment: &Segment<()>| {
        let cut = cuts.iter().find(|cut| cut.segment == segment.first);
        Mark { segment: segment.first, offset: cut.map_or(segment.end, |cut| cut.offset) }
    };
    let end = found.segments.iter().rev().map(end_of).find(|end| end.offset > 0);
    let unsure = end.map_or(0, |end| unsure(found, end));
    let segments = found.segments.iter().map(|segment| segment.first).collect();
    let accepted = found.accepted.is_none().then_some(plan.accepted);
    let current = found.current.is_none().then_some(plan.current);
    Repairs { cuts, segments, snapshot: None, install: None, accepted, current, end, unsure }
}

/// From where on in the file where the log ends the disk may lack what was read: one batch at most, or one transaction
/// that is longer, and nothing in front of the mark.
fn unsure(found: &Found<()>, end: Mark) -> u64 {
    let records =
        found.segments.iter().filter(|segment| segment.first == end.segment).flat_map(|s| &s.records);
    let last = records.map(|record| record.at).filter(|at| *at < end.offset).max().unwrap_or(0);
    let synced = found.synced.filter(|mark| mark.segment == end.segment).map_or(0, |mark| mark.offset);
    end.offset.saturating_sub(BATCH_BYTES_MAX).min(last).max(synced)
}

/// What the log tells of the states that it makes (rule D-17).
#[derive(Debug, Default)]
struct Digests {
    /// Whether one was as told.
    matched: bool,
    /// Since when none was.
    missed: Option<Zxid>,
}

impl Digests {
    /// A transaction was applied, and tells of the state behind it.
    fn compare(&mut self, zxid: Zxid, as_told: bool) {
        if as_told {
            *self = Self { matched: true, missed: None };
        } else {
            self.missed.get_or_insert(zxid);
        }
    }

    /// A state that is as told and then no more has lost something on the way. One that never was may have begun as a
    /// fuzzy snapshot whose last transactions the log has lost with its torn end: a warning.
    fn judge<D: Disk>(&self, store: &Store<D>) -> Result<Option<String>, Error> {
        let Some(at) = self.missed else { return Ok(None) };
        let path = store.layout().logs.clone();
        if self.matched && store.config().trailers {
            return Err(Error::Diverged { path, at });
        }
        Ok(Some(format!(
            "from transaction {at} on the state is not the one that the log in {} tells of",
            path.display()
        )))
    }
}

/// Reads the log again and applies what the plan says.
fn replay<D: Disk>(
    store: &Store<D>,
    found: &Found<()>,
    plan: &Plan<()>,
    tree: &mut Tree,
) -> Result<(Recovered<Txn>, Digests), Error> {
    let mut digests = Digests::default();
    let window = store.config().window;
    let mut tail = VecDeque::with_capacity(window.min(plan.replay.len()));
    let (mut base, mut watches) = (plan.floor, <Tree as Machine>::Watches::default());
    let mut places = plan.replay.iter().map(|(zxid, ())| *zxid).peekable();
    for segment in &found.segments {
        let path = store.layout().log(segment.first);
        let file = store.disk().open(&path).context("open", &path)?;
        let mut entries = Entries::new(file, &path)?;
        while let Some(wanted) = places.peek() {
            match entries.next()? {
                Place::Record { zxid, .. } if zxid < *wanted => {}
                Place::Record { at, zxid } if zxid == *wanted => {
                    let mut body = Decoder::stream(entries.body());
                    let unreadable = |source| Error::Unreadable { path: path.clone(), at, source };
                    let (_, txn) = decode_body(&mut body).map_err(unreadable)?;
                    tree.apply(zxid, &txn, &mut watches, &mut |_, _| {});
                    if let Some(told) = txn.digest.filter(|told| told.version == DIGEST_VERSION) {
                        digests.compare(zxid, told.tree == tree.digest());
                    }
                    tail.push_back((zxid, txn));
                    if tail.len() > window
                        && let Some((zxid, _)) = tail.pop_front()
                    {
                        base = zxid;
                    }
                    places.next();
                }
                // Below the label, or torn.
                Place::Broken { .. } => {}
                Place::Record { .. } | Place::End { .. } => break,
            }
        }
    }
    if let Some(wanted) = places.next() {
        let path = store.layout().logs.clone();
        return Err(Error::Missing { path, after: base, through: wanted });
    }
    let Plan { accepted, current, floor, last, .. } = *plan;
    Ok((Recovered { accepted, current, floor, last, base, tail: tail.into() }, digests))
}
