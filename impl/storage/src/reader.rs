//! Reading the log for learners: where one stands in it, and the records that it lacks.

use std::collections::VecDeque;

use spec::Zxid;

use crate::{
    Error,
    disk::Disk,
    error::Context,
    segment::{Entries, Place},
    store::Store,
};

/// The records of the log in a range, in order. While it lives, purging leaves them alone.
#[derive(Debug)]
pub struct LogRange<D: Disk> {
    store: Store<D>,
    reader: u64,
    files: VecDeque<Zxid>,
    entries: Option<Entries<D::File>>,
    last: Zxid,
    through: Zxid,
    /// What the range begins with was not purged.
    goes_back: bool,
    /// Something that does not read stands behind the last record.
    broken: bool,
}

impl<D: Disk> Drop for LogRange<D> {
    fn drop(&mut self) {
        self.store.leave(self.reader);
    }
}

impl<D: Disk> Store<D> {
    /// The records in `(after, through]`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read(&self, after: Zxid, through: Zxid) -> Result<LogRange<D>, Error> {
        // In this order: a purge says what it takes before it looks for readers.
        let reader = self.enter(after);
        let goes_back = self.is_kept_behind(after);
        let mut range = LogRange {
            store: self.clone(),
            reader,
            files: VecDeque::new(),
            entries: None,
            last: after,
            through,
            goes_back,
            broken: false,
        };
        let files = self.layout().list_logs(self.disk())?;
        let from = files.partition_point(|first| *first <= after).saturating_sub(1);
        range.files = files.into_iter().skip(from).collect();
        Ok(range)
    }

    /// The last transaction at or before `zxid`, if the log on disk is whole from there on, and sending all behind it
    /// takes fewer bytes than the configured part of the newest snapshot.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn locate(&self, zxid: Zxid) -> Result<Option<Zxid>, Error> {
        let floor = self.floor();
        if zxid < floor {
            return Ok(None);
        }
        let snapshot = self.snapshots().newest()?.map_or(0, |(_, bytes)| bytes);
        let limit = match self.config().snapshot_size_millionths {
            0 => u64::MAX,
            part => u64::try_from(u128::from(snapshot) * u128::from(part) / 1_000_000).unwrap_or(u64::MAX),
        };
        let mut range = self.read(floor, Zxid(u64::MAX))?;
        if !range.goes_back {
            // A purge came between.
            return Ok(None);
        }
        let (mut found, mut bytes) = (floor, 0_u64);
        // Nearer to the end, there is less to pass over.
        let near = range.files.partition_point(|first| *first <= zxid).saturating_sub(1);
        range.files.drain(..near);
        while let Some((at, body)) = range.next_any()? {
            let bytes_here = body.len() as u64;
            if at <= zxid {
                found = found.max(at);
                range.last = found;
            } else if at > range.last {
                // Whoever reads it would come no further, now or when the learner comes again.
                if !range.goes_on_with(at) {
                    return Ok(None);
                }
                range.last = at;
                bytes += bytes_here;
            }
            if bytes > limit {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }
}

impl<D: Disk> LogRange<D> {
    /// The last transaction of the range, if all of it is there.
    pub(crate) fn reaches_its_end(mut self) -> Result<Option<Zxid>, Error> {
        loop {
            match self.next() {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(Some(self.last)),
                Err(Error::Missing { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next record: its transaction's place, and its body as it stands in the log and travels in a PROPOSAL. What
    /// ends with an epoch's start, which no transaction has, ends with the last one before that.
    ///
    /// # Errors
    /// [`Error::Missing`] if the log does not go back to the beginning of the range, or does not go on, or not without a
    /// gap, before its end; [`Error::Io`].
    #[expect(
        clippy::should_implement_trait,
        reason = "the body is borrowed, which an iterator's item cannot be"
    )]
    pub fn next(&mut self) -> Result<Option<(Zxid, &[u8])>, Error> {
        let (after, through) = (self.last, self.through);
        if after >= through {
            return Ok(None);
        }
        let missing = Error::Missing { path: self.store.layout().logs.clone(), after, through };
        // What begins a later epoch would pass for what follows.
        if !self.goes_back {
            return Err(missing);
        }
        loop {
            match self.step()? {
                Some(zxid) if zxid <= after => {}
                Some(zxid) if self.goes_on_with(zxid) && zxid <= through => {
                    self.last = zxid;
                    break;
                }
                Some(zxid) if through.counter() == 0 && self.goes_on_with(zxid) => {
                    self.through = after;
                    return Ok(None);
                }
                Some(_) | None => return Err(missing),
            }
        }
        Ok(self.entries.as_ref().map(|entries| (self.last, entries.body())))
    }

    /// Whether this record, which was read just now, has its place behind the last one.
    fn goes_on_with(&self, zxid: Zxid) -> bool {
        // Nothing has its place between two numbers, but much may between two epochs.
        zxid.follows(self.last) && (!self.broken || zxid.0 == self.last.0 + 1)
    }

    /// The next record, whatever it is.
    pub(crate) fn next_any(&mut self) -> Result<Option<(Zxid, &[u8])>, Error> {
        let Some(zxid) = self.step()? else { return Ok(None) };
        Ok(self.entries.as_ref().map(|entries| (zxid, entries.body())))
    }

    fn step(&mut self) -> Result<Option<Zxid>, Error> {
        self.broken = false;
        loop {
            if let Some(entries) = &mut self.entries {
                match entries.next()? {
                    Place::Record { zxid, .. } => return Ok(Some(zxid)),
                    Place::Broken { .. } => {
                        self.broken = true;
                        continue;
                    }
                    Place::End { .. } => self.entries = None,
                }
            }
            let Some(first) = self.files.pop_front() else { return Ok(None) };
            let path = self.store.layout().log(first);
            let file = self.store.disk().open(&path).context("open", &path)?;
            self.entries = Some(Entries::new(file, &path)?);
        }
    }
}
