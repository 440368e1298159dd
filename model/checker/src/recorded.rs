//! The recorded counts of every row: distinct states, transitions and depth. They are exact, and change only with the
//! actors, the models or the bounds, by `zabcheck bless`.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::Context;

use crate::run::Report;

const RECORDED: &str = include_str!("../recorded.txt");

type Key = (String, String, String);

fn parse(text: &str) -> BTreeMap<Key, [u64; 3]> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let mut word = || words.next().map(str::to_owned);
        let key = (word()?, word()?, word()?);
        let mut number = || words.next()?.parse().ok();
        Some((key, [number()?, number()?, number()?]))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect()
}

fn key(report: &Report) -> Key {
    (report.budget.clone(), report.model.to_owned(), report.row.clone())
}

fn counts(report: &Report) -> [u64; 3] {
    [report.distinct as u64, report.generated, report.depth.into()]
}

/// Compares an exhausted row with what is recorded of it; a row that is not recorded differs too, but of the deep budget,
/// of which hardly anything is.
pub fn compare(report: &mut Report) {
    let recorded = parse(RECORDED).get(&key(report)).copied();
    if recorded.is_none() && report.budget == "deep" {
        return;
    }
    let recorded = recorded.unwrap_or_default();
    if report.exhausted && report.broken.is_none() && recorded != counts(report) {
        report.recorded = Some(recorded);
    }
}

/// Records the counts of these rows in the source; others stay.
///
/// # Errors
/// The table cannot be read or written.
pub fn bless(reports: &[Report]) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded.txt");
    // As it is now, and not as it was built in: another budget may have been recorded since.
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut table = parse(&text);
    table.extend(reports.iter().filter(|r| r.exhausted && r.broken.is_none()).map(|r| (key(r), counts(r))));
    let mut text =
        "# budget model row: distinct states, transitions, depth. Written by `zabcheck bless`.\n".to_owned();
    for ((budget, model, row), [distinct, generated, depth]) in table {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{budget} {model} {row} {distinct} {generated} {depth}");
    }
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}
