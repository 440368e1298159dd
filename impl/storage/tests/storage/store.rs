//! Cutting, reading, purging and the mark, on a disk in memory.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use crate::common::{apply, body, txn};
use protocol::recovery::Refusal;
use spec::{Epoch, Machine, Zxid};
use storage::{
    Batch, Config, Error, Log, Recovery, Store,
    disk::{Cuttable, Dice, Disk, File, MemoryDisk, RealDisk, Room},
};
use tree::Tree;

const DIR: &str = "/data/version-2";

fn z(counter: u32) -> Zxid {
    Zxid::new(Epoch(1), counter)
}

/// Each record is about 100 bytes, so that some forty fit into a file.
fn config() -> Config {
    Config { segment_bytes: 4096, ..Config::new(PathBuf::from("/data")) }
}

fn open<D: Disk>(disk: &D) -> Result<(Store<D>, Recovery), Error> {
    let store = Store::open(disk.clone(), config())?;
    let recovery = store.recover()?;
    Ok((store, recovery))
}

/// A server that has promised and joined epoch 1.
struct Server {
    disk: MemoryDisk,
    store: Store<MemoryDisk>,
    log: Log<MemoryDisk>,
    tree: Tree,
}

fn server() -> Server {
    let disk = MemoryDisk::default();
    let (store, mut recovery) = open(&disk).expect("a new server");
    let mut log = store.log(&mut recovery);
    log.sync_recovered().expect("synced");
    store.save_accepted(Epoch(1)).expect("saved");
    store.save_current(Epoch(1)).expect("saved");
    Server { disk, store, log, tree: recovery.tree }
}

impl Server {
    /// Appends and syncs the transactions through this counter of epoch 1.
    fn log_through(&mut self, counter: u32) {
        while self.tree.last_processed() < z(counter) {
            let last = self.tree.last_processed();
            self.log_one(if last == Zxid::ZERO { z(1) } else { last.next() });
        }
    }

    fn log_one(&mut self, zxid: Zxid) {
        let txn = txn(zxid, 20);
        apply(&mut self.tree, zxid, &txn);
        let mut batch = Batch::new();
        batch.push(zxid, &txn);
        self.log.append_batch(&batch).expect("written");
        self.log.sync().expect("synced");
    }

    fn snapshot(&mut self) -> u64 {
        self.store.snapshots().save(&mut self.tree).expect("saved")
    }

    fn names(&self, kind: &str) -> Vec<String> {
        let mut names = self.disk.list(Path::new(DIR)).expect("a folder");
        names.retain(|name| name.starts_with(kind));
        names.sort();
        names
    }

    /// What a start on a copy of the disk makes of it.
    fn restarted(&self) -> Result<Recovery, Error> {
        open(&self.disk.copy()).map(|(_, recovery)| recovery)
    }
}

fn read(store: &Store<MemoryDisk>, after: Zxid, through: Zxid) -> Result<Vec<Zxid>, Error> {
    let mut range = store.read(after, through)?;
    let mut found = Vec::new();
    while let Some((zxid, body)) = range.next()? {
        let (decoded, _) = wire::log::decode_body(&mut wire::Decoder::stream(body)).expect("a transaction");
        assert_eq!(decoded, zxid);
        found.push(zxid);
    }
    Ok(found)
}

#[test]
fn the_log_rolls_when_it_is_full_and_is_read_across_files() {
    let mut server = server();
    server.log_through(100);
    assert!(server.names("log.").len() >= 3, "{:?}", server.names("log."));
    let all: Vec<Zxid> = (1..=100).map(z).collect();
    assert_eq!(read(&server.store, Zxid::ZERO, z(100)).expect("whole"), all);
    assert_eq!(read(&server.store, z(39), z(77)).expect("whole"), all[39..77]);
    assert_eq!(read(&server.store, z(100), z(100)).expect("nothing"), []);
    let beyond = read(&server.store, z(98), z(101));
    assert!(matches!(beyond, Err(Error::Missing { after, .. }) if after == z(100)), "{beyond:?}");
    let restarted = server.restarted().expect("a start");
    assert_eq!((restarted.recovered.last, restarted.replayed), (z(100), 100));
    assert_eq!(restarted.tree, server.tree);
}

