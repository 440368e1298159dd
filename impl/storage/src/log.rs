//! Writing the log: whole batches, one sync each, into files that were filled with zeros ahead (rules D-11, D-12).
//!
//! A [`Log`] is owned by one thread. After any error it is of no use: what is on disk is known again to the next start
//! only (rule D-15).

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use protocol::recovery::{BATCH_BYTES_MAX, Mark};
use spec::Zxid;
use tree::Txn;
use wire::log::{FILE_HEADER_BYTES, put_entry, put_file_header};

use crate::{
    Error,
    disk::{Disk, File},
    error::Context,
    layout::NEXT_LOG,
    mark::{self, MarkFile},
    recover::Repairs,
    segment::{Entries, Place},
    spare::{FilledSpare, Needs, STEP_BYTES, Spare, zeroed},
    store::Store,
};

/// The mark is written behind at least this many more synced bytes.
const MARK_EVERY_BYTES: u64 = 1 << 20;
/// What is synced leaves the system's memory in pieces of so many bytes. Else the log takes all memory that nobody else
/// has, a new page for each record.
const FORGET_BYTES: u64 = 256 << 10;
/// What the system keeps of a file in memory is kept in pieces of so many bytes. One of them that it has dropped, as it
/// does with what is not used for some seconds, is read from the disk again before part of it is written.
const PAGE_BYTES: u64 = 4 << 10;
/// Above this much it does not pay to copy a batch for that.
const COPY_MAX: usize = 64 << 10;
/// The next file is wanted as it is when less than this part of the current one is left.
const HURRY_SHARE: u64 = 8;

/// Encoded records to append together, in the order of their transactions.
///
/// It may grow above what one sync takes; then the log writes it in parts (rule D-1).
#[derive(Clone, Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where the parts begin, and with which transaction.
    parts: Vec<(usize, Zxid)>,
    last: Zxid,
}

impl Batch {
    /// No record.
    pub fn new() -> Self {
        Self::default()
    }

    /// No record, with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// Adds a record.
    ///
    /// # Panics
    /// If it does not follow the one before (rule R-4).
    pub fn push(&mut self, zxid: Zxid, txn: &Txn) {
        self.follow(zxid);
        let start = self.bytes.len();
        put_entry(zxid, txn, &mut self.bytes);
        self.part(start, zxid);
        self.last = zxid;
    }

    /// Adds what another batch holds.
    ///
    /// # Panics
    /// If it does not follow (rule R-4).
    pub fn extend(&mut self, other: &Self) {
        for (first, part) in other.parts() {
            self.follow(first);
            let start = self.bytes.len();
            self.bytes.extend_from_slice(part);
            self.part(start, first);
            self.last = other.last;
        }
    }

    fn follow(&self, zxid: Zxid) {
        assert!(self.is_empty() || zxid.follows(self.last), "R-4: {zxid} is logged behind {}", self.last);
    }

    /// Begins a part with what was added at `start`, unless it fits into the one before.
    fn part(&mut self, start: usize, first: Zxid) {
        let fits = |(begin, _): &(usize, Zxid)| (self.bytes.len() - begin) as u64 <= BATCH_BYTES_MAX;
        if !self.parts.last().is_some_and(fits) {
            self.parts.push((start, first));
        }
    }

    /// The parts, each with its first transaction: none above 4 MiB, but for a single record that is.
    fn parts(&self) -> impl Iterator<Item = (Zxid, &[u8])> {
        let ends = self.parts.iter().skip(1).map(|(begin, _)| *begin).chain([self.bytes.len()]);
        let part = |((begin, first), end): (&(usize, Zxid), usize)| {
            (*first, self.bytes.get(*begin..end).unwrap_or_default())
        };
        self.parts.iter().zip(ends).map(part)
    }

    /// Whether another `bytes` still fit into one batch.
    pub fn has_room(&self, bytes: usize) -> bool {
        (self.bytes.len() + bytes) as u64 <= BATCH_BYTES_MAX
    }

    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The last transaction, if there is one.
    pub fn last(&self) -> Option<Zxid> {
        (!self.is_empty()).then_some(self.last)
    }

