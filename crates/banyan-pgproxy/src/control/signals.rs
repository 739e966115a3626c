//! What all workers have measured, and what the primary says of itself, put together for whoever asks: the console, `banyan
//! database`, metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use banyan_telemetry::{Durations, Histogram, Spread};
use banyan_topology::signals::{
    LagSignal, Recent, ServerSignals, Signals, StatementSignal, TableSignal, Totals, WaitSignal,
};

use crate::catalog::Catalog;
use crate::metrics::{Wait, WorkerMetrics};
use crate::parse::PostgresGrammar;
use crate::route::{Planner, Why};
use crate::workload::fingerprint::{Shape, example, shown};
use crate::workload::table::{Counts, Figures, Measured};

/// Told in full; the others' figures are summed up. A document stays below what a line on a socket may be.
const STATEMENTS: usize = 100;
/// Longer statements are cut.
const SHOWN: usize = 2_000;

/// Shapes of all workers, and whether they only read.
pub(super) struct Workloads {
    /// Most time first.
    pub(super) shapes: Vec<(Measured, Option<bool>)>,
    pub(super) others: Figures,
    pub(super) slow: u64,
    pub(super) recent_seconds: f64,
}

/// Says which shapes only read. Those that are known cost a look-up.
pub(super) struct Judge {
    planner: Planner<PostgresGrammar>,
}

impl Judge {
    pub(super) fn new() -> Self {
        Self {
            planner: Planner::new(PostgresGrammar),
        }
    }

    /// `None`: definitions have not been read, or not since those of the statement were made.
    fn reads_only(&mut self, shape: &Shape) -> Option<bool> {
        self.planner.catalog()?;
        match &self.planner.plan(example(&shape.text).as_bytes()).read {
            Ok(_) => Some(true),
            Err(Why::NotProven(reason)) if reason.is_unknown_name() => None,
            Err(_) => Some(false),
        }
    }

    pub(super) fn workloads(
        &mut self,
        catalog: Option<Arc<Catalog>>,
        of_workers: Vec<(Counts, f64)>,
    ) -> Workloads {
        self.planner.follow(catalog);
        let mut shapes: BTreeMap<u64, Measured> = BTreeMap::new();
        let mut all = Workloads {
            shapes: Vec::new(),
            others: Figures::default(),
            slow: 0,
            recent_seconds: 0.0,
        };
        for (counts, seconds) in of_workers {
            all.slow += counts.slow;
            all.recent_seconds = all.recent_seconds.max(seconds);
            for figures in &counts.others {
                all.others.merge(figures);
            }
            for measured in counts.shapes {
                match shapes.get_mut(&measured.shape.key) {
                    Some(known) => known.merge(&measured),
                    None => {
                        shapes.insert(measured.shape.key, measured);
                    }
                }
            }
        }
        let judged = shapes.into_values().map(|measured| {
            let reads_only = self.reads_only(&measured.shape);
            (measured, reads_only)
        });
        all.shapes = judged.collect();
        all.shapes
            .sort_by_key(|(measured, _)| std::cmp::Reverse(measured.figures.spread.sum_us()));
        all
    }
}

/// What is known beside the statements.
pub(super) struct Beside<'a> {
    pub(super) seconds: f64,
    pub(super) measured: bool,
    pub(super) metrics: &'a [Arc<WorkerMetrics>],
    /// Of the clock that the workers' histograms go by.
    pub(super) second: u64,
    pub(super) server: ServerSignals,
    pub(super) replicas: Vec<LagSignal>,
}

