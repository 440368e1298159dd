//! A folder that Apache ZooKeeper left opens, also in the states that its crashes leave behind.

use std::{fs, ops::Range, path::Path};

use spec::{Epoch, Machine, SessionId, Zxid};
use storage::{Batch, Config, Error, RealDisk, Recovery, Store};
use tree::{Tree, Txn, TxnBody};
use wire::log::put_entry;

/// The last transaction in the folder: 2:11, a setACL.
const LAST: Zxid = Zxid(0x2_0000_000b);

/// A copy of the recorded folder.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let version = dir.path().join("version-2");
    fs::create_dir(&version).expect("created");
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/java/version-2");
    for entry in fs::read_dir(recorded).expect("recorded") {
        let entry = entry.expect("recorded");
        fs::copy(entry.path(), version.join(entry.file_name())).expect("copied");
    }
    dir
}

fn open(dir: &Path) -> Result<(Store<RealDisk>, Recovery), Error> {
    let config = Config { segment_bytes: 1 << 16, ..Config::new(dir.into()) };
    let store = Store::open(RealDisk::default(), config)?;
    let recovery = store.recover()?;
    Ok((store, recovery))
}

/// The nodes that differ from what a client read last.
fn differences(tree: &Tree) -> Vec<String> {
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/java/expected.txt");
    let expected = fs::read_to_string(expected).expect("recorded");
    let mut count = 0;
    let wrong = expected.lines().filter(|line| {
        count += 1;
        let (path, rest) = line.split_once('|').expect("a line");
        let (data, stat) = rest.split_once('|').expect("a line");
        let stat: Vec<i64> = stat.split(' ').map(|number| number.parse().expect("a number")).collect();
        let found = tree.stat(path).map(|s| {
            let versions = [s.version, s.cversion, s.aversion].map(i64::from);
            let [version, cversion, aversion] = versions;
            vec![s.czxid, s.mzxid, s.ctime, s.mtime, version, cversion, aversion, s.ephemeral_owner, s.pzxid]
        });
        let found_data = tree.data(path).flatten().unwrap_or_default();
        let same_data = data.len() == 2 * found_data.len()
            && data
                .as_bytes()
                .chunks(2)
                .zip(found_data)
                .all(|(hex, byte)| hex == format!("{byte:02x}").as_bytes());
        // Every server sets the configuration node by itself.
        path != "/zookeeper/config" && (found != Some(stat) || !same_data)
    });
    let wrong: Vec<String> = wrong.map(str::to_owned).collect();
    assert!(count > 25, "{count} nodes are compared");
    assert_eq!(tree.node_count(), count);
    wrong
}

#[test]
fn it_holds_what_a_client_read_last() {
    let dir = folder();
    let (_, recovery) = open(dir.path()).expect("opens");
    assert_eq!(recovery.recovered.last, LAST);
    assert_eq!(recovery.recovered.floor, Zxid(0x1_0000_0043));
    assert_eq!((recovery.recovered.accepted, recovery.recovered.current), (Epoch(2), Epoch(2)));
    assert_eq!(differences(&recovery.tree), Vec::<String>::new());
    assert_eq!(recovery.warnings, Vec::<String>::new());
    let owners: Vec<SessionId> = recovery.tree.sessions().into_iter().map(|(session, _)| session).collect();
    assert_eq!(owners.len(), 2, "{owners:?}");
    assert_eq!(recovery.tree.ephemeral_count(), 2);
}

#[test]
fn older_snapshots_with_more_of_the_log_give_the_same_state() {
    let dir = folder();
    let (_, newest) = open(dir.path()).expect("opens");
    for snapshot in ["snapshot.100000043", "snapshot.100000042", "snapshot.10000002c", "snapshot.100000015"] {
        fs::remove_file(dir.path().join("version-2").join(snapshot)).expect("there");
        let (_, older) = open(dir.path()).expect("opens");
        assert_eq!(older.tree, newest.tree, "without {snapshot}");
        assert_eq!(older.tree.digest(), newest.tree.digest());
        assert!(older.replayed > newest.replayed);
    }
    fs::remove_file(dir.path().join("version-2/snapshot.0")).expect("there");
    assert!(matches!(open(dir.path()), Err(Error::Refused { .. })));
}

#[test]
fn the_digest_that_the_log_carries_is_that_of_the_tree() {
    let dir = folder();
    let (_, recovery) = open(dir.path()).expect("opens");
    let (zxid, txn) = recovery.recovered.tail.last().expect("a tail");
    assert_eq!(*zxid, LAST);
    assert_eq!(txn.digest.expect("3.8 writes one").tree, recovery.tree.digest());
}

