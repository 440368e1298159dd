//! Where files are and what they are called: ZooKeeper's names, and a few of our own that it passes over.

use std::path::{Path, PathBuf};

use spec::Zxid;

use crate::{
    Error,
    disk::Disk,
    error::Context,
    text::{ACCEPTED, CURRENT, if_there},
};

/// The folder inside dataDir and dataLogDir that holds everything but `myid` and `initialize`.
const VERSION: &str = "version-2";
/// The next file of the log, before its first batch is durable, if it was not filled ahead.
pub(crate) const NEXT_LOG: &str = "next.log";
/// The same, if it was.
pub(crate) const SPARE_LOG: &str = "spare.log";
/// A snapshot that is being written.
pub(crate) const NEXT_SNAPSHOT: &str = "next.snapshot";
/// The last place in the log that is known to be synced.
pub(crate) const MARK: &str = "synced.mark";

/// How the names of files end that ZooKeeper was writing when it ended.
const UNFINISHED_END: &str = ".tmp";

/// How the names of packed snapshots end.
pub(crate) const GZIP_END: &str = ".gz";
pub(crate) const SNAPPY_END: &str = ".snappy";

/// The folders of one server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Layout {
    /// The folder of `myid` and `initialize`.
    pub data: PathBuf,
    /// The folder of snapshots and epoch files.
    pub snapshots: PathBuf,
    /// The folder of the log.
    pub logs: PathBuf,
}

impl Layout {
    /// The folders for these settings `dataDir` and `dataLogDir`.
    pub fn new(data_dir: &Path, data_log_dir: Option<&Path>) -> Self {
        Self {
            data: data_dir.into(),
            snapshots: data_dir.join(VERSION),
            logs: data_log_dir.unwrap_or(data_dir).join(VERSION),
        }
    }

    /// With a folder for the log: that nothing of it was left beside the snapshots, and no snapshot beside the log. Who
    /// moved one setting and not the files would start without what they hold, as if it never was.
    ///
    /// Source: ZooKeeper `FileTxnSnapLog`, which refuses too.
    pub(crate) fn judge(&self, disk: &impl Disk) -> Result<(), Error> {
        if self.snapshots == self.logs {
            return Ok(());
        }
        let is_log = |name: &str| zxid_of(name, "log").is_some();
        let is_snapshot = |name: &str| {
            ["snapshot", "received"].iter().any(|kind| SnapshotName::parse(name, kind).is_some())
        };
        misplaced(disk, &self.snapshots, is_log, &self.logs)?;
        misplaced(disk, &self.logs, is_snapshot, &self.snapshots)
    }

    /// That the log has its folder if this server has worked here: one that has joined epochs has had it, and a file system
    /// that is not mounted would leave it without all that it has logged.
    pub(crate) fn judge_folders(&self, disk: &impl Disk) -> Result<(), Error> {
        let of = |folder: &Path| if_there(disk.list(folder)).context("list", folder);
        if self.snapshots == self.logs || of(&self.logs)?.is_some() {
            return Ok(());
        }
        let names = of(&self.snapshots)?.unwrap_or_default();
        // What stands in the wrong folder is told of as that.
        if names.iter().any(|name| zxid_of(name, "log").is_some()) {
            return Ok(());
        }
        match names.into_iter().find(|name| *name == ACCEPTED || *name == CURRENT) {
            Some(name) => Err(Error::NoLogs { path: self.logs.clone(), epochs: self.snapshots.join(name) }),
            None => Ok(()),
        }
    }

    /// With nothing to start from: that no file is there which may be meant for it, under a name that is passed over. Who
    /// restores a copy under another name than it was written under would start an empty server.
    pub(crate) fn judge_names(&self, disk: &impl Disk) -> Result<(), Error> {
        for folder in [&self.snapshots, &self.logs] {
            let names = disk.list(folder).context("list", folder)?;
            let is_meant = |name: &String| {
                let is_kind = name.starts_with("snapshot.") || name.starts_with("log.");
                is_kind && !name.ends_with(UNFINISHED_END)
            };
            if let Some(found) = names.into_iter().find(is_meant) {
                return Err(Error::Misnamed { path: folder.clone(), found });
            }
        }
        Ok(())
    }

    /// The file of the log that starts with this transaction.
    pub(crate) fn log(&self, first: Zxid) -> PathBuf {
        self.logs.join(format!("log.{:x}", first.0))
    }

    /// The file of the snapshot with this label that is packed so.
    pub fn snapshot(&self, label: Zxid, packing: Packing) -> PathBuf {
        self.snapshots.join(format!("snapshot.{:x}{}", label.0, packing.end()))
    }

    /// The file of a state that was received and is whole, but has not taken the place of the old one yet.
    pub(crate) fn received(&self, name: SnapshotName) -> PathBuf {
        self.snapshots.join(format!("received.{:x}{}", name.label.0, name.packing.end()))
    }

