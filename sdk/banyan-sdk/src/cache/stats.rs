//! What the cache counts, per process and since its start; an app's own telemetry hears of each as it happens.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Something that the cache counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Answered from Redis.
    Hit,
    /// Answered from this process's memory ([`super::L1`]).
    LocalHit,
    /// Answered from Redis past the soft time: another loads, or the load failed.
    StaleHit,
    /// A load that is allowed to store.
    Load,
    /// Its value was not stored, as the key was invalidated meanwhile.
    Rejected,
    /// A load without the cache: Redis is away, or another's load took too long.
    DirectLoad,
    /// A read waits for another's load.
    Wait,
    /// A read refused, as too many loads are under way without Redis.
    Refused,
    Invalidated,
    /// Redis could not be told; the row repairs it.
    MissedInvalidation,
}

impl Event {
    const ALL: [Self; 10] = [
        Self::Hit,
        Self::LocalHit,
        Self::StaleHit,
        Self::Load,
        Self::Rejected,
        Self::DirectLoad,
        Self::Wait,
        Self::Refused,
        Self::Invalidated,
        Self::MissedInvalidation,
    ];

    /// As a label of a metric.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::LocalHit => "local_hit",
            Self::StaleHit => "stale_hit",
            Self::Load => "load",
            Self::Rejected => "rejected",
            Self::DirectLoad => "direct_load",
            Self::Wait => "wait",
            Self::Refused => "refused",
            Self::Invalidated => "invalidated",
            Self::MissedInvalidation => "missed_invalidation",
        }
    }
}

/// A moment's numbers. Each only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Answered from Redis or from this process's memory.
    pub hits: u64,
    /// Of those, from this process's memory.
    pub local_hits: u64,
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
    /// Loads that ran at the same time, at the most, with the cache and without.
    pub most_loads_at_once: u64,
}

impl Stats {
    /// Of all reads that were answered; `None`: there was none.
    pub fn hit_ratio(&self) -> Option<f64> {
        let reads = self.hits + self.loads + self.direct_loads;
        (reads > 0).then(|| self.hits as f64 / reads as f64)
    }

    /// In Prometheus's text format, for an app's own `/metrics`: `banyan_cache_events_total{event="hit"} 7`.
    pub fn prometheus(&self) -> String {
        let mut text = String::from(
            "# HELP banyan_cache_events_total What the app's cache did, in this process.\n\
             # TYPE banyan_cache_events_total counter\n",
        );
        for event in Event::ALL {
            let (name, count) = (event.name(), self.of(event));
            writeln!(text, "banyan_cache_events_total{{event=\"{name}\"}} {count}")
                .expect("a String takes all");
        }
        writeln!(
            text,
            "# HELP banyan_cache_loads_at_once_max Loads of this process at the same time, at the most.\n\
             # TYPE banyan_cache_loads_at_once_max gauge\n\
             banyan_cache_loads_at_once_max {}",
            self.most_loads_at_once
        )
        .expect("a String takes all");
        text
    }

    fn of(&self, event: Event) -> u64 {
        match event {
            Event::Hit => self.hits - self.local_hits - self.stale,
            Event::LocalHit => self.local_hits,
            Event::StaleHit => self.stale,
            Event::Load => self.loads,
            Event::Rejected => self.rejected,
            Event::DirectLoad => self.direct_loads,
            Event::Wait => self.waits,
            Event::Refused => self.refused,
            Event::Invalidated => self.invalidations,
            Event::MissedInvalidation => self.missed_invalidations,
        }
    }
}

pub(super) type Hook = Box<dyn Fn(Event) + Send + Sync>;

#[derive(Default)]
pub(super) struct Counters {
    counts: [AtomicU64; Event::ALL.len()],
    loading: AtomicU64,
    most_loading: AtomicU64,
    hook: OnceLock<Hook>,
}

impl Counters {
    pub(super) fn note(&self, event: Event) {
        self.counts[event as usize].fetch_add(1, Ordering::Relaxed);
        if let Some(hook) = self.hook.get() {
            hook(event);
        }
    }

    /// Notes the event and counts the load as under way until the answer is dropped.
    pub(super) fn loading(&self, event: Event) -> Loading<'_> {
        self.note(event);
        let now = self.loading.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_loading.fetch_max(now, Ordering::Relaxed);
        Loading(self)
    }

    /// The first hook stays.
    pub(super) fn tell(&self, hook: Hook) {
        self.hook.set(hook).ok();
    }

    pub(super) fn now(&self) -> Stats {
        let read = |event: Event| self.counts[event as usize].load(Ordering::Relaxed);
        let (local_hits, stale) = (read(Event::LocalHit), read(Event::StaleHit));
        Stats {
            hits: read(Event::Hit) + local_hits + stale,
            local_hits,
            stale,
            loads: read(Event::Load),
            rejected: read(Event::Rejected),
            direct_loads: read(Event::DirectLoad),
            waits: read(Event::Wait),
            refused: read(Event::Refused),
            invalidations: read(Event::Invalidated),
            missed_invalidations: read(Event::MissedInvalidation),
            most_loads_at_once: self.most_loading.load(Ordering::Relaxed),
        }
    }
}

pub(super) struct Loading<'c>(&'c Counters);

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.0.loading.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_counted_told_and_printed_once() {
        let told = std::sync::Arc::new(AtomicU64::new(0));
        let counters = Counters::default();
        let hook = std::sync::Arc::clone(&told);
        counters.tell(Box::new(move |_| {
            hook.fetch_add(1, Ordering::Relaxed);
        }));
        for event in Event::ALL {
            counters.note(event);
        }
        let stats = counters.now();
        assert_eq!(told.load(Ordering::Relaxed), 10);
        assert_eq!((stats.hits, stats.hit_ratio()), (3, Some(0.6)));
        let page = stats.prometheus();
        assert_eq!(page.matches("\"} 1\n").count(), 10, "{page}");
    }

    #[test]
    fn the_most_loads_at_once_are_those_that_overlapped() {
        let counters = Counters::default();
        drop(counters.loading(Event::Load));
        let both = [counters.loading(Event::Load), counters.loading(Event::DirectLoad)];
        drop(both);
        drop(counters.loading(Event::Load));
        let stats = counters.now();
        assert_eq!(
            (stats.loads, stats.direct_loads, stats.most_loads_at_once),
            (3, 1, 2)
        );
        assert_eq!(serde_json::json!(stats)["most_loads_at_once"], 2);
    }
}