    /// Forgets its records, and keeps its memory if that is no more than a batch takes.
    pub fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() as u64 > BATCH_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.parts.clear();
    }
}

/// The log of one server, open for writing.
#[derive(Debug)]
pub struct Log<D: Disk> {
    store: Store<D>,
    /// The file that is written to, if it has been begun.
    current: Option<Current<D>>,
    /// The next file, filled with zeros and synced.
    next: Option<FilledSpare<D>>,
    /// What the one that is being filled is to know.
    filling: Option<Arc<Needs>>,
    /// How many bytes a batch has of late.
    batch_bytes: u64,
    /// The last transaction of snapshot and log.
    last: Zxid,
    /// What recovery left to do.
    repairs: Option<Repairs>,
    mark: MarkFile<D>,
    /// Synced bytes since the mark was written.
    unmarked: u64,
    /// Where whole pages are put together.
    pages: Vec<u8>,
    failed: bool,
}

#[derive(Debug)]
struct Current<D: Disk> {
    file: D::File,
    path: PathBuf,
    first: Zxid,
    /// The end of its records.
    end: u64,
    length: u64,
    /// What is synced.
    synced: u64,
    /// Whether it has its name already.
    named: bool,
    /// There was no room to fill the next file while this one is written to.
    crowded: bool,
}

impl<D: Disk> Log<D> {
    /// Continues behind what was recovered. Nothing is written before [`Self::sync_recovered`].
    pub(crate) fn new(store: Store<D>, last: Zxid, repairs: Repairs) -> Self {
        let mark = MarkFile::new(store.disk().clone(), store.layout().clone());
        Self {
            store,
            current: None,
            next: None,
            filling: None,
            batch_bytes: 0,
            last,
            repairs: Some(repairs),
            mark,
            unmarked: 0,
            pages: Vec::new(),
            failed: false,
        }
    }

    /// The last transaction, synced or not.
    pub fn last(&self) -> Zxid {
        self.last
    }

    /// Cuts the torn tail and makes durable what recovery has read: log, snapshot, epochs and names (rule D-9). Only
    /// then may this server vote.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::OutOfSpace`], [`Error::Sync`]: the process has to end.
    pub fn sync_recovered(&mut self) -> Result<(), Error> {
        self.guarded(|log| {
            let Some(repairs) = log.repairs.take() else { return Ok(()) };
            let removals = log.store.removals();
            repairs.carry_out(&log.store)?;
            drop(removals);
            match repairs.end {
                Some(end) => log.write_mark(end, true),
                None => Ok(()),
            }
        })
    }

    /// The next file, if it is time to fill it: on another thread, for the log goes on meanwhile. To be asked for
    /// behind each sync; what has been filled comes back with [`Self::take_spare`].
    pub fn spare(&mut self) -> Option<Spare<D>> {
        // The file before may still have the name that the next one begins with. And the first record behind a start
        // does not have to share the disk with many zeros.
        let named = self.current.as_ref().is_some_and(|current| current.named && !current.crowded);
        let due =
            named && !self.failed && self.filling.is_none() && self.next.is_none() && self.repairs.is_none();
        due.then(|| {
            let needs = Arc::new(Needs::default());
            needs.batch_bytes.store(self.batch_bytes, Ordering::Relaxed);
            self.filling = Some(Arc::clone(&needs));
            Spare::new(self.store.clone(), needs)
        })
    }

    /// Whether the next file, which is being filled, will be wanted soon: then the filling ends early, as far as it is.
    pub fn hurry_spare(&self) -> bool {
        let near = |current: &Current<D>| current.length - current.end < current.length / HURRY_SHARE;
        let due = self.filling.as_ref().filter(|_| self.current.as_ref().is_some_and(near));
        due.is_some_and(|needs| !needs.hurry.swap(true, Ordering::Relaxed))
    }

    /// Lets the filling of the next file end early: this log is not written to any more.
    pub fn give_up_spare(&self) {
        if let Some(needs) = &self.filling {
            needs.hurry.store(true, Ordering::Relaxed);
        }
    }

