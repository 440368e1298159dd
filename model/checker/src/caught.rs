//! By what each mutant is caught, as a run of the catalogue has written it down: a flaw that another rule sees is no flaw
//! that the one which is meant for it sees.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use anyhow::Context;
use checker::page::Page;

/// The page, below the project's root.
pub(crate) const PAGE: &str = "model/checker/mutants.md";
const HEAD: &str = "# What catches each mutant\n\nWritten by `cargo zabcheck mutants --record`: the patches of `model/checker/mutants`, each with \
                    what breaks where it is applied, how many steps from the start, and how many states were looked at. \
                    `zabcheck mutants` ends with 1 if something else breaks.\n\n| mutant | flaw | caught by | steps | states | found |\n\
                    |---|---|---|--:|--:|---|\n";

/// A line of the page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Line {
    pub(crate) flaw: String,
    pub(crate) rule: String,
    pub(crate) steps: usize,
    pub(crate) states: usize,
    /// At which commit, and on what machine.
    pub(crate) found: String,
}

/// All of them, by mutant.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Caught(pub(crate) BTreeMap<String, Line>);

impl Caught {
    /// What the page says; nothing if there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn read(root: &std::path::Path) -> anyhow::Result<Self> {
        let path = root.join(PAGE);
        if !path.exists() {
            return Ok(Self::default());
        }
        Ok(Self::parse(&fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?))
    }

    fn parse(page: &str) -> Self {
        let line = |line: &str| {
            let cells: Vec<_> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
            let [id, flaw, rule, steps, states, found] = cells[..] else { return None };
            let (steps, states) = (steps.parse().ok()?, states.parse().ok()?);
            let [flaw, rule, found] = [flaw, rule, found].map(str::to_owned);
            Some((id.to_owned(), Line { flaw, rule, steps, states, found }))
        };
        Self(page.lines().filter_map(line).collect())
    }

    fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for (id, Line { flaw, rule, steps, states, found }) in &self.0 {
            let _ = writeln!(text, "| {id} | {flaw} | {rule} | {steps} | {states} | {found} |");
        }
        text
    }

    /// Writes the page anew.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, page: &Page) -> anyhow::Result<()> {
        page.write(&self.text())
    }

    /// What the page says instead, if that is something else.
    pub(crate) fn otherwise(&self, id: &str, rule: &str) -> Option<&str> {
        self.0.get(id).map(|line| line.rule.as_str()).filter(|recorded| *recorded != rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let line = |rule: &str| Line {
            flaw: "a close that lists nodes leaves them".to_owned(),
            rule: rule.to_owned(),
            steps: 10,
            states: 729,
            found: "at commit abc, on 2 processors".to_owned(),
        };
        let caught =
            Caught([("a".to_owned(), line("S-18")), ("b".to_owned(), line("S-1; witness x missing"))].into());
        let read = Caught::parse(&caught.text());
        assert_eq!(read, caught);
        assert_eq!(read.otherwise("a", "S-18"), None);
        assert_eq!(read.otherwise("a", "S-2"), Some("S-18"));
        assert_eq!(read.otherwise("c", "S-2"), None, "nothing is said of it");
    }
}
