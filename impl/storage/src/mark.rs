//! The mark: the last place in the log that is known to be synced, in a small file beside the log (rule D-10).

use std::path::PathBuf;

use protocol::recovery::Mark;
use spec::{Epoch, Zxid};

use crate::{
    Error,
    disk::{Disk, File},
    error::Context,
    layout::{Layout, MARK},
    text::{if_there, read_text},
};

/// The length of the file in bytes, below that of a sector: it is written as a whole or not at all.
const BYTES: usize = 128;

/// The mark of a log without a file.
pub(crate) const NOWHERE: Mark = Mark { segment: Zxid::ZERO, offset: 0 };

/// Writes the mark.
#[derive(Debug)]
pub(crate) struct MarkFile<D: Disk> {
    disk: D,
    layout: Layout,
    file: Option<D::File>,
}

impl<D: Disk> MarkFile<D> {
    pub(crate) fn new(disk: D, layout: Layout) -> Self {
        Self { disk, layout, file: None }
    }

    /// Writes it, at leisure.
    pub(crate) fn write(&mut self, mark: Mark, accepted: Epoch) -> Result<(), Error> {
        let path = path(&self.layout);
        let file = match self.file.take() {
            Some(file) => file,
            None => match if_there(self.disk.open_write(&path)).context("open", &path)? {
                Some(file) => file,
                None => self.disk.create(&path).context("create", &path)?,
            },
        };
        file.write_at(&encode(mark, accepted), 0).context("write", &path)?;
        self.file = Some(file);
        Ok(())
    }

    /// Makes it durable.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        if let Some(file) = &self.file {
            file.sync().synced(&path(&self.layout))?;
            self.disk.sync_dir(&self.layout.logs).synced(&self.layout.logs)?;
        }
        Ok(())
    }
}

/// The mark, if there is one that can be believed: another server program may have cut the log since, and has promised
/// a later epoch before, unless what it cut was open all the time (rule D-10).
pub(crate) fn read<D: Disk>(
    disk: &D,
    layout: &Layout,
    accepted: Option<Epoch>,
) -> Result<Option<Mark>, Error> {
    let Some(text) = read_text(disk, &path(layout))? else { return Ok(None) };
    Ok(decode(&text).filter(|(_, epoch)| *epoch == accepted.unwrap_or_default()).map(|(mark, _)| mark))
}

fn path(layout: &Layout) -> PathBuf {
    layout.logs.join(MARK)
}

fn encode(mark: Mark, accepted: Epoch) -> Vec<u8> {
    let fields = format!("synced {:x} {} {}", mark.segment.0, mark.offset, accepted);
    let mut line = format!("{fields} {:08x} ", simd_adler32::adler32(&fields.as_bytes())).into_bytes();
    line.resize(BYTES - 1, b' ');
    line.push(b'\n');
    line
}

fn decode(text: &str) -> Option<(Mark, Epoch)> {
    let (fields, checksum) = text.trim_end().rsplit_once(' ')?;
    if u32::from_str_radix(checksum, 16).ok()? != simd_adler32::adler32(&fields.as_bytes()) {
        return None;
    }
    let mut fields = fields.strip_prefix("synced ")?.split(' ');
    let segment = Zxid(u64::from_str_radix(fields.next()?, 16).ok()?);
    let offset = fields.next()?.parse().ok()?;
    let epoch = Epoch(fields.next()?.parse().ok()?);
    fields.next().is_none().then_some((Mark { segment, offset }, epoch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_a_changed_one_is_none() {
        let mark = Mark { segment: Zxid(0xffff_ffff_ffff_ffff), offset: u64::MAX };
        let bytes = encode(mark, Epoch(u32::MAX));
        assert_eq!(bytes.len(), BYTES);
        let text = String::from_utf8(bytes).expect("text");
        assert_eq!(decode(&text), Some((mark, Epoch(u32::MAX))));
        for at in 0..text.trim_end().len() {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            assert_eq!(decode(&String::from_utf8_lossy(&changed)), None, "byte {at}");
        }
    }
}
