//! A copy of the source with one flaw in it: built, searched, played and tested.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use checker::scratch::Scratch;

use super::HISTORIES;
use crate::play::Played;

/// What the mutant's own `zabcheck` reports.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    pub(super) distinct: usize,
    pub(super) exhausted: bool,
    pub(super) broken: Option<String>,
    pub(super) steps: Option<usize>,
    pub(super) missing: Vec<String>,
}

/// What the mutant's own `zabcheck simulate` reports.
#[derive(Debug, Deserialize)]
pub(super) struct Simulated {
    pub(super) broken: Option<String>,
    #[serde(rename = "seeds")]
    pub(super) played: u64,
}

impl Report {
    /// What the flaw was caught by: a broken rule, or a situation that can no longer be reached.
    pub(super) fn caught(&self) -> Option<String> {
        let missing = self.missing.first().filter(|_| self.exhausted);
        self.broken.clone().or_else(|| missing.map(|name| format!("witness {name} missing")))
    }
}

/// How finely a crate is cut for the compiler, which builds anew the pieces that a patch touches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Units(&'static str);

impl Units {
    /// Small pieces make the first build a minute longer and most of the others four times shorter.
    pub(super) fn of(mutants: usize) -> Self {
        Self(if mutants > 4 { "256" } else { "16" })
    }
}

/// What mutants are built and run in.
pub(super) struct Built {
    scratch: Scratch,
    units: Units,
}

impl Built {
    pub(super) fn of(root: &Path, units: Units) -> anyhow::Result<Self> {
        let scratch = Scratch::of(root, "mutants", &["spec", "model"], "\"spec\", \"model/*\"")?;
        Ok(Self { scratch, units })
    }

    /// Patches the copy.
    pub(super) fn apply(&self, patch: &Path) -> anyhow::Result<()> {
        self.scratch.apply(patch)
    }

    /// Cargo, at work in the copy.
    fn cargo(&self) -> Command {
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(self.source())
            .env("CARGO_TARGET_DIR", self.scratch.target())
            .env("CARGO_PROFILE_MUTANT_CODEGEN_UNITS", self.units.0);
        cargo
    }

    fn source(&self) -> PathBuf {
        self.scratch.source()
    }

    pub(super) fn build(&self) -> anyhow::Result<PathBuf> {
        let output = self
            .cargo()
            .args(["build", "--quiet", "--profile", "mutant", "--package", "zabkeeper-checker"])
            .args(["--no-default-features", "--bin", "zabcheck"])
            .stderr(Stdio::piped())
            .output()
            .context("running cargo build")?;
        if !output.status.success() {
            bail!("the mutant does not build:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(self.scratch.target().join("mutant/zabcheck"))
    }

    /// By which rule a search catches the flaw, how deep, and within how many states.
    pub(super) fn catch(&self, search: &[&str]) -> anyhow::Result<(Option<String>, usize, usize)> {
        let reports = self.search(&self.build()?, search)?;
        let caught = reports.iter().find(|report| report.caught().is_some());
        let depth = caught.and_then(|report| report.steps).unwrap_or_default();
        let states = reports.iter().map(|report| report.distinct).sum();
        Ok((caught.and_then(Report::caught), depth, states))
    }

    pub(super) fn search(&self, program: &Path, search: &[&str]) -> anyhow::Result<Vec<Report>> {
        let output = Command::new(program)
            .args(["check", "--json", "--budget", "mutants", "--seconds", "120"])
            .args(search)
            .current_dir(self.scratch.folder())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("running {}", program.display()))?;
        let lines = String::from_utf8(output.stdout)?;
        lines.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    pub(super) fn simulate(&self, program: &Path, seeds: u64) -> anyhow::Result<Simulated> {
        let output = Command::new(program)
            .args(["simulate", "--json", "--seeds", &seeds.to_string()])
            .current_dir(self.scratch.folder())
            .stderr(Stdio::null())
            .output()
            .with_context(|| format!("running {}", program.display()))?;
        serde_json::from_slice(&output.stdout).context("the simulator's report does not read")
    }

    pub(super) fn play(&self, program: &Path, scenario: &str) -> anyhow::Result<Played> {
        let file = self.source().join("model/world/tests/scripts").join(format!("{scenario}.txt"));
        let output = Command::new(program)
            .args(["play", "--json", HISTORIES])
            .arg(file)
            .current_dir(self.scratch.folder())
            // Steps that panic are left out, and say so.
            .stderr(Stdio::null())
            .output()
            .with_context(|| format!("running {}", program.display()))?;
        serde_json::from_slice(&output.stdout).with_context(|| format!("playing {scenario}"))
    }

    /// Whether a test fails; that it builds is seen first.
    pub(super) fn fails(&self, program: &str, test: &str) -> anyhow::Result<bool> {
        let program: &[&str] = if program == "lib" { &["--lib"] } else { &["--test", program] };
        let run = |also: &[&str]| {
            self.cargo()
                .args(["test", "--quiet", "--profile", "mutant", "--package", "zabkeeper-protocol"])
                .args(program)
                .args(also)
                .output()
                .context("running cargo test")
        };
        let built = run(&["--no-run"])?;
        ensure!(built.status.success(), "{test} does not build:\n{}", String::from_utf8_lossy(&built.stderr));
        let outcome = run(&["--", "--exact", test])?;
        let told = String::from_utf8_lossy(&outcome.stdout);
        ensure!(told.contains("running 1 test"), "there is no test {test}:\n{told}");
        Ok(!outcome.status.success())
    }
}
