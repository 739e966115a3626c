//! The rules, with what a configuration changes of them. docs/alerts.md says what each is for.

use std::time::Duration;

use banyan_config::{AlertRule, Alerts, Limit, RuleChange};

use crate::rule::{Area, Condition, Match, Rule, Select, Severity, Wanted};

const REQUESTS: &str = "http_server_request_duration_seconds";
const REQUEST_COUNT: &str = "http_server_request_duration_seconds_count";
const STATEMENTS: &str = "db_client_operation_duration_seconds";

const DISK_STATE: &str = "system_filesystem_state";

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// Fewer requests in a window say nothing.
const LEAST: u32 = 100;

/// The rules that are judged; those that are off, or about nothing, are left out. `edge`: there is one, so it measures.
pub fn rules(alerts: &Alerts, edge: bool) -> Vec<Rule> {
    let wanted = AlertRule::ALL.into_iter().filter(|id| {
        let on = alerts.rules.get(id).is_none_or(|change| change.enabled);
        let about = match id {
            AlertRule::ErrorsCritical => !alerts.critical.is_empty(),
            AlertRule::NoData => edge,
            _ => true,
        };
        on && about
    });
    wanted.map(|id| rule(id, alerts)).collect()
}

/// What is not changed is as here.
struct Given<'a> {
    change: Option<&'a RuleChange>,
}

impl Given<'_> {
    fn share(&self, default: f64) -> f64 {
        match self.limit() {
            Some(Limit::Share(share)) => share.of_one(),
            _ => default,
        }
    }

    fn time(&self, default: Duration) -> Duration {
        match self.limit() {
            Some(Limit::Time(time)) => time,
            _ => default,
        }
    }

    fn factor(&self, default: f64) -> f64 {
        match self.limit() {
            Some(Limit::Factor(thousandths)) => f64::from(thousandths) / 1000.0,
            _ => default,
        }
    }

    fn limit(&self) -> Option<Limit> {
        self.change.and_then(|change| change.limit)
    }

    fn over(&self, default: Duration) -> Duration {
        self.change.and_then(|change| change.over).unwrap_or(default)
    }

    fn hold(&self, default: Duration) -> Duration {
        self.change.and_then(|change| change.hold).unwrap_or(default)
    }

    fn least(&self) -> f64 {
        f64::from(self.change.and_then(|change| change.least).unwrap_or(LEAST))
    }
}

fn rule(id: AlertRule, alerts: &Alerts) -> Rule {
    let given = Given {
        change: alerts.rules.get(&id),
    };
    let (severity, area, hold) = nature(id);
    Rule {
        id,
        severity,
        area,
        condition: condition(id, alerts, &given),
        hold: given.hold(hold),
        keep: alerts.clear,
        by: by(id),
        summary: summary(id).to_owned(),
    }
}

/// How urgent it is, what it is about, and how long it must hold.
fn nature(id: AlertRule) -> (Severity, Area, Duration) {
    let half = MINUTE / 2;
    match id {
        AlertRule::ErrorsMost | AlertRule::ErrorsCritical => (Severity::P0, Area::Requests, MINUTE),
        AlertRule::NoInstance => (Severity::P0, Area::Requests, half),
        AlertRule::NoPrimary => (Severity::P0, Area::Database, half),
        AlertRule::BudgetFast => (Severity::P0, Area::Requests, MINUTE),
        AlertRule::ErrorsHigh => (Severity::P1, Area::Requests, 5 * MINUTE),
        AlertRule::LatencyHigh => (Severity::P1, Area::Requests, 10 * MINUTE),
        AlertRule::BudgetMedium => (Severity::P1, Area::Requests, 2 * MINUTE),
        AlertRule::ReplicaLag => (Severity::P1, Area::Database, MINUTE),
        AlertRule::SessionsDown => (Severity::P1, Area::Cache, half),
        AlertRule::DiskFull => (Severity::P1, Area::Machine, 5 * MINUTE),
        AlertRule::DiskFilling => (Severity::P1, Area::Machine, HOUR),
        AlertRule::CertificateExpires => (Severity::P1, Area::Requests, HOUR),
        AlertRule::NoData => (Severity::P1, Area::Metrics, half),
        AlertRule::ErrorsSome => (Severity::P2, Area::Requests, 10 * MINUTE),
        AlertRule::BudgetSlow => (Severity::P2, Area::Requests, HOUR),
        AlertRule::QueriesSlow => (Severity::P2, Area::Database, 10 * MINUTE),
        AlertRule::CacheMisses => (Severity::P2, Area::Cache, 15 * MINUTE),
        AlertRule::MemoryHigh => (Severity::P2, Area::Machine, 10 * MINUTE),
    }
}

