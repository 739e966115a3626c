//! What the load will be when an instance that is started now can serve: its trend, with a margin that is learned.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::TICK;

/// After an instance is ready its share still rises.
const WARMING: Duration = Duration::from_secs(10);
/// Ticks over which a slope is taken: about as long as a start, within these.
const FEWEST: usize = 6;
const MOST: usize = 24;
/// How fast the margin learns, and the share of forecasts that should have been enough.
const LEARNING: f64 = 0.02;
const ENOUGH: f64 = 0.95;
const MARGIN: std::ops::RangeInclusive<f64> = 1.0..=1.3;

/// How far ahead is looked.
pub(super) fn horizon(start: Duration) -> Duration {
    start + WARMING
}

/// Rates of the last ticks, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Trend {
    rates: VecDeque<f64>,
}

impl Trend {
    pub(super) fn take(&mut self, rate: f64) {
        self.rates.push_back(rate);
        if self.rates.len() > MOST {
            self.rates.pop_front();
        }
    }

    /// Requests per second, per second; never below zero: falling load is seen when it has fallen.
    pub(super) fn slope(&self, start: Duration) -> f64 {
        let ticks = (start.as_secs_f64() / TICK.as_secs_f64()) as usize;
        let wanted = ticks.clamp(FEWEST, MOST);
        if self.rates.len() < FEWEST {
            return 0.0;
        }
        let skipped = self.rates.len().saturating_sub(wanted);
        let taken: Vec<f64> = self.rates.iter().skip(skipped).copied().collect();
        (least_squares(&taken) / TICK.as_secs_f64()).max(0.0)
    }
}

/// Slope of the line through equally distant values.
fn least_squares(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let middle = (n - 1.0) / 2.0;
    let mean = values.iter().sum::<f64>() / n;
    let (mut up, mut across) = (0.0, 0.0);
    for (i, value) in values.iter().enumerate() {
        let x = i as f64 - middle;
        up += x * (value - mean);
        across += x * x;
    }
    up / across
}

/// A factor on forecasts, so large that 95 % of them turn out to be enough.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Margin {
    factor: f64,
    /// What was foreseen, without the factor, and for when.
    open: VecDeque<(Duration, f64)>,
}

impl Margin {
    pub(super) fn new(factor: f64) -> Self {
        Self {
            factor,
            open: VecDeque::new(),
        }
    }

    pub(super) fn factor(&self) -> f64 {
        self.factor
    }

    pub(super) fn foresee(&mut self, due: Duration, rate: f64) {
        self.open.push_back((due, rate));
    }

    /// Learns from what has come true by now; yields the forecasts, with the factor they would have had.
    pub(super) fn learn(&mut self, now: Duration, rate: f64) -> Option<f64> {
        let mut last = None;
        while let Some((due, foreseen)) = self.open.front().copied() {
            if due > now {
                break;
            }
            self.open.pop_front();
            let margined = self.factor * foreseen;
            let missed = rate > margined;
            let step = if missed { ENOUGH } else { ENOUGH - 1.0 };
            self.factor = (self.factor * (LEARNING * step).exp()).clamp(*MARGIN.start(), *MARGIN.end());
            last = Some(margined);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rising_load_has_a_slope_and_a_falling_one_none() {
        let mut trend = Trend::default();
        for i in 0..24 {
            trend.take(100.0 + 10.0 * f64::from(i));
        }
        let slope = trend.slope(Duration::from_secs(60));
        assert!((slope - 2.0).abs() < 1e-9, "{slope}");
        for i in 0..24 {
            trend.take(340.0 - 10.0 * f64::from(i));
        }
        assert!(trend.slope(Duration::from_secs(60)).abs() < f64::EPSILON);
    }

    #[test]
    fn too_few_rates_have_no_slope() {
        let mut trend = Trend::default();
        for i in 0..5 {
            trend.take(f64::from(i) * 100.0);
        }
        assert!(trend.slope(Duration::ZERO).abs() < f64::EPSILON);
    }

    #[test]
    fn the_margin_grows_with_forecasts_that_were_too_low_and_shrinks_slowly() {
        let mut margin = Margin::new(1.15);
        margin.foresee(Duration::from_secs(10), 100.0);
        assert_eq!(margin.learn(Duration::from_secs(9), 200.0), None);
        assert!(margin.learn(Duration::from_secs(10), 200.0).is_some());
        let grown = margin.factor();
        assert!(grown > 1.15);
        margin.foresee(Duration::from_secs(20), 100.0);
        margin.learn(Duration::from_secs(20), 50.0);
        assert!(margin.factor() < grown && margin.factor() > 1.15);
    }
}
