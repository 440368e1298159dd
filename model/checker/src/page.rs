//! Pages of results: what a command writes of its own run, where it stays.

use std::{
    fs,
    num::NonZero,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, ensure};

/// A page, and what the run is of: as it was when the run began, whatever is changed meanwhile.
#[derive(Debug)]
pub struct Page {
    path: PathBuf,
    origin: String,
}

impl Page {
    /// The page of this name, below the project's root, about a run of what stands in these folders.
    ///
    /// # Errors
    /// The page cannot be written, or git does not tell the commit: it is better to know before a long run.
    pub fn open(name: &str, sources: &[&str]) -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let path = root.join(name);
        let mut options = fs::OpenOptions::new();
        options
            .append(true)
            .create(true)
            .open(&path)
            .with_context(|| format!("writing {}", path.display()))?;
        let git = |arguments: &[&str]| -> anyhow::Result<String> {
            let output =
                Command::new("git").args(arguments).current_dir(&root).output().context("running git")?;
            let error = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "git {}: {}", arguments.join(" "), error.trim());
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
        // Pages are no source.
        let status = [&["status", "--porcelain", "--"], sources, &[":!*.md"]].concat();
        let unclean = !git(&status)?.is_empty();
        let suffix = if unclean { " and changes" } else { "" };
        Ok(Self { path, origin: format!("at commit {commit}{suffix}, on {}", machine()) })
    }

    /// The commit and the machine, in words.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Writes it anew.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, text: &str) -> anyhow::Result<()> {
        fs::write(&self.path, text).with_context(|| format!("writing {}", self.path.display()))
    }
}

/// The processor, as the system names it.
fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let count = thread::available_parallelism().map_or(1, NonZero::get);
    format!("{count} processors ({})", name.map_or("unknown", |(_, name)| name))
}
