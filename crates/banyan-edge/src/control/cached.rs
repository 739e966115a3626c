//! What the cache did, as families of metrics: by route and result, and why requests were no hits.

use std::collections::BTreeMap;

use banyan_telemetry::Families;
use banyan_telemetry::families::Kind::{Counter, Gauge};

use super::Control;
use super::page::{Row, with};
use crate::metrics::RouteCells;

impl Control {
    /// Nothing without a cache.
    pub(super) fn of_the_cache(&self, all: &mut Families) {
        if self.snapshot.settings.cache.is_none() {
            return;
        }
        let rows = self.routes();
        let mut family = all.family(
            Counter,
            "banyan_edge_cache_requests_total",
            "Requests that came to the cache, by what it did with them.",
        );
        let results = |cells: &RouteCells| {
            cells
                .cache
                .results()
                .map(|(result, count)| (result.name(), count))
                .collect()
        };
        for (labels, name, count) in sums(&rows, results) {
            family.count(&with(labels, &[("result", name)]), count);
        }
        let mut family = all.family(
            Counter,
            "banyan_edge_cache_misses_total",
            "Requests that were no hits, by the reason.",
        );
        let whys = |cells: &RouteCells| {
            cells
                .cache
                .whys()
                .map(|(why, count)| (why.name(), count))
                .collect()
        };
        for (labels, name, count) in sums(&rows, whys) {
            family.count(&with(labels, &[("why", name)]), count);
        }
        let mut family = all.family(
            Counter,
            "banyan_edge_cache_sent_bytes_total",
            "Bytes of answers' bodies that came from the store.",
        );
        for (labels, cells) in &rows {
            family.count(
                &with(labels, &[]),
                cells.iter().map(|cell| cell.cache.sent.get()).sum(),
            );
        }
        let store = &self.stored.store;
        for (name, help, value) in [
            (
                "banyan_edge_cache_bytes",
                "What is stored takes so much memory.",
                store.used(),
            ),
            (
                "banyan_edge_cache_objects",
                "URIs of which something is stored.",
                store.len() as u64,
            ),
        ] {
            all.family(Gauge, name, help).count(&[], value);
        }
        let help = "URIs given up for others.";
        all.family(Counter, "banyan_edge_cache_evictions_total", help)
            .count(&[], store.evicted());
    }
}

type Labels<'a> = &'a [(&'static str, String)];

/// Over all cores; what never occurred is left out.
fn sums<'a>(
    rows: &'a [Row<'_, RouteCells>],
    read: impl Fn(&RouteCells) -> Vec<(&'static str, u64)>,
) -> Vec<(Labels<'a>, &'static str, u64)> {
    let mut found = Vec::new();
    for (labels, cells) in rows {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, count) in cells.iter().flat_map(|cell| read(cell)) {
            *counts.entry(name).or_default() += count;
        }
        let some = counts.into_iter().filter(|(_, count)| *count > 0);
        found.extend(some.map(|(name, count)| (labels.as_slice(), name, count)));
    }
    found
}
