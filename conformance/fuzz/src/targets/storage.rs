//! Files of the log, snapshots, and the small files beside them.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use bytes::Bytes;
use spec::{Epoch, Machine, SessionId, Zxid};
use storage::{
    Batch, Config, Store,
    disk::{Disk, File, MemoryDisk},
};
use tree::{Acl, CreateKind, CreateTxn, Tree, Txn, TxnBody};
use wire::{
    Decoder,
    log::{ENTRY_OVERHEAD_BYTES, FILE_HEADER_BYTES},
    record::STREAM_FIELD_BYTES_MAX,
    snapshot::{self, Checksum, Piece, Reader, Trailer},
};

use crate::seeds::Seeds;

const DIR: &str = "/data/version-2";

fn config() -> Config {
    let config = Config::new(PathBuf::from("/data"));
    Config { segment_bytes: 4096, window: 5, trust_empty: true, ..config }
}

fn put(disk: &MemoryDisk, name: &str, bytes: &[u8]) {
    let file = disk.create(&Path::new(DIR).join(name)).expect("memory");
    file.write_at(bytes, 0).expect("memory");
}

/// Starts on these files, twice, and once more behind what the start does to them. Whether it starts at all.
fn starts(disk: &MemoryDisk) -> bool {
    let store = Store::open(disk.clone(), config()).expect("free");
    let mut recovery = match store.recover() {
        Ok(recovery) => recovery,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(store.recover().is_err(), "it starts at a second look");
            return false;
        }
    };
    let again = store.recover().expect("it starts at a second look");
    assert_eq!(again.recovered, recovery.recovered, "another end at a second look");
    assert_eq!(again.tree, recovery.tree, "another tree at a second look");
    let found = recovery.recovered.clone();
    let read = || format!("{:?}", store.transactions(Zxid::ZERO, Zxid(u64::MAX)));
    assert_eq!(read(), read(), "other records at a second look");
    let mut log = store.log(&mut recovery);
    log.sync_recovered().expect("memory");
    drop((log, store));
    let third = Store::open(disk.clone(), config()).expect("free").recover().expect("it starts again");
    assert_eq!(third.recovered, found, "another end at the next start");
    assert_eq!(third.tree, recovery.tree, "another tree at the next start");
    true
}

/// A file of the log; if the first byte is odd, with checksums that fit.
pub(super) fn log(bytes: &[u8]) {
    let Some((choice, file)) = bytes.split_first() else { return };
    let mut file = file.to_vec();
    if choice % 2 == 1 {
        seal_entries(&mut file);
    }
    let disk = MemoryDisk::default();
    put(&disk, "log.1", &file);
    starts(&disk);
}

/// Corrects the checksum of every entry whose length fits into the file.
fn seal_entries(file: &mut [u8]) {
    let mut at = FILE_HEADER_BYTES;
    while let Some(head) = file.get(at..at + 12) {
        let length = head[8..].iter().fold(0, |length: usize, byte| length << 8 | usize::from(*byte));
        let Some(body) = file.get(at + 12..at + 12 + length).filter(|body| !body.is_empty()) else { return };
        let sum = u64::from(simd_adler32::adler32(&body));
        file[at..at + 8].copy_from_slice(&sum.to_be_bytes());
        at += length + ENTRY_OVERHEAD_BYTES;
    }
}

/// A snapshot; the first byte says how it is packed, and whether a plain one gets checksums that fit.
pub(super) fn snapshot(bytes: &[u8]) {
    let Some((choice, file)) = bytes.split_first() else { return };
    let disk = MemoryDisk::default();
    match choice % 4 {
        0 => put(&disk, "snapshot.5", file),
        1 => put(&disk, "snapshot.5", &sealed(file)),
        2 => put(&disk, "snapshot.5.gz", file),
        _ => put(&disk, "snapshot.5.snappy", file),
    }
    if starts(&disk) {
        let store = Store::open(disk, config()).expect("free");
        let mut recovery = store.recover().expect("it starts");
        store.snapshots().save(&mut recovery.tree).expect("memory");
        assert_eq!(
            store.recover().expect("it starts").tree,
            recovery.tree,
            "another tree from a snapshot of it"
        );
    }
}

