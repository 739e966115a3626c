//! What one core counts; the control task sums over cores.

use std::sync::Arc;

use banyan_telemetry::{Counter, Gauge, Histogram};
use banyan_topology::report::EdgeTotals;

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
}

/// What one core counts of one endpoint.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct EndpointCells {
    pub in_flight: Gauge,
    pub requests: Counter,
    pub failures: Counter,
}

impl CoreMetrics {
    pub(crate) fn answered(&self, status: http::StatusCode) {
        if let Some(counter) = self.responses.get(usize::from(status.as_u16() / 100)) {
            counter.increment();
        }
    }
}

/// Over all cores; `second` as given to the histograms.
pub(crate) fn totals(cores: &[Arc<CoreMetrics>], second: u64) -> EdgeTotals {
    let sum = |read: fn(&CoreMetrics) -> u64| cores.iter().map(|c| read(c)).sum();
    let quantiles = Histogram::quantiles(cores.iter().map(|c| &c.latency), second);
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
    }
}