    /// Takes the next file, or why there is none. A full disk ends nothing here: the file that is written to may have
    /// room for long, and what is left of the disk is for the next one.
    ///
    /// # Errors
    /// Another error than that, which is the one given: the process has to end.
    pub fn take_spare(&mut self, spare: Result<FilledSpare<D>, Error>) -> Result<(), Error> {
        if matches!(spare, Err(Error::OutOfSpace { .. })) {
            self.go_on_without_spare();
            return Ok(());
        }
        self.guarded(|log| {
            log.filling = None;
            log.next = Some(spare?);
            Ok(())
        })
    }

    /// No file comes of [`Self::spare`]: the next one is made when it is needed.
    pub fn go_on_without_spare(&mut self) {
        self.filling = None;
        if let Some(current) = &mut self.current {
            current.crowded = true;
        }
    }

    /// Writes a batch behind the log; it is durable behind the next [`Self::sync`].
    ///
    /// # Errors
    /// As [`Self::sync_recovered`].
    ///
    /// # Panics
    /// If the batch does not follow the log (rule R-4), or recovery was not synced before (rule D-9).
    pub fn append_batch(&mut self, batch: &Batch) -> Result<(), Error> {
        assert!(self.repairs.is_none(), "D-9: the log is written before recovery was synced");
        let Some((_, first)) = batch.parts.first() else { return Ok(()) };
        assert!(first.follows(self.last), "R-4: {first} is logged behind {}", self.last);
        self.guarded(|log| {
            for (first, part) in batch.parts() {
                log.append_part(first, part)?;
            }
            log.last = batch.last;
            Ok(())
        })
    }

    /// Writes what fits into one batch of the format.
    fn append_part(&mut self, first: Zxid, part: &[u8]) -> Result<(), Error> {
        let length = part.len() as u64;
        if self.unsynced() > 0 && self.unsynced() + length > BATCH_BYTES_MAX {
            self.sync_now()?;
        }
        let fits = self.current.as_ref().is_some_and(|current| current.end + length <= current.length);
        if !fits {
            self.roll(first, length)?;
        }
        if let Some(current) = &mut self.current {
            let written = whole_pages(part, current.end, current.length, &mut self.pages);
            current.file.write_at(written, current.end).context("append to", &current.path)?;
            current.end += length;
        }
        Ok(())
    }

    /// Makes durable what was appended.
    ///
    /// # Errors
    /// As [`Self::sync_recovered`].
    pub fn sync(&mut self) -> Result<(), Error> {
        self.guarded(Self::sync_now)
    }

    /// Cuts the log behind `last` and drops every snapshot of something later, durably (rule D-11). Returns the last
    /// transaction that this server then holds: one before `last`, if that is the start of an epoch of which it has no
    /// state. It is another one, behind `last`, and nothing is changed, if `last` is not below the end, if it is in
    /// neither log nor a snapshot's label, or if no snapshot goes back as far.
    ///
    /// # Errors
    /// As [`Self::sync_recovered`].
    ///
    /// # Panics
    /// If recovery was not synced before (rule D-9).
    pub fn truncate(&mut self, last: Zxid) -> Result<Zxid, Error> {
        assert!(self.repairs.is_none(), "D-9: the log is cut before recovery was synced");
        self.guarded(|log| {
            log.sync_now()?;
            let store = log.store.clone();
            let _removals = store.removals();
            let snapshots = log.store.snapshots();
            let Some(base) = snapshots.newest_whole(last)?.filter(|_| last < log.last) else {
                return Ok(log.last);
            };
            // A later snapshot may bridge a hole that opens when it goes.
            let Some(last) = log.store.read(base.label, last)?.reaches_its_end()? else {
                return Ok(log.last);
            };
            let place = log.place_of(last)?;
            log.current = None;
            // In this order: a snapshot may bridge a hole in the log, which must not outlive it.
            log.cut(&place)?;
            snapshots.drop_behind(last)?;
            log.last = last;
            Ok(last)
        })
    }

    /// Has a state that was received, and is durable under a name of its own, take the place of everything on disk,
    /// and goes on behind it (rule D-13).
    ///
    /// # Errors
    /// As [`Self::sync_recovered`].
    pub fn install(&mut self, label: Zxid) -> Result<(), Error> {
        self.guarded(|log| {
            log.sync_now()?;
            log.current = None;
            log.write_mark(mark::NOWHERE, true)?;
            let _removals = log.store.removals();
            log.store.snapshots().install(label)?;
            log.last = label;
            log.store.begins_at(label);
            Ok(())
        })
    }

