//! What runs here beside what should: children are adopted by name, what nothing knows is stopped.
//!
//! A controller may have been killed at any moment, so a child can run that no journal finished telling of.

use std::collections::BTreeSet;

use banyan_supervisor::engine::postgres;
use banyan_supervisor::engine::redis as redis_engine;
use banyan_supervisor::{ChildId, ChildSpec};
use banyan_topology::{InstanceId, NodeId, Pgproxy, PlaceName, Topology};

use super::StepError;
use super::local::Local;
use super::specs::{OBSERVE, edge_at, edge_child, is_edge, is_pgproxy, pgproxy_child};

impl Local {
    /// Takes over what runs on from before; what belongs to nothing is stopped, and said.
    pub(super) async fn adopt_survivors(&self, expected: &Topology) -> Vec<String> {
        let mut notes = Vec::new();
        for survivor in self.supervisor.survivors().await {
            let id = survivor.id.clone();
            if id == postgres::backup::child_id() {
                // It ends by itself; whoever makes backups waits for that.
                continue;
            }
            let spec = match self.spec_of(&id, expected) {
                Ok(Some(spec)) => {
                    self.supervisor.adopt(spec, &survivor).await;
                    continue;
                }
                Ok(None) => self.specs.stray(&id),
                Err(error) => {
                    notes.push(format!(
                        "{id} runs on, but cannot be watched as configured: {error}"
                    ));
                    self.specs.stray(&id)
                }
            };
            // To be stopped it must be a child first.
            if self.supervisor.adopt(spec, &survivor).await {
                self.supervisor.stop(&id).await;
                notes.push(format!(
                    "{id} (pid {}) belonged to nothing that is known: stopped",
                    survivor.pid
                ));
            }
        }
        notes
    }

    /// `expected` without what has died.
    pub(super) async fn still_lives(&self, expected: &Topology) -> Topology {
        let children = self.supervisor.status().await.into_iter().map(|child| child.id);
        let survivors = self
            .supervisor
            .survivors()
            .await
            .into_iter()
            .map(|child| child.id);
        let alive: BTreeSet<String> = children.chain(survivors).map(|id| id.0).collect();
        let mut seen = expected.clone();
        seen.pgproxy = seen.pgproxy.and_then(|pgproxy| still_there(pgproxy, &alive));
        seen.observe = seen.observe.filter(|_| alive.contains(OBSERVE));
        seen.database = seen.database.and_then(|mut database| {
            let lives = |node: &NodeId| alive.contains(&postgres::child_id(*node).0);
            let any = database.nodes.keys().any(lives);
            // While one of its replicas lives, a primary that died is no reason to begin anew.
            let primary = database.primary;
            database.nodes.retain(|node, _| *node == primary || lives(node));
            any.then_some(database)
        });
        seen.redis
            .retain(|purpose, _| alive.contains(&redis_engine::child_id(*purpose).0));
        seen.edge = seen.edge.and_then(|mut edge| {
            let known = edge.clone();
            let lives = |place: Option<&PlaceName>| alive.contains(&edge_child(&known, place).0);
            edge.places.retain(|name, _| lives(Some(name)));
            lives(None).then_some(edge)
        });
        seen.instances.retain(|id, _| alive.contains(&id.to_string()));
        seen.rotation.retain(|id| seen.instances.contains_key(id));
        seen
    }

    /// Stops the children that `topology` does not have, and says which.
    pub(super) async fn stop_unknown(&self, topology: &Topology) -> Vec<String> {
        let mut notes = Vec::new();
        for child in self.supervisor.status().await {
            if !has_place(&child.id, topology) {
                self.supervisor.stop(&child.id).await;
                notes.push(format!(
                    "stopped {}, which a change that was cut short had begun",
                    child.id
                ));
            }
        }
        notes
    }

    /// The spec of a child of `topology` by its name.
    fn spec_of(&self, id: &ChildId, topology: &Topology) -> Result<Option<ChildSpec>, StepError> {
        if let Some(place) = edge_at(id) {
            // One that is being replaced has another name; the step that replaces it ends it.
            let edge = topology.edge.as_ref();
            let edge = edge.filter(|edge| edge.everywhere().any(|known| known == place.as_ref()));
            let spec = edge.map(|edge| self.specs.edge(edge, place.as_ref()));
            return Ok(spec.map(|spec| ChildSpec {
                id: id.clone(),
                ..spec
            }));
        }
        if is_pgproxy(id) {
            let spec = topology
                .pgproxy
                .as_ref()
                .map(|pgproxy| self.specs.pgproxy(pgproxy));
            return Ok(spec.map(|spec| ChildSpec {
                id: id.clone(),
                ..spec
            }));
        }
        if id.0 == OBSERVE {
            return Ok(topology
                .observe
                .as_ref()
                .map(|observe| self.specs.observe(observe)));
        }
        if let Some(node) = postgres::node_of(id) {
            let database = topology.database.as_ref();
            let server = database.filter(|database| database.nodes.contains_key(&node));
            let spec = |database| Ok(self.server(database, node, topology)?.spec());
            return server.map(spec).transpose();
        }
        if let Some(purpose) = redis_engine::purpose_of(id) {
            let redis = topology.redis.get(&purpose);
            return redis
                .map(|redis| Ok(self.redis(redis, topology)?.spec()))
                .transpose();
        }
        let instance = id.0.parse::<InstanceId>().ok();
        match instance.and_then(|id| topology.instances.get(&id)) {
            Some(instance) => self
                .specs
                .instance(instance, topology, &*self.equipment()?)
                .map(Some),
            None => Ok(None),
        }
    }
}

fn has_place(id: &ChildId, topology: &Topology) -> bool {
    match id.0.as_str() {
        _ if is_edge(id) => topology
            .edge
            .as_ref()
            .is_some_and(|edge| edge.everywhere().any(|place| edge_child(edge, place) == *id)),
        OBSERVE => topology.observe.is_some(),
        _ if is_pgproxy(id) => topology
            .pgproxy
            .as_ref()
            .is_some_and(|pgproxy| pgproxy_child(pgproxy) == *id),
        _ if *id == postgres::backup::child_id() => topology.database.is_some(),
        _ if postgres::node_of(id).is_some() => {
            let node = postgres::node_of(id);
            let database = topology.database.as_ref();
            database.is_some_and(|database| node.is_some_and(|node| database.nodes.contains_key(&node)))
        }
        _ if redis_engine::purpose_of(id).is_some() => {
            let purpose = redis_engine::purpose_of(id);
            purpose.is_some_and(|purpose| topology.redis.contains_key(&purpose))
        }
        name => name
            .parse::<InstanceId>()
            .is_ok_and(|id| topology.instances.contains_key(&id)),
    }
}

/// A controller that was killed while it replaced it left the one, the other, or both.
fn still_there(pgproxy: Pgproxy, alive: &BTreeSet<String>) -> Option<Pgproxy> {
    if alive.contains(&pgproxy_child(&pgproxy).0) {
        return Some(pgproxy);
    }
    let other = alive.iter().find(|id| is_pgproxy(&ChildId((*id).clone())))?;
    let program = other
        .split_once('@')
        .map_or("", |(_, program)| program)
        .to_owned();
    Some(Pgproxy { program, ..pgproxy })
}
