//! What processes cost, from `/proc`.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// The time that these processes have had a core, of their own and in the kernel.
///
/// # Errors
/// If one of them is gone.
pub fn cpu(pids: &[u32]) -> Result<Duration> {
    // A tick is 10 ms on every Linux that counts them for user programs.
    let mut ticks = 0;
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("a server is gone")?;
        // The name stands in parentheses and may hold anything.
        let fields = stat.rsplit_once(')').context("no name")?.1;
        let times: Vec<u64> =
            fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        ticks += times.iter().sum::<u64>();
    }
    Ok(Duration::from_millis(10 * ticks))
}

/// What each of these processes has resident, in bytes.
///
/// # Errors
/// If one of them is gone.
pub fn resident(pids: &[u32]) -> Result<Vec<u64>> {
    pids.iter()
        .map(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).context("a server is gone")?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
            let kb: u64 = line.split_whitespace().next().context("no number")?.parse()?;
            Ok(kb * 1024)
        })
        .collect()
}

/// Raises the limit of open files to what is allowed, and returns it.
///
/// # Errors
/// If the system refuses.
pub fn raise_file_limit() -> Result<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(limit.current.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    #[test]
    fn this_process_costs_time_and_memory() {
        let me = [std::process::id()];
        let before = super::cpu(&me).expect("here");
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(200) {
            std::hint::black_box(1);
        }
        assert!(super::cpu(&me).expect("here") > before);
        assert!(super::resident(&me).expect("here")[0] > 100_000);
    }
}
