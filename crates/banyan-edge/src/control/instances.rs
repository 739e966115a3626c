//! Of `/metrics`, what concerns processes and their instances: requests, queues, readiness, ejections, zones.

use banyan_telemetry::Families;
use banyan_telemetry::families::Kind::{Counter, Gauge};
use banyan_topology::snapshot::{self, EndpointState};
use banyan_topology::{InstanceId, ProcessName};
use banyan_upstream::zone::local_share;

use super::Control;
use super::page::{Row, all_of, by_class, histograms, numbers, with};
use crate::metrics::{EndpointCells, ProcessCells};

impl Control {
    pub(super) fn of_processes(&self, all: &mut Families) {
        let row = |name: &ProcessName| vec![("upstream", name.to_string())];
        let processes = self.measured.processes.iter();
        let rows: Vec<Row<'_, ProcessCells>> = processes
            .map(|(name, shards)| (row(name), all_of(shards)))
            .collect();
        let requests = (
            Counter,
            "banyan_edge_upstream_requests_total",
            "Requests that were to go to instances of the process.",
        );
        numbers(all, requests, &rows, |c| c.requests.get());
        let errors = (
            Counter,
            "banyan_edge_upstream_errors_total",
            "Of those: answered with 5xx, or broken off.",
        );
        numbers(all, errors, &rows, |c| c.errors.get());
        let retries = (
            Counter,
            "banyan_edge_upstream_retries_total",
            "Requests that were tried once more.",
        );
        numbers(all, retries, &rows, |c| c.retries.get());
        let refused = (
            Counter,
            "banyan_edge_queue_refused_total",
            "Requests refused because the queue was full or the wait too long.",
        );
        numbers(all, refused, &rows, |c| c.shed.get());
        let mut family = all.family(
            Gauge,
            "banyan_edge_queue_length",
            "Requests that wait for an instance.",
        );
        for (process, gate) in &self.gates {
            family.count(&[("upstream", process.as_str())], gate.waiting() as u64);
        }
        let wait = (
            "banyan_edge_queue_wait_seconds",
            "How long requests waited for an instance; only with edge.queue.max_connections.",
        );
        histograms(all, wait, &rows, |c| &c.queue_wait);
    }

    pub(super) fn of_endpoints(&self, all: &mut Families) {
        let row = |id: &InstanceId| vec![("upstream", id.process.to_string()), ("endpoint", id.to_string())];
        let endpoints = self.endpoints.iter();
        let rows: Vec<Row<'_, EndpointCells>> = endpoints
            .map(|(id, checked)| (row(id), all_of(&checked.cells)))
            .collect();
        let mut family = all.family(
            Gauge,
            "banyan_edge_endpoint_ready",
            "1: the instance passes its checks.",
        );
        for (id, checked) in &self.endpoints {
            family.count(&with(&row(id), &[]), u64::from(checked.active.ready()));
        }
        let answers = ("banyan_edge_endpoint_responses_total", "Answers of the instance.");
        by_class(all, answers, &[], &rows, |c| &c.responses);
        let took = (
            "http_client_request_duration_seconds",
            "From the request sent to the head of the instance's answer.",
        );
        histograms(all, took, &rows, |c| &c.durations);
        let failures = (
            Counter,
            "banyan_edge_endpoint_failures_total",
            "Requests to the instance that got no answer (no connection, broken off, timed out).",
        );
        numbers(all, failures, &rows, |c| c.failures.get());
        let active = (
            Gauge,
            "banyan_edge_endpoint_active_requests",
            "Requests under way to the instance.",
        );
        numbers(all, active, &rows, |c| c.in_flight.get());
    }

    pub(super) fn of_ejections(&self, all: &mut Families) {
        let each = || {
            self.endpoints
                .keys()
                .map(|id| (id, id.process.to_string(), id.to_string()))
        };
        let mut family = all.family(
            Gauge,
            "banyan_edge_endpoint_ejected",
            "1: passive health has taken the instance out for a while.",
        );
        for (id, process, name) in each() {
            let out = self.why_ejected(id).is_some();
            family.count(&[("upstream", &process), ("endpoint", &name)], u64::from(out));
        }
        let mut family = all.family(
            Counter,
            "banyan_edge_endpoint_ejections_total",
            "How often passive health has taken the instance out.",
        );
        for (id, process, name) in each() {
            family.count(
                &[("upstream", &process), ("endpoint", &name)],
                self.outliers.ejections(id),
            );
        }
    }

    /// Only where the edge is in a zone.
    pub(super) fn of_zones(&self, all: &mut Families) {
        let Some(own) = &self.snapshot.settings.zone else {
            return;
        };
        let help = "Share of the requests that goes to the edge's own zone by the zones' health; key-based policies have their own.";
        let mut family = all.family(Gauge, "banyan_edge_zone_local_share", help);
        for upstream in self.snapshot.upstreams() {
            let local = |endpoint: &&snapshot::Endpoint| {
                endpoint.state == EndpointState::Active && endpoint.zone.as_ref() == Some(own)
            };
            let sound = |endpoint: &&snapshot::Endpoint| {
                let ready = self.endpoints.get(&endpoint.id).is_some_and(|c| c.active.ready());
                ready && self.why_ejected(&endpoint.id).is_none()
            };
            let active = upstream.endpoints.iter().filter(local).count();
            let eligible = upstream.endpoints.iter().filter(local).filter(sound).count();
            let labels = [("upstream", upstream.process.as_str()), ("zone", own.as_str())];
            family.number(&labels, local_share(eligible, active));
        }
        let help = "1, and where the instance is.";
        let mut family = all.family(Gauge, "banyan_edge_endpoint_zone", help);
        for endpoint in self.snapshot.endpoints() {
            let Some(zone) = &endpoint.zone else { continue };
            let (process, name) = (endpoint.id.process.to_string(), endpoint.id.to_string());
            let labels = [
                ("upstream", process.as_str()),
                ("endpoint", &name),
                ("zone", zone.as_str()),
            ];
            family.count(&labels, 1);
        }
    }
}