pub(super) fn signals(workloads: Workloads, beside: Beside<'_>) -> Signals {
    let movable_share = movable_share(&workloads);
    let mut others = workloads.others;
    let mut statements = Vec::new();
    for (measured, reads_only) in workloads.shapes {
        if statements.len() < STATEMENTS {
            statements.push(statement(&measured, reads_only, workloads.recent_seconds));
        } else {
            others.merge(&measured.figures);
        }
    }
    let waited = |of: fn(&WorkerMetrics) -> &Wait| wait(beside.metrics, of, beside.second);
    Signals {
        seconds: beside.seconds,
        measured: beside.measured,
        statements,
        others: totals(&others),
        slow: workloads.slow,
        pool_wait: waited(|metrics| &metrics.pool_wait),
        hold_wait: waited(|metrics| &metrics.hold_wait),
        movable_share,
        server: beside.server,
        replicas: beside.replicas,
    }
}

#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
fn movable_share(workloads: &Workloads) -> Option<f64> {
    let known = workloads
        .shapes
        .iter()
        .any(|(_, reads_only)| reads_only.is_some());
    let all: u64 = workloads
        .shapes
        .iter()
        .map(|(measured, _)| measured.figures.spread.count())
        .sum();
    let all = all + workloads.others.spread.count();
    let reads = workloads
        .shapes
        .iter()
        .filter(|(_, reads_only)| *reads_only == Some(true));
    let movable: u64 = reads.map(|(measured, _)| measured.figures.alone).sum();
    (known && all > 0).then(|| movable as f64 / all as f64)
}

fn totals(figures: &Figures) -> Totals {
    let spread = &figures.spread;
    Totals {
        calls: spread.count(),
        errors: figures.errors,
        total_us: spread.sum_us(),
        max_us: spread.max_us(),
        p50_us: spread.quantile_us(50),
        p99_us: spread.quantile_us(99),
        alone: figures.alone,
        on_replicas: figures.elsewhere,
    }
}

fn statement(measured: &Measured, reads_only: Option<bool>, seconds: f64) -> StatementSignal {
    StatementSignal {
        id: format!("{:016x}", measured.shape.key),
        statement: shown(&measured.shape.text).chars().take(SHOWN).collect(),
        operation: measured.operation.name().to_owned(),
        totals: totals(&measured.figures),
        reads_only,
        recent: recent(&measured.recent, seconds),
    }
}

#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
fn recent(spread: &Spread, seconds: f64) -> Recent {
    // In the first moments one call would make a rate of thousands.
    let seconds = seconds.max(1.0);
    Recent {
        calls_per_second: spread.count() as f64 / seconds,
        load: spread.sum_us() as f64 / 1e6 / seconds,
        p50_us: spread.quantile_us(50),
        p99_us: spread.quantile_us(99),
    }
}

fn wait(metrics: &[Arc<WorkerMetrics>], of: fn(&WorkerMetrics) -> &Wait, second: u64) -> WaitSignal {
    let all = Durations::sum(metrics.iter().map(|metrics| &of(metrics).durations));
    let lately = Histogram::quantiles(metrics.iter().map(|metrics| &of(metrics).lately), second);
    WaitSignal {
        count: all.count(),
        total_us: all.sum_us,
        p50_us: lately.p50_us,
        p99_us: lately.p99_us,
    }
}

/// The rows of SHOW QUERIES.
pub(super) fn queries(signals: &Signals) -> Vec<Vec<String>> {
    let us = |value: Option<u64>| value.map_or_else(String::new, |us| us.to_string());
    let row = |one: &StatementSignal| {
        let totals = &one.totals;
        vec![
            one.id.clone(),
            totals.calls.to_string(),
            totals.errors.to_string(),
            totals.total_us.to_string(),
            totals.max_us.to_string(),
            format!("{:.1}", one.recent.calls_per_second),
            us(one.recent.p50_us),
            us(one.recent.p99_us),
            match one.reads_only {
                Some(true) => "yes".to_owned(),
                Some(false) => "no".to_owned(),
                None => String::new(),
            },
            totals.on_replicas.to_string(),
            one.statement.clone(),
        ]
    };
    signals.statements.iter().map(row).collect()
}

