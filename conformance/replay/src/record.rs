//! The page of what was replayed: a section for each budget, written by the command itself.

use std::{
    fmt::Write as _,
    fs,
    io::ErrorKind,
    num::NonZero,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::Context;
use checker::rows::Budget;
use serde::Serialize;

/// The page, from the root of the project.
const PAGE: &str = "conformance/replay/results.md";
/// What the page begins with.
const HEAD: &str = "# What a production server has replayed\n\nWritten by `cargo xtask replay --record`: the distinct steps of \
                    one server that the searches of a budget hold, and how many of them a production server has taken as \
                    the model does. A step counts in the first row that has it, of those that were run together. Seconds are \
                    those of the search, the plan and the walks.\n";

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
    /// Those of them that the server has taken as the model does.
    pub peers_covered: usize,
    /// How many walks take them.
    pub walks: usize,
    /// The time of its search, plan and walks.
    pub seconds: u64,
    /// Its steps that were not reached, by reason.
    pub unreached: Vec<(&'static str, usize)>,
    /// In how many of its walks the server does something else.
    pub differences: usize,
}

/// What came of a budget.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Told {
    /// The budget's name.
    pub budget: &'static str,
    /// The searches, in their order.
    pub rows: Vec<RowTold>,
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
    /// The models and rows of its budget, in order.
    rows: Vec<(&'static str, &'static str)>,
    commit: String,
}

impl Section {
    /// To be begun before the run: the commit may be another one when it ends.
    ///
    /// # Errors
    /// If there is no git to tell the commit.
    pub fn begin(budget: Budget) -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let rows = budget.rows().iter().map(|row| (row.setup.model(), row.name)).collect();
        let commit = commit(&root)?;
        Ok(Self { root, rows, commit })
    }

    /// Writes the rows that were run to this budget's section of the page; rows that were not run stay as they are, and
    /// of a row with differences nothing stays: only what agrees is recorded.
    ///
    /// # Errors
    /// As the system says.
    pub fn write(&self, told: &Told) -> anyhow::Result<()> {
        let path = self.root.join(PAGE);
        let old = match fs::read_to_string(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("reading {}", path.display()));
            }
            old => old.unwrap_or_default(),
        };
        // Hours may stand there: it is the old page or the new one, whenever this is interrupted.
        let new = path.with_extension("md.new");
        let page = self.page(&old, told, &machine());
        fs::write(&new, page).with_context(|| format!("writing {}", new.display()))?;
        fs::rename(&new, &path).with_context(|| format!("writing {}", path.display()))
    }

    /// The page with these rows in the place of older ones.
    fn page(&self, old: &str, told: &Told, machine: &str) -> String {
        let mut sections: Vec<String> =
            old.split("\n## ").skip(1).map(|old| format!("## {}\n", old.trim_end())).collect();
        let begins = format!("## {}\n", told.budget);
        let place = sections.iter().position(|old| old.starts_with(&begins));
        let section = self.section(place.map_or("", |place| &sections[place]), told, machine);
        match place {
            Some(place) => sections[place] = section,
            None => sections.push(section),
        }
        std::iter::once(HEAD.to_owned()).chain(sections).collect::<Vec<_>>().join("\n")
    }

    fn section(&self, old: &str, told: &Told, machine: &str) -> String {
        let mut lines: Vec<Vec<String>> = Vec::new();
        let mut reasons: Vec<Vec<String>> = Vec::new();
        for (model, row) in &self.rows {
            let new = told.rows.iter().find(|new| (new.model, new.row) == (*model, *row));
            if let Some(new) = new {
                if new.differences > 0 {
                    continue;
                }
                lines.push(self.line(new, machine));
                let cells = |(why, steps): &(&str, usize)| {
                    [model, row, *why].map(str::to_owned).into_iter().chain([steps.to_string()]).collect()
                };
                reasons.extend(new.unreached.iter().map(cells));
            } else {
                let lines_of = |columns: usize| {
                    let is_of = |cells: &Vec<String>| cells.len() == columns && cells[..2] == [*model, *row];
                    old.lines().map(cells).filter(is_of).collect::<Vec<_>>()
                };
                lines.extend(lines_of(COLUMNS.len()));
                reasons.extend(lines_of(REASONS.len()));
            }
        }
        let sum = |column: usize| lines.iter().filter_map(|line| line[column].parse::<usize>().ok()).sum();
        let [steps, covered, walks, seconds] = [5, 6, 7, 8].map(sum);
        let missing: Vec<_> = self
            .rows
            .iter()
            .filter(|(model, row)| !lines.iter().any(|line| line[..2] == [*model, *row]))
            .collect();
        let mut text = format!("## {}\n\n{}", told.budget, table(&COLUMNS, &lines));
        let _ = writeln!(
            text,
            "\nThe sum of these rows, as steps of whole peers: {covered} of {steps} ({}); {walks} walks, no difference; \
             {seconds} s. Steps that rows share count in each of them if they were not run together.",
            share(covered, steps)
        );
        if !missing.is_empty() {
            let names: Vec<_> = missing.iter().map(|(model, row)| format!("`{row}` of {model}")).collect();
            let _ = writeln!(text, "\nNot replayed: {}.", names.join(", "));
        }
        if !reasons.is_empty() {
            text += "\n";
            text += &table(&REASONS, &reasons);
        }
        text
    }

    fn line(&self, new: &RowTold, machine: &str) -> Vec<String> {
        let RowTold { model, row, steps, covered, of_peers, peers_covered, walks, .. } = new;
        let numbers = [*of_peers, *peers_covered, *walks].map(|number| number.to_string());
        [model, row]
            .map(|name| (*name).to_owned())
            .into_iter()
            .chain([steps.to_string(), covered.to_string(), share(*covered, *steps)])
            .chain(numbers)
            .chain([new.seconds.to_string(), self.commit.clone(), machine.to_owned()])
            .collect()
    }
}

