//! What compilers and linters do not check: which way the arrows point, what the pure crates may know, and where
//! things lie.

mod arrows;
mod layout;
mod patches;
mod source;

use std::{fmt, fs, path::Path};

use anyhow::{Context, Result};

use crate::run;

/// Something that is not as it should be.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Fault {
    /// Where: a crate, or a file with its line.
    pub(crate) place: String,
    /// What, and what would be right.
    pub(crate) what: String,
}

impl Fault {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Every fault of the project.
pub(crate) fn check() -> Result<Vec<Fault>> {
    let metadata = run::cargo(&["metadata", "--format-version", "1", "--locked"]).output()?;
    let mut faults = arrows::check(&serde_json::from_str(&metadata).context("cargo's metadata")?)?;
    let top: Vec<String> = fs::read_dir(".")?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    faults.extend(layout::check_top(&top));
    let mut patches = Vec::new();
    for folder in layout::FLOORS {
        walk(Path::new(folder), &mut |path, text| {
            if Path::new(path).extension().is_some_and(|extension| extension == "rs") {
                faults.extend(layout::check_length(path, text));
                faults.extend(source::check(path, text));
            } else if path.ends_with("Cargo.toml") {
                faults.extend(layout::check_manifest(path, text));
                for program in layout::untested_programs(text) {
                    let program = Path::new(path).with_file_name(program);
                    // Cargo says by itself if there is no such file.
                    let text = fs::read_to_string(&program).unwrap_or_default();
                    faults.extend(layout::check_untested(&program.display().to_string(), &text));
                }
            } else {
                patches.push(path.to_owned());
            }
        })?;
    }
    for patch in &patches {
        faults.extend(patches::check(patch)?);
    }
    faults.sort();
    Ok(faults)
}

/// Shows every Rust source, manifest and patch below a folder.
fn walk(folder: &Path, see: &mut impl FnMut(&str, &str)) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.to_string_lossy();
        if path.is_dir() {
            let hidden = path.file_name().is_some_and(|last| last.to_string_lossy().starts_with('.'));
            if !hidden && !path.ends_with("target") {
                walk(&path, see)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "patch")
            || path.ends_with("Cargo.toml")
        {
            see(&name, &fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?);
        }
    }
    Ok(())
}
