//! One target in a process of its own, with a bound on its memory: changes by chance until the time is over.
//!
//! The input is written to a file before the target gets it. Whatever ends the process, its parent finds it there.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::{Value, json};

use crate::{Target, mutate::Mutator};

/// What stands before the input: how many inputs there were, and the length of this one.
const HEAD_BYTES: usize = 16;
/// All the address space that a target may have, in bytes. The greatest thing that a reader may hold is a field of
/// 64 MiB, while it grows.
pub const MEMORY_MAX: u64 = 1 << 30;

/// Bounds the memory of this process from now on; it leaves no image of itself where it ends.
///
/// # Errors
/// If the system refuses.
pub fn bound_memory() -> Result<()> {
    let limit = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    setrlimit(Resource::As, limit(MEMORY_MAX)).context("cannot bound the memory")?;
    setrlimit(Resource::Core, limit(0)).context("cannot bound the size of core files")
}

/// Gives the target its seeds and then changed ones, until so much time is over; what that came to.
///
/// # Errors
/// If there are no seeds, or the file for the input cannot be written.
pub fn work(target: &Target, seed: u64, time: Duration, state: &Path) -> Result<Value> {
    let seeds = (target.seeds)()?;
    let state = File::create(state).with_context(|| format!("cannot write {}", state.display()))?;
    bound_memory()?;
    let mut mutator = Mutator::new(seed);
    let (began, mut inputs, mut longest) = (Instant::now(), 0_u64, Duration::ZERO);
    let mut give = |input: &[u8]| -> Result<()> {
        inputs += 1;
        let asked = Instant::now();
        let head = [inputs.to_le_bytes(), u64::try_from(input.len())?.to_le_bytes()].concat();
        state.write_all_at(input, HEAD_BYTES as u64)?;
        state.write_all_at(&head, 0)?;
        (target.run)(input);
        longest = longest.max(asked.elapsed());
        Ok(())
    };
    for seed in &seeds {
        give(seed)?;
    }
    let mut input = Vec::new();
    while began.elapsed() < time {
        mutator.next(&seeds, &mut input);
        give(&input)?;
    }
    Ok(json!({
        "inputs": inputs,
        "longest_us": u64::try_from(longest.as_micros())?,
        "peak_kib": peak_kib()?,
    }))
}

/// The most memory that this process has had.
fn peak_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak is told")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// How many inputs a worker has had, and the last of them; nothing before the first.
pub fn last_input(state: &Path) -> Option<(u64, Vec<u8>)> {
    let bytes = fs::read(state).ok()?;
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let count = u64::from_le_bytes(head[..8].try_into().ok()?);
    let length = usize::try_from(u64::from_le_bytes(head[8..].try_into().ok()?)).ok()?;
    Some((count, rest.get(..length)?.to_vec()))
}

/// How many inputs a worker has had.
pub fn count(state: &Path) -> u64 {
    let mut count = [0; 8];
    // Before the first there is no file, and then nothing in it.
    let read = File::open(state).and_then(|file| file.read_exact_at(&mut count, 0));
    read.map_or(0, |()| u64::from_le_bytes(count))
}
