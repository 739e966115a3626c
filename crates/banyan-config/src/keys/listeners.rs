//! `[[listener]]`.

use super::Kind::{Boolean, Duration, Integer, Map, OneOf, Text};
use super::Rule::{Domain, Name};
use super::{HOUR, Key};

pub(super) static LISTENER: &[Key] = &[
    Key::new(
        "name",
        Text(Name),
        "In logs and in `banyan status`. Default: listener-1, listener-2, …",
    ),
    Key::new(
        "protocol",
        OneOf(&["tcp", "tls"]),
        "tcp: bytes, whatever they mean; tls: passed on undecrypted, to the process of the name in the handshake.",
    )
    .default("\"tcp\"")
    .alias(&["mode", "type"]),
    Key::new("port", Integer { min: 1, max: 65535 }, "Where clients connect.")
        .required()
        .alias(&["listen", "bind"]),
    Key::new(
        "public",
        Boolean,
        "false: only this machine (127.0.0.1); true: everyone who can reach it (0.0.0.0).",
    )
    .default("false"),
    Key::new(
        "process",
        Text(Name),
        "The process that gets the connections; with `names`, those of all other names. Without it these are refused.",
    )
    .alias(&["to", "upstream", "backend"]),
    Key::new(
        "names",
        Map(Domain, &Text(Name)),
        "With protocol = \"tls\": names of the handshake (SNI), perhaps with *. in front, and their processes.",
    )
    .alias(&["sni", "hosts", "domains"]),
    Key::new(
        "proxy_protocol",
        Boolean,
        "trusted_proxies begin their connections with a PROXY header (v1 or v2) that names the client.",
    )
    .default("false")
    .alias(&["accept_proxy"]),
    Key::new(
        "idle",
        Duration {
            min: 100,
            max: 30 * 24 * HOUR,
        },
        "Connections on which nothing moves for so long are closed.",
    )
    .default("\"1h\"")
    .alias(&["timeout", "idle_timeout"]),
];
