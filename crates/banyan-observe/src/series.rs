//! Series: what a number is called, how it is asked for, and what is made of its points. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// Between two points of what was collected last.
pub const STEP: Duration = Duration::from_secs(10);

/// A name and its labels, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    pub name: String,
    pub labels: Vec<(String, String)>,
}

/// What it was at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub series: Series,
    /// It only grows: its rate is what matters.
    pub counts: bool,
    pub value: f64,
}

/// Which points are wanted. Times are Unix milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pub name: String,
    /// Labels that it must have, with these values; others may be anything.
    pub labels: BTreeMap<String, String>,
    pub from_ms: u64,
    pub to_ms: u64,
    /// At least so much between two points: older history is coarser (10 s, 1 min, 10 min). Zero: as fine as it is kept.
    pub step: Duration,
}

/// The points of one series, oldest first. Between two of them there may be a gap: what was not measured is not zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub series: Series,
    pub points: Vec<(u64, f64)>,
}

impl Series {
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut labels: Vec<_> = labels.iter().map(owned).collect();
        labels.sort();
        Self {
            name: name.to_owned(),
            labels,
        }
    }

    pub fn label(&self, name: &str) -> Option<&str> {
        let found = self.labels.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Query {
    /// All series of a name.
    pub fn of(name: &str, from_ms: u64, to_ms: u64) -> Self {
        Self {
            name: name.to_owned(),
            from_ms,
            to_ms,
            ..Self::default()
        }
    }

    /// Only those with this label.
    #[must_use]
    pub fn with(mut self, label: &str, value: &str) -> Self {
        self.labels.insert(label.to_owned(), value.to_owned());
        self
    }

    pub fn wants(&self, series: &Series) -> bool {
        let has = |(name, value): (&String, &String)| series.label(name) == Some(value);
        series.name == self.name && self.labels.iter().all(has)
    }
}

/// How much a counter has grown over its points. One that became less has begun anew: what it is by then, it has grown.
/// `None`: of fewer than two points nothing is known.
pub fn increase(points: &[(u64, f64)]) -> Option<f64> {
    if points.len() < 2 {
        return None;
    }
    let grown = |pair: &[(u64, f64)]| {
        let (before, after) = (pair[0].1, pair[1].1);
        if after < before { after } else { after - before }
    };
    Some(points.windows(2).map(grown).sum())
}

/// The same per second, over the time between the first and the last point.
pub fn rate(points: &[(u64, f64)]) -> Option<f64> {
    let (first, last) = (points.first()?, points.last()?);
    #[expect(clippy::cast_precision_loss, reason = "spans of time are far below 2^53 ms")]
    let seconds = last.0.saturating_sub(first.0) as f64 / 1000.0;
    let grown = increase(points)?;
    (seconds > 0.0).then(|| grown / seconds)
}

/// What `share` of the durations stayed below, in seconds, by cumulative buckets as `(upper bound, count)` in order of
/// their bounds; within a bucket all are taken for equally spread, and what is above the last bound counts as that
/// (Prometheus, `histogram_quantile`). `None`: there were none.
pub fn quantile(share: f64, buckets: &[(f64, f64)]) -> Option<f64> {
    let total = buckets.last()?.1;
    if total <= 0.0 {
        return None;
    }
    let rank = share * total;
    let place = buckets.iter().position(|(_, count)| *count >= rank)?;
    let (low, before) = match place {
        0 => (0.0, 0.0),
        place => buckets[place - 1],
    };
    let (high, count) = buckets[place];
    if high.is_infinite() {
        return Some(low);
    }
    let within = (count - before).max(f64::MIN_POSITIVE);
    Some(low + (high - low) * (rank - before) / within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_began_anew_has_grown_by_what_it_is() {
        let points = [(0, 100.0), (10_000, 160.0), (20_000, 20.0), (30_000, 30.0)];
        assert_eq!(increase(&points), Some(90.0));
        assert_eq!(rate(&points), Some(3.0));
        assert_eq!(rate(&points[..1]), None);
    }

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let buckets = [(0.25, 50.0), (0.75, 90.0), (f64::INFINITY, 100.0)];
        assert_eq!(quantile(0.5, &buckets), Some(0.25));
        assert_eq!(quantile(0.7, &buckets), Some(0.5));
        assert_eq!(quantile(0.99, &buckets), Some(0.75));
        assert_eq!(quantile(0.5, &[(0.1, 0.0)]), None);
    }

    #[test]
    fn a_query_names_some_labels_and_leaves_the_others_open() {
        let series = Series::new("x", &[("route", "api"), ("code", "5xx")]);
        assert!(Query::of("x", 0, 1).wants(&series));
        assert!(Query::of("x", 0, 1).with("code", "5xx").wants(&series));
        assert!(!Query::of("x", 0, 1).with("code", "2xx").wants(&series));
        assert!(!Query::of("y", 0, 1).wants(&series));
    }
}
