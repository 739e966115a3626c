//! What one core has under way at one endpoint, and how fast it answered lately.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A sample's influence halves over this.
const HALF: Duration = Duration::from_secs(5);
/// No expectation is above this: one lost minute must not be remembered for an hour.
const MOST: f64 = 10.0;

#[derive(Debug, Default)]
pub struct Load {
    outstanding: Cell<u32>,
    /// Seconds, and when they were true.
    latency: Cell<Option<(f64, Instant)>>,
}

/// What carries a [`Load`].
pub trait Loaded {
    fn load(&self) -> &Load;
}

impl<T: Loaded> Loaded for Rc<T> {
    fn load(&self) -> &Load {
        (**self).load()
    }
}

impl Load {
    pub fn begin(&self) {
        self.outstanding.set(self.outstanding.get() + 1);
    }

    pub fn end(&self) {
        self.outstanding.set(self.outstanding.get().saturating_sub(1));
    }

    pub fn outstanding(&self) -> u32 {
        self.outstanding.get()
    }

    /// An answer began after `took`, or failed after it. A fast failure does not look fast.
    pub fn observe(&self, now: Instant, took: Duration, sound: bool) {
        let before = self.latency(now);
        let took = took.as_secs_f64();
        let sample = match before {
            Some(before) if !sound => took.max(before * 2.0),
            _ => took,
        };
        let latency = match self.latency.get() {
            // A peak counts at once, an improvement by and by.
            Some((old, at)) if sample < old => {
                let weight = fading(now.saturating_duration_since(at));
                old * weight + sample * (1.0 - weight)
            }
            _ => sample,
        };
        self.latency.set(Some((latency.min(MOST), now)));
    }

    /// Expected seconds. What was seen fades, so that a slow endpoint is tried again.
    pub fn latency(&self, now: Instant) -> Option<f64> {
        let (latency, at) = self.latency.get()?;
        Some(latency * fading(now.saturating_duration_since(at)))
    }
}

/// 1 at once, a half after [`HALF`]; cheaper than an exponential, and as good for comparing.
fn fading(passed: Duration) -> f64 {
    let half = HALF.as_secs_f64();
    half / (half + passed.as_secs_f64())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a start for virtual time")]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let (load, start) = (Load::default(), Instant::now());
        assert_eq!(load.latency(start), None);
        load.observe(start, MS, true);
        load.observe(start, MS * 100, true);
        assert_eq!(load.latency(start), Some(0.1));
        let later = start + HALF;
        assert!((load.latency(later).unwrap() - 0.05).abs() < 1e-9);
        load.observe(later, MS, true);
        let latency = load.latency(later).unwrap();
        assert!(latency > 0.05 && latency < 0.1, "{latency}");
    }

    #[test]
    fn a_fast_failure_does_not_look_fast() {
        let (load, start) = (Load::default(), Instant::now());
        load.observe(start, MS * 50, true);
        load.observe(start, MS, false);
        assert_eq!(load.latency(start), Some(0.1));
    }
}
