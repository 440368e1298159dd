//! Quotas as ZooKeeper's clients keep them: two nodes below `/zookeeper/quota` with figures as text.

use std::collections::BTreeMap;

/// Where quotas are kept.
pub(crate) const ROOT: &str = "/zookeeper/quota";
/// The node with the limits.
pub(crate) const LIMITS: &str = "zookeeper_limits";
/// The node with what is used.
pub(crate) const STATS: &str = "zookeeper_stats";

const COUNT: &str = "count";
const BYTES: &str = "bytes";
const COUNT_HARD: &str = "countHardLimit";
const BYTES_HARD: &str = "byteHardLimit";

/// Limits to set or to take away, by their flags.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Limits {
    /// `-n`: nodes, told of when exceeded.
    pub(crate) count: Option<i64>,
    /// `-b`: bytes, told of when exceeded.
    pub(crate) bytes: Option<i64>,
    /// `-N`: nodes, kept.
    pub(crate) count_hard: Option<i64>,
    /// `-B`: bytes, kept.
    pub(crate) bytes_hard: Option<i64>,
}

/// The figures in a node of a quota.
///
/// Source: ZooKeeper `StatsTrack`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Figures(BTreeMap<String, i64>);

impl Figures {
    /// Reads `name=figure`, separated by commas or semicolons.
    pub(crate) fn read(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let figure = |pair: &str| {
            let mut parts = pair.split('=');
            let name = parts.next().filter(|name| !name.is_empty())?;
            Some((name.to_owned(), parts.next()?.parse().ok()?))
        };
        Self(text.split([',', ';']).filter_map(figure).collect())
    }

    /// What a new quota begins with: nothing of either is limited but what is given.
    pub(crate) fn of(limits: Limits) -> Self {
        let none = Limits { count: Some(-1), bytes: Some(-1), count_hard: Some(-1), bytes_hard: Some(-1) };
        let mut figures = Self::default();
        figures.set(none);
        figures.set(limits);
        figures
    }

    /// What is used at the beginning, until the server has counted.
    pub(crate) fn nothing_used() -> Self {
        let mut figures = Self::default();
        figures.set(Limits { count: Some(0), bytes: Some(0), ..Limits::default() });
        figures
    }

    /// Changes the limits that are given.
    pub(crate) fn set(&mut self, limits: Limits) {
        let Limits { count, bytes, count_hard, bytes_hard } = limits;
        let given = [(COUNT, count), (BYTES, bytes), (COUNT_HARD, count_hard), (BYTES_HARD, bytes_hard)];
        for (name, figure) in given {
            if let Some(figure) = figure {
                self.0.insert(name.to_owned(), figure);
            }
        }
    }

    fn figure(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(-1)
    }

    /// What is to be said if these limits are below what is used already.
    pub(crate) fn exceeded_by(&self, used: &Self) -> Vec<String> {
        let mut said = Vec::new();
        for (what, soft, hard) in [(COUNT, COUNT, COUNT_HARD), (BYTES, BYTES, BYTES_HARD)] {
            let there = used.figure(what);
            if [soft, hard].iter().any(|name| self.figure(name) > -1 && self.figure(name) < there) {
                said.push(format!(
                    "[Warning]: the {what} quota you create is less than the existing {what}:{there}"
                ));
            }
        }
        said
    }

    /// Every figure, by its name; unset ones are −1.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, figure)| (name.as_str(), *figure))
    }
}

impl std::fmt::Display for Figures {
    /// Count and bytes first, and all others behind a mark that old readers stop at.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{COUNT}={},{BYTES}={}", self.figure(COUNT), self.figure(BYTES))?;
        let mut others = self.0.iter().filter(|(name, _)| *name != COUNT && *name != BYTES).peekable();
        if others.peek().is_some() {
            f.write_str("=")?;
        }
        others.try_for_each(|(name, figure)| write!(f, ";{name}={figure}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_zookeepers_text() {
        let figures = Figures::of(Limits { count: Some(5), ..Limits::default() });
        assert_eq!(figures.to_string(), "count=5,bytes=-1=;byteHardLimit=-1;countHardLimit=-1");
        assert_eq!(Figures::read(figures.to_string().as_bytes()), figures);
        assert_eq!(Figures::nothing_used().to_string(), "count=0,bytes=0");
    }

    #[test]
    fn limits_below_what_is_there_are_told() {
        let used = Figures::read(b"count=3,bytes=10");
        let limits = |count, bytes_hard| {
            Figures::of(Limits { count: Some(count), bytes_hard: Some(bytes_hard), ..Limits::default() })
        };
        assert!(limits(3, 10).exceeded_by(&used).is_empty());
        let said = limits(2, 9).exceeded_by(&used);
        assert!(said[0].ends_with("existing count:3") && said[1].ends_with("existing bytes:10"), "{said:?}");
    }
}
