//! What the cache has on the disk, for metrics and reports.

use banyan_telemetry::Families;
use banyan_telemetry::families::Kind::{Counter, Gauge};
use banyan_topology::report::CacheReport;

use super::Control;

impl Control {
    /// What lies on the disk.
    pub(super) fn of_its_disk(&self, all: &mut Families) {
        let Some(disk) = self.stored.store.disk() else {
            return;
        };
        let state = disk.state();
        for (name, help, value) in [
            (
                "banyan_edge_cache_disk_bytes",
                "What the cache has on the disk.",
                state.bytes,
            ),
            (
                "banyan_edge_cache_disk_objects",
                "Responses that it has there.",
                state.objects as u64,
            ),
            (
                "banyan_edge_cache_disk_waiting",
                "Responses that wait to be written there.",
                state.waiting,
            ),
        ] {
            all.family(Gauge, name, help).count(&[], value);
        }
        for (name, help, value) in [
            (
                "banyan_edge_cache_disk_reads_total",
                "Responses that were read from there.",
                state.read,
            ),
            (
                "banyan_edge_cache_disk_dropped_total",
                "Responses that were not written: the disk was too slow.",
                state.dropped,
            ),
        ] {
            all.family(Counter, name, help).count(&[], value);
        }
    }

    pub(super) fn cache_report(&self) -> Option<CacheReport> {
        let cache = self.snapshot.settings.cache.as_ref()?;
        let state = cache.disk.and_then(|_| self.stored.store.disk())?.state();
        Some(CacheReport {
            disk_bytes: state.bytes,
            disk_objects: state.objects as u64,
            // In this order: what is stored meanwhile is counted twice rather than not at all.
            under_way: self.stored.store.asked()
                + self.stored.store.disk().map_or(0, |disk| disk.state().waiting),
            problem: state.problem,
        })
    }
}
