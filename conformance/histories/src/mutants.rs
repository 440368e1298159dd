//! Tests of the test: servers with a flaw, each built from a patch on a scratch copy of the source, so that the source
//! that ships has no flawed branch. The patches are the checker's own, which it catches in the model; here the process
//! that they make is caught from outside.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{nemesis::Nemesis, workload::Workload};

/// A flaw, and where it is to be seen.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// The name of its patch.
    pub id: &'static str,
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
        flaw: "sync is answered by a leader that does not ask whether it still leads",
        nemeses: &[Nemesis::Deposed],
        workloads: &[Workload::Register],
    },
    Mutant {
        id: "commit-without-quorum",
        flaw: "the leader commits what it alone has",
        nemeses: &[Nemesis::Partition, Nemesis::Kill],
        workloads: &[Workload::Register, Workload::List],
    },
    Mutant {
        id: "set-watches-gap",
        flaw: "watches that are left again do not fire for what they missed",
        nemeses: &[Nemesis::Kill, Nemesis::Calm],
        workloads: &[Workload::Watch],
    },
    Mutant {
        id: "event-after-data",
        flaw: "events are sent behind the reply of the write that they tell of",
        nemeses: &[Nemesis::Calm],
        workloads: &[Workload::Register, Workload::Watch, Workload::Lock],
    },
    Mutant {
        id: "close-misses-open-creates",
        flaw: "a session is closed without the ephemerals that are being made",
        nemeses: &[Nemesis::Calm],
        workloads: &[Workload::Lock],
    },
];

/// Builds the server with this flaw, in a copy under `target/`.
///
/// # Errors
/// If the patch does not apply, or the server does not build.
pub fn build(root: &Path, mutant: &Mutant) -> Result<PathBuf> {
    let folder = root.join("target/histories-mutants");
    let source = folder.join("source");
    fs::create_dir_all(&source)?;
    for name in ["spec", "model", "impl"] {
        mirror(&root.join(name), &source.join(name))?;
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let manifest = manifest.replace(", \"conformance/*\"", "");
    let held = fs::read_to_string(source.join("Cargo.toml")).unwrap_or_default();
    if held != manifest {
        fs::write(source.join("Cargo.toml"), manifest)?;
        fs::copy(root.join("Cargo.lock"), source.join("Cargo.lock"))?;
    }
    let patch = root.join("model/checker/mutants").join(format!("{}.patch", mutant.id));
    let apply = Command::new("git")
        .args(["apply", "--whitespace=nowarn"])
        .arg(&patch)
        .current_dir(&source)
        // The copy is in no repository, whatever stands above it.
        .env("GIT_CEILING_DIRECTORIES", &folder)
        .status()?;
    ensure!(apply.success(), "{} does not apply", patch.display());
    let target = folder.join("target");
    let mut cargo = Command::new("cargo");
    // What a flaw leaves unused is no fault.
    cargo.env("RUSTFLAGS", "--cap-lints allow");
    cargo.args(["build", "--quiet", "--profile", "mutant", "--package", "zabkeeper-server"]);
    run(cargo.current_dir(&source).env("CARGO_TARGET_DIR", &target), "building the mutant")?;
    Ok(target.join("mutant/zabkeeper"))
}

/// Makes `to` hold the files of `from`, and no others. Files that are as they should be are not touched, so that only
/// what a patch changed is built anew.
fn mirror(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if !from.join(entry.file_name()).exists() {
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            mirror(&entry.path(), &target)?;
            continue;
        }
        let content = fs::read(entry.path())?;
        if !fs::read(&target).is_ok_and(|held| held == content) {
            fs::write(&target, content).with_context(|| format!("writing {}", target.display()))?;
        }
    }
    Ok(())
}

fn run(command: &mut Command, what: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("{what}: cannot run {command:?}"))?;
    ensure!(status.success(), "{what} failed: {status}");
    Ok(())
}
