//! Tables of disks and what a start makes of them, a reason per row.

use alloc::{format, string::String, vec, vec::Vec};

use super::*;

const BATCH: u64 = 40;

fn z(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(Epoch(epoch), counter)
}

/// A file from text: records ten bytes apart from offset 16, `e.c` valid, `!` broken, `~` altered, `_` a hole of ten
/// bytes.
fn segment(text: &str) -> Segment<()> {
    let mut words = text.split_whitespace();
    let first = zxid(words.next().expect("a name"));
    let mut end = 16;
    let mut records = Vec::new();
    for word in words {
        match word {
            "_" => {}
            "!header" => {
                records.push(Record { at: 0, verdict: Verdict::Broken });
                end = 0;
                continue;
            }
            "!" => records.push(Record { at: end, verdict: Verdict::Broken }),
            "~" => records.push(Record { at: end, verdict: Verdict::Altered }),
            _ => records.push(Record { at: end, verdict: Verdict::Valid { zxid: zxid(word), txn: () } }),
        }
        end += 10;
    }
    Segment { first, records, end }
}

fn zxid(text: &str) -> Zxid {
    let (epoch, counter) = text.split_once('.').expect("epoch and counter");
    z(epoch.parse().expect("an epoch"), counter.parse().expect("a counter"))
}

/// A disk: snapshots newest first (`e.c` valid, `e.c?` incomplete, `e.c!` broken), files separated by `|`.
fn disk(snapshots: &str, log: &str) -> Found<()> {
    let snapshot = |word: &str| {
        let verdict = match word.chars().last() {
            Some('?') => SnapshotVerdict::Incomplete,
            Some('!') => SnapshotVerdict::Broken,
            _ => SnapshotVerdict::Valid,
        };
        Snapshot { label: zxid(word.trim_end_matches(['?', '!'])), verdict }
    };
    Found {
        snapshots: snapshots.split_whitespace().map(snapshot).collect(),
        segments: log.split('|').filter(|file| !file.trim().is_empty()).map(segment).collect(),
        synced: None,
        accepted: Some(Epoch(9)),
        current: Some(Epoch(9)),
    }
}

fn config() -> Config {
    Config { batch_bytes_max: BATCH, ..Config::default() }
}

/// Label, last, number of replayed records and cuts; or the name of the refusal.
fn tell(found: &Found<()>) -> String {
    match recover(config(), found) {
        Ok(plan) => {
            let cuts: Vec<_> = plan.cuts.iter().map(|c| format!(" cut {}@{}", c.segment, c.offset)).collect();
            format!("{} +{} = {}{}", plan.floor, plan.replay.len(), plan.last, cuts.concat())
        }
        Err(refusal) => {
            let text = format!("{refusal:?}");
            text.split([' ', '{']).next().expect("a name").into()
        }
    }
}

#[test]
fn the_log_is_cut_only_at_its_torn_end() {
    for (why, snapshots, log, told) in [
        ("nothing to do", "0.0", "1.1 1.1 1.2 1.3", "0:0 +3 = 1:3"),
        ("no log yet", "0.0", "", "0:0 +0 = 0:0"),
        ("torn end", "0.0", "1.1 1.1 1.2 !", "0:0 +2 = 1:2 cut 1:1@36"),
        ("a good record in the torn batch goes too", "0.0", "1.1 1.1 ! 1.3", "0:0 +1 = 1:1 cut 1:1@26"),
        ("the last that one batch may reach", "0.0", "1.1 1.1 ! _ _ 1.5", "0:0 +1 = 1:1 cut 1:1@26"),
        ("further than one batch: damage", "0.0", "1.1 1.1 ! _ _ _ 1.6", "Damaged"),
        ("a batch may begin an epoch: still torn", "0.0", "1.1 1.1 ! 2.1", "0:0 +1 = 1:1 cut 1:1@26"),
        ("no header yet: the file goes", "0.0", "1.1 1.1 | 1.2 !header", "0:0 +1 = 1:1 cut 1:2@0"),
        ("two torn places are one tail", "0.0", "1.1 1.1 ! 1.3 !", "0:0 +1 = 1:1 cut 1:1@26"),
        ("damage in an older file", "0.0", "1.1 1.1 ! | 1.3 1.3", "Damaged"),
        ("damage inside an older file", "0.0", "1.1 1.1 ! 1.3 | 1.4 1.4", "Damaged"),
        ("healed in a new file", "0.0", "1.1 1.1 ! | 1.2 1.2", "0:0 +2 = 1:2 cut 1:1@26"),
        (
            "healed, with a good record in the torn batch",
            "0.0",
            "1.1 1.1 ! 1.3 | 1.2 1.2",
            "0:0 +2 = 1:2 cut 1:1@26",
        ),
        ("healed by a later epoch", "0.0", "1.1 1.1 ! | 2.1 2.1", "0:0 +2 = 2:1 cut 1:1@26"),
        ("a torn end may look like a record", "0.0", "1.1 1.1 ~ 1.3", "0:0 +1 = 1:1 cut 1:1@26"),
        ("nobody goes on behind one that was altered", "0.0", "1.1 1.1 ~ 1.3 | 1.2 1.2", "Damaged"),
        ("nor with a later epoch", "0.0", "1.1 1.1 ~ 1.3 | 2.1 2.1", "Damaged"),
        (
            "a file without a record is no going on",
            "0.0",
            "1.1 1.1 ~ | 1.2 !header",
            "0:0 +1 = 1:1 cut 1:1@26 cut 1:2@0",
        ),
        ("torn twice", "0.0", "1.1 1.1 ! | 1.2 !", "0:0 +1 = 1:1 cut 1:1@26 cut 1:2@16"),
        ("an empty file between", "0.0", "1.1 1.1 | 1.2 !header | 1.2 1.2", "0:0 +2 = 1:2 cut 1:2@0"),
    ] {
        assert_eq!(tell(&disk(snapshots, log)), told, "{why}");
    }
}

