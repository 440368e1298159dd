//! A server's disk: four files that reach the platter on their own, each with what is synced and what is not yet.
//!
//! A crash keeps, file by file, any prefix of what was not synced; of the log's records it keeps any subset, so that a
//! good record may follow a bad one. What a start reads may be such a remainder: it is no safer than before until the
//! start has synced it, and the next crash may take it away again.
//!
//! One crash stands for both a killed process and a cut of power. Truncating the log and dropping the snapshots behind
//! the cut is one operation here, as is storing a received state in place of the old one.

use std::fmt;

use protocol::{
    Ticket,
    recovery::{
        Config, Found, Mark, Plan, Record, Refusal, Segment, Snapshot, SnapshotVerdict, Verdict, recover,
    },
};
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use spec::{Epoch, Zxid};

use crate::{Start, State, Txn};

/// A state as snapshots hold it, which the transactions of the log continue.
pub trait Image<T>: Clone + Eq + std::hash::Hash {
    /// The state before the first transaction of all.
    fn empty() -> Self;

    /// The state behind the next transaction.
    fn replay(&mut self, zxid: Zxid, txn: &T);
}

impl Image<Txn> for State {
    fn empty() -> Self {
        Self::new()
    }

    fn replay(&mut self, zxid: Zxid, txn: &Txn) {
        self.push((zxid, *txn));
    }
}

/// The files of one server, for transactions of type `T` and a state of type `S`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Disk<T = Txn, S = State> {
    log: Log<T>,
    accepted: EpochFile,
    current: EpochFile,
    snapshot: SnapshotFile<S>,
    /// Searches of the log that are under way.
    searches: Vec<(Ticket, Zxid)>,
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
struct Log<T> {
    durable: Vec<(Zxid, T)>,
    /// In the order of their calls; an operation without a ticket was asked for by an earlier process.
    unsynced: Vec<LogOp<T>>,
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
enum LogOp<T> {
    Append(Option<Ticket>, (Zxid, T)),
    /// A record of a batch whose sectors did not all arrive.
    Hole,
    Truncate(Option<Ticket>, Zxid),
    /// Recovery cuts a torn tail: this many records stay.
    Cut(usize),
    /// Syncs what a start has read.
    Sync(Ticket),
}

/// A file that is replaced as a whole.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
struct EpochFile {
    durable: Epoch,
    unsynced: Vec<(Option<Ticket>, Epoch)>,
}

/// The state that the log continues; none is the empty one. Storing one takes the place of all that was on disk,
/// the log included, in one step that a crash leaves done or undone.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
struct SnapshotFile<S> {
    durable: Option<(Zxid, S)>,
    unsynced: Option<(Option<Ticket>, Zxid, S)>,
}

/// What a crash leaves of what was not synced.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Keep {
    /// Bit `i`: the `i`th operation on the log; what is behind them all is lost.
    pub log: u64,
    /// How many of the accepted epochs.
    pub accepted: u8,
    /// How many of the current epochs.
    pub current: u8,
    /// Whether the snapshot.
    pub snapshot: bool,
}

/// As a reader is told.
impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log, accepted, current, snapshot } = *self;
        let mut kept: Vec<String> = Vec::new();
        if log != 0 {
            let places: Vec<_> =
                (0..u64::BITS).filter(|i| log >> i & 1 == 1).map(|i| (i + 1).to_string()).collect();
            kept.push(format!("of the log's unsynced operations {}", places.join(", ")));
        }
        kept.extend((accepted > 0).then(|| format!("{accepted} accepted epochs")));
        kept.extend((current > 0).then(|| format!("{current} current epochs")));
        kept.extend(snapshot.then(|| "the snapshot".to_owned()));
        f.write_str(if kept.is_empty() { "nothing unsynced" } else { "" })?;
        f.write_str(&kept.join(" and "))
    }
}

/// What stands on the platter behind a crash, synced or not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Left<T, S> {
    /// The state that the log continues, with its label, if there is one.
    pub snapshot: Option<(Zxid, S)>,
    /// The records of the log, in order; none for one whose sectors did not all arrive.
    pub log: Vec<Option<(Zxid, T)>>,
    /// The epoch promised.
    pub accepted: Epoch,
    /// The epoch joined.
    pub current: Epoch,
}

