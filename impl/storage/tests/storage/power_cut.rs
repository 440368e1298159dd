//! What was reported as synced is there after a power cut, at every point of everything that storage does; what a cut
//! leaves can always be started from.

use std::{collections::BTreeMap, path::PathBuf};

use crate::common::{apply, body, txn};
use proptest::prelude::*;
use spec::{Epoch, Machine, Zxid};
use storage::{
    Batch, Config, Error, Log, Packing, Recovery, Store,
    disk::{Cuttable, Dice, MemoryDisk},
};
use tree::{Tree, Txn};

/// Small, so that most runs roll often.
const SEGMENT_BYTES: u64 = 4096;

#[derive(Clone, Debug)]
enum Op {
    /// Append records with data of these lengths.
    Append(Vec<usize>),
    Sync,
    Idle,
    /// Cut this many transactions off, and go on in a new epoch.
    Truncate(usize),
    /// Snapshot what was applied.
    Snapshot,
    /// Begin a snapshot, cut this many transactions off, and try to finish it.
    SnapshotAcrossTruncate(usize),
    /// Take over the state of a leader: one more than this many transactions ahead, or, if odd, behind.
    Receive(usize),
    Purge(usize),
    Promise,
    Join,
    /// Stop in peace and start again.
    Restart,
}

type Disk = Cuttable<MemoryDisk>;

/// What is to be found after a cut.
struct Known {
    /// The state in memory.
    tree: Tree,
    /// The state at each place that may be found.
    states: BTreeMap<Zxid, Tree>,
    /// What is reported as durable.
    durable: Zxid,
    /// The epoch of the next transactions.
    epoch: u32,
    /// The epochs stored, and those being stored.
    accepted: (u32, u32),
    current: (u32, u32),
}

/// A server's storage.
struct Server {
    store: Store<Disk>,
    log: Log<Disk>,
}

/// With two folders, nothing that is synced in one of them helps the other. How snapshots are packed changes from epoch
/// to epoch.
fn config(epoch: u32) -> Config {
    let data_log_dir = Some(PathBuf::from("/log"));
    let packing = match epoch % 3 {
        0 => Packing::Plain,
        1 => Packing::Gzip,
        _ => Packing::Snappy,
    };
    let plain = Config::new(PathBuf::from("/data"));
    Config { data_log_dir, segment_bytes: SEGMENT_BYTES, window: 3, packing, ..plain }
}

impl Server {
    /// Starts on what is there, and checks it.
    fn boot(disk: &Disk, known: &mut Known) -> Result<Self, Error> {
        let store = Store::open(disk.clone(), config(known.epoch))?;
        let mut recovery = match store.recover() {
            Err(error @ Error::Refused { .. }) => panic!("{error}"),
            other => other?,
        };
        known.check(&store, &recovery);
        let mut log = store.log(&mut recovery);
        log.sync_recovered()?;
        known.take_over(recovery);
        Ok(Self { store, log })
    }

    fn run(&mut self, op: &Op, known: &mut Known) -> Result<(), Error> {
        match op {
            Op::Append(lengths) => self.append(lengths, known),
            Op::Sync | Op::Restart => self.sync(known),
            Op::Idle => {
                let spare = self.log.spare();
                spare.map_or(Ok(()), |spare| self.log.take_spare(spare.fill()))?;
                self.log.idle()
            }
            Op::Truncate(count) => self.truncate(*count, known),
            Op::Snapshot => self.store.snapshots().save(&mut known.tree).map(drop),
            Op::SnapshotAcrossTruncate(count) => self.snapshot_across_truncate(*count, known),
            Op::Receive(count) => self.receive(*count, known),
            Op::Purge(keep) => self.store.purge(*keep).map(drop),
            Op::Promise => self.promise(known),
            Op::Join => {
                known.current.1 = known.accepted.0;
                self.store.save_current(Epoch(known.current.1))?;
                known.current.0 = known.current.1;
                Ok(())
            }
        }
    }

    fn promise(&mut self, known: &mut Known) -> Result<(), Error> {
        known.accepted.1 = known.accepted.0 + 1;
        self.store.save_accepted(Epoch(known.accepted.1))?;
        known.accepted.0 = known.accepted.1;
        Ok(())
    }

