//! Finding recordings, and reading them record by record.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use recording::{Record, Records, ring, ring::Chunk};
use spec::{ServerId, Zxid};
use storage::{RealDisk, Store};
use tree::{Tree, Txn};

/// How deep below a folder that is named recordings are looked for.
const DEPTH_MAX: usize = 4;

/// So long a turn takes at most, in microseconds, if nothing later is recorded that says when it was over.
const TURN_US: u64 = 40_000;
/// No turn takes longer than this.
const TURN_US_MAX: u64 = 1_000_000;

/// One server's recording, and its data folder if that is beside it.
pub(crate) struct Source {
    /// Whose.
    pub(crate) id: ServerId,
    pub(crate) dir: PathBuf,
    chunks: VecDeque<Chunk>,
    records: VecDeque<Record>,
    /// The number that the next chunk has, unless something is missing.
    next: Option<u64>,
    /// When the turn of the next record began, in microseconds.
    pub(crate) at_us: u64,
    /// When that turn was over at the latest, once somebody has asked.
    ends_us: Option<u64>,
    /// How many bytes there are.
    pub(crate) bytes: usize,
}

/// The next thing in a recording.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Front<'a> {
    /// This.
    Record(&'a Record),
    /// Something is missing here.
    Gap,
    /// Nothing more.
    End,
}

