//! Named figures of a run, and the median of several.

use std::collections::BTreeMap;

/// Operations answered in a second.
pub const RATE: &str = "ops/s";
/// The median time to an answer.
pub const P50: &str = "p50 µs";
/// The time that one in a hundred exceeds.
pub const P99: &str = "p99 µs";
/// The time that one in a thousand exceeds.
pub const P999: &str = "p99.9 µs";
/// The longest time.
pub const MAX: &str = "max µs";
/// Answers that told of an error.
pub const ERRORS: &str = "errors";
/// What an operation costs all servers together.
pub const CPU: &str = "CPU µs/op";
/// The resident memory of the largest server.
pub const RESIDENT: &str = "resident MB";
/// How long something took.
pub const MS: &str = "ms";
/// How long it took at worst.
pub const WORST: &str = "worst ms";
/// Resident memory by node.
pub const BYTES: &str = "bytes a znode";
/// The same, before the restart.
pub const BYTES_FILLED: &str = "bytes a znode after fill";

/// System calls of all servers together, by operation.
pub const CALLS: &str = "system calls/op";
/// Allocations of all servers together, by operation.
pub const ALLOCATIONS: &str = "allocations/op";

/// All names, in the order in which they are shown.
pub const NAMES: &[&str] =
    &[RATE, P50, P99, P999, MAX, ERRORS, CPU, CALLS, ALLOCATIONS, RESIDENT, MS, WORST, BYTES, BYTES_FILLED];

/// Figures of a run.
pub type Figures = BTreeMap<&'static str, f64>;

/// Of each figure the median over these runs.
pub fn medians(runs: &[Figures]) -> Figures {
    let mut by_name: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for (name, value) in runs.iter().flatten() {
        by_name.entry(name).or_default().push(*value);
    }
    by_name.into_iter().map(|(name, mut values)| (name, median(&mut values))).collect()
}

/// The one in the middle, or between the two that are there.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => 0.0,
        (length, middle) if length.is_multiple_of(2) => f64::midpoint(values[middle - 1], values[middle]),
        (_, middle) => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::{Figures, MS, medians};

    #[test]
    fn a_median_is_in_the_middle() {
        let runs =
            |values: &[f64]| values.iter().map(|value| Figures::from([(MS, *value)])).collect::<Vec<_>>();
        assert_eq!(medians(&runs(&[9.0, 1.0, 2.0])), Figures::from([(MS, 2.0)]));
        assert_eq!(medians(&runs(&[9.0, 1.0])), Figures::from([(MS, 5.0)]));
        assert!(medians(&[]).is_empty());
    }
}
