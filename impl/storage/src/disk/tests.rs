//! What the layers promise.

use std::path::Path;

use super::*;

const DIR: &str = "d";

fn disk() -> (MemoryDisk, Cuttable<MemoryDisk>) {
    let below = MemoryDisk::default();
    (below.clone(), Cuttable::new(below))
}

fn path(name: &str) -> std::path::PathBuf {
    Path::new(DIR).join(name)
}

fn read(disk: &impl Disk, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(&path(name)).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().expect("a length")).expect("small")];
    let count = file.read_at(&mut bytes, 0).expect("readable");
    assert_eq!(count, bytes.len());
    Some(bytes)
}

fn names(disk: &impl Disk) -> Vec<String> {
    let mut names = disk.list(Path::new(DIR)).expect("a folder");
    names.sort();
    names
}

/// Every image that cuts leave with many seeds, as told by `look`.
fn images<T: Ord>(
    play: impl Fn(&Cuttable<MemoryDisk>),
    look: impl Fn(&MemoryDisk) -> T,
) -> std::collections::BTreeSet<T> {
    (0..400)
        .map(|seed| {
            let (below, disk) = disk();
            play(&disk);
            disk.cut(&mut Dice::new(seed)).expect("a cut");
            look(&below)
        })
        .collect()
}

#[test]
fn unsynced_writes_are_read_back_and_reach_the_disk_below_at_their_sync() {
    let (below, disk) = disk();
    let file = disk.create(&path("a")).expect("created");
    file.write_at(b"hello world", 0).expect("written");
    file.set_len(5).expect("shortened");
    file.write_at(b"!", 7).expect("written");
    assert_eq!(read(&disk, "a").expect("there"), b"hello\0\0!");
    assert_eq!(read(&below, "a"), None);
    file.sync().expect("synced");
    disk.sync_dir(Path::new(DIR)).expect("synced");
    assert_eq!(read(&below, "a").expect("there"), b"hello\0\0!");
    assert_eq!(names(&below), ["a"]);
}

#[test]
fn a_cut_keeps_any_sectors_of_what_was_not_synced() {
    let found = images(
        |disk| {
            let file = disk.create(&path("a")).expect("created");
            file.reserve(0, 2048).expect("written");
            file.sync().expect("synced");
            disk.sync_dir(Path::new(DIR)).expect("synced");
            file.write_at(&[7; 1024], 512).expect("written");
        },
        |below| read(below, "a").expect("synced").chunks(512).map(|sector| sector[0]).collect::<Vec<_>>(),
    );
    let all = [[0, 0, 0, 0], [0, 7, 0, 0], [0, 0, 7, 0], [0, 7, 7, 0]];
    assert_eq!(found, all.map(Vec::from).into());
}

#[test]
fn a_cut_lets_names_survive_apart_from_content_and_from_each_other() {
    let found = images(
        |disk| {
            for name in ["a", "b"] {
                let file = disk.create(&path(name)).expect("created");
                file.write_at(b"x", 0).expect("written");
                file.sync().expect("synced");
            }
            disk.sync_dir(Path::new(DIR)).expect("synced");
            disk.rename(&path("a"), &path("b")).expect("renamed");
            let new = disk.create(&path("c")).expect("created");
            new.write_at(b"y", 0).expect("written");
        },
        |below| (names(below).concat(), read(below, "c").map(|bytes| bytes.len())),
    );
    let all =
        [("ab", None), ("abc", Some(0)), ("abc", Some(1)), ("b", None), ("bc", Some(0)), ("bc", Some(1))];
    assert_eq!(found, all.map(|(names, c)| (names.to_owned(), c)).into());
}

#[test]
fn a_renamed_file_replaces_and_a_removed_one_lives_on_while_it_is_open() {
    let (below, disk) = disk();
    for (name, text) in [("a", "1"), ("b", "2")] {
        let file = disk.create(&path(name)).expect("created");
        file.write_at(text.as_bytes(), 0).expect("written");
        file.sync().expect("synced");
    }
    disk.sync_dir(Path::new(DIR)).expect("synced");
    let old = disk.open(&path("b")).expect("there");
    disk.rename(&path("a"), &path("b")).expect("renamed");
    disk.create(&path("a")).expect("created");
    assert_eq!((read(&disk, "a"), read(&disk, "b")), (Some(vec![]), Some(b"1".to_vec())));
    disk.sync_dir(Path::new(DIR)).expect("synced");
    assert_eq!((read(&below, "a"), read(&below, "b")), (Some(vec![]), Some(b"1".to_vec())));
    let mut byte = [0];
    old.read_at(&mut byte, 0).expect("readable");
    assert_eq!(&byte, b"2");
    disk.cut(&mut Dice::new(0)).expect("a cut");
    assert_eq!(names(&below), ["a", "b"]);
}

#[test]
fn nothing_works_behind_a_cut() {
    let (_, disk) = disk();
    disk.cut_after(2);
    let file = disk.create(&path("a")).expect("first");
    file.write_at(b"x", 0).expect("second");
    assert!(file.sync().is_err());
    assert!(disk.is_cut() && disk.sync_dir(Path::new(DIR)).is_err());
}

#[test]
fn a_sync_that_lies_leaves_to_the_cut_what_is_kept() {
    let lied = |disk: &Cuttable<MemoryDisk>| {
        disk.lie(true);
        let file = disk.create(&path("a")).expect("created");
        file.write_at(b"x", 0).expect("written");
        file.sync().expect("a lie");
        disk.sync_dir(Path::new(DIR)).expect("a lie");
    };
    let (below, disk) = disk();
    lied(&disk);
    assert_eq!(read(&disk, "a").expect("there"), b"x");
    assert_eq!((read(&below, "a"), disk.unsynced_bytes()), (None, 1));
    let found = images(lied, |below| read(below, "a"));
    assert_eq!(found, [None, Some(vec![]), Some(b"x".to_vec())].into());
}

#[test]
fn a_process_that_is_killed_leaves_what_was_synced() {
    let (below, disk) = disk();
    let synced = disk.create(&path("a")).expect("created");
    synced.write_at(b"x", 0).expect("written");
    synced.sync().expect("synced");
    disk.sync_dir(Path::new(DIR)).expect("synced");
    synced.write_at(b"y", 0).expect("written");
    disk.create(&path("b")).expect("created");
    drop(disk);
    let next = Cuttable::new(below.clone());
    assert_eq!(names(&next), ["a"]);
    assert_eq!(read(&next, "a").expect("there"), b"x");
    assert_eq!(names(&below), ["a"]);
}

#[test]
fn the_system_disk_locks_lists_and_makes_folders() {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = RealDisk::default();
    let deep = dir.path().join("x/y");
    disk.create_dir(&deep).expect("created");
    let lock = disk.lock(&deep).expect("lockable").expect("free");
    assert!(disk.lock(&deep).expect("lockable").is_none());
    drop(lock);
    assert!(disk.lock(&deep).expect("lockable").is_some());
    let file = disk.create(&deep.join("a")).expect("created");
    file.reserve(3, 5).expect("written");
    file.write_at(b"abc", 0).expect("written");
    file.sync().expect("synced");
    disk.sync_dir(&deep).expect("synced");
    let mut bytes = [9; 8];
    assert_eq!(disk.open(&deep.join("a")).expect("there").read_at(&mut bytes, 1).expect("readable"), 4);
    assert_eq!(&bytes, b"bc\0\0\x09\x09\x09\x09");
    assert_eq!(disk.list(&deep).expect("a folder"), ["a"]);
}