    /// Writes the mark, if it lags. For idle moments.
    ///
    /// # Errors
    /// As [`Self::sync_recovered`].
    pub fn idle(&mut self) -> Result<(), Error> {
        self.guarded(|log| if log.unmarked > 0 { log.mark_current(false) } else { Ok(()) })
    }

    /// Runs an operation, unless one has failed before.
    fn guarded<T>(&mut self, operation: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.failed {
            return Err(Error::Failed);
        }
        let result = operation(self);
        self.failed = result.is_err();
        result
    }

    fn unsynced(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.end - current.synced)
    }

    fn sync_now(&mut self) -> Result<(), Error> {
        let layout = self.store.layout();
        let Some(current) = self.current.as_mut().filter(|current| current.end > current.synced) else {
            return Ok(());
        };
        current.file.sync().synced(&current.path)?;
        if !current.named {
            let path = layout.log(current.first);
            self.store.disk().rename(&current.path, &path).context("rename to", &path)?;
            self.store.disk().sync_dir(&layout.logs).synced(&layout.logs)?;
            current.path = path;
            current.named = true;
        }
        let batch = current.end - current.synced;
        // What is read again is read seldom, and then from the start of a file.
        let (from, to) = (current.synced / FORGET_BYTES, current.end / FORGET_BYTES);
        if from < to {
            current.file.forget(from * FORGET_BYTES, to * FORGET_BYTES);
        }
        current.synced = current.end;
        self.unmarked += batch;
        self.batch_bytes = (self.batch_bytes * 15 + batch) / 16;
        if let Some(needs) = &self.filling {
            needs.batch_bytes.store(self.batch_bytes, Ordering::Relaxed);
        }
        if self.unmarked >= MARK_EVERY_BYTES { self.mark_current(false) } else { Ok(()) }
    }

    /// Begins a new file with room for `length` bytes of records.
    fn roll(&mut self, first: Zxid, length: u64) -> Result<(), Error> {
        self.sync_now()?;
        if self.current.take().is_some() {
            // Once a file, the mark is made durable.
            self.mark.sync()?;
        }
        let wanted = FILE_HEADER_BYTES as u64 + length;
        let next = self.next.take().filter(|next| next.length >= wanted);
        let FilledSpare { file, path, length } = if let Some(next) = next {
            next
        } else {
            // Behind a start, or a state received, the next file may not be filled yet. A server waits for this one,
            // perhaps a whole ensemble, so it is short.
            let short = self.store.config().segment_bytes.min(STEP_BYTES);
            zeroed(&self.store, NEXT_LOG, short.max(wanted))?
        };
        let mut header = Vec::with_capacity(FILE_HEADER_BYTES);
        put_file_header(&mut header);
        file.write_at(&header, 0).context("write", &path)?;
        let end = header.len() as u64;
        self.current =
            Some(Current { file, path, first, end, length, synced: 0, named: false, crowded: false });
        Ok(())
    }

    fn mark_current(&mut self, durable: bool) -> Result<(), Error> {
        let Some(current) = self.current.as_ref().filter(|current| current.named) else { return Ok(()) };
        let mark = Mark { segment: current.first, offset: current.synced };
        self.write_mark(mark, durable)
    }

    fn write_mark(&mut self, mark: Mark, durable: bool) -> Result<(), Error> {
        self.unmarked = 0;
        self.mark.write(mark, self.store.accepted())?;
        if durable { self.mark.sync() } else { Ok(()) }
    }

    /// Cuts the files of the log at a place, from the end.
    fn cut(&mut self, place: &Found) -> Result<(), Error> {
        // Without a file that is kept the mark names none.
        self.write_mark(place.end.unwrap_or(mark::NOWHERE), true)?;
        self.remove(&place.later)?;
        let Some(end) = place.end else { return Ok(()) };
        let path = self.store.layout().log(end.segment);
        let file = self.store.disk().open_write(&path).context("open", &path)?;
        file.set_len(end.offset).context("shorten", &path)?;
        file.sync().synced(&path)
    }

    /// Removes files of the log, the last first, each durably before the next.
    fn remove(&self, files: &[Zxid]) -> Result<(), Error> {
        let layout = self.store.layout();
        for first in files.iter().rev() {
            let path = layout.log(*first);
            self.store.disk().remove(&path).context("remove", &path)?;
            self.store.disk().sync_dir(&layout.logs).synced(&layout.logs)?;
        }
        Ok(())
    }

    /// Where the records through `last` end.
    fn place_of(&self, last: Zxid) -> Result<Found, Error> {
        let layout = self.store.layout();
        let mut files = layout.list_logs(self.store.disk())?;
        let mut later = files.split_off(files.partition_point(|first| *first <= last));
        let Some(mut segment) = files.pop() else { return Ok(Found { end: None, later }) };
        let mut place = self.place_in(segment, last)?;
        // A file that says again what the one before it ends with (rule D-6) begins before the place where that is cut.
        while let Some(before) = files.pop() {
            let earlier = self.place_in(before, last)?;
            if !earlier.goes_on {
                break;
            }
            later.insert(0, segment);
            (segment, place) = (before, earlier);
        }
        Ok(Found { end: Some(Mark { segment, offset: place.offset }), later })
    }

    /// Where the records through `last` end in a file.
    fn place_in(&self, segment: Zxid, last: Zxid) -> Result<PlaceIn, Error> {
        let path = self.store.layout().log(segment);
        let file = self.store.disk().open(&path).context("open", &path)?;
        let mut entries = Entries::new(file, &path)?;
        let mut offset = FILE_HEADER_BYTES as u64;
        loop {
            match entries.next()? {
                Place::Record { zxid, .. } if zxid <= last => offset = entries.at(),
                // Below a snapshot's label.
                Place::Broken { .. } => {}
                Place::Record { .. } => return Ok(PlaceIn { offset, goes_on: true }),
                Place::End { .. } => return Ok(PlaceIn { offset, goes_on: false }),
            }
        }
    }
}

