//! Files that were changed by anything: a start never panics, and what it makes of them is a state that was, with
//! everything that the mark vouches for, or a refusal that the change accounts for.

use std::{
    cell::Cell,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::common::{apply, txn};
use proptest::{prelude::*, test_runner::TestRunner};
use protocol::recovery::Refusal;
use spec::{Epoch, Zxid};
use storage::{
    Batch, Config, Error, Store,
    disk::{Disk, File, MemoryDisk},
};
use tree::Tree;

const DIR: &str = "/data/version-2";
/// The last transaction, and the last that the mark vouches for: both stand in the last file of the log.
const LAST: u32 = 45;
const MARKED: u32 = 40;

fn config() -> Config {
    Config { segment_bytes: 2048, window: 5, ..Config::new(PathBuf::from("/data")) }
}

/// A disk with three files of log, two snapshots and a mark, and the state at each place.
fn recorded() -> (MemoryDisk, BTreeMap<Zxid, Tree>) {
    let disk = MemoryDisk::default();
    let store = Store::open(disk.clone(), config()).expect("free");
    let mut recovery = store.recover().expect("new");
    let mut log = store.log(&mut recovery);
    log.sync_recovered().expect("synced");
    store.save_accepted(Epoch(1)).expect("saved");
    store.save_current(Epoch(1)).expect("saved");
    let mut tree = recovery.tree;
    let mut states = BTreeMap::from([(Zxid::ZERO, tree.clone())]);
    for counter in 1..=LAST {
        let zxid = Zxid::new(Epoch(1), counter);
        let txn = txn(zxid, 30);
        apply(&mut tree, zxid, &txn);
        let mut batch = Batch::new();
        batch.push(zxid, &txn);
        log.append_batch(&batch).expect("written");
        log.sync().expect("synced");
        states.insert(zxid, tree.clone());
        if counter == 10 || counter == 30 {
            store.snapshots().save(&mut tree).expect("saved");
        }
        if counter == MARKED {
            log.idle().expect("marked");
        }
    }
    (disk, states)
}

#[derive(Clone, Debug)]
enum Change {
    Byte { at: usize, to: u8 },
    Number { at: usize, to: u32 },
    Zeros { at: usize, count: usize },
    Shorten { to: usize },
    Repeat { from: usize, count: usize },
    Add { bytes: Vec<u8> },
    Remove,
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<usize>();
    prop_oneof![
        4 => (at, any::<u8>()).prop_map(|(at, to)| Change::Byte { at, to }),
        3 => (at, prop_oneof![any::<u32>(), Just(u32::MAX), Just(0x7fff_ffff), 0..5000_u32])
            .prop_map(|(at, to)| Change::Number { at, to }),
        2 => (at, 0..900_usize).prop_map(|(at, count)| Change::Zeros { at, count }),
        2 => at.prop_map(|to| Change::Shorten { to }),
        1 => (at, 0..900_usize).prop_map(|(from, count)| Change::Repeat { from, count }),
        1 => proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Change::Add { bytes }),
        1 => Just(Change::Remove),
    ]
}

fn names(disk: &MemoryDisk) -> Vec<String> {
    let mut names = disk.list(Path::new(DIR)).expect("a folder");
    names.sort();
    names
}

/// The last file of the log.
fn last_log(disk: &MemoryDisk) -> String {
    names(disk).into_iter().rfind(|name| name.starts_with("log.")).expect("a log")
}

/// Changes one of the files, whose name it returns.
fn carry_out(disk: &MemoryDisk, file: usize, change: &Change) -> String {
    let mut names = names(disk);
    let name = names.swap_remove(file % names.len());
    let path = Path::new(DIR).join(&name);
    let open = disk.open_write(&path).expect("there");
    let mut bytes = vec![0; usize::try_from(open.len().expect("a length")).expect("small")];
    open.read_at(&mut bytes, 0).expect("readable");
    let length = bytes.len().max(1);
    let put = |bytes: &mut Vec<u8>, at: usize, new: &[u8]| {
        let at = at % length;
        bytes.resize(bytes.len().max(at + new.len()), 0);
        bytes[at..at + new.len()].copy_from_slice(new);
    };
    match change {
        Change::Byte { at, to } => put(&mut bytes, *at, &[*to]),
        Change::Number { at, to } => put(&mut bytes, *at, &to.to_be_bytes()),
        Change::Zeros { at, count } => put(&mut bytes, *at, &vec![0; *count]),
        Change::Shorten { to } => bytes.truncate(*to % length),
        Change::Repeat { from, count } => {
            let from = from % length;
            let part = bytes[from.min(bytes.len())..].iter().take(*count).copied().collect::<Vec<u8>>();
            bytes.splice(from.min(bytes.len())..from.min(bytes.len()), part);
        }
        Change::Add { bytes: more } => bytes.extend(more),
        Change::Remove => {
            disk.remove(&path).expect("there");
            return name;
        }
    }
    open.set_len(0).expect("emptied");
    open.write_at(&bytes, 0).expect("written");
    name
}

/// What was done to which files.
struct Changed {
    /// The name of each, with its change.
    files: Vec<(String, Change)>,
    /// The last file of the log.
    last_log: String,
}

impl Changed {
    fn any(&self, kind: &str) -> bool {
        self.files.iter().any(|(name, _)| name.starts_with(kind))
    }

    fn any_epoch(&self) -> bool {
        self.any("acceptedEpoch") || self.any("currentEpoch")
    }

