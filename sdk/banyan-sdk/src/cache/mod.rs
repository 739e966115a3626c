//! A cache that is never wrong for long: Redis in front of PostgreSQL, by leases, invalidations in the transaction and replay.
//!
//! - **P1**: at rest no entry holds what the database no longer holds, whatever died meanwhile.
//! - **P2**: a read that begins after [`crate::Tx::commit`] returned is not older than that write. While Redis fails over or is cut
//!   off, P2 is kept by who notices (its reads go to the database) and can be missed by others for about two seconds.
//!
//! A loader's statement must read the primary; behind Banyan's proxy say so with [`PRIMARY`], or let a replica answer that
//! has all that was committed when the statement came ([`REPLICA`]). It must not run in a transaction that began earlier.
//!
//! Without Redis every read is a load, [`Settings::direct_loads`] at once; nothing fails but what waits too long for its turn.

mod direct;
mod flight;
mod read;
mod replay;
mod stats;
mod store;

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::read::CacheError;
pub use self::replay::{Applied, ReplayError};
pub use self::stats::Stats;

use self::direct::DirectLoads;
use self::flight::Flights;
use self::store::Store;
use crate::Tx;

/// At the head of a loader's statement: the primary answers.
pub const PRIMARY: &str = "/* banyan: fresh=primary */";
/// At the head of a loader's statement: a replica may answer that has all that was committed when the statement came.
pub const REPLICA: &str = "/* banyan: fresh=index */";

/// Of one process and one Redis.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Two calls in a row that take longer, and Redis is not asked until a probe is quicker. Default 50 ms.
    pub slow: Duration,
    /// Loads at once, in this process, while Redis is away. Default 16.
    pub direct_loads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            slow: Duration::from_millis(50),
            direct_loads: 16,
        }
    }
}

/// The address of Redis could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the address of the cache cannot be used; example: redis://user:password@127.0.0.1:6379: {0}")]
pub struct OpenError(#[from] redis::RedisError);

/// One Redis. A cheap clone.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    flights: Flights,
    direct: DirectLoads,
}

impl Cache {
    /// Connects when first used: no error while Redis is away.
    pub fn open(url: &str, settings: Settings) -> Result<Self, OpenError> {
        Ok(Self::over(Store::open(url, settings.slow)?, settings))
    }

    /// For an app that has none (yet): each read is a load, at most `settings.direct_loads` at once. Writers insert their rows all
    /// the same, because other instances of the app may have one: while it is added to a running system they do.
    pub fn without_redis(settings: Settings) -> Self {
        Self::over(Store::without_redis(), settings)
    }

    fn over(store: Store, settings: Settings) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                flights: Flights::default(),
                direct: DirectLoads::new(settings.direct_loads),
            }),
        }
    }

    /// Entries of one kind; `kind` is the head of their keys and stays the same for ever, or old entries are not found.
    pub fn of<T>(&self, kind: &'static str) -> Cached<T> {
        Cached {
            cache: self.clone(),
            kind,
            lifetimes: Lifetimes::default(),
            value: PhantomData,
        }
    }

    /// All entries with this tag are forgotten when `tx` commits, and never found again.
    pub async fn invalidate_tag(&self, tx: &mut Tx, tag: impl Display) -> Result<(), sqlx::Error> {
        self.mark(tx, Kind::Tag, tag_key(&tag)).await
    }

    /// Connects and loads the scripts, so that the first requests do not.
    pub async fn warm_up(&self) -> Result<(), redis::RedisError> {
        self.inner.store.warm_up().await
    }

    /// There is a Redis, and the last calls were answered in time. For who would rather ask the database in another way than
    /// load many entries one by one.
    pub fn answers(&self) -> bool {
        self.inner.store.answers()
    }

    pub fn stats(&self) -> Stats {
        self.inner.store.counters.now()
    }

    #[cfg(test)]
    pub(crate) fn manager(&self) -> redis::aio::ConnectionManager {
        self.inner.store.manager().expect("the tests have a Redis")
    }

    async fn mark(&self, tx: &mut Tx, kind: Kind, key: String) -> Result<(), sqlx::Error> {
        sqlx::query("insert into banyan.invalidation (kind, key) values ($1, $2)")
            .bind(kind.name())
            .bind(&key)
            .execute(&mut **tx)
            .await?;
        tx.remember(Mark {
            cache: self.clone(),
            kind,
            key,
        });
        Ok(())
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("stats", &self.stats()).finish()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Key,
    Tag,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Tag => "tag",
        }
    }
}

