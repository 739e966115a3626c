//! What the whole system used over a span of the past, for whoever is to say what comes next: `.banyan/usage.sock`. Who
//! connects says how far back ([`Wanted`]) and is told a [`Usage`].

use std::collections::BTreeMap;
use std::time::Duration;

use banyan_runtime::control::{Connection, ControlError, Listener};
use banyan_runtime::{Clock, TaskKind};
use serde::{Deserialize, Serialize};

use crate::control::Parts;
use crate::keep::Keeper;
use crate::page::history::rates;
use crate::series::{Found, Query, STEP, increase, quantile};
use crate::usage_socket;

/// What is busy is so in the busiest minutes: this share of the time it is less.
const BUSY: f64 = 0.95;
/// Points are so far apart where the span is long.
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// After a failure to accept.
const AGAIN: Duration = Duration::from_secs(1);
const REQUESTS: &str = "http_server_request_duration_seconds";

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// So many seconds back.
    pub seconds: u64,
}

/// `None`: it was not measured. Busy: 95 % of the time it was less.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Between the first and the last figure.
    pub seconds: f64,
    pub requests: f64,
    /// Per second.
    pub rate: Option<f64>,
    pub rate_busy: Option<f64>,
    pub p95_seconds: Option<f64>,
    /// Requests that found no instance.
    pub refused: f64,
    pub cores: Option<f64>,
    /// Share of them in use.
    pub machine_busy: Option<f64>,
    /// CPUs in use by instances of the app, and by the servers of the database.
    pub app_busy: Option<f64>,
    pub database_busy: Option<f64>,
    /// Bytes per second that leave the edge.
    pub sent: Option<f64>,
}

