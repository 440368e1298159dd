//! What was checked: records of full runs, and the section of the README that is made from them.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::run::Call;

/// The last run of each part of the full gate.
const FULL: &str = "conformance/results.json";

/// What the checker has exhausted, a section a budget.
const CHECKER: &str = "model/checker/results.md";

/// What runs write down is no change of what is run.
const RECORDS: &[&str] = &[
    ":!conformance/results.json",
    ":!conformance/*/results.*",
    ":!conformance/judge/mutants.md",
    ":!model/checker/*.md",
    ":!model/simulator/results.md",
    ":!README.md",
];

/// Where the section stands in the README.
const BEGIN: &str = "<!-- checked: begin (written by `cargo xtask bless`) -->";
const END: &str = "<!-- checked: end -->";

/// Records parts of the full gate, each with the commit that it was run at. Parts that were not run this time keep
/// what is recorded of them.
pub(crate) fn record(parts: &[Value]) -> Result<()> {
    let git = |arguments: &[&str]| Call::new("git", arguments).output().map(|text| text.trim().to_owned());
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let arguments = [&["status", "--porcelain", "--", "."][..], RECORDS].concat();
    let changed = !git(&arguments)?.is_empty();
    let here = format!("{}/", std::env::current_dir()?.display());
    let mut record = recorded()?;
    for part in parts {
        let mut part = part.clone();
        part["commit"] = json!(commit);
        part["changed_since"] = json!(changed);
        // A failure may name files: not by where this folder stands.
        if let Some(figure) = part["figure"].as_str() {
            part["figure"] = json!(figure.replace(&here, ""));
        }
        replace(&mut record, part);
    }
    fs::write(FULL, serde_json::to_string_pretty(&record)? + "\n")
        .with_context(|| format!("cannot write {FULL}"))
}

/// What is recorded, a part an object; nothing, if there is no record.
fn recorded() -> Result<Vec<Value>> {
    match fs::read_to_string(FULL) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("{FULL} is no record")),
        Err(_) => Ok(Vec::new()),
    }
}

fn replace(record: &mut Vec<Value>, part: Value) {
    match record.iter_mut().find(|old| old["part"] == part["part"]) {
        Some(old) => *old = part,
        None => record.push(part),
    }
}

/// Records what the checker said of a budget, or of the part of it that these arguments choose: `rows` holds one JSON
/// object a line.
pub(crate) fn record_models(budget: &str, arguments: &str, rows: &str) -> Result<()> {
    let commit = Call::new("git", &["rev-parse", "--short=12", "HEAD"]).output()?;
    let table = model_table(budget, arguments, commit.trim(), rows)?;
    let old = fs::read_to_string(CHECKER).unwrap_or_default();
    fs::write(CHECKER, with_budget(&old, budget, &table)).with_context(|| format!("cannot write {CHECKER}"))
}

fn model_table(budget: &str, arguments: &str, commit: &str, rows: &str) -> Result<String> {
    let mut lines = vec![
        format!("## {budget}"),
        String::new(),
        format!("`cargo zabcheck check {arguments}`, at commit {commit}:"),
        String::new(),
        "| model | row | bounds | distinct states | steps computed | depth | seconds | bytes a state | outcome |"
            .to_owned(),
        "|---|---|---|--:|--:|--:|--:|--:|---|".to_owned(),
    ];
    for row in rows.lines().filter(|line| line.starts_with('{')) {
        let row: Value = serde_json::from_str(row).context("a row of the checker")?;
        let word = |key: &str| row[key].as_str().unwrap_or("?").to_owned();
        let outcome = match (row["broken"].as_str(), row["exhausted"] == true) {
            (Some(rule), _) => format!("**{rule} broken**"),
            (None, true) if !row["recorded"].is_null() => {
                "exhausted, and **the counts are others than recorded**".to_owned()
            }
            (None, true) if row["missing"].as_array().is_none_or(Vec::is_empty) => {
                "exhausted, every rule holds".to_owned()
            }
            (None, true) => "exhausted, and **a witness is missing**".to_owned(),
            (None, false) => match row["cut"].as_str() {
                Some(limit) => format!("cut by {limit}; until there every rule holds"),
                None => "not exhausted".to_owned(),
            },
        };
        lines.push(format!(
            "| {} | {} | {} | {} | {} | {} | {:.1} | {} | {outcome} |",
            word("model"),
            word("row"),
            word("bounds"),
            row["distinct"],
            row["generated"],
            row["depth"],
            row["seconds"].as_f64().unwrap_or_default(),
            row["bytes_per_state"],
        ));
    }
    ensure!(lines.len() > 6, "the checker told of no row");
    Ok(lines.join("\n"))
}

