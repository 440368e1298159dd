//! What an operator can set: how snapshots are packed, what is trusted, what is made.

use std::path::{Path, PathBuf};

use crate::common::{apply, body, txn};
use protocol::recovery::Refusal;
use spec::{Epoch, Machine, Zxid};
use storage::{
    Batch, Config, Error, Packing, Recovery, Store,
    disk::{Disk, File, MemoryDisk, RealDisk},
};
use tree::Tree;

const DIR: &str = "/data/version-2";

fn z(counter: u32) -> Zxid {
    Zxid::new(Epoch(1), counter)
}

fn config() -> Config {
    Config { segment_bytes: 4096, ..Config::new(PathBuf::from("/data")) }
}

fn packed(packing: Packing) -> Config {
    Config { packing, ..config() }
}

fn open<D: Disk>(disk: &D, config: Config) -> Result<(Store<D>, Recovery), Error> {
    let store = Store::open(disk.clone(), config)?;
    let recovery = store.recover()?;
    Ok((store, recovery))
}

/// Starts a server, has it log through this counter of epoch 1 and write a snapshot; what it holds then.
fn serve(disk: &MemoryDisk, config: Config, through: u32) -> Tree {
    let (store, mut recovery) = open(disk, config).expect("a start");
    let mut log = store.log(&mut recovery);
    log.sync_recovered().expect("synced");
    store.save_accepted(Epoch(1)).expect("saved");
    store.save_current(Epoch(1)).expect("saved");
    let mut tree = recovery.tree;
    while tree.last_processed() < z(through) {
        let last = tree.last_processed();
        let zxid = if last == Zxid::ZERO { z(1) } else { last.next() };
        let txn = txn(zxid, 2000);
        apply(&mut tree, zxid, &txn);
        let mut batch = Batch::new();
        batch.push(zxid, &txn);
        log.append_batch(&batch).expect("written");
        log.sync().expect("synced");
    }
    store.snapshots().save(&mut tree).expect("saved");
    tree
}

fn names(disk: &MemoryDisk, kind: &str) -> Vec<String> {
    let mut names = disk.list(Path::new(DIR)).expect("a folder");
    names.retain(|name| name.starts_with(kind));
    names.sort();
    names
}

fn length(disk: &MemoryDisk, name: &str) -> u64 {
    disk.open(&Path::new(DIR).join(name)).expect("there").len().expect("known")
}

#[test]
fn snapshots_are_packed_as_is_said_and_read_as_they_are_named() {
    let plain = MemoryDisk::default();
    serve(&plain, config(), 1500);
    for (packing, end) in [(Packing::Gzip, ".gz"), (Packing::Snappy, ".snappy")] {
        let disk = MemoryDisk::default();
        let tree = serve(&disk, packed(packing), 1500);
        let newest = format!("snapshot.{:x}{end}", z(1500).0);
        assert_eq!(names(&disk, "snapshot."), [format!("snapshot.0{end}"), newest.clone()]);
        let (long, short) = (length(&plain, newest.trim_end_matches(end)), length(&disk, &newest));
        assert!(short > 1000 && short < long / 5, "{long} bytes are packed into {short}");
        // Whatever is said by now. The log is not needed: it goes, and the mark that vouches for it.
        for now in [Packing::Plain, Packing::Gzip, Packing::Snappy] {
            let copy = disk.copy();
            for name in [names(&copy, "log."), names(&copy, "synced.mark")].concat() {
                copy.remove(&Path::new(DIR).join(name)).expect("there");
            }
            let (store, recovery) = open(&copy, packed(now)).expect("it unpacks");
            assert_eq!((recovery.recovered.last, recovery.replayed), (z(1500), 0));
            assert_eq!(recovery.tree, tree);
            assert_eq!(recovery.warnings, Vec::<String>::new());
            // Asked twice: what is known of it is used the second time.
            for _ in 0..2 {
                assert_eq!(store.snapshots().newest().expect("readable"), Some((z(1500), short)));
            }
        }
    }
}

#[test]
fn a_snapshot_without_trailers_ends_at_its_first_seal() {
    const TRAILERS: u64 = (8 + 4 + 8) + (8 + 5) + 8 + (8 + 5);
    let (with, without) = (MemoryDisk::default(), MemoryDisk::default());
    let bare = || Config { trailers: false, ..config() };
    let tree = serve(&with, config(), 30);
    serve(&without, bare(), 30);
    let name = format!("snapshot.{:x}", z(30).0);
    assert_eq!(length(&without, &name) + TRAILERS, length(&with, &name));
    for (disk, now) in [(&with, bare()), (&without, config()), (&without, bare())] {
        let (_, recovery) = open(disk, now).expect("a start");
        assert_eq!((recovery.recovered.last, &recovery.tree), (z(30), &tree));
    }
}