/// Where a file of the log can be cut, and whether it has a later record.
struct PlaceIn {
    offset: u64,
    goes_on: bool,
}

/// A place in the log at which it can be cut.
#[derive(Debug)]
struct Found {
    /// The end of the file that is kept in part; none if no file is kept.
    end: Option<Mark>,
    /// The files behind it.
    later: Vec<Zxid>,
}

/// What to write at `at` for this part of a batch: with zeros, which is what stands there, to the end of its last page,
/// but not beyond the file's `length`.
fn whole_pages<'a>(part: &'a [u8], at: u64, length: u64, pages: &'a mut Vec<u8>) -> &'a [u8] {
    let end = at + part.len() as u64;
    let zeros = end.next_multiple_of(PAGE_BYTES).min(length).saturating_sub(end);
    let (true, Ok(zeros)) = (part.len() <= COPY_MAX, usize::try_from(zeros)) else { return part };
    pages.clear();
    pages.extend_from_slice(part);
    pages.resize(part.len() + zeros, 0);
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_written_to_the_end_of_its_page_and_not_of_the_file() {
        let mut pages = Vec::new();
        let mut ends = |part: usize, at, length| {
            let written = whole_pages(&vec![7; part], at, length, &mut pages).to_vec();
            assert!(written.iter().take(part).all(|byte| *byte == 7));
            assert!(written.iter().skip(part).all(|byte| *byte == 0));
            at + written.len() as u64
        };
        assert_eq!(ends(10, 16, 1 << 20), 4096);
        assert_eq!(ends(4096, 16, 1 << 20), 8192);
        assert_eq!(ends(4080, 16, 1 << 20), 4096, "there is no rest");
        assert_eq!(ends(4, 4096, 4100), 4100, "the file is full");
        assert_eq!(ends(10, 4096, 4200), 4200, "the file ends before the page");
        assert_eq!(ends(COPY_MAX + 1, 0, 1 << 20), COPY_MAX as u64 + 1, "a large one goes as it is");
    }
}
