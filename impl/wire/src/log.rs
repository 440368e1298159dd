//! Transaction logs: a file header, then entries.
//!
//! An entry is the Adler-32 of its body, the body behind its length, and the byte `B`. Behind the last entry a file
//! holds zeros, if anything, which read as an entry of length 0.
//!
//! The same body travels between servers in PROPOSAL packets.

mod body;

pub use body::{decode_body, put_body};
use simd_adler32::adler32;
use spec::Zxid;
use tree::Txn;

use crate::{Buffer, Decoder, Error, Sink, record};

/// The length of a file header in bytes.
pub const FILE_HEADER_BYTES: usize = 16;

/// What an entry takes beside its body, in bytes.
pub const ENTRY_OVERHEAD_BYTES: usize = 13;

/// `ZKLG`.
const MAGIC: i32 = 0x5A4B_4C47;
/// The version of the format.
const VERSION: i32 = 2;
/// Of the database; always this.
const DB_ID: i64 = 0;
/// Ends an entry.
const END: u8 = b'B';

/// Appends the header of a log file.
pub fn put_file_header(out: &mut impl Sink) {
    out.put_int(MAGIC);
    out.put_int(VERSION);
    out.put_long(DB_ID);
}

/// Reads the header of a log file.
///
/// # Errors
/// [`Error::Short`], or [`Error::Constant`] for a file that is no log of this version.
pub fn file_header(input: &mut Decoder<'_>) -> Result<(), Error> {
    constant("the magic of a log", input.int()?, MAGIC)?;
    constant("the version of a log", input.int()?, VERSION)?;
    input.long()?;
    Ok(())
}

pub(crate) fn constant(what: &'static str, found: i32, wanted: i32) -> Result<(), Error> {
    if found == wanted {
        Ok(())
    } else {
        Err(Error::Constant { what, found: i64::from(found), wanted: i64::from(wanted) })
    }
}

/// Appends a transaction as an entry.
pub fn put_entry(zxid: Zxid, txn: &Txn, out: &mut impl Buffer) {
    let start = out.length();
    out.put_long(0);
    out.put_sized(|out| put_body(zxid, txn, out));
    let checksum = u64::from(adler32(&out.written(start + 12)));
    out.patch(start, &checksum.to_be_bytes());
    out.put(&[END]);
}

/// What stands at a place of a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry<'a> {
    /// A whole entry whose checksum fits; it takes [`ENTRY_OVERHEAD_BYTES`] more than its body.
    Body(&'a [u8]),
    /// A length of 0: nothing was written here, and what follows is padding.
    Padding,
}

/// Reads what stands at the front of `input`, which is all of the file from there, or at least the entry.
///
/// # Errors
/// [`Error::Short`] if the input ends inside the entry, [`Error::Length`] if it cannot be one,
/// [`Error::Constant`] if its last byte is not `B`, [`Error::Checksum`] if its body is not what was written.
pub fn entry(input: &[u8]) -> Result<Entry<'_>, Error> {
    let mut input = Decoder::new(input, record::STREAM_FIELD_BYTES_MAX);
    let checksum = input.unsigned()?;
    let body = input.buffer()?.ok_or(Error::Null { what: "entry of a log" })?;
    if body.is_empty() {
        return Ok(Entry::Padding);
    }
    constant("the end of an entry", i32::from(input.byte()?), i32::from(END))?;
    let computed = u64::from(adler32(&body));
    if checksum != computed {
        return Err(Error::Checksum { found: checksum, computed });
    }
    Ok(Entry::Body(body))
}
