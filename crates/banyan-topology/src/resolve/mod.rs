//! A configuration and facts to a complete topology: every default chosen, every name and port given.
//!
//! What exists keeps its name and port, so resolving the same configuration again changes nothing.

mod database;
mod error;
mod instances;
mod observe;
mod redis;
mod release;
mod scale;
mod switchover;

use std::collections::BTreeMap;

use banyan_config::{Config, EdgeTable, ProcessTable};
use serde::{Deserialize, Serialize};

pub use database::database_name;
pub use error::{ResolveError, ResolveErrors};

use crate::facts::Facts;
use crate::id::{InstanceId, NodeId, ProcessName, ReleaseId};
use crate::model::{Edge, Process, Release, Topology};

/// What the user asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// To what the configuration says; the release changes only if its content did.
    Configuration,
    /// The same, and always a new release.
    Deploy,
    /// The release before the current one, or this one.
    Rollback { to: Option<ReleaseId> },
    /// Another server of the database becomes primary: this one, else the first replica. Nothing else changes, whatever
    /// the configuration says by now.
    Switchover { to: Option<NodeId> },
    /// So many instances of these processes. Nothing else changes, whatever the configuration says by now.
    Scale { counts: BTreeMap<ProcessName, u32> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub topology: Topology,
    /// What new instances are made of.
    pub release: Release,
    /// Whether that release is new: to be kept before the plan runs.
    pub is_new: bool,
    /// What the intent must remember as pinned when the plan is done.
    pub pinned: Option<ReleaseId>,
    /// What the user should know beside the plan, one sentence each.
    pub notes: Vec<String>,
}

/// `current` is the last reached topology ([`Topology::nothing`] at first).
pub fn resolve(
    config: &Config,
    facts: &Facts,
    current: &Topology,
    change: &Change,
) -> Result<Resolved, ResolveErrors> {
    // Without `..`: an option that nothing reads is a warning here. The hosts of an installation are one machine so
    // far; the app's part goes into the release.
    let Config {
        name,
        app: _,
        processes,
        edge,
        database,
        redis,
        alerts,
        observe,
        logs,
        hosts: _,
    } = config;
    match change {
        Change::Switchover { to } => {
            return switchover::resolve(*to, facts, current).map_err(|error| ResolveErrors(vec![error]));
        }
        Change::Scale { counts } => return scale::resolve(counts, facts, current),
        Change::Configuration | Change::Deploy | Change::Rollback { .. } => {}
    }
    let mut errors = Vec::new();
    let mut notes = Vec::new();
    if *name != current.app && !current.is_stopped() {
        errors.push(ResolveError::OtherApp {
            running: current.app.clone(),
            wanted: name.clone(),
        });
    }
    let picked = release::pick(config, facts, current, change, &mut notes);
    let known = database::Known {
        app: name,
        facts,
        current,
        proxied: picked.as_ref().is_ok_and(|picked| picked.release.proxied),
        keeps_instances: picked
            .as_ref()
            .is_ok_and(|picked| current.release == Some(picked.release.id)),
    };
    let (database, pgproxy) = database::resolve(database.as_ref(), &known, &mut errors, &mut notes);
    let tables = redis;
    let nodes = database.iter().flat_map(|database| database.nodes.values());
    let proxy = pgproxy.iter().map(|pgproxy| pgproxy.listen.port());
    let given: Vec<u16> = nodes.map(|node| node.port).chain(proxy).collect();
    let redis = redis::resolve(tables, facts, current, &given, &mut errors, &mut notes);
    if let Ok(picked) = &picked {
        redis::check_release(&picked.release, tables, &mut errors);
    }
    let edge = edge.as_ref().map(|table| resolve_edge(table, facts, current));
    let picked = match picked {
        Ok(picked) => picked,
        Err(error) => {
            errors.push(error);
            return Err(ResolveErrors(errors));
        }
    };
    let mut topology = Topology {
        database,
        pgproxy,
        redis,
        edge,
        release: Some(picked.release.id),
        released: current.released.clone(),
        logs: Box::new(logs.clone()),
        ..Topology::nothing(name.clone())
    };
    if picked.release.release_command.is_some() {
        topology.released.insert(picked.release.id);
    }
    add_processes(&mut topology, processes, &picked.release, &mut errors, &mut notes);
    check_edge(&topology, &picked.release, picked.pinned.is_some(), &mut errors);
    let counts = processes
        .iter()
        .map(|(name, table)| (name.clone(), count(name, table, facts)));
    instances::fill(
        &mut topology,
        &counts.collect(),
        &picked.release,
        facts,
        current,
        &mut errors,
    );
    topology.observe = observe::resolve(
        observe.as_ref(),
        alerts.as_ref(),
        &topology,
        facts,
        current,
        &mut errors,
    );
    instances::check_ports(&topology, facts, current, &mut errors);
    note_ready(&topology, current, &mut notes);
    instances::note_max(&topology, current, &mut notes);
    if errors.is_empty() {
        let release::Picked {
            release,
            is_new,
            pinned,
        } = picked;
        Ok(Resolved {
            topology,
            release,
            is_new,
            pinned,
            notes,
        })
    } else {
        Err(ResolveErrors(errors))
    }
}

