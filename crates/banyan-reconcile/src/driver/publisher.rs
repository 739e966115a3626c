//! The edge's snapshot: written when what it says changes, under an epoch that only grows.
//!
//! The last epoch is the one in the file itself, so it survives restarts of the controller.

use std::collections::BTreeSet;
use std::path::PathBuf;

use banyan_runtime::watched::{self, WatchedError};
use banyan_topology::snapshot::{self, EdgeSnapshot};
use banyan_topology::{Epoch, InstanceId, Topology};

#[derive(Debug)]
pub(super) struct Publisher {
    path: PathBuf,
}

impl Publisher {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Tells the edge about `topology`; the epoch under which it does. `reported`: what the edge says it serves, which
    /// a lost file must not fall behind.
    pub(super) fn publish(&self, topology: &Topology, reported: Epoch) -> Result<Epoch, WatchedError> {
        let old: Option<EdgeSnapshot> = watched::read(&self.path)?;
        let Some(new) = next(old.as_ref(), topology, reported) else {
            return Ok(old.map_or(reported, |old| old.epoch));
        };
        watched::publish(&self.path, &new)?;
        Ok(new.epoch)
    }
}

/// The snapshot to write; `None`: the old one says it all, or there is no edge to tell.
fn next(old: Option<&EdgeSnapshot>, topology: &Topology, reported: Epoch) -> Option<EdgeSnapshot> {
    let draining = old.map_or_else(BTreeSet::new, |old| draining(old, topology));
    let last = old.map_or(reported, |old| old.epoch.max(reported));
    let new = snapshot::edge(topology, last.next(), &draining)?;
    let same = old.is_some_and(|old| {
        old.epoch == last
            && *old
                == EdgeSnapshot {
                    epoch: last,
                    ..new.clone()
                }
    });
    (!same).then_some(new)
}

/// Instances that the edge knows and that left the rotation: until they are stopped they finish what they have.
fn draining(old: &EdgeSnapshot, topology: &Topology) -> BTreeSet<InstanceId> {
    let known = old.upstream.endpoints.iter().map(|endpoint| &endpoint.id);
    known
        .filter(|id| topology.instances.contains_key(id) && !topology.rotation.contains(id))
        .cloned()
        .collect()
}
