//! Starts on folders of which something is gone: nothing that was acknowledged is forgotten without a word.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use crate::common::{apply, body, txn};
use protocol::recovery::Refusal;
use spec::{Epoch, Machine, Zxid};
use storage::{
    Batch, Config, Error, Log, Recovery, Store,
    disk::{Disk, File, MemoryDisk, RealDisk},
};
use tree::{Tree, TxnDigest};

const DIR: &str = "/data/version-2";

fn z(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

fn config() -> Config {
    Config { segment_bytes: 4096, ..Config::new(PathBuf::from("/data")) }
}

fn open(disk: &MemoryDisk) -> Result<(Store<MemoryDisk>, Recovery), Error> {
    let store = Store::open(disk.clone(), config())?;
    let recovery = store.recover()?;
    Ok((store, recovery))
}

/// Serves for an epoch, in a process of its own: logs so many transactions, each with the digest that it comes to.
fn reign(disk: &MemoryDisk, epoch: u32, count: u32) -> Tree {
    let (store, mut recovery) = open(disk).expect("a start");
    let mut log = store.log(&mut recovery);
    log.sync_recovered().expect("synced");
    store.save_accepted(Epoch(epoch)).expect("saved");
    store.save_current(Epoch(epoch)).expect("saved");
    let mut tree = recovery.tree;
    (1..=count).for_each(|counter| log_one(&mut log, &mut tree, z(epoch, counter)));
    tree
}

fn log_one(log: &mut Log<MemoryDisk>, tree: &mut Tree, zxid: Zxid) {
    let mut txn = txn(zxid, 20);
    apply(tree, zxid, &txn);
    txn.digest = Some(TxnDigest { version: 2, tree: tree.digest() });
    let mut batch = Batch::new();
    batch.push(zxid, &txn);
    log.append_batch(&batch).expect("written");
    log.sync().expect("synced");
}

fn names(disk: &MemoryDisk, kind: &str) -> Vec<String> {
    let mut names = disk.list(Path::new(DIR)).expect("a folder");
    names.retain(|name| name.starts_with(kind));
    names.sort();
    names
}

fn put(disk: &MemoryDisk, name: &str, bytes: &[u8]) {
    let file = disk.create(&Path::new(DIR).join(name)).expect("room");
    file.write_at(bytes, 0).expect("room");
}

fn content(disk: &MemoryDisk, name: &str) -> Vec<u8> {
    let file = disk.open(&Path::new(DIR).join(name)).expect("there");
    let mut bytes = vec![0; usize::try_from(file.len().expect("known")).expect("small")];
    file.read_at(&mut bytes, 0).expect("read");
    bytes
}

/// A snapshot of this state, as a file holds it, of a server without digests.
fn saved(disk: &MemoryDisk, tree: &mut Tree) -> Vec<u8> {
    let copy = disk.copy();
    let store = Store::open(copy.clone(), Config { trailers: false, ..config() }).expect("free");
    store.snapshots().save(tree).expect("saved");
    content(&copy, &format!("snapshot.{:x}", tree.last_processed().0))
}

/// D-17: where an epoch ends with a file of the log, and another begins with the next, no gap shows.
#[test]
fn a_file_that_is_missing_between_two_epochs_shows_in_the_digests() {
    let disk = MemoryDisk::default();
    let trees: Vec<Tree> = (1..=3).map(|epoch| reign(&disk, epoch, 3)).collect();
    assert_eq!(open(&disk.copy()).expect("whole").1.tree, trees[2]);

    disk.remove(&Path::new(DIR).join("log.200000001")).expect("there");
    let error = open(&disk.copy()).expect_err("epoch 2 is missing");
    assert!(matches!(error, Error::Diverged { at, .. } if at == z(3, 1)), "{error}");
    // Whoever has no faith in digests starts on what there is, and is told.
    let store = Store::open(disk.copy(), Config { trailers: false, ..config() }).expect("free");
    let recovery = store.recover().expect("a start");
    assert_eq!(recovery.warnings.len(), 1, "{:?}", recovery.warnings);
    assert!(recovery.warnings[0].contains("from transaction 3:1 on"), "{:?}", recovery.warnings);
}

/// D-17: a fuzzy snapshot is as told only behind the last transaction that it holds.
#[test]
fn a_state_that_comes_to_be_as_told_is_well_and_one_that_never_was_is_told() {
    let disk = MemoryDisk::default();
    let mut tree = reign(&disk, 1, 6);
    // It says that it holds what there is through the third.
    let bytes = saved(&disk, &mut tree);
    put(&disk, "snapshot.100000003", &bytes);
    let (_, recovery) = open(&disk.copy()).expect("it comes to be as told");
    assert_eq!((recovery.tree, recovery.warnings), (tree, Vec::<String>::new()));

    let log = content(&disk, "log.100000001");
    let shorter = MemoryDisk::default();
    reign(&shorter, 1, 5);
    let shorter_log = content(&shorter, "log.100000001");
    assert_ne!(log, shorter_log);
    put(&shorter, "snapshot.100000003", &bytes);
    let (_, recovery) = open(&shorter.copy()).expect("the log has lost its end");
    assert!(recovery.warnings[0].contains("from transaction 1:4 on"), "{:?}", recovery.warnings);
}

/// D-3, D-13: what a leader has sent is all there is, and one whose copy is cut short is not passed over.
#[test]
fn nothing_older_stands_beside_a_state_that_was_received() {
    let disk = MemoryDisk::default();
    let mut tree = reign(&disk, 1, 9);
    let (store, mut recovery) = open(&disk).expect("a start");
    let mut log = store.log(&mut recovery);
    log.sync_recovered().expect("synced");
    let label = z(1, 9);
    let mut file = store.snapshots().begin(label).expect("room");
    file.write(&body(&mut tree)).expect("room");
    file.commit_received(None).expect("durable");
    log.install(label).expect("installed");
    assert_eq!(names(&disk, "snapshot."), ["snapshot.100000009"]);
    drop((log, store));

    reign(&disk, 2, 1);
    let whole = content(&disk, "snapshot.100000009");
    disk.remove(&Path::new(DIR).join("snapshot.100000009")).expect("there");
    put(&disk, "snapshot.100000009", &whole[..whole.len() - 1]);
    let error = open(&disk.copy()).expect_err("nothing else leads on to epoch 2");
    assert!(matches!(error, Error::Refused { refusal: Refusal::NoSnapshot { .. }, .. }), "{error}");
    assert!(error.to_string().contains("was never finished, or is cut short"), "{error}");
    // An older one of another program's does not, either.
    let empty = MemoryDisk::default();
    reign(&empty, 1, 0);
    put(&disk, "snapshot.0", &content(&empty, "snapshot.0"));
    let error = open(&disk.copy()).expect_err("epoch 1 is missing");
    assert!(matches!(error, Error::Refused { refusal: Refusal::SnapshotBroken { .. }, .. }), "{error}");
}

/// D-3, D-5: a copy that is cut short, or was given another name, is no reason to start empty.
#[test]
fn a_restored_copy_that_cannot_be_used_is_not_passed_over() {
    let disk = MemoryDisk::default();
    let mut tree = reign(&disk, 3, 9);
    let bytes = saved(&disk, &mut tree);
    let packed = {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&bytes).expect("room");
        packer.finish().expect("room")
    };
    for (name, content, told) in [
        ("snapshot.300000009", &bytes[..bytes.len() / 2], "is cut short"),
        ("snapshot.300000009", &packed[..], "its name does not end in .gz"),
        ("snapshot.300000009.gz", &packed[..packed.len() / 2], "is cut short"),
        ("snapshot.0x300000009", &bytes[..], "is no name of a snapshot"),
        ("snapshot.300000009.zst", &bytes[..], "is no name of a snapshot"),
    ] {
        let disk = MemoryDisk::default();
        put(&disk, name, content);
        let error = open(&disk.copy()).expect_err(name);
        assert!(error.to_string().contains(told), "{name}: {error}");
    }
    let disk = MemoryDisk::default();
    put(&disk, "snapshot.300000009", &bytes);
    assert_eq!(open(&disk).expect("whole").1.tree, tree);
    // The beginning of the very first snapshot is what a crash may leave.
    let disk = MemoryDisk::default();
    put(&disk, "snapshot.0", &bytes[..10]);
    assert_eq!(open(&disk).expect("new").1.recovered.last, Zxid::ZERO);
}

/// D-5: the folder of the log is not made anew beside epochs that say that there was one.
#[test]
fn a_folder_of_the_log_that_is_not_mounted_is_missed() {
    let dir = tempfile::tempdir().expect("room");
    let logs = dir.path().join("logs");
    let config = Config {
        data_log_dir: Some(logs.clone()),
        segment_bytes: 4096,
        ..Config::new(dir.path().join("data"))
    };
    let store = Store::open(RealDisk::default(), config.clone()).expect("new");
    let mut recovery = store.recover().expect("new");
    store.log(&mut recovery).sync_recovered().expect("synced");
    store.save_accepted(Epoch(1)).expect("saved");
    drop(store);
    std::fs::rename(&logs, dir.path().join("elsewhere")).expect("moved");
    let error = Store::open(RealDisk::default(), config.clone()).expect_err("it was there");
    assert!(matches!(error, Error::NoLogs { .. }), "{error}");
    assert!(!logs.exists(), "nothing is made");
    std::fs::rename(dir.path().join("elsewhere"), &logs).expect("moved");
    Store::open(RealDisk::default(), config).expect("it is back");
}