/// How many there are to be: where the load decides, what it decided last, within the bounds of now.
fn count(name: &ProcessName, table: &ProcessTable, facts: &Facts) -> u32 {
    let Some(scale) = &table.settings.scale else {
        return table.count;
    };
    let last = facts.remembered.counts.get(name).copied();
    last.unwrap_or(table.count).max(scale.min).min(scale.max)
}

/// The release alone that [`resolve`] would choose: for what runs beside the instances while there are none.
pub fn resolve_release(config: &Config, facts: &Facts, current: &Topology) -> Result<Release, ResolveError> {
    let picked = release::pick(config, facts, current, &Change::Configuration, &mut Vec::new())?;
    Ok(picked.release)
}

fn resolve_edge(table: &EdgeTable, facts: &Facts, current: &Topology) -> Edge {
    let EdgeTable {
        listen,
        https,
        process,
        hosts: _,
        settings,
        routes,
        listeners,
        passthrough,
        places,
    } = table;
    let running = || current.edge.as_ref().map(|edge| edge.program.clone());
    Edge {
        listen: *listen,
        https: *https,
        process: process.clone(),
        settings: Box::new(settings.clone()),
        routes: routes.clone(),
        listeners: listeners.clone(),
        passthrough: passthrough.clone(),
        places: places.clone(),
        program: facts.edge_program.clone().or_else(running).unwrap_or_default(),
    }
}

/// The processes that both the configuration and the release have.
fn add_processes(
    topology: &mut Topology,
    tables: &BTreeMap<ProcessName, ProcessTable>,
    release: &Release,
    errors: &mut Vec<ResolveError>,
    notes: &mut Vec<String>,
) {
    for (name, table) in tables {
        // argv, env and protocol are in the release; hosts are one machine so far; count is for the instances.
        let ProcessTable {
            argv: _,
            env: _,
            count,
            max,
            hosts: _,
            protocol: _,
            settings,
        } = table;
        if !release.commands.contains_key(name) {
            notes.push(format!(
                "process {name} is not in {}; `banyan deploy` starts it",
                release.id
            ));
            continue;
        }
        if let Some(max) = *max
            && *count > max
        {
            errors.push(ResolveError::CountOverMax {
                process: name.clone(),
                count: *count,
                max,
            });
        }
        let process = Process {
            name: name.clone(),
            max: *max,
            settings: Box::new(settings.clone()),
        };
        topology.processes.insert(name.clone(), process);
    }
}

fn check_edge(topology: &Topology, release: &Release, is_pinned: bool, errors: &mut Vec<ResolveError>) {
    let Some(edge) = &topology.edge else { return };
    let next = if is_pinned {
        "choose another release, or `banyan deploy`"
    } else {
        "set edge.process to one of them, or add the process"
    };
    let missing = |process: &&&ProcessName| !topology.processes.contains_key(**process);
    for process in edge.processes().iter().filter(missing) {
        errors.push(ResolveError::NoEdgeProcess {
            process: (*process).clone(),
            release: release.id.to_string(),
            known: topology.processes.keys().cloned().collect(),
            next,
        });
    }
}

/// The edge checks old and new instances by one probe, the new one, from the beginning of a plan.
fn note_ready(topology: &Topology, current: &Topology, notes: &mut Vec<String>) {
    let Some(edge) = &topology.edge else { return };
    for process in edge.processes() {
        let probe = |side: &Topology| {
            side.processes
                .get(process)
                .map(|process| process.settings.ready.clone())
        };
        let goes = |id: &InstanceId| id.process == *process && !topology.instances.contains_key(id);
        let old_serve = current.rotation.iter().any(goes);
        if old_serve && probe(current).is_some_and(|before| Some(before) != probe(topology)) {
            let how = "instances of the old release must pass it too until they are drained";
            notes.push(format!(
                "process.{process}.ready changes together with the release: {how}"
            ));
        }
    }
}
