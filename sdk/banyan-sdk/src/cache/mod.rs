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

mod audit;
mod direct;
mod flight;
mod l1;
mod many;
mod read;
mod replay;
mod stats;
mod store;
mod told;

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::l1::L1;
pub use self::read::CacheError;
pub use self::replay::{Applied, ReplayError};
pub use self::stats::{Event, Stats};

use self::audit::Audit;
use self::direct::DirectLoads;
use self::flight::Flights;
use self::l1::{Level, Local};
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
    /// Loads at once, in this process, while Redis is away. Default 16, and at most four of five connections to the database.
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

impl Settings {
    /// Of so many connections to the database, a fifth stays for writes and sessions while Redis is away: who reads waits for a turn
    /// here, for as long as a load may take, and not for a connection, which is given up sooner.
    pub(crate) fn beside(connections: NonZeroU32) -> Self {
        let settings = Self::default();
        let connections = usize::try_from(connections.get()).unwrap_or(usize::MAX);
        let most = (connections - connections.div_ceil(5)).max(1);
        Self {
            direct_loads: settings.direct_loads.min(most),
            ..settings
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
    level: Level,
    flights: Flights,
    direct: DirectLoads,
    audit: Audit,
}

impl Cache {
    /// Connects when first used: no error while Redis is away.
    pub fn open(url: &str, settings: Settings) -> Result<Self, OpenError> {
        let store = Store::open(url, settings.slow)?;
        // Words of changes come from one server. Where that moves, reads go to Redis.
        let level = Level::new(store.client().cloned());
        Ok(Self::over(store, level, settings))
    }

    /// For an app that has none (yet): each read is a load, at most `settings.direct_loads` at once. Writers insert their rows all
    /// the same, because other instances of the app may have one: while it is added to a running system they do.
    pub fn without_redis(settings: Settings) -> Self {
        Self::over(Store::without_redis(), Level::new(None), settings)
    }

    fn over(store: Store, level: Level, settings: Settings) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                level,
                flights: Flights::default(),
                direct: DirectLoads::new(settings.direct_loads),
                audit: Audit::default(),
            }),
        }
    }

    /// Entries of one kind; `kind` is the head of their keys and stays the same for ever, or old entries are not found.
    pub fn of<T>(&self, kind: &'static str) -> Cached<T> {
        Cached {
            cache: self.clone(),
            kind,
            lifetimes: Lifetimes::default(),
            local: None,
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

    /// Of each event in this process, as it happens: for an app's own metrics. The first one told stays; it must not block.
    pub fn tell(&self, hook: impl Fn(Event) + Send + Sync + 'static) {
        self.inner.store.counters.tell(Box::new(hook));
    }

    #[cfg(test)]
    pub(crate) fn manager(&self) -> redis::aio::ConnectionManager {
        self.inner.store.manager().expect("the tests have a Redis")
    }

    async fn mark(&self, tx: &mut Tx, kind: Kind, key: String) -> Result<(), sqlx::Error> {
        let list = kind.list();
        let seen = match &kind {
            Kind::Append(_) => self.inner.store.filled(&key).await,
            Kind::Key | Kind::Tag => None,
        };
        sqlx::query("insert into banyan.invalidation (kind, key, item, keep) values ($1, $2, $3, $4)")
            .bind(kind.name())
            .bind(&key)
            .bind(list.map(|list| list.item))
            .bind(list.map(|list| list.keep))
            .execute(&mut **tx)
            .await?;
        tx.remember(Mark {
            cache: self.clone(),
            kind,
            key,
            seen: seen.unwrap_or_default(),
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
    Append(ListItem),
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Tag => "tag",
            Self::Append(_) => "append",
        }
    }

    fn list(self) -> Option<ListItem> {
        match self {
            Self::Key | Self::Tag => None,
            Self::Append(list) => Some(list),
        }
    }
}

/// A number that belongs into a list of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ListItem {
    item: i64,
    keep: i32,
}

impl ListItem {
    /// `seen`: whose fill the entry had before the commit. If another load has filled it since, that may have seen later changes, and
    /// the number may be one that is gone again: then the entry goes. Without one: looks whether the number is there.
    fn command(self, key: &str, seen: &str) -> redis::Cmd {
        let mut command = redis::cmd("EVAL");
        let script = include_str!("../lua/append.lua");
        command
            .arg(script)
            .arg(1)
            .arg(key)
            .arg(self.item)
            .arg(self.keep)
            .arg(seen);
        command
    }
}

/// Value and lease go.
fn unlink(key: &str) -> redis::Cmd {
    let mut command = redis::cmd("UNLINK");
    command.arg(key);
    command
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
    /// Of an append: whose fill the entry had.
    seen: String,
}

impl Mark {
    /// A tag without a nonce gets a new one from its next reader: that is a deletion, and so is all of an unknown outcome.
    pub(crate) async fn apply(self, is_committed: bool) {
        tracing::trace!(kind = self.kind.name(), key = self.key, "invalidated");
        let inner = &self.cache.inner;
        let list = self.kind.list().filter(|_| is_committed);
        let command = match list {
            Some(list) => list.command(&self.key, &self.seen),
            None => unlink(&self.key),
        };
        inner.store.invalidate(&self.key, command).await;
        // After Redis: an answer from before it is told from one after it.
        inner.level.forget(&self.key);
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
    local: Option<Arc<Local>>,
    value: PhantomData<fn() -> T>,
}

impl<T> Clone for Cached<T> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            local: self.local.clone(),
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

    /// Keeps entries in this process as well, for two seconds at most: P1 holds, P2 does not, as other processes' writes are seen a
    /// moment after they were acknowledged. For what is read far more often than Redis can be asked. The first settings of a kind count.
    #[must_use]
    pub fn l1(mut self, settings: L1) -> Self {
        self.local = Some(self.cache.inner.level.of(self.kind, settings));
        self
    }

    /// Not from this process's memory: P2 holds for this read.
    #[must_use]
    pub fn fresh(mut self) -> Self {
        self.local = None;
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

    /// As [`Self::invalidate`] of each, in one statement.
    pub async fn invalidate_all<K: Display>(
        &self,
        tx: &mut Tx,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<(), sqlx::Error> {
        let keys: Vec<String> = keys.into_iter().map(|key| self.key(&key)).collect();
        sqlx::query("insert into banyan.invalidation (kind, key) select 'key', unnest($1::text[])")
            .bind(&keys)
            .execute(&mut **tx)
            .await?;
        for key in keys {
            tx.remember(Mark {
                cache: self.cache.clone(),
                kind: Kind::Key,
                key,
                seen: String::new(),
            });
        }
        Ok(())
    }
}

impl<T> Cached<T> {
    fn key(&self, key: &impl Display) -> String {
        format!("{}:{key}", self.kind)
    }
}

/// Lists of the newest: feeds, logs.
impl Cached<Vec<u64>> {
    /// When `tx` commits, `item` is in the list if the list is cached, at its place (the greatest number is first), and all but the
    /// first `keep` go. Promises what [`Cached::invalidate`] does, without the load that follows it. The loader must give the same
    /// order and length.
    pub async fn append(
        &self,
        tx: &mut Tx,
        key: impl Display,
        item: u64,
        keep: NonZeroU16,
    ) -> Result<(), sqlx::Error> {
        let key = self.key(&key);
        let kind = match i64::try_from(item) {
            Ok(item) => Kind::Append(ListItem {
                item,
                keep: i32::from(keep.get()),
            }),
            // PostgreSQL has no such number.
            Err(_) => Kind::Key,
        };
        self.cache.mark(tx, kind, key).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_without_redis_leave_connections_to_others() {
        let loads = |connections| Settings::beside(NonZeroU32::new(connections).unwrap()).direct_loads;
        assert_eq!([1, 2, 5, 10, 20, 100].map(loads), [1, 1, 4, 8, 16, 16]);
    }
}
