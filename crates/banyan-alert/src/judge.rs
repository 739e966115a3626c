//! One rule over the series: a verdict for each thing that it is about.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::rule::{Condition, Rule, Select, Wanted};
use crate::series::{Distribution, Labels, Point, Series};

/// What a rule found of one thing.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The labels of the rule's `by`.
    pub labels: Labels,
    pub verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// The condition holds, with the value that it is about.
    Holds(f64),
    /// It does not, or there were too few to say.
    Not,
}

/// What a rule finds; nothing of what was not measured.
pub fn judge(rule: &Rule, series: &impl Series, now: Duration) -> Vec<Finding> {
    let found = match &rule.condition {
        Condition::Share {
            bad,
            all,
            over,
            above,
            least,
        } => {
            let shares = shares(series, bad, all, *over, rule.by, now);
            each(shares, |(share, count)| {
                (count >= *least && share > *above).then_some(share)
            })
        }
        Condition::Hits {
            hits,
            misses,
            over,
            below,
            least,
        } => {
            let (hits, misses) = (
                grown(series, hits, *over, rule.by, now),
                grown(series, misses, *over, rule.by, now),
            );
            let both = both(hits, &misses);
            each(both, |(hits, misses)| {
                let all = hits + misses;
                (all >= *least && all > 0.0 && hits / all < *below).then(|| hits / all)
            })
        }
        Condition::Burn {
            bad,
            all,
            over,
            factor,
            budget,
            least,
        } => {
            let short = *over / 12;
            if series
                .known_for(all, *over, now)
                .is_none_or(|known| known < short)
            {
                return Vec::new();
            }
            let (long, short) = (
                shares(series, bad, all, *over, rule.by, now),
                shares(series, bad, all, short, rule.by, now),
            );
            let limit = factor * budget;
            each(both(long, &short), |((long, _), (share, count))| {
                (count >= *least && long > limit && share > limit).then(|| share.min(long) / budget)
            })
        }
        Condition::Quantile {
            of,
            quantile,
            over,
            above,
            least,
        } => {
            let found = distributions(series, of, *over, rule.by, now);
            each(found, |found| {
                let value = found.quantile(*quantile)?;
                (found.count() >= *least && value > *above).then_some(value)
            })
        }
        Condition::Newest { of, sum, wanted } => {
            let values = folded(series.newest(of, now), rule.by, |a, b| {
                if *sum { a + b } else { wanted.worse(a, b) }
            });
            each(values, |value| wanted.holds(value).then_some(value))
        }
        Condition::Of { part, whole, above } => {
            let part = folded(series.newest(part, now), rule.by, |a, b| a + b);
            let whole = folded(series.newest(whole, now), rule.by, |a, b| a + b);
            each(both(part, &whole), |(part, whole)| {
                (whole > 0.0 && part / whole > *above).then(|| part / whole)
            })
        }
        Condition::Near { of, within } => {
            let times = folded(series.newest(of, now), rule.by, f64::min);
            each(times, |time| {
                let left = time - now.as_secs_f64();
                (left < within.as_secs_f64()).then_some(left)
            })
        }
        Condition::UsedUp { free, over, within } => {
            let slopes = folded(series.slope(free, *over, now), rule.by, |a, b| a + b);
            let free = folded(series.newest(free, now), rule.by, |a, b| a + b);
            each(both(free, &slopes), |(free, slope)| {
                let left = free / -slope;
                (slope < 0.0 && left < within.as_secs_f64()).then_some(left)
            })
        }
        Condition::Absent { of, witness, over } => return absent(series, of, witness, *over, now),
    };
    found
        .into_iter()
        .map(|(labels, verdict)| Finding { labels, verdict })
        .collect()
}

/// Missing is what this one is about. Its value is for how long at least.
fn absent(
    series: &impl Series,
    of: &Select,
    witness: &Select,
    over: Duration,
    now: Duration,
) -> Vec<Finding> {
    let seen = |select| series.known_for(select, over, now);
    let verdict = match (seen(of), seen(witness)) {
        (Some(_), _) => Verdict::Not,
        (None, Some(watched)) if watched >= over => Verdict::Holds(over.as_secs_f64()),
        (None, _) => return Vec::new(),
    };
    let labels = Labels::new();
    vec![Finding { labels, verdict }]
}

type By<T> = BTreeMap<Labels, T>;

fn each<T>(of: By<T>, holds: impl Fn(T) -> Option<f64>) -> By<Verdict> {
    let verdict = |value| holds(value).map_or(Verdict::Not, Verdict::Holds);
    of.into_iter()
        .map(|(labels, value)| (labels, verdict(value)))
        .collect()
}

/// Shares with the number that they are of.
fn shares(
    series: &impl Series,
    bad: &Select,
    all: &Select,
    over: Duration,
    by: &[&str],
    now: Duration,
) -> By<(f64, f64)> {
    let bad = grown(series, bad, over, by, now);
    // What was never bad has no series for it.
    let share = |(labels, all): (Labels, f64)| {
        let bad = bad.get(&labels).copied().unwrap_or(0.0);
        let share = if all > 0.0 { bad / all } else { 0.0 };
        (labels, (share, all))
    };
    grown(series, all, over, by, now).into_iter().map(share).collect()
}

fn grown(series: &impl Series, select: &Select, over: Duration, by: &[&str], now: Duration) -> By<f64> {
    folded(series.growth(select, over, now), by, |a, b| a + b)
}

fn distributions(
    series: &impl Series,
    metric: &str,
    over: Duration,
    by: &[&str],
    now: Duration,
) -> By<Distribution> {
    let mut out: By<Distribution> = By::new();
    for found in series.distribution(metric, over, now) {
        out.entry(only(&found.labels, by)).or_default().add(&found);
    }
    out
}

fn folded(points: Vec<Point>, by: &[&str], fold: impl Fn(f64, f64) -> f64) -> By<f64> {
    let mut out = By::new();
    for point in points {
        let entry = out.entry(only(&point.labels, by));
        entry
            .and_modify(|value| *value = fold(*value, point.value))
            .or_insert(point.value);
    }
    out
}

/// Of what both know.
fn both<A, B: Clone>(ours: By<A>, theirs: &By<B>) -> By<(A, B)> {
    let pair = |(labels, a): (Labels, A)| {
        let b = theirs.get(&labels)?.clone();
        Some((labels, (a, b)))
    };
    ours.into_iter().filter_map(pair).collect()
}

fn only(labels: &Labels, by: &[&str]) -> Labels {
    let kept = labels.iter().filter(|(name, _)| by.contains(&name.as_str()));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

impl Wanted {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::Above(limit) => value > limit,
            Self::Below(limit) => value < limit,
        }
    }

    /// Of several series of one thing the one that is worse.
    fn worse(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Above(_) => a.max(b),
            Self::Below(_) => a.min(b),
        }
    }
}
