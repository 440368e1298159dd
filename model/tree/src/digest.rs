//! The digest of a tree: a number that tells trees apart (rule T-17).
//!
//! It is the sum of a check number per node, so that a change moves it by one node's difference.
//!
//! Source: ZooKeeper `DigestCalculator`, version 2.

use crc32fast::Hasher;

use crate::StatPersisted;

/// The number of the formula.
pub const VERSION: i32 = 2;

/// One node's part: CRC-32 over path, data and stat. What stands below the system's node does not count, for servers
/// change it by themselves.
pub(crate) fn of_node(path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> u32 {
    if path.starts_with("/zookeeper/") {
        return 0;
    }
    let mut stat_bytes = [0; 60];
    let longs = [stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime];
    let ints = [stat.version, stat.cversion, stat.aversion];
    for (at, long) in longs.iter().enumerate() {
        stat_bytes[at * 8..][..8].copy_from_slice(&long.to_be_bytes());
    }
    for (at, int) in ints.iter().enumerate() {
        stat_bytes[40 + at * 4..][..4].copy_from_slice(&int.to_be_bytes());
    }
    stat_bytes[52..].copy_from_slice(&stat.ephemeral_owner.to_be_bytes());
    let mut hasher = Hasher::new();
    hasher.update(path.as_bytes());
    hasher.update(data.unwrap_or_default());
    hasher.update(&stat_bytes);
    hasher.finalize()
}