/// What stands of each row; of its steps that were not reached.
const COLUMNS: [&str; 11] = [
    "model",
    "row",
    "distinct steps",
    "covered",
    "share",
    "as steps of whole peers",
    "covered of those",
    "walks",
    "seconds",
    "commit",
    "machine",
];
const REASONS: [&str; 4] = ["model", "row", "not reached, since", "steps"];

/// The cells of a line of a table.
fn cells(line: &str) -> Vec<String> {
    let inner = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")).unwrap_or_default();
    inner.split(" | ").map(str::to_owned).collect()
}

fn table(head: &[&str], lines: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for line in lines {
        let _ = writeln!(text, "| {} |", line.join(" | "));
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

    fn run(covered: usize, why: &'static str) -> RowTold {
        RowTold {
            model: "session",
            row: "moves",
            steps: 3,
            covered,
            of_peers: 3,
            peers_covered: covered,
            walks: 2,
            seconds: 5,
            unreached: vec![(why, 3 - covered)],
            differences: 0,
        }
    }

    #[test]
    fn a_row_takes_the_place_of_its_older_one_and_others_stay() {
        let section = |commit: &str| Section {
            root: PathBuf::new(),
            rows: vec![("session", "moves"), ("session", "pings"), ("peer", "moves")],
            commit: commit.to_owned(),
        };
        let told = |budget, rows| Told { budget, rows, ..Told::default() };
        let first = section("a").page("", &told("quick", vec![run(1, "no way")]), "a machine");
        assert!(first.contains("Not replayed: `pings` of session, `moves` of peer."), "{first}");
        let of_peers = RowTold { model: "peer", ..run(2, "no time") };
        let second = section("b").page(&first, &told("quick", vec![of_peers]), "another");
        assert!(
            second.contains("| session | moves | 3 | 1 | 33.33 % | 3 | 1 | 2 | 5 | a | a machine |"),
            "{second}"
        );
        assert!(
            second.contains("| peer | moves | 3 | 2 | 66.66 % | 3 | 2 | 2 | 5 | b | another |"),
            "{second}"
        );
        assert!(
            second.contains("| session | moves | no way | 2 |\n| peer | moves | no time | 1 |"),
            "{second}"
        );
        assert!(second.contains("as steps of whole peers: 3 of 6 (50.00 %); 4 walks"), "{second}");
        assert!(second.contains("Not replayed: `pings` of session."), "{second}");
        let third = section("c").page(&second, &told("standard", vec![run(3, "never")]), "a machine");
        assert_eq!(third.matches("## ").count(), 2, "{third}");
        let fourth = section("c").page(&third, &told("quick", vec![run(2, "no luck")]), "a machine");
        assert!(!fourth.contains("no way") && fourth.contains("| peer | moves | no time | 1 |"), "{fourth}");
        assert!(fourth.contains("| session | moves | 3 | 3 | 100.00 % |"), "the other budget's: {fourth}");
        let differs = RowTold { differences: 1, ..run(2, "no luck") };
        let fifth = section("d").page(&fourth, &told("quick", vec![differs]), "a machine");
        assert!(!fifth.contains("no luck") && fifth.contains("Not replayed: `moves` of session"), "{fifth}");
    }
}
