//! How long to wait before the next start of a child that exits: pure, the randomness is seeded.
//!
//! The wait doubles per exit, with jitter so that children felled together do not return together. It never gives up:
//! the slowest pace is one start per [`SLOWEST`]. A child that served before it exited is back sooner: something ends it
//! from time to time, and each second without it is an outage.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Before the second start.
pub(crate) const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
pub(crate) const SLOWEST: Duration = Duration::from_secs(30);
/// The longest wait for a child that had been ready.
pub(crate) const SERVED: Duration = Duration::from_secs(1);
/// A child that ran this long is not in a crash loop: the count begins anew.
pub(crate) const STEADY: Duration = Duration::from_secs(60);
/// So many exits, each sooner than [`STEADY`] after its start, are a crash loop.
pub(crate) const CRASH_LOOP: u32 = 5;

pub(crate) struct Backoff {
    /// Exits in a row that came sooner than [`STEADY`].
    exits: u32,
    rng: Xoshiro256PlusPlus,
}

impl Backoff {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            exits: 0,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
        }
    }

    /// The wait after an exit of a process that ran for `uptime` and `served` (was ready at some time): between half and
    /// all of the nominal time.
    pub(crate) fn after(&mut self, uptime: Duration, served: bool) -> Duration {
        self.exits = if uptime >= STEADY {
            1
        } else {
            self.exits.saturating_add(1)
        };
        let longest = if served { SERVED } else { SLOWEST };
        nominal(self.exits)
            .min(longest)
            .mul_f64(self.rng.random_range(0.5..=1.0))
    }

    /// The number of exits when they have become a crash loop.
    pub(crate) fn crash_loop(&self) -> Option<u32> {
        (self.exits >= CRASH_LOOP).then_some(self.exits)
    }
}

/// Without jitter: 100, 200, 400, 800 ms, then the slowest pace.
fn nominal(exits: u32) -> Duration {
    match exits {
        0 => Duration::ZERO,
        n if n < CRASH_LOOP => FIRST * (1 << (n - 1)),
        _ => SLOWEST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_served_is_never_kept_waiting_for_long() {
        let mut backoff = Backoff::new(7);
        for exit in 1..50 {
            let wait = backoff.after(Duration::from_secs(3), true);
            assert!(wait <= SERVED, "{wait:?} after exit {exit}");
        }
        assert_eq!(backoff.crash_loop(), Some(49), "the verdict stands all the same");
        assert!(backoff.after(Duration::from_secs(3), false) >= SLOWEST / 2);
    }
}