fn condition(id: AlertRule, alerts: &Alerts, given: &Given<'_>) -> Condition {
    match id {
        AlertRule::ErrorsMost => errors(0.5, MINUTE, None, given),
        AlertRule::ErrorsCritical => errors(0.5, MINUTE, Some(&alerts.critical), given),
        AlertRule::ErrorsHigh => errors(0.05, 5 * MINUTE, None, given),
        AlertRule::ErrorsSome => errors(0.01, 5 * MINUTE, None, given),
        AlertRule::BudgetFast => burn(14.4, HOUR, alerts, given),
        AlertRule::BudgetMedium => burn(6.0, 6 * HOUR, alerts, given),
        AlertRule::BudgetSlow => burn(1.0, 3 * DAY, alerts, given),
        AlertRule::LatencyHigh => p95(REQUESTS, 2 * Duration::from_secs(1), given),
        AlertRule::QueriesSlow => p95(STATEMENTS, Duration::from_millis(500), given),
        AlertRule::NoInstance => down("banyan_edge_endpoint_ready", true),
        AlertRule::NoPrimary => down("banyan_postgres_up", false),
        AlertRule::SessionsDown => Condition::Newest {
            of: redis("redis_up", "sessions"),
            sum: false,
            wanted: Wanted::Below(0.5),
        },
        AlertRule::ReplicaLag => Condition::Newest {
            of: Select::all("banyan_pgproxy_lag_seconds"),
            sum: false,
            wanted: Wanted::Above(given.time(Duration::from_secs(5)).as_secs_f64()),
        },
        AlertRule::DiskFull => Condition::Of {
            part: disk().with(DISK_STATE, Match::Is("used".to_owned())),
            whole: disk(),
            above: given.share(0.9),
        },
        AlertRule::DiskFilling => Condition::UsedUp {
            free: disk().with(DISK_STATE, Match::Is("free".to_owned())),
            over: given.over(6 * HOUR),
            within: given.time(3 * DAY),
        },
        AlertRule::MemoryHigh => Condition::Of {
            part: memory().with("system_memory_state", Match::Is("used".to_owned())),
            whole: memory(),
            above: given.share(0.8),
        },
        AlertRule::CertificateExpires => Condition::Near {
            of: Select::all("banyan_edge_certificate_expiry_timestamp_seconds"),
            within: given.time(7 * DAY),
        },
        AlertRule::CacheMisses => Condition::Hits {
            hits: redis("redis_keyspace_hits_total", "cache"),
            misses: redis("redis_keyspace_misses_total", "cache"),
            over: given.over(15 * MINUTE),
            below: given.share(0.8),
            least: given.least(),
        },
        AlertRule::NoData => Condition::Absent {
            of: role("edge"),
            witness: role("observe"),
            over: given.over(2 * MINUTE),
        },
    }
}

/// Labels that alerts of a rule differ in.
fn by(id: AlertRule) -> &'static [&'static str] {
    match id {
        AlertRule::ErrorsCritical => &["http_route"],
        AlertRule::NoInstance => &["upstream"],
        AlertRule::ReplicaLag => &["node"],
        _ => &[],
    }
}

fn summary(id: AlertRule) -> &'static str {
    match id {
        AlertRule::ErrorsMost => "most requests fail",
        AlertRule::ErrorsCritical => "most requests of a critical route fail",
        AlertRule::NoInstance => "no instance is ready",
        AlertRule::NoPrimary => "the primary database does not answer",
        AlertRule::BudgetFast => "errors use up the budget of 30 days within about two days",
        AlertRule::ErrorsHigh => "many requests fail",
        AlertRule::LatencyHigh => "one request in twenty takes too long",
        AlertRule::BudgetMedium => "errors use up the budget of 30 days within about five days",
        AlertRule::ReplicaLag => "a replica is far behind",
        AlertRule::SessionsDown => "Redis for sessions does not answer",
        AlertRule::DiskFull => "a disk is almost full",
        AlertRule::DiskFilling => "a disk will soon be full",
        AlertRule::CertificateExpires => "a certificate expires soon",
        AlertRule::NoData => "the edge measures nothing",
        AlertRule::ErrorsSome => "some requests fail",
        AlertRule::BudgetSlow => "errors use up more than the budget",
        AlertRule::QueriesSlow => "one statement in twenty takes too long",
        AlertRule::CacheMisses => "the app's cache misses often",
        AlertRule::MemoryHigh => "memory is almost used up",
    }
}

fn requests(routes: Option<&[String]>) -> Select {
    let all = Select::all(REQUEST_COUNT);
    match routes {
        Some(routes) => all.with("http_route", Match::OneOf(routes.to_vec())),
        None => all,
    }
}

fn failed(all: Select) -> Select {
    all.with("http_response_status_code", Match::ServerError)
}

fn errors(above: f64, over: Duration, routes: Option<&[String]>, given: &Given<'_>) -> Condition {
    Condition::Share {
        bad: failed(requests(routes)),
        all: requests(routes),
        over: given.over(over),
        above: given.share(above),
        least: given.least(),
    }
}

fn burn(factor: f64, over: Duration, alerts: &Alerts, given: &Given<'_>) -> Condition {
    Condition::Burn {
        bad: failed(requests(None)),
        all: requests(None),
        over: given.over(over),
        factor: given.factor(factor),
        budget: 1.0 - alerts.slo.of_one(),
        least: given.least(),
    }
}

fn p95(of: &'static str, above: Duration, given: &Given<'_>) -> Condition {
    Condition::Quantile {
        of,
        quantile: 0.95,
        over: given.over(5 * MINUTE),
        above: given.time(above).as_secs_f64(),
        least: given.least(),
    }
}

fn down(metric: &'static str, sum: bool) -> Condition {
    Condition::Newest {
        of: Select::all(metric),
        sum,
        wanted: Wanted::Below(0.5),
    }
}

fn disk() -> Select {
    Select::all("system_filesystem_usage_bytes")
}

fn memory() -> Select {
    Select::all("system_memory_usage_bytes")
}

/// What every process of ours tells of itself.
fn role(name: &str) -> Select {
    Select::all("banyan_build_info").with("role", Match::Is(name.to_owned()))
}

fn redis(metric: &'static str, of: &str) -> Select {
    Select::all(metric).with("redis", Match::Is(of.to_owned()))
}
