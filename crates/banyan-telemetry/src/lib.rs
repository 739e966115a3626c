//! Emitting: logs, counters, latency histograms.
//!
//! Counters and histograms have one writer (a core) and any number of readers: the writer never does an atomic
//! read-modify-write, so the request path shares no cache line that another core writes. Tasks: none.

mod counter;
mod histogram;
pub mod log;

pub use counter::{Counter, Gauge};
pub use histogram::{Histogram, Quantiles};
