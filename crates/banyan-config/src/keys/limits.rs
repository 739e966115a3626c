//! `[edge]`: limits in time and size.

use super::Kind::{Bytes, Duration, Integer, List, Text};
use super::Rule::Network;
use super::{HOUR, KIB, Key, MIB, TIB};

pub(super) static TIMEOUTS: &[Key] = &[
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
        "websocket",
        Duration {
            min: 1000,
            max: 24 * HOUR,
        },
        "A WebSocket over which nothing comes is closed (1001).",
    )
    .default("\"5m\"")
    .alias(&["tunnel", "upgrade", "websocket_idle"]),
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

pub(super) static LIMITS: &[Key] = &[
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
    RESPONSE_HEADER,
    RESPONSE_BODY,
    Key::new(
        "body_rate",
        Bytes {
            min: 0,
            max: 4095 * MIB,
        },
        "Per second, that an upload must keep up with after 10 s; below: 408.",
    )
    .default("\"500B\""),
    Key::new(
        "connections_per_ip",
        Integer {
            min: 0,
            max: 1_000_000,
        },
        "Connections at once of one client address (IPv6: of one /64); more are closed. 0: no limit.",
    )
    .default("256")
    .alias(&["max_connections_per_ip", "limit_conn", "conn_limit"]),
    Key::new(
        "new_per_ip",
        Integer {
            min: 0,
            max: 1_000_000,
        },
        "New connections per second of one client address; more get 429, or are closed where TLS is spoken. 0: no limit.",
    )
    .default("50")
    .alias(&["connection_rate", "new_connections_per_ip", "conn_rate"]),
    Key::new(
        "exempt_ips",
        List(&Text(Network)),
        "Addresses and networks that `connections_per_ip` and `new_per_ip` are not for; nor are they for trusted_proxies.",
    )
    .default("[\"127.0.0.0/8\", \"::1\"]"),
];

/// Here and in routes.
pub(super) const RESPONSE_HEADER: Key = Key::new(
    "response_header",
    Bytes {
        min: KIB,
        max: 128 * KIB,
    },
    "All headers of an answer together; above: 502. Default: no limit below 128 KiB and 128 lines.",
)
.alias(&["response_header_bytes", "proxy_buffer_size"]);

pub(super) const RESPONSE_BODY: Key = Key::new(
    "response_body",
    Bytes { min: 0, max: TIB },
    "Body of an answer; above: 502, or broken off where its length was not known before. Default: no limit.",
)
.alias(&["max_response_body", "max_response"]);
