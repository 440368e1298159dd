//! Reading one file of the log from front to back, in large pieces, and telling what stands where.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use spec::Zxid;
use wire::log::{ENTRY_OVERHEAD_BYTES, Entry, FILE_HEADER_BYTES, entry, file_header};

use crate::{Error, disk::File, error::Context};

/// Read at least this much at a time, in bytes.
const PIECE_BYTES: usize = 1 << 20;
/// Where the four bytes of an entry's checksum, its length and its body stand in it.
const CHECKSUM_AT: usize = 4;
const LENGTH_AT: usize = 8;
const BODY_AT: usize = 12;
/// Session, cxid, zxid, time and type: the least that a body has.
const BODY_BYTES_MIN: usize = 32;
/// Where the zxid stands in a body.
const ZXID_AT: usize = 12;
/// Where its type does, and the type of a transaction that changes nothing: a request was refused.
const TYPE_AT: usize = 28;
const ERROR: i32 = -1;

/// What stands at a place of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// A record whose checksum is right; its body is [`Entries::body`].
    Record {
        /// Its offset in bytes.
        at: u64,
        /// Its transaction's place.
        zxid: Zxid,
    },
    /// Something else. Reading goes on with the next record that can be found behind it.
    Broken {
        /// Its offset in bytes.
        at: u64,
        /// Whether it has the length and the end of a record, and not its checksum.
        altered: bool,
    },
    /// Nothing but zeros from here on, or the end of the file.
    End {
        /// The offset in bytes.
        at: u64,
    },
}

/// The checksum and length of each record that was told, by the first of those without a gap between them.
pub(crate) type Told = BTreeMap<Zxid, Vec<(u32, u32)>>;

/// The entries of one file.
#[derive(Debug)]
pub(crate) struct Entries<F> {
    file: F,
    path: PathBuf,
    length: u64,
    /// A part of the file.
    buffer: Vec<u8>,
    /// Its place in the file.
    buffer_at: u64,
    /// What is read of the buffer.
    taken: usize,
    body: std::ops::Range<usize>,
    last: Zxid,
    told: Told,
    /// Whether something broken was met.
    lost: bool,
    /// Up to where a snapshot holds what is written, if anything behind that is to be told that cannot be read.
    covered: Option<Zxid>,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Header,
    Entries,
    /// Behind something broken: looking for a record.
    Lost,
    Ended(u64),
}

impl<F: File> Entries<F> {
    /// Reads from the start of a file.
    pub(crate) fn new(file: F, path: &Path) -> Result<Self, Error> {
        Self::behind(file, path, Told::new())
    }

    /// Reads from the start of a file that comes behind others, of which these records were told.
    pub(crate) fn behind(file: F, path: &Path, told: Told) -> Result<Self, Error> {
        let length = file.len().context("read the length of", path)?;
        Ok(Self {
            file,
            path: path.into(),
            length,
            buffer: Vec::new(),
            buffer_at: 0,
            taken: 0,
            body: 0..0,
            last: Zxid::ZERO,
            told,
            lost: false,
            covered: None,
            state: State::Header,
        })
    }

    /// The same, which ends with an error at a record behind `covered` that is larger than any that is taken.
    pub(crate) fn needed_above(self, covered: Zxid) -> Self {
        Self { covered: Some(covered), ..self }
    }

    /// The records that were told, of this file and those before it.
    pub(crate) fn into_told(self) -> Told {
        self.told
    }

    /// What stands next. A record that says again what stands before it in this file, or in those that this one is
    /// [read behind](Self::behind), is passed over, and so is a refusal under the number of the record before it
    /// (rule D-6).
    pub(crate) fn next(&mut self) -> Result<Place, Error> {
        loop {
            let place = match self.state {
                State::Header => self.header()?,
                State::Entries => self.entry()?,
                State::Lost => self.search()?,
                State::Ended(at) => Place::End { at },
            };
            match place {
                Place::Record { zxid, .. } if self.is_repeat(zxid) => {}
                Place::Record { .. } | Place::Broken { .. } | Place::End { .. } => return Ok(place),
            }
        }
    }

