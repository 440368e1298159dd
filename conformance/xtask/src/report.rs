//! What was checked: records of full runs, and the section of the README that is made from them.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::run::Call;

/// The last full run, one object.
const FULL: &str = "conformance/results.json";

/// What the checker has exhausted, written by it.
const CHECKER: &str = "model/checker/results.md";

/// Where the section stands in the README.
const BEGIN: &str = "<!-- checked: begin (written by `cargo xtask bless`) -->";
const END: &str = "<!-- checked: end -->";

/// Records a full run with its commit.
pub(crate) fn record(parts: &[Value]) -> Result<()> {
    let git = |arguments: &[&str]| Call::new("git", arguments).output().map(|text| text.trim().to_owned());
    let commit = git(&["rev-parse", "HEAD"])?;
    let changed = !git(&["status", "--porcelain"])?.is_empty();
    let date = git(&["log", "-1", "--format=%cs"])?;
    let record = json!({"commit": commit, "committed": date, "changed_since": changed, "parts": parts});
    fs::write(FULL, serde_json::to_string_pretty(&record)? + "\n")
        .with_context(|| format!("cannot write {FULL}"))
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
    let full = match fs::read_to_string(FULL) {
        Ok(text) => Some(serde_json::from_str(&text).with_context(|| format!("{FULL} is no record"))?),
        Err(_) => None,
    };
    Ok(compose(checker.as_deref(), full.as_ref()))
}

fn compose(checker: Option<&str>, full: Option<&Value>) -> String {
    let mut lines = Vec::new();
    match checker {
        Some(text) => {
            let body: Vec<_> = text.lines().filter(|line| !line.starts_with("# ")).collect();
            lines.push(body.join(
                "
",
            ));
        }
        None => lines.push("No model has been recorded yet.".to_owned()),
    }
    match full {
        Some(full) => lines.push(runs(full)),
        None => lines.push("No full run of the conformance tests has been recorded yet.".to_owned()),
    }
    lines.iter().map(|text| text.trim().to_owned()).collect::<Vec<_>>().join("\n\n")
}

fn runs(full: &Value) -> String {
    let commit: String = full["commit"].as_str().unwrap_or("?").chars().take(12).collect();
    let changed = if full["changed_since"] == true { ", with changes that were not committed" } else { "" };
    let mut lines = vec![
        format!("The last full run (`cargo xtask test --full`), at commit {commit}{changed}:"),
        String::new(),
        "| part | outcome |".to_owned(),
        "|---|---|".to_owned(),
    ];
    for part in full["parts"].as_array().into_iter().flatten() {
        let name = part["part"].as_str().unwrap_or("?");
        let figure = part["figure"].as_str().unwrap_or_default().replace(['|', '\n'], " ");
        let outcome = match (part["passed"] == true, figure.is_empty()) {
            (true, true) => "passed".to_owned(),
            (true, false) => figure,
            (false, _) => format!("**failed**: {figure}"),
        };
        lines.push(format!("| {name} | {outcome} |"));
    }
    lines.join("\n")
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
    fn a_failed_part_is_shown_as_failed() {
        let full = json!({"commit": "0123456789abcdef", "changed_since": false, "parts": [
            {"part": "kills", "passed": true, "figure": "20 kills"},
            {"part": "strace", "passed": false, "figure": "an ACK | too early"},
        ]});
        let text = compose(None, Some(&full));
        assert!(text.contains("| kills | 20 kills |"), "{text}");
        assert!(text.contains("| strace | **failed**: an ACK   too early |"), "{text}");
        assert!(text.contains("No model has been recorded"), "{text}");
    }
}
