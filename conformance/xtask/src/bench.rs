//! `cargo xtask bench`: builds ours, fetches Apache ZooKeeper, and lets the bench pair them.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    install,
    run::{self, Call},
};

/// What the record of the bench is called.
const RECORD: &str = "conformance/bench/results.md";

/// How long a bench may take.
const PATIENCE: Duration = Duration::from_hours(3);

/// Runs it with these arguments of its own, and returns whether every floor holds.
pub(crate) fn run(arguments: &[String], record: bool, costs: bool) -> Result<bool> {
    let given = |option: &str| arguments.iter().any(|word| word == option);
    if ["-h", "--help", "--list"].into_iter().any(given) {
        // Nothing is measured, so no server need be built or fetched.
        let bench = ["run", "--locked", "--release", "-p", "zabkeeper-bench", "--"];
        return run::cargo(&bench).args(arguments).verdict();
    }
    let packages =
        ["build", "--locked", "--profile", "dist", "-p", "zabkeeper-server", "-p", "zabkeeper-bench"];
    run::cargo(&packages).call()?;
    let dist = run::dist()?;
    let plain = |name: &str| -> Result<String> {
        Ok(dist.join(name).to_str().context("the target folder has no plain name")?.to_owned())
    };
    if given("--recorder") || given("--soak") {
        ensure!(!record && !costs, "--recorder and --soak are told, and take neither --record nor --costs");
        let words = ["--binary".to_owned(), plain("zabkeeper")?];
        return Call::new(&plain("bench")?, &[]).args(words).args(arguments).within(PATIENCE).verdict();
    }
    let apache = install::apache()?;
    let mut words = vec!["--binary".to_owned(), plain("zabkeeper")?];
    words.extend(["--classpath".to_owned(), apache.classpath, "--apache".to_owned(), apache.name.clone()]);
    if costs {
        words.extend(["--counting".to_owned(), counting_server(&dist)?]);
    }
    if record {
        words.extend([
            "--record".to_owned(),
            RECORD.to_owned(),
            "--heading".to_owned(),
            heading(&apache.name)?,
        ]);
    }
    Call::new(&plain("bench")?, &[]).args(words).args(arguments).within(PATIENCE).verdict()
}

/// A build of the server whose allocator counts, in a target folder of its own.
fn counting_server(dist: &Path) -> Result<String> {
    install::debian(&[("strace", "/usr/bin/strace")])?;
    let target = dist.with_file_name("counting");
    let target = target.to_str().context("the target folder has no plain name")?;
    let build = ["build", "--locked", "--profile", "dist", "-p", "zabkeeper-server", "--target-dir", target];
    run::cargo(&build).env("CFLAGS", "-DMI_STAT=2").call()?;
    Ok(format!("{target}/dist/zabkeeper"))
}

fn heading(apache: &str) -> Result<String> {
    let commit = Call::new("git", &["rev-parse", "--short=12", "HEAD"]).output()?;
    let date = Command::new("date").args(["-u", "+%F %H:%M UTC"]).output()?;
    let cores = std::thread::available_parallelism()?;
    let model = fs::read_to_string("/proc/cpuinfo")?;
    let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kb: u64 = memory.split_whitespace().nth(1).context("no memory")?.parse()?;
    // What else ran decides much on a machine that is shared.
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split_whitespace().next().unwrap_or("unknown");
    Ok(format!(
        "# What the bench measured\n\nWritten by `cargo xtask bench --record`: Zabkeeper at commit {} beside {apache}, three \
         servers each, fsync on, on {cores} cores ({}) with {} GB, the load generator beside them; {}, \
         load average {load} when it began. Medians; the JVMs \
         were warmed, and runs alternate. \"64x16\" is 64 connections with 16 operations under way each; values have \
         100 bytes.\n",
        commit.trim(),
        model.trim_start_matches([':', ' ', '\t']),
        kb / 1_000_000,
        String::from_utf8_lossy(&date.stdout).trim()
    ))
}
