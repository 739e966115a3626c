//! Redis as the cache sees it: the scripts, a time limit on every call, and the breaker.
//!
//! A call answers `None` when Redis is away or slow: the caller goes on without it. Keys that could not be invalidated are
//! remembered (65,536 at most, then the whole cache goes) and forgotten before the breaker closes again.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, RedisError, RedisResult, Script};
use tokio::time::{Instant, timeout};

use super::stats::{Counters, Event};
use crate::breaker::{Breaker, Verdict};
use crate::link::Link;

const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// A writer waits longer than a reader: if it gives up, a read may be older than its write until the row is applied.
const INVALIDATE_LIMIT: Duration = Duration::from_secs(2);
const REMEMBERED: usize = 65_536;

pub(super) struct Store {
    /// `None`: the app has no Redis for its cache.
    link: Option<Link>,
    slow: Duration,
    breaker: Breaker,
    /// Locked to add or take only.
    missed: Mutex<HashSet<String>>,
    get: Script,
    fill: Script,
    pub(super) counters: Counters,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Fresh(Vec<u8>),
    /// Past its soft time; somebody else loads.
    Stale(Vec<u8>),
    Leased,
    Busy,
}

/// 128 random bits: a counter in Redis would repeat itself after a failover.
#[derive(Clone, Debug)]
pub(super) struct Token(String);

impl Token {
    pub(super) fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    pub(super) soft: Duration,
    pub(super) hard: Duration,
    /// How long it stays for the case that a later load fails.
    pub(super) kept: Duration,
    pub(super) load_took: Duration,
}

impl Store {
    pub(super) fn open(url: &str, slow: Duration) -> RedisResult<Self> {
        let config = ConnectionManagerConfig::new()
            // Who asks next tries again; in between the breaker says no.
            .set_number_of_retries(0)
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(1024);
        Ok(Self::over(Some(Link::open(url, config)?), slow))
    }

    /// Never has anything.
    pub(super) fn without_redis() -> Self {
        Self::over(None, Duration::ZERO)
    }

    fn over(link: Option<Link>, slow: Duration) -> Self {
        Self {
            link,
            slow,
            breaker: Breaker::new(Instant::now()),
            missed: Mutex::default(),
            get: Script::new(include_str!("../lua/get.lua")),
            fill: Script::new(include_str!("../lua/fill.lua")),
            counters: Counters::default(),
        }
    }

    /// `early`: how many times the last load's duration before the soft time it counts as past it.
    pub(super) async fn get(&self, key: &str, token: &Token, lease: Duration, early: f64) -> Option<Found> {
        self.get_all(&[key], token, lease, early).await?.pop()
    }

    /// Of each key, in their order; all that are leased are under the one token.
    pub(super) async fn get_all(
        &self,
        keys: &[&str],
        token: &Token,
        lease: Duration,
        early: f64,
    ) -> Option<Vec<Found>> {
        let mut connection = self.connection().await?;
        let mut script = self.get.prepare_invoke();
        for key in keys {
            script.key(*key);
        }
        script
            .arg(token.text())
            .arg(millis(lease))
            .arg(format!("{early:.3}"));
        let answers: Vec<(String, Vec<u8>)> = self
            .within(self.slow, script.invoke_async(&mut connection))
            .await?;
        let found = answers.into_iter().map(|(code, value)| match code.as_str() {
            "H" => Found::Fresh(value),
            "S" => Found::Stale(value),
            "L" => Found::Leased,
            _ => Found::Busy,
        });
        Some(found.collect())
    }

    /// Whether it was stored: not if the key was invalidated or the lease went to another meanwhile.
    pub(super) async fn fill(
        &self,
        key: &str,
        token: &Token,
        value: &[u8],
        lifetime: Lifetime,
    ) -> Option<bool> {
        let mut connection = self.connection().await?;
        let mut script = self.fill.key(key);
        script.arg(token.text()).arg(value);
        for duration in [lifetime.soft, lifetime.hard, lifetime.kept, lifetime.load_took] {
            script.arg(millis(duration));
        }
        self.within(self.slow, script.invoke_async(&mut connection)).await
    }

    /// Gives the lease back, so that the next reader loads at once.
    pub(super) async fn release(&self, key: &str, token: &Token) {
        if let Some(mut connection) = self.connection().await {
            let mut script = self.fill.key(key);
            script.arg(token.text());
            // If it does not arrive, the lease expires.
            let _: Option<bool> = self.within(self.slow, script.invoke_async(&mut connection)).await;
        }
    }

