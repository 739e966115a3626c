//! What the cache counts, per process and since its start.

use std::sync::atomic::{AtomicU64, Ordering};

/// A moment's numbers. Each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Answered from Redis.
    pub hits: u64,
    /// Of those, past the soft time while another loaded, or because the load failed.
    pub stale: u64,
    /// Loads that were allowed to store.
    pub loads: u64,
    /// Of those, values not stored because the key was invalidated meanwhile.
    pub rejected: u64,
    /// Loads without the cache: Redis was away, or another's load took too long.
    pub direct_loads: u64,
    /// Reads that waited for another's load.
    pub waits: u64,
    /// Reads refused because too many loads were under way without Redis.
    pub refused: u64,
    pub invalidations: u64,
    /// Invalidations that Redis could not be told: their rows repair it.
    pub missed_invalidations: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    hits: AtomicU64,
    stale: AtomicU64,
    loads: AtomicU64,
    rejected: AtomicU64,
    direct_loads: AtomicU64,
    waits: AtomicU64,
    refused: AtomicU64,
    invalidations: AtomicU64,
    missed: AtomicU64,
}

fn one_more(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn hit(&self) {
        one_more(&self.hits);
    }

    pub(super) fn stale_hit(&self) {
        one_more(&self.hits);
        one_more(&self.stale);
    }

    pub(super) fn loaded(&self) {
        one_more(&self.loads);
    }

    pub(super) fn rejected(&self) {
        one_more(&self.rejected);
    }

    pub(super) fn loaded_directly(&self) {
        one_more(&self.direct_loads);
    }

    pub(super) fn waited(&self) {
        one_more(&self.waits);
    }

    pub(super) fn refused(&self) {
        one_more(&self.refused);
    }

    pub(super) fn invalidated(&self) {
        one_more(&self.invalidations);
    }

    pub(super) fn missed(&self) {
        one_more(&self.missed);
    }

    pub(super) fn now(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            hits: read(&self.hits),
            stale: read(&self.stale),
            loads: read(&self.loads),
            rejected: read(&self.rejected),
            direct_loads: read(&self.direct_loads),
            waits: read(&self.waits),
            refused: read(&self.refused),
            invalidations: read(&self.invalidations),
            missed_invalidations: read(&self.missed),
        }
    }
}