#[test]
fn what_crashes_leave_behind_opens() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage, Zxid); 6] = [
        ("an empty last file", |dir| fs::write(dir.join("log.20000000c"), "").expect("written"), LAST),
        (
            "a last file without a header",
            |dir| fs::write(dir.join("log.20000000c"), [0; 4096]).expect("written"),
            LAST,
        ),
        (
            "a torn last record",
            |dir| {
                let path = dir.join("log.200000001");
                let bytes = fs::read(&path).expect("readable");
                let end = bytes.iter().rposition(|byte| *byte != 0).expect("records");
                fs::write(&path, &bytes[..end - 2]).expect("written");
            },
            Zxid(LAST.0 - 1),
        ),
        (
            "no zeros behind the last record",
            |dir| {
                let path = dir.join("log.200000001");
                let bytes = fs::read(&path).expect("readable");
                let end = bytes.iter().rposition(|byte| *byte != 0).expect("records");
                fs::write(&path, &bytes[..=end]).expect("written");
            },
            LAST,
        ),
        (
            "a snapshot that was begun",
            |dir| {
                let bytes = fs::read(dir.join("snapshot.100000043")).expect("readable");
                fs::write(dir.join("snapshot.20000000b"), &bytes[..1000]).expect("written");
            },
            LAST,
        ),
        (
            "no epoch files",
            |dir| {
                fs::remove_file(dir.join("currentEpoch")).expect("there");
                fs::remove_file(dir.join("acceptedEpoch")).expect("there");
            },
            LAST,
        ),
    ];
    for (why, damage, last) in cases {
        let dir = folder();
        damage(&dir.path().join("version-2"));
        let (store, mut recovery) = open(dir.path()).unwrap_or_else(|error| panic!("{why}: {error}"));
        assert_eq!(recovery.recovered.last, last, "{why}");
        assert_eq!((recovery.recovered.accepted, recovery.recovered.current), (Epoch(2), Epoch(2)), "{why}");
        let mut log = store.log(&mut recovery);
        log.sync_recovered().expect("synced");
        drop((log, store));
        let (_, again) = open(dir.path()).unwrap_or_else(|error| panic!("{why}, again: {error}"));
        assert_eq!(again.recovered, recovery.recovered, "{why}");
        assert_eq!(again.tree, recovery.tree, "{why}");
        let warnings = again.warnings.iter().filter(|w| !w.contains("never finished")).count();
        assert_eq!(warnings, 0, "{why}: {:?}", again.warnings);
    }
}

#[test]
fn damage_is_refused_with_the_file_and_the_offset() {
    let dir = folder();
    let path = dir.path().join("version-2/log.200000001");
    let mut bytes = fs::read(&path).expect("readable");
    bytes[60] ^= 1;
    // A second file shows that this is not the end.
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("records") + 1;
    fs::write(&path, &bytes[..end]).expect("written");
    add_a_file(dir.path());
    let error = open(dir.path()).expect_err("damaged").to_string();
    assert!(error.contains("damaged record in log.200000001 at offset 16"), "{error}");
}

#[test]
fn a_record_that_is_larger_than_any_here_is_no_torn_end() {
    let dir = folder();
    let path = dir.path().join("version-2/log.200000001");
    let bytes = fs::read(&path).expect("readable");
    let end = entries(&bytes).last().expect("records").end;
    let length = 65_u32 << 20;
    let mut bytes = bytes[..end].to_vec();
    bytes.extend([0, 0, 0, 0, 1, 2, 3, 4]);
    bytes.extend(length.to_be_bytes());
    bytes.resize(bytes.len() + usize::try_from(length).expect("small"), 1);
    // One that a snapshot holds is not needed.
    let zxid_at = end + 12 + 12;
    for (last, zxid, refused) in [(b'B', u64::MAX, true), (b'C', u64::MAX, false), (b'B', 1, false)] {
        bytes[zxid_at..zxid_at + 8].copy_from_slice(&zxid.to_be_bytes());
        bytes.push(last);
        fs::write(&path, &bytes).expect("written");
        bytes.pop();
        match open(dir.path()) {
            Err(error) => {
                assert!(refused, "{error}");
                let told = error.to_string();
                assert!(told.contains(&format!("log.200000001 cannot be read at offset {end}")), "{told}");
            }
            Ok((_, recovery)) => assert!(!refused && recovery.recovered.last == LAST),
        }
    }
}

/// Adds a file that goes on behind the last transaction.
fn add_a_file(dir: &Path) {
    let other = folder();
    let (store, mut recovery) = open(other.path()).expect("opens");
    let mut log = store.log(&mut recovery);
    log.sync_recovered().expect("synced");
    let txn =
        Txn { session: SessionId(1), cxid: 0, time: 0, body: TxnBody::Error { code: -101 }, digest: None };
    let mut batch = Batch::new();
    batch.push(LAST.next(), &txn);
    log.append_batch(&batch).expect("written");
    log.sync().expect("synced");
    let name = "version-2/log.20000000c";
    fs::copy(other.path().join(name), dir.join(name)).expect("copied");
}