/// What a finished operation tells the actor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Finished {
    /// It is durable.
    Durable,
    /// A search of the log has found this.
    Located(Option<Zxid>),
}

/// A snapshot, if there is one, and what stands behind it.
type OnSnapshot<'a, S, U> = (Option<&'a S>, Vec<(Zxid, U)>);

/// Nothing was ever written.
impl<T, S> Default for Disk<T, S> {
    fn default() -> Self {
        Self::holding(None)
    }
}

impl<T, S> Disk<T, S> {
    /// A disk with nothing but this snapshot and its label, if there is one.
    pub(crate) fn holding(snapshot: Option<(Zxid, S)>) -> Self {
        Self {
            log: Log { durable: Vec::new(), unsynced: Vec::new() },
            accepted: EpochFile::default(),
            current: EpochFile::default(),
            snapshot: SnapshotFile { durable: snapshot, unsynced: None },
            searches: Vec::new(),
        }
    }
}

impl Keep {
    /// All that was not synced.
    pub const ALL: Self = Self { log: u64::MAX, accepted: u8::MAX, current: u8::MAX, snapshot: true };
}

impl<T: Clone, S: Clone> Disk<T, S> {
    /// A disk that holds what a crash has left, all of it synced. No record is torn.
    pub(crate) fn of(left: &Left<T, S>) -> Self {
        let mut disk = Self::holding(left.snapshot.clone());
        disk.log.durable = left.log.iter().flatten().cloned().collect();
        disk.accepted.durable = left.accepted;
        disk.current.durable = left.current;
        disk
    }
}

impl<T: Clone + Eq + std::hash::Hash, S: Image<T>> Disk<T, S> {
    pub(crate) fn append(&mut self, ticket: Ticket, entry: (Zxid, T)) {
        self.log.unsynced.push(LogOp::Append(Some(ticket), entry));
    }

    pub(crate) fn truncate(&mut self, ticket: Ticket, last: Zxid) {
        self.log.unsynced.push(LogOp::Truncate(Some(ticket), last));
    }

    pub(crate) fn sync(&mut self, ticket: Ticket) {
        self.log.unsynced.push(LogOp::Sync(ticket));
    }

    pub(crate) fn save_accepted(&mut self, ticket: Ticket, epoch: Epoch) {
        self.accepted.unsynced.push((Some(ticket), epoch));
    }

    pub(crate) fn save_current(&mut self, ticket: Ticket, epoch: Epoch) {
        self.current.unsynced.push((Some(ticket), epoch));
    }

    pub(crate) fn save_snapshot(&mut self, ticket: Ticket, label: Zxid, state: S) {
        self.snapshot.unsynced = Some((Some(ticket), label, state));
    }

    pub(crate) fn locate(&mut self, ticket: Ticket, zxid: Zxid) {
        self.searches.push((ticket, zxid));
    }

    /// The operations that may end next: files are independent, each ends its own in order.
    pub fn may_finish(&self) -> Vec<Ticket> {
        let mut tickets: Vec<_> = self
            .log
            .unsynced
            .iter()
            .find_map(LogOp::ticket)
            .into_iter()
            .chain(self.accepted.unsynced.iter().find_map(|(ticket, _)| *ticket))
            .chain(self.current.unsynced.iter().find_map(|(ticket, _)| *ticket))
            .chain(self.snapshot.unsynced.iter().find_map(|(ticket, ..)| *ticket))
            .chain(self.searches.iter().map(|(ticket, _)| *ticket))
            .collect();
        tickets.sort_unstable();
        tickets
    }

    /// Whether this operation is a search of the log.
    pub(crate) fn is_search(&self, ticket: Ticket) -> bool {
        self.searches.iter().any(|(search, _)| *search == ticket)
    }

    /// Whether a search of the log is under way.
    pub(crate) fn is_searching(&self) -> bool {
        !self.searches.is_empty()
    }

    /// Whether a truncation or a snapshot is under way, so that the state in memory does not belong to the log.
    pub(crate) fn in_flux(&self) -> bool {
        self.snapshot.unsynced.is_some()
            || self.log.unsynced.iter().any(|op| matches!(op, LogOp::Truncate(..)))
    }