/// With the trailer that fits the state, if the state reads.
fn sealed(file: &[u8]) -> Vec<u8> {
    let bytes = Bytes::copy_from_slice(file);
    let mut input = Decoder::shared(&bytes, STREAM_FIELD_BYTES_MAX);
    let mut reader = Reader::new();
    if snapshot::file_header(&mut input).is_err() {
        return file.to_vec();
    }
    loop {
        match reader.next(&mut input) {
            Ok(Some(Piece::End)) => break,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return file.to_vec(),
        }
    }
    let mut sealed = file[..file.len() - input.rest().len()].to_vec();
    let mut checksum = Checksum::new();
    checksum.update(&sealed);
    Trailer { digest: None, last_processed: None }.encode(checksum, &mut sealed);
    sealed
}

/// A disk with a log and a snapshot in it.
fn recorded() -> &'static MemoryDisk {
    static RECORDED: OnceLock<MemoryDisk> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let disk = MemoryDisk::default();
        let store = Store::open(disk.clone(), config()).expect("free");
        let mut recovery = store.recover().expect("new");
        let mut log = store.log(&mut recovery);
        log.sync_recovered().expect("memory");
        store.save_accepted(Epoch(1)).expect("memory");
        store.save_current(Epoch(1)).expect("memory");
        let mut tree = recovery.tree;
        for counter in 1..=12 {
            let zxid = Zxid::new(Epoch(1), counter);
            let txn = creation(zxid);
            tree.apply(zxid, &txn, &mut <Tree as Machine>::Watches::default(), &mut |_, _| {});
            let mut batch = Batch::new();
            batch.push(zxid, &txn);
            log.append_batch(&batch).expect("memory");
            log.sync().expect("memory");
        }
        store.snapshots().save(&mut tree).expect("memory");
        drop((log, store));
        disk
    })
}

fn creation(zxid: Zxid) -> Txn {
    let body = TxnBody::Create(CreateTxn {
        kind: CreateKind::Create { ephemeral: false },
        path: format!("/n{:x}", zxid.0).into(),
        data: Some(Bytes::from_static(&[7; 400])),
        acl: vec![Acl::world(31)],
        parent_cversion: i32::try_from(zxid.counter()).expect("small"),
    });
    Txn { session: SessionId(7), cxid: 1, time: 1000, body, digest: None }
}

/// The files beside the log, with a zero byte between them: the epoch promised, the epoch joined, and the mark. A byte
/// 1 alone stands for no file.
pub(super) fn epochs(bytes: &[u8]) {
    let disk = recorded().copy();
    let names = ["acceptedEpoch", "currentEpoch", "synced.mark"];
    for (name, content) in names.into_iter().zip(bytes.split(|byte| *byte == 0)) {
        if content == [1] {
            // It need not be there.
            let _ = disk.remove(&Path::new(DIR).join(name));
        } else {
            put(&disk, name, content);
        }
    }
    starts(&disk);
}

/// The small files of the disk with a log, and others, as [`epochs`] reads them.
#[expect(clippy::unnecessary_wraps, reason = "the seeds of other targets are read from files")]
pub(super) fn recorded_epochs() -> Seeds {
    let names = ["acceptedEpoch", "currentEpoch", "synced.mark"];
    let content =
        |name| recorded().open(&Path::new(DIR).join(name)).map_or(vec![1], |file| content_of(&file));
    Ok(vec![names.map(content).join(&0), b"1\x001\x00\x01".to_vec(), b"2\n\x001\n\x00\x01".to_vec()])
}

fn content_of(file: &impl File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.len().expect("memory")).expect("small")];
    file.read_at(&mut bytes, 0).expect("memory");
    bytes
}
