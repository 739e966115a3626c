//! Durations since the start, counted in fixed buckets whose bounds grow logarithmically: what a Prometheus histogram is.
//!
//! One writer. A quantile of the last seconds is [`crate::Histogram`]'s; this one is for those who keep history themselves.

use std::time::Duration;

use crate::Counter;

/// Upper bounds in microseconds, the last bucket has none. Those of OpenTelemetry's HTTP conventions
/// (`http.server.request.duration`), with three more below: an answer on one machine takes less than 5 ms.
pub(crate) const BOUNDS_US: [u64; 17] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000,
    2_500_000, 5_000_000, 7_500_000, 10_000_000,
];
const BUCKETS: usize = BOUNDS_US.len() + 1;

/// One writer; any number of readers, who may miss its newest entries.
#[derive(Debug, Default)]
pub struct Durations {
    counts: [Counter; BUCKETS],
    sum_us: Counter,
}

/// What was counted, by several writers together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// By bucket, not cumulative; empty: nothing was counted.
    pub counts: Vec<u64>,
    pub sum_us: u64,
}

impl Durations {
    pub fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket_of(us)].increment();
        self.sum_us.add(us);
    }

    /// Over all of them together.
    pub fn sum<'a>(all: impl IntoIterator<Item = &'a Self>) -> Counted {
        let mut sum = Counted {
            counts: vec![0; BUCKETS],
            sum_us: 0,
        };
        for one in all {
            for (total, count) in sum.counts.iter_mut().zip(&one.counts) {
                *total += count.get();
            }
            sum.sum_us = sum.sum_us.wrapping_add(one.sum_us.get());
        }
        sum
    }

    /// The upper bounds of all buckets but the last one, in seconds.
    pub fn bounds() -> impl Iterator<Item = f64> {
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        BOUNDS_US.iter().map(|us| *us as f64 / 1e6)
    }
}

/// Most answers come fast: the first bounds decide.
pub(crate) fn bucket_of(us: u64) -> usize {
    let bucket = BOUNDS_US.iter().position(|bound| us <= *bound);
    bucket.unwrap_or(BUCKETS - 1)
}

impl Counted {
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_what_is_above_all_to_the_last() {
        let one = Durations::default();
        let other = Durations::default();
        one.record(Duration::from_micros(500));
        one.record(Duration::from_micros(501));
        other.record(Duration::from_secs(10));
        other.record(Duration::from_secs(3600));
        let sum = Durations::sum([&one, &other]);
        assert_eq!(sum.counts[..3], [1, 1, 0]);
        assert_eq!(sum.counts[BUCKETS - 2..], [1, 1]);
        assert_eq!((sum.count(), sum.sum_us), (4, 3_610_001_001));
    }

    #[test]
    fn bounds_grow() {
        let bounds: Vec<f64> = Durations::bounds().collect();
        assert_eq!(bounds.len(), BUCKETS - 1);
        assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{bounds:?}");
    }
}