/// The bytes of each record of a file of the log.
fn entries(file: &[u8]) -> Vec<Range<usize>> {
    let (mut at, mut found) = (16, Vec::new());
    while let Some(length) = file.get(at + 8..at + 12) {
        let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
        if length == 0 {
            break;
        }
        let end = at + 12 + usize::try_from(length).expect("small") + 1;
        found.push(at..end);
        at = end;
    }
    found
}

/// Apache ZooKeeper 3.8 logs what comes between a learner's sync and UPTODATE at NEWLEADER, and again at UPTODATE.
#[test]
fn records_that_were_logged_twice_count_once() {
    let file = "version-2/log.200000001";
    let dir = folder();
    let bytes = fs::read(dir.path().join(file)).expect("readable");
    let all = entries(&bytes);
    assert_eq!(all.len(), 11);
    let whole = open(dir.path()).expect("opens").1;
    let twice = |from: usize, to: usize| {
        let (start, end) = (all[from].start, all[to].end);
        [&bytes[..end], &bytes[start..end], &bytes[end..]].concat()
    };
    for (from, to) in [(0, 10), (0, 0), (3, 7), (10, 10), (2, 9)] {
        let dir = folder();
        fs::write(dir.path().join(file), twice(from, to)).expect("written");
        let (store, mut recovery) = open(dir.path()).expect("opens");
        assert_eq!(recovery.recovered, whole.recovered, "{from} to {to}");
        assert_eq!(recovery.tree, whole.tree, "{from} to {to}");
        // A cut goes to the first place where it is whole, whatever comes again behind it.
        let cut = Zxid(0x2_0000_0000 + 5);
        let mut log = store.log(&mut recovery);
        log.sync_recovered().expect("synced");
        assert_eq!(log.truncate(cut).expect("cut"), cut);
        drop((log, store));
        let (_, again) = open(dir.path()).expect("opens");
        assert_eq!(again.recovered.last, cut, "{from} to {to}");
    }
    // The same with a new file of the log in between, and with one in the middle of what comes again.
    for (from, to, roll) in [(3, 7, 3), (2, 9, 5), (10, 10, 10), (4, 10, 10)] {
        let dir = folder();
        let end = all[to].end;
        let first = [&bytes[..end], &bytes[all[from].start..all[roll].start]].concat();
        let second = [&bytes[..16], &bytes[all[roll].start..]].concat();
        fs::write(dir.path().join(file), first).expect("written");
        let rolled = 0x2_0000_0001 + u64::try_from(roll).expect("small");
        fs::write(dir.path().join(format!("version-2/log.{rolled:x}")), second).expect("written");
        let (store, mut recovery) = open(dir.path()).expect("opens");
        assert_eq!(recovery.recovered, whole.recovered, "{from} to {to}, {roll}");
        assert_eq!(recovery.tree, whole.tree, "{from} to {to}, {roll}");
        let last = whole.recovered.last;
        let sent = store.transactions(Zxid(0x2_0000_0000), last).expect("read");
        assert!(sent.is_sorted_by(|one, other| one.0 < other.0) && sent.len() == 11, "{sent:?}");
        let mut log = store.log(&mut recovery);
        log.sync_recovered().expect("synced");
        for cut in [9, 5].map(|counter| Zxid(0x2_0000_0000 + counter)) {
            assert_eq!(log.truncate(cut).expect("cut"), cut);
            let ends =
                store.transactions(Zxid(0x2_0000_0000), last).expect("read").last().map(|(zxid, _)| *zxid);
            assert_eq!(ends, Some(cut), "{from} to {to}, {roll}");
        }
        drop((log, store));
        let (_, again) = open(dir.path()).expect("opens");
        assert_eq!(again.recovered.last, Zxid(0x2_0000_0000 + 5), "{from} to {to}, {roll}");
    }
    // The first of what a crash tore out is missing, and the rest stands; a new file has it all again.
    for (torn, to) in [(3, 10), (2, 6), (10, 10)] {
        let dir = folder();
        let mut first = bytes[..all[to].end].to_vec();
        first[all[torn].clone()].fill(0);
        let second = [&bytes[..16], &bytes[all[torn].start..]].concat();
        fs::write(dir.path().join(file), first).expect("written");
        let next = 0x2_0000_0001 + u64::try_from(torn).expect("small");
        fs::write(dir.path().join(format!("version-2/log.{next:x}")), second).expect("written");
        let (store, mut recovery) = open(dir.path()).expect("opens");
        assert_eq!(recovery.recovered, whole.recovered, "torn at {torn}");
        assert_eq!(recovery.tree, whole.tree, "torn at {torn}");
        store.log(&mut recovery).sync_recovered().expect("synced");
        drop(store);
        let (_, again) = open(dir.path()).expect("opens");
        assert_eq!(again.recovered, whole.recovered, "torn at {torn}, and cut");
    }
    let dir = folder();
    let mut other = twice(3, 7);
    let (first, again) = (all[3].clone(), all[7].end);
    // Another transaction in the place of the first one that comes again: its own checksum is right.
    let forged = {
        let mut forged = bytes[first.clone()].to_vec();
        let time_at = 12 + 8 + 4 + 8 + 7;
        forged[time_at] ^= 1;
        let sum = simd_adler32::adler32(&&forged[12..forged.len() - 1]);
        forged[4..8].copy_from_slice(&sum.to_be_bytes());
        forged
    };
    other[again..again + forged.len()].copy_from_slice(&forged);
    fs::write(dir.path().join(file), other).expect("written");
    let error = open(dir.path()).expect_err("another history").to_string();
    assert!(error.contains("gap in the log: transaction 2:4 in log.200000001"), "{error}");
}

