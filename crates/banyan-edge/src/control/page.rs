//! What all cores have counted, as families of metrics. Names follow OpenTelemetry's conventions for HTTP where there is
//! one (in their Prometheus form), else begin with `banyan_edge_`; docs/reference/metrics.md lists them.
//!
//! Labels are bounded: routes, processes and endpoints of the snapshot, listeners, classes of statuses. Counters of what is
//! no longer configured are gone; those of an address, when its last connection has ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use banyan_runtime::own;
use banyan_telemetry::families::Kind::{self, Counter, Gauge, Histogram};
use banyan_telemetry::{Counted, Durations, Families};
use banyan_topology::snapshot::Speaks;

use super::Control;
use super::measured::OTHER;
use crate::metrics::{ByClass, CoreMetrics, ListenerCells, MirrorCells, RouteCells};

/// What no route matched; no route can be called so.
const NONE: &str = "*";
const STATUS: &str = "http_response_status_code";

/// One thing that is measured: its labels, and its cells of all cores.
pub(super) type Row<'a, T> = (Vec<(&'static str, String)>, Vec<&'a T>);

/// A family with one number per row.
pub(super) fn numbers<T>(
    all: &mut Families,
    (kind, name, help): (Kind, &str, &str),
    rows: &[Row<'_, T>],
    read: impl Fn(&T) -> u64,
) {
    let mut family = all.family(kind, name, help);
    for (labels, cells) in rows {
        let count = cells.iter().map(|cell| read(cell)).sum();
        family.count(&with(labels, &[]), count);
    }
}

/// A family with a number per row and class of status that occurred.
pub(super) fn by_class<T>(
    all: &mut Families,
    (name, help): (&str, &str),
    more: &[(&str, &str)],
    rows: &[Row<'_, T>],
    by: impl Fn(&T) -> &ByClass<banyan_telemetry::Counter>,
) {
    let mut family = all.family(Counter, name, help);
    for (labels, cells) in rows {
        let mut counts = BTreeMap::new();
        for (class, counter) in cells.iter().flat_map(|cell| by(cell).each()) {
            *counts.entry(class).or_insert(0) += counter.get();
        }
        for (class, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            let mut more = more.to_vec();
            more.push((STATUS, class));
            family.count(&with(labels, &more), count);
        }
    }
}

/// A histogram per row that has anything.
pub(super) fn histograms<T>(
    all: &mut Families,
    (name, help): (&str, &str),
    rows: &[Row<'_, T>],
    read: impl Fn(&T) -> &Durations,
) {
    let mut family = all.family(Histogram, name, help);
    for (labels, cells) in rows {
        let counted = Durations::sum(cells.iter().map(|cell| read(cell)));
        if counted.count() > 0 {
            family.durations(&with(labels, &[]), counted);
        }
    }
}

pub(super) fn with<'a>(
    labels: &'a [(&'static str, String)],
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let own = labels.iter().map(|(name, value)| (*name, value.as_str()));
    own.chain(more.iter().copied()).collect()
}

pub(super) fn all_of<T>(shards: &[Arc<T>]) -> Vec<&T> {
    shards.iter().map(Arc::as_ref).collect()
}