    /// Every cut and every state received comes with a later epoch, promised before.
    fn new_epoch(&mut self, known: &mut Known) -> Result<(), Error> {
        self.promise(known)?;
        known.epoch = known.accepted.0;
        Ok(())
    }

    fn append(&mut self, lengths: &[usize], known: &mut Known) -> Result<(), Error> {
        if known.accepted.0 < known.epoch {
            self.new_epoch(known)?;
        }
        let mut batch = Batch::new();
        for length in lengths {
            let (zxid, txn) = known.advance(*length);
            batch.push(zxid, &txn);
            known.states.insert(zxid, known.tree.clone());
        }
        self.log.append_batch(&batch)
    }

    fn sync(&mut self, known: &mut Known) -> Result<(), Error> {
        self.log.sync()?;
        known.durable = known.durable.max(self.log.last());
        Ok(())
    }

    fn truncate(&mut self, count: usize, known: &mut Known) -> Result<(), Error> {
        self.sync(known)?;
        self.new_epoch(known)?;
        let target = known.states.keys().rev().nth(count).copied().unwrap_or_default();
        known.durable = known.durable.min(target);
        let end = self.log.truncate(target)?;
        if end == target {
            known.states.split_off(&Zxid(target.0 + 1));
            known.tree = known.states[&target].clone();
        }
        assert_eq!(end, known.tree.last_processed());
        known.durable = end;
        Ok(())
    }

    fn snapshot_across_truncate(&mut self, count: usize, known: &mut Known) -> Result<(), Error> {
        let before = known.tree.last_processed();
        let mut file = self.store.snapshots().begin(before)?;
        let body = body(&mut known.tree);
        self.truncate(count, known)?;
        file.write(&body)?;
        let saved = file.commit(None)?;
        assert_eq!(saved.is_some(), before == known.tree.last_processed(), "a snapshot of what was cut");
        Ok(())
    }

    fn receive(&mut self, count: usize, known: &mut Known) -> Result<(), Error> {
        self.sync(known)?;
        self.new_epoch(known)?;
        // Every other time it ends below the log, whose end is foreign to the sender.
        let below = count % 2 == 1;
        if below {
            let label = known.states.keys().rev().nth(count).copied().unwrap_or_default();
            known.durable = known.durable.min(label);
            known.tree = known.states[&label].clone();
        } else {
            for _ in 0..=count {
                known.advance(10);
            }
        }
        let label = known.tree.last_processed();
        known.states.insert(label, known.tree.clone());
        let mut file = self.store.snapshots().begin(label)?;
        file.write(&body(&mut known.tree))?;
        file.commit_received(None)?;
        // From here on it is what a start finds: nothing of the old log's end may be on top of it.
        known.durable = label;
        known.states.split_off(&Zxid(label.0 + 1));
        self.log.install(label)
    }
}

impl Known {
    fn new() -> Self {
        let (tree, epoch) = (Tree::new(), 1);
        let states = BTreeMap::from([(Zxid::ZERO, tree.clone())]);
        Self { tree, states, durable: Zxid::ZERO, epoch, accepted: (0, 0), current: (0, 0) }
    }

    /// Applies the next transaction, and returns it.
    fn advance(&mut self, length: usize) -> (Zxid, Txn) {
        let last = self.tree.last_processed();
        let zxid = if last.epoch().0 == self.epoch { last.next() } else { Zxid::new(Epoch(self.epoch), 1) };
        let txn = txn(zxid, length);
        apply(&mut self.tree, zxid, &txn);
        (zxid, txn)
    }

