//! A first level of the cache, in the process: for entries that are read far more often than a Redis next door can be asked.
//!
//! Off by default, per kind ([`super::Cached::l1`]). Redis tells every process of each key that changes (server-assisted
//! invalidation: RESP3, broadcasting, <https://redis.io/docs/latest/develop/reference/client-side-caching/>); see [`link`].
//!
//! Each key belongs to one of 1,024 stripes. Whoever hears that a key has changed moves its stripe on; an entry counts while its stripe
//! stands where it stood **before the entry was asked for**, so an answer that crosses an invalidation is worth nothing.
//! When the connection that tells is lost or silent, all stripes move on, and nothing is kept until it is there again.
//!
//! Keeps P1: an entry lives two seconds at most. Gives up P2: another process's write is seen when Redis's word has arrived,
//! mostly within a millisecond, at worst after two seconds. A process's own writes it sees at once.

mod entries;
mod link;

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use redis::{Client, PushInfo, PushKind, Value};
use tokio::time::Instant;

use self::entries::{Entries, Kept};
use crate::task::{self, Running};

const STRIPES: usize = 1024;
/// How long an entry is used, whatever is heard.
const LIFETIME: Duration = Duration::from_secs(2);

/// What goes when it is full, and how many entries it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L1 {
    policy: Policy,
    entries: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Lfu,
    Lru,
    Fifo,
}

impl L1 {
    /// What was used least often goes first (TinyLFU): the best for most loads.
    pub fn lfu(entries: usize) -> Self {
        let policy = Policy::Lfu;
        Self { policy, entries }
    }

    /// What was not used for longest goes first.
    pub fn lru(entries: usize) -> Self {
        let policy = Policy::Lru;
        Self { policy, entries }
    }

    /// What was kept first goes first.
    pub fn fifo(entries: usize) -> Self {
        let policy = Policy::Fifo;
        Self { policy, entries }
    }
}

/// Of one [`super::Cache`].
pub(super) struct Level {
    shared: Arc<Shared>,
    /// `None`: there is no Redis, hence nobody who tells.
    client: Option<Client>,
    link: OnceLock<Running>,
}

/// What the connection that tells shares with readers.
struct Shared {
    hasher: RandomState,
    stripes: Vec<AtomicU64>,
    start: Instant,
    /// Milliseconds since `start`: until then the connection is known to have told everything.
    good_until: AtomicU64,
    /// Locked to add a kind or to list them.
    kinds: Mutex<HashMap<&'static str, Arc<Local>>>,
}

/// Entries of one kind.
pub(super) struct Local {
    entries: Entries,
    /// Redis tells of this kind's keys.
    is_tracked: AtomicBool,
}

/// Where a key's stripe stood, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    stripe: u64,
    at: Instant,
}

impl Level {
    pub(super) fn new(client: Option<Client>) -> Self {
        let shared = Shared {
            hasher: RandomState::new(),
            stripes: (0..STRIPES).map(|_| AtomicU64::new(0)).collect(),
            start: Instant::now(),
            good_until: AtomicU64::new(0),
            kinds: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            client,
            link: OnceLock::new(),
        }
    }

    /// The same for all who ask by the same kind; the first one's settings count.
    pub(super) fn of(&self, kind: &'static str, settings: L1) -> Arc<Local> {
        let mut kinds = self.shared.kinds();
        let local = kinds.entry(kind).or_insert_with(|| {
            Arc::new(Local {
                entries: Entries::new(settings),
                is_tracked: AtomicBool::new(false),
            })
        });
        Arc::clone(local)
    }

    /// Before the entry is asked for. `None`: it may not be kept.
    pub(super) fn stamp(&self, local: &Local, key: &str) -> Option<Stamp> {
        if let Some(client) = &self.client {
            self.link
                .get_or_init(|| task::start(link::follow(client.clone(), Arc::clone(&self.shared))));
        }
        let at = Instant::now();
        let may = local.is_tracked.load(Ordering::Acquire) && self.shared.is_good(at);
        let stripe = may.then(|| self.shared.stripe(key).load(Ordering::Acquire));
        stripe.map(|stripe| Stamp { stripe, at })
    }

    pub(super) fn get(&self, local: &Local, key: &str, now: Stamp) -> Option<Arc<[u8]>> {
        let kept = local.entries.get(key)?;
        (kept.stripe == now.stripe && now.at < kept.until).then_some(kept.bytes)
    }

    /// `asked`: from before Redis was asked for it.
    pub(super) fn keep(&self, local: &Local, key: &str, bytes: &[u8], asked: Stamp) {
        let kept = Kept {
            bytes: Arc::from(bytes),
            stripe: asked.stripe,
            until: asked.at + LIFETIME,
        };
        local.entries.insert(key, kept);
    }

    /// After Redis was told: what came from it before is worth nothing from now on.
    pub(super) fn forget(&self, key: &str) {
        self.shared.forget(key);
    }
}

impl Shared {
    fn kinds(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, Arc<Local>>> {
        self.kinds.lock().expect("no holder of this lock panics")
    }

    fn stripe(&self, key: &str) -> &AtomicU64 {
        let hash = self.hasher.hash_one(key);
        &self.stripes[usize::try_from(hash % STRIPES as u64).unwrap_or_default()]
    }

    fn forget(&self, key: &str) {
        self.stripe(key).fetch_add(1, Ordering::AcqRel);
    }

    fn forget_all(&self) {
        for stripe in &self.stripes {
            stripe.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn is_good(&self, now: Instant) -> bool {
        self.millis(now) < self.good_until.load(Ordering::Acquire)
    }

    fn is_good_until(&self, end: Instant) {
        self.good_until.store(self.millis(end), Ordering::Release);
    }

    fn lost(&self) {
        self.good_until.store(0, Ordering::Release);
        self.forget_all();
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }

    fn hear(&self, push: &PushInfo) {
        match (&push.kind, push.data.first()) {
            (PushKind::Invalidate, Some(Value::Array(keys))) => {
                for key in keys {
                    match key {
                        Value::BulkString(key) => match str::from_utf8(key) {
                            Ok(key) => self.forget(key),
                            Err(_not_ours) => {}
                        },
                        _ => self.forget_all(),
                    }
                }
            }
            // All keys: the server was emptied.
            (PushKind::Invalidate, _) => self.forget_all(),
            (PushKind::Disconnection, _) => self.lost(),
            _ => {}
        }
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}
