//! What a request leaves behind when it ends: counters, durations, a line in the access log.

use std::time::Duration;

use http::{Method, StatusCode, Uri, Version};

use banyan_config::Fraction;
use banyan_telemetry::trace::TraceParent;
use banyan_upstream::balance::hash;

use super::Exchange;
use crate::access_log::Record;
use crate::cache::hop::FromEdge;
use crate::metrics::{CacheCells, RouteCells};
use crate::respond::Outcome;
use crate::route::serving::Routed;

/// What the log says when the client went away before there was an answer (nginx's number).
const CLIENT_GONE: u16 = 499;

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.is_seen() {
            return;
        }
        // Anew: what was answered at once took time, too.
        let now = self.core.clock.now();
        let second = now.saturating_duration_since(self.core.start).as_secs();
        let took = now.saturating_duration_since(self.started);
        if self.part.is_some() {
            self.count_of_process();
            if self.forwarded {
                self.group.cells.latency.record(second, took);
            }
            return;
        }
        self.peer.activity.end();
        self.core.metrics.in_flight.decrement();
        self.count(second, took);
        if let Some(step) = self.trace {
            self.tell_trace(step, second, took);
        }
        if let Some(asked) = self.logged.take() {
            self.log(asked.as_ref(), took);
        }
    }
}

impl Exchange {
    fn count(&self, second: u64, took: Duration) {
        let listener = self.peer.listener();
        listener.active.decrement();
        listener.requests[usize::from(self.version == Version::HTTP_2)]
            .of(self.status)
            .increment();
        listener.sent.add(self.bytes);
        let route = self.route_cells();
        route.sent.add(self.bytes);
        if self.is_hit {
            self.cache_cells().sent.add(self.bytes);
        }
        if let Some(received) = &self.received {
            listener.received.add(received.get());
            route.received.add(received.get());
        }
        if self.routed.is_some() {
            route.active.decrement();
        }
        self.count_of_process();
        // A tunnel lasts as long as its user stays: that is no latency.
        if self.status == Some(StatusCode::SWITCHING_PROTOCOLS) {
            route.upgraded.increment();
            return;
        }
        self.core.metrics.latency.record(second, took);
        route.durations.of(self.status).record(took);
        if self.forwarded {
            self.group.cells.latency.record(second, took);
        }
    }

    fn count_of_process(&self) {
        if self.forwarded {
            self.group.cells.requests.increment();
            if self.failed() {
                self.group.cells.errors.increment();
            }
        }
    }

    pub(super) fn failed(&self) -> bool {
        self.status.is_some_and(|status| status.is_server_error())
            || (self.outcome == Outcome::Unknown && self.status.is_some())
    }

    pub(crate) fn route_cells(&self) -> &RouteCells {
        match &self.routed {
            Some(routed) => routed.cells(),
            None => &self.core.metrics.unrouted,
        }
    }

    /// Of the route, by who asks.
    pub(crate) fn cache_cells(&self) -> &CacheCells {
        let cells = self.route_cells();
        match self.relayed {
            Some(FromEdge { beside: true, .. }) => &cells.beside,
            _ => &cells.cache,
        }
    }

    /// Whether it has a line, and which share of its like it stands for: errors and slow requests always have one, others
    /// by their trace (without one, their id), which is the same at every hop: a trace's lines are all there or none.
    fn sampled(&self, took: Duration) -> Option<Option<Fraction>> {
        let settings = self.core.settings();
        let rules = &settings.log;
        let unusual = self.status.is_none_or(|status| status.as_u16() >= 400)
            || self.outcome == Outcome::Unknown
            || took >= rules.slow;
        if unusual || rules.sample == Fraction::ALL {
            return Some(None);
        }
        rules
            .sample
            .takes(
                self.trace
                    .map_or_else(|| hash::bytes(self.id.as_bytes()), TraceParent::spread),
            )
            .then_some(Some(rules.sample))
    }

    fn log(&self, asked: Option<&(Method, Uri)>, took: Duration) {
        let Some(sample) = self.sampled(took) else { return };
        let (method, path) = asked.map_or(("-", "-"), |(method, uri)| (method.as_str(), uri.path()));
        self.core.log.borrow_mut().record(&Record {
            unix_ms: self.core.clock.unix_ms(),
            id: self.id.to_str().unwrap_or("-"),
            client: self.peer.address,
            method,
            path,
            status: self.status.map_or(CLIENT_GONE, |s| s.as_u16()),
            bytes: self.bytes,
            took,
            route: self.routed.as_ref().map(Routed::name),
            user: self.filtered.as_ref().and_then(|filtered| filtered.who()),
            trace: self.trace,
            upstream: self.upstream.as_ref().map(|u| u.label.as_str()),
            waited: self.waited,
            retries: self.retries,
            protocol: match self.version {
                Version::HTTP_2 => "2",
                Version::HTTP_10 => "1.0",
                _ => "1.1",
            },
            tls: self.peer.tls.get().map(banyan_tls::Version::name),
            outcome: self.outcome.name(),
            sample,
        });
    }
}
