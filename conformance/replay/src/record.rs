//! The page of what was replayed: a section for each budget, written by the command itself.

use std::{
    fmt::Write as _,
    fs,
    num::NonZero,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, ensure};
use serde::Serialize;

/// The page, from the root of the project.
const PAGE: &str = "conformance/replay/results.md";
/// What the page begins with.
const HEAD: &str = "# What a production server has replayed\n\nWritten by `cargo xtask replay --record`: the distinct steps of \
                    one server that the searches of a budget hold, and how many of them a production server has taken as \
                    the model does. A step counts in the first row that has it.\n";

/// What came of one search's steps.
#[derive(Clone, Debug, Serialize)]
pub struct RowTold {
    /// The search's model.
    pub model: &'static str,
    /// Its row.
    pub row: &'static str,
    /// The distinct steps that it has brought.
    pub steps: usize,
    /// Those of them that the server has taken as the model does.
    pub covered: usize,
    /// How many distinct steps of a whole peer they come to that no row before has.
    pub of_peers: usize,
}

/// What came of a budget.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Told {
    /// The budget's name.
    pub budget: &'static str,
    /// The searches, in their order.
    pub rows: Vec<RowTold>,
    /// The searches that are not replayed, with their models, and why not.
    pub left_out: Vec<(&'static str, &'static str, &'static str)>,
    /// How many distinct servers there are.
    pub servers: usize,
    /// How many distinct steps.
    pub steps: usize,
    /// How many walks take them all.
    pub walks: usize,
    /// How many of them were walked.
    pub walked: usize,
    /// Steps taken, those that lead to others included.
    pub taken: usize,
    /// Distinct steps that the server has taken as the model does.
    pub covered: usize,
    /// Those that were not reached, by reason.
    pub unreached: Vec<(&'static str, usize)>,
    /// Steps at which the server does something else.
    pub differences: Vec<Difference>,
    /// Of the time, what searches and plans took.
    pub search_seconds: u64,
    /// All of it.
    pub seconds: u64,
}

/// A step at which the server does something else.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The walk.
    pub walk: usize,
    /// The step of it, from 1; 0 is the start.
    pub step: usize,
    /// What is different.
    pub why: String,
}

/// A share in hundredths of a percent, rounded down: what is not whole is never shown as whole.
pub fn share(part: usize, whole: usize) -> String {
    let share = (part * 10_000) / whole.max(1);
    format!("{}.{:02} %", share / 100, share % 100)
}

/// A section of the page that is to be written.
#[derive(Debug)]
pub struct Section {
    root: PathBuf,
    commit: String,
}

impl Section {
    /// To be begun before the run: the commit may be another one when it ends.
    ///
    /// # Errors
    /// If there is no git to tell the commit.
    pub fn begin() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let commit = commit(&root)?;
        Ok(Self { root, commit })
    }

    /// Writes this budget's section of the page.
    ///
    /// # Errors
    /// If something differs: only what agrees is recorded; or as the system says.
    pub fn write(&self, told: &Told) -> anyhow::Result<()> {
        ensure!(told.differences.is_empty(), "a run with differences is not recorded");
        let path = self.root.join(PAGE);
        let old = fs::read_to_string(&path).unwrap_or_default();
        let section = section(told, &self.commit, &machine());
        let page = page(&old, told.budget, &section);
        fs::write(&path, page).with_context(|| format!("writing {}", path.display()))
    }
}

/// The page with this section in the place of an older one.
fn page(old: &str, budget: &str, section: &str) -> String {
    let mut sections: Vec<String> =
        old.split("\n## ").skip(1).map(|old| format!("## {}\n", old.trim_end())).collect();
    let begins = format!("## {budget}\n");
    match sections.iter_mut().find(|old| old.starts_with(&begins)) {
        Some(old) => section.clone_into(old),
        None => sections.push(section.to_owned()),
    }
    std::iter::once(HEAD.to_owned()).chain(sections).collect::<Vec<_>>().join("\n")
}

fn section(told: &Told, commit: &str, machine: &str) -> String {
    let mut text = format!("## {}\n\nAt commit {commit}, on {machine}.\n\n", told.budget);
    text += "| model | row | distinct steps | covered | share | as steps of whole peers |\n|---|---|--:|--:|--:|--:|\n";
    for RowTold { model, row, steps, covered, of_peers } in &told.rows {
        let share = share(*covered, *steps);
        let _ = writeln!(text, "| {model} | {row} | {steps} | {covered} | {share} | {of_peers} |");
    }
    let Told { servers, steps, walks, walked, taken, covered, search_seconds, seconds, .. } = told;
    let _ = writeln!(
        text,
        "\nWhole peers: {covered} of {steps} distinct steps ({}) of {servers} distinct servers; {walked} of {walks} walks, {taken} steps taken, no difference; \
         {seconds} s, of which searches and plans {search_seconds} s.",
        share(*covered, *steps)
    );
    if !told.unreached.is_empty() {
        text += "\n| not reached, since | steps |\n|---|--:|\n";
        for (why, steps) in &told.unreached {
            let _ = writeln!(text, "| {why} | {steps} |");
        }
    }
    if !told.left_out.is_empty() {
        text += "\n| model | row | not replayed, since |\n|---|---|---|\n";
        for (model, row, why) in &told.left_out {
            let _ = writeln!(text, "| {model} | {row} | {why} |");
        }
    }
    text
}

fn commit(root: &Path) -> anyhow::Result<String> {
    let git = |arguments: &[&str]| -> anyhow::Result<String> {
        let output = Command::new("git").args(arguments).current_dir(root).output().context("running git")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let changed = git(&["status", "--porcelain", "--", "spec", "model", "impl", "conformance/replay/src"])?;
    let beside = if changed.is_empty() { "" } else { " and changes" };
    Ok(git(&["rev-parse", "--short=12", "HEAD"])? + beside)
}

/// The processor, as the system names it.
fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let count = thread::available_parallelism().map_or(1, NonZero::get);
    format!("{count} processors ({})", name.map_or("unknown", |(_, name)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_its_older_one() {
        let told = |budget, covered| Told {
            budget,
            rows: vec![RowTold { model: "session", row: "moves", steps: 3, covered, of_peers: 3 }],
            steps: 3,
            covered,
            ..Told::default()
        };
        let first = page("", "quick", &section(&told("quick", 1), "abc", "a machine"));
        let second = page(&first, "standard", &section(&told("standard", 2), "abc", "a machine"));
        let third = page(&second, "quick", &section(&told("quick", 3), "def", "a machine"));
        assert_eq!(third.matches("## ").count(), 2, "{third}");
        assert!(third.contains("| session | moves | 3 | 3 | 100.00 % | 3 |"), "{third}");
        assert!(third.contains("| session | moves | 3 | 2 | 66.66 % | 3 |"), "{third}");
        assert!(!third.contains("| session | moves | 3 | 1 |"), "{third}");
        assert_eq!(page(&third, "quick", &section(&told("quick", 3), "def", "a machine")), third);
    }
}