    /// The state that was received and has not taken the place of the old one yet.
    pub(crate) fn find_received(&self, disk: &impl Disk) -> Result<Option<SnapshotName>, Error> {
        let names = disk.list(&self.snapshots).context("list", &self.snapshots)?;
        Ok(names.iter().filter_map(|name| SnapshotName::parse(name, "received")).max())
    }

    /// The first transactions of the files of the log, in order.
    pub(crate) fn list_logs(&self, disk: &impl Disk) -> Result<Vec<Zxid>, Error> {
        let names = disk.list(&self.logs).context("list", &self.logs)?;
        let mut found: Vec<Zxid> = names.iter().filter_map(|name| zxid_of(name, "log")).collect();
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// The snapshots, newest first; of two with the same label the plain one first.
    pub(crate) fn list_snapshots(&self, disk: &impl Disk) -> Result<Vec<SnapshotName>, Error> {
        let names = disk.list(&self.snapshots).context("list", &self.snapshots)?;
        let mut found: Vec<SnapshotName> =
            names.iter().filter_map(|name| SnapshotName::parse(name, "snapshot")).collect();
        found.sort_unstable_by_key(|name| (std::cmp::Reverse(name.label), name.packing));
        Ok(found)
    }
}

fn misplaced(
    disk: &impl Disk,
    folder: &Path,
    is_misplaced: impl Fn(&str) -> bool,
    belongs: &Path,
) -> Result<(), Error> {
    let names = disk.list(folder).context("list", folder)?;
    match names.into_iter().find(|name| is_misplaced(name)) {
        Some(found) => Err(Error::Misplaced { path: folder.into(), found, belongs: belongs.into() }),
        None => Ok(()),
    }
}

/// How a snapshot is packed (`zookeeper.snapshot.compression.method`). The end of a file's name says it, so that each is
/// read as it was written.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Packing {
    /// Not at all.
    #[default]
    Plain,
    /// As gzip: `.gz`.
    Gzip,
    /// In snappy-java's stream format: `.snappy`.
    Snappy,
}

impl Packing {
    /// How the names of files end that are packed so.
    fn end(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => GZIP_END,
            Self::Snappy => SNAPPY_END,
        }
    }
}

/// What the name of a snapshot says.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct SnapshotName {
    pub(crate) label: Zxid,
    pub(crate) packing: Packing,
}

impl SnapshotName {
    fn parse(name: &str, kind: &str) -> Option<Self> {
        let packed = |end, packing| Some((name.strip_suffix(end)?, packing));
        let (plain, packing) = packed(GZIP_END, Packing::Gzip)
            .or_else(|| packed(SNAPPY_END, Packing::Snappy))
            .unwrap_or((name, Packing::Plain));
        Some(Self { label: zxid_of(plain, kind)?, packing })
    }
}

/// The number behind the dot, if the name is `kind`, a dot, and the number as we would write it.
fn zxid_of(name: &str, kind: &str) -> Option<Zxid> {
    let digits = name.strip_prefix(kind)?.strip_prefix('.')?;
    let zxid = Zxid(u64::from_str_radix(digits, 16).ok()?);
    (format!("{:x}", zxid.0) == digits).then_some(zxid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_found_under_the_name_that_it_has() {
        let layout = Layout::new(Path::new("/d"), None);
        for name in ["snapshot.1f", "snapshot.0.gz", "snapshot.100000002.snappy"] {
            let parsed = SnapshotName::parse(name, "snapshot").expect("a snapshot");
            assert_eq!(layout.snapshot(parsed.label, parsed.packing), layout.snapshots.join(name));
            assert_eq!(SnapshotName::parse(name, "received"), None, "{name}");
            let received = name.replace("snapshot", "received");
            assert_eq!(SnapshotName::parse(&received, "received"), Some(parsed));
            assert_eq!(layout.received(parsed), layout.snapshots.join(received));
        }
        for name in ["snapshot.gz", "snapshot.1.zip", "snapshot.1.gz.gz", "log.1.gz", "snapshot.01.gz"] {
            assert_eq!(SnapshotName::parse(name, "snapshot"), None, "{name}");
        }
    }

    #[test]
    fn names_are_taken_only_as_they_are_written() {
        for (name, kind, zxid) in [
            ("log.1", "log", Some(1)),
            ("log.10000000a", "log", Some(0x1_0000_000a)),
            ("snapshot.0", "snapshot", Some(0)),
            ("snapshot.0", "log", None),
            ("log.", "log", None),
            ("log.01", "log", None),
            ("log.A", "log", None),
            ("log.+1", "log", None),
            ("log.1.tmp", "log", None),
            ("next.log", "log", None),
            ("log.11111111111111111", "log", None),
        ] {
            assert_eq!(zxid_of(name, kind), zxid.map(Zxid), "{name}");
        }
    }
}
