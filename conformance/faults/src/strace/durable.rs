//! What of one server is durable, and since when.
//!
//! A file's content is durable when a sync that began behind the write has ended, and found again only when the
//! folder was synced behind the file's last naming, with the name that recovery looks for.

use std::{collections::BTreeMap, path::Path};

use super::trace::{Act, Call};

/// What a write brings, as far as claims are made of it.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Content {
    /// A transaction in a log.
    Txn(i64),
    /// An epoch in an epoch file.
    Epoch(i64),
    /// A piece of a snapshot; the name says of what.
    Piece,
}

#[derive(Debug, Default)]
struct File {
    unsynced: Vec<(u64, Content)>,
    synced: Vec<Content>,
    /// When it got its name, unless that is durable.
    naming: Option<u64>,
}

/// The disk of one server.
#[derive(Debug, Default)]
pub(super) struct Disk {
    files: BTreeMap<String, File>,
    txns: BTreeMap<i64, u64>,
    /// Snapshots by the last transaction in them.
    snapshots: BTreeMap<i64, u64>,
    accepted: BTreeMap<i64, u64>,
    current: BTreeMap<i64, u64>,
}

impl Disk {
    /// Follows a call. Calls come in the order of their ends.
    pub(super) fn follow(&mut self, call: &Call) {
        match &call.act {
            Act::Create(path) => {
                let fresh = File { naming: Some(call.end), ..File::default() };
                self.files.entry(path.clone()).or_insert(fresh);
            }
            Act::Write { path, bytes } => {
                let contents = contents(path, bytes);
                let file = self.files.entry(path.clone()).or_default();
                file.unsynced.extend(contents.into_iter().map(|content| (call.end, content)));
            }
            Act::Rename(from, to) => {
                let mut file = self.files.remove(from).unwrap_or_default();
                file.naming = Some(call.end);
                self.files.insert(to.clone(), file);
            }
            Act::Sync(path) => self.sync(path, call.begin, call.end),
            Act::Send { .. } => {}
        }
    }

    fn sync(&mut self, path: &str, begin: u64, end: u64) {
        if let Some(file) = self.files.get_mut(path) {
            let (covered, rest) =
                std::mem::take(&mut file.unsynced).into_iter().partition(|(at, _)| *at <= begin);
            file.unsynced = rest;
            file.synced.extend(Vec::into_iter(covered).map(|(_, content)| content));
            self.settle(path, end);
            return;
        }
        let inside = |name: &str| Path::new(name).parent() == Some(Path::new(path));
        let names: Vec<String> = self.files.keys().filter(|name| inside(name)).cloned().collect();
        for name in names {
            if let Some(file) = self.files.get_mut(&name)
                && file.naming.is_some_and(|named| named <= begin)
            {
                file.naming = None;
                self.settle(&name, end);
            }
        }
    }

    /// Enters what is synced in a file whose name is durable and is one that recovery looks for.
    fn settle(&mut self, path: &str, time: u64) {
        let Some(file) = self.files.get_mut(path) else { return };
        if file.naming.is_some() {
            return;
        }
        let name = file_name(path);
        if let Some(label) = name.strip_prefix("snapshot.").and_then(|hex| i64::from_str_radix(hex, 16).ok())
        {
            if !file.synced.is_empty() {
                self.snapshots.entry(label).or_insert(time);
            }
            return;
        }
        let ledger = match name {
            "acceptedEpoch" => &mut self.accepted,
            "currentEpoch" => &mut self.current,
            name if name.starts_with("log.") => &mut self.txns,
            _ => return,
        };
        for content in file.synced.drain(..) {
            if let Content::Txn(number) | Content::Epoch(number) = content {
                ledger.entry(number).or_insert(time);
            }
        }
    }

    /// Since when a transaction is durable here, in the log or in a snapshot.
    pub(super) fn txn(&self, zxid: i64) -> Option<u64> {
        let in_log = self.txns.get(&zxid).copied();
        let in_snapshots = self.snapshots.range(zxid..).map(|(_, time)| *time);
        in_log.into_iter().chain(in_snapshots).min()
    }

    /// Since when this epoch, or a later one, is promised here.
    pub(super) fn accepted(&self, epoch: i64) -> Option<u64> {
        self.accepted.range(epoch..).map(|(_, time)| *time).min()
    }

    /// Since when this epoch, or a later one, is joined here.
    pub(super) fn current(&self, epoch: i64) -> Option<u64> {
        self.current.range(epoch..).map(|(_, time)| *time).min()
    }

    /// How many transactions became durable.
    pub(super) fn txn_count(&self) -> usize {
        self.txns.len()
    }
}

fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn contents(path: &str, bytes: &[u8]) -> Vec<Content> {
    let name = file_name(path);
    if name.contains("Epoch") {
        let text = String::from_utf8_lossy(bytes);
        return text.trim().parse().map(Content::Epoch).into_iter().collect();
    }
    if name.contains("snapshot") {
        return vec![Content::Piece];
    }
    if name.contains("log") { records(bytes).into_iter().map(Content::Txn).collect() } else { Vec::new() }
}

/// The zxids of the records in one write to a log: checksum (8 bytes), length (4), body, `B`; the body begins with
/// the client (8), its request (4) and the zxid (8).
fn records(bytes: &[u8]) -> Vec<i64> {
    let mut rest = bytes.strip_prefix(b"ZKLG").and_then(|rest| rest.get(12..)).unwrap_or(bytes);
    let mut zxids = Vec::new();
    while let Some(length) = rest.get(8..12).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes)
    {
        let Ok(length) = usize::try_from(length) else { break };
        let (Some(zxid), Some(b'B')) = (rest.get(24..32), rest.get(12 + length)) else { break };
        if length < 20 {
            break;
        }
        zxids.extend(zxid.try_into().map(i64::from_be_bytes));
        rest = &rest[13 + length..];
    }
    zxids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(zxid: i64) -> Vec<u8> {
        let body = [&[0; 12][..], &zxid.to_be_bytes(), &[0; 12]].concat();
        [&[0; 8][..], &32_u32.to_be_bytes(), &body, b"B"].concat()
    }

    fn after(acts: &[(u64, u64, Act)]) -> Disk {
        let mut disk = Disk::default();
        for (begin, end, act) in acts {
            disk.follow(&Call { begin: *begin, end: *end, act: act.clone() });
        }
        disk
    }

    fn write(path: &str, bytes: Vec<u8>) -> Act {
        Act::Write { path: path.to_owned(), bytes }
    }

    #[test]
    fn a_record_is_durable_at_the_end_of_the_sync_behind_it() {
        let two = [record(7), record(8), vec![0; 100]].concat();
        let disk = after(&[(1, 2, write("/d/log.1", two)), (3, 9, Act::Sync("/d/log.1".to_owned()))]);
        assert_eq!((disk.txn(7), disk.txn(8), disk.txn(9)), (Some(9), Some(9), None));
        let header = [b"ZKLG".to_vec(), vec![0; 12], record(5)].concat();
        assert_eq!(records(&header), [5]);
    }

    #[test]
    fn a_sync_that_began_before_the_write_ended_covers_nothing() {
        let disk = after(&[(1, 4, write("/d/log.1", record(7))), (3, 9, Act::Sync("/d/log.1".to_owned()))]);
        assert_eq!(disk.txn(7), None);
    }

    #[test]
    fn a_new_name_must_be_durable_too() {
        let mut acts = vec![
            (1, 1, Act::Create("/d/next".to_owned())),
            (2, 2, write("/d/next.log", record(7))),
            (3, 4, Act::Sync("/d/next.log".to_owned())),
            (5, 6, Act::Rename("/d/next.log".to_owned(), "/d/log.1".to_owned())),
        ];
        assert_eq!(after(&acts).txn(7), None);
        acts.push((6, 8, Act::Sync("/d".to_owned())));
        assert_eq!(after(&acts).txn(7), Some(8));
    }

    #[test]
    fn a_received_state_is_durable_with_its_snapshots_name() {
        let mut acts = vec![
            (1, 1, Act::Create("/d/next.snapshot".to_owned())),
            (2, 2, write("/d/next.snapshot", vec![1, 2])),
            (3, 4, Act::Sync("/d/next.snapshot".to_owned())),
            (5, 6, Act::Rename("/d/next.snapshot".to_owned(), "/d/snapshot.a".to_owned())),
        ];
        assert_eq!(after(&acts).txn(10), None);
        acts.push((6, 8, Act::Sync("/d".to_owned())));
        assert_eq!((after(&acts).txn(10), after(&acts).txn(11)), (Some(8), None));
    }

    #[test]
    fn an_epoch_is_promised_when_its_file_is_renamed_and_the_folder_synced() {
        let mut acts = vec![
            (1, 1, Act::Create("/d/acceptedEpoch.tmp".to_owned())),
            (2, 2, write("/d/acceptedEpoch.tmp", b"4\n".to_vec())),
            (3, 4, Act::Sync("/d/acceptedEpoch.tmp".to_owned())),
            (5, 6, Act::Rename("/d/acceptedEpoch.tmp".to_owned(), "/d/acceptedEpoch".to_owned())),
        ];
        assert_eq!(after(&acts).accepted(4), None);
        acts.push((6, 8, Act::Sync("/d".to_owned())));
        let disk = after(&acts);
        assert_eq!(
            (disk.accepted(4), disk.accepted(3), disk.accepted(5), disk.current(4)),
            (Some(8), Some(8), None, None)
        );
    }
}
