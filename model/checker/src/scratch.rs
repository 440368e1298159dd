//! Scratch copies of the source, for mutants: patched, and built in a target folder of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

/// A copy of some of the project's folders, with a target folder of its own.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// Brings the copy of this name up to date, without patches. Files that are as they should be are not touched, so
    /// that little is built anew. It holds these `folders`, and its workspace these `members`.
    ///
    /// # Errors
    /// If something cannot be read or written.
    pub fn of(root: &Path, name: &str, folders: &[&str], members: &str) -> anyhow::Result<Self> {
        const ALL: &str = "\"spec\", \"model/*\", \"impl/*\", \"conformance/*\"";
        let folder = root.join("target").join(name);
        let source = folder.join("source");
        fs::create_dir_all(&source)?;
        for name in folders {
            mirror(&root.join(name), &source.join(name))?;
        }
        let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
        ensure!(manifest.contains(ALL), "the workspace's members are not {ALL}");
        let manifest = manifest.replace(ALL, members).replace("default-members = [\"impl/server\"]", "");
        update(&source.join("Cargo.toml"), manifest.as_bytes())?;
        // Only as a start: cargo drops from the copy what the crates that are left out need.
        if !source.join("Cargo.lock").exists() {
            fs::copy(root.join("Cargo.lock"), source.join("Cargo.lock"))?;
        }
        Ok(Self { folder })
    }

    /// Where all of it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The copy.
    pub fn source(&self) -> PathBuf {
        self.folder.join("source")
    }

    /// Where it is built.
    pub fn target(&self) -> PathBuf {
        self.folder.join("target")
    }

    /// Patches the copy.
    ///
    /// # Errors
    /// If the patch does not apply.
    pub fn apply(&self, patch: &Path) -> anyhow::Result<()> {
        let status = Command::new("git")
            .args(["apply", "--whitespace=nowarn"])
            .arg(patch)
            .current_dir(self.source())
            // The copy is in no repository, whatever stands above it.
            .env("GIT_CEILING_DIRECTORIES", &self.folder)
            .status()
            .context("running git apply")?;
        ensure!(status.success(), "{} does not apply", patch.display());
        Ok(())
    }
}

/// Makes `to` hold the files of `from`, and no others.
fn mirror(from: &Path, to: &Path) -> anyhow::Result<()> {
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
        } else {
            update(&target, &fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

fn update(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    if fs::read(path).is_ok_and(|held| held == content) {
        return Ok(());
    }
    fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}
