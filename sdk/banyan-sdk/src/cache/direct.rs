//! Loads without Redis: at most so many at once, and one load answers all who asked before it began.
//!
//! Who asks while a load runs may not have its result: it may have read before a write that is acknowledged by now. They
//! share the next one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

#[derive(Debug)]
pub(super) struct DirectLoads {
    permits: Semaphore,
    order: AtomicU64,
    /// Keys being loaded. Locked to look up or remove only.
    keys: Mutex<HashMap<String, Arc<Turn>>>,
}

type Turn = tokio::sync::Mutex<Option<Shared>>;

#[derive(Clone, Debug)]
struct Shared {
    began: u64,
    value: Arc<[u8]>,
}

/// No turn or no permit within the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overloaded;

impl DirectLoads {
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            permits: Semaphore::new(at_once),
            order: AtomicU64::new(1),
            keys: Mutex::default(),
        }
    }

    /// The encoded value: of this load or of one that began after the call.
    pub(super) async fn load<E, Fut>(
        &self,
        key: &str,
        limit: Duration,
        load: impl FnOnce() -> Fut,
    ) -> Result<Result<Arc<[u8]>, E>, Overloaded>
    where
        Fut: Future<Output = Result<Arc<[u8]>, E>>,
    {
        let came = self.order.fetch_add(1, Ordering::Relaxed);
        let place = self.place(key);
        let mut last = timeout(limit, place.turn.lock()).await.map_err(|_| Overloaded)?;
        if let Some(shared) = last.as_ref().filter(|shared| shared.began > came) {
            return Ok(Ok(Arc::clone(&shared.value)));
        }
        let permit = timeout(limit, self.permits.acquire()).await;
        let _permit = permit.map_err(|_| Overloaded)?.map_err(|_| Overloaded)?;
        let began = self.order.fetch_add(1, Ordering::Relaxed);
        let loaded = load().await;
        *last = loaded.as_ref().ok().map(|value| Shared {
            began,
            value: Arc::clone(value),
        });
        Ok(loaded)
    }

    fn place<'l>(&'l self, key: &'l str) -> Place<'l> {
        let mut keys = self.keys.lock().expect("no holder of this lock panics");
        let turn = Arc::clone(keys.entry(key.to_owned()).or_default());
        Place {
            loads: self,
            key,
            turn,
        }
    }
}

/// A caller's place in the line of a key; also who gives up leaves it.
struct Place<'l> {
    loads: &'l DirectLoads,
    key: &'l str,
    turn: Arc<Turn>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut keys = self.loads.keys.lock().expect("no holder of this lock panics");
        // The map's and this one.
        if Arc::strong_count(&self.turn) == 2 {
            keys.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn ok(text: &str) -> Result<Arc<[u8]>, ()> {
        Ok(text.as_bytes().into())
    }

    #[tokio::test]
    async fn who_comes_during_a_load_shares_the_next_one() {
        let loads = DirectLoads::new(4);
        let count = AtomicUsize::new(0);
        let one = || {
            loads.load("k", Duration::from_secs(30), || async {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                ok("v")
            })
        };
        let (a, b, c, d) = tokio::join!(one(), one(), one(), one());
        for done in [a, b, c, d] {
            assert_eq!(&*done.unwrap().unwrap(), b"v");
        }
        assert_eq!(
            count.load(Ordering::Relaxed),
            2,
            "the first, and one for the three that came during it"
        );
        assert!(loads.keys.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn beyond_the_limit_it_refuses() {
        let loads = DirectLoads::new(1);
        let limit = Duration::from_millis(20);
        let endless = loads.load("a", limit, std::future::pending::<Result<Arc<[u8]>, ()>>);
        let other = loads.load("b", limit, || async { ok("v") });
        tokio::select! {
            biased;
            _ = endless => unreachable!("it never ends"),
            refused = other => assert_eq!(refused, Err(Overloaded)),
        }
    }
}
