//! Shells with one known flaw, each of which a replay must catch.
//!
//! A flaw is a patch to a scratch copy of the source, which is built in a target folder of its own and replays some
//! walks. The copy without a patch comes first: it has to do what the model says.

use std::{
    collections::BTreeSet,
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
    /// The walks that show it, as options of this command.
    walks: &'static [&'static str],
}

/// Walks of a short search.
const SOME: &[&str] = &["--rows", "order", "--walks", "100"];

/// Walks with crashes that leave something unsynced.
const CRASHES: &[&str] = &["--rows", "pair", "--walks", "300"];

const MUTANTS: &[Mutant] = &[
    Mutant {
        id: "ack-before-sync",
        flaw: "the log's thread reports a batch before it has written it",
        walks: SOME,
    },
    Mutant { id: "codec-field-wrong", flaw: "an ACK names the start of its epoch on the wire", walks: SOME },
    Mutant {
        id: "promise-before-sync",
        flaw: "an epoch is reported as promised before it is stored",
        walks: SOME,
    },
    Mutant {
        id: "recovery-not-synced",
        flaw: "a start votes by a log that it has read and not synced",
        walks: CRASHES,
    },
    Mutant {
        id: "send-order-swapped",
        flaw: "the packets of a turn leave in the opposite order",
        walks: SOME,
    },
    Mutant { id: "sync-dropped", flaw: "a batch of the log is written and never synced", walks: SOME },
    Mutant { id: "timer-not-cancelled", flaw: "a timer that is cancelled runs on", walks: SOME },
];

/// What came of a mutant.
#[derive(Debug, Serialize)]
struct Verdict {
    id: &'static str,
    caught: bool,
    by: Option<String>,
    seconds: u64,
}

/// What the copy's own replay reports, as far as it counts here.
#[derive(Debug, Deserialize)]
struct Report {
    taken: usize,
    differences: Vec<Difference>,
}

#[derive(Debug, Deserialize)]
struct Difference {
    walk: usize,
    step: usize,
    why: String,
}

/// Runs these mutants, or all. Whether each is caught.
///
/// # Errors
/// If a patch does not apply, a copy does not build, or the copy without a flaw differs from the model.
pub fn run(ids: &[String], json: bool) -> Result<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    for id in ids {
        let known: Vec<_> = MUTANTS.iter().map(|mutant| mutant.id).collect();
        ensure!(known.contains(&id.as_str()), "there is no mutant {id}; there are {}", known.join(", "));
    }
    let chosen: Vec<_> =
        MUTANTS.iter().filter(|mutant| ids.is_empty() || ids.iter().any(|id| id == mutant.id)).collect();
    // What a flaw shows in must show nothing without it.
    let sound = copy(&root)?;
    let walks: BTreeSet<_> = chosen.iter().map(|mutant| mutant.walks).collect();
    for walks in walks {
        let report = report(&sound, walks)?;
        ensure!(
            report.differences.is_empty() && report.taken > 0,
            "without a flaw the server differs from the model; look at it with `replay {}`",
            walks.join(" ")
        );
    }
    let mut all = true;
    for mutant in chosen {
        let started = Instant::now();
        let scratch = copy(&root)?;
        let patch = format!("conformance/replay/mutants/{}.patch", mutant.id);
        scratch.apply(&root.join(patch))?;
        let report = report(&scratch, mutant.walks)?;
        let by = report.differences.first().map(|one| {
            let line = one.why.lines().next().unwrap_or_default();
            format!("walk {}, step {}: {line}", one.walk, one.step)
        });
        let seconds = started.elapsed().as_secs();
        let verdict = Verdict { id: mutant.id, caught: by.is_some(), by, seconds };
        all &= verdict.caught;
        if json {
            println!("{}", serde_json::to_string(&verdict)?);
        } else {
            let by = verdict.by.as_deref().unwrap_or("SURVIVES");
            println!("{}: {} ({seconds} s)\n  {by}", mutant.id, mutant.flaw);
        }
    }
    Ok(all)
}

fn copy(root: &Path) -> Result<Scratch> {
    let folders = ["spec", "model", "impl", "conformance/replay"];
    Scratch::of(root, "replay-mutants", &folders, "\"spec\", \"model/*\", \"impl/*\", \"conformance/replay\"")
}

/// Builds a copy, and has it replay these walks.
fn report(scratch: &Scratch, walks: &[&str]) -> Result<Report> {
    let target = scratch.target();
    let built = Command::new("cargo")
        .args(["build", "--quiet", "--profile", "mutant", "--package", "zabkeeper-replay", "--bin", "replay"])
        .current_dir(scratch.source())
        .env("CARGO_TARGET_DIR", &target)
        .stderr(Stdio::piped())
        .output()
        .context("running cargo build")?;
    if !built.status.success() {
        bail!("the copy does not build:\n{}", String::from_utf8_lossy(&built.stderr));
    }
    let told = Command::new(target.join("mutant/replay"))
        .arg("--json")
        .args(walks)
        // Differences are in the report.
        .stderr(Stdio::null())
        .output()
        .context("running the copy's replay")?;
    serde_json::from_slice(&told.stdout).context("the copy's replay does not report")
}
