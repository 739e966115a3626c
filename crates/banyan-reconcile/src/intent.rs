//! What people wished beyond banyan.toml, and what must be remembered so that it is not chosen twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use banyan_config::Purpose;
use banyan_runtime::watched::{self, WatchedError};
use banyan_topology::{InstanceId, NodeId, ProcessName, ReleaseId, Remembered, Topology};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Holds until the next deploy, after a rollback and after a deploy that failed and was undone: the configuration's
    /// own release is not made while this is set, so that a restart of the machine does not try the broken one again.
    pub pinned: Option<ReleaseId>,
    /// Number of the next release that is made. Never goes back, so a number names one release for ever.
    pub next_release: ReleaseId,
    /// Releases that a plan has reached: what a rollback may go back to.
    pub served: BTreeSet<ReleaseId>,
    /// So that what comes back after `down` has the port it had.
    pub database_port: Option<u16>,
    #[serde(default)]
    pub nodes: BTreeMap<NodeId, u16>,
    /// Folders of their data, of those whose data is not in the state folder.
    #[serde(default)]
    pub dirs: BTreeMap<NodeId, PathBuf>,
    /// Who was primary last: a start must not begin with older data.
    #[serde(default)]
    pub primary: Option<NodeId>,
    #[serde(default)]
    pub pgproxy_port: Option<u16>,
    #[serde(default)]
    pub redis_ports: BTreeMap<Purpose, u16>,
    #[serde(default)]
    pub observe_port: Option<u16>,
    pub instance_ports: BTreeMap<InstanceId, u16>,
    /// Of the processes whose number follows their load.
    #[serde(default)]
    pub counts: BTreeMap<ProcessName, u32>,
}

impl Default for Intent {
    fn default() -> Self {
        Self {
            pinned: None,
            next_release: ReleaseId(1),
            served: BTreeSet::new(),
            database_port: None,
            nodes: BTreeMap::new(),
            dirs: BTreeMap::new(),
            primary: None,
            pgproxy_port: None,
            redis_ports: BTreeMap::new(),
            observe_port: None,
            instance_ports: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }
}

impl Intent {
    pub fn read(path: &Path) -> Result<Self, WatchedError> {
        Ok(watched::read(path)?.unwrap_or_default())
    }

    pub fn write(&self, path: &Path) -> Result<(), WatchedError> {
        watched::publish(path, self)
    }

    /// The intent once a plan from release `before` to `wanted` has been undone.
    pub fn undone(mut self, before: Option<ReleaseId>, wanted: Option<ReleaseId>) -> Self {
        if before.is_some() && wanted.is_some() && before != wanted {
            self.pinned = before;
        }
        self
    }

    /// The intent once `topology` is reached with this pin. Ports stay remembered when nothing runs any more.
    pub fn reached(&self, topology: &Topology, pinned: Option<ReleaseId>) -> Self {
        let mut served = self.served.clone();
        served.extend(topology.release);
        let (instance_ports, counts) = if topology.instances.is_empty() {
            (self.instance_ports.clone(), self.counts.clone())
        } else {
            let ports = topology.instances.iter();
            let ports = ports.map(|(id, instance)| (id.clone(), instance.port));
            (ports.collect(), scaled(topology))
        };
        Self {
            pinned,
            next_release: self.next_release,
            served,
            instance_ports,
            counts,
            ..self.remembering(topology)
        }
    }

    /// Where PostgreSQL and Redis are and who is primary, should it come back after it has ended. Ports of replicas that are gone
    /// stay remembered.
    pub fn remembering(&self, topology: &Topology) -> Self {
        let mut intent = self.clone();
        if let Some(database) = &topology.database {
            let ports = database.nodes.values().map(|node| (node.id, node.port));
            intent.nodes.extend(ports);
            for node in database.nodes.values() {
                match &node.dir {
                    Some(dir) => drop(intent.dirs.insert(node.id, dir.clone())),
                    None => drop(intent.dirs.remove(&node.id)),
                }
            }
            intent.primary = Some(database.primary);
            intent.database_port = intent.nodes.get(&NodeId::FIRST).copied();
        }
        if let Some(pgproxy) = &topology.pgproxy {
            intent.pgproxy_port = Some(pgproxy.listen.port());
        }
        let redis = topology.redis.values().map(|redis| (redis.purpose, redis.port));
        intent.redis_ports.extend(redis);
        if let Some(observe) = &topology.observe {
            intent.observe_port = Some(observe.port);
        }
        intent
    }

    pub fn remembered(&self) -> Remembered {
        Remembered {
            database_port: self.database_port,
            nodes: self.nodes.clone(),
            dirs: self.dirs.clone(),
            primary: self.primary,
            pgproxy_port: self.pgproxy_port,
            redis_ports: self.redis_ports.clone(),
            observe_port: self.observe_port,
            instance_ports: self.instance_ports.clone(),
            counts: self.counts.clone(),
        }
    }
}

/// How many there are of each process whose number follows its load.
fn scaled(topology: &Topology) -> BTreeMap<ProcessName, u32> {
    let scaled = topology
        .processes
        .values()
        .filter(|process| process.settings.scale.is_some());
    let count = |name: &ProcessName| {
        let slots = topology.instances.keys().filter(|id| id.process == *name);
        slots.map(|id| id.slot).max().unwrap_or(0)
    };
    scaled
        .map(|process| (process.name.clone(), count(&process.name)))
        .collect()
}