/// D-9: a sync that failed may have left pages that read well, and that no later sync writes.
#[test]
fn what_may_never_have_reached_the_disk_is_written_again() {
    for marked in [false, true] {
        let mut server = server();
        server.log_through(30);
        if marked {
            server.log.idle().expect("a mark");
        }
        let layer = Cuttable::new(server.disk.copy());
        let (store, mut recovery) = open(&layer).expect("a start");
        let mut log = store.log(&mut recovery);
        layer.fail_syncs(true);
        log.sync_recovered().expect_err("the disk fails");
        let again = layer.unsynced_bytes();
        assert_eq!(again > 100, !marked, "{again} bytes are written again; with a mark at the end: {marked}");
        assert!(again < 8192, "{again} bytes are written again, and two files have no more");
    }
}

/// An ensemble that starts waits for the first record behind the start of a quorum of its servers.
#[test]
fn a_file_that_is_waited_for_is_short() {
    let disk = MemoryDisk::default();
    let config = Config::new(PathBuf::from("/data"));
    let store = Store::open(disk.clone(), config.clone()).expect("a new server");
    let mut log = store.log(&mut store.recover().expect("nothing yet"));
    log.sync_recovered().expect("synced");
    let mut batch = Batch::new();
    batch.push(z(1), &txn(z(1), 20));
    log.append_batch(&batch).expect("written");
    log.sync().expect("synced");
    let length = |first: u32| content(&disk, &format!("log.{:x}", z(first).0)).len() as u64;
    assert_eq!((config.segment_bytes, length(1)), (64 << 20, 4 << 20));
    // Its follower was filled meanwhile, and is a whole one.
    let spare = log.spare().expect("it is time").fill();
    log.take_spare(spare).expect("filled");
    for counter in 2..=5 {
        batch.clear();
        batch.push(z(counter), &txn(z(counter), 1 << 20));
        log.append_batch(&batch).expect("written");
        log.sync().expect("synced");
    }
    assert_eq!(length(5), 64 << 20);
}

/// A disk that is nearly full ends a server when there is no room for what it has to write, and not before.
#[test]
fn a_file_that_cannot_be_filled_ahead_ends_nothing() {
    let disk = MemoryDisk::default();
    let config = Config::new(PathBuf::from("/data"));
    let store = Store::open(disk.clone(), config.clone()).expect("a new server");
    let mut log = store.log(&mut store.recover().expect("nothing yet"));
    log.sync_recovered().expect("synced");
    store.epochs().save_accepted(Epoch(1)).expect("saved");
    store.epochs().save_current(Epoch(1)).expect("saved");
    let append = |log: &mut Log<MemoryDisk>, counter| {
        let mut batch = Batch::new();
        batch.push(z(counter), &txn(z(counter), 1 << 20));
        log.append_batch(&batch).expect("written");
        log.sync().expect("synced");
    };
    append(&mut log, 1);
    drop(log.spare().expect("it is time"));
    let full = Error::OutOfSpace { doing: "make room in", path: PathBuf::from("spare.log") };
    log.take_spare(Err(full)).expect("nothing ends");
    for counter in 2..=3 {
        append(&mut log, counter);
        assert!(log.spare().is_none(), "not again in this file");
    }
    append(&mut log, 4);
    assert!(log.spare().is_some(), "there is another file now");
    let failed = Error::Sync { path: PathBuf::from("spare.log"), source: std::io::ErrorKind::Other.into() };
    assert!(log.take_spare(Err(failed)).is_err(), "a failed sync is another matter");
    drop((log, store));
    // A start makes room.
    let names = || ["spare.log", "next.log", "next.snapshot"].map(|name| Path::new(DIR).join(name));
    for path in names() {
        disk.create(&path).expect("created").write_at(b"room", 0).expect("written");
    }
    let (store, mut recovery) = open(&disk).expect("a start");
    store.log(&mut recovery).sync_recovered().expect("synced");
    assert_eq!(recovery.recovered.last, z(4));
    assert!(names().iter().all(|path| disk.open(path).is_err()));
}

