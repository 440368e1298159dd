//! What a start makes of the files it finds: which snapshot to trust, which records to replay, where to cut the log,
//! or why not to start at all.
//!
//! The argument. A crash may keep any subset of the last batch that was not synced, and nothing else may be wrong with
//! a log. So a record that does not read is a torn tail exactly if nothing that reads stands further than one batch
//! behind it in its file, it is not known to have been synced, and it stands in the last file, or the next one goes on
//! right where it stands (Apache ZooKeeper leaves its torn tails, and goes on in a new file); then it was never
//! acknowledged and is cut. Everything else is damage to something that this server may have vouched for, and the
//! start is refused: a server that forgets what it acknowledged can make the ensemble lose it.
//!
//! Reading files is the caller's; `storage` feeds this function from real ones, the models from simulated ones.
//! Rules: `spec/durability.md`, D-1 to D-9.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};
use spec::{Epoch, Zxid};

use crate::Recovered;

/// The most bytes that a log writer hands to one sync: 4 MiB. Nothing of a torn batch stands further behind its
/// first byte than this.
pub const BATCH_BYTES_MAX: u64 = 4 << 20;

/// Everything that a start finds on disk. `T` is what stands for a transaction: the transaction itself in models,
/// nothing in production, which reads the records a second time.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Found<T> {
    /// The snapshots, newest first, as far as they were looked at: up to the first that is valid.
    pub snapshots: Vec<Snapshot>,
    /// The files of the log in the order of their names. Those that end before the label of the valid snapshot may
    /// be left out.
    pub segments: Vec<Segment<T>>,
    /// The last place in the log that is known to be synced, if that is known.
    pub synced: Option<Mark>,
    /// The last epoch promised, if its file exists.
    pub accepted: Option<Epoch>,
    /// The last epoch joined, if its file exists.
    pub current: Option<Epoch>,
}

/// A snapshot, and how it reads.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Snapshot {
    /// The last transaction that it surely holds, from its name.
    pub label: Zxid,
    /// How it reads.
    pub verdict: SnapshotVerdict,
}

/// How a snapshot reads.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SnapshotVerdict {
    /// Whole.
    Valid,
    /// It lacks its end: a crash came while it was written, or it is a copy that was cut short.
    Incomplete,
    /// It has its end and does not read.
    Broken,
}

/// One file of the log.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Segment<T> {
    /// The first transaction, from its name.
    pub first: Zxid,
    /// What was found, in the order of offsets. A file without a header starts with [`Verdict::Broken`] at 0.
    pub records: Vec<Record<T>>,
    /// Where the zeros begin that run to the end of the file.
    pub end: u64,
}

/// A place in a file of the log, and what was found there.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Record<T> {
    /// The offset in bytes.
    pub at: u64,
    /// What stands there.
    pub verdict: Verdict<T>,
}

/// What stands at a place of the log.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Verdict<T> {
    /// A record whose checksum is right.
    Valid {
        /// The place of its transaction.
        zxid: Zxid,
        /// The transaction.
        txn: T,
    },
    /// Something that is neither a record nor zeros to the end of the file. What follows was found by looking for
    /// records behind it.
    Broken,
    /// The same, which has the length and the end of a record, and not its checksum.
    Altered,
}

/// A place in the log.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Mark {
    /// The file, by its first transaction.
    pub segment: Zxid,
    /// The offset in bytes.
    pub offset: u64,
}

/// What the operator vouches for, and the size of a batch.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Config {
    /// A server that has neither snapshot, log nor epochs is new (`zookeeper.db.autocreate`, or the `initialize`
    /// file).
    pub fresh: bool,
    /// A log without a snapshot starts from the empty state (`zookeeper.snapshot.trust.empty`).
    pub unsnapped: bool,
    /// The most bytes that are handed to one sync.
    pub batch_bytes_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { fresh: true, unsnapped: false, batch_bytes_max: BATCH_BYTES_MAX }
    }
}

