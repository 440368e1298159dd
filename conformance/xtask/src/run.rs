//! Commands with a bound on their time: no part of the gate may wait for ever, or leave a process behind.

use std::{
    fmt,
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};

/// How long a command may take unless something else is said.
const PATIENCE: Duration = Duration::from_mins(25);

/// Between two looks at a command that runs.
const POLL: Duration = Duration::from_millis(50);

/// A command to be run.
#[derive(Debug)]
pub(crate) struct Call {
    command: Command,
    patience: Duration,
}

/// The top of the project.
pub(crate) fn root() -> Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).context("this crate stands in no workspace")?;
    ensure!(
        root.join("Cargo.lock").exists(),
        "{} is no workspace; was it moved since the build?",
        root.display()
    );
    Ok(root.to_path_buf())
}

/// The folder of optimised builds.
pub(crate) fn release() -> Result<PathBuf> {
    Ok(target()?.join("release"))
}

/// The folder of what is shipped, and measured.
pub(crate) fn dist() -> Result<PathBuf> {
    Ok(target()?.join("dist"))
}

/// Builds the server as it is shipped.
pub(crate) fn build_server() -> Result<()> {
    cargo(&["build", "--locked", "--profile", "dist", "-p", "zabkeeper-server"]).call()
}

fn target() -> Result<PathBuf> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps"]).output()?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let target = metadata["target_directory"].as_str().context("cargo names no target directory")?;
    Ok(PathBuf::from(target))
}

/// A cargo command.
pub(crate) fn cargo(arguments: &[&str]) -> Call {
    Call::new(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), arguments)
}

impl Call {
    /// A command with these arguments.
    pub(crate) fn new(program: &str, arguments: &[&str]) -> Self {
        // It must not outlive this process, whatever ends that.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]);
        // A group of its own, so that an end takes all of it; and no questions.
        command.args(arguments).process_group(0).stdin(Stdio::null());
        Self { command, patience: PATIENCE }
    }

    /// With more arguments.
    pub(crate) fn args<S: AsRef<std::ffi::OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    /// With this variable in the environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// For at most this long.
    pub(crate) fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Runs it; its output is passed on.
    pub(crate) fn call(mut self) -> Result<()> {
        let mut group = Group::spawn(self.to_string(), &mut self.command, self.patience)?;
        let status = group.wait()?;
        ensure!(status.success(), "{self} failed: {status}");
        Ok(())
    }

    /// Runs it and returns what it prints; what it says on standard error is passed on.
    pub(crate) fn output(self) -> Result<String> {
        self.read(&[0], |mut stdout| {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        })
    }

    /// Runs it, to one of these codes, and hands on each line that it prints as soon as that is there.
    pub(crate) fn lines(self, codes: &[i32], mut take: impl FnMut(&str) -> Result<()> + Send) -> Result<()> {
        self.read(codes, |stdout| {
            for line in BufReader::new(stdout).lines() {
                take(&line?)?;
            }
            Ok(())
        })
    }

    /// Runs it, to one of these codes, while this reads what it prints: a full pipe would hold the command up.
    fn read<T: Send>(
        mut self,
        codes: &[i32],
        read: impl FnOnce(ChildStdout) -> Result<T> + Send,
    ) -> Result<T> {
        self.command.stdout(Stdio::piped());
        let mut group = Group::spawn(self.to_string(), &mut self.command, self.patience)?;
        let stdout = group.child.stdout.take().context("no standard output")?;
        let (status, told) = thread::scope(|scope| {
            let reader = scope.spawn(move || read(stdout));
            let status = group.wait();
            // Whatever of it still runs holds the pipe open.
            drop(group);
            (status, reader.join())
        });
        let status = status?;
        let told = told.map_err(|_| anyhow!("the reader of {self} panicked"))?;
        ensure!(status.code().is_some_and(|code| codes.contains(&code)), "{self} failed: {status}");
        told
    }

    /// Runs it; its output is passed on. Code 0 says yes and 1 says no; every other is a failure.
    pub(crate) fn verdict(mut self) -> Result<bool> {
        let mut group = Group::spawn(self.to_string(), &mut self.command, self.patience)?;
        let status = group.wait()?;
        ensure!(matches!(status.code(), Some(0 | 1)), "{self} failed: {status}");
        Ok(status.success())
    }

    /// Runs it; its output is passed on. Returns its exit code, whatever that is.
    pub(crate) fn code(mut self) -> Result<i32> {
        let mut group = Group::spawn(self.to_string(), &mut self.command, self.patience)?;
        let status = group.wait()?;
        status.code().with_context(|| format!("{self} was ended: {status}"))
    }

    /// Without a word on standard error.
    pub(crate) fn quiet(mut self) -> Self {
        self.command.stderr(Stdio::null());
        self
    }

    /// Whether it can be run and ends well; its output is dropped.
    pub(crate) fn succeeds(mut self) -> bool {
        self.command.stdout(Stdio::null()).stderr(Stdio::null());
        self.call().is_ok()
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.command.get_args().skip(2).map(|word| word.to_string_lossy()).collect();
        f.write_str(&words.join(" "))
    }
}

/// A running command with everything that it starts; ended on every way out.
struct Group {
    child: Child,
    name: String,
    deadline: Instant,
    patience: Duration,
    ended: bool,
}

impl Group {
    fn spawn(name: String, command: &mut Command, patience: Duration) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot run {name}"))?;
        Ok(Self { child, name, deadline: Instant::now() + patience, patience, ended: false })
    }

    fn wait(&mut self) -> Result<std::process::ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.ended = true;
                return Ok(status);
            }
            if Instant::now() > self.deadline {
                bail!("{} did not end within {:?}", self.name, self.patience);
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.ended {
            // Whatever of the group has ended already is not there to be killed; that is no fault.
            let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.child.id())]).status();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_does_not_end_is_ended_with_its_children() {
        let started = Instant::now();
        let call = Call::new("sh", &["-c", "sleep 600 & wait"]).within(Duration::from_millis(200));
        assert!(call.call().expect_err("too long").to_string().contains("did not end"));
        assert!(started.elapsed() < Duration::from_mins(1));
    }

    #[test]
    fn a_verdict_is_no_failure() {
        let said = |code: &str| Call::new("sh", &["-c", &format!("exit {code}")]).verdict();
        assert!(said("0").expect("yes"));
        assert!(!said("1").expect("no"));
        assert!(said("2").is_err());
    }

    #[test]
    fn lines_are_handed_on_before_a_command_ends() {
        let mut taken = Vec::new();
        let call = Call::new("sh", &["-c", "echo a; echo b; exec sleep 600"]).within(Duration::from_secs(2));
        let outcome = call.lines(&[0], |line| {
            taken.push(line.to_owned());
            Ok(())
        });
        assert!(outcome.expect_err("too long").to_string().contains("did not end"));
        assert_eq!(taken, ["a", "b"]);
    }

    #[test]
    fn a_failure_names_the_command() {
        let error = Call::new("sh", &["-c", "exit 3"]).call().expect_err("fails");
        assert!(error.to_string().contains("exit 3"), "{error}");
    }
}