#[test]
fn what_is_known_of_a_packed_snapshot_is_of_the_file_as_it_was() {
    let disk = MemoryDisk::default();
    serve(&disk, packed(Packing::Gzip), 30);
    let (store, _) = open(&disk, packed(Packing::Gzip)).expect("a start");
    let newest = || store.snapshots().newest().expect("readable").map(|(label, _)| label);
    assert_eq!(newest(), Some(z(30)));
    let path = Path::new(DIR).join(format!("snapshot.{:x}.gz", z(30).0));
    let file = disk.open_write(&path).expect("there");
    file.set_len(file.len().expect("known") - 1).expect("shorter");
    assert_eq!(newest(), Some(Zxid::ZERO), "a torn one does not count");
}

#[test]
fn a_torn_snapshot_of_ours_gives_way_to_the_one_before() {
    for packing in [Packing::Gzip, Packing::Snappy] {
        let disk = MemoryDisk::default();
        serve(&disk, packed(packing), 20);
        let tree = serve(&disk, packed(packing), 40);
        let newest = names(&disk, "snapshot.").pop().expect("three");
        let whole = length(&disk, &newest);
        for length in [0, 1, 15, 16, 17, whole / 2, whole - 1] {
            let copy = disk.copy();
            copy.open_write(&Path::new(DIR).join(&newest)).expect("there").set_len(length).expect("torn");
            let (_, recovery) = open(&copy, config()).expect("the log leads there");
            assert_eq!((recovery.recovered.floor, recovery.recovered.last), (z(20), z(40)));
            assert_eq!(recovery.tree, tree);
            assert!(recovery.warnings[0].contains("was never finished"), "{:?}", recovery.warnings);
        }
    }
}

#[test]
fn purging_counts_packed_snapshots_as_any_other() {
    let disk = MemoryDisk::default();
    for (packing, through) in
        [(Packing::Gzip, 10), (Packing::Plain, 20), (Packing::Snappy, 30), (Packing::Gzip, 40)]
    {
        serve(&disk, packed(packing), through);
    }
    let (store, _) = open(&disk, config()).expect("a start");
    let purged = store.purge(3).expect("purged");
    assert_eq!(purged.snapshots, 2, "the empty one and that of 10");
    let left = [(20, ""), (30, ".snappy"), (40, ".gz")];
    assert_eq!(
        names(&disk, "snapshot."),
        left.map(|(counter, end)| format!("snapshot.{:x}{end}", z(counter).0))
    );
}

/// A start between receiving a state and its taking the old one's place, for each way of packing; the operator may have
/// changed his mind meanwhile.
#[test]
fn a_state_that_was_received_is_packed_too() {
    for (packing, end) in [(Packing::Plain, ""), (Packing::Gzip, ".gz"), (Packing::Snappy, ".snappy")] {
        let leaders = MemoryDisk::default();
        let mut tree = serve(&leaders, config(), 60);
        let disk = MemoryDisk::default();
        serve(&disk, packed(packing), 10);
        // The same label, packed otherwise, and damaged.
        let other = if packing == Packing::Plain { ".gz" } else { "" };
        let stale = Path::new(DIR).join(format!("snapshot.{:x}{other}", z(60).0));
        disk.create(&stale).expect("created").write_at(b"ZKSN", 0).expect("written");
        let (store, _) = open(&disk, packed(packing)).expect("a start");
        let mut file = store.snapshots().begin(z(60)).expect("begun");
        file.write(&body(&mut tree)).expect("written");
        let bytes = file.commit_received(None).expect("durable");
        let received = format!("received.{:x}{end}", z(60).0);
        assert_eq!(length(&disk, &received), bytes);
        drop(store);
        for now in [Packing::Plain, Packing::Gzip] {
            let copy = disk.copy();
            let (store, mut recovery) = open(&copy, packed(now)).expect("a start");
            assert_eq!((recovery.recovered.floor, &recovery.tree), (z(60), &tree));
            store.log(&mut recovery).sync_recovered().expect("installed");
            let left = names(&copy, "snapshot.");
            assert_eq!(left.last(), Some(&format!("snapshot.{:x}{end}", z(60).0)));
            assert!(copy.open(&stale).is_err(), "{left:?}");
            assert_eq!((names(&copy, "received."), names(&copy, "log.")), (Vec::new(), Vec::new()));
            drop(store);
            let (_, recovery) = open(&copy, config()).expect("a start");
            assert_eq!(recovery.tree, tree);
        }
    }
}