    /// Whether everything is durable.
    pub(crate) fn is_synced(&self) -> bool {
        let synced = |op: &LogOp<T>| matches!(op, LogOp::Sync(_));
        self.log.unsynced.iter().all(synced)
            && self.accepted.unsynced.is_empty()
            && self.current.unsynced.is_empty()
            && self.snapshot.unsynced.is_none()
    }

    /// Ends an operation: it and everything before it in its file is durable.
    ///
    /// # Panics
    /// If there is no such operation.
    pub(crate) fn finish(&mut self, ticket: Ticket) -> Finished {
        if let Some(place) = self.searches.iter().position(|(search, _)| *search == ticket) {
            let (_, zxid) = self.searches.remove(place);
            return Finished::Located(self.find(zxid));
        }
        if let Some(place) = self.log.unsynced.iter().position(|op| op.ticket() == Some(ticket)) {
            let ops = self.log.unsynced.drain(..=place).collect();
            self.settle(ops);
        } else if !self.accepted.finish(ticket) && !self.current.finish(ticket) {
            self.settle_snapshot();
        }
        Finished::Durable
    }

    /// Makes operations on the log durable. A cut counts records as they stand in the file, torn ones too.
    fn settle(&mut self, ops: Vec<LogOp<T>>) {
        let mut records: Vec<_> = self.log.durable.drain(..).map(Some).collect();
        for op in ops {
            match op {
                LogOp::Append(_, entry) => records.push(Some(entry)),
                LogOp::Hole => records.push(None),
                LogOp::Truncate(_, last) => {
                    records.retain(|record| record.as_ref().is_some_and(|(zxid, _)| *zxid <= last));
                    self.snapshot.durable.take_if(|(label, _)| *label > last);
                }
                LogOp::Cut(kept) => records.truncate(kept),
                LogOp::Sync(_) => {
                    // A start syncs all that it has read, the epoch files and snapshots too.
                    self.accepted.settle_loose();
                    self.current.settle_loose();
                    if self.snapshot.unsynced.is_some() {
                        records.clear();
                    }
                    self.settle_snapshot();
                }
            }
        }
        // A start has cut the log at its first torn record, or found nothing but torn ones.
        self.log.durable = records.into_iter().map_while(|record| record).collect();
    }

    fn settle_snapshot(&mut self) {
        if let Some((_, label, state)) = self.snapshot.unsynced.take() {
            self.snapshot.durable = Some((label, state));
            self.log.durable.clear();
        }
    }

    /// Every way in which a crash may treat what is not synced, one for each different outcome.
    pub fn crash_images(&self, torn: bool) -> Vec<Keep> {
        let (mut images, mut left) = (Vec::new(), FxHashSet::default());
        let unsynced = self.without_synced();
        for log in self.log_images(torn) {
            for accepted in 0..=self.accepted.unsynced.len() {
                for current in 0..=self.current.unsynced.len() {
                    for snapshot in [false, true] {
                        let small = |n: usize| u8::try_from(n).expect("few operations are under way");
                        let keep = Keep { log, accepted: small(accepted), current: small(current), snapshot };
                        let mut disk = unsynced.clone();
                        disk.crash(keep);
                        if left.insert(disk) {
                            images.push(keep);
                        }
                    }
                }
            }
        }
        images
    }

    /// As much as a crash changes.
    fn without_synced(&self) -> Self {
        Self {
            log: Log { durable: Vec::new(), unsynced: self.log.unsynced.clone() },
            accepted: self.accepted.clone(),
            current: self.current.clone(),
            snapshot: SnapshotFile { durable: None, unsynced: self.snapshot.unsynced.clone() },
            searches: Vec::new(),
        }
    }

    /// Prefixes; with torn batches, all subsets. A hole at the end is no hole: only the last bit that is set tells
    /// where the log ends. Of more operations than a search has, all subsets are too many: then prefixes, whole and with
    /// one hole each.
    fn log_images(&self, torn: bool) -> Vec<u64> {
        let count = self.log.unsynced.iter().filter(|op| !matches!(op, LogOp::Sync(_))).count();
        // As many as a number's bits tell apart.
        let prefixes = (0..=count.min(63)).map(|kept| (1_u64 << kept) - 1);
        match (torn, count) {
            (false, _) => prefixes.collect(),
            (true, count) if count < SUBSETS_BELOW => (0..1 << count).collect(),
            (true, _) => prefixes.flat_map(with_one_hole).collect(),
        }
    }