/// Zeros are not written while batches are large, and nobody waits for them.
#[test]
fn a_file_that_is_being_filled_comes_when_it_is_wanted() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = Config { segment_bytes: 8 << 20, ..Config::new(dir.path().to_owned()) };
    let store = Store::open(RealDisk::default(), config).expect("a new server");
    let mut log = store.log(&mut store.recover().expect("nothing yet"));
    log.sync_recovered().expect("synced");
    let append = |log: &mut Log<RealDisk>, counter| {
        let mut batch = Batch::new();
        batch.push(z(counter), &txn(z(counter), 900 << 10));
        log.append_batch(&batch).expect("written");
        log.sync().expect("synced");
    };
    append(&mut log, 1);
    let spare = log.spare().expect("it is time");
    let filler = std::thread::spawn(|| spare.fill());
    for counter in 2..=3 {
        append(&mut log, counter);
        assert!(!log.hurry_spare(), "there is room for more");
    }
    let probe = RealDisk::default().create(&dir.path().join("probe")).expect("created");
    let takes_room = probe.reserve(0, 4096).expect("room") == Room::Taken;
    assert!(!takes_room || !filler.is_finished(), "it waits for smaller batches");
    append(&mut log, 4);
    assert!(log.hurry_spare(), "less than an eighth is left");
    assert!(!log.hurry_spare(), "and that is said once");
    filler.thread().unpark();
    log.take_spare(filler.join().expect("no panic")).expect("filled");
    append(&mut log, 5);
    let file = dir.path().join("version-2").join(format!("log.{:x}", z(5).0));
    assert_eq!(std::fs::metadata(file).expect("there").len(), 8 << 20);
}

#[test]
fn a_cut_ends_the_log_where_it_is_told_or_changes_nothing() {
    for (why, snapshots, cut, end) in [
        ("inside the last file", &[][..], 98, 98),
        ("at the end of a file", &[], 39, 39),
        ("across files", &[], 5, 5),
        ("everything", &[], 0, 0),
        ("behind a snapshot", &[50], 51, 51),
        ("at a snapshot's label", &[50], 50, 50),
        ("before a snapshot", &[50], 49, 49),
        ("nothing to cut", &[], 100, 100),
        ("more than there is", &[], 120, 100),
    ] {
        let mut server = server();
        for label in snapshots {
            server.log_through(*label);
            server.snapshot();
        }
        server.log_through(100);
        let cut = if cut == 0 { Zxid::ZERO } else { z(cut) };
        let end = if end == 0 { Zxid::ZERO } else { z(end) };
        assert_eq!(server.log.truncate(cut).expect("cut"), end, "{why}");
        assert_eq!(server.log.last(), end, "{why}");
        let restarted = server.restarted().expect("a start");
        assert_eq!(restarted.recovered.last, end, "{why}");
        // And it goes on there.
        server.tree = restarted.tree;
        server.store.recover().expect("reloaded");
        server.log_through(110);
        assert_eq!(server.restarted().expect("a start").recovered.last, z(110), "{why}");
    }
}

#[test]
fn a_cut_at_the_start_of_an_epoch_is_made_behind_what_comes_before_it() {
    let third = |counter| Zxid::new(Epoch(3), counter);
    for snapshot in [false, true] {
        let mut server = server();
        server.log_through(60);
        if snapshot {
            server.snapshot();
        }
        // A leader whose state was received as that of the epoch's start says where to cut what it never heard of.
        server.log_one(third(1));
        server.log_one(third(2));
        assert_eq!(read(&server.store, z(58), third(0)).expect("whole"), [z(59), z(60)]);
        assert_eq!(server.log.truncate(third(0)).expect("cut"), z(60));
        assert_eq!((server.log.last(), server.restarted().expect("a start").recovered.last), (z(60), z(60)));
    }
    // What is missing is not taken for an end.
    let mut server = server();
    server.log_through(10);
    server.log_one(third(1));
    assert!(matches!(read(&server.store, z(10), third(3)), Err(Error::Missing { .. })));
    assert_eq!(server.log.truncate(third(7)).expect("nothing happens"), third(1));
}

