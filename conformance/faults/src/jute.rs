//! Just enough of ZooKeeper's client encoding for the faults to speak, written apart from the crate under test: a
//! judge that shared the codec of the judged would share its mistakes.

use anyhow::{Context, Result, bail, ensure};

/// The longest string or buffer that a reply may hold, in bytes.
const LENGTH_BYTES_MAX: usize = 64 << 20;

/// Writes fields one behind the other.
#[derive(Debug, Default)]
pub struct Encoder(Vec<u8>);

impl Encoder {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// A 4-byte number.
    #[must_use]
    pub fn int(mut self, value: i32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// An 8-byte number.
    #[must_use]
    pub fn long(mut self, value: i64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// A truth value.
    #[must_use]
    pub fn bool(mut self, value: bool) -> Self {
        self.0.push(u8::from(value));
        self
    }

    /// Bytes behind their length; a string is one.
    #[must_use]
    pub fn bytes(self, value: &[u8]) -> Self {
        let mut this = self.int(i32::try_from(value.len()).unwrap_or(i32::MAX));
        this.0.extend_from_slice(value);
        this
    }

    /// The body without its frame.
    pub fn body(self) -> Vec<u8> {
        self.0
    }

    /// The body behind its length.
    pub fn frame(self) -> Vec<u8> {
        Self::new().bytes(&self.0).0
    }
}

/// Reads fields one behind the other.
#[derive(Debug)]
pub struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// Reads from the start of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, tail) = self
            .0
            .split_at_checked(count)
            .with_context(|| format!("a record ends early: {count} bytes wanted, {} left", self.0.len()))?;
        self.0 = tail;
        Ok(head)
    }

    /// A 4-byte number.
    ///
    /// # Errors
    /// If the record ends early.
    pub fn int(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    /// An 8-byte number.
    ///
    /// # Errors
    /// If the record ends early.
    pub fn long(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into()?))
    }

    /// Bytes behind their length; null reads as empty.
    ///
    /// # Errors
    /// If the length is out of range, or the record ends early.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        match self.int()? {
            -1 => Ok(&[]),
            length => {
                let length = usize::try_from(length).context("a negative length")?;
                ensure!(length <= LENGTH_BYTES_MAX, "a length of {length} bytes");
                self.take(length)
            }
        }
    }

    /// A string.
    ///
    /// # Errors
    /// If it is not UTF-8, or as [`Decoder::bytes`].
    pub fn string(&mut self) -> Result<String> {
        Ok(String::from_utf8(self.bytes()?.to_vec())?)
    }

    /// A list of strings.
    ///
    /// # Errors
    /// As [`Decoder::string`].
    pub fn strings(&mut self) -> Result<Vec<String>> {
        let count = self.int()?;
        if count < -1 {
            bail!("a list of {count} strings");
        }
        (0..count.max(0)).map(|_| self.string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let body = Encoder::new().int(-7).long(1 << 40).bool(true).bytes(b"/a").int(1).bytes(b"x").body();
        let mut read = Decoder::new(&body);
        assert_eq!(read.int().expect("int"), -7);
        assert_eq!(read.long().expect("long"), 1 << 40);
        assert_eq!(read.take(1).expect("bool"), [1]);
        assert_eq!(read.string().expect("string"), "/a");
        assert_eq!(read.strings().expect("strings"), ["x"]);
        assert!(read.int().is_err());
    }

    #[test]
    fn a_length_beyond_the_record_is_an_error() {
        let body = Encoder::new().int(1000).body();
        assert!(Decoder::new(&body).bytes().is_err());
        assert!(Decoder::new(&(-2_i32).to_be_bytes()).bytes().is_err());
    }
}
