//! `[origin.NAME]`.

use super::Kind::{Duration, List, Text};
use super::Rule::{NotEmpty, Path, UrlPath};
use super::{HOUR, Key, MINUTE};

pub(super) static ORIGIN: &[Key] = &[
    Key::new(
        "url",
        Text(NotEmpty),
        "The server that is asked: scheme, host and port. https is verified.",
    )
    .required()
    .alias(&["address", "server", "primary", "to"]),
    Key::new(
        "backup",
        List(&Text(NotEmpty)),
        "Asked in turn when those before cannot be reached, take too long or answer 500, 502, 503 or 504; safe requests only.",
    )
    .alias(&["backups", "fallback", "secondary", "failover"]),
    Key::new(
        "secret_file",
        Text(Path),
        "What X-Origin-Verify says to them, so that they answer nobody else; mode 0600, relative to banyan.toml.",
    )
    .alias(&["secret", "verify", "verify_file"]),
    Key::new("host", Text(NotEmpty), "The Host they are asked for. Default: that of each URL.")
        .alias(&["host_header"]),
    Key::new(
        "ca",
        Text(Path),
        "PEM file of the CAs whose certificates are believed. Default: those of the system.",
    )
    .alias(&["ca_file", "root"]),
    Key::new(
        "ready",
        Text(UrlPath),
        "Checks ask for this path and want 2xx. Default: they connect only.",
    )
    .alias(&["health", "healthcheck", "health_path"]),
    Key::new(
        "interval",
        Duration {
            min: 100,
            max: HOUR,
        },
        "Between checks. One that fails them is asked when all fail.",
    )
    .default("\"5s\""),
    Key::new(
        "timeout",
        Duration {
            min: 10,
            max: 10 * MINUTE,
        },
        "For each of them to begin its answer; all together have the route's or the edge's time.",
    )
    .default("\"10s\""),
];
