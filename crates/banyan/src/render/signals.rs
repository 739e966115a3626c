//! `banyan database queries | tables`: what the proxy has measured, for people.

use std::time::Duration;

use banyan_topology::signals::{Signals, StatementSignal, TableSignal, WaitEvent};

use super::amount;
use super::paint::{Paint, Style};
use super::table::{self, Align, Cell};

/// Longer statements are cut unless asked for in full.
const SHOWN: usize = 48;
/// Kinds of waits that are named.
const WAITS: usize = 4;

const QUERIES: [(&str, Align); 8] = [
    ("RATE", Align::Right),
    ("LOAD", Align::Right),
    ("MEAN", Align::Right),
    ("P99", Align::Right),
    ("CALLS", Align::Right),
    ("ERRORS", Align::Right),
    ("READ", Align::Left),
    ("STATEMENT", Align::Left),
];
const TABLES: [(&str, Align); 8] = [
    ("TABLE", Align::Left),
    ("SIZE", Align::Right),
    ("INDEXES", Align::Right),
    ("ROWS", Align::Right),
    ("DEAD", Align::Right),
    ("SEQ SCANS", Align::Right),
    ("INDEX SCANS", Align::Right),
    ("VACUUMED", Align::Right),
];

pub(crate) fn queries(signals: &Signals, full: bool, paint: Paint) -> String {
    let mut out = String::new();
    for line in summary(signals, paint) {
        out.push_str(&(line + "\n"));
    }
    if signals.statements.is_empty() {
        out.push_str(match signals.measured {
            true => "no statement has come yet\n",
            false => "statements are not counted: measure = false in [database.pgproxy]\n",
        });
        return out;
    }
    out.push('\n');
    let rows: Vec<Vec<Cell>> = signals.statements.iter().map(|one| query(one, full)).collect();
    out + &table::render(&QUERIES, &rows, paint)
}

fn summary(signals: &Signals, paint: Paint) -> Vec<String> {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let calls: u64 = signals.statements.iter().map(|one| one.totals.calls).sum();
    let seconds = Duration::from_secs_f64(signals.seconds.max(0.0));
    let mut first = vec![format!(
        "{} statements in {}",
        calls + signals.others.calls,
        amount::age(seconds)
    )];
    if signals.slow > 0 {
        first.push(format!("{} slow (`banyan logs -p pgproxy`)", signals.slow));
    }
    if let Some(share) = signals.movable_share {
        first.push(format!("{} could be answered by a replica", percent(share)));
    }
    let mut lines = vec![first.join(", ")];
    let wait = &signals.pool_wait;
    if let Some(p99) = wait.p99_us {
        lines.push(format!(
            "waiting for a connection: p99 {} in the last 10 s, {} times so far",
            amount::latency_us(p99),
            wait.count
        ));
    }
    let server = &signals.server;
    if let Some(problem) = &server.problem {
        lines.push(format!(
            "{} the primary cannot be asked: {problem}",
            paint.yellow("!")
        ));
    }
    if let Some(active) = server.active {
        let named = |wait: &WaitEvent| match wait.event.as_str() {
            "" => format!("{} {}", wait.kind, percent(wait.share)),
            event => format!("{} {event} {}", wait.kind, percent(wait.share)),
        };
        let waits: Vec<String> = server.waits.iter().take(WAITS).map(named).collect();
        let waits = match waits.is_empty() {
            true => String::new(),
            false => format!(" ({})", waits.join(", ")),
        };
        let mut line = format!("{active:.1} sessions at work{waits}");
        if let Some(written) = server.wal_bytes_per_second {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate, for people"
            )]
            let written = written.max(0.0) as u64;
            line += &format!(", {} of log/s", amount::bytes(written));
        }
        lines.push(line);
    }
    if let Some(database) = &server.database {
        let open: u64 = database.connections.values().sum();
        lines.push(format!(
            "{} on the disk, {open} of {} connections",
            amount::bytes(database.bytes),
            database.max_connections
        ));
    }
    for replica in &signals.replicas {
        if let Some(most) = replica.most(60) {
            lines.push(format!(
                "{} was at most {} behind in the last hour",
                replica.id,
                amount::took(Duration::from_secs_f64(most.seconds.max(0.0)))
            ));
        }
    }
    lines
}

