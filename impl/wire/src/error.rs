//! Why bytes are not the record that they should be.

use thiserror::Error;

/// What was found where something else was due.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The input ends inside a record. On a stream: more may come.
    #[error("input ends early: {wanted} bytes wanted, {left} left")]
    Short {
        /// Bytes that the next field needs.
        wanted: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// A length that is negative, or greater than what this input may hold.
    #[error("length {found} of a {what} is not within 0 to {allowed}")]
    Length {
        /// What has that length.
        what: &'static str,
        /// The length.
        found: i64,
        /// The greatest length allowed.
        allowed: usize,
    },
    /// A null where a value is due.
    #[error("null {what}")]
    Null {
        /// What is missing.
        what: &'static str,
    },
    /// A number that names nothing here.
    #[error("{what} {found} is unknown")]
    Unknown {
        /// What is numbered so.
        what: &'static str,
        /// The number.
        found: i64,
    },
    /// A fixed number that is not there, such as a file's magic.
    #[error("{what} is {found:#x}, not {wanted:#x}")]
    Constant {
        /// What the number is.
        what: &'static str,
        /// What stands there.
        found: i64,
        /// What should stand there.
        wanted: i64,
    },
    /// A checksum that does not fit its bytes.
    #[error("checksum {found:#010x} is not that of the bytes, {computed:#010x}")]
    Checksum {
        /// As recorded.
        found: u64,
        /// As computed.
        computed: u64,
    },
    /// Bytes behind the end of a record that must fill its frame.
    #[error("{left} bytes follow the end of a {what}")]
    Trailing {
        /// The record.
        what: &'static str,
        /// Bytes behind it.
        left: usize,
    },
    /// Something well formed that is not supported yet.
    #[error("{what} is not supported")]
    NotSupported {
        /// Its name.
        what: &'static str,
    },
    /// Fields that contradict each other.
    #[error("{what}")]
    Invalid {
        /// The contradiction.
        what: &'static str,
    },
}

impl Error {
    /// Whether more input could still make this whole.
    pub fn is_short(&self) -> bool {
        matches!(self, Self::Short { .. })
    }
}

/// For streams: an input that merely ends early is no error yet.
///
/// # Errors
/// Every error but [`Error::Short`].
pub fn complete<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_short() => Ok(None),
        Err(error) => Err(error),
    }
}