#[test]
fn a_log_without_a_snapshot_is_trusted_only_when_that_is_said() {
    let disk = MemoryDisk::default();
    let tree = serve(&disk, config(), 30);
    for snapshot in names(&disk, "snapshot.") {
        disk.remove(&Path::new(DIR).join(snapshot)).expect("there");
    }
    let refused = open(&disk, config()).expect_err("half of it may be missing");
    let text = refused.to_string();
    assert!(text.contains("there is no snapshot to start from"), "{text}");
    assert!(text.contains("set snapshot.trust.empty if the log is known to be whole"), "{text}");
    let trusting = Config { trust_empty: true, ..config() };
    let (store, mut recovery) = open(&disk, trusting).expect("the log is whole");
    assert_eq!((recovery.tree.clone(), recovery.replayed), (tree, 30));
    // From now on there is a snapshot below it, and nothing has to be trusted.
    store.log(&mut recovery).sync_recovered().expect("synced");
    drop(store);
    assert_eq!(open(&disk, config()).expect("a start").1.recovered.last, z(30));
}

#[test]
fn an_empty_folder_is_a_new_server_unless_that_has_to_be_said() {
    let dir = tempfile::tempdir().expect("room");
    let strict = Config { autocreate: false, ..Config::new(dir.path().to_owned()) };
    let refused = open(&RealDisk::default(), strict.clone()).expect_err("its data may be lost");
    assert!(matches!(refused, Error::Refused { refusal: Refusal::DataMissing { current: None }, .. }));
    assert!(refused.to_string().contains("put a file named initialize into dataDir if this server is new"));
    let initialize = dir.path().join("initialize");
    std::fs::write(&initialize, "").expect("room");
    let (store, mut recovery) = open(&RealDisk::default(), strict.clone()).expect("it is said");
    store.log(&mut recovery).sync_recovered().expect("synced");
    assert!(!initialize.exists(), "it is said once");
    drop(store);
    open(&RealDisk::default(), strict).expect("now there are data");
}

#[test]
fn folders_are_made_unless_they_are_to_be_there() {
    let dir = tempfile::tempdir().expect("room");
    let strict = Config { make_folders: false, ..Config::new(dir.path().to_owned()) };
    let text = open(&RealDisk::default(), strict.clone()).expect_err("nothing is mounted").to_string();
    assert!(text.contains("version-2 is missing, and zookeeper.datadir.autocreate is false"), "{text}");
    assert!(!dir.path().join("version-2").exists());
    std::fs::create_dir(dir.path().join("version-2")).expect("room");
    open(&RealDisk::default(), strict).expect("it is there");
}

#[test]
fn a_learner_gets_as_much_of_the_log_as_is_said() {
    let disk = MemoryDisk::default();
    serve(&disk, config(), 60);
    let served = |part: u32, through: u32| {
        let config = Config { snapshot_size_millionths: part, ..config() };
        let disk = disk.copy();
        let (store, mut recovery) = open(&disk, config).expect("a start");
        let mut log = store.log(&mut recovery);
        log.sync_recovered().expect("synced");
        let mut batch = Batch::new();
        for counter in 61..=through {
            batch.push(z(counter), &txn(z(counter), 2000));
        }
        log.append_batch(&batch).expect("written");
        log.sync().expect("synced");
        store.locate(z(60)).expect("readable")
    };
    // A snapshot of 60 nodes, and records as long as these.
    assert_eq!(served(330_000, 75), Some(z(60)));
    assert_eq!(served(330_000, 90), None);
    assert_eq!(served(600_000, 90), Some(z(60)));
    assert_eq!(served(1_000_000, 180), None);
    assert_eq!(served(0, 180), Some(z(60)), "no limit");
}

/// What is left of the log begins with an epoch, and looks as if it went on behind the one before.
#[test]
fn nobody_is_led_from_an_epoch_that_was_purged_into_the_next() {
    let disk = MemoryDisk::default();
    let unlimited = Config { snapshot_size_millionths: 0, ..config() };
    let mut tree = serve(&disk, unlimited.clone(), 60);
    let mut early = tree.clone();
    let (store, mut recovery) = open(&disk, unlimited).expect("a start");
    let mut log = store.log(&mut recovery);
    log.sync_recovered().expect("synced");
    let second = |counter| Zxid::new(Epoch(2), counter);
    for zxid in (61..=80).map(z).chain((1..=80).map(second)) {
        let txn = txn(zxid, 200);
        apply(&mut tree, zxid, &txn);
        let mut batch = Batch::new();
        batch.push(zxid, &txn);
        log.append_batch(&batch).expect("written");
        log.sync().expect("synced");
    }
    let behind =
        || store.read(z(70), second(80)).expect("readable").next().map(|next| next.map(|(zxid, _)| zxid));
    assert_eq!(store.locate(z(70)).expect("readable"), Some(z(70)));
    assert_eq!(behind().expect("whole"), Some(z(71)));
    store.snapshots().save(&mut tree).expect("saved");
    assert!(store.purge(1).expect("purged").logs > 0);
    assert_eq!(store.locate(z(70)).expect("readable"), None);
    assert!(matches!(behind(), Err(Error::Missing { .. })), "{:?}", behind());
    assert_eq!(store.locate(second(80)).expect("readable"), Some(second(80)), "the last of all");
    // A leader that holds less than was purged sends its state.
    let mut file = store.snapshots().begin(z(60)).expect("begun");
    file.write(&body(&mut early)).expect("written");
    file.commit_received(None).expect("durable");
    log.install(z(60)).expect("installed");
    assert_eq!(store.locate(z(60)).expect("readable"), Some(z(60)));
}