fn query(one: &StatementSignal, full: bool) -> Vec<Cell> {
    let recent = &one.recent;
    let mean_us = (recent.calls_per_second > 0.0).then(|| recent.load / recent.calls_per_second * 1e6);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time, for people"
    )]
    let mean = mean_us.map_or_else(String::new, |us| amount::latency_us(us.max(0.0) as u64));
    let errors = match one.totals.errors {
        0 => Cell::new("0"),
        errors => Cell::styled(errors.to_string(), Style::Red),
    };
    let shown = match full {
        true => one.statement.clone(),
        false => cut(&one.statement),
    };
    vec![
        Cell::new(amount::rate(recent.calls_per_second)),
        Cell::new(format!("{:.2}", recent.load)),
        Cell::new(mean),
        Cell::new(recent.p99_us.map_or_else(String::new, amount::latency_us)),
        Cell::new(one.totals.calls.to_string()),
        errors,
        Cell::new(match one.reads_only {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        }),
        Cell::new(shown),
    ]
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

pub(crate) fn tables(tables: &[TableSignal], indexes: bool, paint: Paint) -> String {
    if tables.is_empty() {
        return "there are no tables, or their sizes are not known yet\n".to_owned();
    }
    let mut rows = Vec::new();
    for table in tables {
        rows.push(of_table(table));
        for index in table.indexes.iter().filter(|_| indexes) {
            let kind = if index.unique { "unique" } else { "" };
            rows.push(vec![
                Cell::styled(format!("  {}", index.name), Style::Dim),
                Cell::new(""),
                Cell::new(amount::bytes(index.bytes)),
                Cell::new(kind),
                Cell::new(""),
                Cell::new(""),
                Cell::new(index.scans.to_string()),
                Cell::new(""),
            ]);
        }
    }
    table::render(&TABLES, &rows, paint)
}

