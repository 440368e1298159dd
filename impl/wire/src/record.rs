//! Jute, the encoding under every record: numbers are big-endian, a string or buffer is its length and its bytes,
//! a vector is its count and its items, and −1 for a length or count is null. Records are their fields in a row,
//! without tags.
//!
//! A length is checked against the limit and against what is left of the input before anything is made of it, so
//! that a decoder never allocates more than it was given.

use bytes::{Bytes, BytesMut};
use tree::Text;

use crate::Error;

/// The greatest frame that a client may send unless `jute.maxbuffer` says otherwise, in bytes.
pub const CLIENT_FRAME_BYTES_MAX: usize = 0xf_ffff;

/// The greatest string or buffer in logs, snapshots and packets between servers, in bytes. It stands apart from the
/// client's limit: a transaction may be larger than the request that it came from.
pub const STREAM_FIELD_BYTES_MAX: usize = 64 << 20;

/// Reads records from a slice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decoder<'a> {
    rest: &'a [u8],
    field_bytes_max: usize,
    /// The buffer that texts and data are to share instead of copying.
    owner: Option<&'a Bytes>,
}

impl<'a> Decoder<'a> {
    /// Reads from `input`, and allows no string or buffer above `field_bytes_max`.
    pub fn new(input: &'a [u8], field_bytes_max: usize) -> Self {
        Self { rest: input, field_bytes_max, owner: None }
    }

    /// The same; the texts and data it yields share the buffer, and so keep it alive.
    pub fn shared(input: &'a Bytes, field_bytes_max: usize) -> Self {
        Self { rest: input, field_bytes_max, owner: Some(input) }
    }

    /// A decoder for a record inside this one's input, with the same limit and the same sharing.
    #[must_use]
    pub fn inside(&self, part: &'a [u8]) -> Self {
        Self { rest: part, ..self.clone() }
    }

    /// A decoder for logs, snapshots and packets between servers.
    pub fn stream(input: &'a [u8]) -> Self {
        Self::new(input, STREAM_FIELD_BYTES_MAX)
    }

    /// What is not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all is read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or(Error::Short { wanted: count, left: self.rest.len() })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) =
            self.rest.split_first_chunk().ok_or(Error::Short { wanted: N, left: self.rest.len() })?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte: zero is false.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn bool(&mut self) -> Result<bool, Error> {
        Ok(self.array::<1>()? != [0])
    }

    /// One byte.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }

    /// Four bytes.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn int(&mut self) -> Result<i32, Error> {
        self.array().map(i32::from_be_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn long(&mut self) -> Result<i64, Error> {
        self.array().map(i64::from_be_bytes)
    }

    /// Eight bytes, for numbers that Java keeps in a signed long and never means as negative.
    ///
    /// # Errors
    /// [`Error::Short`].
    pub fn unsigned(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }

    /// A buffer, or null.
    ///
    /// # Errors
    /// [`Error::Short`], and [`Error::Length`] for a length below −1 or above the limit.
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, Error> {
        self.sized("buffer")
    }

    /// A string, or null: its bytes as they came, which need not be UTF-8.
    ///
    /// # Errors
    /// As [`Self::buffer`].
    pub fn string(&mut self) -> Result<Option<&'a [u8]>, Error> {
        self.sized("string")
    }