    /// The value as it is, however old; for when a load failed.
    pub(super) async fn peek(&self, key: &str) -> Option<Vec<u8>> {
        let mut connection = self.connection().await?;
        let mut command = redis::cmd("HGET");
        command.arg(key).arg("value");
        self.within(self.slow, command.query_async::<Option<Vec<u8>>>(&mut connection))
            .await?
    }

    /// Whose fill an entry's value is.
    pub(super) async fn filled(&self, key: &str) -> Option<String> {
        let mut connection = self.connection().await?;
        let mut command = redis::cmd("HGET");
        command.arg(key).arg("filled");
        self.within(self.slow, command.query_async::<Option<String>>(&mut connection))
            .await?
    }

    /// The tag's nonce; a new one if it has none.
    pub(super) async fn nonce(&self, tag: &str) -> Option<String> {
        let mut connection = self.connection().await?;
        let fresh = Token::random();
        let mut command = redis::cmd("SET");
        command.arg(tag).arg(fresh.text()).arg("NX").arg("GET");
        let old: Option<String> = self
            .within(self.slow, command.query_async(&mut connection))
            .await?;
        Some(old.unwrap_or(fresh.0))
    }

    /// What a commit tells of the entry. If it cannot be told it is remembered, to be deleted.
    pub(super) async fn invalidate(&self, key: &str, command: Cmd) {
        self.counters.note(Event::Invalidated);
        let Some(mut connection) = self.manager() else {
            return;
        };
        let limit = if self.breaker.is_open() {
            self.slow
        } else {
            INVALIDATE_LIMIT.max(self.slow)
        };
        if self
            .within(limit, command.query_async::<()>(&mut connection))
            .await
            .is_none()
        {
            // A connection that broke while idle is noticed by its first use: the second is a new one.
            let again = self.within(self.slow, command.query_async::<()>(&mut connection));
            if again.await.is_none() {
                self.counters.note(Event::MissedInvalidation);
                self.remember(key);
                // Reads go to the database until it is made up for.
                self.breaker.trip();
            }
        }
    }

    /// Fails with the reason; for whoever applies rows, and has time.
    pub(super) fn manager(&self) -> Option<ConnectionManager> {
        self.link.as_ref().map(Link::manager)
    }

    /// `None`: it is not one server for ever.
    pub(super) fn client(&self) -> Option<&Client> {
        self.link.as_ref().and_then(Link::client)
    }

    /// Loads the scripts, so that the first readers do not.
    pub(super) async fn warm_up(&self) -> Result<(), RedisError> {
        if let Some(link) = &self.link {
            link.settle().await;
            let mut connection = link.manager();
            self.get.load_async(&mut connection).await?;
            self.fill.load_async(&mut connection).await?;
        }
        Ok(())
    }

    pub(super) fn answers(&self) -> bool {
        self.link.is_some() && !self.breaker.is_open()
    }

    async fn connection(&self) -> Option<ConnectionManager> {
        let manager = self.link.as_ref()?.manager();
        match self.breaker.verdict(Instant::now()) {
            Verdict::Ask => {}
            Verdict::Skip => return None,
            Verdict::Probe => self.catch_up(manager.clone()).await?,
        }
        Some(manager)
    }

    /// What this process could not invalidate goes before it reads again.
    async fn catch_up(&self, mut connection: ConnectionManager) -> Option<()> {
        let missed: Vec<String> = {
            let missed = self.missed.lock().expect("no holder of this lock panics");
            missed.iter().cloned().collect()
        };
        let mut pipe = redis::pipe();
        pipe.cmd("PING");
        if missed.len() >= REMEMBERED {
            pipe.cmd("FLUSHALL").arg("ASYNC");
        } else {
            for key in &missed {
                pipe.cmd("UNLINK").arg(key);
            }
        }
        let asked = pipe.query_async::<redis::Value>(&mut connection);
        self.within(self.slow, asked).await?;
        self.breaker.close();
        let mut remembered = self.missed.lock().expect("no holder of this lock panics");
        for key in &missed {
            remembered.remove(key);
        }
        tracing::info!(keys = missed.len(), "the cache answers again");
        Some(())
    }

    fn remember(&self, key: &str) {
        let mut missed = self.missed.lock().expect("no holder of this lock panics");
        if missed.len() < REMEMBERED {
            missed.insert(key.to_owned());
        }
    }

    async fn within<T>(&self, limit: Duration, asked: impl Future<Output = RedisResult<T>>) -> Option<T> {
        let failed = match timeout(limit, asked).await {
            Ok(Ok(answer)) => {
                self.breaker.succeeded();
                return Some(answer);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {limit:?}"),
        };
        let was_open = self.breaker.is_open();
        self.breaker.failed(Instant::now());
        if !was_open && self.breaker.is_open() {
            tracing::warn!(reason = failed, "the cache is away: reads go to the database");
        }
        None
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
