//! The time that ages are counted by: it never goes back, whatever becomes of the host's clock.
//!
//! A clock that is set back would make all that is stored younger than it is. So time goes on from the latest that the clock has
//! shown, at the pace of the monotonic clock; one that is set forward takes it along, which has things validated too early only.
//! Dates that others have written are compared with the clock itself, so it is told with each moment how far that is behind.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use banyan_httpcache::Time;
use banyan_runtime::Clock;

pub(crate) struct Steady {
    began: Instant,
    /// What the clock has shown at `began` at the latest, in milliseconds since 1970: a clock that is set forward moves it.
    latest: AtomicI64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub time: Time,
    /// Of what the clock shows.
    pub ahead: Duration,
}

impl Default for Steady {
    fn default() -> Self {
        Self {
            began: Clock.now(),
            latest: AtomicI64::new(i64::MIN),
        }
    }
}

impl Steady {
    pub(crate) fn now(&self, clock: Clock) -> Moment {
        // In this order: what passes between the two is no clock that was set forward.
        let shown = i64::try_from(clock.unix_ms()).unwrap_or(i64::MAX);
        let passed = clock.now().saturating_duration_since(self.began).as_millis();
        self.at(shown, i64::try_from(passed).unwrap_or(i64::MAX))
    }

    fn at(&self, shown: i64, passed: i64) -> Moment {
        let seen = shown.saturating_sub(passed);
        let known = self.latest.load(Ordering::Relaxed);
        // All cores read it, and next to nobody writes.
        let latest = if seen > known {
            self.latest.fetch_max(seen, Ordering::Relaxed).max(seen)
        } else {
            known
        };
        let ahead = u64::try_from(latest.saturating_sub(seen)).unwrap_or(0);
        Moment {
            time: Time::from_millis(latest.saturating_add(passed)),
            ahead: Duration::from_millis(ahead),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_clock_that_is_set_back_makes_nothing_younger_and_one_that_is_set_forward_takes_time_along() {
        let steady = Steady::default();
        let start = 1_700_000_000_000;
        // What the clock shows, what has passed: the time that counts, and how far it is ahead.
        for (shown, passed, time, ahead) in [
            (0, 0, 0, 0),
            (1000, 1000, 1000, 0),
            (2000 - HOUR, 2000, 2000, HOUR),
            (60_000 - HOUR, 60_000, 60_000, HOUR),
            // Set right again, then forward, for 400 days, and back.
            (61_000, 61_000, 61_000, 0),
            (62_000 + 9600 * HOUR, 62_000, 62_000 + 9600 * HOUR, 0),
            (63_000, 63_000, 63_000 + 9600 * HOUR, 9600 * HOUR),
        ] {
            let moment = steady.at(start + shown, passed);
            let expected = Moment {
                time: Time::from_millis(start + time),
                ahead: Duration::from_millis(ahead.unsigned_abs()),
            };
            assert_eq!(moment, expected, "{shown} after {passed}");
        }
    }
}