/// What to do, in this order: load the snapshot, replay; only then cut, and sync all that was read.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Plan<T> {
    /// The snapshot to load; none means the empty state, which is to be stored as snapshot 0 before the first vote.
    pub snapshot: Option<Zxid>,
    /// The label of that snapshot: the log is whole from here on.
    pub floor: Zxid,
    /// The records to replay: all behind `floor`, in order, without a gap.
    pub replay: Vec<(Zxid, T)>,
    /// The last transaction of snapshot and log.
    pub last: Zxid,
    /// Where to cut: everything in that file from this offset on goes. Offset 0 removes the file.
    pub cuts: Vec<Mark>,
    /// Records with a right checksum that the cuts drop: parts of a torn batch.
    pub dropped: usize,
    /// The last epoch promised.
    pub accepted: Epoch,
    /// The last epoch joined.
    pub current: Epoch,
}

impl<T> Plan<T> {
    /// What the actors are told at boot, with at most `window` transactions.
    pub fn recovered(mut self, window: usize) -> Recovered<T> {
        let tail = self.replay.split_off(self.replay.len().saturating_sub(window));
        let base = self.replay.last().map_or(self.floor, |(zxid, _)| *zxid);
        let Self { accepted, current, floor, last, .. } = self;
        Recovered { accepted, current, floor, last, base, tail }
    }
}

/// Why not to start. The text says what is wrong, where, and what to do.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Refusal {
    /// A record in the middle of the log does not read.
    Damaged {
        /// Where it stands.
        at: Mark,
        /// A record behind it that does read.
        beyond: Mark,
    },
    /// The log ends, or does not read, before the place that is known to be synced.
    SyncedLost {
        /// Where it ends.
        at: Mark,
        /// What was synced.
        synced: Mark,
    },
    /// A file of the log that is known to be synced is missing.
    SegmentLost {
        /// The place that was synced.
        synced: Mark,
    },
    /// A record does not continue the one before it.
    Gap {
        /// Where it stands.
        at: Mark,
        /// Its transaction.
        found: Zxid,
        /// What stands before it.
        after: Zxid,
    },
    /// There is a log, and no snapshot to start from.
    NoSnapshot {
        /// The log's first record.
        first: Zxid,
    },
    /// A snapshot is damaged, and the log does not make up for it.
    SnapshotBroken {
        /// Its label.
        label: Zxid,
    },
    /// There is a snapshot that lacks its end, and nothing else to start from.
    SnapshotUnfinished {
        /// Its label.
        label: Zxid,
    },
    /// There are epochs without snapshot and log, or nothing at all and the server is not known to be new.
    DataMissing {
        /// The last epoch joined.
        current: Option<Epoch>,
    },
    /// The epoch joined is above the one promised.
    EpochOrder {
        /// Promised.
        accepted: Epoch,
        /// Joined.
        current: Epoch,
    },
    /// No leader can have an epoch above the one promised.
    LastPromised {
        /// Promised.
        accepted: Epoch,
    },
    /// The log holds a transaction of an epoch that was never promised.
    NeverPromised {
        /// Promised.
        accepted: Epoch,
        /// The last transaction.
        last: Zxid,
    },
}

