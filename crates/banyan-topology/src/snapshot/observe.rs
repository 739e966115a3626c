//! What the role that keeps what is measured is told: where it shows it, how much it keeps, and what there is to be seen.
//!
//! How things are it measures itself; this only names them, so that what has died is missed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use banyan_config::ObserveSettings;
use banyan_config::{Alerts, Purpose};
use serde::{Deserialize, Serialize};

use crate::id::{AppName, Epoch, InstanceId, NodeId, PlaceName, ProcessName, ReleaseId};
use crate::model::Topology;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObserveSnapshot {
    pub epoch: Epoch,
    pub app: AppName,
    /// Of the dashboard: on loopback.
    pub listen: SocketAddr,
    /// Holds what a person must know to see it; mode 0600. Made if it is missing.
    pub token_file: PathBuf,
    pub settings: ObserveSettings,
    /// `None`: no rule is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<Alerts>,
    pub layout: Layout,
}

/// What runs, or should.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    pub release: Option<ReleaseId>,
    /// Addresses of the first edge; empty: there is none.
    pub edge: Vec<SocketAddr>,
    pub places: BTreeMap<PlaceName, Vec<SocketAddr>>,
    /// Whether the edge sends requests to it.
    pub processes: BTreeMap<ProcessName, bool>,
    pub instances: BTreeMap<InstanceId, InstancePlace>,
    pub pgproxy: Option<SocketAddr>,
    /// Servers of the database, by port.
    pub nodes: BTreeMap<NodeId, u16>,
    pub primary: Option<NodeId>,
    pub redis: BTreeMap<Purpose, u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstancePlace {
    pub port: u16,
    pub in_rotation: bool,
}

/// `None`: the topology has no such role.
pub fn observe(topology: &Topology, epoch: Epoch, token_file: PathBuf) -> Option<ObserveSnapshot> {
    let observe = topology.observe.as_ref()?;
    Some(ObserveSnapshot {
        epoch,
        app: topology.app.clone(),
        listen: observe.listen(),
        token_file,
        settings: observe.settings.clone(),
        alerts: observe.alerts.clone(),
        layout: layout(topology),
    })
}

fn layout(topology: &Topology) -> Layout {
    let edge = topology.edge.as_ref();
    let places = edge.iter().flat_map(|edge| &edge.places);
    let instances = topology.instances.values().map(|instance| {
        let place = InstancePlace {
            port: instance.port,
            in_rotation: topology.rotation.contains(&instance.id),
        };
        (instance.id.clone(), place)
    });
    let nodes = topology
        .database
        .iter()
        .flat_map(|database| database.nodes.values());
    Layout {
        release: topology.release,
        edge: edge
            .map(|edge| edge.first_addresses().collect())
            .unwrap_or_default(),
        places: places
            .map(|(name, place)| (name.clone(), place.addresses().collect()))
            .collect(),
        processes: topology
            .processes
            .keys()
            .map(|name| (name.clone(), edge.is_some_and(|edge| edge.serves(name))))
            .collect(),
        instances: instances.collect(),
        pgproxy: topology.pgproxy.as_ref().map(|pgproxy| pgproxy.listen),
        nodes: nodes.map(|node| (node.id, node.port)).collect(),
        primary: topology.database.as_ref().map(|database| database.primary),
        redis: topology
            .redis
            .values()
            .map(|redis| (redis.purpose, redis.port))
            .collect(),
    }
}
