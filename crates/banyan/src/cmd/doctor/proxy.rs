//! The PostgreSQL proxy that runs, as it reports itself: whether it listens, can check passwords, and has room.

use banyan_config::{Config, Database};
use banyan_reconcile::proto::Status;
use banyan_topology::report::PgproxyReport;

use crate::render::findings::{Finding, Level};

/// Percent of what there may be; above, the next rush is refused.
const NEARLY_FULL: u64 = 80;

/// A wait that people feel.
const LONG_WAIT_US: u64 = 10_000;

#[derive(Clone, Debug)]
pub(crate) struct ProxyFact {
    /// `None`: it has not said anything.
    pub(crate) report: Option<PgproxyReport>,
    pub(crate) max_clients: u64,
    /// Connections to each server.
    pub(crate) pool: u64,
}

/// `None`: the app goes through none.
pub(super) fn fact(config: &Config, status: &Status) -> Option<ProxyFact> {
    let table = match config.database.as_ref()? {
        Database::Managed(managed) => &managed.pgproxy,
        Database::External(external) => &external.pgproxy,
    };
    let runs = status.children.iter().any(|row| row.kind == "pgproxy");
    let pool = &table.pool;
    (!table.direct && runs).then(|| ProxyFact {
        report: status.pgproxy_report.clone(),
        max_clients: u64::from(pool.max_clients),
        pool: u64::from(pool.size),
    })
}

pub(super) fn judge(fact: &ProxyFact) -> Finding {
    let name = "PostgreSQL proxy";
    let problem = |seen: String| Finding::new(Level::Problem, name, seen).fix("banyan logs -p pgproxy");
    let Some(report) = &fact.report else {
        return problem("it runs and says nothing".to_owned());
    };
    if let Some(why) = &report.refused {
        return problem(format!("it refuses what it is told: {why}"));
    }
    let Some(address) = report.listening.first() else {
        return problem("it does not listen".to_owned());
    };
    if let Some(why) = &report.auth_problem {
        return problem(format!("nobody can log in, passwords cannot be checked: {why}"))
            .note("it asks the primary by banyan.verifier(); `banyan status` says how the servers are");
    }
    let (clients, pinned) = (report.clients, report.pinned);
    let nearly = |count: u64, most: u64| count * 100 >= most * NEARLY_FULL;
    if nearly(clients, fact.max_clients) {
        let seen = format!(
            "{clients} of {} clients; one more than that is refused (53300)",
            fact.max_clients
        );
        return Finding::new(Level::Warning, name, seen).fix("raise max_clients in [database.pgproxy]");
    }
    if nearly(pinned, fact.pool) {
        let seen = format!("{pinned} of {} connections are kept by sessions", fact.pool);
        return Finding::new(Level::Warning, name, seen)
            .fix("raise pool in [database.pgproxy], or give those sessions DATABASE_DIRECT_URL")
            .note("`SHOW PINS` on its console says what keeps them: docs/pgproxy.md");
    }
    if let Some(p99_us) = report.wait_p99_us.filter(|us| *us > LONG_WAIT_US) {
        let seen = format!("statements wait for a connection, p99 {} ms", p99_us / 1000);
        return Finding::new(Level::Warning, name, seen)
            .fix("raise pool in [database.pgproxy] while the database has idle cores; else find what keeps it busy")
            .note("`banyan database queries` shows it");
    }
    let seen = format!(
        "{address}, {clients} clients on {} connections, {pinned} kept by sessions",
        report.backends
    );
    Finding::new(Level::Good, name, seen)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn seen(change: impl FnOnce(&mut PgproxyReport)) -> String {
        let mut report = PgproxyReport {
            listening: vec!["127.0.0.1:6432".parse().unwrap()],
            clients: 4,
            backends: 2,
            ..PgproxyReport::default()
        };
        change(&mut report);
        let finding = judge(&ProxyFact {
            report: Some(report),
            max_clients: 100,
            pool: 10,
        });
        format!("{:?}: {}", finding.level, finding.seen)
    }

    #[test]
    fn a_proxy_is_judged_by_what_it_says() {
        let all = [
            seen(|_| {}),
            seen(|report| report.listening.clear()),
            seen(|report| report.auth_problem = Some("the server does not answer".to_owned())),
            seen(|report| report.clients = 80),
            seen(|report| report.pinned = 8),
            seen(|report| report.wait_p99_us = Some(25_000)),
        ];
        expect![[r#"
            Good: 127.0.0.1:6432, 4 clients on 2 connections, 0 kept by sessions
            Problem: it does not listen
            Problem: nobody can log in, passwords cannot be checked: the server does not answer
            Warning: 80 of 100 clients; one more than that is refused (53300)
            Warning: 8 of 10 connections are kept by sessions
            Warning: statements wait for a connection, p99 25 ms"#]]
        .assert_eq(&all.join("\n"));
    }
}