impl core::error::Error for Refusal {}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log.{:x} at offset {}", self.segment.0, self.offset)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ANEW: &str = "if the other servers are well, move this server's version-2 folders away and let it start \
                            empty: it is brought up to date by its leader";
        match self {
            Self::Damaged { at, beyond } => write!(
                f,
                "damaged record in {at}: {beyond} reads again, so this is no torn end of the log but damage to what \
                 may be acknowledged; restore the file from a copy; {ANEW}"
            ),
            Self::SyncedLost { at, synced } => write!(
                f,
                "the log ends in {at}, but it had been synced up to {synced}; restore the file from a copy; {ANEW}"
            ),
            Self::SegmentLost { synced } => write!(
                f,
                "log.{:x} is missing, which had been synced up to offset {}; restore the file; {ANEW}",
                synced.segment.0, synced.offset
            ),
            Self::Gap { at, found, after } => write!(
                f,
                "gap in the log: transaction {found} in {at} does not follow {after}; restore the missing files; \
                 {ANEW}"
            ),
            Self::NoSnapshot { first } => write!(
                f,
                "the log starts with transaction {first}, but there is no snapshot to start from; restore the \
                 snapshot, or set snapshot.trust.empty if the log is known to be whole; {ANEW}"
            ),
            Self::SnapshotBroken { label } => write!(
                f,
                "snapshot.{:x} is damaged, and older snapshots with the log do not reach as far; restore it from a \
                 copy; {ANEW}",
                label.0
            ),
            Self::SnapshotUnfinished { label } => write!(
                f,
                "snapshot.{:x} lacks its end, and there is nothing else to start from; restore a whole copy of it, under a \
                 name that ends in .gz or .snappy if it is packed so; if this server is new, move that file away",
                label.0
            ),
            Self::DataMissing { current: Some(current) } => write!(
                f,
                "this server has joined epoch {current}, but snapshot and log are missing; restore them; if the \
                 other servers are well, remove currentEpoch and acceptedEpoch too"
            ),
            Self::DataMissing { current: None } => f.write_str(
                "there are no data; put a file named initialize into dataDir if this server is new",
            ),
            Self::EpochOrder { accepted, current } => write!(
                f,
                "currentEpoch {current} is above acceptedEpoch {accepted}; restore both files as they were; {ANEW}"
            ),
            Self::LastPromised { accepted } => write!(
                f,
                "acceptedEpoch {accepted} leaves no epoch for another leader, and no ensemble gets there by elections; restore \
                 the file as it was; {ANEW}; if all servers have it, stop all of them and write into each acceptedEpoch the \
                 greatest currentEpoch that there is"
            ),
            Self::NeverPromised { accepted, last } => write!(
                f,
                "the log ends with transaction {last}, above acceptedEpoch {accepted}; restore the epoch files as \
                 they were; {ANEW}"
            ),
        }
    }
}

/// Decides what to make of the files found. Pure; nothing may be written before it has agreed.
///
/// # Errors
/// The reason to refuse the start.
pub fn recover<T: Clone>(config: Config, found: &Found<T>) -> Result<Plan<T>, Refusal> {
    let label = trusted(config, found)?;
    let floor = label.unwrap_or(Zxid::ZERO);
    let chain = Chain { config, found, floor, replay: Vec::new(), cuts: Vec::new(), dropped: 0 }.walk()?;
    let last = chain.replay.last().map_or(floor, |(zxid, _)| *zxid);
    passed_over(found, label, &chain.replay, last)?;
    let (accepted, current) = epochs(found, last)?;
    let Chain { replay, cuts, dropped, .. } = chain;
    Ok(Plan { snapshot: label, floor, replay, last, cuts, dropped, accepted, current })
}

/// The label of the snapshot to start from (D-3, D-5).
fn trusted<T>(config: Config, found: &Found<T>) -> Result<Option<Zxid>, Refusal> {
    if let Some(snapshot) = found.snapshots.iter().find(|s| s.verdict == SnapshotVerdict::Valid) {
        return Ok(Some(snapshot.label));
    }
    if let Some(broken) = found.snapshots.iter().find(|s| s.verdict == SnapshotVerdict::Broken) {
        return Err(Refusal::SnapshotBroken { label: broken.label });
    }
    let first = found.segments.iter().flat_map(|s| &s.records).find_map(Record::zxid);
    // A new server makes its first snapshot whole before anything else; ZooKeeper's own is the empty state, too.
    let unfinished = found.snapshots.iter().find(|s| s.label > Zxid::ZERO);
    match (first, unfinished) {
        (Some(_), _) if config.unsnapped => Ok(None),
        (Some(first), _) => Err(Refusal::NoSnapshot { first }),
        (None, Some(snapshot)) => Err(Refusal::SnapshotUnfinished { label: snapshot.label }),
        (None, None) if config.fresh && found.current.is_none_or(|epoch| epoch.0 == 0) => Ok(None),
        (None, None) => Err(Refusal::DataMissing { current: found.current }),
    }
}

