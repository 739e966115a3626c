//! Counters as rates: of the last seconds, for reports.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const UNITS_OVER: Duration = Duration::from_secs(10);
const SLOW_OVER: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Rates(VecDeque<(Instant, u64, u64)>);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate {
    /// Over the last ten seconds; `None`: it has just begun.
    pub(super) units_per_second: Option<f64>,
    /// Slow statements of the last minute.
    pub(super) slow: u64,
}

impl Rates {
    pub(super) fn add(&mut self, now: Instant, units: u64, slow: u64) -> Rate {
        let age = |at: Instant| now.saturating_duration_since(at);
        while self.0.front().is_some_and(|(at, ..)| age(*at) > SLOW_OVER) {
            self.0.pop_front();
        }
        let before = self.0.iter().find(|(at, ..)| age(*at) <= UNITS_OVER);
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        let units_per_second = before
            .filter(|(at, ..)| age(*at) > Duration::ZERO)
            .map(|(at, then, _)| units.saturating_sub(*then) as f64 / age(*at).as_secs_f64());
        let slow_before = self.0.front().map_or(0, |(.., slow)| *slow);
        self.0.push_back((now, units, slow));
        Rate {
            units_per_second,
            slow: slow.saturating_sub(slow_before),
        }
    }
}

#[cfg(test)]
mod tests {
    use banyan_runtime::Clock;

    use super::*;

    #[test]
    fn units_are_of_ten_seconds_and_slow_ones_of_a_minute() {
        let begun = Clock.now();
        let mut rates = Rates::default();
        let mut at = |second: u64, units, slow| rates.add(begun + Duration::from_secs(second), units, slow);
        assert_eq!(
            at(0, 100, 1),
            Rate {
                units_per_second: None,
                slow: 1
            }
        );
        assert_eq!(at(1, 150, 1).units_per_second, Some(50.0));
        for second in 2..70 {
            at(second, 150 + second * 10, 3);
        }
        let last = at(70, 850, 4);
        assert_eq!((last.units_per_second, last.slow), (Some(10.0), 1));
    }
}