    /// A string that must not be null; `what` names it in the error.
    ///
    /// # Errors
    /// As [`Self::buffer`], and [`Error::Null`].
    pub fn required(&mut self, what: &'static str) -> Result<&'a [u8], Error> {
        self.string()?.ok_or(Error::Null { what })
    }

    /// A buffer, or null, as a value of its own.
    ///
    /// # Errors
    /// As [`Self::buffer`].
    pub fn bytes(&mut self) -> Result<Option<Bytes>, Error> {
        Ok(self.buffer()?.map(|part| self.own(part)))
    }

    /// A string as a value of its own; what is not UTF-8 becomes U+FFFD, as in ZooKeeper, which has three bytes.
    ///
    /// # Errors
    /// As [`Self::required`]; what becomes of it may be too long, too: whoever is handed it on would not take it.
    pub fn text(&mut self, what: &'static str) -> Result<Text, Error> {
        let part = self.required(what)?;
        if let Ok(text) = Text::from_utf8(self.own(part)) {
            return Ok(text);
        }
        let text = String::from_utf8_lossy(part).into_owned();
        if text.len() > self.field_bytes_max {
            let found = i64::try_from(text.len()).unwrap_or(i64::MAX);
            return Err(Error::Length { what, found, allowed: self.field_bytes_max });
        }
        Ok(text.into())
    }

    fn own(&self, part: &'a [u8]) -> Bytes {
        match self.owner {
            Some(owner) => owner.slice_ref(part),
            None => Bytes::copy_from_slice(part),
        }
    }

    fn sized(&mut self, what: &'static str) -> Result<Option<&'a [u8]>, Error> {
        let length = self.int()?;
        if length == -1 {
            return Ok(None);
        }
        match usize::try_from(length) {
            Ok(length) if length <= self.field_bytes_max => self.take(length).map(Some),
            _ => Err(Error::Length { what, found: i64::from(length), allowed: self.field_bytes_max }),
        }
    }

    /// The items of a vector, or null. As in ZooKeeper, a negative count other than −1 is an empty vector.
    ///
    /// The items are collected as they are read, and each takes at least one byte of input, so that a count alone
    /// allocates nothing.
    ///
    /// # Errors
    /// [`Error::Short`], and whatever an item yields.
    pub fn vector<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<Option<Vec<T>>, Error> {
        let count = self.int()?;
        if count == -1 {
            return Ok(None);
        }
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(Some(items))
    }

    /// Nothing may be left of a `what`.
    ///
    /// # Errors
    /// [`Error::Trailing`].
    pub fn finish(&self, what: &'static str) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(Error::Trailing { what, left: self.rest.len() }) }
    }
}

/// Where records are written: a buffer that grows. The methods below `put` are the encoder.
pub trait Sink {
    /// Appends these bytes.
    fn put(&mut self, bytes: &[u8]);

    /// One byte: 1 is true.
    fn put_bool(&mut self, value: bool) {
        self.put(&[u8::from(value)]);
    }

    /// Four bytes.
    fn put_int(&mut self, value: i32) {
        self.put(&value.to_be_bytes());
    }

    /// Eight bytes.
    fn put_long(&mut self, value: i64) {
        self.put(&value.to_be_bytes());
    }

    /// Eight bytes.
    fn put_unsigned(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }

    /// The length or count of something that is not null.
    ///
    /// # Panics
    /// Above 2^31 - 1; nothing that was decoded or accepted is that long, and lists are bounded (W-19).
    fn put_count(&mut self, count: usize) {
        self.put_int(i32::try_from(count).expect("a length fits 31 bits"));
    }

    /// A string or buffer that is not null.
    fn put_bytes(&mut self, value: &[u8]) {
        self.put_count(value.len());
        self.put(value);
    }

    /// A string or buffer, or null.
    fn put_optional(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => self.put_bytes(value),
            None => self.put_int(-1),
        }
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Sink for BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A sink whose written bytes can be changed: needed for lengths that are known only afterwards.
pub trait Buffer: Sink {
    /// Bytes written so far.
    fn length(&self) -> usize;

    /// The bytes written from here on.
    fn written(&self, from: usize) -> &[u8];

    /// Overwrites bytes that were written before.
    fn patch(&mut self, at: usize, bytes: &[u8]);

    /// Forgets everything behind the first `length` bytes.
    fn rewind(&mut self, length: usize);

    /// Writes `body` behind its own length: a frame, or a buffer with a record in it.
    ///
    /// # Panics
    /// If the body exceeds 2^31 - 1 bytes.
    fn put_sized(&mut self, body: impl FnOnce(&mut Self))
    where
        Self: Sized,
    {
        let start = self.length();
        self.put_int(0);
        body(self);
        let length = i32::try_from(self.length() - start - 4).expect("a length fits 31 bits");
        self.patch(start, &length.to_be_bytes());
    }
}

impl Buffer for Vec<u8> {
    fn length(&self) -> usize {
        self.len()
    }

    fn written(&self, from: usize) -> &[u8] {
        &self[from..]
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        self[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn rewind(&mut self, length: usize) {
        self.truncate(length);
    }
}

impl Buffer for BytesMut {
    fn length(&self) -> usize {
        self.len()
    }

    fn written(&self, from: usize) -> &[u8] {
        &self[from..]
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        self[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn rewind(&mut self, length: usize) {
        self.truncate(length);
    }
}

/// The payload of the first frame of a stream, which takes four bytes more than it has. `None` while it is not
/// whole.
///
/// The length is judged as soon as it is there, so that a stream never has to hold more than one frame's limit.
///
/// # Errors
/// [`Error::Length`] for a length that is negative or above `bytes_max`.
pub fn frame(input: &[u8], bytes_max: usize) -> Result<Option<&[u8]>, Error> {
    let Some((length, rest)) = input.split_first_chunk() else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    match usize::try_from(length) {
        Ok(length) if length <= bytes_max => Ok(rest.get(..length)),
        _ => Err(Error::Length { what: "frame", found: i64::from(length), allowed: bytes_max }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_judged_before_the_bytes_are_there() {
        let far = 0x7fff_ffff_i32.to_be_bytes();
        assert_eq!(
            Decoder::new(&far, 100).buffer(),
            Err(Error::Length { what: "buffer", found: 0x7fff_ffff, allowed: 100 })
        );
        let below = (-2_i32).to_be_bytes();
        assert!(matches!(Decoder::new(&below, 100).string(), Err(Error::Length { found: -2, .. })));
        let null = (-1_i32).to_be_bytes();
        assert_eq!(Decoder::new(&null, 100).string(), Ok(None));
    }

    #[test]
    fn what_grows_as_text_is_judged_by_what_it_grows_to() {
        let bytes = [&4_i32.to_be_bytes()[..], &[0xff; 4]].concat();
        assert_eq!(Decoder::new(&bytes, 12).text("path"), Ok(Text::from("\u{fffd}".repeat(4))));
        let error = Error::Length { what: "path", found: 12, allowed: 11 };
        assert_eq!(Decoder::new(&bytes, 11).text("path"), Err(error));
    }

    #[test]
    fn a_count_alone_allocates_nothing() {
        let far = 0x7fff_ffff_i32.to_be_bytes();
        assert_eq!(Decoder::new(&far, 100).vector(Decoder::bool), Err(Error::Short { wanted: 1, left: 0 }));
        let negative = (-7_i32).to_be_bytes();
        assert_eq!(Decoder::new(&negative, 100).vector(Decoder::bool), Ok(Some(vec![])));
    }

    #[test]
    fn frames_are_split_and_judged_by_their_length() {
        let mut out = Vec::new();
        out.put_sized(|out| out.put_long(7));
        out.put(&[9]);
        assert_eq!(frame(&out, 8), Ok(Some(&out[4..12])));
        assert_eq!(frame(&out[..11], 8), Ok(None));
        assert_eq!(frame(&out[..3], 8), Ok(None));
        assert_eq!(frame(&out, 7), Err(Error::Length { what: "frame", found: 8, allowed: 7 }));
        assert!(frame(&[0xff; 4], 7).is_err());
    }
}
