//! How much memory this process holds, as the system tells it; nothing where it does not.

use std::fs;

/// What it holds now, in bytes.
pub fn held() -> Option<usize> {
    kib("VmRSS:").map(|kib| kib << 10)
}

/// The most that it has held, in bytes.
pub fn peak() -> Option<usize> {
    kib("VmHWM:").map(|kib| kib << 10)
}

fn kib(key: &str) -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_in_bytes() {
        let (held, peak) = (held().expect("told"), peak().expect("told"));
        assert!((1 << 20..1 << 40).contains(&held) && peak >= 1 << 20, "{held} of {peak}");
    }
}
