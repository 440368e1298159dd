//! The record of runs: kept as JSON beside the page that is made from it, and brought up to date after every round, so
//! that a run that is broken off is recorded as far as it went.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::report::Table;

/// One run.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Run {
    /// Whose servers.
    pub servers: String,
    /// The commit that was built.
    pub commit: String,
    /// When it began.
    pub began: String,
    /// Where.
    pub machine: String,
    /// What the dice started from.
    pub seed: u64,
    /// Its counts.
    pub table: Table,
}

/// Where runs are recorded.
#[derive(Clone, Debug)]
pub struct Record {
    page: PathBuf,
}

impl Record {
    /// In this page; the JSON is beside it.
    pub fn new(page: &Path) -> Self {
        Self { page: page.to_owned() }
    }

    /// Enters the runs of another record.
    ///
    /// # Errors
    /// If one of the two is no record, or this one cannot be written.
    pub fn take_in(&self, other: &Path) -> Result<usize> {
        let runs = Self::new(other).runs()?;
        for run in &runs {
            self.enter(run)?;
        }
        Ok(runs.len())
    }

    fn runs(&self) -> Result<Vec<Run>> {
        let file = self.page.with_extension("json");
        match fs::read_to_string(&file) {
            Ok(text) => {
                serde_json::from_str(&text).with_context(|| format!("{} is no record", file.display()))
            }
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Enters a run, in the place of what was recorded of it before.
    ///
    /// # Errors
    /// If what is there is no record, or cannot be written.
    pub fn enter(&self, run: &Run) -> Result<()> {
        let mut runs = self.runs()?;
        let same = |old: &&mut Run| old.seed == run.seed && old.began == run.began;
        match runs.iter_mut().find(same) {
            Some(old) => *old = run.clone(),
            None => runs.push(run.clone()),
        }
        fs::write(self.page.with_extension("json"), serde_json::to_string_pretty(&runs)? + "\n")?;
        fs::write(&self.page, page(&runs)).with_context(|| format!("cannot write {}", self.page.display()))
    }
}

fn page(runs: &[Run]) -> String {
    let mut text = "# What the histories showed\n\nWritten by `cargo xtask histories --record`. Each operation is in one \
                    history, and each history was judged when its round was over; `conformance/histories/src/judge/` \
                    says what each promise is. \"Unknown\" are requests whose connection broke before their reply.\n"
        .to_owned();
    text.push_str("\n## Runs\n\n| servers | commit | began | machine | seed | seconds | operations | checks | broken |\n");
    text.push_str("|---|---|---|---|--:|--:|--:|--:|--:|\n");
    let mut sums: BTreeMap<&str, Table> = BTreeMap::new();
    for run in runs {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            run.servers,
            run.commit,
            run.began,
            run.machine,
            run.seed,
            run.table.seconds,
            run.table.operations(),
            run.table.all_checks(),
            run.table.broken
        );
        sums.entry(&run.servers).or_default().join(&run.table);
    }
    for (servers, sum) in sums {
        let _ = write!(text, "\n## {servers}, {} seconds in all\n\n{}", sum.seconds, sum.section());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_replaces_itself_and_sums_are_by_servers() {
        let folder = std::env::temp_dir().join(format!("zabkeeper-histories-record-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let record = Record::new(&folder.join("results.md"));
        let run = |servers: &str, seed, seconds| Run {
            servers: servers.to_owned(),
            commit: "c".to_owned(),
            began: "b".to_owned(),
            machine: "m".to_owned(),
            seed,
            table: Table { seconds, ..Table::default() },
        };
        for (servers, seed, seconds) in [("ours", 1, 5), ("ours", 1, 10), ("ours", 2, 20), ("theirs", 3, 40)]
        {
            record.enter(&run(servers, seed, seconds)).expect("written");
        }
        let text = fs::read_to_string(folder.join("results.md")).expect("a page");
        assert!(text.contains("## ours, 30 seconds in all"), "{text}");
        assert!(text.contains("## theirs, 40 seconds in all"), "{text}");
        let other = Record::new(&folder.join("other.md"));
        other.enter(&run("ours", 9, 100)).expect("written");
        assert_eq!(record.take_in(&folder.join("other.md")).expect("taken in"), 1);
        assert!(
            fs::read_to_string(folder.join("results.md"))
                .expect("a page")
                .contains("ours, 130 seconds in all")
        );
        fs::remove_dir_all(folder).expect("gone");
    }
}