/// Every folder at or below these that holds a ring.
pub(crate) fn find(dirs: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for dir in dirs {
        ensure!(dir.is_dir(), "{} is no folder", dir.display());
        look(dir, 0, &mut found)?;
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn look(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut holds = false;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        holds |= entry.file_name().to_string_lossy().starts_with("ring.") && path.is_file();
        if path.is_dir() && depth < DEPTH_MAX {
            look(&path, depth + 1, found)?;
        }
    }
    if holds {
        found.push(dir.to_owned());
    }
    Ok(())
}

impl Source {
    /// Reads a ring. `None` if nothing of it can be told again.
    pub(crate) fn open(dir: &Path) -> Result<Option<Self>> {
        let chunks = ring::read(dir).with_context(|| format!("cannot read {}", dir.display()))?;
        let bytes = chunks.iter().map(|chunk| chunk.records.len()).sum();
        let chunks: VecDeque<Chunk> = chunks.into();
        let mut source = Self {
            id: ServerId(0),
            dir: dir.to_owned(),
            chunks,
            records: VecDeque::new(),
            next: None,
            at_us: 0,
            ends_us: None,
            bytes,
        };
        // Before the first start or checkpoint nothing can be told again.
        while let Some(chunk) = source.chunks.front() {
            match Records::new(&chunk.records).next() {
                Some(Ok(Record::Boot(boot))) => {
                    source.id = boot.config.zab.me;
                    source.at_us = boot.at_us;
                    return Ok(Some(source));
                }
                Some(Ok(Record::Checkpoint(checkpoint))) => {
                    source.id = checkpoint.config.zab.me;
                    source.at_us = checkpoint.at_us;
                    return Ok(Some(source));
                }
                _ => drop(source.chunks.pop_front()),
            }
        }
        Ok(None)
    }

    /// When the recording starts with a checkpoint, its ring has turned over.
    pub(crate) fn starts_with_checkpoint(&self) -> bool {
        let first = self.chunks.front().and_then(|chunk| Records::new(&chunk.records).next());
        matches!(first, Some(Ok(Record::Checkpoint(_))))
    }

    /// Skips to the last start or checkpoint at or before this time, if there is one.
    pub(crate) fn skip_to(&mut self, at_us: u64) {
        let time = |chunk: &Chunk| match Records::new(&chunk.records).next() {
            Some(Ok(Record::Boot(boot))) => Some(boot.at_us),
            Some(Ok(Record::Checkpoint(checkpoint))) => Some(checkpoint.at_us),
            _ => None,
        };
        let place = self.chunks.iter().rposition(|chunk| time(chunk).is_some_and(|time| time <= at_us));
        self.chunks.drain(..place.unwrap_or(0));
        self.at_us = self.chunks.front().and_then(time).unwrap_or(self.at_us);
    }

    /// Every transaction that is recorded whole, for those that are named only.
    pub(crate) fn pool(&self, pool: &mut BTreeMap<Zxid, Txn>) {
        use protocol::{
            Message,
            peer::{Input, Packet},
        };
        for chunk in &self.chunks {
            for record in Records::new(&chunk.records).map_while(Result::ok) {
                match record {
                    Record::Boot(boot) => pool.extend(boot.recovered.tail),
                    Record::Checkpoint(checkpoint) => {
                        pool.extend(checkpoint.peer.zab().history().entries().cloned());
                    }
                    Record::Input(input) => match *input {
                        Input::Reloaded(recovered) => pool.extend(recovered.tail),
                        Input::Packet {
                            packet:
                                Packet::Zab(Message::Proposal { zxid, txn } | Message::Inform { zxid, txn }),
                            ..
                        } => {
                            pool.insert(zxid, txn);
                        }
                        _ => {}
                    },
                    _ => {}
                }
            }
        }
    }

    fn fill(&mut self) {
        while self.records.is_empty()
            && let Some(chunk) = self.chunks.front()
        {
            let starts = matches!(
                Records::new(&chunk.records).next(),
                Some(Ok(Record::Boot(_) | Record::Checkpoint(_)))
            );
            if self.next.is_some_and(|next| next != chunk.number) && !starts {
                return;
            }
            self.next = Some(chunk.number + 1);
            self.records.extend(Records::new(&chunk.records).map_while(Result::ok));
            self.chunks.pop_front();
        }
        while let Some(Record::Turn(at_us)) = self.records.front() {
            (self.at_us, self.ends_us) = (*at_us, None);
            self.records.pop_front();
            if self.records.is_empty() {
                return self.fill();
            }
        }
        match self.records.front() {
            Some(Record::Boot(boot)) => (self.at_us, self.ends_us) = (boot.at_us, None),
            Some(Record::Checkpoint(checkpoint)) => self.at_us = self.at_us.max(checkpoint.at_us),
            _ => {}
        }
    }

    /// When the turn of the next record was over, at the latest: what it was told had happened by then.
    pub(crate) fn turn_ends_us(&mut self) -> u64 {
        if let Some(known) = self.ends_us {
            return known;
        }
        let next = |record: &Record| match record {
            Record::Turn(at_us) => Some(Some(*at_us)),
            Record::Boot(_) => Some(None),
            _ => None,
        };
        let here = self.records.iter().find_map(next);
        let behind = || {
            let records = Records::new(&self.chunks.front()?.records).map_while(Result::ok);
            records.into_iter().find_map(|record| next(&record))
        };
        let ends = here.or_else(behind).flatten().unwrap_or(self.at_us + TURN_US);
        *self.ends_us.insert(ends.clamp(self.at_us, self.at_us + TURN_US_MAX))
    }

    /// What comes next.
    pub(crate) fn front(&mut self) -> Front<'_> {
        self.fill();
        match self.records.front() {
            Some(record) => Front::Record(record),
            None if self.chunks.is_empty() => Front::End,
            None => Front::Gap,
        }
    }

    /// Takes what comes next.
    pub(crate) fn take(&mut self) -> Option<Record> {
        self.fill();
        self.records.pop_front()
    }

    /// Passes over a gap, to the next start or checkpoint.
    pub(crate) fn pass_gap(&mut self) {
        self.next = None;
        let starts = |chunk: &Chunk| {
            matches!(Records::new(&chunk.records).next(), Some(Ok(Record::Boot(_) | Record::Checkpoint(_))))
        };
        while self.chunks.front().is_some_and(|chunk| !starts(chunk)) {
            self.chunks.pop_front();
        }
    }

    /// The data folder beside the recording, unless a server uses it now, and what a trial has put aside of it.
    pub(crate) fn stores(&self) -> Vec<Store<RealDisk>> {
        let data = self.dir.parent();
        let kept = data.and_then(Path::parent).map(|server| server.join("kept"));
        let folders = data.map(Path::to_owned).into_iter().chain(kept);
        folders
            .filter(|folder| folder.join("version-2").is_dir())
            .filter_map(|folder| Store::open(RealDisk::new(false), storage::Config::new(folder)).ok())
            .collect()
    }
}

/// The state behind this transaction, from one of these folders.
pub(crate) fn state_at(stores: &[Store<RealDisk>], zxid: Zxid) -> Option<Tree> {
    stores.iter().find_map(|store| store.state_at(zxid).ok().flatten())
}
