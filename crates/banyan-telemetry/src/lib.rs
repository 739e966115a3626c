//! Emitting: logs and what may be in them, counters, latency histograms, and the page that metrics are read from.
//!
//! Counters and histograms have one writer (a core) and any number of readers: the writer never does an atomic
//! read-modify-write, so the request path shares no cache line that another core writes. Tasks: none.

mod counter;
mod durations;
pub mod exemplars;
pub mod families;
mod histogram;
pub mod log;
mod logarithmic;
pub mod moment;
mod record;
pub mod redact;
mod slowest;
pub mod span;
mod spread;
pub mod trace;

pub use counter::{Counter, Gauge};
pub use durations::{Counted, Durations};
pub use families::Families;
pub use histogram::{Histogram, Quantiles};
pub use record::{Level, Record};
pub use slowest::Slowest;
pub use spread::Spread;
