//! ZooKeeper's client encoding, as far as the load needs it: written apart from the crate under test, and straight into
//! the buffer that is sent.

use anyhow::{Context, Result, ensure};

/// Makes a node.
pub const CREATE: i32 = 1;
/// Removes a node.
pub const DELETE: i32 = 2;
/// Reads a node.
pub const GET_DATA: i32 = 4;
/// Replaces what a node holds.
pub const SET_DATA: i32 = 5;
/// Lists names.
pub const GET_CHILDREN: i32 = 8;
/// Brings a server up to date.
pub const SYNC: i32 = 9;
/// Several at once.
pub const MULTI: i32 = 14;
/// Ends a session.
pub const CLOSE: i32 = -11;

/// How long a Stat is, in bytes.
pub const STAT_BYTES: usize = 68;
/// How long the head of a reply is, in bytes: xid, zxid, error.
pub const HEAD_BYTES: usize = 16;
/// The xid of an event.
pub const EVENT_XID: i32 = -1;

/// Everyone may do everything.
const PERM_ALL: i32 = 31;
/// The session timeout that is asked for, in milliseconds.
const TIMEOUT_MS: i32 = 40_000;

/// Appends a 4-byte number.
pub fn int(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends bytes behind their length.
pub fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    int(out, i32::try_from(value.len()).unwrap_or(i32::MAX));
    out.extend_from_slice(value);
}

/// Appends what `fill` writes, behind its length.
pub fn frame(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    int(out, 0);
    fill(out);
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends the request for a new session.
pub fn connect(out: &mut Vec<u8>) {
    frame(out, |out| {
        int(out, 0);
        out.extend_from_slice(&[0; 8]);
        int(out, TIMEOUT_MS);
        out.extend_from_slice(&[0; 8]);
        bytes(out, &[0; 16]);
        out.push(0);
    });
}

/// Appends a request whose body is a path and a flag: get, list.
pub fn look(out: &mut Vec<u8>, xid: i32, code: i32, path: &[u8], watch: bool) {
    frame(out, |out| {
        int(out, xid);
        int(out, code);
        bytes(out, path);
        out.push(u8::from(watch));
    });
}

/// Appends a sync.
pub fn sync(out: &mut Vec<u8>, xid: i32, path: &[u8]) {
    frame(out, |out| {
        int(out, xid);
        int(out, SYNC);
        bytes(out, path);
    });
}

/// Appends the end of a session.
pub fn close(out: &mut Vec<u8>, xid: i32) {
    frame(out, |out| {
        int(out, xid);
        int(out, CLOSE);
    });
}

/// Appends a create.
pub fn create(out: &mut Vec<u8>, xid: i32, path: &[u8], value: &[u8], ephemeral: bool) {
    frame(out, |out| {
        int(out, xid);
        int(out, CREATE);
        bytes(out, path);
        bytes(out, value);
        int(out, 1);
        int(out, PERM_ALL);
        bytes(out, b"world");
        bytes(out, b"anyone");
        int(out, i32::from(ephemeral));
    });
}

/// Appends a delete of whatever version.
pub fn delete(out: &mut Vec<u8>, xid: i32, path: &[u8]) {
    frame(out, |out| {
        int(out, xid);
        int(out, DELETE);
        bytes(out, path);
        int(out, -1);
    });
}

/// Appends a set over whatever version.
pub fn set(out: &mut Vec<u8>, xid: i32, path: &[u8], value: &[u8]) {
    frame(out, |out| {
        int(out, xid);
        int(out, SET_DATA);
        set_body(out, path, value);
    });
}

/// Appends the body of a set, alone or within a multi.
pub fn set_body(out: &mut Vec<u8>, path: &[u8], value: &[u8]) {
    bytes(out, path);
    bytes(out, value);
    int(out, -1);
}

/// Appends the head of a part of a multi: which operation, or the end.
pub fn part(out: &mut Vec<u8>, code: Option<i32>) {
    int(out, code.unwrap_or(-1));
    out.push(u8::from(code.is_none()));
    int(out, -1);
}

/// The head of a reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// Which request it answers.
    pub xid: i32,
    /// How far the server is.
    pub zxid: i64,
    /// 0, or what went wrong.
    pub error: i32,
}

/// Splits a reply into head and body.
///
/// # Errors
/// If it is shorter than a head.
pub fn head(reply: &[u8]) -> Result<(Head, &[u8])> {
    let mut read = Reader(reply);
    let (xid, zxid, error) = (read.int()?, read.long()?, read.int()?);
    Ok((Head { xid, zxid, error }, read.0))
}

/// Reads fields one behind the other.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next bytes.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count).with_context(|| {
            format!("it ends early: {count} bytes are missing, {} are there", self.0.len())
        })?;
        self.0 = tail;
        Ok(head)
    }

    /// A 4-byte number.
    ///
    /// # Errors
    /// If the reply ends before.
    pub fn int(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    /// An 8-byte number.
    ///
    /// # Errors
    /// If the reply ends before.
    pub fn long(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into()?))
    }

    /// Bytes behind their length.
    ///
    /// # Errors
    /// If the length is negative or beyond the reply.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.int()?;
        self.take(usize::try_from(length).with_context(|| format!("a length of {length}"))?)
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// If something is.
    pub fn end(self) -> Result<()> {
        ensure!(self.0.is_empty(), "{} bytes too many", self.0.len());
        Ok(())
    }
}

/// The part of a Stat that is judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stat {
    /// The transaction that changed the data last.
    pub mzxid: i64,
    /// How often the data was set.
    pub version: i32,
    /// How long the data is.
    pub data_length: i32,
}

impl Stat {
    /// Reads one.
    ///
    /// # Errors
    /// If the reply ends before.
    pub fn read(read: &mut Reader<'_>) -> Result<Self> {
        let _czxid = read.long()?;
        let mzxid = read.long()?;
        let _times = read.take(16)?;
        let version = read.int()?;
        let _other = read.take(16)?;
        let data_length = read.int()?;
        let _other = read.take(12)?;
        Ok(Self { mzxid, version, data_length })
    }
}
