//! What rules ask of whatever keeps the metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::rule::Select;

pub type Labels = BTreeMap<String, String>;

/// A figure of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub labels: Labels,
    pub value: f64,
}

/// How often something took at most so long: upper bounds (the last is infinite) with counts up to them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    pub labels: Labels,
    pub counts: Vec<(f64, f64)>,
}

/// Kept metrics. What has no figure in the time asked for is left out of every answer.
pub trait Series {
    /// The newest value of each series, if it is of now: not older than two of its intervals.
    fn newest(&self, select: &Select, now: Duration) -> Vec<Point>;

    /// By how much each counter grew in the window that ends now. A counter that begins anew begins at 0.
    fn growth(&self, select: &Select, over: Duration, now: Duration) -> Vec<Point>;

    /// By how much each gauge changes per second, by the window that ends now; left out where less than half of the window
    /// is known.
    fn slope(&self, select: &Select, over: Duration, now: Duration) -> Vec<Point>;

    /// The growth of histograms.
    fn distribution(&self, metric: &str, over: Duration, now: Duration) -> Vec<Distribution>;

    /// How long ago the first value of any of these was, in the window or just before; `None`: the window has none.
    fn known_for(&self, select: &Select, over: Duration, now: Duration) -> Option<Duration>;
}

impl Distribution {
    pub fn count(&self) -> f64 {
        self.counts.last().map_or(0.0, |(_, count)| *count)
    }

    pub fn add(&mut self, other: &Self) {
        for (bound, count) in &other.counts {
            match self.counts.iter_mut().find(|(ours, _)| ours == bound) {
                Some((_, ours)) => *ours += count,
                None => self.counts.push((*bound, *count)),
            }
        }
        self.counts.sort_by(|a, b| a.0.total_cmp(&b.0));
    }

    /// Linear within a bucket, as Prometheus' `histogram_quantile`; beyond the last bound that bound. `None`: it is empty.
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = quantile * self.count();
        if rank <= 0.0 {
            return None;
        }
        let at = self.counts.iter().position(|(_, count)| *count >= rank)?;
        let (bound, upper) = self.counts[at];
        let (start, lower) = at.checked_sub(1).map_or((0.0, 0.0), |before| self.counts[before]);
        if bound.is_infinite() {
            return Some(start);
        }
        Some(start + (bound - start) * (rank - lower) / (upper - lower))
    }
}
