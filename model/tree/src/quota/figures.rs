//! The text in the nodes of a quota.

use alloc::{borrow::ToOwned, collections::BTreeMap, string::String};
use core::fmt::{self, Write};

/// The longest text with figures, in bytes.
const FIGURES_BYTES_MAX: usize = 1024;

/// Nodes: how many there are, or how many it is told of that there are more.
pub const COUNT: &str = "count";
/// Bytes of data, likewise.
pub const BYTES: &str = "bytes";
/// How many nodes there may be.
pub const COUNT_HARD: &str = "countHardLimit";
/// How many bytes of data there may be.
pub const BYTES_HARD: &str = "byteHardLimit";

/// The figures in a node of a quota, by name.
///
/// Source: ZooKeeper `StatsTrack`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Figures(BTreeMap<String, i64>);

impl Figures {
    /// Reads `name=figure`, separated by commas or semicolons; what is no figure is left out, and so is everything of
    /// a text that is too long: it is read with every write.
    pub fn read(data: Option<&[u8]>) -> Self {
        let data = data.filter(|data| data.len() <= FIGURES_BYTES_MAX).unwrap_or_default();
        let text = String::from_utf8_lossy(data);
        let figure = |pair: &str| {
            let mut parts = pair.split('=');
            let name = parts.next().filter(|name| !name.is_empty())?;
            Some((name.to_owned(), parts.next()?.parse().ok()?))
        };
        Self(text.split([',', ';']).filter_map(figure).collect())
    }

    /// The figure of this name; none is said where there is none, or a negative one.
    pub fn limit(&self, name: &str) -> Option<i64> {
        self.0.get(name).copied().filter(|figure| *figure >= 0)
    }

    /// The figure of this name; −1 where there is none.
    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(-1)
    }

    /// Changes a figure, or adds it.
    pub fn set(&mut self, name: &str, figure: i64) {
        self.0.insert(name.to_owned(), figure);
    }

    /// Every figure, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, figure)| (name.as_str(), *figure))
    }
}

impl fmt::Display for Figures {
    /// Count and bytes first, and all others behind a mark that old readers stop at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{COUNT}={},{BYTES}={}", self.get(COUNT), self.get(BYTES))?;
        let mut others = self.0.iter().filter(|(name, _)| *name != COUNT && *name != BYTES).peekable();
        if others.peek().is_some() {
            f.write_char('=')?;
        }
        others.try_for_each(|(name, figure)| write!(f, ";{name}={figure}"))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn figures_are_read_and_written_as_zookeeper_does() {
        let rows = [
            ("", "count=-1,bytes=-1"),
            ("count=4,bytes=5", "count=4,bytes=5"),
            ("bytes=5", "count=-1,bytes=5"),
            (
                "count=4,bytes=5=;countHardLimit=10;byteHardLimit=9",
                "count=4,bytes=5=;byteHardLimit=9;countHardLimit=10",
            ),
            ("byteHardLimit=9", "count=-1,bytes=-1=;byteHardLimit=9"),
            ("count=many,=3,bytes", "count=-1,bytes=-1"),
        ];
        for (text, expected) in rows {
            assert_eq!(Figures::read(Some(text.as_bytes())).to_string(), expected, "{text}");
        }
        assert_eq!(Figures::read(None).to_string(), "count=-1,bytes=-1");
    }
}
