//! What the cache did, as families of metrics: by route and result, and why requests were no hits.

use std::collections::BTreeMap;

use banyan_telemetry::Families;
use banyan_telemetry::families::Kind::{Counter, Gauge};
use banyan_topology::sight::{BESIDE, EDGE, SHIELD};

use super::Control;
use super::page::{Row, with};
use crate::metrics::{CacheCells, RouteCells};

impl Control {
    /// Of the caches between browsers and the app: which one this is.
    pub(super) fn tier(&self) -> &'static str {
        if self.snapshot.is_shield(self.place.as_ref()) {
            SHIELD
        } else {
            EDGE
        }
    }

    /// Nothing without a cache.
    pub(super) fn of_the_cache(&self, all: &mut Families) {
        if self.snapshot.settings.cache.is_none() {
            return;
        }
        let rows = self.routes();
        let mut family = all.family(
            Counter,
            "banyan_cache_requests_total",
            "Requests that came to the cache, by what it did with them; why: the reason that it was no hit.",
        );
        let own: fn(&RouteCells) -> &CacheCells = |cells| &cells.cache;
        for (tier, of) in [(self.tier(), own), (BESIDE, |cells| &cells.beside)] {
            for (labels, result, why, count) in sums(&rows, of) {
                let more = [("tier", tier), ("result", result), ("why", why)];
                family.count(&with(labels, &more), count);
            }
        }
        let mut family = all.family(
            Counter,
            "banyan_edge_cache_sent_bytes_total",
            "Bytes of answers' bodies that came from the store.",
        );
        for (labels, cells) in &rows {
            family.count(
                &with(labels, &[]),
                cells
                    .iter()
                    .map(|cell| cell.cache.sent.get() + cell.beside.sent.get())
                    .sum(),
            );
        }
        let store = &self.stored.store;
        let help = "Purges are applied up to this number.";
        all.family(Gauge, "banyan_cache_purge_seq", help)
            .count(&[("tier", self.tier())], self.purges.report().applied);
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
        self.of_its_disk(all);
        self.of_pictures(all);
    }

    /// Whether a rule has pictures.
    pub(super) fn makes_pictures(&self) -> bool {
        let cache = self.snapshot.settings.cache.as_ref();
        cache.is_some_and(|cache| cache.rules.iter().any(|rule| rule.image.is_some()))
    }

    fn of_pictures(&self, all: &mut Families) {
        if !self.makes_pictures() {
            return;
        }
        let counted = self.stored.pictures();
        let help = "Pictures that were made, by format.";
        let mut family = all.family(Counter, "banyan_edge_pictures_made_total", help);
        for (format, count) in counted.made {
            family.count(&[("format", format)], count);
        }
        let help = "Pictures that stay as they are: they cannot be made, or would not become smaller (reason=unmade); too many waited (reason=busy).";
        let mut family = all.family(Counter, "banyan_edge_pictures_left_total", help);
        family.count(&[("reason", "unmade")], counted.unmade);
        family.count(&[("reason", "busy")], counted.busy);
        let help = "Time of threads that pictures took.";
        all.family(Counter, "banyan_edge_pictures_seconds_total", help)
            .number(&[], counted.took.as_secs_f64());
        let help = "Bytes of originals that something was made of (side=original), and of what was made.";
        let mut family = all.family(Counter, "banyan_edge_pictures_bytes_total", help);
        family.count(&[("side", "original")], counted.bytes_in);
        family.count(&[("side", "made")], counted.bytes_out);
    }
}

type Labels<'a> = &'a [(&'static str, String)];

/// Over all cores; what never occurred is left out.
fn sums<'a>(
    rows: &'a [Row<'_, RouteCells>],
    of: fn(&RouteCells) -> &CacheCells,
) -> Vec<(Labels<'a>, &'static str, &'static str, u64)> {
    let mut found = Vec::new();
    for (labels, cells) in rows {
        let mut sums: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for (result, why, count) in cells.iter().flat_map(|cell| of(cell).counts()) {
            let why = why.map_or("", |why| why.name());
            *sums.entry((result.name(), why)).or_default() += count;
        }
        let some = sums.into_iter().filter(|(_, count)| *count > 0);
        found.extend(some.map(|((result, why), count)| (labels.as_slice(), result, why, count)));
    }
    found
}
