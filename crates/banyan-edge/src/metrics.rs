//! What one core counts; the control task sums over cores.

use std::sync::Arc;

use banyan_telemetry::{Counter, Gauge, Histogram};
use banyan_topology::report::EdgeTotals;

use crate::forward::gate::Seats;

/// Written by one core only.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct CoreMetrics {
    pub requests: Counter,
    /// By hundreds of the status: index 2 is 2xx.
    pub responses: [Counter; 6],
    pub made_here: Counter,
    pub retries: Counter,
    pub connections: Counter,
    pub open: Gauge,
    pub in_flight: Gauge,
    pub latency: Histogram,
    /// For an endpoint; recorded where there is a limit per endpoint.
    pub queue_wait: Histogram,
    /// Refused because everything was busy for too long, or the queue was full.
    pub shed: Counter,
    /// Connections refused for their client address.
    pub turned_away: Counter,
}

/// What one core counts of one endpoint.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct EndpointCells {
    pub in_flight: Gauge,
    pub requests: Counter,
    pub failures: Counter,
    /// Answers that were no 5xx.
    pub successes: Counter,
    /// Shared with the other cores.
    pub seats: Arc<Seats>,
}

impl CoreMetrics {
    pub(crate) fn answered(&self, status: http::StatusCode) {
        if let Some(counter) = self.responses.get(usize::from(status.as_u16() / 100)) {
            counter.increment();
        }
    }
}

/// Over all cores; `second` as given to the histograms.
pub(crate) fn totals(cores: &[Arc<CoreMetrics>], waiting: usize, second: u64) -> EdgeTotals {
    let sum = |read: fn(&CoreMetrics) -> u64| cores.iter().map(|c| read(c)).sum();
    let quantiles = Histogram::quantiles(cores.iter().map(|c| &c.latency), second);
    let waits = Histogram::quantiles(cores.iter().map(|c| &c.queue_wait), second);
    EdgeTotals {
        requests: sum(|c| c.requests.get()),
        responses_2xx: sum(|c| c.responses[2].get()),
        responses_3xx: sum(|c| c.responses[3].get()),
        responses_4xx: sum(|c| c.responses[4].get()),
        responses_5xx: sum(|c| c.responses[5].get()),
        made_here: sum(|c| c.made_here.get()),
        retries: sum(|c| c.retries.get()),
        connections: sum(|c| c.connections.get()),
        in_flight: sum(|c| c.in_flight.get()),
        p50_us: quantiles.p50_us,
        p99_us: quantiles.p99_us,
        queue_length: waiting as u64,
        queue_p50_us: waits.p50_us,
        queue_p99_us: waits.p99_us,
        shed: sum(|c| c.shed.get()),
        turned_away: sum(|c| c.turned_away.get()),
    }
}