fn of_table(table: &TableSignal) -> Vec<Cell> {
    let name = match table.schema.as_str() {
        "public" => table.name.clone(),
        schema => format!("{schema}.{}", table.name),
    };
    // A fifth is when autovacuum comes by default (autovacuum_vacuum_scale_factor).
    let many = table.dead_rows > 1_000 && table.dead_rows * 2 > table.live_rows;
    let vacuumed = table.vacuumed_seconds.map(Duration::from_secs);
    vec![
        Cell::new(name),
        Cell::new(amount::bytes(table.bytes)),
        Cell::new(amount::bytes(table.index_bytes)),
        Cell::new(table.live_rows.to_string()),
        Cell::styled(
            table.dead_rows.to_string(),
            if many { Style::Yellow } else { Style::Plain },
        ),
        Cell::new(table.sequential_scans.to_string()),
        Cell::new(table.index_scans.to_string()),
        Cell::new(vacuumed.map_or_else(String::new, |ago| format!("{} ago", amount::age(ago)))),
    ]
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn sample() -> Signals {
        serde_json::from_value(serde_json::json!({
            "seconds": 3700.0, "measured": true, "slow": 3, "movable_share": 0.613,
            "others": {"calls": 5, "errors": 0, "total_us": 100, "max_us": 50, "p50_us": 20, "p99_us": 50, "alone": 5, "on_replicas": 0},
            "statements": [
                {"id": "00ff00ff00ff00ff", "statement": "SELECT a, b FROM items WHERE owner = ? AND kind IN (?) ORDER BY made DESC LIMIT ?",
                 "operation": "SELECT", "calls": 4100, "errors": 0, "total_us": 8_200_000, "max_us": 90_000, "p50_us": 1900,
                 "p99_us": 12_000, "alone": 4100, "on_replicas": 0, "reads_only": true,
                 "recent": {"calls_per_second": 41.0, "load": 0.082, "p50_us": 1900, "p99_us": 12_000}},
                {"id": "00ff00ff00ff0000", "statement": "COMMIT", "operation": "COMMIT", "calls": 12, "errors": 2,
                 "total_us": 12_000, "max_us": 1500, "p50_us": 1000, "p99_us": 1500, "alone": 0, "on_replicas": 0,
                 "reads_only": false, "recent": {"calls_per_second": 0.0, "load": 0.0, "p50_us": null, "p99_us": null}},
            ],
            "pool_wait": {"count": 120, "total_us": 9000, "p50_us": 300, "p99_us": 4100},
            "hold_wait": {"count": 0, "total_us": 0, "p50_us": null, "p99_us": null},
            "server": {
                "problem": null, "wal_bytes_per_second": 1_258_291.0, "wal_bytes": 99, "active": 1.34,
                "waits": [{"kind": "CPU", "event": "", "share": 0.7}, {"kind": "Lock", "event": "tuple", "share": 0.3}],
                "database": {"bytes": 12_582_912, "max_connections": 100, "connections": {"active": 2, "idle": 9},
                             "committed": 4100, "rolled_back": 2, "blocks_from_buffers": 90, "blocks_from_outside": 1,
                             "deadlocks": 0, "temporary_bytes": 0},
                "tables": [
                    {"schema": "public", "name": "items", "bytes": 9_437_184, "index_bytes": 2_097_152, "live_rows": 90_000,
                     "dead_rows": 60_000, "sequential_scans": 3, "sequential_rows": 270_000, "index_scans": 4100, "changes": 7,
                     "vacuumed_seconds": 200,
                     "indexes": [{"name": "items_pkey", "bytes": 2_097_152, "scans": 4100, "unique": true}]},
                    {"schema": "billing", "name": "bills", "bytes": 8192, "index_bytes": 0, "live_rows": 2, "dead_rows": 0,
                     "sequential_scans": 9, "sequential_rows": 18, "index_scans": 0, "changes": 2, "vacuumed_seconds": null,
                     "indexes": []},
                ],
            },
            "replicas": [{"id": "db2", "bytes": 0, "seconds": 0.0, "minutes": [null, {"bytes": 900, "seconds": 3.2}]}],
        }))
        .unwrap()
    }

    #[test]
    fn statements_are_a_table_below_what_matters_of_all() {
        expect![[r#"
            4117 statements in 1h 1m, 3 slow (`banyan logs -p pgproxy`), 61 % could be answered by a replica
            waiting for a connection: p99 4.1 ms in the last 10 s, 120 times so far
            1.3 sessions at work (CPU 70 %, Lock tuple 30 %), 1 MiB of log/s
            12 MiB on the disk, 11 of 100 connections
            db2 was at most 3.2 s behind in the last hour

            RATE  LOAD    MEAN    P99  CALLS  ERRORS  READ  STATEMENT
              41  0.08  2.0 ms  12 ms   4100       0  yes   SELECT a, b FROM items WHERE owner = ? AND kind …
             0.0  0.00                    12       2  no    COMMIT
        "#]]
        .assert_eq(&queries(&sample(), false, Paint::OFF));
    }

    #[test]
    fn tables_show_their_indexes_when_asked() {
        expect![[r#"
            TABLE           SIZE  INDEXES    ROWS   DEAD  SEQ SCANS  INDEX SCANS    VACUUMED
            items          9 MiB    2 MiB   90000  60000          3         4100  3m 20s ago
              items_pkey            2 MiB  unique                           4100
            billing.bills  8 KiB      0 B       2      0          9            0
        "#]]
        .assert_eq(&tables(&sample().server.tables, true, Paint::OFF));
    }

    #[test]
    fn that_nothing_is_there_is_said() {
        let off = queries(&Signals::default(), false, Paint::OFF);
        assert!(off.contains("measure = false"), "{off}");
        assert!(tables(&[], false, Paint::OFF).contains("no tables"));
    }
}
