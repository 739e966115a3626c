//! Durations of the last ten seconds in logarithmic buckets, and their quantiles.
//!
//! Eight buckets per power of two: a quantile is at most 12.5 % above the true value. One writer; readers on other
//! threads may see the newest second half written, which shifts a quantile by a few requests. Memory: 13 KiB.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::logarithmic::{bucket, buckets, quantile};

/// Seconds that a quantile looks back.
const WINDOW: u64 = 10;
/// One more than the window: the second being overwritten is never one being read.
const SLOTS: u64 = WINDOW + 1;
const SUB_BITS: u32 = 3;
const BUCKETS: usize = buckets(SUB_BITS);

pub struct Histogram {
    slots: Vec<Slot>,
}

struct Slot {
    /// The second that it holds, plus one; 0: empty.
    second: AtomicU64,
    counts: Vec<AtomicU32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    pub count: u64,
    /// `None` when nothing was recorded in the window.
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        let slot = || Slot {
            second: AtomicU64::new(0),
            counts: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
        };
        Self {
            slots: (0..SLOTS).map(|_| slot()).collect(),
        }
    }
}

impl Histogram {
    /// `second`: any clock that counts seconds and does not go back.
    pub fn record(&self, second: u64, took: Duration) {
        let slot = &self.slots[(second % SLOTS) as usize];
        if slot.second.load(Ordering::Relaxed) != second + 1 {
            slot.counts.iter().for_each(|c| c.store(0, Ordering::Relaxed));
            slot.second.store(second + 1, Ordering::Release);
        }
        let count = &slot.counts[bucket::<SUB_BITS>(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))];
        count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Over all histograms together, for the window that ends with `second`.
    pub fn quantiles<'a>(histograms: impl IntoIterator<Item = &'a Self>, second: u64) -> Quantiles {
        let mut sum = vec![0_u64; BUCKETS];
        for slot in histograms.into_iter().flat_map(|h| &h.slots) {
            let held = slot.second.load(Ordering::Acquire);
            if held > 0 && held - 1 <= second && held - 1 + WINDOW > second {
                for (total, count) in sum.iter_mut().zip(&slot.counts) {
                    *total += u64::from(count.load(Ordering::Relaxed));
                }
            }
        }
        let count = sum.iter().sum();
        Quantiles {
            count,
            p50_us: quantile::<SUB_BITS>(sum.iter().copied(), count, 50),
            p99_us: quantile::<SUB_BITS>(sum.iter().copied(), count, 99),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quantiles_match_the_sorted_values(mut values in prop::collection::vec(0_u64..10_000_000, 1..400)) {
            let halves = [Histogram::default(), Histogram::default()];
            for (index, us) in values.iter().enumerate() {
                halves[index % 2].record(100 + index as u64 % 5, Duration::from_micros(*us));
            }
            values.sort_unstable();
            let found = Histogram::quantiles(&halves, 104);
            prop_assert_eq!(found.count, values.len() as u64);
            for (percent, found) in [(50, found.p50_us), (99, found.p99_us)] {
                let exact = values[(values.len() * percent).div_ceil(100) - 1];
                let found = found.unwrap();
                prop_assert!(exact <= found && found - exact <= exact / 8, "p{}: {} for {}", percent, found, exact);
            }
        }

        #[test]
        fn only_the_last_ten_seconds_count(seconds in prop::collection::btree_set(0_u64..60, 1..40)) {
            let histogram = Histogram::default();
            for second in &seconds {
                histogram.record(*second, Duration::from_micros(5));
            }
            let last = *seconds.last().unwrap();
            let expected = seconds.iter().filter(|s| **s + WINDOW > last).count() as u64;
            prop_assert_eq!(Histogram::quantiles([&histogram], last).count, expected);
        }
    }

    #[test]
    fn an_empty_window_has_no_quantile() {
        assert_eq!(
            Histogram::quantiles([&Histogram::default()], 7),
            Quantiles::default()
        );
    }
}