#[test]
fn a_snapshot_covers_what_lies_below_its_label() {
    for (why, snapshots, log, told) in [
        ("the log goes on", "1.2 0.0", "1.1 1.1 1.2 1.3", "1:2 +1 = 1:3"),
        ("the log ends before", "1.5", "1.1 1.1 1.2", "1:5 +0 = 1:5"),
        ("altered below the label", "1.5", "1.1 ~ 1.3 1.4 1.5 | 1.6 1.6", "1:5 +1 = 1:6"),
        ("torn below the label", "1.5", "1.1 1.1 !", "1:5 +0 = 1:5 cut 1:1@26"),
        ("damage below the label", "1.5", "1.1 ! _ _ _ _ 1.5 1.6", "1:5 +1 = 1:6"),
        ("damage up to the label", "1.5", "1.1 ! _ _ _ _ 1.6", "1:5 +1 = 1:6"),
        ("damage that may reach above it", "1.5", "1.1 ! _ _ _ _ 1.7", "Damaged"),
        ("a later epoch proves nothing", "1.5", "1.1 ! _ _ _ _ 2.1", "Damaged"),
        ("a hole that a received snapshot bridges", "9.5", "3.1 3.1 3.2 | 9.6 9.6", "9:5 +1 = 9:6"),
        ("an old torn file below it", "9.5", "3.1 3.1 ! | 9.4 9.4 9.5 9.6", "9:5 +1 = 9:6"),
        ("the leader had nothing before its first", "9.0", "9.1 9.1", "9:0 +1 = 9:1"),
    ] {
        assert_eq!(tell(&disk(snapshots, log)), told, "{why}");
    }
}

#[test]
fn the_log_has_no_gap_above_the_label() {
    for (why, log, told) in [
        ("a file is missing", "1.1 1.1 | 1.3 1.3", "Gap"),
        ("the first is missing", "1.2 1.2", "Gap"),
        ("an epoch begins at 1", "1.1 1.1 | 2.2 2.2", "Gap"),
        ("twice the same", "1.1 1.1 | 1.1 1.1", "Gap"),
        ("epochs only grow", "2.1 2.1 1.1", "Gap"),
        ("epochs may be skipped", "1.1 1.1 3.1", "0:0 +2 = 3:1"),
    ] {
        assert_eq!(tell(&disk("0.0", log)), told, "{why}");
    }
}

#[test]
fn the_newest_snapshot_that_may_be_trusted_wins() {
    let log = "1.1 1.1 1.2 1.3";
    for (why, snapshots, log, told) in [
        ("the newest", "1.2 1.1 0.0", log, "1:2 +1 = 1:3"),
        ("never finished, so nothing rests on it", "1.2? 1.1 0.0", log, "1:1 +2 = 1:3"),
        ("never finished, above the log", "9.5? 0.0", log, "0:0 +3 = 1:3"),
        ("cut short, and it bridged a hole that shows no gap", "1.9? 0.0", "2.1 2.1", "SnapshotBroken"),
        ("never finished, at a place that the log has reached since", "1.2? 0.0", log, "0:0 +3 = 1:3"),
        ("damaged, but the log leads to it", "1.2! 1.1", log, "1:1 +2 = 1:3"),
        ("damaged, and the log ends before it", "1.4! 1.1", log, "SnapshotBroken"),
        (
            "damaged, and it bridged a hole that shows no gap",
            "9.0! 0.0",
            "1.1 1.1 | 9.1 9.1",
            "SnapshotBroken",
        ),
        ("all damaged", "1.2! 1.1!", log, "SnapshotBroken"),
        ("damaged without a log", "1.2!", "", "SnapshotBroken"),
        ("none, but a log", "", log, "NoSnapshot"),
        ("none finished, but a log", "1.2?", log, "NoSnapshot"),
        ("none finished, and nothing else", "1.2?", "", "SnapshotUnfinished"),
        ("the very first one, of a server that has joined an epoch", "0.0?", "", "DataMissing"),
        ("none finished, and nothing but a header", "1.2?", "1.3 !header", "SnapshotUnfinished"),
    ] {
        assert_eq!(tell(&disk(snapshots, log)), told, "{why}");
    }
}

