//! The tables of banyan.toml.

use super::Key;
use super::Kind::{
    Boolean, Bytes, Duration, Integer, List, Map, OneOf, Scalar, Short, Table, Text, WordOrTables,
};
use super::Rule::{
    Address, Command, Cookie, Domain, ExtensionHeader, Identifier, Name, NotEmpty, Path, Setting, Template,
    UrlPath, Variable,
};
use super::routes::ROUTE;

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

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
        "database",
        Table(DATABASE),
        "PostgreSQL. Without it there is none; empty, Banyan runs one.",
    )
    .alias(&["db", "postgres", "postgresql"]),
    Key::new(
        "host",
        Map(Name, &Table(HOST)),
        "Where processes can run. Without it: everything on this machine.",
    )
    .alias(&["hosts"]),
];

static APP: &[Key] = &[
    Key::new(
        "dir",
        Text(Path),
        "The app's folder, relative to banyan.toml; commands run in it.",
    )
    .default("\".\"")
    .alias(&["path", "root", "directory", "cwd", "folder"]),
    Key::new(
        "procfile",
        Text(Path),
        "The Procfile, relative to the app's folder. It may be absent.",
    )
    .default("\"Procfile\""),
    Key::new(
        "release",
        Text(Command),
        "Runs once per deploy, before the new version gets traffic. Default: the Procfile's `release`.",
    )
    .alias(&["release_command", "migrate", "predeploy"]),
    Key::new(
        "secrets",
        Text(Path),
        "File of NAME=value lines, mode 0600, relative to banyan.toml. {{secret.NAME}} refers to them.",
    )
    .alias(&["secrets_file", "env_file", "dotenv"]),
    Key::new(
        "user",
        Text(NotEmpty),
        "Unix user of the app when Banyan runs as root. Default: the owner of the app's folder.",
    ),
    Key::new(
        "files",
        List(&Table(FILE)),
        "Files written from templates before each deploy, for apps that read a file.",
    ),
    Key::new(
        "env",
        Map(Variable, &Text(Template)),
        "Environment of every process and of the release command.",
    )
    .alias(&["environment", "vars", "variables"]),
];

static FILE: &[Key] = &[
    Key::new("from", Text(Path), "The template, relative to the app's folder.").required(),
    Key::new(
        "to",
        Text(Path),
        "Where it is written, relative to the app's folder.",
    )
    .required(),
];

static PROCESS: &[Key] = &[
    Key::new("command", Text(Command), "What to run. Default: the Procfile's line of this name.")
        .alias(&["cmd", "run", "exec", "start"]),
    Key::new("env", Map(Variable, &Text(Template)), "On top of [app.env].")
        .alias(&["environment", "vars", "variables"]),
    Key::new("count", Integer { min: 0, max: 100 }, "How many instances.")
        .default("1")
        .alias(&["instances", "replicas", "scale", "workers", "number"]),
    Key::new("max", Integer { min: 1, max: 100 }, "Never more than this many at once, not even in a deploy; 1 is a singleton."),
    Key::new("hosts", List(&Text(Name)), "Hosts that it may run on, of [host].").alias(&["host"]),
    Key::new("ready", Short(READY), "Who gets traffic: a path that answers 200 when the instance can work. Without it: accepts TCP.")
        .alias(&["readiness", "healthcheck", "health", "health_check"]),
    Key::new("live", Short(LIVE), "Who is restarted: a path that answers 2xx or 3xx while the process is sound. Without it: only an exit restarts.")
        .alias(&["liveness"]),
    Key::new("start_grace", Duration { min: 100, max: 24 * HOUR }, "Not ready by then: the start has failed.")
        .default("\"60s\"")
        .alias(&["start_timeout", "boot_timeout"]),
    Key::new("stop_grace", Duration { min: 0, max: 24 * HOUR }, "From SIGTERM to SIGKILL, and the limit of a drain.")
        .default("\"30s\"")
        .alias(&["stop_timeout", "grace", "grace_period", "kill_timeout"]),
];

