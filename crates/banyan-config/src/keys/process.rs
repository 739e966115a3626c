//! `[process.NAME]`.

use super::Kind::{Duration, Integer, List, Map, OneOf, Short, Text};
use super::Rule::{Command, Name, NotEmpty, Template, UrlPath, Variable};
use super::{HOUR, Key};

pub(super) static PROCESS: &[Key] = &[
    Key::new("command", Text(Command), "What to run. Default: the Procfile's line of this name.")
        .alias(&["cmd", "run", "exec", "start"]),
    Key::new("env", Map(Variable, &Text(Template)), "On top of [app.env].")
        .alias(&["environment", "vars", "variables"]),
    Key::new("count", Integer { min: 0, max: 100 }, "How many instances.")
        .default("1")
        .alias(&["instances", "replicas", "scale", "workers", "number"]),
    Key::new("max", Integer { min: 1, max: 100 }, "Never more than this many at once, not even in a deploy; 1 is a singleton."),
    Key::new("hosts", List(&Text(Name)), "Hosts that it may run on, of [host].").alias(&["host"]),
    Key::new("protocol", OneOf(&["http1", "h2"]), "What the edge speaks to it: HTTP/1.1, or HTTP/2 in the clear without asking first (gRPC needs it).")
        .default("\"http1\"")
        .alias(&["http2", "h2c", "grpc", "scheme"]),
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
    Key::new("proxy_protocol", OneOf(&["v1", "v2"]), "Connections to its instances begin with a PROXY header that names the client. Without it: none does.")
        .alias(&["send_proxy", "proxy"]),
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
        "service",
        Text(NotEmpty),
        "With path = \"/grpc.health.v1.Health/Check\": whose health is asked for. Default: the whole server's.",
    ),
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
