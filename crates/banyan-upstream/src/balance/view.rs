//! A list of entries as the policies' field at one moment.

use std::time::{Duration, Instant};

use super::{Demand, Field, Policy};
use crate::endpoint::Entry;
use crate::load::Loaded;

/// Share of the work at the beginning of a slow start.
const COLD: f64 = 0.1;

struct View<'a, D> {
    entries: &'a [Entry<D>],
    eligible: &'a [usize],
    now: Instant,
    slow_start: Duration,
    /// The warmest eligible one's warmth; `None`: none is in its slow start.
    warmest: Option<f64>,
}

/// `eligible`: ascending places in `entries`. `warm`: when the last slow start ends.
pub(crate) fn pick<D: Loaded>(
    policy: &mut Policy,
    entries: &[Entry<D>],
    eligible: &[usize],
    demand: &Demand,
    slow_start: Duration,
    warm: Option<Instant>,
) -> Option<usize> {
    let mut view = View {
        entries,
        eligible,
        now: demand.now,
        slow_start,
        warmest: None,
    };
    if warm.is_some_and(|warm| demand.now < warm) {
        let absolute = eligible.iter().map(|&slot| view.absolute(slot));
        view.warmest = Some(absolute.fold(COLD, f64::max));
    }
    policy.pick(&view, demand)
}

impl<D> View<'_, D> {
    fn absolute(&self, slot: usize) -> f64 {
        warmth(self.entries[slot].since, self.now, self.slow_start)
    }
}

/// 10 % when it has just become ready, 100 % at the end of the slow start.
fn warmth(since: Option<Instant>, now: Instant, slow_start: Duration) -> f64 {
    match since {
        Some(since) if !slow_start.is_zero() => {
            let passed = now.saturating_duration_since(since).as_secs_f64() / slow_start.as_secs_f64();
            (COLD + (1.0 - COLD) * passed).min(1.0)
        }
        _ => 1.0,
    }
}

impl<D: Loaded> Field for View<'_, D> {
    fn eligible(&self) -> &[usize] {
        self.eligible
    }

    fn weight(&self, slot: usize) -> f64 {
        self.entries[slot].weight
    }

    fn warmth(&self, slot: usize) -> f64 {
        self.warmest.map_or(1.0, |warmest| self.absolute(slot) / warmest)
    }

    fn outstanding(&self, slot: usize) -> u32 {
        self.entries[slot].data.load().outstanding()
    }

    fn latency(&self, slot: usize) -> Option<f64> {
        self.entries[slot].data.load().latency(self.now)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a start for virtual time")]
mod tests {
    use super::*;

    #[test]
    fn a_slow_start_rises_from_a_tenth_to_all() {
        let start = Instant::now();
        let at = |seconds| {
            let now = start + Duration::from_secs(seconds);
            (warmth(Some(start), now, Duration::from_secs(20)) * 100.0).round()
        };
        assert_eq!([at(0), at(10), at(20), at(100)], [10.0, 55.0, 100.0, 100.0]);
        assert_eq!(warmth(Some(start), start, Duration::ZERO), 1.0);
        assert_eq!(warmth(None, start, Duration::from_secs(20)), 1.0);
    }
}