static READY: &[Key] = &[
    Key::new("path", Text(UrlPath), "What is asked.")
        .required()
        .alias(&["url", "uri"]),
    Key::new(
        "host",
        Text(NotEmpty),
        "Host header, for apps that look at it. Default: the address.",
    ),
    Key::new(
        "status",
        Integer { min: 100, max: 599 },
        "The answer that means ready.",
    )
    .default("200"),
    Key::new(
        "interval",
        Duration { min: 100, max: HOUR },
        "Time between two questions.",
    )
    .default("\"2s\"")
    .alias(&["period", "every"]),
    Key::new(
        "timeout",
        Duration { min: 10, max: HOUR },
        "No answer by then is a failure.",
    )
    .default("\"1s\""),
    Key::new(
        "rise",
        Integer { min: 1, max: 100 },
        "Successes in a row that bring it back.",
    )
    .default("1"),
    Key::new(
        "fall",
        Integer { min: 1, max: 100 },
        "Failures in a row that take it out of rotation.",
    )
    .default("2")
    .alias(&["failures", "retries"]),
];

static LIVE: &[Key] = &[
    Key::new("path", Text(UrlPath), "What is asked.")
        .required()
        .alias(&["url", "uri"]),
    Key::new("host", Text(NotEmpty), "Host header. Default: the address."),
    Key::new(
        "failures",
        Integer { min: 1, max: 1000 },
        "Failures in a row that restart it.",
    )
    .default("10")
    .alias(&["fall", "retries"]),
    Key::new(
        "interval",
        Duration { min: 100, max: HOUR },
        "Time between two questions.",
    )
    .default("\"5s\"")
    .alias(&["period", "every"]),
    Key::new(
        "timeout",
        Duration { min: 10, max: HOUR },
        "No answer by then is a failure.",
    )
    .default("\"2s\""),
];

static EDGE: &[Key] = &[
    Key::new(
        "port",
        Integer { min: 1, max: 65535 },
        "Where people reach the app.",
    )
    .default("8080")
    .alias(&["listen", "bind", "address"]),
    Key::new(
        "public",
        Boolean,
        "false: only this machine (127.0.0.1); true: everyone who can reach it (0.0.0.0).",
    )
    .default("false"),
    Key::new(
        "tls",
        WordOrTables(&["self-signed"], CERTIFICATE),
        "Serves https: \"self-signed\" by an own CA (see `banyan trust`), or certificate files.",
    )
    .alias(&["ssl", "https", "certificates", "certificate"]),
    Key::new(
        "https_port",
        Integer { min: 1, max: 65535 },
        "Where people reach the app by https, with `tls`.",
    )
    .default("8443")
    .alias(&["tls_port", "ssl_port"]),
    Key::new(
        "domains",
        List(&Text(Domain)),
        "Names that people reach the app by; the certificates must cover them.",
    )
    .default("[]")
    .alias(&["domain", "server_name", "hostnames"]),
    Key::new(
        "redirect",
        Boolean,
        "With `tls`: plain requests are sent to https.",
    )
    .default("true")
    .alias(&["https_redirect", "force_ssl"]),
    Key::new(
        "hsts",
        Duration {
            min: 0,
            max: 3650 * 24 * HOUR,
        },
        "With `tls`: for so long browsers use https only (Strict-Transport-Security); \"0s\" does not say so.",
    )
    .default("\"0s\"")
    .alias(&["strict_transport_security"]),
    Key::new("process", Text(Name), "The process that gets the requests.")
        .default("\"web\"")
        .alias(&["upstream", "app"]),
    Key::new("hosts", List(&Text(Name)), "Hosts that it may run on, of [host].").alias(&["host"]),
    Key::new(
        "balance",
        OneOf(&[
            "p2c_ewma",
            "round_robin",
            "weighted",
            "least_connections",
            "ip_hash",
            "ring",
        ]),
        "How an instance is picked.",
    )
    .default("\"p2c_ewma\"")
    .alias(&["policy", "strategy", "algorithm", "load_balancing"]),
    Key::new(
        "weights",
        List(&Integer { min: 1, max: 100 }),
        "Shares of instances 1, 2, …; the others weigh 1. Not for round_robin and ip_hash.",
    )
    .alias(&["weight"]),
    Key::new("hash_by", OneOf(&["path", "ip"]), "What `ring` goes by.")
        .default("\"path\"")
        .alias(&["hash", "hash_key", "key"]),
    Key::new(
        "slow_start",
        Duration { min: 0, max: HOUR },
        "How long the share of a new instance rises from 10 % to 100 %.",
    )
    .default("\"20s\"")
    .alias(&["slowstart", "warm_up", "ramp"]),
    Key::new(
        "trusted_proxies",
        List(&Text(Address)),
        "Addresses whose X-Forwarded-* headers are believed; those of all others are stripped.",
    )
    .default("[]"),
    Key::new(
        "deadline_header",
        Text(ExtensionHeader),
        "Header that tells instances how many milliseconds are left for their answer. Default: none.",
    )
    .alias(&["timeout_header", "deadline"]),
    Key::new(
        "access_log",
        Boolean,
        "A line of JSON per request in the edge's log.",
    )
    .default("true"),
    Key::new(
        "workers",
        Integer { min: 1, max: 1024 },
        "Worker threads. Default: one per core.",
    )
    .alias(&["threads"]),
    Key::new(
        "sticky",
        Short(STICKY),
        "Clients stay with their instance: \"ip\" or { cookie = \"NAME\" }. Without it each request goes by itself.",
    )
    .alias(&["affinity", "session_affinity", "stickiness", "persistence"]),
    Key::new(
        "health",
        Table(HEALTH),
        "Passive health: instances that fail requests are taken out for a while.",
    )
    .alias(&["outlier_detection", "outliers", "passive"]),
    Key::new(
        "queue",
        Table(QUEUE),
        "How much an instance gets at once, and what happens to the rest.",
    )
    .alias(&["breaker", "circuit_breaker", "concurrency"]),
    Key::new("timeouts", Table(TIMEOUTS), "Limits in time.").alias(&["timeout"]),
    Key::new("limits", Table(LIMITS), "Limits in size.").alias(&["limit"]),
];