#[test]
fn a_cut_below_every_snapshot_is_not_made() {
    let mut server = server();
    server.log_through(30);
    server.snapshot();
    server.log_through(60);
    server.store.purge(1).expect("purged");
    assert_eq!(server.names("snapshot."), ["snapshot.10000001e"]);
    assert_eq!(server.log.truncate(z(29)).expect("nothing happens"), z(60));
    assert_eq!(server.restarted().expect("a start").recovered.last, z(60));
    // A snapshot that was received bridges a hole, in which no place can be cut at.
    let mut ahead = server.tree.clone();
    for counter in 61..=70 {
        apply(&mut ahead, z(counter), &txn(z(counter), 1));
    }
    let mut file = server.store.snapshots().begin(z(70)).expect("begun");
    file.write(&body(&mut ahead)).expect("written");
    file.commit_received(None).expect("durable");
    server.log.install(z(70)).expect("installed");
    server.tree = ahead;
    server.log_through(80);
    assert_eq!(server.log.truncate(z(65)).expect("nothing happens"), z(80));
    assert_eq!(server.restarted().expect("a start").recovered.last, z(80));
    assert_eq!(server.log.truncate(z(70)).expect("cut"), z(70));
    assert_eq!(server.restarted().expect("a start").recovered.last, z(70));
}

#[test]
fn a_place_is_told_if_the_log_reaches_back_and_is_short_enough() {
    let mut server = server();
    server.log_through(60);
    let size = server.snapshot();
    server.log_through(90);
    let floor = |server: &Server| server.store.recover().expect("reloaded").recovered.floor;
    assert_eq!(floor(&server), z(60));
    // A third of the snapshot: fewer than twenty records.
    assert!((4000..9000).contains(&size), "{size} bytes");
    let locate = |zxid| server.store.locate(zxid).expect("readable");
    assert_eq!(locate(z(85)), Some(z(85)));
    assert_eq!(locate(z(90)), Some(z(90)));
    assert_eq!(locate(Zxid::new(Epoch(2), 7)), Some(z(90)), "a foreign end");
    assert_eq!(locate(z(60)), None, "too much");
    assert_eq!(locate(z(59)), None, "below the floor");
}

#[test]
fn purging_keeps_what_the_oldest_snapshot_and_readers_need() {
    let mut server = server();
    for label in [40, 80, 120, 160] {
        server.log_through(label);
        server.snapshot();
    }
    server.log_through(200);
    let before = server.names("log.").len();
    let mut range = server.store.read(z(5), z(200)).expect("readable");
    let purged = server.store.purge(2).expect("purged");
    assert_eq!((purged.snapshots, purged.logs), (3, 0), "a reader stands at 5");
    let mut count = 5;
    while let Some((zxid, _)) = range.next().expect("whole") {
        count += 1;
        assert_eq!(zxid, z(count));
    }
    assert_eq!(count, 200);
    drop(range);
    let purged = server.store.purge(2).expect("purged");
    assert!(purged.logs >= 2 && purged.logs < before, "{purged:?} of {before}");
    assert_eq!(server.names("snapshot."), ["snapshot.100000078", "snapshot.1000000a0"]);
    // The older of the two still leads to the end.
    let copy = server.disk.copy();
    copy.remove(&Path::new(DIR).join("snapshot.1000000a0")).expect("there");
    let (_, recovery) = open(&copy).expect("a start");
    assert_eq!((recovery.recovered.floor, recovery.recovered.last), (z(120), z(200)));
    assert_eq!(recovery.tree, server.tree);
    assert_eq!(server.store.purge(0).expect("purged").snapshots, 1, "one is kept at least");
}

/// Changes one byte of a file.
fn flip(disk: &MemoryDisk, name: &str, at: u64) {
    let file = disk.open_write(&Path::new(DIR).join(name)).expect("there");
    let mut byte = [0];
    assert_eq!(file.read_at(&mut byte, at).expect("readable"), 1);
    file.write_at(&[byte[0] ^ 4], at).expect("written");
}

#[test]
fn damage_below_the_mark_is_no_torn_tail() {
    let mut server = server();
    server.log_through(10);
    let at = 16 + 5 * 90;
    let copy = server.disk.copy();
    flip(&copy, "log.100000001", at);
    let (_, recovery) = open(&copy).expect("without a mark it looks torn");
    assert!(recovery.recovered.last < z(10) && !recovery.warnings.is_empty());
    server.log.idle().expect("marked");
    flip(&server.disk, "log.100000001", at);
    let refused = server.restarted();
    assert!(
        matches!(refused, Err(Error::Refused { refusal: Refusal::SyncedLost { .. }, .. })),
        "{:?}",
        refused.map(|r| r.recovered)
    );
    // Another program that was here since has promised a later epoch.
    server.store.epochs().save_accepted(Epoch(2)).expect("saved");
    server.restarted().expect("the mark is not believed");
}