    /// A crash: memory is gone, and of what was not synced this is left. It is still not synced.
    pub(crate) fn crash(&mut self, keep: Keep) {
        self.searches.clear();
        let ops = std::mem::take(&mut self.log.unsynced);
        let ops = ops.into_iter().filter(|op| !matches!(op, LogOp::Sync(_)));
        let mut left = Vec::new();
        for (place, op) in ops.enumerate() {
            let kept = keep.log.unbounded_shr(u32::try_from(place).unwrap_or(u32::MAX)) & 1 == 1;
            match op {
                LogOp::Append(_, entry) if kept => left.push(LogOp::Append(None, entry)),
                LogOp::Append(..) | LogOp::Hole => left.push(LogOp::Hole),
                LogOp::Truncate(_, last) if kept => left.push(LogOp::Truncate(None, last)),
                LogOp::Cut(records) if kept => left.push(LogOp::Cut(records)),
                LogOp::Truncate(..) | LogOp::Cut(_) => break,
                LogOp::Sync(_) => {}
            }
        }
        while matches!(left.last(), Some(LogOp::Hole)) {
            left.pop();
        }
        self.log.unsynced = left;
        self.accepted.crash(keep.accepted.into());
        self.current.crash(keep.current.into());
        if keep.snapshot {
            self.snapshot.unsynced.iter_mut().for_each(|(ticket, ..)| *ticket = None);
        } else {
            self.snapshot.unsynced = None;
        }
    }

    /// What a crash that keeps this would leave.
    pub fn left(&self, keep: Keep) -> Left<T, S> {
        let mut disk = self.clone();
        disk.crash(keep);
        let Found { snapshots, segments, accepted, current, .. } = disk.found(true);
        let records = segments.into_iter().flat_map(|segment| segment.records);
        let log = records.map(|record| match record.verdict {
            Verdict::Valid { zxid, txn } => Some((zxid, txn)),
            Verdict::Broken | Verdict::Altered => None,
        });
        let (log, label) = (log.collect(), snapshots.first().map(|snapshot| snapshot.label));
        let received = disk.snapshot.unsynced.map(|(_, label, state)| (label, state));
        let held = received.into_iter().chain(disk.snapshot.durable);
        let snapshot = held.into_iter().find(|(held, _)| Some(*held) == label);
        Left { snapshot, log, accepted: accepted.unwrap_or_default(), current: current.unwrap_or_default() }
    }

    /// What a start makes of the files, torn batches and all. The cut that it decides on is made, not synced.
    ///
    /// # Errors
    /// The start is refused.
    pub(crate) fn start(&mut self, window: usize) -> Result<Start<T, S>, Refusal> {
        let plan = recover(recovery_config(), &self.found(true))?;
        let state = self.state_of(&plan, true);
        let cut = plan.cuts.first().map(|mark| mark.offset);
        if let Some(offset) = cut {
            let records = usize::try_from(offset).expect("offsets count records here");
            self.log.unsynced.push(LogOp::Cut(records));
        }
        Ok(Start { state, cut: cut.is_some(), recovered: plan.recovered(window) })
    }

    /// What a server that was brought to rest loads anew.
    ///
    /// # Errors
    /// The disk is refused.
    pub(crate) fn reload(&self, window: usize) -> Result<Start<T, S>, Refusal> {
        let plan = recover(recovery_config(), &self.found(false))?;
        let state = self.state_of(&plan, false);
        Ok(Start { state, cut: false, recovered: plan.recovered(window) })
    }

    /// *H*: what a start would find if a crash now kept nothing but what is synced.
    ///
    /// # Errors
    /// The start would be refused.
    pub fn durable(&self) -> Result<S, Refusal> {
        let plan = recover(recovery_config(), &self.found(false))?;
        Ok(self.state_of(&plan, false))
    }

