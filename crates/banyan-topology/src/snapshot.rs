//! What a role is told: one complete, immutable, numbered value per role, published as a file.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use banyan_config::{EdgeSettings, ReadyProbe};

use crate::id::{AppName, Epoch, InstanceId, ProcessName};
use crate::model::Topology;

/// The snapshot that makes a running edge serve this topology; `None` when it has no edge.
///
/// `draining` are the instances whose drain is under way: they finish what they have, whether or not the topology
/// still counts them into the rotation.
pub fn edge(topology: &Topology, epoch: Epoch, draining: &BTreeSet<InstanceId>) -> Option<EdgeSnapshot> {
    let edge = topology.edge.as_ref()?;
    let listed = topology.rotation.union(draining);
    let endpoints = listed.filter_map(|id| {
        let instance = topology.instances.get(id)?;
        let state = if draining.contains(id) {
            EndpointState::Draining
        } else {
            EndpointState::Active
        };
        Some(Endpoint {
            id: id.clone(),
            address: (Ipv4Addr::LOCALHOST, instance.port).into(),
            state,
        })
    });
    let ready = topology
        .processes
        .get(&edge.process)
        .and_then(|process| process.settings.ready.clone());
    Some(EdgeSnapshot {
        epoch,
        app: topology.app.clone(),
        listen: edge.listen,
        settings: edge.settings.clone(),
        upstream: Upstream {
            process: edge.process.clone(),
            ready,
            endpoints: endpoints.collect(),
        },
    })
}

/// All that the edge role knows. It keeps the last good one and refuses older epochs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeSnapshot {
    pub epoch: Epoch,
    pub app: AppName,
    pub listen: SocketAddr,
    pub settings: EdgeSettings,
    pub upstream: Upstream,
}

/// A group that gets traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    pub process: ProcessName,
    /// How the edge itself checks each endpoint; `None`: a TCP connect.
    pub ready: Option<ReadyProbe>,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub id: InstanceId,
    pub address: SocketAddr,
    pub state: EndpointState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// Gets requests while healthy.
    Active,
    /// Finishes what is in flight, gets nothing new. A state, not a command: a restarted edge does the same.
    Draining,
}
