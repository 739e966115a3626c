//! What the environment says: the SDK's part, and what is this app's own.

use std::env::VarError;

use sqlx::postgres::PgConnectOptions;
use tracing_subscriber::EnvFilter;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// In its data folder are uploads and, without TOKEN_KEYS, the keys that sign tokens: all instances must share it.
    pub(crate) sdk: banyan_sdk::Settings,
    /// REDIS_CACHE_URL is there.
    pub(crate) has_cache: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("{0} is not text")]
    NotText(&'static str),
    #[error(transparent)]
    Sdk(#[from] banyan_sdk::EnvError),
}

impl Settings {
    pub(crate) fn from_env() -> Result<Self, SettingsError> {
        Ok(Self {
            sdk: banyan_sdk::Settings::from_env()?,
            has_cache: text("REDIS_CACHE_URL")?.is_some(),
        })
    }

    /// For what needs a connection of its own.
    pub(crate) fn database(&self) -> &PgConnectOptions {
        self.sdk.database()
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
