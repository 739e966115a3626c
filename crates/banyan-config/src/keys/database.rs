//! `[database]`.

use super::Kind::{Bytes, Integer, Map, Scalar, Text};
use super::Rule::{Identifier, Setting, Template};
use super::{Key, MIB, TIB};

pub(super) static DATABASE: &[Key] = &[
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
