//! A read: what Redis has, or a load under a lease, or a wait for another's, or a load without Redis.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::direct::Overloaded;
use super::l1::Stamp;
use super::stats::Event;
use super::store::{Found, Lifetime, Store, Token};
use super::{Cached, Lifetimes, unlink};
use crate::point::{Point, point};
use crate::task;

/// Between looks for another process's load, at random.
const WAIT_MILLIS: std::ops::Range<u64> = 5..50;
const SOFT_SHARE: f64 = 0.8;
const JITTER: std::ops::Range<f64> = 0.9..1.1;

/// Why a read has no answer. Redis being away is no reason.
#[derive(Debug, thiserror::Error)]
pub enum CacheError<E> {
    #[error(transparent)]
    Load(E),
    #[error("the load took longer than {0:?}")]
    TimedOut(Duration),
    /// Answer 503: the cache is away and the database has enough to do.
    #[error("too many loads are under way without the cache")]
    Overloaded,
    #[error("the loaded value cannot be written as JSON: {0}")]
    Encode(serde_json::Error),
    #[error("the value just written as JSON cannot be read back: {0}")]
    Decode(serde_json::Error),
}

/// What is stored for "there is none": not JSON.
const NONE: &[u8] = b"";

pub(super) fn encode<T: Serialize, E>(value: Option<&T>) -> Result<Vec<u8>, CacheError<E>> {
    match value {
        Some(value) => serde_json::to_vec(value).map_err(CacheError::Encode),
        None => Ok(NONE.to_vec()),
    }
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<T>, serde_json::Error> {
    if bytes == NONE {
        return Ok(None);
    }
    serde_json::from_slice(bytes).map(Some)
}

/// A load that may take so long.
pub(super) async fn in_time<V, E>(
    limit: Duration,
    load: impl Future<Output = Result<V, E>>,
) -> Result<V, CacheError<E>> {
    match timeout(limit, load).await {
        Ok(loaded) => loaded.map_err(CacheError::Load),
        Err(_) => Err(CacheError::TimedOut(limit)),
    }
}

/// How many times the last load's duration before the soft time a reader loads anew: mostly little, so that not all do it at once.
pub(super) fn early() -> f64 {
    -rand::random_range(f64::MIN_POSITIVE..1.0).ln()
}

impl<T: Serialize + DeserializeOwned> Cached<T> {
    pub(super) async fn read<Fut, E>(
        &self,
        key: &str,
        load: impl FnOnce() -> Fut,
    ) -> Result<Option<T>, CacheError<E>>
    where
        Fut: Future<Output = Result<Option<T>, E>>,
    {
        let inner = &self.cache.inner;
        if let Some(value) = self.local_value(key) {
            return Ok(value);
        }
        // From before it is asked for: who is dropped meanwhile gives back what it may have got.
        let mut lease = Lease::asked(self, key);
        let give_up = Instant::now() + self.lifetimes.loader;
        loop {
            let early = early();
            let stamp = self.stamp(key);
            let found = inner
                .store
                .get(key, &lease.token, self.lifetimes.lease, early)
                .await;
            lease.is_held = matches!(found, None | Some(Found::Leased));
            let (bytes, is_stale) = match found {
                None => break,
                Some(Found::Leased) => return self.load_under_lease(lease, load).await,
                Some(Found::Busy) => {
                    inner.store.counters.note(Event::Wait);
                    if timeout_at(give_up, self.wait(key)).await.is_err() {
                        break;
                    }
                    lease.is_held = true;
                    continue;
                }
                Some(Found::Fresh(bytes)) => (bytes, false),
                Some(Found::Stale(bytes)) => (bytes, true),
            };
            match decode(&bytes) {
                Ok(value) => {
                    if is_stale {
                        inner.store.counters.note(Event::StaleHit);
                    } else {
                        inner.store.counters.note(Event::Hit);
                        self.keep(key, &bytes, stamp);
                        if let Some(number) = inner.audit.takes() {
                            lease.is_held = false;
                            self.compare(number, key, bytes, load).await;
                        }
                    }
                    return Ok(value);
                }
                // Another version of the app wrote it.
                Err(error) => {
                    tracing::debug!(key, %error, "an entry of another shape is loaded anew");
                    inner.store.invalidate(key, unlink(key)).await;
                    lease.is_held = true;
                    if Instant::now() >= give_up {
                        break;
                    }
                }
            }
        }
        drop(lease);
        self.read_directly(key, load).await
    }

    /// With what the database has now; the reader's answer stays what it is.
    pub(super) async fn compare<Fut, E>(
        &self,
        number: u64,
        key: &str,
        bytes: Vec<u8>,
        load: impl FnOnce() -> Fut,
    ) where
        Fut: Future<Output = Result<Option<T>, E>>,
    {
        // A load that fails tells nothing of the cache.
        let Ok(loaded) = in_time(self.lifetimes.loader, load()).await else {
            return;
        };
        if let Ok(loaded) = encode::<T, E>(loaded.as_ref()) {
            let judged = self.cache.clone().judge(number, key.to_owned(), bytes, loaded);
            task::start_if_running(judged);
        }
    }

    /// In this process's memory, too.
    pub(super) fn keep(&self, key: &str, bytes: &[u8], stamp: Option<Stamp>) {
        if let (Some(local), Some(stamp)) = (&self.local, stamp) {
            self.cache.inner.level.keep(local, key, bytes, stamp);
        }
    }

    pub(super) fn stamp(&self, key: &str) -> Option<Stamp> {
        self.cache.inner.level.stamp(self.local.as_ref()?, key)
    }

    pub(super) fn local_value(&self, key: &str) -> Option<Option<T>> {
        let inner = &self.cache.inner;
        let bytes = inner.level.get(self.local.as_ref()?, key, self.stamp(key)?)?;
        let value = decode(&bytes).ok()?;
        inner.store.counters.note(Event::LocalHit);
        Some(value)
    }

    async fn wait(&self, key: &str) {
        if !self.cache.inner.flights.ended(key).await {
            sleep(Duration::from_millis(rand::random_range(WAIT_MILLIS))).await;
        }
    }

    async fn load_under_lease<Fut, E>(
        &self,
        lease: Lease<'_>,
        load: impl FnOnce() -> Fut,
    ) -> Result<Option<T>, CacheError<E>>
    where
        Fut: Future<Output = Result<Option<T>, E>>,
    {
        let inner = &self.cache.inner;
        let key = lease.key;
        let _flight = inner.flights.begin(key);
        let under_way = inner.store.counters.loading(Event::Load);
        point(Point::Leased).await;
        let begin = Instant::now();
        let value = match in_time(self.lifetimes.loader, load()).await {
            Ok(value) => value,
            Err(error) => {
                lease.release().await;
                return self.or_stale(key, error).await;
            }
        };
        drop(under_way);
        point(Point::Loaded).await;
        let bytes = encode(value.as_ref())?;
        lease
            .fill(&bytes, self.lifetime(value.is_none(), begin.elapsed()))
            .await;
        Ok(value)
    }

    pub(super) fn lifetime(&self, is_negative: bool, load_took: Duration) -> Lifetime {
        let Lifetimes {
            ttl,
            negative,
            stale_if_error,
            ..
        } = self.lifetimes;
        let hard = if is_negative { negative } else { ttl }.mul_f64(rand::random_range(JITTER));
        Lifetime {
            soft: hard.mul_f64(SOFT_SHARE),
            hard,
            kept: hard + stale_if_error,
            load_took,
        }
    }

    async fn or_stale<E>(&self, key: &str, error: CacheError<E>) -> Result<Option<T>, CacheError<E>> {
        self.stale(key).await.ok_or(error)
    }

    /// What the cache still has when a load failed: it was not invalidated, so it is only old.
    pub(super) async fn stale(&self, key: &str) -> Option<Option<T>> {
        if self.lifetimes.stale_if_error.is_zero() {
            return None;
        }
        let bytes = self.cache.inner.store.peek(key).await?;
        let value = decode(&bytes).ok()?;
        self.cache.inner.store.counters.note(Event::StaleHit);
        Some(value)
    }

    /// Without Redis. `key`: who asks for the same meanwhile gets the same; `V`: of an entry or of several.
    pub(super) async fn read_directly<V, Fut, E>(
        &self,
        key: &str,
        load: impl FnOnce() -> Fut,
    ) -> Result<Option<V>, CacheError<E>>
    where
        V: Serialize + DeserializeOwned,
        Fut: Future<Output = Result<Option<V>, E>>,
    {
        let inner = &self.cache.inner;
        let limit = self.lifetimes.loader;
        let loaded = inner.direct.load(key, limit, || async {
            let _under_way = inner.store.counters.loading(Event::DirectLoad);
            let value = in_time(limit, load()).await?;
            Ok(Arc::from(encode(value.as_ref())?))
        });
        let bytes: Arc<[u8]> = match loaded.await {
            Ok(loaded) => loaded?,
            Err(Overloaded) => {
                inner.store.counters.note(Event::Refused);
                return Err(CacheError::Overloaded);
            }
        };
        decode(&bytes).map_err(CacheError::Decode)
    }
}

/// Given back also when the reader is dropped in the middle: nobody waits for a load that does not run.
struct Lease<'c> {
    cache: &'c super::Cache,
    key: &'c str,
    token: Token,
    /// Or may be: the question was sent and no answer has come.
    is_held: bool,
}

impl<'c> Lease<'c> {
    fn asked<T>(cached: &'c Cached<T>, key: &'c str) -> Self {
        Self {
            cache: &cached.cache,
            key,
            token: Token::random(),
            is_held: true,
        }
    }

    fn store(&self) -> &'c Store {
        &self.cache.inner.store
    }

    async fn release(mut self) {
        self.store().release(self.key, &self.token).await;
        self.is_held = false;
    }

    async fn fill(mut self, bytes: &[u8], lifetime: Lifetime) {
        let filled = self.store().fill(self.key, &self.token, bytes, lifetime).await;
        self.is_held = false;
        if filled == Some(false) {
            self.store().counters.note(Event::Rejected);
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.is_held {
            let (cache, key, token) = (self.cache.clone(), self.key.to_owned(), self.token.clone());
            task::start_if_running(async move { cache.inner.store.release(&key, &token).await });
        }
    }
}
