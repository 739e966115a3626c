//! Numbers that one core writes and any thread reads.

use std::sync::atomic::{AtomicU64, Ordering};

/// Only grows. One writer: two writers would lose increments (that is the price of no atomic addition).
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// Grows and shrinks. One writer.
///
/// Writes are `Release` and reads `Acquire`, so that a reader who was told of a later event by the writer also sees
/// every change before it.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Counter {
    pub fn add(&self, amount: u64) {
        let value = self.0.load(Ordering::Relaxed);
        self.0.store(value.wrapping_add(amount), Ordering::Relaxed);
    }

    pub fn increment(&self) {
        self.add(1);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    pub fn increment(&self) {
        let value = self.0.load(Ordering::Relaxed);
        self.0.store(value + 1, Ordering::Release);
    }

    /// Returns what is left.
    pub fn decrement(&self) -> u64 {
        let left = self.0.load(Ordering::Relaxed).saturating_sub(1);
        self.0.store(left, Ordering::Release);
        left
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_returns_to_zero_and_not_below() {
        let gauge = Gauge::default();
        gauge.increment();
        gauge.increment();
        assert_eq!(gauge.decrement(), 1);
        assert_eq!(gauge.decrement(), 0);
        assert_eq!(gauge.decrement(), 0);
        assert_eq!(gauge.get(), 0);
    }
}
