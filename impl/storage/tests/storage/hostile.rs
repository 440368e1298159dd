//! Files that were changed by anything: a start never panics, and what it makes of them is a state that was.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::common::{apply, txn};
use proptest::prelude::*;
use spec::{Epoch, Zxid};
use storage::{
    Batch, Config, Store,
    disk::{Disk, File, MemoryDisk},
};
use tree::Tree;

const DIR: &str = "/data/version-2";

fn config() -> Config {
    Config { segment_bytes: 2048, window: 5, ..Config::new(PathBuf::from("/data")) }
}

/// A disk with three files of log and two snapshots, and the state at each place.
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
    for counter in 1..=45 {
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

fn carry_out(disk: &MemoryDisk, file: usize, change: &Change) {
    let mut names = disk.list(Path::new(DIR)).expect("a folder");
    names.sort();
    let path = Path::new(DIR).join(&names[file % names.len()]);
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
            return;
        }
    }
    open.set_len(0).expect("emptied");
    open.write_at(&bytes, 0).expect("written");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_start_yields_a_state_that_was_or_a_refusal(
        changes in proptest::collection::vec((any::<usize>(), change()), 1..4),
    ) {
        thread_local! {
            static RECORDED: (MemoryDisk, BTreeMap<Zxid, Tree>) = recorded();
        }
        RECORDED.with(|(disk, states)| {
            let disk = disk.copy();
            for (file, change) in &changes {
                carry_out(&disk, *file, change);
            }
            let store = Store::open(disk.clone(), config()).expect("free");
            let Ok(mut recovery) = store.recover() else { return };
            let found = recovery.recovered.clone();
            assert_eq!(Some(&recovery.tree), states.get(&found.last), "{}", found.last);
            let mut log = store.log(&mut recovery);
            log.sync_recovered().expect("memory");
            drop((log, store));
            // And once more, on what the first start made of it.
            let again = Store::open(disk, config()).expect("free").recover().expect("as before");
            assert_eq!(again.recovered, found);
            assert_eq!(again.tree, recovery.tree);
        });
    }
}

#[test]
fn lengths_that_lie_are_not_believed() {
    let (disk, states) = recorded();
    // A record that claims to be as long as a record may be, at the end of the log.
    let mut names = disk.list(Path::new(DIR)).expect("a folder");
    names.retain(|name| name.starts_with("log."));
    names.sort();
    let path = Path::new(DIR).join(names.last().expect("files"));
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
        assert_eq!(recovery.recovered.last.counter(), 45);
        assert_eq!(recovery.warnings.len(), 1, "{:?}", recovery.warnings);
    }
}
