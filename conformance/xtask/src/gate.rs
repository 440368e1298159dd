//! Runs parts one behind the other, tells how long each took, and sums up even where one failed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use crate::report::{self, minutes};

/// The part that builds what the parts behind it run.
pub(crate) const BUILD: &str = "build";

/// One part of the gate.
pub(crate) struct Part {
    /// A short word.
    pub(crate) name: &'static str,
    /// What passes when it passes.
    pub(crate) what: &'static str,
    /// Does it; the text is a figure worth recording, and may be empty.
    pub(crate) run: Box<dyn FnMut() -> Result<String>>,
}

/// Short, or everything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Length {
    /// The gate of every change.
    Short,
    /// Everything else too.
    Full,
}

/// Why a part cannot be run on this machine. It has not passed; but in the short gate no change is to blame for it.
#[derive(Debug)]
pub(crate) struct NotRun(pub(crate) &'static str);

impl std::fmt::Display for NotRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NotRun {}

/// How a part ended.
struct Outcome {
    name: &'static str,
    seconds: u64,
    verdict: Result<String>,
}

impl Outcome {
    fn is_not_run(&self) -> bool {
        self.verdict.as_ref().is_err_and(anyhow::Error::is::<NotRun>)
    }
}

/// Runs the parts; true if all passed, or, of the short gate, could not be run. The last line counts them.
pub(crate) fn run(parts: Vec<Part>, length: Length, only: &[String]) -> Result<bool> {
    let parts = chosen(parts, only);
    let total = parts.len();
    let started = Instant::now();
    let mut outcomes = Vec::new();
    for mut part in parts {
        println!("=== {}: {}", part.name, part.what);
        let begun = Instant::now();
        let verdict = (part.run)();
        let outcome = Outcome { name: part.name, seconds: seconds(begun.elapsed()), verdict };
        let failed = outcome.verdict.is_err() && !outcome.is_not_run();
        if let Err(error) = &outcome.verdict {
            let word = if failed { "failed" } else { "was not run" };
            eprintln!("{} {word}: {error:#}", outcome.name);
        }
        outcomes.push(outcome);
        if failed && length == Length::Short {
            break;
        }
    }
    let passed = outcomes.iter().filter(|outcome| outcome.verdict.is_ok()).count();
    print!("{}", summary(&outcomes, total));
    if length == Length::Full {
        record(&outcomes).context("the outcome could not be recorded")?;
    }
    println!("all parts: {} min", minutes(seconds(started.elapsed())));
    let not_run = outcomes.iter().filter(|outcome| outcome.is_not_run()).count();
    let failed = outcomes.len() - passed - not_run;
    let beside = if not_run == 0 { String::new() } else { format!(", {not_run} could not be run") };
    println!("{passed} passed, {failed} failed{beside}");
    Ok(failed == 0 && passed > 0 && (not_run == 0 || length == Length::Short))
}

/// The parts that are asked for, all if none is; with those behind the build, the build: what they run is to be of the
/// sources as they are.
fn chosen(parts: Vec<Part>, only: &[String]) -> Vec<Part> {
    let is_named = |part: &Part| only.is_empty() || only.iter().any(|word| part.name.contains(word.as_str()));
    let build = parts.iter().position(|part| part.name == BUILD);
    let builds = build.is_some_and(|build| parts[build..].iter().any(is_named));
    parts.into_iter().filter(|part| is_named(part) || (part.name == BUILD && builds)).collect()
}

fn summary(outcomes: &[Outcome], total: usize) -> String {
    let mut lines = vec![format!("\n{:<12} {:>7}  outcome", "part", "minutes")];
    for outcome in outcomes {
        let word = match &outcome.verdict {
            Ok(figure) if figure.is_empty() => "passed".to_owned(),
            Ok(figure) => format!("passed: {figure}"),
            Err(error) if outcome.is_not_run() => format!("NOT RUN: {error}"),
            Err(_) => "FAILED".to_owned(),
        };
        lines.push(format!("{:<12} {:>7}  {word}", outcome.name, minutes(outcome.seconds)));
    }
    if outcomes.len() < total {
        lines.push(format!("{} parts were not run", total - outcomes.len()));
    }
    lines.join("\n") + "\n"
}

fn record(outcomes: &[Outcome]) -> Result<()> {
    let row = |outcome: &Outcome| {
        let (passed, figure) = match &outcome.verdict {
            Ok(figure) => (true, figure.clone()),
            Err(error) => (false, format!("{error:#}")),
        };
        json!({"part": outcome.name, "passed": passed, "seconds": outcome.seconds, "figure": figure})
    };
    report::record(&outcomes.iter().map(row).collect::<Vec<_>>())
}

fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_millis() >= 500)
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    fn part(name: &'static str, passes: bool) -> Part {
        let run = move || if passes { Ok(String::new()) } else { bail!("it does not hold") };
        Part { name, what: "", run: Box::new(run) }
    }

    #[test]
    fn a_failed_part_fails_the_gate_and_ends_it() {
        assert!(run(vec![part("one", true)], Length::Short, &[]).expect("runs"));
        let never = Part { name: "never", what: "", run: Box::new(|| panic!("run behind a failure")) };
        assert!(!run(vec![part("one", true), part("two", false), never], Length::Short, &[]).expect("runs"));
    }

    #[test]
    fn what_cannot_be_run_has_not_passed_and_fails_no_change() {
        let not_run = || Part { name: "two", what: "", run: Box::new(|| bail!(NotRun("there is no road"))) };
        let parts = || vec![part("one", true), not_run(), part("three", true)];
        assert!(run(parts(), Length::Short, &[]).expect("runs"));
        assert!(!run(parts(), Length::Short, &["two".to_owned()]).expect("runs"), "nothing has passed");
        let outcome = Outcome { name: "two", seconds: 0, verdict: (not_run().run)() };
        assert!(summary(&[outcome], 1).contains("NOT RUN: there is no road"));
    }

    #[test]
    fn a_gate_without_parts_does_not_pass() {
        assert!(!run(vec![part("one", true)], Length::Short, &["two".to_owned()]).expect("runs"));
    }

    #[test]
    fn what_runs_programs_builds_them_first() {
        let all = || {
            ["tests", BUILD, "kills", "kazoo"].map(|name| part(name, true)).into_iter().collect::<Vec<_>>()
        };
        let names = |only: &str| {
            let only: Vec<_> = only.split_whitespace().map(str::to_owned).collect();
            chosen(all(), &only).iter().map(|part| part.name).collect::<Vec<_>>()
        };
        assert_eq!(names("tests"), ["tests"]);
        assert_eq!(names("kills"), [BUILD, "kills"]);
        assert_eq!(names("tests kazoo"), ["tests", BUILD, "kazoo"]);
        assert_eq!(names("").len(), 4);
    }
}
