//! Who asks the origin and who waits, over all cores: the table of [`Fill`]s, and how those who wait hear.
//!
//! Touched on misses only; 64 shards, each behind a lock that is held for one look-up. Keys are 128 bits of a keyed hash
//! of all that makes requests alike: URI, side, selection, range and conditions.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use banyan_httpcache::{Enter, Fill, Next, Time};
use banyan_upstream::retry::Effect;

use super::object::Coming;
use crate::respond::Refusal;

const SHARDS: usize = 64;
/// A shard with fewer keys is not swept.
const SWEEP_FROM: usize = 256;
/// More keys that were uncacheable a moment ago are not remembered.
const MOST: usize = 16 * 1024;

pub(crate) struct Fills {
    shards: Vec<Mutex<Shard>>,
    hashers: [RandomState; 2],
}

#[derive(Default)]
struct Shard {
    cells: HashMap<u128, Cell>,
    sweep_at: usize,
}

struct Cell {
    fill: Fill,
    /// While somebody leads.
    progress: Option<watch::Sender<Progress>>,
    /// What all heard last time.
    refusal: Refusal,
}

impl Cell {
    fn new() -> Self {
        Self {
            fill: Fill::default(),
            progress: None,
            refusal: Refusal::NoEndpoint,
        }
    }
}

/// What those who wait hear.
#[derive(Clone)]
pub(crate) enum Progress {
    Asking,
    Streams(Arc<Coming>),
    /// The leader has failed; another one may try.
    Again,
    /// The store has changed: look once more.
    Changed,
    Uncacheable,
    /// What came is for who asked in that way: those who ask otherwise may try.
    ForOne,
    Failed(Refusal),
}

pub(crate) enum Entered {
    Lead(Lead),
    Wait(Waiter),
    Join(Arc<Coming>),
    Alone,
    Shed,
    Failed(Refusal),
}

impl Default for Fills {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hashers: [RandomState::new(), RandomState::new()],
        }
    }
}

impl Fills {
    pub(crate) fn key(&self, alike: &impl Hash) -> u128 {
        let [high, low] = [0, 1].map(|n| self.hashers[n].hash_one(alike));
        u128::from(high) << 64 | u128::from(low)
    }

    fn shard(&self, key: u128) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[key as usize % SHARDS];
        // Nothing under the lock can panic half-way.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn enter(self: &Arc<Self>, key: u128, now: Time) -> Entered {
        let mut shard = self.shard(key);
        if !shard.cells.contains_key(&key) {
            shard.make_room(now);
        }
        let cell = shard.cells.entry(key).or_insert_with(Cell::new);
        match cell.fill.enter(now) {
            Enter::Lead => {
                cell.progress = Some(watch::Sender::new(Progress::Asking));
                Entered::Lead(Lead {
                    fills: Arc::clone(self),
                    key,
                    is_over: false,
                })
            }
            Enter::Wait(limit) => match &cell.progress {
                Some(progress) => Entered::Wait(Waiter {
                    fills: Arc::clone(self),
                    key,
                    progress: progress.subscribe(),
                    limit,
                }),
                None => Entered::Alone,
            },
            Enter::Join => match cell.progress.as_ref().map(|progress| progress.borrow().clone()) {
                Some(Progress::Streams(coming)) => Entered::Join(coming),
                _ => Entered::Alone,
            },
            Enter::Alone => Entered::Alone,
            Enter::Shed => Entered::Shed,
            Enter::Failed => Entered::Failed(cell.refusal),
        }
    }

    /// Requests of this key are for one each: what came for the last one was.
    pub(crate) fn is_for_one(&self, key: u128, now: Time) -> bool {
        let shard = self.shard(key);
        shard.cells.get(&key).is_some_and(|cell| cell.fill.is_alone(now))
    }

    fn note_for_one(&self, key: u128, now: Time) {
        let mut shard = self.shard(key);
        shard.make_room(now);
        let cell = shard.cells.entry(key).or_insert_with(Cell::new);
        cell.fill.uncacheable(now);
    }

    fn tell(&self, key: u128, change: impl FnOnce(&mut Cell) -> Progress) {
        let mut shard = self.shard(key);
        let Some(cell) = shard.cells.get_mut(&key) else {
            return;
        };
        let news = change(cell);
        let leads_on = matches!(news, Progress::Streams(_));
        if let Some(progress) = &cell.progress {
            progress.send_replace(news);
        }
        if !leads_on {
            cell.progress = None;
        }
    }
}

