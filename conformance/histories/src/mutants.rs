//! Tests of the test: servers with a flaw, each built from a patch on a scratch copy of the source, so that the source
//! that ships has no flawed branch. Patches are the checker's own where it catches the flaw in the model, and here the
//! process that they make is caught from outside. Of what the models' transactions do not have, versions for one, the
//! patch is beside this crate's source.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use checker::scratch::Scratch;

use crate::{nemesis::Nemesis, workload::Workload};

/// A flaw, and where it is to be seen.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// Its name.
    pub id: &'static str,
    /// Its patch.
    pub patch: &'static str,
    /// What is wrong with it.
    pub flaw: &'static str,
    /// Under which faults.
    pub nemeses: &'static [Nemesis],
    /// By which clients.
    pub workloads: &'static [Workload],
}

/// Those that must be caught.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        id: "sync-at-once",
        patch: "model/checker/mutants/sync-at-once.patch",
        flaw: "sync is answered by a leader that does not ask whether it still leads",
        nemeses: &[Nemesis::Deposed],
        workloads: &[Workload::Register],
    },
    Mutant {
        id: "commit-without-quorum",
        patch: "model/checker/mutants/commit-without-quorum.patch",
        flaw: "the leader commits what it alone has",
        nemeses: &[Nemesis::Partition, Nemesis::Kill],
        workloads: &[Workload::Register, Workload::List],
    },
    Mutant {
        id: "set-watches-gap",
        patch: "model/checker/mutants/set-watches-gap.patch",
        flaw: "watches that are left again do not fire for what they missed",
        nemeses: &[Nemesis::Kill, Nemesis::Calm],
        workloads: &[Workload::Watch],
    },
    Mutant {
        id: "event-after-data",
        patch: "model/checker/mutants/event-after-data.patch",
        flaw: "events are sent behind the reply of the write that they tell of",
        nemeses: &[Nemesis::Calm],
        workloads: &[Workload::Register, Workload::Watch, Workload::Lock],
    },
    Mutant {
        id: "close-misses-open-creates",
        patch: "model/checker/mutants/close-misses-open-creates.patch",
        flaw: "a session is closed without the ephemerals that are being made",
        nemeses: &[Nemesis::Calm],
        workloads: &[Workload::Lock],
    },
    Mutant {
        id: "mismatch-at-once",
        patch: "conformance/histories/mutants/mismatch-at-once.patch",
        flaw: "a leader refuses a version out of the state that it has, without a transaction and a quorum (C-10)",
        nemeses: &[Nemesis::Deposed, Nemesis::Calm],
        workloads: &[Workload::Register],
    },
];

/// Builds the server with this flaw, in a copy under `target/`.
///
/// # Errors
/// If the patch does not apply, or the server does not build.
pub fn build(root: &Path, mutant: &Mutant) -> Result<PathBuf> {
    let folders = ["spec", "model", "impl"];
    let scratch = Scratch::of(root, "histories-mutants", &folders, "\"spec\", \"model/*\", \"impl/*\"")?;
    scratch.apply(&root.join(mutant.patch))?;
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--profile", "mutant", "--package", "zabkeeper-server"])
        // What a flaw leaves unused is no fault.
        .env("RUSTFLAGS", "--cap-lints allow")
        .env("CARGO_TARGET_DIR", scratch.target())
        .current_dir(scratch.source())
        .status()
        .context("running cargo build")?;
    ensure!(status.success(), "the mutant does not build: {status}");
    Ok(scratch.target().join("mutant/zabkeeper"))
}
