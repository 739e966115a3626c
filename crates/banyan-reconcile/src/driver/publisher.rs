//! The edge's snapshot: written when what it says changes, under an epoch that only grows.
//!
//! The last epoch is the one in the file itself, so it survives restarts of the controller.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use banyan_runtime::watched::{self, WatchedError};
use banyan_topology::snapshot::{self, EdgeSnapshot};
use banyan_topology::{Epoch, InstanceId, Topology};

#[derive(Debug)]
pub(crate) struct Publisher {
    path: PathBuf,
    /// Held while the file is read and written: a plan's step and an order of a certificate may both publish.
    writing: Mutex<()>,
}

impl Publisher {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            writing: Mutex::default(),
        }
    }

    /// Tells the edge about `topology`; the epoch under which it does. `reported`: what the edge says it serves, which
    /// a lost file must not fall behind.
    pub(super) fn publish(&self, topology: &Topology, reported: Epoch) -> Result<Epoch, WatchedError> {
        let _alone = self.alone();
        let old: Option<EdgeSnapshot> = watched::read(&self.path)?;
        let Some(new) = next(old.as_ref(), topology, reported) else {
            return Ok(old.map_or(reported, |old| old.epoch));
        };
        watched::publish(&self.path, &new)?;
        Ok(new.epoch)
    }

    /// Has the edge answer a CA so, in place of all answers before; the epoch under which it does. `None`: there is no edge.
    pub(crate) fn challenge(
        &self,
        answers: BTreeMap<String, String>,
        reported: Epoch,
    ) -> Result<Option<Epoch>, WatchedError> {
        let _alone = self.alone();
        let Some(old) = watched::read::<EdgeSnapshot>(&self.path)? else {
            return Ok(None);
        };
        if old.challenges == answers {
            return Ok(Some(old.epoch));
        }
        let new = EdgeSnapshot {
            epoch: old.epoch.max(reported).next(),
            challenges: answers,
            ..old
        };
        watched::publish(&self.path, &new)?;
        Ok(Some(new.epoch))
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        // It guards a file, not a value that a panic could leave half-way.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The snapshot to write; `None`: the old one says it all, or there is no edge to tell.
fn next(old: Option<&EdgeSnapshot>, topology: &Topology, reported: Epoch) -> Option<EdgeSnapshot> {
    let draining = old.map_or_else(BTreeSet::new, |old| draining(old, topology));
    let last = old.map_or(reported, |old| old.epoch.max(reported));
    let mut new = snapshot::edge(topology, last.next(), &draining)?;
    if let Some(old) = old {
        new.challenges.clone_from(&old.challenges);
    }
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
    let known = old.endpoints().map(|endpoint| &endpoint.id);
    known
        .filter(|id| topology.instances.contains_key(id) && !topology.rotation.contains(id))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use banyan_topology::snapshot::EndpointState;
    use banyan_topology::{Edge, Instance};

    use super::*;

    fn topology(instances: &[&str], rotation: &[&str]) -> Topology {
        let mut topology = Topology::nothing("photos".parse().unwrap());
        for (n, id) in instances.iter().enumerate() {
            let id: InstanceId = id.parse().unwrap();
            let port = 20_000 + u16::try_from(n).unwrap();
            topology.instances.insert(
                id.clone(),
                Instance {
                    id,
                    port,
                    protocol: Default::default(),
                },
            );
        }
        topology.rotation = rotation.iter().map(|id| id.parse().unwrap()).collect();
        topology.edge = Some(Edge {
            listen: "127.0.0.1:8080".parse().unwrap(),
            https: None,
            process: "web".parse().unwrap(),
            settings: Box::default(),
            routes: Vec::new(),
            listeners: Vec::new(),
            passthrough: Default::default(),
            places: Default::default(),
            program: String::new(),
        });
        topology
    }

    fn shown(snapshot: &EdgeSnapshot) -> Vec<(String, EndpointState)> {
        let endpoints = snapshot.endpoints();
        endpoints
            .map(|endpoint| (endpoint.id.to_string(), endpoint.state))
            .collect()
    }

    #[test]
    fn an_instance_that_leaves_the_rotation_drains_until_it_is_stopped() {
        let both = next(
            None,
            &topology(&["web.1@r1", "web.1@r2"], &["web.1@r1", "web.1@r2"]),
            Epoch(0),
        )
        .unwrap();
        let drained = next(
            Some(&both),
            &topology(&["web.1@r1", "web.1@r2"], &["web.1@r2"]),
            Epoch(0),
        )
        .unwrap();
        let expected = [
            ("web.1@r1".to_owned(), EndpointState::Draining),
            ("web.1@r2".to_owned(), EndpointState::Active),
        ];
        assert_eq!(shown(&drained), expected);
        let stopped = next(Some(&drained), &topology(&["web.1@r2"], &["web.1@r2"]), Epoch(0)).unwrap();
        assert_eq!(shown(&stopped), [("web.1@r2".to_owned(), EndpointState::Active)]);
        assert_eq!(
            [both.epoch, drained.epoch, stopped.epoch],
            [Epoch(1), Epoch(2), Epoch(3)]
        );
    }

    #[test]
    fn an_instance_that_was_never_admitted_is_not_shown_and_no_change_is_no_new_epoch() {
        let first = next(None, &topology(&["web.1@r1"], &["web.1@r1"]), Epoch(0)).unwrap();
        assert_eq!(
            next(
                Some(&first),
                &topology(&["web.1@r1", "web.2@r1"], &["web.1@r1"]),
                Epoch(0)
            ),
            None
        );
    }

    #[test]
    fn the_epoch_grows_beyond_what_a_running_edge_has_seen_even_if_the_file_was_lost() {
        let new = next(None, &topology(&["web.1@r1"], &[]), Epoch(41)).unwrap();
        assert_eq!(new.epoch, Epoch(42));
    }
}
