//! One thing that holds what an app needs: made from the environment, handed to its handlers, served.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cache::{self, Cached};
use crate::env::{self, EnvError, Settings};
use crate::serve::{Drain, Readiness};
use crate::session::Pace;
use crate::state::State;
use crate::{Cache, Counter, Database, Limiter, Sessions};

/// Two calls in a row that take longer, and a Redis is not asked until a probe is quicker.
const SLOW: Duration = Duration::from_millis(50);

#[derive(thiserror::Error)]
pub enum InitError {
    #[error(transparent)]
    Environment(#[from] EnvError),
    #[error("REDIS_CACHE_URL: {0}")]
    Cache(#[from] cache::OpenError),
    #[error("REDIS_URL: {0}")]
    Redis(redis::RedisError),
}

speaks_plainly!(InitError);

/// Database, cache, limits, health and drain of this process. A cheap clone; state of an axum app.
#[derive(Clone)]
pub struct Banyan {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    database: Database,
    cache: Cache,
    state: Option<State>,
    limiter: Limiter,
    sessions: Sessions,
    readiness: Readiness,
    drain: Drain,
}

/// Reads the environment ([`Settings`]) and writes the log to stderr (RUST_LOG) unless the app has one of its own. Connects
/// to nothing yet: a database or a Redis that is away is no error.
pub async fn init() -> Result<Banyan, InitError> {
    // Fails if the app has set one up: that one is meant.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(env::log_filter())
        .with_ansi(false)
        .try_init()
        .ok();
    Banyan::with(Settings::from_env()?).await
}

impl Banyan {
    /// As [`init`], with settings that the app has changed. `async` because a pool needs the runtime it will run in.
    #[expect(clippy::unused_async, reason = "a caller without a runtime does not compile")]
    pub async fn with(settings: Settings) -> Result<Self, InitError> {
        let beside = cache::Settings::beside(settings.connections);
        let cache = match &settings.cache {
            Some(address) => Cache::open(&address.0, beside)?,
            None => Cache::without_redis(beside),
        };
        let state = settings
            .redis
            .as_ref()
            .map(|address| State::open(&address.0, SLOW));
        let state = state.transpose().map_err(InitError::Redis)?;
        let database = Database::lazy(settings.database.clone(), settings.connections.get());
        let inner = Inner {
            limiter: Limiter::over(state.clone(), settings.instances),
            sessions: Sessions::new(
                database.clone(),
                state.clone(),
                settings.sessions,
                Pace::default(),
            ),
            database,
            cache,
            state,
            readiness: Readiness::default(),
            drain: Drain::default(),
            settings,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    pub fn db(&self) -> &Database {
        &self.inner.database
    }

    /// Entries of one kind: see [`Cache::of`]. Without REDIS_CACHE_URL each read is a load.
    pub fn cache<T: Serialize + DeserializeOwned>(&self, kind: &'static str) -> Cached<T> {
        self.inner.cache.of(kind)
    }

    /// For tags and numbers.
    pub fn caches(&self) -> &Cache {
        &self.inner.cache
    }

    /// Increments that are added up in Redis and written some seconds later ([`crate::Counter`]); without REDIS_URL at once.
    /// `statement` takes keys as `$1 text[]` and amounts as `$2 bigint[]`, and must not fail for any key:
    /// `update post set views = views + by from unnest($1::text[], $2::bigint[]) as n (key, by) where id::text = key`.
    /// One per name and process; `name` stays the same for ever.
    pub fn counter(&self, name: &'static str, statement: &'static str) -> Counter {
        let inner = &self.inner;
        Counter::new(inner.database.clone(), inner.state.clone(), name, statement)
    }

    /// Without REDIS_URL each process counts alone.
    pub fn limiter(&self) -> &Limiter {
        &self.inner.limiter
    }

    /// Their layer gives handlers a [`crate::session::Session`]: `.layer(banyan.sessions().layer())`.
    pub fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    /// `/readyz` says no until `prepare` has succeeded once; it is tried again each half second. For migrations that must fit,
    /// and for what the first requests would else wait for.
    #[must_use]
    pub fn before_ready<Fut, E>(self, prepare: impl Fn() -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        self.inner.readiness.add(prepare);
        self
    }

    pub(crate) fn readiness(&self) -> &Readiness {
        &self.inner.readiness
    }

    pub(crate) fn drain(&self) -> &Drain {
        &self.inner.drain
    }
}

impl fmt::Debug for Banyan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Banyan")
            .field("settings", &self.inner.settings)
            .finish()
    }
}