/// A part of the log that cannot be read ends each reading of it: whoever lacks it is sent the whole state instead.
#[test]
fn nobody_is_led_into_a_part_of_the_log_that_is_damaged() {
    let disk = MemoryDisk::default();
    let unlimited = Config { snapshot_size_millionths: 0, ..config() };
    let (store, mut recovery) = open(&disk, unlimited).expect("a start");
    let mut log = store.log(&mut recovery);
    log.sync_recovered().expect("synced");
    let mut written = Batch::new();
    for counter in 1..=20 {
        written.push(z(counter), &txn(z(counter), 200));
    }
    log.append_batch(&written).expect("written");
    log.sync().expect("synced");
    let locate = |counter| store.locate(z(counter)).expect("readable");
    assert_eq!((locate(2), locate(12)), (Some(z(2)), Some(z(12))));
    let name = names(&disk, "log.").pop().expect("one");
    let file = disk.open_write(&Path::new(DIR).join(name)).expect("there");
    let mut byte = [0];
    file.read_at(&mut byte, 16 + 5 * 290).expect("read");
    file.write_at(&[byte[0] ^ 4], 16 + 5 * 290).expect("written");
    let reads_on_from = |place| {
        let mut range = store.read(place, z(20)).expect("readable");
        loop {
            match range.next() {
                Ok(Some(_)) => {}
                end => return end.is_ok(),
            }
        }
    };
    for counter in 1..20 {
        assert!(locate(counter).is_none_or(reads_on_from), "behind {counter}");
    }
    assert!(!reads_on_from(z(2)));
    assert_eq!((locate(2), locate(12)), (None, Some(z(12))));
}

#[test]
fn a_packed_snapshot_that_is_damaged_is_not_taken_for_one_without_an_end() {
    let disk = MemoryDisk::default();
    serve(&disk, config(), 20);
    let name = names(&disk, "snapshot.").pop().expect("one");
    let path = Path::new(DIR).join(&name);
    let file = disk.open(&path).expect("there");
    let mut bytes = vec![0; usize::try_from(file.len().expect("known")).expect("small")];
    file.read_at(&mut bytes, 0).expect("read");
    // The number of sessions, behind the header: there are not as many.
    bytes[16..20].copy_from_slice(&i32::MAX.to_be_bytes());
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &bytes).expect("packed");
    let packed = packed.finish().expect("packed");
    disk.remove(&path).expect("there");
    let gz = Path::new(DIR).join(format!("{name}.gz"));
    disk.create(&gz).expect("created").write_at(&packed, 0).expect("written");
    let (_, recovery) = open(&disk, config()).expect("the log leads there");
    assert!(
        recovery.warnings.iter().any(|warning| warning.contains("is damaged")),
        "{:?}",
        recovery.warnings
    );
}

/// Purging is due when a server starts, and may come before a state that was received is in its place.
#[test]
fn a_received_state_says_where_the_log_begins_whatever_was_purged() {
    let leaders = MemoryDisk::default();
    let mut tree = serve(&leaders, config(), 60);
    let disk = MemoryDisk::default();
    serve(&disk, config(), 80);
    let (store, _) = open(&disk, config()).expect("a start");
    let mut file = store.snapshots().begin(z(60)).expect("begun");
    file.write(&body(&mut tree)).expect("written");
    file.commit_received(None).expect("durable");
    drop(store);
    let (store, mut recovery) = open(&disk, config()).expect("a start");
    assert_eq!(recovery.recovered.floor, z(60));
    let mut log = store.log(&mut recovery);
    assert!(store.purge(1).expect("purged").logs > 0);
    log.sync_recovered().expect("installed");
    assert_eq!(store.locate(z(60)).expect("readable"), Some(z(60)));
    drop((log, store));
    assert_eq!(open(&disk, config()).expect("a start").1.tree, tree);
}
