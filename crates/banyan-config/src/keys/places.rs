//! `[edge.place.NAME]`.

use super::Key;
use super::Kind::{Boolean, Integer, Text};
use super::Rule::Name;

pub(super) static PLACE: &[Key] = &[
    Key::new(
        "port",
        Integer { min: 1, max: 65535 },
        "Where people reach the app at this place.",
    )
    .required()
    .alias(&["listen", "bind", "address"]),
    Key::new(
        "https_port",
        Integer { min: 1, max: 65535 },
        "With `tls` of [edge]: where they reach it by https.",
    )
    .alias(&["tls_port", "ssl_port"]),
    Key::new(
        "beside",
        Text(Name),
        "With `cache` of [edge]: the place ([edge.place] or \"edge\") with whose edge this one shares what it keeps: each URL is one edge's, the others ask that one. Default: it keeps for itself.",
    )
    .alias(&["with", "near", "group", "site"]),
    Key::new(
        "public",
        Boolean,
        "false: only this machine (127.0.0.1); true: everyone who can reach it (0.0.0.0). Default: as [edge].",
    ),
];
