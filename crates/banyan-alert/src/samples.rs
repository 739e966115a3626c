//! Series in memory: each sample with its time, for so long.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::rule::{Match, Select};
use crate::series::{Distribution, Labels, Point, Series};

/// Samples by metric and labels. Keeps each for `keep`, and takes what comes every `interval`.
#[derive(Clone, Debug)]
pub struct Samples {
    interval: Duration,
    keep: Duration,
    series: BTreeMap<String, BTreeMap<Labels, Kept>>,
}

type Kept = VecDeque<(Duration, f64)>;

impl Samples {
    pub fn new(interval: Duration, keep: Duration) -> Self {
        Self {
            interval,
            keep,
            series: BTreeMap::new(),
        }
    }

    /// Times only grow; one that is not later than the last is not taken.
    pub fn push(&mut self, at: Duration, metric: &str, labels: &Labels, value: f64) {
        let of = self.series.entry(metric.to_owned()).or_default();
        let kept = of.entry(labels.clone()).or_default();
        if kept.back().is_some_and(|(last, _)| *last >= at) {
            return;
        }
        kept.push_back((at, value));
        while kept.front().is_some_and(|(first, _)| *first + self.keep < at) {
            kept.pop_front();
        }
    }

    fn of(&self, select: &Select) -> impl Iterator<Item = (&Labels, &Kept)> {
        let of = self.series.get(select.metric).into_iter().flatten();
        of.filter(|(labels, _)| {
            let takes = |(name, is): &(&str, Match)| labels.get(*name).is_some_and(|value| is.takes(value));
            select.labels.iter().all(takes)
        })
    }

    fn fresh(&self, kept: &Kept, now: Duration) -> bool {
        kept.back()
            .is_some_and(|(last, _)| *last + self.interval * 2 >= now)
    }
}

impl Series for Samples {
    fn newest(&self, select: &Select, now: Duration) -> Vec<Point> {
        let fresh = self.of(select).filter(|(_, kept)| self.fresh(kept, now));
        let newest = fresh.filter_map(|(labels, kept)| Some(point(labels, kept.back()?.1)));
        newest.collect()
    }

    fn growth(&self, select: &Select, over: Duration, now: Duration) -> Vec<Point> {
        let grown = self
            .of(select)
            .filter_map(|(labels, kept)| Some(point(labels, growth(kept, over, now)?)));
        grown.collect()
    }

    fn slope(&self, select: &Select, over: Duration, now: Duration) -> Vec<Point> {
        let fresh = self.of(select).filter(|(_, kept)| self.fresh(kept, now));
        let slopes = fresh.filter_map(|(labels, kept)| Some(point(labels, slope(kept, over, now)?)));
        slopes.collect()
    }

    fn distribution(&self, metric: &str, over: Duration, now: Duration) -> Vec<Distribution> {
        let mut out: BTreeMap<Labels, Distribution> = BTreeMap::new();
        let buckets = self.series.get(&format!("{metric}_bucket")).into_iter().flatten();
        for (labels, kept) in buckets {
            let Some(count) = growth(kept, over, now) else {
                continue;
            };
            let mut labels = labels.clone();
            let bound = labels.remove("le");
            let Some(bound) = bound.and_then(|bound| bound.parse().ok()) else {
                continue;
            };
            let entry = out.entry(labels.clone());
            let of = entry.or_insert_with(|| Distribution {
                labels,
                counts: Vec::new(),
            });
            of.counts.push((bound, count));
        }
        let mut out: Vec<Distribution> = out.into_values().collect();
        for of in &mut out {
            of.counts.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        out
    }

    fn known_for(&self, select: &Select, over: Duration, now: Duration) -> Option<Duration> {
        let start = now.saturating_sub(over);
        let first = |kept: &Kept| {
            let inside = kept.partition_point(|(at, _)| *at <= start);
            kept.get(inside)?;
            Some(kept[inside.saturating_sub(1)].0)
        };
        let first = self.of(select).filter_map(|(_, kept)| first(kept)).min()?;
        Some(now.saturating_sub(first))
    }
}

fn point(labels: &Labels, value: f64) -> Point {
    Point {
        labels: labels.clone(),
        value,
    }
}

/// From the last sample at or before the window's begin, else from the first in it. `None`: less than two samples.
fn growth(kept: &Kept, over: Duration, now: Duration) -> Option<f64> {
    let start = now.saturating_sub(over);
    let last = kept.partition_point(|(at, _)| *at <= now);
    let base = kept.partition_point(|(at, _)| *at <= start).saturating_sub(1);
    if kept.get(last.checked_sub(1)?)?.0 <= start || last - base < 2 {
        return None;
    }
    let values: Vec<f64> = kept.range(base..last).map(|(_, value)| *value).collect();
    let step = |pair: &[f64]| {
        if pair[1] < pair[0] {
            pair[1]
        } else {
            pair[1] - pair[0]
        }
    };
    Some(values.windows(2).map(step).sum())
}

/// Least squares.
fn slope(kept: &Kept, over: Duration, now: Duration) -> Option<f64> {
    let start = now.saturating_sub(over);
    let inside: Vec<(f64, f64)> = kept
        .iter()
        .filter(|(at, _)| *at >= start && *at <= now)
        .map(|(at, value)| (at.as_secs_f64() - start.as_secs_f64(), *value))
        .collect();
    let (first, last) = (inside.first()?, inside.last()?);
    if last.0 - first.0 < over.as_secs_f64() / 2.0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "a window's number of samples")]
    let count = inside.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| inside.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|at| at.0), mean(|at| at.1));
    let across: f64 = inside.iter().map(|at| (at.0 - x) * (at.1 - y)).sum();
    let along: f64 = inside.iter().map(|at| (at.0 - x).powi(2)).sum();
    (along > 0.0).then(|| across / along)
}
