//! The Redis of REDIS_URL, for what all instances share and nobody may evict: a limit on every call, and the breaker.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisResult};
use tokio::time::{Instant, timeout};

use crate::breaker::{Breaker, Verdict};

const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// A cheap clone.
#[derive(Clone)]
pub(crate) struct State {
    inner: Arc<Inner>,
}

struct Inner {
    manager: ConnectionManager,
    slow: Duration,
    breaker: Breaker,
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
            manager: ConnectionManager::new_lazy_with_config(Client::open(url)?, config)?,
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
        let Inner {
            manager,
            slow,
            breaker,
        } = &*self.inner;
        let verdict = breaker.verdict(Instant::now());
        if verdict == Verdict::Skip {
            return None;
        }
        if let Ok(Ok(answer)) = timeout(*slow, ask(manager.clone())).await {
            breaker.succeeded();
            if verdict == Verdict::Probe {
                breaker.close();
            }
            return Some(answer);
        }
        breaker.failed(Instant::now());
        None
    }

    /// For who has time and wants the reason.
    pub(crate) fn manager(&self) -> ConnectionManager {
        self.inner.manager.clone()
    }
}
