//! `cargo xtask fuzz`: builds the fuzz targets, and runs them under libFuzzer or by chance alone.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::run::{self, Call};

/// Where runs are recorded.
const RECORD: &str = "conformance/fuzz/results.md";

/// What the compiler needs to be told so that libFuzzer sees which edges an input takes: the passes that cargo-fuzz asks
/// for. They work on a stable compiler, as no sanitizer is among them: there is no `unsafe` here for one to watch.
const GUIDED: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg fuzzing",
    "-Ccodegen-units=1",
];

/// What to run.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Which targets; all if none is named.
    #[arg(long)]
    target: Vec<String>,
    /// How long for each, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// What chance begins with; else another number each time, which is told.
    #[arg(long)]
    seed: Option<u64>,
    /// Change inputs by chance alone: needs no C++ compiler.
    #[arg(long)]
    unguided: bool,
    /// Enter the run in conformance/fuzz/results.md.
    #[arg(long)]
    record: bool,
    /// Name the targets, and run none.
    #[arg(long)]
    list: bool,
    /// Give one target the content of this file instead.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
}

/// Whether the targets stand what they are given.
pub(crate) fn by_hand(options: &Options, here: &std::path::Path) -> Result<bool> {
    run::cargo(&["build", "--locked", "--release", "-p", "zabkeeper-fuzz", "--bin", "fuzz"]).call()?;
    if options.list {
        return fuzz(&["list"])?.verdict();
    }
    if let Some(file) = &options.replay {
        let [target] = &options.target[..] else {
            anyhow::bail!("--replay gives a file to one target: name it with --target");
        };
        let status = fuzz(&["replay", "--target", target])?.args([here.join(file)]).code()?;
        return Ok(status == 0);
    }
    let seed = match options.seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    println!("seed {seed}");
    let guided = if options.unguided { None } else { Some(guided()?) };
    let rows = targets(&options.target, &options.seconds.to_string(), seed, guided.as_deref())?;
    if options.record {
        record(&rows, guided.is_some(), seed)?;
    }
    Ok(rows.iter().all(|row| row["finding"].is_null()))
}

/// A short run of every target by chance; what it came to, in a line.
pub(crate) fn part() -> Result<String> {
    let rows = targets(&[], "1.5", 1, None)?;
    let findings: Vec<_> = rows.iter().filter_map(|row| row["finding"].as_str()).collect();
    ensure!(findings.is_empty(), "{} targets do not stand what they are given", findings.len());
    let inputs: u64 = rows.iter().filter_map(|row| row["inputs"].as_u64()).sum();
    Ok(format!("{inputs} inputs for {} targets, no panic and no end without one", rows.len()))
}

fn fuzz(arguments: &[&str]) -> Result<Call> {
    let program = run::release()?.join("fuzz");
    ensure!(program.exists(), "{} is not built", program.display());
    Ok(Call::new(program.to_str().context("the target folder has no plain name")?, arguments))
}

fn targets(names: &[String], seconds: &str, seed: u64, guided: Option<&str>) -> Result<Vec<Value>> {
    let dir = run::release()?.with_file_name("fuzz");
    let json = run::release()?.join("fuzz.json");
    if json.exists() {
        fs::remove_file(&json)?;
    }
    let mut call = fuzz(&["run", "--seconds", seconds, "--seed", &seed.to_string()])?;
    call = call.args(names.iter().flat_map(|name| ["--target", name]));
    call = call.args(guided.iter().flat_map(|program| ["--guided", program]));
    call = call.args(["--dir".as_ref(), dir.as_os_str(), "--json".as_ref(), json.as_os_str()]);
    call.within(Duration::from_hours(24)).verdict()?;
    let told = fs::read_to_string(&json).context("the fuzzer tells nothing")?;
    Ok(serde_json::from_str(&told)?)
}

/// Builds the targets with libFuzzer, in a folder of their own: other flags would else build everything anew each time.
fn guided() -> Result<String> {
    let told = Call::new("rustc", &["-vV"]).output()?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc tells no host")?;
    let folder = run::release()?.with_file_name("guided");
    let folder = folder.to_str().context("the target folder has no plain name")?;
    let packages = ["build", "--locked", "--release", "-p", "zabkeeper-fuzz", "--features", "guided"];
    // With a target named, the flags are for what runs there, and not for what only builds.
    run::cargo(&packages)
        .args(["--bin", "fuzz-guided", "--target", host, "--target-dir", folder])
        .env("RUSTFLAGS", &GUIDED.join(" "))
        .call()
        .context("libFuzzer needs a C++ compiler; --unguided does without")?;
    Ok(format!("{folder}/{host}/release/fuzz-guided"))
}

/// For how long the target of this line of the record was run in all.
fn seconds_in_all(line: &str) -> u64 {
    line.split('|').nth(6).and_then(|cell| cell.trim().parse().ok()).unwrap_or(0)
}

/// Enters these rows in the record; targets that were not run keep theirs.
fn record(rows: &[Value], guided: bool, seed: u64) -> Result<()> {
    let git = |arguments: &[&str]| Call::new("git", arguments).output().map(|text| text.trim().to_owned());
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = !git(&["status", "--porcelain", "--", ".", ":!conformance/fuzz/results.md"])?.is_empty();
    let commit = if changed { format!("{commit}, changed since") } else { commit };
    let before = fs::read_to_string(RECORD).unwrap_or_default();
    let mut lines: BTreeMap<String, String> = before
        .lines()
        .filter_map(|line| Some((line.strip_prefix("| `")?.split_once('`')?.0.to_owned(), line.to_owned())))
        .collect();
    for row in rows {
        let target = row["target"].as_str().context("a row without its target")?;
        let number = |key: &str| row[key].as_u64().map_or("–".to_owned(), |number| number.to_string());
        let engine = if guided { "libFuzzer" } else { "chance" };
        let outcome = row["finding"].as_str().unwrap_or("nothing found");
        let earlier = lines.get(target).map_or(0, |line| seconds_in_all(line));
        let in_all =
            if row["finding"].is_null() { earlier + row["seconds"].as_u64().unwrap_or(0) } else { 0 };
        let line = format!(
            "| `{target}` | {engine} | {seed} | {} | {} | {in_all} | {} | {} | {commit} | {outcome} |",
            number("inputs"),
            number("seconds"),
            number("edges"),
            row["peak_kib"].as_u64().map_or("–".to_owned(), |kib| (kib >> 10).to_string()),
        );
        lines.insert(target.to_owned(), line);
    }
    let mut text = "# What was given bytes that nobody meant\n\n\
        Written by `cargo xtask fuzz --record`: the last recorded run of each target; `cargo xtask fuzz --list` tells what \
        each reads.\n\"In all\" adds up this and every recorded run before it, at the commits of their time, since something \
        was found last.\nA target may take 10 s for an input and have 1 GiB of address space.\n\n\
        | target | engine | seed | inputs | seconds | in all | edges covered | MiB at most | commit | outcome |\n\
        |---|---|--:|--:|--:|--:|--:|--:|---|---|\n"
        .to_owned();
    for line in lines.values() {
        let _ = writeln!(text, "{line}");
    }
    fs::write(RECORD, text).with_context(|| format!("cannot write {RECORD}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_for_how_long_its_target_was_run() {
        let line = "| `log` | libFuzzer | 20 | 7442 | 11 | 371 | 1980 | 42 | 776f93d33b17 | nothing found |";
        assert_eq!(seconds_in_all(line), 371);
    }
}