    /// The same as the snapshot that it stands on, if there is one, and what `tell` makes of the transactions behind it.
    ///
    /// # Errors
    /// The start would be refused.
    pub(crate) fn durable_log<U: Clone>(
        &self,
        tell: impl Fn(&T) -> U,
    ) -> Result<OnSnapshot<'_, S, U>, Refusal> {
        let plan = recover(recovery_config(), &self.found_as(false, tell))?;
        let snapshot = self.snapshot().filter(|(label, _)| Some(*label) == plan.snapshot);
        Ok((snapshot.map(|(_, state)| state), plan.replay))
    }

    /// The snapshot that is durable, with its label.
    pub(crate) fn snapshot(&self) -> Option<&(Zxid, S)> {
        self.snapshot.durable.as_ref()
    }

    /// The transactions of the log in `(after, through]`, if it holds them all.
    pub(crate) fn slice(&self, after: Zxid, through: Zxid) -> Option<Vec<(Zxid, T)>> {
        let within = |entry: &&(Zxid, T)| entry.0 > after && entry.0 <= through;
        let slice: Vec<_> = self.appended().filter(within).cloned().collect();
        let whole = self.reach() <= after && slice.last().is_some_and(|(zxid, _)| *zxid == through);
        whole.then_some(slice)
    }

    /// The last transaction in the log at or before this one, if the log reaches back that far. Files from before a
    /// received state may still be there, and end below it: then that is what a search finds.
    fn find(&self, zxid: Zxid) -> Option<Zxid> {
        let reach = self.reach();
        let held = self.appended().map(|(held, _)| *held).filter(|held| *held > reach && *held <= zxid);
        (zxid >= reach).then(|| held.last().unwrap_or(Zxid(reach.0.saturating_sub(1))))
    }

    /// The log holds every transaction behind this one.
    fn reach(&self) -> Zxid {
        self.snapshot.durable.as_ref().map_or(Zxid::ZERO, |(label, _)| *label)
    }

    /// What was handed to the log behind the snapshot, durable or not; truncations count once they are durable.
    pub(crate) fn appended(&self) -> impl Iterator<Item = &(Zxid, T)> + '_ {
        let unsynced = self.log.unsynced.iter().filter_map(|op| match op {
            LogOp::Append(_, entry) => Some(entry),
            LogOp::Hole | LogOp::Truncate(..) | LogOp::Cut(_) | LogOp::Sync(_) => None,
        });
        self.log.durable.iter().chain(unsynced)
    }

    /// The last transaction that was handed to it, in whatever form.
    pub(crate) fn last(&self) -> Zxid {
        self.appended().last().map_or_else(|| self.reach(), |(zxid, _)| *zxid)
    }

    /// The state that the snapshot and the log make up to this transaction, durable or not.
    pub(crate) fn replayed(&self, through: Zxid) -> S {
        let mut state = self.snapshot().map_or_else(S::empty, |(_, state)| state.clone());
        for (zxid, txn) in self.appended().take_while(|(zxid, _)| *zxid <= through) {
            state.replay(*zxid, txn);
        }
        state
    }

    /// The epochs on disk, promised and joined, as a crash now would leave them at the least.
    pub fn epochs(&self) -> (Epoch, Epoch) {
        (self.accepted.durable, self.current.durable)
    }

    fn found(&self, with_unsynced: bool) -> Found<T> {
        self.found_as(with_unsynced, T::clone)
    }

    fn found_as<U: Clone>(&self, with_unsynced: bool, tell: impl Fn(&T) -> U) -> Found<U> {
        let entry = |(zxid, txn): &(Zxid, T)| Some((*zxid, tell(txn)));
        let mut records: Vec<_> = self.log.durable.iter().map(entry).collect();
        let mut synced = records.len();
        let mut label = self.reach();
        let (mut accepted, mut current) = (self.accepted.durable, self.current.durable);
        if with_unsynced {
            for op in &self.log.unsynced {
                match op {
                    LogOp::Append(_, logged) => records.push(entry(logged)),
                    LogOp::Hole => records.push(None),
                    LogOp::Truncate(_, last) => {
                        records.retain(|record| record.as_ref().is_some_and(|(zxid, _)| zxid <= last));
                        label = if label > *last { Zxid::ZERO } else { label };
                    }
                    LogOp::Cut(kept) => records.truncate(*kept),
                    LogOp::Sync(_) => {}
                }
                synced = synced.min(records.len());
            }
            if let Some((_, received, _)) = &self.snapshot.unsynced {
                (label, synced) = (*received, 0);
                records.clear();
            }
            accepted = self.accepted.visible();
            current = self.current.visible();
        }
        let segment = segment(&records);
        let mark = |segment: &Segment<U>| Mark { segment: segment.first, offset: offset(synced) };
        Found {
            snapshots: vec![Snapshot { label, verdict: SnapshotVerdict::Valid }],
            synced: segment.as_ref().filter(|_| synced > 0).map(mark),
            segments: segment.into_iter().collect(),
            accepted: Some(accepted),
            current: Some(current),
        }
    }

    fn state_of(&self, plan: &Plan<T>, with_unsynced: bool) -> S {
        let received = self.snapshot.unsynced.as_ref().map(|(_, label, state)| (label, state));
        let durable = self.snapshot.durable.as_ref().map(|(label, state)| (label, state));
        let mut state = received
            .filter(|_| with_unsynced)
            .into_iter()
            .chain(durable)
            .find(|(label, _)| Some(**label) == plan.snapshot)
            .map_or_else(S::empty, |(_, state)| state.clone());
        for (zxid, txn) in &plan.replay {
            state.replay(*zxid, txn);
        }
        state
    }
}

