//! `[observe]`: what is kept of everything that is measured, and where people see it.

use super::Kind::{Boolean, Bytes, Duration, Integer, Text};
use super::Rule::NotEmpty;
use super::{DAY, HOUR, Key, MIB, TIB};

pub(super) static OBSERVE: &[Key] = &[
    Key::new(
        "enabled",
        Boolean,
        "A role that keeps what is measured and serves the dashboard. No request depends on it.",
    )
    .default("true"),
    Key::new(
        "port",
        Integer { min: 1, max: 65535 },
        "Port of the dashboard on 127.0.0.1. Default: a free one, kept from then on.",
    )
    .alias(&["listen", "address", "dashboard", "dashboard_port"]),
    Key::new(
        "disk",
        Bytes {
            min: 16 * MIB,
            max: TIB,
        },
        "What the history may take on the disk; the oldest goes first.",
    )
    .default("\"256MiB\"")
    .alias(&["size", "max_size", "disk_cap", "limit", "storage"]),
    Key::new(
        "keep",
        Duration {
            min: 6 * HOUR,
            max: 366 * DAY,
        },
        "How long the history is kept, if the disk is enough.",
    )
    .default("\"60d\"")
    .alias(&["retention", "history", "max_age"]),
    Key::new(
        "otlp_http",
        Integer { min: 1, max: 65535 },
        "Port on 127.0.0.1 where apps send traces by OTLP over HTTP (protobuf); 4318 by convention.",
    )
    .alias(&["otlp", "otlp_port", "otel"]),
    Key::new(
        "otlp_grpc",
        Integer { min: 1, max: 65535 },
        "Port on 127.0.0.1 where apps send traces by OTLP over gRPC; 4317 by convention.",
    ),
    Key::new(
        "export",
        Text(NotEmpty),
        "URL of a collector of your own that gets the traces that are kept, by OTLP over HTTP.",
    )
    .alias(&["otlp_export", "exporter", "collector", "forward"]),
];