impl Shard {
    fn make_room(&mut self, now: Time) {
        if self.cells.len() < self.sweep_at.max(SWEEP_FROM) {
            return;
        }
        let full = self.cells.len() >= MOST;
        self.cells.retain(|_, cell| {
            let only_remembered = cell.progress.is_none();
            !(cell.fill.is_forgettable(now) || full && only_remembered)
        });
        self.sweep_at = self.cells.len() * 2;
    }
}

/// Whoever asks for all. Dropped before it has said how that went, it has failed.
pub(crate) struct Lead {
    fills: Arc<Fills>,
    key: u128,
    is_over: bool,
}

impl Lead {
    pub(crate) fn streams(&self, coming: &Arc<Coming>) {
        self.fills.tell(self.key, |cell| {
            cell.fill.streams();
            Progress::Streams(Arc::clone(coming))
        });
    }

    pub(crate) fn uncacheable(mut self, now: Time) {
        self.end(|cell| {
            cell.fill.uncacheable(now);
            Progress::Uncacheable
        });
    }

    /// It is an error, which says nothing of the next answer.
    pub(crate) fn erred(mut self, now: Time) {
        self.end(|cell| {
            cell.fill.erred(now);
            Progress::Uncacheable
        });
    }

    /// The answer is for nobody else because of how it was asked for: that is remembered of `key`, those who ask in the same way.
    pub(crate) fn for_one(mut self, key: u128, now: Time) {
        self.fills.note_for_one(key, now);
        self.end(|cell| {
            cell.fill.done();
            Progress::ForOne
        });
    }

    /// The store has changed, or what was to be stored broke off.
    pub(crate) fn done(mut self) {
        self.end(|cell| {
            cell.fill.done();
            Progress::Changed
        });
    }

    /// The origin need not be asked: others look again, too.
    pub(crate) fn needless(mut self) {
        self.end(|cell| {
            cell.fill.done();
            Progress::Again
        });
    }

    /// The origin answered with an error, and something stored stands in.
    pub(crate) fn stands_in(mut self, refusal: Refusal) {
        self.end(|cell| {
            cell.fill.done();
            Progress::Failed(refusal)
        });
    }

    pub(crate) fn failed(mut self, refusal: Refusal, now: Time) {
        self.fail(refusal, now);
    }

    fn fail(&mut self, refusal: Refusal, now: Time) {
        self.end(|cell| {
            cell.refusal = refusal;
            match cell.fill.failed(now) {
                Next::Again => Progress::Again,
                Next::Fail => Progress::Failed(refusal),
            }
        });
    }

    fn end(&mut self, change: impl FnOnce(&mut Cell) -> Progress) {
        self.is_over = true;
        self.fills.tell(self.key, change);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if !self.is_over {
            self.fail(Refusal::BadGateway(Effect::Unknown), Time::default());
        }
    }
}

pub(crate) struct Waiter {
    fills: Arc<Fills>,
    key: u128,
    progress: watch::Receiver<Progress>,
    limit: Duration,
}

impl Waiter {
    /// `None`: it has waited long enough.
    pub(crate) async fn news(mut self) -> Option<Progress> {
        let news = self
            .progress
            .wait_for(|progress| !matches!(progress, Progress::Asking));
        match tokio::time::timeout(self.limit, news).await {
            Ok(Ok(progress)) => Some(progress.clone()),
            // The last word was said, and its sender is gone.
            Ok(Err(_)) => Some(Progress::Again),
            Err(_elapsed) => None,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(cell) = self.fills.shard(self.key).cells.get_mut(&self.key) {
            cell.fill.leave();
        }
    }
}
