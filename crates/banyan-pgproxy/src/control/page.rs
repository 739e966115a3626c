//! What the proxy has counted, as families of metrics; docs/reference/metrics.md lists them. The edge serves the page.
//!
//! Labels are bounded: operations, the [`STATEMENTS`] shapes that take the most time, servers, kinds of waits, the largest tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use banyan_telemetry::families::Kind::{Counter, Gauge, Histogram};
use banyan_telemetry::{Durations, Families, Spread};
use banyan_topology::report::PgproxyReport;
use banyan_topology::signals::{DatabaseSignals, LagSignal};

use super::sampler::Sampled;
use super::signals::Workloads;
use crate::metrics::WorkerMetrics;
use crate::workload::fingerprint::Operation;
use crate::workload::table::Counts;

/// Shapes with figures of their own.
const STATEMENTS: usize = 50;
const TABLES: usize = 50;

/// By operation, everything that was counted: these only grow.
pub(super) fn by_operation(of_workers: &[(Counts, f64)]) -> [Spread; Operation::COUNT] {
    let mut sums: [Spread; Operation::COUNT] = std::array::from_fn(|_| Spread::default());
    for (counts, _) in of_workers {
        for (sum, others) in sums.iter_mut().zip(&counts.others) {
            sum.merge(&others.spread);
        }
        for measured in &counts.shapes {
            sums[measured.operation.index()].merge(&measured.figures.spread);
        }
    }
    sums
}

pub(super) fn of_statements(all: &mut Families, operations: &[Spread], workloads: &Workloads) {
    let help = "From the statement sent to a server to the end of its answer, its own commit included.";
    let mut family = all.family(Histogram, "db_client_operation_duration_seconds", help);
    for operation in Operation::all() {
        let spread = &operations[operation.index()];
        if spread.count() > 0 {
            let labels = [
                ("db_system_name", "postgresql"),
                ("db_operation_name", operation.name()),
            ];
            family.durations(&labels, spread.counted());
        }
    }
    let slow = "Statements that took longer than database.pgproxy.slow_query.";
    all.family(Counter, "banyan_pgproxy_slow_statements_total", slow)
        .count(&[], workloads.slow);
    let top: Vec<(String, &str, _)> = workloads
        .shapes
        .iter()
        .take(STATEMENTS)
        .map(|(one, _)| {
            (
                format!("{:016x}", one.shape.key),
                one.operation.name(),
                &one.figures,
            )
        })
        .collect();
    let mut each = |name, help, read: &dyn Fn(&crate::workload::table::Figures) -> f64| {
        let mut family = all.family(Counter, name, help);
        for (id, operation, figures) in &top {
            family.number(
                &[("statement", id), ("db_operation_name", operation)],
                read(figures),
            );
        }
    };
    #[expect(clippy::cast_precision_loss, reason = "the text format's numbers are floats")]
    let number = |count: u64| count as f64;
    let calls = "Statements of a shape; `banyan database queries` has their texts.";
    each("banyan_pgproxy_statement_calls_total", calls, &|f| {
        number(f.spread.count())
    });
    let errors = "Of those: failed.";
    each("banyan_pgproxy_statement_errors_total", errors, &|f| {
        number(f.errors)
    });
    let seconds = "How long they took together.";
    each("banyan_pgproxy_statement_seconds_total", seconds, &|f| {
        number(f.spread.sum_us()) / 1e6
    });
}

pub(super) fn of_the_proxy(all: &mut Families, metrics: &[Arc<WorkerMetrics>], report: &PgproxyReport) {
    type Read = fn(&WorkerMetrics) -> u64;
    let sum = |read: Read| metrics.iter().map(|metrics| read(metrics)).sum::<u64>();
    let counters: [(&str, &str, Read); 11] = [
        ("banyan_pgproxy_logins_total", "Logins of clients.", |m| {
            m.logins.get()
        }),
        (
            "banyan_pgproxy_logins_refused_total",
            "Logins that were refused.",
            |m| m.logins_refused.get(),
        ),
        (
            "banyan_pgproxy_connects_total",
            "Connections made to servers.",
            |m| m.connects.get(),
        ),
        (
            "banyan_pgproxy_units_total",
            "Units: simple queries, and messages up to Sync.",
            |m| m.units.get(),
        ),
        (
            "banyan_pgproxy_reads_on_replicas_total",
            "Units that a replica answered.",
            |m| m.reads_elsewhere.get(),
        ),
        (
            "banyan_pgproxy_reads_behind_total",
            "Reads for which no replica was fresh, or free, in time.",
            |m| m.reads_behind.get(),
        ),
        (
            "banyan_pgproxy_refusals_total",
            "Units and logins that the proxy refused itself.",
            |m| m.refusals.get(),
        ),
        ("banyan_pgproxy_cancels_total", "Cancel requests.", |m| {
            m.cancels.get()
        }),
        (
            "banyan_pgproxy_pins_total",
            "Sessions that came to keep their connection.",
            |m| m.pins.get(),
        ),
        (
            "banyan_pgproxy_received_bytes_total",
            "Bytes from clients.",
            |m| m.bytes_in.get(),
        ),
        ("banyan_pgproxy_sent_bytes_total", "Bytes from servers.", |m| {
            m.bytes_out.get()
        }),
    ];
    for (name, help, read) in counters {
        all.family(Counter, name, help).count(&[], sum(read));
    }
    let active = sum(|m| m.active.get());
    all.family(Gauge, "banyan_pgproxy_backends", "Connections to servers.")
        .count(&[("state", "active")], active)
        .count(&[("state", "idle")], report.backends.saturating_sub(active));
    let mut one = |name, help, value| {
        all.family(Gauge, name, help).count(&[], value);
    };
    one(
        "banyan_pgproxy_clients",
        "Clients connected.",
        sum(|m| m.clients.get()),
    );
    one(
        "banyan_pgproxy_waiting",
        "Units that wait for a connection or in a hold.",
        report.waiting,
    );
    one(
        "banyan_pgproxy_pinned",
        "Clients that keep their connection.",
        report.pinned,
    );
    let help = "How long units waited that were not served at once: for a connection, in holds.";
    let mut family = all.family(Histogram, "banyan_pgproxy_wait_seconds", help);
    let pool = Durations::sum(metrics.iter().map(|m| &m.pool_wait.durations));
    let hold = Durations::sum(metrics.iter().map(|m| &m.hold_wait.durations));
    family
        .durations(&[("for", "connection")], pool)
        .durations(&[("for", "hold")], hold);
}