/// The record with the section of this budget replaced.
fn with_budget(old: &str, budget: &str, section: &str) -> String {
    let mut sections: Vec<&str> = old.split("\n## ").skip(1).map(str::trim).collect();
    let section = section.strip_prefix("## ").unwrap_or(section);
    sections.retain(|other| other.lines().next() != Some(budget));
    sections.push(section);
    sections.sort_unstable();
    let body: Vec<String> = sections.iter().map(|section| format!("## {section}\n")).collect();
    format!("# What the checker has exhausted\n\n{}", body.join("\n"))
}

/// Writes the section of the README anew.
pub(crate) fn write_readme() -> Result<()> {
    let readme = fs::read_to_string("README.md")?;
    fs::write("README.md", with_section(&readme, &section()?)?)?;
    Ok(())
}

/// Fails if the README does not show what is recorded.
pub(crate) fn check_readme() -> Result<()> {
    let readme = fs::read_to_string("README.md")?;
    ensure!(
        with_section(&readme, &section()?)? == readme,
        "README.md shows old figures; `cargo xtask bless` mends it"
    );
    Ok(())
}

fn section() -> Result<String> {
    let checker = fs::read_to_string(CHECKER).ok();
    Ok(compose(checker.as_deref(), &recorded()?))
}

fn compose(checker: Option<&str>, full: &[Value]) -> String {
    let mut lines = Vec::new();
    match checker {
        Some(text) => lines.push(searches(text)),
        None => lines.push("No model has been recorded yet.".to_owned()),
    }
    if full.is_empty() {
        lines.push("No part of the full gate has been recorded yet.".to_owned());
    } else {
        lines.push(runs(full));
    }
    lines.iter().map(|text| text.trim().to_owned()).collect::<Vec<_>>().join("\n\n")
}

/// What the rows of each model come to, of all that is recorded of the checker.
fn searches(record: &str) -> String {
    let mut lines = vec![
        "What `cargo zabcheck check` has searched; the bounds, states and depth of each row stand in \
         [model/checker/results.md](model/checker/results.md):"
            .to_owned(),
        String::new(),
        "| budget | model | rows | distinct states | steps computed | outcome | at commit |".to_owned(),
        "|---|---|--:|--:|--:|---|---|".to_owned(),
    ];
    for section in record.split("\n## ").skip(1) {
        let budget = section.lines().next().unwrap_or("?");
        let commit =
            section.split_once("at commit ").map_or("?", |(_, rest)| rest.lines().next().unwrap_or("?"));
        let mut models: Vec<(&str, [u64; 3], BTreeMap<&str, u64>)> = Vec::new();
        for row in section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| model ")) {
            let columns: Vec<&str> = row.split('|').map(str::trim).collect();
            let &[_, model, _, _, states, steps, .., outcome, _] = &columns[..] else { continue };
            let at = models.iter().position(|(known, ..)| *known == model).unwrap_or_else(|| {
                models.push((model, [0; 3], BTreeMap::new()));
                models.len() - 1
            });
            let (_, sums, outcomes) = &mut models[at];
            let figures = [1, states.parse().unwrap_or_default(), steps.parse().unwrap_or_default()];
            sums.iter_mut().zip(figures).for_each(|(sum, figure): (_, u64)| *sum += figure);
            *outcomes.entry(outcome).or_default() += 1;
        }
        for (model, [rows, states, steps], outcomes) in models {
            let outcomes: Vec<String> = match outcomes.len() {
                1 => outcomes.keys().map(|outcome| (*outcome).to_owned()).collect(),
                _ => outcomes.iter().map(|(outcome, rows)| format!("{rows}: {outcome}")).collect(),
            };
            lines.push(format!(
                "| {budget} | {model} | {rows} | {states} | {steps} | {} | {} |",
                outcomes.join("; "),
                commit.trim_end_matches(':')
            ));
        }
    }
    lines.join("\n")
}

fn runs(full: &[Value]) -> String {
    let mut lines = vec![
        "The last recorded run of parts of `cargo xtask test --full`; what is not here keeps pages of its own, or was not recorded:".to_owned(),
        String::new(),
        "| part | outcome | minutes | at commit |".to_owned(),
        "|---|---|--:|---|".to_owned(),
    ];
    for part in full {
        let commit = part["commit"].as_str().unwrap_or("?");
        let changed = if part["changed_since"] == true { " and changes" } else { "" };
        let minutes = minutes(part["seconds"].as_u64().unwrap_or_default());
        let name = part["part"].as_str().unwrap_or("?");
        let figure = part["figure"].as_str().unwrap_or_default().replace(['|', '\n'], " ");
        let outcome = match (part["passed"] == true, figure.is_empty()) {
            (true, true) => "passed".to_owned(),
            (true, false) => figure,
            (false, _) => format!("**failed**: {figure}"),
        };
        lines.push(format!("| {name} | {outcome} | {minutes} | {commit}{changed} |"));
    }
    lines.join("\n")
}

