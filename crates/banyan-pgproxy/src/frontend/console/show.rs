//! The rows of SHOW and EXPLAIN ROUTE, as one worker sees them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use banyan_runtime::Clock;
use banyan_telemetry::{Durations, Histogram};

use super::command::{Show, help};
use crate::catalog::Catalog;
use crate::control::nodes::report;
use crate::frontend::Activity;
use crate::route::{self, SessionView};
use crate::session::marks::Marks;
use crate::worker::Worker;

type Row = Vec<String>;

/// Longer statements are cut.
const STATEMENT: usize = 200;

pub(crate) fn rows(worker: &Rc<Worker>, what: Show) -> Vec<Row> {
    let now = Clock.now();
    match what {
        Show::Pools => pools(worker, now),
        Show::Clients => clients(worker, now),
        Show::Servers => servers(worker, now),
        Show::Pins => pins(worker),
        Show::Prepared => prepared(worker),
        Show::Holds => vec![hold(worker, now)],
        Show::Refusals => refusals(worker),
        Show::Stats => stats(worker),
        // The same for all workers: the first one answers.
        Show::Databases | Show::Nodes | Show::Version | Show::Help if worker.index > 0 => Vec::new(),
        // The control task's.
        Show::Queries | Show::Tables | Show::Waits | Show::Lag => Vec::new(),
        Show::Databases => database(worker),
        Show::Nodes => nodes(worker),
        Show::Version => vec![vec![format!("Banyan pgproxy {}", env!("CARGO_PKG_VERSION"))]],
        Show::Help => help(),
    }
}

fn age(now: Instant, since: Instant) -> String {
    now.saturating_duration_since(since).as_secs().to_string()
}

fn pools(worker: &Rc<Worker>, now: Instant) -> Vec<Row> {
    let accounts: Vec<_> = worker.accounts.borrow().values().cloned().collect();
    let mut rows = Vec::new();
    for account in accounts {
        for pool in account.pools() {
            let figures = pool.figures(now);
            rows.push(vec![
                account.database.to_string(),
                account.user.to_string(),
                pool.node.to_string(),
                pool.address.to_string(),
                figures.idle.to_string(),
                figures.total.to_string(),
                figures.waiting.to_string(),
                figures.pinned.to_string(),
                figures.longest_wait.as_millis().to_string(),
            ]);
        }
    }
    rows
}

fn clients(worker: &Rc<Worker>, now: Instant) -> Vec<Row> {
    let clients = worker.clients.borrow();
    let rows = clients.values().map(|client| {
        let state = match client.activity.get() {
            Activity::Idle => "idle",
            Activity::Waiting => "waiting",
            Activity::Active => "active",
        };
        vec![
            client.number.to_string(),
            client.user.to_string(),
            client.peer.map_or_else(String::new, |peer| peer.to_string()),
            state.to_owned(),
            client.pins.get().to_owned(),
            age(now, client.since),
        ]
    });
    rows.collect()
}

fn pins(worker: &Rc<Worker>) -> Vec<Row> {
    let clients = worker.clients.borrow();
    let pinned = clients.values().filter(|client| !client.pins.get().is_empty());
    pinned
        .map(|client| {
            vec![
                client.number.to_string(),
                client.user.to_string(),
                client.pins.get().to_owned(),
            ]
        })
        .collect()
}

fn servers(worker: &Rc<Worker>, now: Instant) -> Vec<Row> {
    let servers = worker.servers();
    let rows = servers.iter().map(|server| {
        vec![
            server.id.to_string(),
            server.node.to_string(),
            server.process.to_string(),
            server.user.to_string(),
            match server.client.get() {
                0 => String::new(),
                client => client.to_string(),
            },
            server.units.get().to_string(),
            server.statements.get().to_string(),
            age(now, server.born),
        ]
    });
    rows.collect()
}

fn prepared(worker: &Rc<Worker>) -> Vec<Row> {
    let statements = worker.shop.statements.borrow();
    let used = statements
        .iter()
        .filter(|statement| Rc::strong_count(statement) > 1);
    used.map(|statement| {
        let text = String::from_utf8_lossy(&statement.text);
        vec![
            statement.name.to_string(),
            (Rc::strong_count(statement) - 1).to_string(),
            text.chars().take(STATEMENT).collect(),
        ]
    })
    .collect()
}

fn hold(worker: &Rc<Worker>, now: Instant) -> Row {
    let limit = worker.gate.limit();
    let left = limit.map(|limit| limit.saturating_duration_since(now).as_millis().to_string());
    vec![
        worker.index.to_string(),
        format!("{:?}", worker.gate.state()).to_lowercase(),
        worker.gate.parked().to_string(),
        left.unwrap_or_default(),
    ]
}

fn refusals(worker: &Rc<Worker>) -> Vec<Row> {
    let refusals = worker.refusals.borrow();
    refusals
        .iter()
        .map(|((code, rule), (count, last))| {
            vec![
                (*code).to_owned(),
                (*rule).to_owned(),
                count.to_string(),
                last.clone(),
            ]
        })
        .collect()
}

