//! `[database]`.

use super::Kind::{Boolean, Bytes, Duration, Integer, List, Map, OneOf, Scalar, Table, Text};
use super::Rule::{Identifier, NotEmpty, Path, Reads, Setting, Template, TimeOfDay};
use super::{DAY, HOUR, Key, MIB, MINUTE, SECOND, TIB};

static BACKUP: &[Key] = &[
    Key::new(
        "path",
        Text(Path),
        "Folder of the backups and of the log between them, best on another disk. Relative: to banyan.toml.",
    )
    .required()
    .alias(&["dir", "directory", "folder", "repository", "repo"]),
    Key::new(
        "full",
        Duration {
            min: MINUTE,
            max: 90 * DAY,
        },
        "How often all files are copied.",
    )
    .default("\"7d\"")
    .alias(&["every", "interval", "schedule"]),
    Key::new(
        "differential",
        Duration {
            min: MINUTE,
            max: 90 * DAY,
        },
        "How often what changed since the last full backup is copied. Default: \"1d\" where that is less than `full`.",
    )
    .alias(&["diff"]),
    Key::new(
        "incremental",
        Duration {
            min: MINUTE,
            max: 90 * DAY,
        },
        "How often what changed since the last backup is copied. Default: never.",
    )
    .alias(&["incr"]),
    Key::new(
        "at",
        Text(TimeOfDay),
        "When backups begin whose interval is a day or more: a time of day, UTC.",
    )
    .default("\"03:00\"")
    .alias(&["time", "start", "hour"]),
    Key::new(
        "keep",
        Integer { min: 1, max: 1_000 },
        "Full backups to keep, each with what depends on it; older ones are deleted.",
    )
    .default("2")
    .alias(&["retention", "keep_full"]),
    Key::new(
        "limit",
        Duration {
            min: MINUTE,
            max: 7 * DAY,
        },
        "A backup that takes longer is given up; the next one goes on from what it has copied.",
    )
    .default("\"6h\"")
    .alias(&["timeout", "max_duration"]),
    Key::new(
        "processes",
        Integer { min: 1, max: 64 },
        "How many programs copy and compress at once.",
    )
    .default("1")
    .alias(&["jobs", "workers", "process_max"]),
    Key::new(
        "archive_timeout",
        Duration {
            min: SECOND,
            max: HOUR,
        },
        "A piece of log that is not full is stored after so long: what a lost machine can cost at most.",
    )
    .default("\"60s\"")
    .alias(&["max_loss", "rpo"]),
    Key::new(
        "queue",
        Bytes {
            min: 64 * MIB,
            max: 64 * TIB,
        },
        "Log that waits on the database's disk while `path` cannot be written; beyond it log is given up.",
    )
    .default("\"4GiB\"")
    .alias(&["archive_queue", "max_queue"]),
];

static PGPROXY: &[Key] = &[
    Key::new(
        "direct",
        Boolean,
        "The app connects to PostgreSQL itself: no pool, no replica, no switchover behind its back.",
    )
    .default("false"),
    Key::new(
        "port",
        Integer { min: 1, max: 65535 },
        "Port of DATABASE_URL on 127.0.0.1. Default: a free one, kept from then on.",
    ),
    Key::new(
        "mode",
        OneOf(&["transaction", "session"]),
        "How long a client keeps a connection to PostgreSQL.",
    )
    .default("\"transaction\"")
    .alias(&["pool_mode"]),
    Key::new(
        "pool",
        Integer { min: 1, max: 9_000 },
        "Connections to each PostgreSQL server. Default: 20, fewer if max_connections leaves fewer.",
    )
    .alias(&["size", "pool_size", "default_pool_size"]),
    Key::new(
        "max_clients",
        Integer {
            min: 1,
            max: 1_000_000,
        },
        "Connections of the app at once; one more is refused (53300).",
    )
    .default("1000")
    .alias(&["max_client_conn", "clients"]),
    Key::new(
        "wait",
        Duration { min: 1, max: HOUR },
        "How long a statement waits for a connection before it is refused (53300).",
    )
    .default("\"10s\"")
    .alias(&["query_wait_timeout", "pool_wait", "timeout"]),
    Key::new(
        "grace",
        Duration {
            min: 1,
            max: 60 * SECOND,
        },
        "How long open transactions may run on when the primary is to change.",
    )
    .default("\"5s\""),
    Key::new(
        "hold",
        Duration {
            min: SECOND,
            max: 300 * SECOND,
        },
        "How long statements wait at most while there is no primary.",
    )
    .default("\"15s\"")
    .alias(&["hold_limit"]),
    Key::new(
        "measure",
        Boolean,
        "Statements are counted and timed by their shape: `banyan database queries`.",
    )
    .default("true")
    .alias(&["stats", "statistics"]),
    Key::new(
        "slow_query",
        Duration { min: 1, max: HOUR },
        "A statement that PostgreSQL needs longer for is written to the log, without its values.",
    )
    .default("\"500ms\"")
    .alias(&["slow", "log_min_duration_statement", "slow_query_log"]),
    Key::new(
        "admins",
        List(&Text(NotEmpty)),
        "Roles of PostgreSQL that may do everything on the proxy's console, beside those PostgreSQL itself lets.",
    )
    .alias(&["admin_users", "stats_users"]),
];

pub(super) static DATABASE: &[Key] = &[
    Key::new(
        "url",
        Text(Template),
        "Your own PostgreSQL: Banyan starts and stops none. Excludes the other keys but pgproxy.",
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
        "dir",
        Text(Path),
        "Folder of the data, best on a disk of its own. Relative: to banyan.toml. Default: .banyan/data.",
    )
    .alias(&["path", "data", "data_dir", "data_directory", "folder"]),
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
        "replicas",
        Integer { min: 0, max: 8 },
        "Copies that follow the primary.",
    )
    .default("0")
    .alias(&["replica", "standbys", "slaves"]),
    Key::new(
        "durability",
        OneOf(&["async", "sync"]),
        "`sync`: a write is acknowledged when a replica has it on its disk, too.",
    )
    .default("\"async\"")
    .alias(&["replication", "synchronous"]),
    Key::new(
        "reads",
        Text(Reads),
        "When a replica may answer reads: fresh, session, bounded:500ms, primary. Default: fresh if there are replicas.",
    )
    .alias(&["read"]),
    Key::new(
        "pgproxy",
        Table(PGPROXY),
        "What stands between the app and PostgreSQL.",
    )
    .alias(&["proxy", "pool", "pooler", "pgbouncer"]),
    Key::new(
        "backup",
        Table(BACKUP),
        "Backups by pgBackRest, and the log between them: any moment can be restored.",
    )
    .alias(&["backups", "pgbackrest", "archive"]),
    Key::new(
        "settings",
        Map(Setting, &Scalar),
        "For postgresql.conf; they win over what Banyan tunes.",
    )
    .alias(&["parameters", "config", "conf"]),
];
