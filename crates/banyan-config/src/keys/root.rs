//! The tables of banyan.toml itself, and `[host.NAME]`.

use super::Key;
use super::Kind::{Integer, List, Map, OneOf, Table, Text};
use super::Rule::Name;
use super::alerts::ALERTS;
use super::app::APP;
use super::auth::AUTH;
use super::database::DATABASE;
use super::edge::EDGE;
use super::listeners::LISTENER;
use super::logs::LOGS;
use super::metrics::METRICS;
use super::observe::OBSERVE;
use super::origins::ORIGIN;
use super::process::PROCESS;
use super::redis::{CACHE, SESSIONS};
use super::routes::ROUTE;
use super::scale::SCALE;

pub(crate) static ROOT: &[Key] = &[
    Key::new("version", Integer { min: 1, max: 1 }, "Version of this format.").required(),
    Key::new(
        "name",
        Text(Name),
        "Name of the installation. Do not change it later: it names the database.",
    )
    .required(),
    Key::new("app", Table(APP), "The app itself."),
    Key::new(
        "process",
        Map(Name, &Table(PROCESS)),
        "A table per process; it refines or replaces the Procfile's entry.",
    )
    .alias(&["processes", "service", "services"]),
    Key::new(
        "scale",
        Map(Name, &Table(SCALE)),
        "A table per process whose number of instances follows its load.",
    )
    .alias(&["autoscale", "autoscaling", "scaling", "hpa"]),
    Key::new(
        "edge",
        Table(EDGE),
        "The HTTP front. Without it: the defaults, if there is a process `web`.",
    )
    .alias(&["http", "proxy", "server", "listen"]),
    Key::new(
        "route",
        List(&Table(ROUTE)),
        "Which requests go elsewhere than to the edge's process. The most specific one wins.",
    )
    .alias(&["routes", "location", "rule", "rules"]),
    Key::new(
        "auth",
        Map(Name, &Table(AUTH)),
        "A table per way in which clients show who they are; [edge] and routes name them.",
    )
    .alias(&["authentication", "login"]),
    Key::new(
        "origin",
        Map(Name, &Table(ORIGIN)),
        "A table per group of servers elsewhere, by URL; routes send to them by `origin` or, when the app fails, `backup`.",
    )
    .alias(&["origins", "origin_group", "external"]),
    Key::new(
        "listener",
        List(&Table(LISTENER)),
        "Further ports whose connections go to a process as they are: TCP, or TLS by the name in the handshake.",
    )
    .alias(&["listeners", "tcp", "stream"]),
    Key::new(
        "database",
        Table(DATABASE),
        "PostgreSQL. Without it there is none; empty, Banyan runs one.",
    )
    .alias(&["db", "postgres", "postgresql"]),
    Key::new(
        "sessions",
        Table(SESSIONS),
        "Redis for what must not be lost: sessions, limits, queues. Without it there is none; empty, Banyan runs one.",
    )
    .alias(&["session", "redis", "session_store", "queue"]),
    Key::new(
        "cache",
        Table(CACHE),
        "Redis for copies of what the database has. Without it there is none; empty, Banyan runs one.",
    )
    .alias(&["caches", "redis_cache", "memcached"]),
    Key::new(
        "metrics",
        Table(METRICS),
        "What is measured, for Prometheus and its like. Without it: on this machine's port 9464.",
    )
    .alias(&["prometheus", "monitoring"]),
    Key::new(
        "observe",
        Table(OBSERVE),
        "History of what is measured, and the dashboard. Without it: the defaults.",
    )
    .alias(&["observability", "dashboard", "history"]),
    Key::new(
        "alerts",
        Table(ALERTS),
        "When somebody is told, and who. Without it: rules are judged, and `banyan alerts` shows what fires.",
    )
    .alias(&["alert", "alerting", "alarms", "notifications"]),
    Key::new(
        "logs",
        Table(LOGS),
        "What is kept of the logs of all processes. Without it: the defaults.",
    )
    .alias(&["log", "logging"]),
    Key::new(
        "host",
        Map(Name, &Table(HOST)),
        "Where processes can run. Without it: everything on this machine.",
    )
    .alias(&["hosts"]),
];

static HOST: &[Key] = &[
    Key::new("kind", OneOf(&["machine"]), "`machine` is this one.")
        .default("\"machine\"")
        .alias(&["type"]),
    Key::new(
        "zone",
        Text(Name),
        "What hosts near each other have in common; an edge prefers instances of its own zone.",
    )
    .alias(&["region", "az", "availability_zone", "rack", "site"]),
];