#[test]
fn a_start_marks_what_it_has_synced() {
    let mut server = server();
    server.log_through(10);
    let copy = server.disk.copy();
    let (store, mut recovery) = open(&copy).expect("a start");
    store.log(&mut recovery).sync_recovered().expect("synced");
    drop(store);
    flip(&copy, "log.100000001", 200);
    assert!(matches!(open(&copy), Err(Error::Refused { refusal: Refusal::SyncedLost { .. }, .. })));
}

#[test]
fn a_damaged_snapshot_is_passed_over_if_the_log_leads_to_it() {
    let mut server = server();
    server.log_through(20);
    server.snapshot();
    server.log_through(30);
    flip(&server.disk, "snapshot.100000014", 300);
    let recovery = server.restarted().expect("the log leads there");
    assert_eq!((recovery.recovered.floor, recovery.recovered.last), (Zxid::ZERO, z(30)));
    assert_eq!(recovery.tree, server.tree);
    assert!(
        recovery.warnings[0].contains("snapshot.100000014, which is damaged: "),
        "{:?}",
        recovery.warnings
    );
}

/// The content of a file.
fn content(disk: &MemoryDisk, name: &str) -> Vec<u8> {
    let file = disk.open(&Path::new(DIR).join(name)).expect("there");
    let mut bytes = vec![0; usize::try_from(file.len().expect("known")).expect("small")];
    assert_eq!(file.read_at(&mut bytes, 0).expect("readable"), bytes.len());
    bytes
}

fn put(disk: &MemoryDisk, name: &str, bytes: &[u8]) {
    disk.create(&Path::new(DIR).join(name)).expect("created").write_at(bytes, 0).expect("written");
}

/// These bytes, packed as a file name's end says.
fn pack(end: &str, bytes: &[u8]) -> Vec<u8> {
    if end == "gz" {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory");
        return encoder.finish().expect("memory");
    }
    let mut packed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for block in bytes.chunks(32 << 10) {
        let block = snap::raw::Encoder::new().compress_vec(block).expect("small");
        packed.extend(u32::try_from(block.len()).expect("small").to_be_bytes());
        packed.extend(block);
    }
    packed
}

#[test]
fn a_packed_snapshot_is_as_good_as_a_plain_one() {
    let mut server = server();
    server.log_through(2000);
    server.snapshot();
    server.log_through(2010);
    let plain = "snapshot.1000007d0";
    for end in ["gz", "snappy"] {
        let name = format!("{plain}.{end}");
        let copy = server.disk.copy();
        put(&copy, &name, &pack(end, &content(&copy, plain)));
        for gone in [plain, "snapshot.0"] {
            copy.remove(&Path::new(DIR).join(gone)).expect("there");
        }
        let (store, mut recovery) = open(&copy).expect("it unpacks");
        assert_eq!((recovery.recovered.floor, recovery.recovered.last), (z(2000), z(2010)));
        assert_eq!(recovery.tree, server.tree);
        assert_eq!(recovery.warnings, Vec::<String>::new());
        assert_eq!(store.snapshots().newest().expect("readable").map(|(label, _)| label), Some(z(2000)));
        // The log can be cut down to it, and a later plain one lets it be purged.
        let mut log = store.log(&mut recovery);
        log.sync_recovered().expect("synced");
        assert_eq!(log.truncate(z(2000)).expect("cut"), z(2000));
        drop((log, store));
        let (store, mut recovery) = open(&copy).expect("it unpacks");
        assert_eq!(recovery.recovered.last, z(2000));
        let mut batch = Batch::new();
        batch.push(z(2001), &txn(z(2001), 1));
        apply(&mut recovery.tree, z(2001), &txn(z(2001), 1));
        let mut log = store.log(&mut recovery);
        log.sync_recovered().expect("synced");
        log.append_batch(&batch).expect("written");
        log.sync().expect("synced");
        store.snapshots().save(&mut recovery.tree).expect("saved");
        assert_eq!(store.purge(1).expect("purged").snapshots, 1);
        assert!(copy.open(&Path::new(DIR).join(&name)).is_err(), "{name} is purged");
        drop((log, store));
        assert_eq!(open(&copy).expect("a start").1.recovered.last, z(2001));
    }
}

