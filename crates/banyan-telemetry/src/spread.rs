//! Durations in logarithmic buckets, as plain numbers of one owner: small enough to be kept by the hundred, and added up.
//!
//! Four buckets per power of two: a quantile is at most a quarter above the true value. Memory: 0.6 KiB.

use crate::durations::{BOUNDS_US, Counted};
use crate::logarithmic::{bucket, buckets, quantile, upper_bound};

const SUB_BITS: u32 = 2;
const BUCKETS: usize = buckets(SUB_BITS);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    counts: [u32; BUCKETS],
    count: u64,
    sum_us: u64,
    max_us: u64,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            count: 0,
            sum_us: 0,
            max_us: 0,
        }
    }
}

impl Spread {
    pub fn record(&mut self, us: u64) {
        let count = &mut self.counts[bucket::<SUB_BITS>(us)];
        *count = count.saturating_add(1);
        self.count += 1;
        self.sum_us = self.sum_us.wrapping_add(us);
        self.max_us = self.max_us.max(us);
    }

    pub fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *ours = ours.saturating_add(*theirs);
        }
        self.count += other.count;
        self.sum_us = self.sum_us.wrapping_add(other.sum_us);
        self.max_us = self.max_us.max(other.max_us);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    pub fn max_us(&self) -> u64 {
        self.max_us
    }

    /// `None`: nothing was recorded. Never above the longest that was.
    pub fn quantile_us(&self, percent: u64) -> Option<u64> {
        let counts = self.counts.iter().map(|count| u64::from(*count));
        let found = quantile::<SUB_BITS>(counts, self.count, percent);
        found.map(|us| us.min(self.max_us))
    }

    /// In the buckets of [`crate::Durations`]; one of ours that holds a bound of theirs counts as what is above it.
    pub fn counted(&self) -> Counted {
        let mut counts = vec![0; BOUNDS_US.len() + 1];
        for (index, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let longest = upper_bound::<SUB_BITS>(index);
            let place = BOUNDS_US.iter().position(|bound| longest <= *bound);
            counts[place.unwrap_or(BOUNDS_US.len())] += u64::from(*count);
        }
        Counted {
            counts,
            sum_us: self.sum_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quantiles_of_a_sum_match_the_sorted_values(mut values in prop::collection::vec(0_u64..10_000_000, 1..300)) {
            let (mut one, mut other) = (Spread::default(), Spread::default());
            for (index, us) in values.iter().enumerate() {
                if index % 3 == 0 { one.record(*us) } else { other.record(*us) }
            }
            one.merge(&other);
            values.sort_unstable();
            prop_assert_eq!((one.count(), one.sum_us()), (values.len() as u64, values.iter().sum()));
            prop_assert_eq!(Some(one.max_us()), values.last().copied());
            for percent in [50, 99] {
                let exact = values[(values.len() * percent).div_ceil(100) - 1];
                let found = one.quantile_us(percent as u64).unwrap();
                prop_assert!(exact <= found && found - exact <= exact / 4, "p{}: {} for {}", percent, found, exact);
            }
            prop_assert_eq!(one.counted().count(), values.len() as u64);
        }
    }

    #[test]
    fn nothing_has_no_quantile_and_what_is_too_long_counts_above_all_bounds() {
        let mut spread = Spread::default();
        assert_eq!(spread.quantile_us(99), None);
        spread.record(u64::MAX / 2);
        assert_eq!(spread.counted().counts.last(), Some(&1));
    }
}
