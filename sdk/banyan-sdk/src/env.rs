//! What the environment says; nothing else reads it.

use std::env::VarError;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use tracing_subscriber::EnvFilter;

use crate::session::Lifetimes;

const DEFAULT_PORT: u16 = 3000;
const DEFAULT_POOL: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");

/// What an app behind Banyan is told. An empty variable is as good as none.
#[derive(Clone, Debug)]
pub struct Settings {
    /// HOST (default 127.0.0.1) and PORT (default 3000; 0: any free one).
    pub listen: SocketAddr,
    /// BANYAN_APP, the app's name; default "app". PostgreSQL shows it for each connection.
    pub app: String,
    /// BANYAN_INSTANCE, for example `web.1@r3`; default "web".
    pub instance: String,
    /// BANYAN_DATA_DIR, a folder that instances of one machine share; default `data`.
    pub data_dir: PathBuf,
    /// INSTANCES: how many processes share the rate limits while Redis is away; default 1.
    pub instances: NonZeroU32,
    /// DATABASE_POOL: connections at most; default 10.
    pub connections: NonZeroU32,
    /// How long sessions last; the app's own choice, not the environment's.
    pub sessions: Lifetimes,
    /// DATABASE_URL, the one that must be there.
    pub(crate) database: PgConnectOptions,
    /// REDIS_URL: sessions, limits, one-time codes.
    pub(crate) redis: Option<Address>,
    /// REDIS_CACHE_URL.
    pub(crate) cache: Option<Address>,
}

/// Holds a password: never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) String);

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Address(***)")
    }
}

#[derive(thiserror::Error)]
pub enum EnvError {
    #[error("{0} is not set; example: {0}={1}")]
    Missing(&'static str, &'static str),
    #[error("{0} is not text")]
    NotText(&'static str),
    #[error("{name}={value} is not {wanted}")]
    Bad {
        name: &'static str,
        value: String,
        wanted: &'static str,
    },
    // The value holds a password: it is not shown.
    #[error("DATABASE_URL is not a PostgreSQL address: {0}")]
    DatabaseUrl(sqlx::Error),
    #[error(
        "{0} is not redis://, rediss:// or redis+sentinel:// (the SDK does not speak to a Cluster, nor to Sentinels by TLS)"
    )]
    RedisUrl(&'static str),
}

speaks_plainly!(EnvError);

type Text = Result<Option<String>, EnvError>;

impl Settings {
    pub fn from_env() -> Result<Self, EnvError> {
        Self::read(variable)
    }

    fn read(text: impl Fn(&'static str) -> Text) -> Result<Self, EnvError> {
        let host = parsed(&text, "HOST", "an IP address")?.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let port = parsed(&text, "PORT", "a port from 0 to 65535")?.unwrap_or(DEFAULT_PORT);
        let app = text("BANYAN_APP")?.unwrap_or_else(|| "app".to_owned());
        Ok(Self {
            listen: SocketAddr::new(host, port),
            instance: text("BANYAN_INSTANCE")?.unwrap_or_else(|| "web".to_owned()),
            data_dir: text("BANYAN_DATA_DIR")?.map_or_else(|| PathBuf::from("data"), PathBuf::from),
            instances: parsed(&text, "INSTANCES", "a number above 0")?.unwrap_or(NonZeroU32::MIN),
            connections: parsed(&text, "DATABASE_POOL", "a number above 0")?.unwrap_or(DEFAULT_POOL),
            database: database(&text)?.application_name(&app),
            sessions: Lifetimes::default(),
            redis: redis(&text, "REDIS_URL")?,
            cache: redis(&text, "REDIS_CACHE_URL")?,
            app,
        })
    }

    #[cfg(test)]
    pub(crate) fn for_database(database: PgConnectOptions) -> Self {
        let url = "postgres://nobody@127.0.0.1/none".to_owned();
        let settings = Self::read(|name| Ok((name == "DATABASE_URL").then(|| url.clone())));
        Self {
            database,
            ..settings.expect("these are right")
        }
    }

    /// DATABASE_URL, for a pool of the app's own.
    pub fn database(&self) -> &PgConnectOptions {
        &self.database
    }
}

/// RUST_LOG, or what an operator wants to see.
pub(crate) fn log_filter() -> EnvFilter {
    let quiet = || EnvFilter::new("info,sqlx::query=warn,tower_sessions_core=error");
    match variable("RUST_LOG") {
        Ok(Some(filter)) => EnvFilter::try_new(filter).unwrap_or_else(|_| quiet()),
        _ => quiet(),
    }
}

fn database(text: &impl Fn(&'static str) -> Text) -> Result<PgConnectOptions, EnvError> {
    let example = "postgres://shop:password@127.0.0.1:5432/shop";
    let url = text("DATABASE_URL")?.ok_or(EnvError::Missing("DATABASE_URL", example))?;
    PgConnectOptions::from_str(&url).map_err(EnvError::DatabaseUrl)
}

const SCHEMES: [&str; 3] = ["redis://", "rediss://", "redis+sentinel://"];

fn redis(text: &impl Fn(&'static str) -> Text, name: &'static str) -> Result<Option<Address>, EnvError> {
    match text(name)? {
        None => Ok(None),
        Some(url) if SCHEMES.iter().any(|scheme| url.starts_with(scheme)) => Ok(Some(Address(url))),
        Some(_) => Err(EnvError::RedisUrl(name)),
    }
}

fn parsed<T: FromStr>(
    text: &impl Fn(&'static str) -> Text,
    name: &'static str,
    wanted: &'static str,
) -> Result<Option<T>, EnvError> {
    let Some(value) = text(name)? else { return Ok(None) };
    match value.parse() {
        Ok(parsed) => Ok(Some(parsed)),
        Err(_) => Err(EnvError::Bad { name, value, wanted }),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
pub(crate) fn variable(name: &'static str) -> Text {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(EnvError::NotText(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, EnvError> {
        Settings::read(|name| {
            let value = variables.iter().find(|(known, _)| *known == name);
            Ok(value.map(|(_, value)| (*value).to_owned()))
        })
    }

    const DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://u:secret@db.example:6432/shop");

    #[test]
    fn an_app_needs_a_database_and_nothing_else() {
        let settings = read(&[DATABASE]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:3000");
        assert_eq!(settings.connections, DEFAULT_POOL);
        assert_eq!((settings.redis, settings.cache), (None, None));
        assert_eq!(
            read(&[]).unwrap_err().to_string(),
            "DATABASE_URL is not set; example: DATABASE_URL=postgres://shop:password@127.0.0.1:5432/shop"
        );
    }

    #[test]
    fn what_is_wrong_is_named_and_passwords_are_not_shown() {
        let wrong = |name, value| read(&[DATABASE, (name, value)]).unwrap_err().to_string();
        assert_eq!(wrong("PORT", "http"), "PORT=http is not a port from 0 to 65535");
        assert_eq!(
            wrong("DATABASE_POOL", "0"),
            "DATABASE_POOL=0 is not a number above 0"
        );
        let cluster = wrong("REDIS_URL", "redis+cluster://u:secret@host");
        assert!(cluster.starts_with("REDIS_URL is not redis://") && !cluster.contains("secret"));
        for url in [
            "redis://u:secret@host",
            "redis+sentinel://u:secret@host,other/main",
        ] {
            let settings = read(&[DATABASE, ("REDIS_URL", url)]).unwrap();
            assert!(!format!("{:?}", settings.redis).contains("secret"));
        }
    }
}