/// Of routes that copied something, or would have.
fn of_mirrors(all: &mut Families, rows: &[Row<'_, RouteCells>]) {
    type Read = fn(&MirrorCells) -> u64;
    let mut count = |name, help, label, kinds: &[(&str, Read)]| {
        let mut family = all.family(Counter, name, help);
        for (labels, cells) in rows {
            for (kind, read) in kinds {
                let sum: u64 = cells.iter().map(|cell| read(&cell.mirror)).sum();
                if sum > 0 {
                    family.count(&with(labels, &[(label, kind)]), sum);
                }
            }
        }
    };
    let help = "Copies of requests for another process, by whether it answered below 500.";
    let sent: [(&str, Read); 2] = [("answered", |c| c.answered.get()), ("failed", |c| c.failed.get())];
    count("banyan_edge_mirrored_requests_total", help, "outcome", &sent);
    let help = "Requests that were to be copied and were not: too many copies under way, too large, no instance free.";
    let left_out: [(&str, Read); 3] = [
        ("busy", |c| c.busy.get()),
        ("body", |c| c.too_large.get()),
        ("no_instance", |c| c.nobody.get()),
    ];
    count("banyan_edge_mirror_dropped_total", help, "reason", &left_out);
}

impl Control {
    pub(super) fn families(&self) -> Families {
        let mut all = Families::default();
        self.of_routes(&mut all);
        self.of_the_cache(&mut all);
        self.of_listeners(&mut all);
        self.of_tls(&mut all);
        self.of_processes(&mut all);
        self.of_endpoints(&mut all);
        self.of_origins(&mut all);
        self.of_ejections(&mut all);
        self.of_zones(&mut all);
        self.of_the_edge(&mut all);
        self.of_compression(&mut all);
        self.of_attacks(&mut all);
        self.spans.families(&mut all, "edge");
        own::families(&mut all, "edge", env!("CARGO_PKG_VERSION"), self.started_unix_ms);
        all
    }

    pub(super) fn routes(&self) -> Vec<Row<'_, RouteCells>> {
        let row = |name: &str, cells| (vec![("http_route", name.to_owned())], cells);
        let unrouted = self.cores.iter().map(|core| &core.metrics.unrouted).collect();
        let named = self.measured.routes.iter();
        // Without that many routes nothing is "other".
        let named = named.filter(|(name, _)| *name != OTHER || self.measured.is_full());
        let named = named.map(|(name, shards)| row(name, all_of(shards)));
        std::iter::once(row(NONE, unrouted)).chain(named).collect()
    }

    fn of_routes(&self, all: &mut Families) {
        let rows = self.routes();
        let mut family = all.family(
            Histogram,
            "http_server_request_duration_seconds",
            "From a request's head to the last byte of its answer.",
        );
        for (labels, cells) in &rows {
            let mut classes: BTreeMap<&str, Vec<&Durations>> = BTreeMap::new();
            for (class, durations) in cells.iter().flat_map(|cell| cell.durations.each()) {
                classes.entry(class).or_default().push(durations);
            }
            let counted = classes
                .into_iter()
                .map(|(class, each)| (class, Durations::sum(each)));
            for (class, counted) in counted.filter(|(_, counted): &(_, Counted)| counted.count() > 0) {
                family.durations(&with(labels, &[(STATUS, class)]), counted);
            }
        }
        self.of_active(all, &rows);
        let received = (
            Counter,
            "banyan_edge_received_bytes_total",
            "Bytes of requests' bodies.",
        );
        numbers(all, received, &rows, |c| c.received.get());
        let sent = (
            Counter,
            "banyan_edge_sent_bytes_total",
            "Bytes of answers' bodies.",
        );
        numbers(all, sent, &rows, |c| c.sent.get());
        let upgrades = (
            Counter,
            "banyan_edge_upgrades_total",
            "Connections that became something else (WebSocket).",
        );
        numbers(all, upgrades, &rows, |c| c.upgraded.get());
        of_mirrors(all, &rows);
    }

    /// What no route matched is what is left of all.
    fn of_active(&self, all: &mut Families, rows: &[Row<'_, RouteCells>]) {
        let active = |cells: &[&RouteCells]| -> u64 { cells.iter().map(|c| c.active.get()).sum() };
        let routed: u64 = rows.iter().map(|(_, cells)| active(cells)).sum();
        let every: u64 = self.cores.iter().map(|core| core.metrics.in_flight.get()).sum();
        let mut family = all.family(Gauge, "http_server_active_requests", "Requests being answered.");
        for (index, (labels, cells)) in rows.iter().enumerate() {
            let count = if index == 0 {
                every.saturating_sub(routed)
            } else {
                active(cells)
            };
            family.count(&with(labels, &[]), count);
        }
    }

    fn listeners(&self) -> Vec<Row<'_, ListenerCells>> {
        let row = |listening: &'_ super::listen::Listening| {
            let scheme = match listening.bound.speaks {
                Speaks::Http => "http",
                Speaks::Https => "https",
                Speaks::Stream => "tcp",
            };
            vec![
                ("listener", listening.bound.address.to_string()),
                ("url_scheme", scheme.to_owned()),
            ]
        };
        let mut rows: Vec<Row<'_, ListenerCells>> = Vec::new();
        for listening in self.listening.iter().chain(&self.given_up) {
            let (labels, cells) = (row(listening), all_of(&listening.cells));
            // One that is listened on again is the same as before.
            match rows.iter_mut().find(|(known, _)| *known == labels) {
                Some((_, all)) => all.extend(cells),
                None => rows.push((labels, cells)),
            }
        }
        rows
    }

    fn of_listeners(&self, all: &mut Families) {
        let rows = self.listeners();
        let accepted = (
            Counter,
            "banyan_edge_listener_connections_total",
            "Connections accepted.",
        );
        numbers(all, accepted, &rows, |c| c.connections.get());
        let open = (
            Gauge,
            "banyan_edge_listener_open_connections",
            "Connections open.",
        );
        numbers(all, open, &rows, |c| c.open.get());
        let active = (
            Gauge,
            "banyan_edge_listener_active_requests",
            "Requests being answered.",
        );
        numbers(all, active, &rows, |c| c.active.get());
        for (place, version) in ["1", "2"].into_iter().enumerate() {
            let requests = (
                "banyan_edge_listener_requests_total",
                "Requests, by how they ended.",
            );
            let version = [("network_protocol_version", version)];
            by_class(all, requests, &version, &rows, |c| &c.requests[place]);
        }
        let received = (
            Counter,
            "banyan_edge_listener_received_bytes_total",
            "Bytes of requests' bodies.",
        );
        numbers(all, received, &rows, |c| c.received.get());
        let sent = (
            Counter,
            "banyan_edge_listener_sent_bytes_total",
            "Bytes of answers' bodies.",
        );
        numbers(all, sent, &rows, |c| c.sent.get());
    }

    fn of_tls(&self, all: &mut Families) {
        let mut rows = self.listeners();
        rows.retain(|(labels, _)| labels[1].1 == "https");
        let mut family = all.family(
            Counter,
            "banyan_edge_tls_handshakes_total",
            "TLS handshakes that were completed.",
        );
        for (labels, cells) in &rows {
            let mut counts = BTreeMap::new();
            for (version, resumed, count) in cells.iter().flat_map(|cell| cell.handshakes.each()) {
                *counts.entry((version.name(), resumed)).or_insert(0) += count;
            }
            for ((version, resumed), count) in counts {
                let resumed = if resumed { "true" } else { "false" };
                let more = [("tls_protocol_version", version), ("tls_resumed", resumed)];
                family.count(&with(labels, &more), count);
            }
        }
        let failed = (
            Counter,
            "banyan_edge_tls_handshake_failures_total",
            "TLS handshakes that were not completed.",
        );
        numbers(all, failed, &rows, |c| c.handshakes.failed.get());
    }

    fn of_the_edge(&self, all: &mut Families) {
        let cores: Vec<&CoreMetrics> = self.cores.iter().map(|core| core.metrics.as_ref()).collect();
        let mut refused = BTreeMap::new();
        for (status, count) in cores.iter().flat_map(|core| core.refused.each()) {
            *refused.entry(status).or_insert(0) += count;
        }
        let mut family = all.family(
            Counter,
            "banyan_edge_refusals_total",
            "Requests that the edge refused itself, by the status that it gave.",
        );
        for (status, count) in refused {
            family.count(&[(STATUS, &status.to_string())], count);
        }
        let dropped = (
            Counter,
            "banyan_edge_access_log_dropped_total",
            "Access log lines dropped because the disk was behind.",
        );
        let workers = cores.len() as u64;
        let rows = [(Vec::new(), cores)];
        numbers(all, dropped, &rows, |c| c.lines_dropped.get());
        let turned_away = (
            Counter,
            "banyan_edge_connections_refused_total",
            "Connections refused because their address had too many, or new ones too fast.",
        );
        numbers(all, turned_away, &rows, |c| c.turned_away.get());
        let together = (
            Counter,
            "banyan_edge_limits_asked_total",
            "Requests whose rate limits were asked of the Redis in which edges count together.",
        );
        numbers(all, together, &rows, |c| c.counted_together.get());
        let alone = (
            Counter,
            "banyan_edge_limits_alone_total",
            "Requests whose rate limits were judged by this edge's share, as that Redis was away.",
        );
        numbers(all, alone, &rows, |c| c.counted_alone.get());
        let handovers = "Listening sockets passed between processes, and on which side.";
        all.family(Counter, "banyan_edge_handovers_total", handovers)
            .count(&[("direction", "given")], self.measured.given)
            .count(&[("direction", "taken")], self.measured.taken);
        let mut one = |name, help, value| {
            all.family(Gauge, name, help).count(&[], value);
        };
        one("banyan_edge_workers", "Threads that serve requests.", workers);
        let epoch = "The snapshot that every core serves.";
        one("banyan_edge_snapshot_epoch", epoch, self.applied().0);
        let refused = "1: the newest snapshot could not be taken; the last good one is served.";
        one(
            "banyan_edge_snapshot_refused",
            refused,
            u64::from(self.refused.is_some()),
        );
        if let Some(certificates) = self.certificates.report() {
            let until = u64::try_from(certificates.until).unwrap_or_default();
            let help = "When the first certificate expires, in Unix time.";
            one("banyan_edge_certificate_expiry_timestamp_seconds", help, until);
        }
    }
}
