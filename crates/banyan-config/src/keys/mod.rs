//! The one declaration of every key: its type, range, default and meaning.
//!
//! The checks, the defaults, the nearest-key help, the JSON schema and the test of default.toml all read it.

mod alerts;
mod app;
mod auth;
mod balance;
mod cache;
mod database;
mod edge;
mod filters;
mod limits;
mod listeners;
mod logs;
mod metrics;
mod observe;
mod origins;
mod places;
mod process;
mod redis;
mod root;
mod routes;
mod scale;

pub(crate) use cache::IMAGE;
pub(crate) use filters::{COMPRESS_KEYS, WAF_KEYS};
pub(crate) use root::ROOT;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// One sentence or two, for the schema.
    pub(crate) doc: &'static str,
    pub(crate) kind: Kind,
    /// As it would be written in banyan.toml.
    pub(crate) default: Option<&'static str>,
    pub(crate) required: bool,
    /// What other tools call it.
    pub(crate) alias: &'static [&'static str],
}

pub(crate) enum Kind {
    Text(Rule),
    Boolean,
    Integer {
        min: i64,
        max: i64,
    },
    /// In milliseconds.
    Duration {
        min: u64,
        max: u64,
    },
    Bytes {
        min: u64,
        max: u64,
    },
    /// A number from 0 to 1.
    Fraction,
    OneOf(&'static [&'static str]),
    List(&'static Kind),
    Table(&'static [Key]),
    /// A table, or only the text of its one required key.
    Short(&'static [Key]),
    /// One of these words, a table, or a list of tables.
    WordOrTables(&'static [&'static str], &'static [Key]),
    /// `true`, `false` or a table.
    Switch(&'static [Key]),
    /// A table whose keys the user chooses.
    Map(Rule, &'static Kind),
    /// Text, number or boolean: a setting of another program.
    Scalar,
}

/// What a text (or a chosen key) must look like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    NotEmpty,
    /// Of an app, process or host.
    Name,
    /// Of an environment variable that Banyan does not set itself.
    Variable,
    /// Of a PostgreSQL database and role.
    Identifier,
    /// When replicas may answer reads.
    Reads,
    /// Of a PostgreSQL setting that is the user's to set.
    Setting,
    /// Of a setting of Redis that is the user's to choose.
    RedisSetting,
    /// `03:00`
    TimeOfDay,
    /// Begins with `/`.
    UrlPath,
    /// A file or folder; relative or absolute.
    Path,
    /// An IP address, or a network as 10.0.0.0/8.
    Network,
    /// Address and port.
    SocketAddress,
    /// A header of nobody else's: begins with `X-`.
    ExtensionHeader,
    /// Requests per time: `100/1s`.
    Rate,
    /// Name of a cookie.
    Cookie,
    /// Of an HTTP header.
    HeaderName,
    /// A DNS name, perhaps with `*.` in front.
    Domain,
    /// Any text, with placeholders; what they are is checked where the value is used.
    Template,
    /// Words for a program, with placeholders; checked where it is used.
    Command,
}

impl Key {
    const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            name,
            doc,
            kind,
            default: None,
            required: false,
            alias: &[],
        }
    }

    const fn default(mut self, literal: &'static str) -> Self {
        self.default = Some(literal);
        self
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn alias(mut self, alias: &'static [&'static str]) -> Self {
        self.alias = alias;
        self
    }
}

/// Variables that tell an instance who and where it is.
pub(crate) const SET_BY_BANYAN: [&str; 6] = [
    "PORT",
    "BANYAN_APP",
    "BANYAN_PROCESS",
    "BANYAN_INSTANCE",
    "BANYAN_RELEASE",
    "BANYAN_DATA_DIR",
];

/// Variables that Banyan sets unless banyan.toml sets them.
pub(crate) const SET_UNLESS_GIVEN: [&str; 5] = ["HOST", "PATH", "HOME", "LANG", "TZ"];

/// PostgreSQL settings that Banyan depends on, and what to use instead.
pub(crate) const RESERVED_SETTINGS: [(&str, &str); 17] = [
    ("port", "write `port` in [database]"),
    ("max_connections", "write `max_connections` in [database]"),
    (
        "shared_buffers",
        "write `memory` in [database]: a quarter of it becomes shared_buffers",
    ),
    ("listen_addresses", "Banyan keeps the database on 127.0.0.1"),
    (
        "data_directory",
        "the data is in the state folder, under data/postgres",
    ),
    ("config_file", "Banyan writes the configuration file"),
    ("hba_file", "Banyan writes pg_hba.conf: passwords only, no trust"),
    (
        "ident_file",
        "Banyan writes pg_hba.conf: passwords only, no trust",
    ),
    ("unix_socket_directories", "Banyan connects by TCP on 127.0.0.1"),
    (
        "synchronous_standby_names",
        "write `durability = \"sync\"` in [database]",
    ),
    ("primary_conninfo", "write `replicas` in [database]"),
    ("primary_slot_name", "write `replicas` in [database]"),
    ("cluster_name", "Banyan names the servers: db1, db2 …"),
    (
        "restart_after_crash",
        "Banyan restarts the server, or promotes a replica",
    ),
    ("hot_standby", "replicas always answer reads"),
    ("external_pid_file", "Banyan watches the server by its own means"),
    (
        "password_encryption",
        "passwords are always stored as scram-sha-256",
    ),
];

/// Every table by its path, the root's first: `""`, `app`, `process.NAME`, `process.NAME.ready`, …
pub(crate) fn tables() -> Vec<(String, &'static [Key])> {
    let mut found = vec![(String::new(), ROOT)];
    let mut next = 0;
    while let Some((path, keys)) = found.get(next).cloned() {
        for key in keys {
            let path = if path.is_empty() {
                key.name.to_owned()
            } else {
                format!("{path}.{}", key.name)
            };
            match &key.kind {
                Kind::Table(keys)
                | Kind::Short(keys)
                | Kind::WordOrTables(_, keys)
                | Kind::Switch(keys)
                | Kind::List(Kind::Table(keys)) => found.push((path, keys)),
                Kind::Map(_, Kind::Table(keys)) => found.push((format!("{path}.NAME"), keys)),
                _ => {}
            }
        }
        next += 1;
    }
    found
}