    /// Whether this record was told before, to the byte, or refuses something under the number of the last one that was;
    /// if it is new, it is noted as told. What is found behind something broken is not: it may be dropped with the torn
    /// end that it stands in, and then count where it comes again.
    fn is_repeat(&mut self, zxid: Zxid) -> bool {
        let checksum = self.body.start.checked_sub(BODY_AT - CHECKSUM_AT);
        let checksum = checksum.and_then(|at| self.buffer.get(at..at + 4)?.try_into().ok());
        let length = u32::try_from(self.body.len()).unwrap_or(u32::MAX);
        let mark = (checksum.map_or(0, u32::from_be_bytes), length);
        let is_error = self.is_error();
        if let Some((first, marks)) = self.told.range_mut(..=zxid).next_back()
            && let Some(nth) = usize::try_from(zxid.0 - first.0).ok().filter(|nth| *nth <= marks.len())
        {
            let told = marks.get(nth).copied();
            if told.is_none() && !self.lost {
                marks.push(mark);
            }
            let refuses = is_error && told.is_some() && nth + 1 == marks.len();
            return refuses || told == Some(mark);
        }
        if !self.lost {
            self.told.insert(zxid, vec![mark]);
        }
        false
    }

    /// Whether the record at hand changes nothing.
    fn is_error(&self) -> bool {
        let kind = self.body().get(TYPE_AT..).and_then(|rest| rest.first_chunk());
        kind.is_some_and(|kind| i32::from_be_bytes(*kind) == ERROR)
    }

    /// The body of the record that was told last.
    pub(crate) fn body(&self) -> &[u8] {
        self.buffer.get(self.body.clone()).unwrap_or_default()
    }