    /// Whether what the mark says can be held against the log: it is believed only with the epoch promised (rule
    /// D-10), and vouches for bytes, not for records that were moved behind it.
    fn leaves_the_mark(&self) -> bool {
        let moved = self
            .files
            .iter()
            .any(|(name, change)| *name == self.last_log && matches!(change, Change::Repeat { .. }));
        !self.any("synced.mark") && !self.any("acceptedEpoch") && !moved
    }

    /// Whether these files account for this refusal. The log goes back to the first transaction, so that it is never
    /// missing as a whole.
    fn deserves(&self, error: &Error) -> bool {
        let Error::Refused { refusal, .. } = error else {
            return matches!(error, Error::Text { .. }) && self.any_epoch();
        };
        match refusal {
            Refusal::Damaged { .. }
            | Refusal::Gap { .. }
            | Refusal::SyncedLost { .. }
            | Refusal::SegmentLost { .. } => self.any("log."),
            Refusal::NoSnapshot { .. }
            | Refusal::SnapshotBroken { .. }
            | Refusal::SnapshotUnfinished { .. } => self.any("snapshot."),
            Refusal::EpochOrder { .. } | Refusal::NeverPromised { .. } | Refusal::LastPromised { .. } => {
                self.any_epoch()
            }
            Refusal::DataMissing { .. } => false,
        }
    }

    /// Whether a start may end with this transaction: what the mark vouches for is never forgotten, and what stands
    /// behind it only as a torn end of the last file (rules D-1, D-10).
    fn explains(&self, last: Zxid) -> bool {
        let marked = !self.leaves_the_mark() || last.counter() >= MARKED;
        marked && (last.counter() == LAST || self.any(&self.last_log))
    }
}

/// What came of the starts.
#[derive(Debug, Default)]
struct Outcomes {
    whole: Cell<u32>,
    torn: Cell<u32>,
    refused: Cell<u32>,
    refused_by_the_mark: Cell<u32>,
}

fn count(cell: &Cell<u32>) {
    cell.set(cell.get() + 1);
}

/// Starts twice on a changed disk.
fn start(disk: &MemoryDisk, states: &BTreeMap<Zxid, Tree>, changed: &Changed, outcomes: &Outcomes) {
    let store = Store::open(disk.clone(), config()).expect("free");
    let mut recovery = match store.recover() {
        Ok(recovery) => recovery,
        Err(error) => {
            assert!(changed.deserves(&error), "nothing accounts for this: {error}");
            if let Error::Refused {
                refusal: Refusal::SyncedLost { .. } | Refusal::SegmentLost { .. }, ..
            } = error
            {
                count(&outcomes.refused_by_the_mark);
            }
            return count(&outcomes.refused);
        }
    };
    let found = recovery.recovered.clone();
    assert_eq!(Some(&recovery.tree), states.get(&found.last), "{}", found.last);
    assert!(changed.explains(found.last), "{} is the last, and the rest was synced", found.last);
    count(if found.last.counter() == LAST { &outcomes.whole } else { &outcomes.torn });
    let mut log = store.log(&mut recovery);
    log.sync_recovered().expect("memory");
    drop((log, store));
    // And once more, on what the first start made of it.
    let again = Store::open(disk.clone(), config()).expect("free").recover().expect("as before");
    assert_eq!(again.recovered, found);
    assert_eq!(again.tree, recovery.tree);
}

#[test]
fn a_start_yields_a_state_that_was_or_a_refusal() {
    let (disk, states) = recorded();
    let (last_log, outcomes) = (last_log(&disk), Outcomes::default());
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let few = proptest::collection::vec((any::<usize>(), change()), 1..4);
    let run = runner.run(&few, |changes| {
        let disk = disk.copy();
        let carried = changes.into_iter().map(|(file, change)| (carry_out(&disk, file, &change), change));
        let changed = Changed { files: carried.collect(), last_log: last_log.clone() };
        start(&disk, &states, &changed, &outcomes);
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
    // Each way out is taken often, or nothing was seen of it.
    let Outcomes { whole, torn, refused, refused_by_the_mark } = &outcomes;
    for ways in [whole, torn, refused, refused_by_the_mark] {
        assert!(ways.get() > 50, "{outcomes:?}");
    }
}

#[test]
fn lengths_that_lie_are_not_believed() {
    let (disk, states) = recorded();
    // A record that claims to be as long as a record may be, at the end of the log.
    let path = Path::new(DIR).join(last_log(&disk));
    let file = disk.open_write(&path).expect("there");
    let mut bytes = vec![0; usize::try_from(file.len().expect("a length")).expect("small")];
    file.read_at(&mut bytes, 0).expect("readable");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("records") + 1;
    for length in [64 << 20, (64 << 20) + 1, u32::MAX, 0x8000_0000, 12] {
        let mut record = vec![0, 0, 0, 0, 1, 2, 3, 4];
        record.extend(u32::to_be_bytes(length));
        record.extend([7; 20]);
        file.write_at(&record, end as u64).expect("written");
        let store = Store::open(disk.copy(), config()).expect("free");
        let recovery = store.recover().expect("a torn end");
        assert_eq!(Some(&recovery.tree), states.get(&recovery.recovered.last));
        assert_eq!(recovery.recovered.last.counter(), LAST);
        assert_eq!(recovery.warnings.len(), 1, "{:?}", recovery.warnings);
    }
}
