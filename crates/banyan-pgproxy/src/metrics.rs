//! What a worker counts; any thread may read it.

use std::time::Duration;

use banyan_telemetry::{Counter, Durations, Gauge, Histogram};

#[derive(Default)]
pub(crate) struct WorkerMetrics {
    pub(crate) clients: Gauge,
    /// Backends that a client has.
    pub(crate) active: Gauge,
    pub(crate) waiting: Gauge,
    pub(crate) logins: Counter,
    pub(crate) logins_refused: Counter,
    pub(crate) connects: Counter,
    pub(crate) units: Counter,
    /// Units that ran on a replica.
    pub(crate) reads_elsewhere: Counter,
    /// Proven reads for which no replica was fresh, or free, in time.
    pub(crate) reads_behind: Counter,
    /// Units that ran again on the primary.
    pub(crate) reads_again: Counter,
    /// Units that ran again because their server died under them, and commits that its successor vouched for.
    pub(crate) runs_again: Counter,
    pub(crate) acknowledged: Counter,
    /// How long units waited for a backend that was not free at once, and in holds.
    pub(crate) pool_wait: Wait,
    pub(crate) hold_wait: Wait,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) refusals: Counter,
    pub(crate) cancels: Counter,
    pub(crate) pins: Counter,
    pub(crate) desyncs: Counter,
    pub(crate) eof: Counter,
    pub(crate) shutdown: Counter,
    pub(crate) refused: Counter,
}

/// Since the start, for those who keep history, and of the last seconds.
#[derive(Default)]
pub(crate) struct Wait {
    pub(crate) durations: Durations,
    pub(crate) lately: Histogram,
}

impl Wait {
    pub(crate) fn record(&self, second: u64, took: Duration) {
        self.durations.record(took);
        self.lately.record(second, took);
    }
}
