//! Zones: which instances are near the edge. All hosts of a process have one, or none has; so has the edge where they do.

use std::collections::BTreeMap;

use crate::listener::StreamListener;
use crate::model::{EdgeTable, ProcessTable};
use crate::name::{HostName, ProcessName, ZoneName};
use crate::process::Hosts;
use crate::read::Reader;
use crate::report::Report;
use crate::route::Route;
use crate::tree::Value;

/// Of its hosts, in their order.
pub(crate) fn of_process(
    table: &Reader<'_>,
    process: &ProcessName,
    names: &[HostName],
    hosts: &Hosts,
    report: &Report,
) -> Vec<ZoneName> {
    let zone = |name: &HostName| hosts.get(name).and_then(|host| host.zone.clone());
    let zones: Vec<ZoneName> = names.iter().filter_map(zone).collect();
    let without = names.iter().find(|name| zone(name).is_none());
    if let (Some(without), false, Some(entry)) = (without, zones.is_empty(), table.entry("hosts")) {
        let message = format!("process {process} runs in zones, but host `{without}` is in none");
        report.error(
            &entry.place,
            message,
            &[&format!("write zone = \"…\" in [host.{without}]")],
        );
    }
    zones
}

/// An edge is one process, at one place.
pub(crate) fn of_edge(
    table: &Reader<'_>,
    names: &[HostName],
    hosts: &Hosts,
    report: &Report,
) -> Option<ZoneName> {
    let mut zones = names
        .iter()
        .map(|name| hosts.get(name).and_then(|host| host.zone.clone()));
    let first = zones.next()?;
    if let (Some(other), Some(entry)) = (zones.find(|zone| *zone != first), table.entry("hosts")) {
        let words = |zone: &Option<ZoneName>| {
            zone.as_ref()
                .map_or_else(|| "none".to_owned(), |zone| format!("`{zone}`"))
        };
        let message = format!(
            "the edge is in one zone, but its hosts are in {} and {}",
            words(&first),
            words(&other)
        );
        report.error(&entry.place, message, &["write hosts of one zone"]);
    }
    first
}

/// Where instances have zones, the edge that serves them needs one, or nothing would be near.
pub(crate) fn edge_has_one(
    root: &Reader<'_>,
    edge: Option<&EdgeTable>,
    processes: &BTreeMap<ProcessName, ProcessTable>,
    report: &Report,
) {
    let Some(edge) = edge.filter(|edge| edge.settings.zone.is_none()) else {
        return;
    };
    let zoned = |process: &&ProcessName| {
        let table = processes.get(*process);
        table.is_some_and(|table| !table.settings.zones.is_empty())
    };
    let routes = edge.routes.iter().flat_map(Route::processes);
    let listeners = edge.listeners.iter().flat_map(StreamListener::processes);
    let served = std::iter::once(&edge.process).chain(routes).chain(listeners);
    let Some(process) = served.chain(edge.passthrough.values()).find(zoned) else {
        return;
    };
    let (entries, keys) = root.map("process");
    let hosts = entries
        .iter()
        .find(|entry| entry.name == process.as_str())
        .and_then(|entry| match &entry.node.value {
            Value::Table(entries) => Reader::new(entries, keys).entry("hosts"),
            _ => None,
        });
    let Some(hosts) = hosts else { return };
    let message = format!("process {process} runs in zones, but the edge is in none");
    report.error(
        &hosts.place,
        message,
        &["write hosts = [\"…\"] in [edge], with a host of its zone"],
    );
}
