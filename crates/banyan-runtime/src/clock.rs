//! The only place that reads the clock. Decisions take `now` as an argument.

use std::time::{Duration, Instant, SystemTime};

#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// For intervals and deadlines: never goes back.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the monotonic clock"
    )]
    pub fn now(self) -> Instant {
        Instant::now()
    }

    /// For people and files: may jump.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    pub fn wall(self) -> SystemTime {
        SystemTime::now()
    }

    /// Milliseconds since 1970-01-01 UTC; 0 when the clock stands before it.
    pub fn unix_ms(self) -> u64 {
        u64::try_from(self.since_1970().as_millis()).unwrap_or(u64::MAX)
    }

    /// The same in microseconds.
    pub fn unix_us(self) -> u64 {
        u64::try_from(self.since_1970().as_micros()).unwrap_or(u64::MAX)
    }

    fn since_1970(self) -> Duration {
        let since = self.wall().duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or(Duration::ZERO)
    }
}
