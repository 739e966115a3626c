//! What people wished beyond banyan.toml, and what must be remembered so that it is not chosen twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use banyan_runtime::watched::{self, WatchedError};
use banyan_topology::{InstanceId, ReleaseId, Remembered, Topology};
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
    pub instance_ports: BTreeMap<InstanceId, u16>,
}

impl Default for Intent {
    fn default() -> Self {
        Self {
            pinned: None,
            next_release: ReleaseId(1),
            served: BTreeSet::new(),
            database_port: None,
            instance_ports: BTreeMap::new(),
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
        let instance_ports = if topology.instances.is_empty() {
            self.instance_ports.clone()
        } else {
            let ports = topology.instances.iter();
            ports.map(|(id, instance)| (id.clone(), instance.port)).collect()
        };
        Self {
            pinned,
            next_release: self.next_release,
            served,
            database_port: topology
                .database
                .as_ref()
                .map(|database| database.port)
                .or(self.database_port),
            instance_ports,
        }
    }

    pub fn remembered(&self) -> Remembered {
        Remembered {
            database_port: self.database_port,
            instance_ports: self.instance_ports.clone(),
        }
    }
}
