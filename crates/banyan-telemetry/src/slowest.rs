//! Which of many durations are the slowest hundredth, with two numbers of memory. Pure; one owner.

use std::time::Duration;

/// Durations that must have been seen before any is called slow.
const LEARNED: u32 = 500;
/// How far the bound moves at each one, as a part of itself: fast enough for a load that changes within a minute.
const STEP: f64 = 1.0 / 16.0;
/// The share that lies above.
const ABOVE: f64 = 0.01;

/// A bound that rises with each duration above it and sinks a ninety-ninth of that with each one below: it settles where
/// one of a hundred is above (stochastic approximation of a quantile).
#[derive(Clone, Debug, Default)]
pub struct Slowest {
    bound_us: f64,
    seen: u32,
}

impl Slowest {
    /// Whether it is one of the slowest.
    pub fn is_one(&mut self, took: Duration) -> bool {
        let us = took.as_secs_f64() * 1e6;
        if self.seen == 0 {
            self.bound_us = us.max(1.0);
        }
        let above = us > self.bound_us;
        self.bound_us *= if above {
            1.0 + STEP * (1.0 - ABOVE)
        } else {
            1.0 - STEP * ABOVE
        };
        // While it learns it may begin far too low.
        if above && self.seen < LEARNED {
            self.bound_us = self.bound_us.max(us * 0.5);
        }
        self.seen = self.seen.saturating_add(1);
        above && self.seen > LEARNED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same numbers each time, evenly spread below `below`.
    fn numbers(below: u64) -> impl Iterator<Item = u64> {
        let mut state = 42_u64;
        std::iter::from_fn(move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            Some((state >> 33) % below)
        })
    }

    #[test]
    fn about_one_of_a_hundred_is_chosen_also_after_the_load_has_changed() {
        let mut slowest = Slowest::default();
        for below in [10_000, 200_000, 5_000] {
            let mut chosen = 0;
            for (index, us) in numbers(below).take(60_000).enumerate() {
                let one = slowest.is_one(Duration::from_micros(us));
                // It has 40,000 to learn the new load.
                chosen += u32::from(one && index >= 40_000);
            }
            assert!((40..800).contains(&chosen), "{chosen} of 20,000 below {below}");
        }
    }

    #[test]
    fn equal_durations_are_not_slow() {
        let mut slowest = Slowest::default();
        let chosen = (0..20_000)
            .filter(|_| slowest.is_one(Duration::from_millis(5)))
            .count();
        assert!(chosen < 400, "{chosen}");
    }
}
