//! `[sessions]` and `[cache]`: the user's own Redis by `url`, or one that Banyan runs.

mod setting;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::database::{filled, who_has};
use crate::model::{Database, EdgeTable};
use crate::read::{Reader, Spot};
use crate::redis_url::{RedisAddress, RedisUrlError};
use crate::report::Report;
use crate::scope::{Scope, Use};
use crate::secrets::Secrets;
use crate::template::{RenderError, Template};
use crate::tree::{Entry, Value};

pub use setting::RedisSetting;
pub(crate) use setting::check as check_setting;

/// What a Redis is there for; each has one of its own, since what may be lost differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Sessions, limits, queues: nothing is thrown away, and it outlives a restart.
    Sessions,
    /// Copies of what the database has: anything may go at any time.
    Cache,
}

impl Purpose {
    pub const ALL: [Self; 2] = [Self::Sessions, Self::Cache];

    /// Its table in banyan.toml, and its child.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Cache => "cache",
        }
    }

    /// The environment variable that leads the app there.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Sessions => "REDIS_URL",
            Self::Cache => "REDIS_CACHE_URL",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Redis {
    External(ExternalRedis),
    Managed(ManagedRedis),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExternalRedis {
    /// Holds secrets as placeholders only, or a warning was given.
    pub url: Template,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ManagedRedis {
    /// `None`: a free one, kept from then on.
    pub port: Option<u16>,
    /// Default 256 MiB.
    pub memory_bytes: u64,
    pub eviction: Eviction,
    /// The user's own settings for redis.conf; they win over ours.
    pub settings: BTreeMap<String, String>,
}

/// What goes when the memory is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Eviction {
    /// Nothing: writes are refused.
    None,
    /// What is used least often.
    Lfu,
    /// What was not used for longest.
    Lru,
    /// What expires first: with one lifetime for all, what was written first.
    Fifo,
}

impl Eviction {
    /// As written in banyan.toml.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lfu => "lfu",
            Self::Lru => "lru",
            Self::Fifo => "fifo",
        }
    }

    /// As Redis has it: <https://redis.io/docs/latest/develop/reference/eviction/>.
    pub fn policy(self) -> &'static str {
        match self {
            Self::None => "noeviction",
            Self::Lfu => "allkeys-lfu",
            Self::Lru => "allkeys-lru",
            Self::Fifo => "volatile-ttl",
        }
    }
}

/// The tables that are written, before they are read: whether each is one server.
pub(crate) fn written(root: &Reader<'_>) -> BTreeMap<Purpose, bool> {
    let tables = Purpose::ALL
        .into_iter()
        .filter(|purpose| root.has(purpose.name()));
    tables
        .map(|purpose| {
            let url = root.table(purpose.name()).text("url");
            let several = |url: &str| {
                ["+sentinel://", "+cluster://"]
                    .iter()
                    .any(|kind| url.contains(kind))
            };
            (purpose, !url.is_some_and(|url| several(&url.value)))
        })
        .collect()
}

pub(crate) fn build(
    root: &Reader<'_>,
    edge: Option<&EdgeTable>,
    database: Option<&Database>,
    scope: &Scope<'_>,
) -> BTreeMap<Purpose, Redis> {
    let mut found = BTreeMap::new();
    for purpose in Purpose::ALL {
        if !root.has(purpose.name()) {
            continue;
        }
        let table = root.table(purpose.name());
        if let Some(url) = table.text("url") {
            found.insert(purpose, Redis::External(external(&table, purpose, &url, scope)));
            continue;
        }
        let redis = managed(&table, purpose, scope.report);
        if let (Some(port), Some(written)) = (redis.port, table.integer("port"))
            && let Some(who) = holder(port, edge, database, &found)
        {
            let help = "write another port, or remove the line: Banyan finds a free one";
            scope
                .report
                .error(&written.place, format!("port {port} is taken: {who}"), &[help]);
        }
        found.insert(purpose, Redis::Managed(redis));
    }
    found
}

