//! Strings that share the buffer they arrived in.

use alloc::string::String;
use core::{
    borrow::Borrow,
    fmt,
    ops::Range,
    str::{self, Utf8Error},
};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A string (a path, a scheme, the id of an identity) that may be a slice of a receive buffer: cloning copies no
/// byte. The tree copies what it keeps.
///
/// Order and equality are those of its UTF-8 bytes.
#[derive(Clone, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Text(Bytes);

impl Text {
    /// The string in these bytes.
    ///
    /// # Errors
    /// If they are no UTF-8.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, Utf8Error> {
        str::from_utf8(&bytes)?;
        Ok(Self(bytes))
    }

    /// A string of the program itself.
    pub fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// As a slice.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("a text is UTF-8 from its making")
    }

    /// Its UTF-8 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A part of it, without a copy.
    ///
    /// # Panics
    /// If the range is outside, or cuts a character.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(self.as_str().get(range.clone()).is_some(), "a slice cuts no character");
        Self(self.0.slice(range))
    }

    /// A copy of its own, which keeps no receive buffer alive.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no character.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}