fn tag_key(tag: &impl Display) -> String {
    format!("tag:{tag}")
}

/// What a transaction's commit tells the cache.
#[derive(Debug)]
pub(crate) struct Mark {
    cache: Cache,
    kind: Kind,
    key: String,
}

impl Mark {
    /// A tag without a nonce gets a new one from its next reader: both kinds are a deletion.
    pub(crate) async fn apply(self) {
        tracing::trace!(kind = self.kind.name(), key = self.key, "invalidated");
        self.cache.inner.store.invalidate(&self.key).await;
    }
}

#[derive(Clone, Copy, Debug)]
struct Lifetimes {
    ttl: Duration,
    negative: Duration,
    lease: Duration,
    loader: Duration,
    stale_if_error: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(3600),
            negative: Duration::from_secs(30),
            lease: Duration::from_secs(10),
            loader: Duration::from_secs(5),
            stale_if_error: Duration::from_secs(600),
        }
    }
}

/// Entries of one kind, values as JSON. A cheap clone.
pub struct Cached<T> {
    cache: Cache,
    kind: &'static str,
    lifetimes: Lifetimes,
    value: PhantomData<fn() -> T>,
}

impl<T> Clone for Cached<T> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            ..*self
        }
    }
}

impl<T> fmt::Debug for Cached<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").field("kind", &self.kind).finish()
    }
}

impl<T: Serialize + DeserializeOwned> Cached<T> {
    /// How long a value is used, give or take a tenth. Default 1 h. From 80 % of it on (and by chance a little earlier) one
    /// reader loads anew while the others have the old value: past its time, never past an invalidation.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.lifetimes.ttl = ttl;
        self
    }

    /// How long "there is none" is used. Default 30 s.
    #[must_use]
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.lifetimes.negative = ttl;
        self
    }

    /// How long a load may take; then [`CacheError::TimedOut`]. Default 5 s. A lease lasts twice as long.
    #[must_use]
    pub fn loader_limit(mut self, limit: Duration) -> Self {
        self.lifetimes.loader = limit;
        self.lifetimes.lease = limit * 2;
        self
    }

    /// For how long after its time a value still answers if the load fails. Default 10 min; zero: the error is the answer.
    #[must_use]
    pub fn stale_if_error(mut self, limit: Duration) -> Self {
        self.lifetimes.stale_if_error = limit;
        self
    }

    /// The cached value, or what `load` finds, which is then kept. `load` runs once at most, and for all who miss at the same
    /// time, in all processes, once together. Its statement reads the primary: see [`PRIMARY`].
    pub async fn get_or_load<Fut, E>(
        &self,
        key: impl Display,
        load: impl FnOnce() -> Fut,
    ) -> Result<Option<T>, CacheError<E>>
    where
        Fut: Future<Output = Result<Option<T>, E>>,
    {
        self.read(&self.key(&key), load).await
    }

    /// As [`Self::get_or_load`], for values that go when their tag does ([`Cache::invalidate_tag`]); they cannot be invalidated by
    /// key. One round trip more.
    pub async fn get_or_load_tagged<Fut, E>(
        &self,
        tag: impl Display,
        key: impl Display,
        load: impl FnOnce() -> Fut,
    ) -> Result<Option<T>, CacheError<E>>
    where
        Fut: Future<Output = Result<Option<T>, E>>,
    {
        let key = self.key(&key);
        match self.cache.inner.store.nonce(&tag_key(&tag)).await {
            // Entries with an older nonce are never asked for again.
            Some(nonce) => self.read(&format!("{key}@{nonce}"), load).await,
            None => self.read_directly(&key, load).await,
        }
    }

    /// When `tx` commits, the entry is forgotten: before the commit is acknowledged, and once more by the row that this
    /// inserts. Also for a key that had no value until now.
    pub async fn invalidate(&self, tx: &mut Tx, key: impl Display) -> Result<(), sqlx::Error> {
        self.cache.mark(tx, Kind::Key, self.key(&key)).await
    }

    fn key(&self, key: &impl Display) -> String {
        format!("{}:{key}", self.kind)
    }
}