/// Who else is to have this port.
fn holder(
    port: u16,
    edge: Option<&EdgeTable>,
    database: Option<&Database>,
    others: &BTreeMap<Purpose, Redis>,
) -> Option<String> {
    if let Some(who) = edge.and_then(|edge| who_has(edge, port.into())) {
        return Some(who.to_owned());
    }
    let (server, proxy) = match database {
        Some(Database::Managed(table)) => (table.port, table.pgproxy.port),
        Some(Database::External(table)) => (None, table.pgproxy.port),
        None => (None, None),
    };
    if server == Some(port) {
        return Some("it is PostgreSQL's (database.port)".to_owned());
    }
    if proxy == Some(port) {
        return Some("it is the PostgreSQL proxy's (database.pgproxy.port)".to_owned());
    }
    let same = |redis: &Redis| matches!(redis, Redis::Managed(managed) if managed.port == Some(port));
    let other = others.iter().find(|(_, redis)| same(redis));
    other.map(|(purpose, _)| format!("it is the other Redis's ({purpose}.port)"))
}

fn managed(table: &Reader<'_>, purpose: Purpose, report: &Report) -> ManagedRedis {
    let port = table.integer("port");
    let eviction = match purpose {
        Purpose::Sessions => Eviction::None,
        Purpose::Cache => match table.text_or_default("eviction").as_str() {
            "lru" => Eviction::Lru,
            "fifo" => Eviction::Fifo,
            _ => Eviction::Lfu,
        },
    };
    ManagedRedis {
        port: port.and_then(|port| u16::try_from(port.value).ok()),
        memory_bytes: table.bytes("memory"),
        eviction,
        settings: settings(table, report),
    }
}

fn settings(table: &Reader<'_>, report: &Report) -> BTreeMap<String, String> {
    let text = |entry: &Entry| {
        let value = match &entry.node.value {
            Value::Text(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.clone(),
            Value::Boolean(true) => "yes".to_owned(),
            Value::Boolean(false) => "no".to_owned(),
            _ => return None,
        };
        if value.contains(['\n', '\r', '\0', '"', '\'', '\\']) {
            report.error(
                &entry.node.place,
                format!("`{}` has a quote, a backslash or a line break", entry.name),
                &["no setting of Redis needs one: write the bare value"],
            );
        }
        Some((entry.name.clone(), value))
    };
    table.map("settings").0.iter().filter_map(text).collect()
}

fn external(table: &Reader<'_>, purpose: Purpose, url: &Spot<String>, scope: &Scope<'_>) -> ExternalRedis {
    let own = ["port", "memory", "settings"].into_iter();
    for key in own.chain((purpose == Purpose::Cache).then_some("eviction")) {
        if let Some(entry) = table.entry(key) {
            let message = format!("`{key}` has no effect: `url` names a Redis that Banyan does not run");
            let help = "remove this line, or remove `url` to let Banyan run Redis";
            scope.report.error(&entry.place, message, &[help]);
        }
    }
    let before = scope.report.has_errors();
    let external = ExternalRedis {
        url: scope.template(url, Use::RedisUrl),
    };
    let Some(secrets) = &scope.secrets else {
        return external;
    };
    match external.address(secrets) {
        Ok(address) if !address.password.is_empty() && external.url.placeholders().next().is_none() => {
            let help = "write {{secret.REDIS_PASSWORD}} in its place, and the password in the secrets file";
            let message = "the password is readable for all who can read this file";
            scope.report.hidden_warning(&url.place, message, &[help]);
        }
        Ok(_) => {}
        Err(ExternalRedisError::Url(error)) => scope.report.hidden_error(
            &url.place,
            format!("`url` is not the address of a Redis: {error}"),
            &[&format!(
                "write url = \"redis://default:{{{{secret.REDIS_PASSWORD}}}}@host:6379/0\"; rediss:// for TLS, \
                 redis+sentinel://…@host:26379,host:26379/{purpose} for Sentinel, redis+cluster://…@host,host for Cluster"
            )],
        ),
        // A placeholder without value has been reported where it stands.
        Err(ExternalRedisError::Render(_)) => debug_assert!(before || scope.report.has_errors()),
    }
    external
}

/// Why a `url` leads to no Redis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExternalRedisError {
    #[error("failed to fill in the `url`")]
    Render(#[from] RenderError),
    #[error("the `url` is not the address of a Redis")]
    Url(#[from] RedisUrlError),
}

impl ExternalRedis {
    /// Fills in the secrets.
    pub fn address(&self, secrets: &Secrets) -> Result<RedisAddress, ExternalRedisError> {
        let url = filled(&self.url, secrets)?;
        Ok(RedisAddress::parse(&url)?)
    }
}
