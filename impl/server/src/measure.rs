//! Figures of which only some are kept: least, greatest, number, sum, and where they lie.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The greatest value that a measure's quantiles tell apart: an hour in microseconds.
const MEASURE_MAX: u64 = 3_600_000_000;

/// Least, greatest, number and sum of some measure.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) min: u64,
    pub(crate) max: u64,
    pub(crate) count: u64,
    pub(crate) sum: u64,
}

impl Summary {
    pub(crate) fn record(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// Sum over count, with four decimals as Java prints them: no zeros at the end but one.
    pub(crate) fn average(&self, divisor: u64) -> String {
        let count = u128::from(self.count.max(1)) * u128::from(divisor);
        let scaled = (u128::from(self.sum) * 10_000 + count / 2) / count;
        let text = format!("{}.{:04}", scaled / 10_000, scaled % 10_000);
        let short = text.trim_end_matches('0');
        if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
    }
}

/// A summary with quantiles.
#[derive(Clone, Debug)]
pub(crate) struct Measure {
    pub(crate) summary: Summary,
    histogram: Histogram<u64>,
}

impl Default for Measure {
    fn default() -> Self {
        Self::new()
    }
}

impl Measure {
    pub(crate) fn new() -> Self {
        Self {
            summary: Summary::default(),
            histogram: Histogram::new_with_max(MEASURE_MAX, 2).expect("two digits up to an hour"),
        }
    }

    pub(crate) fn record(&mut self, value: u64) {
        self.summary.record(value);
        self.histogram.saturating_record(value);
    }

    /// Records the same value so many times.
    pub(crate) fn record_many(&mut self, value: u64, times: u64) {
        if times == 0 {
            return;
        }
        self.summary.record(value);
        self.summary.count += times - 1;
        self.summary.sum = self.summary.sum.saturating_add(value.saturating_mul(times - 1));
        self.histogram.saturating_record_n(value, times);
    }

    /// The value that this part of all stays at or below, to two digits; 0 if there is none.
    pub(crate) fn quantile(&self, quantile: f64) -> u64 {
        self.histogram.value_at_quantile(quantile)
    }
}

/// A duration in whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Summary;

    #[test]
    fn averages_look_like_javas() {
        let rows = [
            (vec![], "0.0"),
            (vec![1000, 2000], "1.5"),
            (vec![1000], "1.0"),
            (vec![1000, 0, 0], "0.3333"),
            (vec![2000, 0, 0], "0.6667"),
            (vec![123_450], "123.45"),
        ];
        for (micros, expected) in rows {
            let mut summary = Summary::default();
            for value in &micros {
                summary.record(*value);
            }
            assert_eq!(summary.average(1000), expected, "{micros:?}");
        }
    }
}
