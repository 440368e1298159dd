//! A mount namespace: file systems and files that only the servers of one case see, and that vanish with it.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::place::await_true;

/// It lives as long as a process that does nothing in it.
#[derive(Debug)]
pub(super) struct Namespace {
    holder: Child,
}

impl Namespace {
    /// A new one.
    ///
    /// # Errors
    /// If the system does not allow that; root may.
    pub(super) fn new() -> Result<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "cat"]);
        let holder = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let mut this = Self { holder };
        let ours = std::fs::read_link("/proc/self/ns/mnt")?;
        await_true("a mount namespace, which takes root and unshare", Duration::from_secs(5), || {
            ensure!(this.holder.try_wait()?.is_none(), "no mount namespace can be had: this case takes root");
            let theirs = std::fs::read_link(this.path());
            Ok(theirs.is_ok_and(|theirs| theirs != ours))
        })?;
        Ok(this)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/mnt", self.holder.id())
    }

    /// What stands before a command line, so that it runs inside.
    pub(super) fn wrapper(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--mount={}", self.path())]
    }

    /// Runs a command inside.
    ///
    /// # Errors
    /// If it fails.
    pub(super) fn run(&self, words: &[&str]) -> Result<()> {
        let wrapper = self.wrapper();
        let status = Command::new(&wrapper[0]).args(&wrapper[1..]).args(words).status();
        let status = status.with_context(|| format!("cannot run {words:?}"))?;
        ensure!(status.success(), "{} failed: {status}", words.join(" "));
        Ok(())
    }

    /// Where its root is for this process.
    pub(super) fn root(&self) -> String {
        format!("/proc/{}/root", self.holder.id())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Nothing is left to do about a process that cannot be killed.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