fn stats(worker: &Rc<Worker>) -> Vec<Row> {
    let metrics = &worker.metrics;
    let waits = Histogram::quantiles([&metrics.pool_wait.lately], worker.second(Clock.now()));
    let us = |value: Option<u64>| value.map_or_else(String::new, |us| us.to_string());
    let counts = [
        ("clients", metrics.clients.get()),
        ("backends_active", metrics.active.get()),
        ("backends", u64::from(worker.backends())),
        ("waiting", metrics.waiting.get()),
        ("units", metrics.units.get()),
        ("logins", metrics.logins.get()),
        ("logins_refused", metrics.logins_refused.get()),
        ("connects", metrics.connects.get()),
        ("reads_on_replicas", metrics.reads_elsewhere.get()),
        ("reads_no_replica_in_time", metrics.reads_behind.get()),
        ("reads_run_again", metrics.reads_again.get()),
        ("waits", Durations::sum([&metrics.pool_wait.durations]).count()),
        (
            "waits_in_holds",
            Durations::sum([&metrics.hold_wait.durations]).count(),
        ),
        ("bytes_from_clients", metrics.bytes_in.get()),
        ("bytes_from_servers", metrics.bytes_out.get()),
        ("refusals", metrics.refusals.get()),
        ("cancels", metrics.cancels.get()),
        ("pins", metrics.pins.get()),
        ("desyncs", metrics.desyncs.get()),
        ("server_eof", metrics.eof.get()),
        ("server_shutdown", metrics.shutdown.get()),
        ("server_refused", metrics.refused.get()),
    ];
    let mut rows: Vec<Row> = counts
        .iter()
        .map(|(name, value)| vec![(*name).to_owned(), value.to_string()])
        .collect();
    rows.push(vec!["wait_p50_us".to_owned(), us(waits.p50_us)]);
    rows.push(vec!["wait_p99_us".to_owned(), us(waits.p99_us)]);
    rows
}

fn database(worker: &Rc<Worker>) -> Vec<Row> {
    let snapshot = Arc::clone(&worker.snapshot.borrow());
    let database = &snapshot.database;
    let primary = database
        .primary
        .map_or_else(|| "nobody".to_owned(), |node| node.to_string());
    let definitions = match worker.fresh.catalog() {
        Some(_) => "read",
        None => "to be read",
    };
    [
        ("name", database.name.clone()),
        ("epoch", snapshot.epoch.to_string()),
        ("primary", primary),
        ("pool_mode", format!("{:?}", database.pool.mode).to_lowercase()),
        ("pool_size", database.pool.size.to_string()),
        ("max_clients", database.pool.max_clients.to_string()),
        ("wait_ms", database.pool.wait.as_millis().to_string()),
        ("reads", format!("{:?}", database.reads).to_lowercase()),
        ("definitions", definitions.to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| vec![name.to_owned(), value])
    .collect()
}

fn nodes(worker: &Rc<Worker>) -> Vec<Row> {
    let snapshot = Arc::clone(&worker.snapshot.borrow());
    let primary = snapshot.database.primary;
    let view = worker.fresh.view();
    let row = |node: &banyan_topology::snapshot::pgproxy::PgNode| {
        let role = if Some(node.id) == primary {
            "primary"
        } else {
            "replica"
        };
        let seen = report(node, &snapshot, &view, false, Clock.now());
        vec![
            node.id.to_string(),
            node.address.to_string(),
            format!("{:?}", node.state).to_lowercase(),
            role.to_owned(),
            node.weight.to_string(),
            node.zone.clone().unwrap_or_default(),
            seen.lag_bytes.map_or_else(String::new, |bytes| bytes.to_string()),
            seen.lag_seconds
                .map_or_else(String::new, |seconds| format!("{:.0}", seconds * 1000.0)),
            seen.reason.unwrap_or_default(),
        ]
    };
    snapshot.database.nodes.iter().map(row).collect()
}

/// Where a statement would go, outside a transaction, for a client without settings of its own.
pub(super) fn explain(worker: &Rc<Worker>, sql: &str) -> Vec<Row> {
    let snapshot = Arc::clone(&worker.snapshot.borrow());
    let catalog = worker.fresh.catalog();
    let plan = worker.plan(sql.as_bytes());
    let session = SessionView {
        lexable: true,
        in_transaction: false,
        pinned: false,
    };
    let route = route::decide([&*plan], session, &snapshot.database.reads);
    route::explain(&plan, &route, catalog.as_deref())
        .into_iter()
        .chain(left(catalog.as_deref(), sql))
        .map(|(name, value)| vec![name.to_owned(), value])
        .collect()
}

/// What it leaves in the session by functions and triggers.
fn left(catalog: Option<&Catalog>, sql: &str) -> Option<(&'static str, String)> {
    let left = catalog?.leaves().left_by(sql.as_bytes());
    let names: Vec<&str> = left.touched.iter().map(|one| &*one.name).collect();
    let others = left.marks.without(Marks::SETTINGS.with(Marks::FREE));
    let words = [others.reason(), &*names.join(", ")];
    let words: Vec<&str> = words.into_iter().filter(|words| !words.is_empty()).collect();
    (!words.is_empty()).then(|| ("leaves", words.join(", ")))
}