    /// What was found is one of the states, and lacks nothing that was reported as durable.
    fn check(&self, store: &Store<Disk>, recovery: &Recovery) {
        let found = &recovery.recovered;
        assert!(found.last >= self.durable, "{} is durable, found {}", self.durable, found.last);
        let state = self.states.get(&found.last);
        assert!(state.is_some(), "found {}, which is no state to be found", found.last);
        assert_eq!(state, Some(&recovery.tree));
        assert!([self.accepted.0, self.accepted.1].contains(&found.accepted.0), "{:?}", found.accepted);
        assert!([self.current.0, self.current.1].contains(&found.current.0), "{:?}", found.current);
        let mut before = found.base;
        for (zxid, _) in &found.tail {
            assert!(zxid.follows(before), "{zxid} behind {before}");
            before = *zxid;
        }
        assert_eq!(before, found.last);
        assert!(found.tail.len() <= 3 && found.base >= found.floor);
        let mut range = store.read(found.floor, found.last).expect("readable");
        let mut read = 0;
        while range.next().expect("whole").is_some() {
            read += 1;
        }
        assert_eq!(read, recovery.replayed);
    }

    /// What was found and synced is what there is.
    fn take_over(&mut self, recovery: Recovery) {
        let Recovery { tree, recovered, .. } = recovery;
        self.tree = tree;
        self.durable = recovered.last;
        self.states.split_off(&Zxid(recovered.last.0 + 1));
        self.accepted = (recovered.accepted.0, recovered.accepted.0);
        self.current = (recovered.current.0, recovered.current.0);
        // What is appended next must not look like what was lost.
        self.epoch = self.epoch.max(recovered.accepted.0) + 1;
    }
}

/// How a run ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The power goes, and this seed decides what survives.
    Cut(u64),
    /// The process is killed: the next one finds what was written, durable or not.
    Kill,
}

/// Runs operations until an end, and starts on what is left, as often as there are ends: how many operations on the
/// disk each run lasts, and how it ends.
fn play(ops: &[Op], ends: &[(u64, End)]) {
    let below = MemoryDisk::default();
    let mut disk = Cuttable::new(below.clone());
    let mut known = Known::new();
    for (operations, end) in ends {
        disk.cut_after(*operations);
        match live(&disk, ops, &mut known) {
            Ok(()) => {}
            Err(error) => assert!(disk.is_cut(), "{error}"),
        }
        match end {
            End::Cut(seed) => {
                disk.cut(&mut Dice::new(*seed)).expect("memory");
                disk = Cuttable::new(below.clone());
            }
            End::Kill => disk.revive(),
        }
    }
    disk.revive();
    Server::boot(&disk, &mut known).expect("power");
}

fn live(disk: &Disk, ops: &[Op], known: &mut Known) -> Result<(), Error> {
    let mut server = Server::boot(disk, known)?;
    for op in ops {
        server.run(op, known)?;
        if matches!(op, Op::Restart) {
            drop(server);
            server = Server::boot(disk, known)?;
        }
    }
    Ok(())
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![2 => any::<u64>().prop_map(End::Cut), 1 => Just(End::Kill)]
}

