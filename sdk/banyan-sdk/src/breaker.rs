//! When Redis is not asked: after two failures in a row, until a probe succeeds.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open it.
const FAILURES: u32 = 2;
/// Between probes while it is open.
const PROBE_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Breaker {
    start: Instant,
    failures: AtomicU32,
    /// Milliseconds since `start`: when the next caller may probe.
    probe_at: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ask,
    /// Ask for a sign of life first.
    Probe,
    Skip,
}

impl Breaker {
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            failures: AtomicU32::new(0),
            probe_at: AtomicU64::new(0),
        }
    }

    /// One caller at a time is told to probe.
    pub(crate) fn verdict(&self, now: Instant) -> Verdict {
        if !self.is_open() {
            return Verdict::Ask;
        }
        let now = self.millis(now);
        let at = self.probe_at.load(Ordering::Relaxed);
        let next = now + u64::try_from(PROBE_EVERY.as_millis()).unwrap_or(u64::MAX);
        let mine = now >= at
            && self
                .probe_at
                .compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine { Verdict::Probe } else { Verdict::Skip }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= FAILURES
    }

    /// Of an ordinary call: ends a row of failures, and never closes what is open.
    pub(crate) fn succeeded(&self) {
        let failures = self.failures.load(Ordering::Relaxed);
        // Mostly zero already: a look costs other cores nothing.
        if failures != 0 && failures < FAILURES {
            // Lost to another's failure: the row goes on.
            self.failures
                .compare_exchange(failures, 0, Ordering::Relaxed, Ordering::Relaxed)
                .ok();
        }
    }

    /// The probe succeeded.
    pub(crate) fn close(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// Opens it at once.
    pub(crate) fn trip(&self) {
        self.failures.fetch_max(FAILURES, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, now: Instant) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let next = self.millis(now + PROBE_EVERY);
        self.probe_at.fetch_max(next, Ordering::Relaxed);
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_two_failures_in_a_row_and_lets_one_caller_probe() {
        let start = Instant::now();
        let breaker = Breaker::new(start);
        breaker.failed(start);
        assert_eq!(breaker.verdict(start), Verdict::Ask);
        breaker.succeeded();
        breaker.failed(start);
        assert_eq!(breaker.verdict(start), Verdict::Ask);
        breaker.failed(start);
        assert_eq!(breaker.verdict(start), Verdict::Skip);
        let later = start + PROBE_EVERY;
        assert_eq!(breaker.verdict(later), Verdict::Probe);
        assert_eq!(breaker.verdict(later), Verdict::Skip);
        breaker.succeeded();
        assert_eq!(breaker.verdict(later), Verdict::Skip, "only the probe closes it");
        breaker.close();
        assert_eq!(breaker.verdict(later), Verdict::Ask);
        breaker.trip();
        assert!(breaker.is_open());
    }
}