#[test]
fn a_packed_snapshot_that_was_cut_short_is_told_from_a_damaged_one() {
    let mut server = server();
    server.log_through(500);
    server.snapshot();
    let plain = "snapshot.1000001f4";
    let bytes = content(&server.disk, plain);
    server.disk.remove(&Path::new(DIR).join(plain)).expect("there");
    for end in ["gz", "snappy"] {
        let packed = pack(end, &bytes);
        for length in [0, 1, 9, 10, 16, 18, packed.len() / 2, packed.len() - 1] {
            let copy = server.disk.copy();
            put(&copy, &format!("{plain}.{end}"), &packed[..length]);
            let (_, recovery) = open(&copy).expect("the log leads there");
            assert_eq!(recovery.recovered.last, z(500));
            let warning = &recovery.warnings[0];
            assert!(warning.contains(end) && warning.contains("never finished"), "{length}: {warning}");
        }
        let mut damaged = packed;
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x55;
        put(&server.disk, &format!("{plain}.{end}"), &damaged);
        let (_, recovery) = open(&server.disk.copy()).expect("the log leads there");
        assert!(recovery.warnings[0].contains("is damaged"), "{:?}", recovery.warnings);
        let copy = server.disk.copy();
        copy.remove(&Path::new(DIR).join("snapshot.0")).expect("there");
        assert!(matches!(open(&copy), Err(Error::Refused { refusal: Refusal::SnapshotBroken { .. }, .. })));
        server.disk.remove(&Path::new(DIR).join(format!("{plain}.{end}"))).expect("there");
    }
}

#[test]
fn a_large_batch_is_synced_in_parts() {
    for seed in 0..8 {
        let below = MemoryDisk::default();
        let disk = Cuttable::new(below.clone());
        let (store, mut recovery) = open(&disk).expect("a new server");
        let mut log = store.log(&mut recovery);
        log.sync_recovered().expect("synced");
        store.save_accepted(Epoch(1)).expect("saved");
        let (mut one, mut all) = (Batch::new(), Batch::new());
        for counter in 1..=9 {
            one.clear();
            one.push(z(counter), &txn(z(counter), 1 << 20));
            all.extend(&one);
        }
        assert!(!all.has_room(1));
        log.append_batch(&all).expect("written");
        disk.cut(&mut Dice::new(seed)).expect("memory");
        drop((log, store));
        let (_, recovery) = open(&below).expect("a start");
        assert!(recovery.recovered.last >= z(6), "three by three, and the last three not synced");
    }
}

#[test]
fn a_cut_opens_no_hole_that_a_snapshot_had_covered() {
    let mut server = server();
    server.log_through(10);
    server.snapshot();
    // The snapshot was durable before the log was, and the power went: one record in the middle is lost.
    let length = {
        let mut range = server.store.read(Zxid::ZERO, z(1)).expect("readable");
        range.next().expect("whole").expect("a record").1.len() as u64 + 13
    };
    let copy = server.disk.copy();
    flip(&copy, "log.100000001", 16 + 7 * length + 30);
    for (cut, end) in [(9, 12), (8, 12), (7, 7), (10, 10), (11, 11)] {
        let disk = copy.copy();
        let (store, mut recovery) = open(&disk).expect("the snapshot covers it");
        assert_eq!((recovery.recovered.floor, recovery.recovered.last), (z(10), z(10)));
        let mut log = store.log(&mut recovery);
        log.sync_recovered().expect("synced");
        let mut batch = Batch::new();
        for counter in [11, 12] {
            batch.push(z(counter), &txn(z(counter), 1));
        }
        log.append_batch(&batch).expect("written");
        assert_eq!(log.truncate(z(cut)).expect("tried"), z(end), "cut behind {cut}");
        drop((log, store));
        assert_eq!(open(&disk).expect("a start").1.recovered.last, z(end), "cut behind {cut}");
    }
}
