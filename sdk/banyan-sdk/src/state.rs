//! The Redis of REDIS_URL, for what all instances share and nobody may evict: a limit on every call, and the breaker.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use redis::RedisResult;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::time::{Instant, timeout};

use crate::breaker::{Breaker, Verdict};
use crate::link::Link;

const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// A cheap clone.
#[derive(Clone)]
pub(crate) struct State {
    inner: Arc<Inner>,
}

struct Inner {
    link: Link,
    slow: Duration,
    breaker: Breaker,
}

/// Why there was no answer in time.
enum Missed {
    Failed,
    /// It may still come.
    Slow,
}

impl State {
    /// Connects when first used. Two calls in a row that take longer than `slow`, and it is not asked until a probe is quicker.
    pub(crate) fn open(url: &str, slow: Duration) -> RedisResult<Self> {
        let config = ConnectionManagerConfig::new()
            // Who asks next tries again; in between the breaker says no.
            .set_number_of_retries(0)
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(None);
        let inner = Inner {
            link: Link::open(url, config)?,
            slow,
            breaker: Breaker::new(Instant::now()),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// `None`: it is away or slow; the caller goes on without it.
    pub(crate) async fn ask<T, Fut>(&self, ask: impl FnOnce(ConnectionManager) -> Fut) -> Option<T>
    where
        Fut: Future<Output = RedisResult<T>>,
    {
        let verdict = self.verdict()?;
        self.in_time(verdict, pin!(ask(self.manager()))).await.ok()
    }

    /// As [`Self::ask`], for what others rely on: waits for a slow answer, too, for `longer`.
    pub(crate) async fn ask_patiently<T, Fut>(
        &self,
        longer: Duration,
        ask: impl FnOnce(ConnectionManager) -> Fut,
    ) -> Option<T>
    where
        Fut: Future<Output = RedisResult<T>>,
    {
        let verdict = self.verdict()?;
        let mut asked = pin!(ask(self.manager()));
        match self.in_time(verdict, asked.as_mut()).await {
            Ok(answer) => Some(answer),
            Err(Missed::Failed) => None,
            Err(Missed::Slow) => timeout(longer, asked).await.ok()?.ok(),
        }
    }

    /// `None`: it is not to be asked now.
    fn verdict(&self) -> Option<Verdict> {
        let verdict = self.inner.breaker.verdict(Instant::now());
        (verdict != Verdict::Skip).then_some(verdict)
    }

    /// The breaker hears how it went.
    async fn in_time<T>(
        &self,
        verdict: Verdict,
        asked: Pin<&mut impl Future<Output = RedisResult<T>>>,
    ) -> Result<T, Missed> {
        let Inner { slow, breaker, .. } = &*self.inner;
        let missed = match timeout(*slow, asked).await {
            Ok(Ok(answer)) => {
                breaker.succeeded();
                if verdict == Verdict::Probe {
                    breaker.close();
                }
                return Ok(answer);
            }
            Ok(Err(_)) => Missed::Failed,
            Err(_) => Missed::Slow,
        };
        breaker.failed(Instant::now());
        Err(missed)
    }

    /// Before the first use that wants to succeed.
    pub(crate) async fn settle(&self) {
        self.inner.link.settle().await;
    }

    /// For who has time and wants the reason.
    pub(crate) fn manager(&self) -> ConnectionManager {
        self.inner.link.manager()
    }
}
