//! `banyan cache audit`: entries that are being read, compared with the database.
//!
//! Whoever audits writes a number of its choice to `banyan:audit` in the cache's Redis. Each process looks there once a second and, while
//! it stands there, asks the database as well on some of its next hits (of fresh entries; one load each, by the reader's own loader).
//! An entry that differs and stays for three seconds more is **wrong**; one that goes in that time was about to be invalidated: **late**.
//! Counts are fields of the hash `banyan:audit:NUMBER`: `right`, `late`, `wrong`; keys of wrong ones in the list `banyan:audit:NUMBER:wrong`.
//! Popular entries are sampled more often, as they are read more often. A loader whose answer is another each time is never right.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use redis::RedisResult;
use redis::aio::ConnectionManager;
use tokio::time::{Instant, sleep, timeout};

use super::Cache;

const WISH: &str = "banyan:audit";
/// Hits of one process and audit.
const SAMPLES: usize = 200;
/// A committed writer has told Redis by then, or its row was applied.
const SETTLED: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const REDIS_LIMIT: Duration = Duration::from_secs(1);
/// Results are kept for so many seconds, and so many keys.
const KEPT_SECONDS: u32 = 600;
const KEPT_KEYS: i32 = 20;

#[derive(Debug, Default)]
pub(super) struct Audit {
    /// The number that was seen last.
    number: AtomicU64,
    left: AtomicUsize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Right,
    Late,
    Wrong,
}

impl Audit {
    /// The audit that this hit is for.
    pub(super) fn takes(&self) -> Option<u64> {
        // Mostly zero: a look costs other cores nothing.
        if self.left.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let one_less = |left: usize| left.checked_sub(1);
        let taken = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        taken.ok().map(|_| self.number.load(Ordering::Relaxed))
    }

    fn hear(&self, number: Option<u64>) {
        match number {
            None => self.left.store(0, Ordering::Relaxed),
            Some(number) => {
                if self.number.swap(number, Ordering::Relaxed) != number {
                    self.left.store(SAMPLES, Ordering::Relaxed);
                }
            }
        }
    }
}

impl Cache {
    /// Once a second, by each process.
    pub(crate) async fn look_for_audit(&self) {
        let Some(mut redis) = self.inner.store.manager() else {
            return;
        };
        let mut get = redis::cmd("GET");
        let wish = timeout(REDIS_LIMIT, get.arg(WISH).query_async::<Option<u64>>(&mut redis)).await;
        // A Redis that does not answer is no audit.
        self.inner.audit.hear(wish.ok().and_then(Result::ok).flatten());
    }

    /// `cached` was answered, and `loaded` is what the database has since. Waits if they differ.
    pub(super) async fn judge(self, number: u64, key: String, cached: Vec<u8>, loaded: Vec<u8>) {
        let verdict = if is_same(&cached, &loaded) {
            Verdict::Right
        } else if self.goes(&key, &cached).await {
            Verdict::Late
        } else {
            Verdict::Wrong
        };
        if let Some(redis) = self.inner.store.manager() {
            // Without an answer the sample is lost, and the audit has one less.
            timeout(REDIS_LIMIT, report(redis, number, &key, verdict))
                .await
                .ok();
        }
    }

    /// Whether the entry is another or none before long.
    async fn goes(&self, key: &str, cached: &[u8]) -> bool {
        let end = Instant::now() + SETTLED;
        loop {
            // Without an answer it counts as there: nothing says that it is gone.
            if let Some(Ok(now)) = self.value_now(key).await
                && now.as_deref() != Some(cached)
            {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// With more patience than a reader has.
    async fn value_now(&self, key: &str) -> Option<RedisResult<Option<Vec<u8>>>> {
        let mut redis = self.inner.store.manager()?;
        let mut get = redis::cmd("HGET");
        let asked = get.arg(key).arg("value").query_async(&mut redis);
        timeout(REDIS_LIMIT, asked).await.ok()
    }
}

/// Fields of a map may come in any order.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let read = |bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    one == other || read(one).is_some_and(|one| Some(one) == read(other))
}

async fn report(mut redis: ConnectionManager, number: u64, key: &str, verdict: Verdict) -> RedisResult<()> {
    let counts = format!("{WISH}:{number}");
    let wrong = format!("{counts}:wrong");
    let field = match verdict {
        Verdict::Right => "right",
        Verdict::Late => "late",
        Verdict::Wrong => "wrong",
    };
    let mut pipe = redis::pipe();
    pipe.cmd("HINCRBY").arg(&counts).arg(field).arg(1);
    pipe.cmd("EXPIRE").arg(&counts).arg(KEPT_SECONDS);
    if verdict == Verdict::Wrong {
        pipe.cmd("LPUSH").arg(&wrong).arg(key);
        pipe.cmd("LTRIM").arg(&wrong).arg(0).arg(KEPT_KEYS - 1);
        pipe.cmd("EXPIRE").arg(&wrong).arg(KEPT_SECONDS);
    }
    pipe.query_async(&mut redis).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_takes_its_samples_once_and_ends_with_the_wish() {
        let audit = Audit::default();
        assert_eq!(audit.takes(), None);
        audit.hear(Some(7));
        audit.hear(Some(7));
        assert_eq!((0..1000).filter_map(|_| audit.takes()).count(), SAMPLES);
        audit.hear(Some(7));
        assert_eq!(audit.takes(), None, "the same audit");
        audit.hear(Some(8));
        assert_eq!(audit.takes(), Some(8));
        audit.hear(None);
        assert_eq!(audit.takes(), None);
    }

    #[test]
    fn the_order_of_fields_does_not_matter() {
        assert!(is_same(br#"{"a":1,"b":2}"#, br#"{"b":2,"a":1}"#));
        assert!(!is_same(br#"{"a":1}"#, br#"{"a":2}"#));
        assert!(is_same(b"", b"") && !is_same(b"", b"0"), "there is none");
    }
}
