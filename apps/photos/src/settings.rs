//! What the environment says; nothing else reads it.

use std::env::VarError;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use tracing_subscriber::EnvFilter;

const DEFAULT_PORT: u16 = 3000;
const DEFAULT_POOL: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) database: Database,
    /// Uploads and, without SECRET_KEY, the signing key: all instances must share it.
    pub(crate) data_dir: PathBuf,
    pub(crate) secret_key: Option<Secret>,
    /// Shown in `X-Served-By`.
    pub(crate) instance: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) options: PgConnectOptions,
    pub(crate) pool: NonZeroU32,
}

/// Never printed.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
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
    #[error("SECRET_KEY is shorter than 32 characters; make one with: openssl rand -hex 32")]
    ShortSecret,
}

impl Settings {
    pub(crate) fn from_env() -> Result<Self, SettingsError> {
        let host = parsed("HOST", "an IP address")?.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let port = parsed("PORT", "a port from 0 to 65535")?.unwrap_or(DEFAULT_PORT);
        let secret_key = text("SECRET_KEY")?;
        if secret_key.as_ref().is_some_and(|key| key.len() < 32) {
            return Err(SettingsError::ShortSecret);
        }
        Ok(Self {
            listen: SocketAddr::new(host, port),
            database: database()?,
            data_dir: text("BANYAN_DATA_DIR")?.map_or_else(|| PathBuf::from("data"), PathBuf::from),
            secret_key: secret_key.map(Secret),
            instance: text("BANYAN_INSTANCE")?.unwrap_or_else(|| "web".to_owned()),
        })
    }
}

/// RUST_LOG, or what an operator wants to see.
pub(crate) fn log_filter() -> EnvFilter {
    let quiet = || EnvFilter::new("info,sqlx::query=warn");
    match text("RUST_LOG") {
        Ok(Some(filter)) => EnvFilter::try_new(filter).unwrap_or_else(|_| quiet()),
        _ => quiet(),
    }
}

fn database() -> Result<Database, SettingsError> {
    let example = "postgres://photos:password@127.0.0.1:5432/photos";
    let url = text("DATABASE_URL")?.ok_or(SettingsError::Missing("DATABASE_URL", example))?;
    let options = PgConnectOptions::from_str(&url).map_err(SettingsError::DatabaseUrl)?;
    Ok(Database {
        options: options.application_name("photos"),
        pool: parsed("DATABASE_POOL", "a number above 0")?.unwrap_or(DEFAULT_POOL),
    })
}

fn parsed<T: FromStr>(name: &'static str, wanted: &'static str) -> Result<Option<T>, SettingsError> {
    let Some(value) = text(name)? else { return Ok(None) };
    match value.parse() {
        Ok(parsed) => Ok(Some(parsed)),
        Err(_) => Err(SettingsError::Bad { name, value, wanted }),
    }
}

/// An empty variable is as good as none.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn text(name: &'static str) -> Result<Option<String>, SettingsError> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(SettingsError::NotText(name)),
    }
}
