//! Lines over time for the page: what is asked of the keeper, and what is made of its points.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::keep::Keeper;
use crate::marks::Mark;
use crate::series::{Found, Query, STEP, quantile};

/// Points of a line, at most about so many.
const POINTS: u64 = 150;
/// Farther back there is nothing.
const LONGEST_MINUTES: u64 = 366 * 24 * 60;
const REQUESTS: &str = "http_server_request_duration_seconds";

#[derive(Debug, Serialize)]
pub(super) struct History {
    from_ms: u64,
    to_ms: u64,
    step_ms: u64,
    charts: Vec<Chart>,
    marks: Vec<Mark>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Chart {
    name: &'static str,
    unit: &'static str,
    lines: Vec<Line>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Line {
    name: &'static str,
    points: Points,
}

pub(crate) type Points = Vec<(u64, f64)>;

pub(super) async fn history(keeper: &Keeper, minutes: u64, now_ms: u64, marks: Vec<Mark>) -> History {
    let minutes = minutes.clamp(5, LONGEST_MINUTES);
    let from_ms = now_ms.saturating_sub(minutes * 60_000);
    let step = Duration::from_millis(minutes * 60_000 / POINTS).max(STEP);
    let ask = |name: &str| {
        let query = Query {
            step,
            ..Query::of(name, from_ms, now_ms)
        };
        async move { keeper.query(query).await }
    };
    let counts = ask(&format!("{REQUESTS}_count")).await;
    let buckets = ask(&format!("{REQUESTS}_bucket")).await;
    let cpu = ask("system_cpu_time_seconds_total").await;
    let instances = ask("banyan_instances").await;
    History {
        from_ms,
        to_ms: now_ms,
        step_ms: u64::try_from(step.as_millis()).unwrap_or(u64::MAX),
        charts: charts(&counts, &buckets, &cpu, &instances),
        marks: marks.into_iter().filter(|mark| mark.at_ms >= from_ms).collect(),
    }
}

fn charts(counts: &[Found], buckets: &[Found], cpu: &[Found], instances: &[Found]) -> Vec<Chart> {
    let failed = |found: &&Found| found.series.label("http_response_status_code") == Some("5xx");
    let all = rates(counts.iter());
    let bad = rates(counts.iter().filter(failed));
    let idle = |found: &&Found| matches!(found.series.label("cpu_mode"), Some("idle" | "iowait"));
    let every: BTreeMap<u64, f64> = rates(cpu.iter()).into_iter().collect();
    let used = rates(cpu.iter().filter(idle))
        .into_iter()
        .filter_map(|(at, idle)| {
            let all = every.get(&at).filter(|all| **all > 0.0)?;
            Some((at, (1.0 - idle / all).clamp(0.0, 1.0)))
        });
    let line = |name, points| Line { name, points };
    let chart = |name, unit, lines| Chart { name, unit, lines };
    vec![
        chart("Requests", "rate", vec![line("all", all), line("failed", bad)]),
        chart(
            "Time to answer",
            "seconds",
            vec![
                line("median", quantiles(buckets, 0.5)),
                line("slowest 1 %", quantiles(buckets, 0.99)),
            ],
        ),
        chart("Processors in use", "share", vec![line("used", used.collect())]),
        chart(
            "Instances",
            "count",
            vec![line("serving", sums(instances, "serving"))],
        ),
    ]
}

/// How fast all together grew, at the end of each step.
pub(crate) fn rates<'a>(found: impl Iterator<Item = &'a Found>) -> Points {
    let mut sums: BTreeMap<u64, f64> = BTreeMap::new();
    for found in found {
        for (at, grown, seconds) in steps(&found.points) {
            *sums.entry(at).or_default() += grown / seconds;
        }
    }
    sums.into_iter().collect()
}

/// Of each step: its end, what was counted in it, and its length.
#[expect(clippy::cast_precision_loss, reason = "spans of time are far below 2^53 ms")]
fn steps(points: &[(u64, f64)]) -> impl Iterator<Item = (u64, f64, f64)> {
    points.windows(2).map(|pair| {
        let ((from, before), (to, after)) = (pair[0], pair[1]);
        let grown = if after < before { after } else { after - before };
        (to, grown, (to - from).max(1) as f64 / 1000.0)
    })
}

fn quantiles(buckets: &[Found], share: f64) -> Points {
    let mut at_each: BTreeMap<u64, BTreeMap<u64, (f64, f64)>> = BTreeMap::new();
    for found in buckets {
        let Some(bound) = found.series.label("le") else {
            continue;
        };
        let bound: f64 = bound.parse().unwrap_or(f64::INFINITY);
        for (at, grown, _) in steps(&found.points) {
            // Bounds are not negative: their bits are in their order.
            let bucket = at_each.entry(at).or_default();
            bucket.entry(bound.to_bits()).or_insert((bound, 0.0)).1 += grown;
        }
    }
    let point = |(at, buckets): (u64, BTreeMap<u64, (f64, f64)>)| {
        let buckets: Vec<(f64, f64)> = buckets.into_values().collect();
        Some((at, quantile(share, &buckets)?))
    };
    at_each.into_iter().filter_map(point).collect()
}

fn sums(found: &[Found], state: &str) -> Points {
    let moments: BTreeSet<u64> = found
        .iter()
        .flat_map(|found| &found.points)
        .map(|(at, _)| *at)
        .collect();
    let of_state = |found: &&Found| found.series.label("state") == Some(state);
    let mut sums: BTreeMap<u64, f64> = moments.into_iter().map(|at| (at, 0.0)).collect();
    for (at, value) in found.iter().filter(of_state).flat_map(|found| &found.points) {
        *sums.entry(*at).or_default() += value;
    }
    sums.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Series;

    fn found(labels: &[(&str, &str)], points: &[(u64, f64)]) -> Found {
        Found {
            series: Series::new("x", labels),
            points: points.to_vec(),
        }
    }

    #[test]
    fn rates_of_several_are_added_and_one_that_began_anew_does_not_fall_below_zero() {
        let first = found(&[], &[(0, 0.0), (10_000, 100.0), (20_000, 150.0)]);
        let other = found(&[("a", "b")], &[(10_000, 50.0), (20_000, 10.0)]);
        assert_eq!(
            rates([&first, &other].into_iter()),
            [(10_000, 10.0), (20_000, 6.0)]
        );
    }

    #[test]
    fn a_quantile_is_of_what_came_in_its_step() {
        let fast = found(&[("le", "0.25")], &[(0, 100.0), (10_000, 190.0)]);
        let all = found(&[("le", "+Inf")], &[(0, 100.0), (10_000, 200.0)]);
        let half = quantiles(&[fast, all], 0.45);
        assert_eq!(half, [(10_000, 0.125)]);
    }

    #[test]
    fn nothing_in_a_state_is_zero_where_others_were_counted() {
        let serving = found(&[("state", "serving")], &[(0, 2.0)]);
        let failed = found(&[("state", "failed")], &[(10_000, 2.0)]);
        assert_eq!(sums(&[serving, failed], "serving"), [(0, 2.0), (10_000, 0.0)]);
    }
}
