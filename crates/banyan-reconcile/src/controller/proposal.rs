//! A wish, thought through: load → facts → resolve → plan → check. Nothing is changed here.

use banyan_runtime::watched;
use banyan_topology::{self as topology, Facts, Pgproxy, Plan, Release, Topology, check, plan};

use super::Loaded;
use super::change::Changer;
use super::refused::Refused;
use crate::driver::Driver;
use crate::external;
use crate::facts;
use crate::intent::Intent;
use crate::proto::{Change, ConfigPaths};
use crate::redis;
use crate::releases::Releases;

/// A wish, thought through; nothing of it is done.
pub(super) struct Proposal {
    pub(super) loaded: Loaded,
    pub(super) current: Topology,
    pub(super) desired: Topology,
    pub(super) plan: Plan,
    pub(super) release: Release,
    /// The release is made for this plan and not stored yet.
    pub(super) is_new: bool,
    /// One that nothing of the plan uses.
    pub(super) free_port: Option<u16>,
    pub(super) intent: Intent,
    pub(super) intent_after: Intent,
    pub(super) notes: Vec<String>,
    pub(super) hash: String,
}

impl<D: Driver> Changer<D> {
    pub(super) async fn propose(&self, paths: &ConfigPaths, change: &Change) -> Result<Proposal, Refused> {
        let loaded = self.loaded_for(paths, change)?;
        let current = self.current(&loaded.config.name).await?;
        let intent = Intent::read(&self.state.intent())?;
        let kept = Releases::new(self.state.releases()).all()?;
        let facts = Facts {
            edge_program: self.driver.edge_program(),
            ..facts::gather(&loaded, &self.state, &current, &intent, kept)?
        };
        let resolved = topology::resolve(&loaded.config, &facts, &current, change)?;
        self.examine(&resolved.topology, &current, &loaded).await?;
        let plan = plan::between(&current, &resolved.topology);
        refuse_unsafe(&current, &plan, &resolved.topology)?;
        let mut intent = intent;
        if resolved.is_new {
            intent.next_release.0 = resolved.release.id.0 + 1;
        }
        let mut notes = loaded.notes.clone();
        notes.extend(resolved.notes);
        notes.extend(redis::external::notes(&loaded.config, &loaded.secrets).await);
        Ok(Proposal {
            hash: format!("{}-{}", loaded.hash, plan.fingerprint()),
            intent_after: intent.reached(&resolved.topology, resolved.pinned),
            free_port: facts.free_ports.into_iter().find(|port| {
                let ports = resolved.topology.instances.values().map(|instance| instance.port);
                !ports.chain(server_ports(&resolved.topology)).any(|p| p == *port)
            }),
            release: resolved.release,
            is_new: resolved.is_new,
            desired: resolved.topology,
            loaded,
            current,
            plan,
            intent,
            notes,
        })
    }

    fn loaded_for(&self, paths: &ConfigPaths, change: &Change) -> Result<Loaded, Refused> {
        let kept = match change {
            Change::Scale { .. } => self.kept.borrow().clone(),
            _ => None,
        };
        kept.map_or_else(|| self.loaded(paths), Ok)
    }

    /// A server that is not ours is asked before anything leads to it, and left alone afterwards.
    async fn examine(&self, desired: &Topology, current: &Topology, loaded: &Loaded) -> Result<(), Refused> {
        let asked = |side: &Topology| {
            let proxy = side.pgproxy.as_ref()?;
            Some((proxy.external.clone()?, proxy.pool.size))
        };
        match &desired.pgproxy {
            Some(proxy) if asked(desired).is_some() && asked(desired) != asked(current) => {
                let examined = external::examine(proxy, loaded).await;
                examined.map_err(|error| Refused(format!("database.url: {error}")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn loaded(&self, paths: &ConfigPaths) -> Result<Loaded, Refused> {
        (self.load)(paths).map_err(|errors| Refused(errors.join("\n")))
    }

    /// What is reached, without what has died for good.
    pub(super) async fn current(&self, app: &topology::AppName) -> Result<Topology, Refused> {
        let saved: Option<Topology> = watched::read(&self.state.topology())?;
        let saved = saved.unwrap_or_else(|| Topology::nothing(app.clone()));
        Ok(self.driver.observe(&saved).await)
    }
}

fn server_ports(topology: &Topology) -> impl Iterator<Item = u16> {
    let nodes = topology
        .database
        .iter()
        .flat_map(|database| database.nodes.values());
    let pgproxy = topology.pgproxy.iter().flat_map(Pgproxy::addresses);
    let pgproxy = pgproxy.map(|address| address.port());
    let redis = topology.redis.values().map(|redis| redis.port);
    let observe = topology.observe.iter().map(|observe| observe.port);
    nodes
        .map(|node| node.port)
        .chain(pgproxy)
        .chain(redis)
        .chain(observe)
}

fn refuse_unsafe(current: &Topology, plan: &Plan, desired: &Topology) -> Result<(), Refused> {
    check::plan(current, plan, desired).map_err(|violations| {
        let lines: Vec<String> = violations
            .iter()
            .map(|violation| format!("  {violation}"))
            .collect();
        Refused(format!(
            "this change is refused, nothing was done:\n{}",
            lines.join("\n")
        ))
    })
}

/// The process whose instances get the requests; without an edge the first.
pub(super) fn tried(desired: &Topology) -> Option<&topology::Process> {
    match &desired.edge {
        Some(edge) => desired.processes.get(&edge.process),
        None => desired.processes.values().next(),
    }
}
