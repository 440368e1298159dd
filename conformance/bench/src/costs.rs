//! What an operation costs beside time: system calls, as strace counts them, and allocations, as our allocator does.
//!
//! Both slow the servers down, so nothing is timed here.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    ensemble::{Ensemble, Kind},
    figures::{self, Figures},
    load::{self, Load},
    prepare,
};

/// How long a load runs for each of the two.
const WINDOW: Duration = Duration::from_secs(2);
/// How long strace may take to attach to a process, and to let go.
const STRACE_MAX: Duration = Duration::from_secs(10);
/// Between two looks at what is awaited.
const POLL: Duration = Duration::from_millis(10);

/// The system calls that all servers make for an operation of this load.
///
/// # Errors
/// If strace cannot be had, or an answer is wrong.
pub fn calls(ensemble: &Ensemble, load: &Load, dir: &Path) -> Result<f64> {
    let mut tracers = Vec::new();
    for pid in ensemble.pids() {
        tracers.push(Tracer::attach(pid, &dir.join(format!("strace.{pid}")))?);
    }
    let seen = load::run(&untimed(load), &ensemble.addresses()?, || {}, || {})?;
    let mut calls = 0;
    for tracer in tracers {
        calls += tracer.detach()?;
    }
    ensure!(seen.operations > 0, "nothing was answered");
    Ok(float(calls) / float(seen.operations))
}

/// The allocations that all servers make for an operation of each load. `binary` is a build of our server whose
/// allocator counts: mimalloc with `MI_STAT=2`.
///
/// # Errors
/// If it does not count, or an answer is wrong.
pub fn allocations(binary: &Path, loads: &[Load], dir: &Path) -> Result<Vec<f64>> {
    let (idle, _) = counted(binary, None, &dir.join("counted-idle"))?;
    let each = |(number, load): (usize, &Load)| {
        let (all, operations) = counted(binary, Some(load), &dir.join(format!("counted-{number}")))?;
        ensure!(operations > 0, "nothing was answered");
        Ok((all - idle).max(0.0) / float(operations))
    };
    loads.iter().enumerate().map(each).collect()
}

/// How the figures are called.
pub fn figures(calls: Option<f64>, allocations: Option<f64>) -> Figures {
    let named = [(figures::CALLS, calls), (figures::ALLOCATIONS, allocations)];
    named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn untimed(load: &Load) -> Load {
    Load { warm: Duration::ZERO, window: WINDOW, ..load.clone() }
}

/// The allocations of a whole run of servers of their own, and how many operations of the load were answered.
fn counted(binary: &Path, load: Option<&Load>, dir: &Path) -> Result<(f64, u64)> {
    let kind = Kind::Zabkeeper { binary: binary.to_owned(), counts: true, config: String::new() };
    let mut ensemble = Ensemble::start(kind, dir)?;
    let addresses = ensemble.addresses()?;
    prepare::small(&addresses)?;
    let operations = match load {
        Some(load) => load::run(&untimed(load), &addresses, || {}, || {})?.operations,
        None => 0,
    };
    ensemble.stop_all()?;
    let outputs: Vec<String> = ensemble.outputs()?;
    let counts: Vec<f64> = outputs.iter().map(|output| blocks(output)).collect::<Result<_>>()?;
    Ok((counts.iter().sum(), operations))
}

/// How many blocks a process has allocated, as mimalloc tells at its end: a line for each size of them, the count in
/// the last of five columns.
fn blocks(output: &str) -> Result<f64> {
    const NAME: usize = 13;
    const COLUMN: usize = 12;
    let sizes = output.lines().filter(|line| line.trim_start().starts_with("bin "));
    let counts: Vec<f64> = sizes
        .map(|line| line.get(NAME + 4 * COLUMN..NAME + 5 * COLUMN).and_then(amount))
        .collect::<Option<_>>()
        .context("the allocator counts in a way of its own")?;
    ensure!(!counts.is_empty(), "the allocator of this build does not count");
    Ok(counts.into_iter().sum())
}

/// A number with its unit, such as `42` or `12.3 K`.
fn amount(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let number: f64 = words.next()?.parse().ok()?;
    let unit = match words.next() {
        None => 1.0,
        Some("K") => 1e3,
        Some("M") => 1e6,
        Some("G") => 1e9,
        Some(_) => return None,
    };
    Some(number * unit)
}

/// strace on one process, counting.
struct Tracer {
    child: Child,
    pid: u32,
    summary: std::path::PathBuf,
}

impl Tracer {
    fn attach(pid: u32, summary: &Path) -> Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-qq", "-o"]).arg(summary).args(["-p", &pid.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("cannot start strace")?;
        let tracer = Self { child, pid, summary: summary.to_owned() };
        tracer.until(|traced| traced)?;
        Ok(tracer)
    }

    /// Waits until every thread of the process is traced, or none is.
    fn until(&self, is: impl Fn(bool) -> bool) -> Result<()> {
        let deadline = Instant::now() + STRACE_MAX;
        loop {
            let mut all = true;
            for thread in fs::read_dir(format!("/proc/{}/task", self.pid))? {
                // A thread may have ended since.
                let status = fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
                let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
                all &= tracer.is_none_or(|pid| is(pid.trim() != "0"));
            }
            if all {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "strace does not come to terms with process {}", self.pid);
            thread::sleep(POLL);
        }
    }

    /// Lets the process go, and returns how many calls it has made.
    fn detach(mut self) -> Result<u64> {
        let strace = Pid::from_raw(i32::try_from(self.child.id())?).context("no process")?;
        kill_process(strace, Signal::INT)?;
        let deadline = Instant::now() + STRACE_MAX;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "strace does not let go of process {}", self.pid);
            thread::sleep(POLL);
        }
        self.until(|traced| !traced)?;
        total(&fs::read_to_string(&self.summary)?)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Nothing is left to do about a process that cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The calls of all kinds in strace's table.
fn total(table: &str) -> Result<u64> {
    for line in table.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.last() == Some(&"total") {
            return words.get(3).context("no calls")?.parse().context("no number of calls");
        }
    }
    bail!("strace has counted nothing")
}

#[expect(clippy::cast_precision_loss, reason = "figures are shown with three digits")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    #[test]
    fn blocks_of_all_sizes_are_counted() {
        let output = "\
 blocks          peak       total     current       block      total#   
  bin S    1:    88   B     336   B       0           8   B      42        ok
  bin S    2:   208   B       1.2 KiB    48   B      16   B       1.5 K    not all freed
  binned    :   351.9 KiB   403.3 KiB   233.1 KiB                          not all freed
";
        assert!((super::blocks(output).expect("a count") - 1542.0).abs() < 1e-6);
        assert!(super::blocks("  huge      :     1.0 MiB\n").is_err());
    }

    #[test]
    fn calls_are_those_of_the_last_line() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n \
                     67.23    0.856904         647      1324        15 futex\n \
                     11.87    0.151341          14     10243           sendto\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     100.00    1.008245          87     11567        15 total\n";
        assert_eq!(super::total(table).expect("a total"), 11_567);
        assert!(super::total("").is_err());
    }
}