/// The rows of SHOW TABLES.
pub(super) fn tables(signals: &Signals) -> Vec<Vec<String>> {
    let row = |table: &TableSignal| {
        vec![
            table.schema.clone(),
            table.name.clone(),
            table.bytes.to_string(),
            table.index_bytes.to_string(),
            table.live_rows.to_string(),
            table.dead_rows.to_string(),
            table.sequential_scans.to_string(),
            table.index_scans.to_string(),
            table.changes.to_string(),
        ]
    };
    signals.server.tables.iter().map(row).collect()
}

/// The rows of SHOW WAITS.
pub(super) fn waits(signals: &Signals) -> Vec<Vec<String>> {
    let waits = signals.server.waits.iter();
    waits
        .map(|wait| {
            vec![
                wait.kind.clone(),
                wait.event.clone(),
                format!("{:.1}", wait.share * 100.0),
            ]
        })
        .collect()
}

/// The rows of SHOW LAG.
pub(super) fn lag(signals: &Signals) -> Vec<Vec<String>> {
    let row = |replica: &LagSignal| {
        let ms = |seconds: Option<f64>| seconds.map_or_else(String::new, |s| format!("{:.0}", s * 1000.0));
        let most = |minutes| ms(replica.most(minutes).map(|most| most.seconds));
        let bytes = replica.bytes.map_or_else(String::new, |bytes| bytes.to_string());
        vec![
            replica.id.to_string(),
            bytes,
            ms(replica.seconds),
            most(1),
            most(5),
            most(60),
        ]
    };
    signals.replicas.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Rows;
    use crate::workload::fingerprint::Operation;

    fn measured(text: &str, calls: u64, alone: u64) -> Measured {
        let mut figures = Figures {
            alone,
            ..Figures::default()
        };
        (0..calls).for_each(|_| figures.spread.record(1_000));
        Measured {
            shape: Shape::new(text),
            operation: Operation::OTHER,
            recent: figures.spread.clone(),
            figures,
        }
    }

    fn counts(shapes: Vec<Measured>) -> (Counts, f64) {
        let counts = Counts {
            shapes,
            ..Counts::default()
        };
        (counts, 10.0)
    }

    #[test]
    fn workers_are_summed_and_only_proven_reads_outside_transactions_may_move() {
        let (read, write) = ("SELECT 1 + ?n", "DELETE FROM t WHERE a = ?n");
        let of_workers = vec![
            counts(vec![measured(read, 30, 25), measured(write, 40, 40)]),
            counts(vec![measured(read, 30, 25)]),
        ];
        let mut judge = Judge::new();
        let unknown = judge.workloads(None, of_workers.clone());
        assert_eq!(movable_share(&unknown), None);
        let catalog = Arc::new(Catalog::build(1, Rows::default(), &PostgresGrammar));
        let workloads = judge.workloads(Some(catalog), of_workers);
        assert_eq!(workloads.shapes[0].0.figures.spread.count(), 60);
        assert_eq!(workloads.shapes[1].1, Some(false));
        let told = signals(
            workloads,
            Beside {
                seconds: 10.0,
                measured: true,
                metrics: &[],
                second: 0,
                server: ServerSignals::default(),
                replicas: Vec::new(),
            },
        );
        assert_eq!(told.statements[0].statement, "SELECT 1 + ?");
        assert!((told.statements[0].recent.calls_per_second - 6.0).abs() < 1e-9);
        assert_eq!(told.others.calls, 0);
    }

    #[test]
    fn statements_beyond_the_bound_are_summed_up() {
        let many = (0..STATEMENTS + 20)
            .map(|at| measured(&format!("SELECT {at}"), 1, 1))
            .collect();
        let workloads = Judge::new().workloads(None, vec![counts(many)]);
        let beside = Beside {
            seconds: 1.0,
            measured: true,
            metrics: &[],
            second: 0,
            server: ServerSignals::default(),
            replicas: Vec::new(),
        };
        let told = signals(workloads, beside);
        assert_eq!((told.statements.len(), told.others.calls), (STATEMENTS, 20));
    }
}