/// Apache ZooKeeper that is alone refuses a request that it cannot read under the number of the transaction before.
#[test]
fn refusals_under_the_number_before_count_for_nothing() {
    let file = "version-2/log.200000001";
    let bytes = fs::read(folder().path().join(file)).expect("readable");
    let whole = open(folder().path()).expect("opens").1;
    let (all, epoch) = (entries(&bytes), 0x2_0000_0000);
    let refusal = |counter: usize, time: i64| {
        let body = TxnBody::Error { code: -5 };
        let txn = Txn { session: SessionId(7), cxid: 9, time, body, digest: None };
        let mut record = Vec::new();
        put_entry(Zxid(epoch + u64::try_from(counter).expect("small")), &txn, &mut record);
        record
    };
    for behind in [1, 5, 11] {
        let dir = folder();
        let end = all[behind - 1].end;
        let text = [&bytes[..end], &refusal(behind, 1), &refusal(behind, 2), &bytes[end..]].concat();
        fs::write(dir.path().join(file), text).expect("written");
        let (store, mut recovery) = open(dir.path()).expect("opens");
        assert_eq!((&recovery.recovered, &recovery.tree), (&whole.recovered, &whole.tree), "behind {behind}");
        let sent = store.transactions(Zxid(epoch), whole.recovered.last).expect("read");
        assert!(sent.is_sorted_by(|one, other| one.0 < other.0) && sent.len() == 11, "{sent:?}");
        let mut log = store.log(&mut recovery);
        log.sync_recovered().expect("synced");
        let cut = Zxid(epoch + 5);
        assert_eq!(log.truncate(cut).expect("cut"), cut);
        drop((log, store));
        assert_eq!(open(dir.path()).expect("opens").1.recovered.last, cut, "behind {behind}");
    }
    let dir = folder();
    let end = all[6].end;
    fs::write(dir.path().join(file), [&bytes[..end], &refusal(6, 1), &bytes[end..]].concat())
        .expect("written");
    let error = open(dir.path()).expect_err("the record before it has another number").to_string();
    assert!(error.contains("gap in the log: transaction 2:6 in log.200000001"), "{error}");
}

#[test]
fn a_folder_for_the_log_does_not_hide_the_log_that_was() {
    let (dir, logs) = (folder(), tempfile::tempdir().expect("a folder"));
    let open = || {
        let config = Config { data_log_dir: Some(logs.path().into()), ..Config::new(dir.path().into()) };
        Store::open(RealDisk::default(), config)
    };
    let told = open().expect_err("the log is elsewhere").to_string();
    assert!(told.contains("holds log.") && told.contains("dataLogDir/version-2"), "{told}");
    let (from, to) = (dir.path().join("version-2"), logs.path().join("version-2"));
    let moved = |kind: &str| {
        for entry in fs::read_dir(&from).expect("a folder").map(|entry| entry.expect("an entry")) {
            if entry.file_name().to_string_lossy().starts_with(kind) {
                fs::rename(entry.path(), to.join(entry.file_name())).expect("moved");
            }
        }
    };
    moved("log.");
    let recovery = open().expect("opens").recover().expect("reads");
    assert_eq!(recovery.recovered.last, LAST);
    moved("snapshot.");
    let told = open().expect_err("snapshots are elsewhere").to_string();
    assert!(told.contains("holds snapshot."), "{told}");
}

#[test]
fn a_folder_is_opened_by_one_server_at_a_time() {
    let dir = folder();
    let (store, _) = open(dir.path()).expect("opens");
    let error = open(dir.path()).expect_err("locked");
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert!(error.to_string().contains("in use by another server"));
    drop(store);
    open(dir.path()).expect("opens");
}
