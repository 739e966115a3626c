//! The cells of what snapshots name: a route or a process keeps its counts as long as it is configured.
//!
//! Bounded: beyond [`ROUTES`] routes all others share one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use banyan_topology::ProcessName;
use banyan_topology::report::ProcessReport;

use crate::metrics::{self, ProcessCells, RouteCells, Shards, shards};

/// Routes with counters of their own.
const ROUTES: usize = 200;
/// The name of all others together; no route can be called so.
pub(super) const OTHER: &str = "(other)";

/// The cells of what snapshots name, by core.
#[derive(Default)]
pub(super) struct Measured {
    pub routes: BTreeMap<String, Shards<RouteCells>>,
    pub processes: BTreeMap<ProcessName, Shards<ProcessCells>>,
    /// Sockets were passed on to the next process, and taken from the former one.
    pub given: u64,
    pub taken: u64,
}

impl Measured {
    /// Those that a snapshot names; what it still names keeps its counts.
    pub(super) fn name<'a>(
        &mut self,
        cores: usize,
        routes: impl Iterator<Item = &'a str>,
        processes: impl Iterator<Item = &'a ProcessName>,
    ) {
        let routes: BTreeSet<&str> = routes.take(ROUTES).chain([OTHER]).collect();
        self.routes.retain(|name, _| routes.contains(name.as_str()));
        for name in routes {
            self.routes
                .entry(name.to_owned())
                .or_insert_with(|| shards(cores));
        }
        let processes: BTreeSet<&ProcessName> = processes.collect();
        self.processes.retain(|name, _| processes.contains(name));
        for name in processes {
            self.processes
                .entry(name.clone())
                .or_insert_with(|| shards(cores));
        }
    }

    /// Whether some routes share the cells of all others.
    pub(super) fn is_full(&self) -> bool {
        self.routes.len() > ROUTES
    }

    pub(super) fn route(&self, name: &str, core: usize) -> Arc<RouteCells> {
        let known = self.routes.get(name).or_else(|| self.routes.get(OTHER));
        known
            .and_then(|shards| shards.get(core))
            .cloned()
            .unwrap_or_default()
    }

    pub(super) fn process(&self, name: &ProcessName, core: usize) -> Arc<ProcessCells> {
        let known = self.processes.get(name);
        known
            .and_then(|shards| shards.get(core))
            .cloned()
            .unwrap_or_default()
    }

    /// `waiting`: how many requests wait for an instance of a process.
    pub(super) fn reports(&self, second: u64, waiting: impl Fn(&ProcessName) -> usize) -> Vec<ProcessReport> {
        let report = |(name, cells): (&ProcessName, &Shards<_>)| ProcessReport {
            waiting: waiting(name) as u64,
            ..metrics::process(name, cells, second)
        };
        self.processes.iter().map(report).collect()
    }
}