/// A snapshot above the trusted one that does not read may be passed over only if the log leads to its very label (D-4).
///
/// Otherwise it was received from a leader and bridged a hole: with snapshots 3:0 and 9:0 and a log of 3:1, 3:2, 9:1,
/// starting from 3:0 would find no gap and yet miss all of epochs 4 to 8. One that lacks its end may also be passed over
/// where the log does not come as far: then a crash came while it was written (D-3).
fn passed_over<T>(
    found: &Found<T>,
    label: Option<Zxid>,
    replay: &[(Zxid, T)],
    last: Zxid,
) -> Result<(), Refusal> {
    for snapshot in found.snapshots.iter().filter(|snapshot| Some(snapshot.label) > label) {
        let allowed = match snapshot.verdict {
            SnapshotVerdict::Valid => true,
            SnapshotVerdict::Incomplete => last <= snapshot.label,
            SnapshotVerdict::Broken => false,
        };
        if !allowed && replay.binary_search_by_key(&snapshot.label, |(zxid, _)| *zxid).is_err() {
            return Err(Refusal::SnapshotBroken { label: snapshot.label });
        }
    }
    Ok(())
}

/// Promised and joined epoch (D-7, D-8). A missing file means the epoch of the last transaction, as for ZooKeeper.
fn epochs<T>(found: &Found<T>, last: Zxid) -> Result<(Epoch, Epoch), Refusal> {
    let current = found.current.unwrap_or(last.epoch());
    let accepted = found.accepted.unwrap_or(last.epoch());
    if accepted < current {
        return Err(Refusal::EpochOrder { accepted, current });
    }
    // The epoch of the last transaction may be above `current`: a crash between the two steps of NEWLEADER, history
    // and epoch, leaves exactly that. It is never above the promise.
    if accepted < last.epoch() {
        return Err(Refusal::NeverPromised { accepted, last });
    }
    if accepted.checked_next().is_none() {
        return Err(Refusal::LastPromised { accepted });
    }
    Ok((accepted, current))
}

impl<T> Record<T> {
    fn zxid(&self) -> Option<Zxid> {
        match &self.verdict {
            Verdict::Valid { zxid, .. } => Some(*zxid),
            Verdict::Broken | Verdict::Altered => None,
        }
    }
}

/// The walk over the log.
struct Chain<'a, T> {
    config: Config,
    found: &'a Found<T>,
    floor: Zxid,
    replay: Vec<(Zxid, T)>,
    cuts: Vec<Mark>,
    dropped: usize,
}

