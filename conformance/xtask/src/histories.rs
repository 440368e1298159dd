//! `cargo xtask histories`: builds ours, and lets clients and a nemesis at it.

use std::{ffi::OsString, fs, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use crate::{
    built,
    gate::NotRun,
    install,
    run::{self, Call},
};

/// What the record is called.
const RECORD: &str = "conformance/histories/results.md";

/// How long a run may take.
const PATIENCE: Duration = Duration::from_hours(12);

/// The exit code of a run that this machine does not allow.
const SKIPPED: i32 = 3;

/// Promises that a short run puts to the test by luck alone: for this one, a session must be declared dead while its
/// client goes on, soon after two contacts that the leader is sure to have heard of.
const BY_LUCK: &[&str] = &["sessions outlive short silence"];

/// What it needs of Debian's packages.
const TOOLS: &[(&str, &str)] = &[("iproute2", "/usr/sbin/ip"), ("faketime", "/usr/bin/faketime")];
const ZOOKEEPER: &[(&str, &str)] =
    &[("default-jre-headless", "/usr/bin/java"), ("zookeeper", "/usr/share/java/zookeeper.jar")];

/// Runs it with these arguments of its own, and returns whether every promise holds.
pub(crate) fn run(arguments: &[String], record: bool) -> Result<bool> {
    run::build_server()?;
    run::cargo(&["build", "--locked", "--release", "-p", "zabkeeper-histories"]).call()?;
    let mut words: Vec<String> = Vec::new();
    if record {
        words.extend(["--record", RECORD, "--commit"].map(str::to_owned));
        words.push(Call::new("git", &["rev-parse", "--short=12", "HEAD"]).output()?.trim().to_owned());
        words.extend(["--machine".to_owned(), machine()?]);
    }
    match call(arguments, &words)? {
        0 => Ok(true),
        1 => Ok(false),
        SKIPPED => bail!("nothing was run: see above"),
        code => bail!("histories ended with {code}"),
    }
}

fn call(arguments: &[String], more: &[String]) -> Result<i32> {
    install::debian(TOOLS)?;
    if arguments.iter().any(|word| word.ends_with("java")) {
        install::debian(ZOOKEEPER)?;
    }
    let program = run::release()?.join("histories");
    ensure!(program.exists(), "{} is not built", program.display());
    let program = program.to_str().context("the target folder has no plain name")?.to_owned();
    // What is said on the command line wins: a later option would be one too many.
    let given = arguments.iter().any(|word| word == "--binary");
    let ours = if given { Vec::new() } else { vec![OsString::from("--binary"), built::server()?.into()] };
    Call::new(&program, &[]).args(ours).args(more).args(arguments).within(PATIENCE).code()
}

fn machine() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let model = fs::read_to_string("/proc/cpuinfo")?;
    let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kb: u64 = memory.split_whitespace().nth(1).context("no memory")?.parse()?;
    Ok(format!(
        "{cores} cores ({}), {} GB",
        model.trim_start_matches([':', ' ', '\t']).trim(),
        kb / 1_000_000
    ))
}

/// A part of the gate: what it came to, or why it could not be run here.
pub(crate) fn part(arguments: &[&str]) -> Result<String> {
    let json = run::release()?.join("histories.json");
    if json.exists() {
        fs::remove_file(&json)?;
    }
    let more = ["--json".to_owned(), json.to_str().context("no plain name")?.to_owned()];
    let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
    match call(&arguments, &more)? {
        0 => {}
        1 => bail!("a promise is broken"),
        SKIPPED => bail!(NotRun("there are no network namespaces on this machine")),
        code => bail!("histories ended with {code}"),
    }
    let Ok(text) = fs::read_to_string(&json) else { return Ok("each mutant is caught".to_owned()) };
    let told: Value = serde_json::from_str(&text)?;
    let rows = told["rows"].as_object().context("no rows are told")?.values();
    let sum = |key: &str| -> u64 {
        let rows = rows.clone().filter_map(Value::as_object).flat_map(Map::values);
        rows.filter_map(|row| row[key].as_u64()).sum()
    };
    let faults = told["faults"].as_object().context("no faults are told")?.values();
    let faults: u64 = faults.filter_map(|counts| counts[1].as_u64()).sum();
    let checks = told["checks"].as_object().context("no checks are told")?;
    let untested = untested(checks);
    ensure!(!checks.is_empty(), "nothing was checked");
    ensure!(untested.is_empty(), "nothing put these promises to the test: {}", untested.join("; "));
    let checks: u64 = checks.values().filter_map(Value::as_u64).sum();
    Ok(format!(
        "{} operations, {} of unknown outcome, under {faults} faults; {checks} checks, all hold",
        sum("operations"),
        sum("unknown")
    ))
}

/// The promises that were held against nothing, of those that every run of all clients can test.
fn untested(checks: &Map<String, Value>) -> Vec<&str> {
    let none = |count: &Value| count.as_u64().unwrap_or(0) == 0;
    let idle = checks.iter().filter(|(rule, count)| none(count) && !BY_LUCK.contains(&rule.as_str()));
    idle.map(|(rule, _)| rule.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_promise_that_nothing_put_to_the_test_is_named() {
        let told = json!({ "one write a zxid": 7, "lists are linearizable": 0, "sessions outlive short silence": 0 });
        let checks = told.as_object().expect("an object");
        assert_eq!(untested(checks), ["lists are linearizable"]);
    }
}
