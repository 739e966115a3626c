//! `[metrics]` and `[edge.log]`: what is told of requests.

use super::Kind::{Boolean, Duration, Fraction, Text};
use super::Rule::SocketAddress;
use super::{HOUR, Key};

pub(super) static METRICS: &[Key] = &[
    Key::new(
        "enabled",
        Boolean,
        "Serves what is measured at /metrics, for Prometheus and its like.",
    )
    .default("true"),
    Key::new(
        "listen",
        Text(SocketAddress),
        "Address and port; one page for all of this machine.",
    )
    .default("\"127.0.0.1:9464\"")
    .alias(&["address", "port", "bind"]),
];

pub(super) static LOG: &[Key] = &[
    Key::new(
        "sample",
        Fraction,
        "Share of requests that have a line, 0 to 1; errors and slow requests always have one.",
    )
    .default("1.0")
    .alias(&["rate", "sampling", "sample_rate"]),
    Key::new(
        "slow",
        Duration {
            min: 1,
            max: 24 * HOUR,
        },
        "What takes at least this long always has a line.",
    )
    .default("\"1s\"")
    .alias(&["slow_threshold", "threshold"]),
];
