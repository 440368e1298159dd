//! Servers with a known flaw: the project as it is, with a patch.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::run::{self, Call};

/// Builds a server with this patch in a scratch folder, and returns its path.
pub(crate) fn server(patch: &str, scratch: &Path) -> Result<String> {
    Ok(format!("{}/zabkeeper", built(patch, scratch, &["zabkeeper-server"])?))
}

/// Builds these packages with this patch in a scratch folder, and returns where their programs are.
pub(crate) fn built(patch: &str, scratch: &Path, packages: &[&str]) -> Result<String> {
    let source = scratch.join("source");
    if source.exists() {
        fs::remove_dir_all(&source)?;
    }
    copy(&source)?;
    let (patch, dir) = (run::root()?.join(patch), source.to_str().context("no plain name")?);
    let patch = patch.to_str().context("the patch has no plain name")?;
    Call::new("patch", &["--silent", "-p1", "-d", dir, "-i", patch]).call()?;
    let manifest = source.join("Cargo.toml");
    let manifest = manifest.to_str().context("no plain name")?;
    let target = scratch.join("target");
    let target = target.to_str().context("no plain name")?;
    run::cargo(&["build", "--locked", "--profile", "mutant", "--manifest-path", manifest])
        .args(["--target-dir", target])
        .args(packages.iter().flat_map(|package| ["-p", package]))
        .call()?;
    Ok(format!("{target}/mutant"))
}

/// Copies what belongs to the project.
fn copy(to: &Path) -> Result<()> {
    let listed = Call::new("git", &["ls-files"]).output()?;
    for name in listed.lines() {
        let target = to.join(name);
        if let (Some(folder), true) = (target.parent(), Path::new(name).is_file()) {
            fs::create_dir_all(folder)?;
            fs::copy(name, &target)?;
        }
    }
    Ok(())
}