impl<T: Clone> Chain<'_, T> {
    fn walk(mut self) -> Result<Self, Refusal> {
        let segments = &self.found.segments;
        for (index, segment) in segments.iter().enumerate() {
            let end = self.walk_segment(segment, segments.get(index + 1..).unwrap_or_default())?;
            if let Some(synced) = self.found.synced.filter(|s| s.segment == segment.first && end < s.offset) {
                return Err(Refusal::SyncedLost { at: Mark { segment: segment.first, offset: end }, synced });
            }
        }
        // Purging keeps the last file, below a snapshot too (rule D-14), so that the one that was synced last is there or
        // followed by another. A snapshot says nothing of what stood in that file behind it.
        let lost = |s: &Mark| s.offset > 0 && segments.iter().all(|segment| segment.first < s.segment);
        match self.found.synced.filter(lost) {
            Some(synced) => Err(Refusal::SegmentLost { synced }),
            None => Ok(self),
        }
    }

    /// Takes the records of one file, and returns where its log ends.
    fn walk_segment(&mut self, segment: &Segment<T>, later: &[Segment<T>]) -> Result<u64, Refusal> {
        for (index, record) in segment.records.iter().enumerate() {
            let at = Mark { segment: segment.first, offset: record.at };
            match &record.verdict {
                Verdict::Valid { zxid, txn } => self.take(at, *zxid, txn)?,
                Verdict::Broken | Verdict::Altered => {
                    let behind = segment.records.get(index + 1..).unwrap_or_default();
                    if self.needless(behind, later) {
                        continue;
                    }
                    if matches!(record.verdict, Verdict::Altered) {
                        ends_the_log(at, later)?;
                    }
                    self.tear(at, behind, later)?;
                    return Ok(record.at);
                }
            }
        }
        Ok(segment.end)
    }

    fn take(&mut self, at: Mark, zxid: Zxid, txn: &T) -> Result<(), Refusal> {
        if zxid <= self.floor {
            return Ok(());
        }
        let after = self.last();
        if !zxid.follows(after) {
            return Err(Refusal::Gap { at, found: zxid, after });
        }
        self.replay.push((zxid, txn.clone()));
        Ok(())
    }

    fn last(&self) -> Zxid {
        self.replay.last().map_or(self.floor, |(zxid, _)| *zxid)
    }

    /// Whether the snapshot holds everything that stood in a broken place: the next record behind it is one of the
    /// snapshot's or the very next (D-2).
    fn needless(&self, behind: &[Record<T>], later: &[Segment<T>]) -> bool {
        let next = behind.iter().chain(later.iter().flat_map(|s| &s.records)).find_map(Record::zxid);
        self.replay.is_empty() && next.is_some_and(|zxid| zxid.0 <= self.floor.0.saturating_add(1))
    }

    /// A broken place behind which the log does not go on: the tail, or damage (D-1).
    fn tear(&mut self, at: Mark, behind: &[Record<T>], later: &[Segment<T>]) -> Result<(), Refusal> {
        let valid = || behind.iter().filter(|record| record.zxid().is_some());
        let beyond = at.offset.saturating_add(self.config.batch_bytes_max);
        if let Some(record) = valid().find(|record| record.at >= beyond) {
            return Err(Refusal::Damaged { at, beyond: Mark { segment: at.segment, offset: record.at } });
        }
        if let Some(synced) = self.found.synced.filter(|synced| at < *synced) {
            // Below a file that is synced every file is.
            return Err(Refusal::SyncedLost { at, synced });
        }
        // Apache ZooKeeper leaves a torn tail where it is and goes on in a new file. That file then shows that
        // nothing is missing, which the walk finds out.
        self.healed(at, later)?;
        self.dropped += valid().count();
        self.cuts.push(at);
        Ok(())
    }

    /// With files behind the broken one, the log must go on there without a gap.
    fn healed(&self, at: Mark, later: &[Segment<T>]) -> Result<(), Refusal> {
        match first_readable(later) {
            Some((beyond, found)) if found > self.floor && !found.follows(self.last()) => {
                Err(Refusal::Damaged { at, beyond })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Nobody goes on in a new file behind a record whose checksum is wrong: this server cuts it off before, and ZooKeeper
/// does not start. With records in a later file it was altered since, and is damage (D-1).
fn ends_the_log<T>(at: Mark, later: &[Segment<T>]) -> Result<(), Refusal> {
    first_readable(later).map_or(Ok(()), |(beyond, _)| Err(Refusal::Damaged { at, beyond }))
}

/// Where in these files the first record that reads begins, and its place in the order.
fn first_readable<T>(files: &[Segment<T>]) -> Option<(Mark, Zxid)> {
    let mut records = files.iter().flat_map(|file| file.records.iter().map(|record| (file.first, record)));
    records.find_map(|(segment, record)| Some((Mark { segment, offset: record.at }, record.zxid()?)))
}

#[cfg(test)]
mod tests;
