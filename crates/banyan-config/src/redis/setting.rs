//! The settings of redis.conf that are the user's, as Redis 7.0 has them.

use crate::check::Wrong;
use crate::nearest::nearest;

/// One of them. What is not here, Banyan decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedisSetting {
    pub name: &'static str,
    /// Of Redis itself, as `CONFIG GET` says it.
    pub default: &'static str,
    /// Taken only at a start.
    pub at_start: bool,
}

const fn live(name: &'static str, default: &'static str) -> RedisSetting {
    RedisSetting {
        name,
        default,
        at_start: false,
    }
}

const fn at_start(name: &'static str, default: &'static str) -> RedisSetting {
    RedisSetting {
        name,
        default,
        at_start: true,
    }
}

impl RedisSetting {
    /// <https://raw.githubusercontent.com/redis/redis/7.0/redis.conf>
    pub const ALL: &'static [Self] = &[
        live("active-defrag-cycle-max", "25"),
        live("active-defrag-cycle-min", "1"),
        live("active-defrag-ignore-bytes", "104857600"),
        live("active-defrag-max-scan-fields", "1000"),
        live("active-defrag-threshold-lower", "10"),
        live("active-defrag-threshold-upper", "100"),
        live("active-expire-effort", "1"),
        live("activedefrag", "no"),
        live("activerehashing", "yes"),
        live("aof-rewrite-incremental-fsync", "yes"),
        live("appendfsync", "everysec"),
        live("auto-aof-rewrite-min-size", "67108864"),
        live("auto-aof-rewrite-percentage", "100"),
        live("busy-reply-threshold", "5000"),
        live(
            "client-output-buffer-limit",
            "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        ),
        live("client-query-buffer-limit", "1073741824"),
        live("dynamic-hz", "yes"),
        live("hash-max-listpack-entries", "512"),
        live("hash-max-listpack-value", "64"),
        live("hll-sparse-max-bytes", "3000"),
        live("hz", "10"),
        live("jemalloc-bg-thread", "yes"),
        live("latency-monitor-threshold", "0"),
        live("latency-tracking", "yes"),
        live("lazyfree-lazy-eviction", "no"),
        live("lazyfree-lazy-expire", "no"),
        live("lazyfree-lazy-server-del", "no"),
        live("lazyfree-lazy-user-del", "no"),
        live("lazyfree-lazy-user-flush", "no"),
        live("lfu-decay-time", "1"),
        live("lfu-log-factor", "10"),
        live("list-compress-depth", "0"),
        live("list-max-listpack-size", "-2"),
        live("loglevel", "notice"),
        live("maxclients", "10000"),
        live("maxmemory-clients", "0"),
        live("maxmemory-eviction-tenacity", "10"),
        live("maxmemory-samples", "5"),
        live("no-appendfsync-on-rewrite", "no"),
        live("notify-keyspace-events", ""),
        live("proto-max-bulk-len", "536870912"),
        live("set-max-intset-entries", "512"),
        live("slowlog-log-slower-than", "10000"),
        live("slowlog-max-len", "128"),
        live("stream-node-max-bytes", "4096"),
        live("stream-node-max-entries", "100"),
        live("tcp-keepalive", "300"),
        live("timeout", "0"),
        live("tracking-table-max-keys", "1000000"),
        live("zset-max-listpack-entries", "128"),
        live("zset-max-listpack-value", "64"),
        at_start("databases", "16"),
        at_start("io-threads", "1"),
        at_start("io-threads-do-reads", "no"),
        at_start("tcp-backlog", "511"),
    ];

    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|setting| setting.name == name)
    }
}

/// Settings that Banyan depends on, and what to use instead.
const RESERVED: [(&str, &str); 21] = [
    ("port", "write `port` in the table itself"),
    ("maxmemory", "write `memory` in the table itself"),
    (
        "maxmemory-policy",
        "write `eviction` in [cache]; [sessions] throws nothing away",
    ),
    ("bind", "Banyan keeps Redis on 127.0.0.1"),
    ("protected-mode", "Banyan keeps Redis on 127.0.0.1"),
    ("unixsocket", "Banyan and the app connect by TCP on 127.0.0.1"),
    ("dir", "the data is in the state folder, under data"),
    ("dbfilename", "the data is in the state folder, under data"),
    ("appendfilename", "the data is in the state folder, under data"),
    ("appenddirname", "the data is in the state folder, under data"),
    (
        "appendonly",
        "[sessions] is kept on the disk, [cache] is not: use the one that fits",
    ),
    (
        "save",
        "[sessions] is kept on the disk, [cache] is not: use the one that fits",
    ),
    ("requirepass", "Banyan makes the passwords"),
    ("user", "Banyan makes the users and their passwords"),
    ("aclfile", "Banyan makes the users and their passwords"),
    ("daemonize", "Banyan watches the server by its own means"),
    ("supervised", "Banyan watches the server by its own means"),
    ("logfile", "its log is shown by `banyan logs`"),
    ("replicaof", "write `url` for a Redis that has replicas"),
    ("cluster-enabled", "write `url` for a Cluster"),
    ("loadmodule", "write `url` for a Redis of your own with modules"),
];

/// What is wrong with the name of a setting.
pub(crate) fn check(text: &str) -> Option<Wrong> {
    if RedisSetting::named(text).is_some() {
        return None;
    }
    if let Some((_, instead)) = RESERVED.iter().find(|(name, _)| *name == text) {
        return Some(Wrong::new("cannot be set here", *instead));
    }
    let dashed = text.replace('_', "-");
    let known = RedisSetting::ALL.iter().map(|setting| setting.name);
    let help = match nearest(&dashed, known) {
        Some(near) => format!("did you mean {near}?"),
        None => {
            "write one that docs/redis.md lists, or run a Redis of your own and name it by `url`".to_owned()
        }
    };
    Some(Wrong::new("is not a setting of Redis that can be chosen", help))
}