pub(super) fn of_the_server(all: &mut Families, sampled: &Sampled, replicas: &[LagSignal]) {
    let server = &sampled.server;
    let up = "1: the primary answers questions for its figures.";
    all.family(Gauge, "banyan_postgres_up", up)
        .count(&[], u64::from(server.problem.is_none()));
    let wal = "Log written by the primary while this proxy ran.";
    all.family(Counter, "banyan_postgres_wal_bytes_total", wal)
        .count(&[], server.wal_bytes);
    let help = "How often a session was seen working (CPU) or waiting so; looked at each second.";
    let mut family = all.family(Counter, "banyan_postgres_wait_samples_total", help);
    for ((kind, event), count) in &sampled.seen {
        family.count(&[("wait_event_type", kind), ("wait_event", event)], *count);
    }
    if let Some(database) = &server.database {
        of_the_database(all, database);
    }
    // Partitions of one name in several schemas are told apart.
    let names: BTreeMap<String, _> = server
        .tables
        .iter()
        .take(TABLES)
        .map(|table| (format!("{}.{}", table.schema, table.name), table))
        .collect();
    let mut family = all.family(
        Gauge,
        "banyan_postgres_relation_bytes",
        "Size of the largest tables.",
    );
    for (name, table) in &names {
        family.count(&[("relation", name), ("part", "table")], table.bytes);
        family.count(&[("relation", name), ("part", "indexes")], table.index_bytes);
    }
    let mut family = all.family(
        Gauge,
        "banyan_postgres_dead_rows",
        "Rows that were not vacuumed yet.",
    );
    for (name, table) in &names {
        family.count(&[("relation", name)], table.dead_rows);
    }
    let mut family = all.family(
        Gauge,
        "banyan_pgproxy_lag_bytes",
        "How far a replica is behind; absent: not known.",
    );
    for (replica, bytes) in replicas
        .iter()
        .filter_map(|replica| Some((replica, replica.bytes?)))
    {
        family.count(&[("node", &replica.id.to_string())], bytes);
    }
    let mut family = all.family(Gauge, "banyan_pgproxy_lag_seconds", "The same as time.");
    for (replica, seconds) in replicas
        .iter()
        .filter_map(|replica| Some((replica, replica.seconds?)))
    {
        family.number(&[("node", &replica.id.to_string())], seconds);
    }
}

fn of_the_database(all: &mut Families, database: &DatabaseSignals) {
    let mut gauge = |name, help, value| {
        all.family(Gauge, name, help).count(&[], value);
    };
    gauge(
        "banyan_postgres_database_bytes",
        "Size of the database.",
        database.bytes,
    );
    gauge(
        "banyan_postgres_max_connections",
        "What the server takes, for all databases together.",
        database.max_connections,
    );
    let help = "Connections to the server, by what they do.";
    let mut family = all.family(Gauge, "banyan_postgres_connections", help);
    for (state, count) in &database.connections {
        family.count(&[("state", state)], *count);
    }
    let help = "Transactions, by how they ended.";
    all.family(Counter, "banyan_postgres_transactions_total", help)
        .count(&[("outcome", "commit")], database.committed)
        .count(&[("outcome", "rollback")], database.rolled_back);
    let help = "Blocks that were read: found in the server's buffers, or asked for outside of them.";
    all.family(Counter, "banyan_postgres_blocks_total", help)
        .count(&[("from", "buffers")], database.blocks_from_buffers)
        .count(&[("from", "outside")], database.blocks_from_outside);
    let mut counter = |name, help, value| {
        all.family(Counter, name, help).count(&[], value);
    };
    counter(
        "banyan_postgres_deadlocks_total",
        "Deadlocks that the server broke.",
        database.deadlocks,
    );
    counter(
        "banyan_postgres_temporary_bytes_total",
        "Written to files by sorts and joins with too little memory.",
        database.temporary_bytes,
    );
}