impl Disk {
    /// Everything that was handed to the log, on top of the snapshot, durable or not. Truncations count once they are
    /// durable, as does a snapshot.
    pub fn logged(&self) -> State {
        let mut state = self.snapshot().map_or_else(State::new, |(_, state)| state.clone());
        state.extend(self.appended());
        state
    }
}

/// Of so many operations under way all subsets are told apart; searches keep below.
const SUBSETS_BELOW: usize = 12;

/// A prefix of operations, and the same with each one missing but the last.
fn with_one_hole(prefix: u64) -> impl Iterator<Item = u64> {
    let below_last = prefix.count_ones().saturating_sub(1);
    std::iter::once(prefix).chain((0..below_last).map(move |hole| prefix & !(1 << hole)))
}

fn recovery_config() -> Config {
    Config::default()
}

/// The log is one file, and an offset counts records.
fn segment<T: Clone>(records: &[Option<(Zxid, T)>]) -> Option<Segment<T>> {
    let first = records.iter().flatten().map(|(zxid, _)| *zxid).next()?;
    let verdict = |record: &Option<(Zxid, T)>| match record {
        Some((zxid, txn)) => Verdict::Valid { zxid: *zxid, txn: txn.clone() },
        None => Verdict::Broken,
    };
    let records: Vec<_> = records
        .iter()
        .enumerate()
        .map(|(at, record)| Record { at: offset(at), verdict: verdict(record) })
        .collect();
    Some(Segment { first, end: offset(records.len()), records })
}

fn offset(records: usize) -> u64 {
    u64::try_from(records).expect("a log is short")
}

impl<T> LogOp<T> {
    fn ticket(&self) -> Option<Ticket> {
        match self {
            Self::Append(ticket, _) | Self::Truncate(ticket, _) => *ticket,
            Self::Sync(ticket) => Some(*ticket),
            Self::Hole | Self::Cut(_) => None,
        }
    }
}

impl EpochFile {
    fn visible(&self) -> Epoch {
        self.unsynced.last().map_or(self.durable, |(_, epoch)| *epoch)
    }

    fn finish(&mut self, ticket: Ticket) -> bool {
        let Some(place) = self.unsynced.iter().position(|(issued, _)| *issued == Some(ticket)) else {
            return false;
        };
        if let Some((_, epoch)) = self.unsynced.drain(..=place).next_back() {
            self.durable = epoch;
        }
        true
    }

    fn settle_loose(&mut self) {
        while let Some((None, epoch)) = self.unsynced.first().copied() {
            self.durable = epoch;
            self.unsynced.remove(0);
        }
    }

    fn crash(&mut self, kept: usize) {
        // Each value replaces the one before: only the last that was kept can be seen again.
        self.unsynced.truncate(kept);
        if let Some((_, epoch)) = self.unsynced.pop() {
            self.unsynced = vec![(None, epoch)];
        }
        if self.visible() == self.durable {
            self.unsynced.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_keeps_a_prefix_with_one_hole_at_most() {
        let images = |prefix| with_one_hole(prefix).collect::<Vec<_>>();
        assert_eq!(images(0), [0]);
        assert_eq!(images(0b1), [0b1]);
        assert_eq!(images(0b111), [0b111, 0b110, 0b101]);
        assert_eq!(images(u64::MAX >> 1).len(), 63);
    }
}
