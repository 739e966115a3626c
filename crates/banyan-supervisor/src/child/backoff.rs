//! How long to wait before the next start of a child that exits: pure, the randomness is seeded.
//!
//! The wait doubles per exit, with jitter so that children felled together do not return together. It never gives up:
//! the slowest pace is one start per [`SLOWEST`].

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Before the second start.
pub(crate) const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
pub(crate) const SLOWEST: Duration = Duration::from_secs(30);
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

    /// The wait after an exit of a process that ran for `uptime`: between half and all of the nominal time.
    pub(crate) fn after(&mut self, uptime: Duration) -> Duration {
        self.exits = if uptime >= STEADY {
            1
        } else {
            self.exits.saturating_add(1)
        };
        nominal(self.exits).mul_f64(self.rng.random_range(0.5..=1.0))
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
