//! Purging: old snapshots, and the files of the log that no kept one needs (rule D-14).

use spec::Zxid;

use crate::{Error, disk::Disk, error::Context, store::Store, text::if_there};

/// What purging took away.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Purged {
    /// Snapshots.
    pub snapshots: usize,
    /// Files of the log.
    pub logs: usize,
}

impl<D: Disk> Store<D> {
    /// Keeps the newest `keep` snapshots, one at least, and takes away what is older: snapshots, whole or not, and
    /// files of the log that hold nothing behind the oldest snapshot kept and nothing that is being read.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Sync`].
    pub fn purge(&self, keep: usize) -> Result<Purged, Error> {
        let (disk, layout) = (self.disk(), self.layout());
        let _removals = self.removals();
        let mut purged = Purged::default();
        let Some(oldest) = self.snapshots().whole(keep.max(1))? else { return Ok(purged) };
        // Before anything goes: what is left of the log may begin with another epoch, which a learner of the one before
        // must not be led to.
        self.purges_before(oldest);
        for name in layout.list_snapshots(disk)? {
            if name.label < oldest {
                let path = layout.snapshot(name.label, name.packing);
                self.forget_whole(name);
                // A cut of the log may be removing snapshots too.
                purged.snapshots +=
                    usize::from(if_there(disk.remove(&path)).context("remove", &path)?.is_some());
            }
        }
        disk.sync_dir(&layout.snapshots).synced(&layout.snapshots)?;
        // Who comes to read meanwhile waits, and finds no file that goes.
        let readers = self.readers();
        let needed = readers.behind().map_or(oldest, |after| after.min(oldest));
        for first in old(&layout.list_logs(disk)?, needed) {
            let path = layout.log(*first);
            disk.remove(&path).context("remove", &path)?;
            purged.logs += 1;
        }
        drop(readers);
        disk.sync_dir(&layout.logs).synced(&layout.logs)?;
        Ok(purged)
    }
}

/// The files in front of the last one that begins at or before `needed`, never the last of all.
fn old(files: &[Zxid], needed: Zxid) -> &[Zxid] {
    let kept = files.partition_point(|first| *first <= needed).saturating_sub(1);
    files.get(..kept).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_when_a_later_one_begins_at_or_before_what_is_needed() {
        let files = [1, 5, 9].map(Zxid);
        for (needed, gone) in [(0, 0), (1, 0), (4, 0), (5, 1), (8, 1), (9, 2), (99, 2)] {
            assert_eq!(old(&files, Zxid(needed)).len(), gone, "needed behind {needed}");
        }
        assert!(old(&[], Zxid(3)).is_empty());
    }
}