static STICKY: &[Key] = &[
    Key::new(
        "by",
        OneOf(&["cookie", "ip"]),
        "What a client is known by. `cookie` alone means by cookie.",
    ),
    Key::new("cookie", Text(Cookie), "Name of the cookie, which is signed.").alias(&["cookie_name", "name"]),
];

static HEALTH: &[Key] = &[
    Key::new(
        "failures",
        Integer { min: 0, max: 1000 },
        "Failed requests in a row (5xx, broken off, timed out) that eject an instance; 0: never.",
    )
    .default("5")
    .alias(&["max_fails", "consecutive_5xx", "consecutive_errors", "fall"]),
    Key::new(
        "window",
        Duration { min: 100, max: HOUR },
        "Within which they must lie.",
    )
    .default("\"10s\"")
    .alias(&["interval"]),
    Key::new(
        "eject",
        Duration { min: 100, max: HOUR },
        "For how long, times how often it was ejected lately.",
    )
    .default("\"30s\"")
    .alias(&["base_ejection_time", "fail_timeout", "ejection_time"]),
    Key::new(
        "max_ejected",
        Integer { min: 0, max: 100 },
        "Percent of the instances that may be ejected at once.",
    )
    .default("50")
    .alias(&["max_ejection_percent"]),
    Key::new(
        "panic",
        Integer { min: 0, max: 100 },
        "With fewer than this percentage of instances sound, ejections are passed over.",
    )
    .default("50")
    .alias(&["panic_threshold", "healthy_panic_threshold"]),
];

static QUEUE: &[Key] = &[
    Key::new(
        "max_connections",
        Integer {
            min: 1,
            max: 1_000_000,
        },
        "Requests at once per instance. Without it: no limit, and so no queue.",
    )
    .alias(&["max_conns", "maxconn", "max_requests", "concurrency"]),
    Key::new(
        "length",
        Integer {
            min: 0,
            max: 1_000_000,
        },
        "Requests that may wait when every instance has its limit, the oldest first; then 503.",
    )
    .default("1000")
    .alias(&[
        "size",
        "max_pending",
        "max_pending_requests",
        "pending",
        "backlog",
    ]),
    Key::new(
        "wait",
        Duration { min: 0, max: HOUR },
        "How long one may wait; then 503.",
    )
    .default("\"10s\"")
    .alias(&["timeout"]),
];

