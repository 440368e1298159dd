//! The text in the nodes of a quota.

use alloc::{
    borrow::{Cow, ToOwned},
    collections::BTreeMap,
    string::String,
};
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
        Self(pairs(&text(data)).map(|(name, figure)| (name.to_owned(), figure)).collect())
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

/// Whether ZooKeeper reads this as figures; otherwise its `StatsTrack` fails.
pub(super) fn is_read_by_others(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    // Java leaves out what is empty at the end, here and within a pair.
    let text = text.trim_end_matches([',', ';']);
    let runs = |part: &&str| !part.is_empty();
    let is_pair = |part: &str| {
        let mut words = part.trim_end_matches('=').splitn(3, '=');
        let (name, figure) = (words.next().unwrap_or_default(), words.next());
        let is_figure = |figure: &str| figure.is_empty() || figure.parse::<i64>().is_ok();
        (!name.is_empty() || figure.is_some()) && figure.is_some_and(is_figure)
    };
    !text.starts_with([',', ';']) && text.split([',', ';']).filter(runs).all(is_pair)
}

/// The figures that mean something, of all in a node of a quota; −1 where there is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Known {
    /// Of [`COUNT`].
    pub count: i64,
    /// Of [`BYTES`].
    pub bytes: i64,
    /// Of [`COUNT_HARD`].
    pub count_hard: i64,
    /// Of [`BYTES_HARD`].
    pub bytes_hard: i64,
}

impl Known {
    /// Reads them as [`Figures::read`] does.
    pub fn read(data: Option<&[u8]>) -> Self {
        let mut known = Self { count: -1, bytes: -1, count_hard: -1, bytes_hard: -1 };
        for (name, figure) in pairs(&text(data)) {
            match name {
                COUNT => known.count = figure,
                BYTES => known.bytes = figure,
                COUNT_HARD => known.count_hard = figure,
                BYTES_HARD => known.bytes_hard = figure,
                _ => {}
            }
        }
        known
    }
}

/// What of the data of a node is read.
fn text(data: Option<&[u8]>) -> Cow<'_, str> {
    String::from_utf8_lossy(data.filter(|data| data.len() <= FIGURES_BYTES_MAX).unwrap_or_default())
}

/// Each figure with its name, in the order of the text: of two with one name the later one counts.
fn pairs(text: &str) -> impl Iterator<Item = (&str, i64)> {
    text.split([',', ';']).filter_map(|pair| {
        let mut parts = pair.split('=');
        let name = parts.next().filter(|name| !name.is_empty())?;
        Some((name, parts.next()?.parse().ok()?))
    })
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
            ("count=1,bytes=2=3;x=7,count=4=5,bytes=x", "count=4,bytes=2=;x=7"),
        ];
        for (text, expected) in rows {
            let figures = Figures::read(Some(text.as_bytes()));
            assert_eq!(figures.to_string(), expected, "{text}");
            let known = Known {
                count: figures.get(COUNT),
                bytes: figures.get(BYTES),
                count_hard: figures.get(COUNT_HARD),
                bytes_hard: figures.get(BYTES_HARD),
            };
            assert_eq!(Known::read(Some(text.as_bytes())), known, "{text}");
        }
        assert_eq!(Figures::read(None).to_string(), "count=-1,bytes=-1");
    }
}
