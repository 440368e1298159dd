//! The small files: epochs and `initialize`.

use std::path::Path;

use spec::Epoch;

use crate::{
    Error,
    disk::{Disk, File},
    error::Context,
    layout::Layout,
};

/// More than any of these files holds, in bytes.
const BYTES_MAX: usize = 256;
pub(crate) const ACCEPTED: &str = "acceptedEpoch";
pub(crate) const CURRENT: &str = "currentEpoch";
const INITIALIZE: &str = "initialize";

/// The epoch files of one server.
#[derive(Clone, Debug)]
pub struct Epochs<D: Disk> {
    pub(crate) disk: D,
    pub(crate) layout: Layout,
}

impl<D: Disk> Epochs<D> {
    /// The last epoch promised, if there is a file.
    ///
    /// # Errors
    /// [`Error::Text`] if it does not hold a number, [`Error::Io`].
    pub fn accepted(&self) -> Result<Option<Epoch>, Error> {
        self.load(ACCEPTED)
    }

    /// The last epoch joined, if there is a file.
    ///
    /// # Errors
    /// As [`Self::accepted`].
    pub fn current(&self) -> Result<Option<Epoch>, Error> {
        self.load(CURRENT)
    }

    /// Stores the epoch promised; it is durable when this returns.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::OutOfSpace`], [`Error::Sync`]; the old or the new epoch is stored then.
    pub fn save_accepted(&self, epoch: Epoch) -> Result<(), Error> {
        self.save(ACCEPTED, epoch)
    }

    /// Stores the epoch joined; it is durable when this returns.
    ///
    /// # Errors
    /// As [`Self::save_accepted`].
    pub fn save_current(&self, epoch: Epoch) -> Result<(), Error> {
        self.save(CURRENT, epoch)
    }

    fn load(&self, name: &str) -> Result<Option<Epoch>, Error> {
        let path = self.layout.snapshots.join(name);
        let Some(text) = read_text(&self.disk, &path)? else { return Ok(None) };
        match text.trim().parse() {
            Ok(number) => Ok(Some(Epoch(number))),
            Err(_) => Err(Error::Text { path, found: text, wanted: "an epoch from 0 to 4294967295" }),
        }
    }

    fn save(&self, name: &str, epoch: Epoch) -> Result<(), Error> {
        let dir = &self.layout.snapshots;
        // Not ZooKeeper's `.tmp`, whose presence means something to it.
        let (path, next) = (dir.join(name), dir.join(format!("next.{name}")));
        let file = self.disk.create(&next).context("create", &next)?;
        file.write_at(epoch.to_string().as_bytes(), 0).context("write", &next)?;
        file.sync().synced(&next)?;
        self.disk.rename(&next, &path).context("rename to", &path)?;
        self.disk.sync_dir(dir).synced(dir)
    }

    /// Makes durable what was read (rule D-9).
    pub(crate) fn sync(&self) -> Result<(), Error> {
        for name in [ACCEPTED, CURRENT] {
            let path = self.layout.snapshots.join(name);
            if let Some(file) = if_there(self.disk.open_write(&path)).context("open", &path)? {
                file.sync().synced(&path)?;
            }
        }
        Ok(())
    }
}

/// Whether the operator has said with a file that this server is new.
pub(crate) fn is_initialize<D: Disk>(disk: &D, data_dir: &Path) -> Result<bool, Error> {
    let path = data_dir.join(INITIALIZE);
    Ok(if_there(disk.open(&path)).context("open", &path)?.is_some())
}

/// Takes that file away: it counts once.
pub(crate) fn remove_initialize<D: Disk>(disk: &D, data_dir: &Path) -> Result<(), Error> {
    let path = data_dir.join(INITIALIZE);
    if if_there(disk.remove(&path)).context("remove", &path)?.is_some() {
        disk.sync_dir(data_dir).synced(data_dir)?;
    }
    Ok(())
}

pub(crate) fn if_there<T>(result: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The beginning of a small file, as text.
pub(crate) fn read_text<D: Disk>(disk: &D, path: &Path) -> Result<Option<String>, Error> {
    let Some(file) = if_there(disk.open(path)).context("open", path)? else { return Ok(None) };
    let mut bytes = [0; BYTES_MAX];
    let count = file.read_at(&mut bytes, 0).context("read", path)?;
    Ok(Some(String::from_utf8_lossy(&bytes[..count]).into_owned()))
}
