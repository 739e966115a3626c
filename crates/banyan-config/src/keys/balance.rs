//! `[edge]`: how requests are shared among instances.

use super::Kind::{Duration, Integer, OneOf, Text};
use super::Rule::Cookie;
use super::{HOUR, Key};

pub(super) static STICKY: &[Key] = &[
    Key::new(
        "by",
        OneOf(&["cookie", "ip"]),
        "What a client is known by. `cookie` alone means by cookie.",
    ),
    Key::new("cookie", Text(Cookie), "Name of the cookie, which is signed.").alias(&["cookie_name", "name"]),
];

pub(super) static HEALTH: &[Key] = &[
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

pub(super) static QUEUE: &[Key] = &[
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