static CERTIFICATE: &[Key] = &[
    Key::new(
        "cert",
        Text(Path),
        "PEM file: the certificate, then its chain; relative to banyan.toml.",
    )
    .required()
    .alias(&["certificate", "chain", "fullchain"]),
    Key::new(
        "key",
        Text(Path),
        "PEM file: its private key, mode 0600; relative to banyan.toml.",
    )
    .required()
    .alias(&["private_key", "privkey"]),
];

static TIMEOUTS: &[Key] = &[
    Key::new(
        "header",
        Duration { min: 10, max: HOUR },
        "For a client to send the whole request header; then 408.",
    )
    .default("\"10s\""),
    Key::new(
        "idle",
        Duration {
            min: 10,
            max: 24 * HOUR,
        },
        "For a kept connection to stay without a request.",
    )
    .default("\"60s\"")
    .alias(&["keepalive", "keep_alive"]),
    Key::new(
        "connect",
        Duration { min: 10, max: HOUR },
        "For an instance to accept; then another one, or 502.",
    )
    .default("\"1s\""),
    Key::new(
        "response",
        Duration {
            min: 10,
            max: 24 * HOUR,
        },
        "For the app to begin its answer; then 504.",
    )
    .default("\"60s\"")
    .alias(&["read", "request"]),
    Key::new(
        "no_endpoint",
        Duration { min: 0, max: HOUR },
        "For a request to wait while no instance is ready; then 503.",
    )
    .default("\"5s\""),
    Key::new(
        "drain",
        Duration {
            min: 0,
            max: 24 * HOUR,
        },
        "For requests in flight when the edge itself stops.",
    )
    .default("\"30s\""),
];

static LIMITS: &[Key] = &[
    Key::new(
        "header_bytes",
        Bytes {
            min: KIB,
            max: 16 * MIB,
        },
        "All request headers together; above: 431.",
    )
    .default("\"32KiB\""),
    Key::new(
        "headers",
        Integer { min: 1, max: 10_000 },
        "Number of request headers; above: 431.",
    )
    .default("100"),
    Key::new(
        "request_line",
        Bytes { min: 64, max: MIB },
        "Method, URL and version; above: 414.",
    )
    .default("\"8KiB\""),
    Key::new("body", Bytes { min: 0, max: TIB }, "Request body; above: 413.")
        .default("\"10MiB\"")
        .alias(&["body_size", "max_body", "client_max_body_size"]),
    Key::new(
        "body_rate",
        Bytes {
            min: 0,
            max: 4095 * MIB,
        },
        "Per second, that an upload must keep up with after 10 s; below: 408.",
    )
    .default("\"500B\""),
];

static DATABASE: &[Key] = &[
    Key::new(
        "url",
        Text(Template),
        "Your own PostgreSQL: Banyan starts and stops none. Excludes the other keys.",
    )
    .alias(&["dsn", "uri"]),
    Key::new(
        "postgres",
        Integer { min: 13, max: 99 },
        "Major version. Default: that of the data, else the newest installed.",
    )
    .alias(&["version"]),
    Key::new(
        "port",
        Integer { min: 1, max: 65535 },
        "Port on 127.0.0.1. Default: a free one, kept from then on.",
    ),
    Key::new(
        "memory",
        Bytes {
            min: 64 * MIB,
            max: 64 * TIB,
        },
        "Memory to tune for. Default: a quarter of the machine's.",
    ),
    Key::new(
        "max_connections",
        Integer { min: 10, max: 10_000 },
        "Connections at once.",
    )
    .default("100")
    .alias(&["connections"]),
    Key::new(
        "name",
        Text(Identifier),
        "Database and role of the app. Default: `name`, with _ for -.",
    )
    .alias(&["database", "dbname"]),
    Key::new(
        "settings",
        Map(Setting, &Scalar),
        "For postgresql.conf; they win over what Banyan tunes.",
    )
    .alias(&["parameters", "config", "conf"]),
];

static HOST: &[Key] = &[Key::new("kind", OneOf(&["machine"]), "`machine` is this one.")
    .default("\"machine\"")
    .alias(&["type"])];
