//! `[sessions]` and `[cache]`: Redis.

use super::Kind::{Bytes, Integer, Map, OneOf, Scalar, Text};
use super::Rule::{RedisSetting, Template};
use super::{Key, MIB, TIB};

const URL: Key = Key::new(
    "url",
    Text(Template),
    "Your own Redis, Sentinel or Cluster: Banyan starts and stops none. Excludes the other keys.",
)
.alias(&["dsn", "uri", "redis_url", "server", "host"]);

const PORT: Key = Key::new(
    "port",
    Integer { min: 1, max: 65535 },
    "Port on 127.0.0.1. Default: a free one, kept from then on.",
);

const SETTINGS: Key = Key::new(
    "settings",
    Map(RedisSetting, &Scalar),
    "For redis.conf; they win over what Banyan chooses.",
)
.alias(&["config", "conf", "parameters"]);

const fn memory(doc: &'static str) -> Key {
    Key::new(
        "memory",
        Bytes {
            min: 4 * MIB,
            max: 64 * TIB,
        },
        doc,
    )
    .default("\"256MiB\"")
    .alias(&["maxmemory", "max_memory", "size", "limit"])
}

pub(super) static SESSIONS: &[Key] = &[
    URL,
    PORT,
    memory("Data that fits; when it is full, writes are refused and nothing is thrown away."),
    SETTINGS,
];

pub(super) static CACHE: &[Key] = &[
    URL,
    PORT,
    memory("Memory of the server; four fifths of it are data."),
    Key::new(
        "eviction",
        OneOf(&["lfu", "lru", "fifo"]),
        "What goes when it is full: what is used least often, what was not used for longest, or what expires first.",
    )
    .default("\"lfu\"")
    .alias(&["policy", "maxmemory_policy", "evict"]),
    SETTINGS,
];