    /// Where reading stands.
    pub(crate) fn at(&self) -> u64 {
        self.buffer_at + self.taken as u64
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.taken..).unwrap_or_default()
    }

    /// Has at least `wanted` bytes at hand, or all that the file has.
    fn fill(&mut self, wanted: usize) -> Result<(), Error> {
        let have = self.buffer.len() - self.taken;
        if have >= wanted {
            return Ok(());
        }
        self.buffer.drain(..self.taken);
        self.buffer_at += self.taken as u64;
        self.taken = 0;
        let unread = self.length.saturating_sub(self.buffer_at + have as u64);
        let more = usize::try_from(unread).unwrap_or(usize::MAX).min((wanted - have).max(PIECE_BYTES));
        self.buffer.resize(have + more, 0);
        let at = self.buffer_at + have as u64;
        let read = self.file.read_at(&mut self.buffer[have..], at).context("read", &self.path)?;
        self.buffer.truncate(have + read);
        Ok(())
    }

    fn take(&mut self, count: usize) {
        self.taken = (self.taken + count).min(self.buffer.len());
    }

    fn header(&mut self) -> Result<Place, Error> {
        self.fill(FILE_HEADER_BYTES)?;
        let mut header = wire::Decoder::stream(self.rest());
        if file_header(&mut header).is_err() {
            return Ok(self.broken(0, false));
        }
        self.take(FILE_HEADER_BYTES);
        self.state = State::Entries;
        self.entry()
    }

    fn entry(&mut self) -> Result<Place, Error> {
        self.fill(BODY_AT)?;
        let at = self.at();
        let mut wanted = BODY_AT;
        loop {
            match entry(self.rest()) {
                Ok(Entry::Body(body)) if body.len() >= BODY_BYTES_MIN => {
                    let length = body.len();
                    return Ok(self.record(at, length));
                }
                // More of it may be in the file.
                Err(wire::Error::Short { wanted: more, left }) => {
                    let have = self.rest().len();
                    wanted = wanted.max(have.saturating_add(more.saturating_sub(left)));
                    if self.at() + (have as u64) < self.length && wanted as u64 <= self.length - at {
                        self.fill(wanted)?;
                        if self.rest().len() > have {
                            continue;
                        }
                    }
                }
                Err(wire::Error::Checksum { .. }) => return self.no_record(at, true),
                Err(source @ wire::Error::Length { .. }) if self.is_large(at)? => {
                    return Err(Error::Unreadable { path: self.path.clone(), at, source });
                }
                Ok(Entry::Body(_) | Entry::Padding) | Err(_) => {}
            }
            return self.no_record(at, false);
        }
    }

    /// Whether what stands here is a record by its length and its end, larger than any that is taken, and needed: a
    /// server that was told to take larger ones has written it.
    fn is_large(&self, at: u64) -> Result<bool, Error> {
        const END: u8 = b'B';
        let Some(covered) = self.covered else { return Ok(false) };
        let length = self.rest().get(LENGTH_AT..BODY_AT).and_then(|bytes| bytes.try_into().ok());
        let length = u64::from(u32::from_be_bytes(length.unwrap_or_default()));
        let end = at + BODY_AT as u64 + length;
        if end >= self.length {
            return Ok(false);
        }
        let (mut body, mut last) = ([0; ZXID_AT + 8], [0]);
        let read = |bytes: &mut [u8], at| self.file.read_at(bytes, at).context("read", &self.path);
        let whole = read(&mut body, at + BODY_AT as u64)? == body.len() && read(&mut last, end)? == 1;
        Ok(whole && last == [END] && zxid(&body) > covered)
    }

    fn record(&mut self, at: u64, length: usize) -> Place {
        self.body = self.taken + BODY_AT..self.taken + BODY_AT + length;
        let zxid = zxid(self.body());
        self.last = self.last.max(zxid);
        self.take(length + ENTRY_OVERHEAD_BYTES);
        self.state = State::Entries;
        Place::Record { at, zxid }
    }

    /// Zeros to the end, or something broken.
    fn no_record(&mut self, at: u64, altered: bool) -> Result<Place, Error> {
        if self.skip_zeros()? {
            self.state = State::Ended(at);
            return Ok(Place::End { at });
        }
        // A record's checksum begins with four zeros, and is not all zeros.
        self.seek(self.at().saturating_sub(LENGTH_AT as u64 - 1).max(at + 1));
        Ok(self.broken(at, altered))
    }

    fn broken(&mut self, at: u64, altered: bool) -> Place {
        self.state = State::Lost;
        self.lost = true;
        Place::Broken { at, altered }
    }

    /// Goes on reading there.
    fn seek(&mut self, to: u64) {
        match to.checked_sub(self.buffer_at).and_then(|taken| usize::try_from(taken).ok()) {
            Some(taken) if taken <= self.buffer.len() => self.taken = taken,
            _ => {
                self.buffer.clear();
                (self.buffer_at, self.taken) = (to, 0);
            }
        }
    }

    /// Goes to the next byte that is not zero; whether there is none.
    fn skip_zeros(&mut self) -> Result<bool, Error> {
        loop {
            let rest = self.rest();
            match zeros(rest) {
                zeros if zeros < rest.len() => {
                    self.take(zeros);
                    return Ok(false);
                }
                all => self.take(all),
            }
            self.fill(1)?;
            if self.rest().is_empty() {
                return Ok(true);
            }
        }
    }

    /// Looks for a record behind something broken, at every offset.
    fn search(&mut self) -> Result<Place, Error> {
        let broken_at = self.at();
        loop {
            self.fill(BODY_AT + BODY_BYTES_MIN)?;
            let at = self.at();
            let rest = self.rest();
            if rest.len() < BODY_AT + BODY_BYTES_MIN {
                self.state = State::Ended(broken_at);
                return Ok(Place::End { at: broken_at });
            }
            if let Some(length) = candidate(rest) {
                let whole = length + ENTRY_OVERHEAD_BYTES;
                // The number first: it tells most of what is none, and a checksum is taken over the whole length.
                if whole as u64 <= self.length - at && zxid(&rest[BODY_AT..]) > self.last {
                    self.fill(whole)?;
                    if matches!(entry(self.rest()), Ok(Entry::Body(_))) {
                        return Ok(self.record(at, length));
                    }
                }
            }
            self.take(1);
        }
    }
}

/// How many zeros stand in front: most files end with many megabytes of them.
fn zeros(bytes: &[u8]) -> usize {
    const BLOCK: [u8; 256] = [0; 256];
    let blocks = bytes.chunks_exact(BLOCK.len()).take_while(|block| **block == BLOCK).count() * BLOCK.len();
    let rest = bytes.get(blocks..).unwrap_or_default();
    blocks + rest.iter().position(|byte| *byte != 0).unwrap_or(rest.len())
}

/// The length of the body of what may be an entry.
fn candidate(rest: &[u8]) -> Option<usize> {
    let (checksum, length) = (rest.get(..LENGTH_AT)?, rest.get(LENGTH_AT..BODY_AT)?);
    if checksum[..4] != [0; 4] || checksum[4..] == [0; 4] {
        return None;
    }
    let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
    (BODY_BYTES_MIN..=wire::record::STREAM_FIELD_BYTES_MAX).contains(&length).then_some(length)
}

fn zxid(body: &[u8]) -> Zxid {
    let bytes = body.get(ZXID_AT..ZXID_AT + 8).and_then(|bytes| bytes.try_into().ok());
    Zxid(u64::from_be_bytes(bytes.unwrap_or_default()))
}