/// Seconds as minutes with one decimal.
pub(crate) fn minutes(seconds: u64) -> String {
    let tenths = (seconds * 10).div_ceil(60);
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn with_section(readme: &str, section: &str) -> Result<String> {
    let (before, rest) = readme.split_once(BEGIN).with_context(|| format!("README.md lacks {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("README.md lacks {END}"))?;
    Ok(format!("{before}{BEGIN}\n\n{section}\n\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_is_replaced_and_nothing_else() {
        let readme = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let new = with_section(&readme, "new").expect("markers");
        assert_eq!(new, format!("a\n{BEGIN}\n\nnew\n\n{END}\nb\n"));
        assert_eq!(with_section(&new, "new").expect("markers"), new);
        assert!(with_section("a", "new").is_err());
    }

    #[test]
    fn a_budget_replaces_its_own_section_only() {
        let row = r#"{"model":"zab","row":"fine","bounds":"3 servers","distinct":7,"generated":9,"depth":3,"seconds":0.25,
            "bytes_per_state":60,"exhausted":true,"broken":null,"missing":[]}"#
            .replace('\n', "");
        let quick = model_table("quick", "--budget quick", "abc", &row).expect("a row");
        assert!(quick.contains("`cargo zabcheck check --budget quick`, at commit abc:"), "{quick}");
        assert!(
            quick.contains("| zab | fine | 3 servers | 7 | 9 | 3 | 0.2 | 60 | exhausted, every rule holds |"),
            "{quick}"
        );
        let broken = row.replace("null", "\"I-8\"");
        let standard = model_table("standard", "--budget standard", "abc", &broken).expect("a row");
        assert!(standard.contains("**I-8 broken**"), "{standard}");
        let both = with_budget(&with_budget("", "standard", &standard), "quick", &quick);
        assert_eq!(with_budget(&both, "quick", &quick), both);
        assert!(both.find("## quick") < both.find("## standard"), "{both}");
        assert!(model_table("quick", "--budget quick", "abc", "").is_err());
        let cut = row.replace("\"exhausted\":true", "\"exhausted\":false,\"cut\":\"memory\"");
        let deep = model_table("deep: peer", "peer --budget deep", "abc", &cut).expect("a row");
        assert!(deep.contains("cut by memory; until there every rule holds |"), "{deep}");
    }

    #[test]
    fn rows_of_a_model_are_summed_up() {
        let row = |row: &str, outcome: &str| {
            format!("| zab | {row} | 3 servers | 7 | 9 | 3 | 0.2 | 60 | {outcome} |")
        };
        let quick = format!(
            "## quick\n\n`cargo zabcheck check --budget quick`, at commit abc:\n\n| model | row |\n|---|---|\n{}\n{}\n",
            row("fine", "exhausted, every rule holds"),
            row("coarse", "exhausted, every rule holds")
        );
        let deep =
            format!("## deep\n\nso, at commit def:\n\n{}\n{}\n", row("a", "cut by memory"), row("b", "held"));
        let text = searches(&format!("# What\n\n{quick}\n{deep}"));
        assert!(text.contains("| quick | zab | 2 | 14 | 18 | exhausted, every rule holds | abc |"), "{text}");
        assert!(text.contains("| deep | zab | 2 | 14 | 18 | 1: cut by memory; 1: held | def |"), "{text}");
    }

    #[test]
    fn minutes_have_one_decimal() {
        assert_eq!([minutes(0), minutes(6), minutes(90), minutes(601)], ["0.0", "0.1", "1.5", "10.1"]);
    }

    #[test]
    fn a_failed_part_is_shown_as_failed() {
        let kills =
            json!({"part": "kills", "passed": true, "figure": "20 kills", "seconds": 90, "commit": "0123"});
        let strace = json!({"part": "strace", "passed": false, "figure": "an ACK | too early", "seconds": 6,
            "commit": "4567", "changed_since": true});
        let text = compose(None, &[kills, strace]);
        assert!(text.contains("| kills | 20 kills | 1.5 | 0123 |"), "{text}");
        assert!(
            text.contains("| strace | **failed**: an ACK   too early | 0.1 | 4567 and changes |"),
            "{text}"
        );
        assert!(text.contains("No model has been recorded"), "{text}");
    }

    #[test]
    fn a_part_that_is_run_again_replaces_itself_only() {
        let part = |name: &str, commit: &str| json!({"part": name, "commit": commit});
        let mut record = vec![part("kills", "1"), part("strace", "1")];
        replace(&mut record, part("strace", "2"));
        replace(&mut record, part("deny", "2"));
        assert_eq!(record, [part("kills", "1"), part("strace", "2"), part("deny", "2")]);
    }
}