#[test]
fn what_was_synced_is_never_cut() {
    let mark = |segment, offset| Some(Mark { segment, offset });
    for (why, log, synced, told) in [
        ("torn behind it", "1.1 1.1 1.2 !", mark(z(1, 1), 36), "0:0 +2 = 1:2 cut 1:1@36"),
        ("torn below it", "1.1 1.1 1.2 !", mark(z(1, 1), 37), "SyncedLost"),
        ("torn in a file before it", "1.1 1.1 ! | 1.2 1.2", mark(z(1, 2), 16), "SyncedLost"),
        ("zeros below it", "1.1 1.1 1.2", mark(z(1, 1), 46), "SyncedLost"),
        ("its file is gone", "1.1 1.1", mark(z(1, 2), 26), "SegmentLost"),
        ("its file is gone, but a later one stands", "1.1 1.1 | 1.2 1.2", mark(z(1, 0), 99), "0:0 +2 = 1:2"),
    ] {
        let found = Found { synced, ..disk("0.0", log) };
        assert_eq!(tell(&found), told, "{why}");
    }
    // With its file everything may be gone that was logged behind the snapshot.
    for (synced, told) in [(mark(z(1, 2), 26), "SegmentLost"), (mark(z(0, 0), 0), "1:7 +0 = 1:7")] {
        assert_eq!(tell(&Found { synced, ..disk("1.7", "") }), told, "{synced:?}");
    }
}

#[test]
fn epochs_are_as_promised() {
    let epoch = |n: u32| Some(Epoch(n));
    for (why, accepted, current, log, told) in [
        ("as they are", epoch(3), epoch(2), "2.1 2.1", Ok((3, 2))),
        ("history saved, epoch not yet", epoch(3), epoch(2), "2.1 2.1 3.1", Ok((3, 2))),
        ("both files missing", None, None, "2.1 2.1", Ok((2, 2))),
        ("the epoch joined is missing", epoch(3), None, "2.1 2.1", Ok((3, 2))),
        ("the promise is missing", None, epoch(2), "2.1 2.1", Ok((2, 2))),
        ("the promise is missing and was more", None, epoch(3), "2.1 2.1", Err("EpochOrder")),
        ("joined without a promise", epoch(2), epoch(3), "2.1 2.1", Err("EpochOrder")),
        ("logged without a promise", epoch(2), epoch(2), "3.1 3.1", Err("NeverPromised")),
        ("another can be led", epoch(u32::MAX - 2), epoch(2), "2.1 2.1", Ok((u32::MAX - 2, 2))),
        ("none can be led", epoch(u32::MAX - 1), epoch(2), "2.1 2.1", Err("LastPromised")),
    ] {
        let found = Found { accepted, current, ..disk("0.0", log) };
        let found = recover(config(), &found).map(|plan| (plan.accepted.0, plan.current.0));
        assert_eq!(
            found.map_err(|e| format!("{e:?}").split(' ').next().map(String::from)),
            told.map_err(|e| Some(e.into())),
            "{why}"
        );
    }
}

#[test]
fn only_a_new_server_starts_from_nothing() {
    let empty = Found { accepted: None, current: None, ..disk("", "") };
    let plan = recover(config(), &empty).expect("a new server");
    assert_eq!(
        (plan.snapshot, plan.last, plan.accepted, plan.current),
        (None, Zxid::ZERO, Epoch(0), Epoch(0))
    );
    let strict = Config { fresh: false, ..config() };
    assert_eq!(recover(strict, &empty), Err(Refusal::DataMissing { current: None }));
    // Its data are lost, and with epoch 9 its vote would beat servers that hold transactions of epoch 8.
    let wiped = disk("", "");
    assert_eq!(recover(config(), &wiped), Err(Refusal::DataMissing { current: Some(Epoch(9)) }));
    // The operator vouches for the log.
    let unsnapped = Config { unsnapped: true, ..config() };
    let plan = recover(unsnapped, &disk("", "1.1 1.1 1.2")).expect("trusted");
    assert_eq!((plan.snapshot, plan.floor, plan.last), (None, Zxid::ZERO, z(1, 2)));
}

#[test]
fn the_window_gets_the_end_of_the_log() {
    let plan = recover(config(), &disk("1.1", "1.1 1.1 1.2 1.3 1.4")).expect("whole");
    let tail = |window| {
        let recovered = plan.clone().recovered(window);
        (recovered.base, recovered.tail.into_iter().map(|(zxid, ())| zxid).collect::<Vec<_>>())
    };
    assert_eq!(tail(0), (z(1, 4), vec![]));
    assert_eq!(tail(2), (z(1, 2), vec![z(1, 3), z(1, 4)]));
    assert_eq!(tail(9), (z(1, 1), vec![z(1, 2), z(1, 3), z(1, 4)]));
}

#[test]
fn a_refusal_names_file_offset_and_advice() {
    let refusal = recover(config(), &disk("0.0", "1.1 1.1 ! _ _ _ 1.6")).expect_err("damaged");
    let text = format!("{refusal}");
    assert!(
        text.starts_with(
            "damaged record in log.100000001 at offset 26: log.100000001 at offset 66 reads again"
        ),
        "{text}"
    );
    assert!(text.contains("restore the file"), "{text}");
}
