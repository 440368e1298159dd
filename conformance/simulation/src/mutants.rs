//! Codec and storage with one known flaw each, which seeds must show.
//!
//! A flaw is a patch to a scratch copy of the source, which is built in a target folder of its own and plays seeds. The
//! copy without a patch comes first: its ensembles heal.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use checker::scratch::Scratch;
use serde::{Deserialize, Serialize};

/// A flaw.
struct Mutant {
    id: &'static str,
    /// What it does wrong.
    flaw: &'static str,
    /// The seeds to play, from the first on: it was seen to show well before the last of them.
    seeds: u64,
}

const MUTANTS: &[Mutant] = &[
    Mutant { id: "ack-of-the-epoch", flaw: "an ACK names the start of its epoch on the wire", seeds: 20 },
    Mutant { id: "epoch-not-synced", flaw: "an epoch file gets its name before it is synced", seeds: 20 },
    Mutant { id: "log-not-synced", flaw: "a batch of the log is reported and was never synced", seeds: 20 },
    Mutant {
        id: "name-not-synced",
        flaw: "a file of the log gets its name, and its folder is not synced",
        seeds: 20,
    },
    Mutant { id: "snapshot-not-synced", flaw: "a snapshot gets its name before it is synced", seeds: 20 },
    Mutant {
        id: "stat-fields-swapped",
        flaw: "two fields of a Stat stand the other way round in answers",
        seeds: 20,
    },
    Mutant {
        id: "torn-record-believed",
        flaw: "a record of the log is believed without its checksum and end",
        seeds: 6_000,
    },
];

/// What came of a mutant.
#[derive(Debug, Serialize)]
struct Verdict {
    id: &'static str,
    caught: bool,
    rule: Option<String>,
    seeds: u64,
    seconds: u64,
}

/// What the copy reports, as far as it counts here.
#[derive(Debug, Deserialize)]
struct Report {
    seeds: u64,
    broken: Option<String>,
}

/// Runs these mutants, or all. Whether each is caught.
///
/// # Errors
/// If a patch does not apply, a copy does not build, or the copy without a flaw breaks a rule.
pub fn run(ids: &[String], json: bool) -> Result<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    for id in ids {
        let known: Vec<_> = MUTANTS.iter().map(|mutant| mutant.id).collect();
        ensure!(known.contains(&id.as_str()), "there is no mutant {id}; there are {}", known.join(", "));
    }
    let chosen: Vec<_> =
        MUTANTS.iter().filter(|mutant| ids.is_empty() || ids.iter().any(|id| id == mutant.id)).collect();
    // What a flaw shows in must show nothing without it.
    let seeds = chosen.iter().map(|mutant| mutant.seeds).max().unwrap_or_default();
    let sound = report(&copy(&root)?, seeds)?;
    ensure!(
        sound.broken.is_none() && sound.seeds == seeds,
        "without a flaw a rule is broken; look at it with `cargo xtask simulate --seeds {seeds}`"
    );
    let mut all = true;
    for mutant in chosen {
        let started = Instant::now();
        let scratch = copy(&root)?;
        scratch.apply(&root.join(format!("conformance/simulation/mutants/{}.patch", mutant.id)))?;
        let Report { seeds, broken: rule } = report(&scratch, mutant.seeds)?;
        let seconds = started.elapsed().as_secs();
        let verdict = Verdict { id: mutant.id, caught: rule.is_some(), rule, seeds, seconds };
        all &= verdict.caught;
        if json {
            println!("{}", serde_json::to_string(&verdict)?);
        } else {
            let by = verdict.rule.as_deref().unwrap_or("SURVIVES");
            println!("{}: {} ({seconds} s)\n  {by}, behind {seeds} seeds", mutant.id, mutant.flaw);
        }
    }
    Ok(all)
}

fn copy(root: &Path) -> Result<Scratch> {
    let folders = ["spec", "model", "impl/wire", "impl/storage", "conformance/simulation"];
    let members = "\"spec\", \"model/*\", \"impl/wire\", \"impl/storage\", \"conformance/simulation\"";
    Scratch::of(root, "simulation-mutants", &folders, members)
}

/// Builds a copy, and has it play so many seeds.
fn report(scratch: &Scratch, seeds: u64) -> Result<Report> {
    let target = scratch.target();
    let built = Command::new("cargo")
        .args(["build", "--quiet", "--profile", "mutant", "--package", "zabkeeper-simulation"])
        .current_dir(scratch.source())
        .env("CARGO_TARGET_DIR", &target)
        .stderr(Stdio::piped())
        .output()
        .context("running cargo build")?;
    if !built.status.success() {
        bail!("the copy does not build:\n{}", String::from_utf8_lossy(&built.stderr));
    }
    let told = Command::new(target.join("mutant/simulation"))
        .args(["--json", "--seeds", &seeds.to_string()])
        .current_dir(scratch.folder())
        // Panics are told in the report.
        .stderr(Stdio::null())
        .output()
        .context("running the copy")?;
    serde_json::from_slice(&told.stdout).context("the copy's report does not read")
}