fn op() -> impl Strategy<Value = Op> {
    let length = prop_oneof![8 => 0..200_usize, 1 => 500..3000_usize, 1 => 4000..9000_usize];
    prop_oneof![
        8 => proptest::collection::vec(length, 1..4).prop_map(Op::Append),
        6 => Just(Op::Sync),
        1 => Just(Op::Idle),
        2 => (0..5_usize).prop_map(Op::Truncate),
        2 => Just(Op::Snapshot),
        1 => (0..3_usize).prop_map(Op::SnapshotAcrossTruncate),
        1 => (0..3_usize).prop_map(Op::Receive),
        1 => (1..4_usize).prop_map(Op::Purge),
        1 => Just(Op::Promise),
        1 => Just(Op::Join),
        1 => Just(Op::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_synced_is_found(
        ops in proptest::collection::vec(op(), 1..20),
        ends in proptest::collection::vec((0..150_u64, end()), 1..5),
    ) {
        play(&ops, &ends);
    }
}

/// Everything once, in an order in which each meets what the others left.
fn tour() -> Vec<Op> {
    vec![
        Op::Append(vec![10, 600]),
        Op::Sync,
        Op::Append(vec![1500, 1500]),
        Op::Sync,
        Op::Snapshot,
        Op::Append(vec![2000]),
        Op::Sync,
        Op::Append(vec![30]),
        Op::Join,
        Op::Truncate(2),
        Op::Append(vec![700, 20]),
        Op::Sync,
        Op::Receive(2),
        Op::Append(vec![20, 30]),
        Op::Sync,
        Op::Receive(1),
        Op::Append(vec![50]),
        Op::Idle,
        Op::Sync,
        Op::Snapshot,
        Op::Restart,
        Op::Append(vec![40]),
        Op::Sync,
        Op::SnapshotAcrossTruncate(1),
        Op::Append(vec![9000]),
        Op::Sync,
        Op::Snapshot,
        Op::Purge(1),
        Op::Append(vec![5]),
    ]
}

#[test]
fn every_point_of_a_tour_can_be_cut() {
    let ops = tour();
    let most = (0..2000).find(|operations| {
        let disk = Cuttable::new(MemoryDisk::default());
        disk.cut_after(*operations);
        live(&disk, &ops, &mut Known::new()).is_ok()
    });
    let most = most.expect("the tour ends");
    assert!(most > 100, "{most} operations");
    for operations in 0..=most {
        for seed in 0..16 {
            play(&ops, &[(operations, End::Cut(seed))]);
        }
    }
}

#[test]
fn the_start_behind_a_cut_can_be_cut_at_every_point() {
    let ops = tour();
    for first in (3..200).step_by(7) {
        for second in 0..16 {
            for seed in 0..6 {
                play(&ops, &[(first, End::Cut(seed)), (second, End::Cut(seed + 1))]);
                play(&ops, &[(first, End::Kill), (second, End::Cut(seed))]);
            }
        }
    }
}

#[test]
fn what_a_killed_process_wrote_counts_only_once_it_is_synced() {
    let ops = [
        Op::Append(vec![10, 10]),
        Op::Sync,
        Op::Receive(1),
        Op::Append(vec![10]),
        Op::Sync,
        Op::Receive(0),
        Op::Snapshot,
        Op::Truncate(1),
        Op::Join,
    ];
    for first in 0..110 {
        for second in 0..24 {
            for seed in 0..8 {
                play(&ops, &[(first, End::Kill), (second, End::Cut(seed))]);
            }
        }
    }
}

#[test]
fn a_disk_that_lies_about_syncs_is_found_out() {
    let lost = (0..50).any(|seed| {
        let below = MemoryDisk::default();
        let disk = Cuttable::new(below.clone());
        let mut known = Known::new();
        let mut server = Server::boot(&disk, &mut known).expect("power");
        disk.lie(true);
        for op in [Op::Append(vec![10]), Op::Sync] {
            server.run(&op, &mut known).expect("power");
        }
        disk.cut(&mut Dice::new(seed)).expect("memory");
        drop(server);
        let store = Store::open(Cuttable::new(below), config(0)).expect("unlocked");
        store.recover().expect("a start").recovered.last < known.durable
    });
    assert!(lost);
}

#[test]
fn a_failed_sync_is_not_tried_again() {
    let disk = Cuttable::new(MemoryDisk::default());
    let mut known = Known::new();
    let mut server = Server::boot(&disk, &mut known).expect("power");
    server.run(&Op::Append(vec![10]), &mut known).expect("power");
    disk.fail_syncs(true);
    assert!(matches!(server.log.sync(), Err(Error::Sync { .. })));
    disk.fail_syncs(false);
    assert!(matches!(server.log.sync(), Err(Error::Failed)));
    let mut batch = Batch::new();
    let zxid = Zxid::new(Epoch(1), 2);
    batch.push(zxid, &txn(zxid, 10));
    assert!(matches!(server.log.append_batch(&batch), Err(Error::Failed)));
    assert!(matches!(server.log.truncate(Zxid::ZERO), Err(Error::Failed)));
}

#[test]
fn a_snapshot_has_few_bytes_that_are_not_synced() {
    let piece = vec![0; 300_000];
    let disk = Cuttable::new(MemoryDisk::default());
    let store = Store::open(disk.clone(), config(0)).expect("unlocked");
    store.recover().expect("a start");
    let mut file = store.snapshots().begin(Zxid::new(Epoch(1), 1)).expect("room");
    for _ in 0..100 {
        file.write(&piece).expect("room");
        let unsynced = disk.unsynced_bytes();
        assert!(unsynced < 5 << 20, "a sync of the log would wait for {unsynced} bytes");
    }
}
