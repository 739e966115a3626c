//! What a worker counts; any thread may read it.

use banyan_telemetry::{Counter, Gauge, Histogram};

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
    pub(crate) waits: Counter,
    /// How long units waited for a backend.
    pub(crate) wait: Histogram,
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
