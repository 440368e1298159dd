//! `cargo xtask judge`: builds the judge of recordings and lets it judge; or shows, with servers that have a known flaw,
//! that it sees them.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    flawed,
    run::{self, Call},
};

/// How long a judgement may take.
const PATIENCE: Duration = Duration::from_hours(1);
/// Where the outcome of the flawed servers is recorded.
const RECORD: &str = "conformance/judge/mutants.md";

/// A server with a known flaw.
struct Mutant {
    /// Its patch.
    patch: &'static str,
    place: Place,
    flaw: &'static str,
    /// What is done to it.
    trial: &'static [&'static str],
    /// Whether the flaw can show in this trial.
    rule: &'static str,
}

/// Where a flaw is.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Place {
    Shell,
    /// In the server's actor; the judge executes the sound one.
    Actor,
    /// In the actor of both, as it were if nobody knew of it: then no step differs, and it is for the rules to see it.
    Both,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Actor => "actor",
            Self::Both => "actor, and in the judge's",
        }
    }
}

const KILLS: &[&str] = &["kills", "--leader", "1", "--all", "0"];

const MUTANTS: &[Mutant] = &[
    Mutant {
        patch: "model/checker/mutants/ack-before-fsync.patch",
        place: Place::Actor,
        flaw: "a proposal is acknowledged when it is logged",
        trial: KILLS,
        rule: "J-1",
    },
    Mutant {
        patch: "conformance/judge/mutants/packet-lost.patch",
        place: Place::Shell,
        flaw: "now and then a PING is not sent",
        trial: KILLS,
        rule: "J-3",
    },
    Mutant {
        patch: "conformance/judge/mutants/packet-twice.patch",
        place: Place::Shell,
        flaw: "now and then a forwarded request is told twice",
        trial: KILLS,
        rule: "J-3",
    },
    Mutant {
        patch: "model/checker/mutants/commit-without-quorum.patch",
        place: Place::Both,
        flaw: "a leader commits what it has logged itself",
        trial: KILLS,
        rule: "R-2",
    },
    Mutant {
        patch: "model/checker/mutants/close-by-halves.patch",
        place: Place::Both,
        flaw: "a close that lists nodes leaves them, and its session",
        trial: KILLS,
        rule: "S-2",
    },
    Mutant {
        patch: "model/checker/mutants/digest-forgets-the-parent.patch",
        place: Place::Both,
        flaw: "the digest that is told leaves out what becomes of a new node's parent",
        trial: KILLS,
        rule: "S-19",
    },
];

/// Judges with these arguments of the judge; true if every rule held.
pub(crate) fn run(arguments: &[String]) -> Result<bool> {
    run::cargo(&["build", "--locked", "--release", "-p", "zabkeeper-judge"]).call()?;
    let judge = run::release()?.join("judge");
    let judge = judge.to_str().context("the target folder has no plain name")?;
    Call::new(judge, &[]).args(arguments).within(PATIENCE).verdict()
}

/// Builds each flawed server, runs it, and has its recordings judged; true if each is caught by its rule. Writes the
/// record.
pub(crate) fn mutants() -> Result<bool> {
    run::cargo(&["build", "--locked", "--release", "-p", "zabkeeper-judge", "-p", "zabkeeper-faults"])
        .call()?;
    let scratch = run::release()?.with_file_name("judge-mutants");
    let mut table = String::from(
        "# What the judge of recordings sees\n\nWritten by `cargo xtask judge --mutants`: servers with a known flaw, run \
         under the kills of `faults`, and what the judge says of their recordings.\n\n| flaw in the | flaw | rule | first words |\n|--|--|--|--|\n",
    );
    let mut all = true;
    for mutant in MUTANTS {
        let report = judged(mutant, &scratch).with_context(|| mutant.patch.to_owned())?;
        let found =
            report["first"].as_array().into_iter().flatten().find(|breach| breach["rule"] == mutant.rule);
        let why = found.and_then(|breach| breach["why"].as_str()).unwrap_or("NOT CAUGHT");
        let part = mutant.place.name();
        let short: String = why.chars().take(160).collect();
        println!("{part}: {}: {}: {short}", mutant.flaw, mutant.rule);
        let _ = writeln!(table, "| {part} | {} | {} | {short} |", mutant.flaw, mutant.rule);
        all &= found.is_some();
    }
    fs::write(RECORD, table)?;
    Ok(all)
}

fn judged(mutant: &Mutant, scratch: &Path) -> Result<Value> {
    let packages: &[&str] = match mutant.place {
        Place::Shell | Place::Actor => &["zabkeeper-server"],
        Place::Both => &["zabkeeper-server", "zabkeeper-judge"],
    };
    let flawed = flawed::built(mutant.patch, scratch, packages)?;
    let server = format!("{flawed}/zabkeeper");
    let dir = scratch.join("run");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    let release = run::release()?;
    let faults = release.join("faults");
    let trial = Call::new(faults.to_str().context("no plain name")?, mutant.trial)
        .args(["--binary", &server, "--dir"])
        .args([&dir])
        .within(Duration::from_mins(10));
    // The judge is to see the flaw; clients need not.
    let _ = trial.verdict();
    let judge = if mutant.place == Place::Both { PathBuf::from(flawed) } else { release }.join("judge");
    let out = dir.join("judged.json");
    let command = format!("{} {} --json > {}; true", judge.display(), dir.display(), out.display());
    Call::new("sh", &["-c", &command]).within(PATIENCE).call()?;
    let report: Value = serde_json::from_str(&fs::read_to_string(&out)?)?;
    ensure!(report["inputs"].as_u64() > Some(0), "nothing was recorded");
    Ok(report)
}