/// Until the role ends.
pub(crate) async fn tell(parts: Parts) {
    let listener = match Listener::bind(&usage_socket(&parts.places.state_dir)) {
        Ok(listener) => listener,
        Err(error) => return tracing::warn!(%error, "nobody can ask what was used"),
    };
    loop {
        match listener.accept().await {
            Ok(connection) => {
                let answer = answer(connection, parts.keeper.clone());
                parts.tasks.spawn(TaskKind::Connection, "usage", async move {
                    if let Err(error) = answer.await {
                        tracing::debug!(%error, "what was used was not told");
                    }
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a peer was refused");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn answer(mut connection: Connection, keeper: Keeper) -> Result<(), ControlError> {
    let Some(Wanted { seconds }) = connection.receive().await? else {
        return Ok(());
    };
    let usage = usage(&keeper, Duration::from_secs(seconds), Clock.unix_ms()).await;
    connection.send(&usage).await
}

async fn usage(keeper: &Keeper, span: Duration, now_ms: u64) -> Usage {
    let back = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let step = if span > HOUR { MINUTE } else { STEP };
    let ask = |name: &str| {
        let query = Query {
            step,
            ..Query::of(name, now_ms.saturating_sub(back), now_ms)
        };
        async move { keeper.query(query).await }
    };
    let counts = ask(&format!("{REQUESTS}_count")).await;
    let cpu = ask("system_cpu_time_seconds_total").await;
    let children = ask("banyan_child_cpu_seconds_total").await;
    let sent = ask("banyan_edge_sent_bytes_total").await;
    let seconds = span_of(&cpu);
    let requests = grown(&counts);
    let machine = machine(&cpu);
    let mean = |count: f64| (seconds > 0.0).then(|| count / seconds);
    Usage {
        seconds,
        requests,
        rate: mean(requests).filter(|_| !counts.is_empty()),
        rate_busy: busy(values(rates(counts.iter()))),
        p95_seconds: p95(&ask(&format!("{REQUESTS}_bucket")).await),
        refused: grown(&ask("banyan_edge_queue_refused_total").await),
        cores: last(&ask("system_cpu_logical_count").await),
        machine_busy: busy(machine),
        app_busy: busy(of_children(&children, |child, _| child.contains("@r"))),
        database_busy: busy(of_children(&children, |_, kind| kind.starts_with("postgres"))),
        sent: mean(grown(&sent)).filter(|_| !sent.is_empty()),
    }
}

/// Between the first and the last point.
#[expect(clippy::cast_precision_loss, reason = "spans of time are far below 2^53 ms")]
fn span_of(found: &[Found]) -> f64 {
    let first = found
        .iter()
        .filter_map(|found| found.points.first())
        .map(|point| point.0)
        .min();
    let last = found
        .iter()
        .filter_map(|found| found.points.last())
        .map(|point| point.0)
        .max();
    let apart = first.zip(last).map(|(first, last)| last.saturating_sub(first));
    apart.unwrap_or(0) as f64 / 1000.0
}

fn grown(found: &[Found]) -> f64 {
    let each = found.iter().filter_map(|found| increase(&found.points));
    each.fold(0.0, |sum, grown| sum + grown)
}

fn last(found: &[Found]) -> Option<f64> {
    let newest = found.iter().filter_map(|found| found.points.last());
    newest.max_by_key(|point| point.0).map(|point| point.1)
}

fn values(points: Vec<(u64, f64)>) -> Vec<f64> {
    points.into_iter().map(|(_, value)| value).collect()
}

/// Nearest rank.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index within the values"
)]
fn busy(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some(values[((last as f64 * BUSY).round() as usize).min(last)])
}

/// Share of the CPUs in use, at each step.
fn machine(cpu: &[Found]) -> Vec<f64> {
    let idle = |found: &&Found| matches!(found.series.label("cpu_mode"), Some("idle" | "iowait"));
    let every: BTreeMap<u64, f64> = rates(cpu.iter()).into_iter().collect();
    let idle = rates(cpu.iter().filter(idle)).into_iter();
    idle.filter_map(|(at, idle)| {
        let all = every.get(&at).filter(|all| **all > 0.0)?;
        Some((1.0 - idle / all).clamp(0.0, 1.0))
    })
    .collect()
}

/// CPUs that those children use together, at each step. They are known by name and kind.
fn of_children(children: &[Found], which: impl Fn(&str, &str) -> bool) -> Vec<f64> {
    let label = |found: &Found, name| found.series.label(name).unwrap_or_default().to_owned();
    let wanted = |found: &&Found| which(&label(found, "child"), &label(found, "kind"));
    values(rates(children.iter().filter(wanted)))
}

fn p95(buckets: &[Found]) -> Option<f64> {
    let mut sums: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for found in buckets {
        let Some(bound) = found.series.label("le") else {
            continue;
        };
        let bound: f64 = bound.parse().unwrap_or(f64::INFINITY);
        let grown = increase(&found.points).unwrap_or(0.0);
        // Bounds are not negative: their bits are in their order.
        sums.entry(bound.to_bits()).or_insert((bound, 0.0)).1 += grown;
    }
    quantile(BUSY, &sums.into_values().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Series;

    fn found(labels: &[(&str, &str)], values: &[f64]) -> Found {
        let points = values.iter().zip(1_u64..).map(|(value, n)| (n * 10_000, *value));
        Found {
            series: Series::new("any", labels),
            points: points.collect(),
        }
    }

    #[test]
    fn cpus_in_use_are_added_up_over_the_children_that_are_meant() {
        let children = [
            found(&[("child", "web.1@r1"), ("kind", "web")], &[0.0, 5.0, 10.0]),
            found(&[("child", "web.2@r1"), ("kind", "web")], &[0.0, 5.0, 10.0]),
            found(&[("child", "db1"), ("kind", "postgres 15")], &[0.0, 20.0, 40.0]),
        ];
        assert_eq!(
            of_children(&children, |child, _| child.contains("@r")),
            [1.0, 1.0]
        );
        assert_eq!(
            of_children(&children, |_, kind| kind.starts_with("postgres")),
            [2.0, 2.0]
        );
    }

    #[test]
    fn the_machine_is_busy_by_what_is_not_idle() {
        let cpu = [
            found(&[("cpu_mode", "user")], &[0.0, 30.0, 60.0]),
            found(&[("cpu_mode", "idle")], &[0.0, 10.0, 20.0]),
        ];
        assert_eq!(machine(&cpu), [0.75, 0.75]);
        assert!((span_of(&cpu) - 20.0).abs() < f64::EPSILON);
    }

    #[test]
    fn busy_is_what_is_rarely_exceeded() {
        assert_eq!(busy((0..=100).map(f64::from).collect()), Some(95.0));
        assert_eq!(busy(Vec::new()), None);
    }
}
