//! What a quota of ours says: limits by their flags, and what is said of them.

use tree::quota::{BYTES, BYTES_HARD, COUNT, COUNT_HARD, Figures};

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

impl Limits {
    /// Changes the limits that are given.
    pub(crate) fn set_in(self, figures: &mut Figures) {
        let Self { count, bytes, count_hard, bytes_hard } = self;
        let given = [(COUNT, count), (BYTES, bytes), (COUNT_HARD, count_hard), (BYTES_HARD, bytes_hard)];
        for (name, figure) in given {
            if let Some(figure) = figure {
                figures.set(name, figure);
            }
        }
    }

    /// What a new quota begins with: nothing of either is limited but what is given.
    pub(crate) fn figures(self) -> Figures {
        let mut figures = Figures::default();
        for name in [COUNT, BYTES, COUNT_HARD, BYTES_HARD] {
            figures.set(name, -1);
        }
        self.set_in(&mut figures);
        figures
    }
}

/// What is used at the beginning, until the server has counted.
pub(crate) fn nothing_used() -> Figures {
    let mut figures = Figures::default();
    figures.set(COUNT, 0);
    figures.set(BYTES, 0);
    figures
}

/// What is to be said if these limits are below what is used already.
pub(crate) fn exceeded(limits: &Figures, used: &Figures) -> Vec<String> {
    let mut said = Vec::new();
    for (what, soft, hard) in [(COUNT, COUNT, COUNT_HARD), (BYTES, BYTES, BYTES_HARD)] {
        let there = used.get(what);
        if [soft, hard].iter().any(|name| limits.limit(name).is_some_and(|limit| limit < there)) {
            said.push(format!(
                "[Warning]: the {what} quota you create is less than the existing {what}:{there}"
            ));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_quota_limits_nothing_but_what_is_given() {
        let figures = Limits { count: Some(5), ..Limits::default() }.figures();
        assert_eq!(figures.to_string(), "count=5,bytes=-1=;byteHardLimit=-1;countHardLimit=-1");
        assert_eq!(nothing_used().to_string(), "count=0,bytes=0");
    }

    #[test]
    fn limits_below_what_is_there_are_told() {
        let used = Figures::read(Some(b"count=3,bytes=10"));
        let limits = |count, bytes_hard| {
            Limits { count: Some(count), bytes_hard: Some(bytes_hard), ..Limits::default() }.figures()
        };
        assert!(exceeded(&limits(3, 10), &used).is_empty());
        let said = exceeded(&limits(2, 9), &used);
        assert!(said[0].ends_with("existing count:3") && said[1].ends_with("existing bytes:10"), "{said:?}");
    }
}
