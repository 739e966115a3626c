//! Another server becomes primary because a person asks for it; all else stays as it runs.

use crate::facts::Facts;
use crate::id::NodeId;
use crate::model::{Database, Topology};
use crate::resolve::{ResolveError, Resolved, database};

pub(super) fn resolve(
    to: Option<NodeId>,
    facts: &Facts,
    current: &Topology,
) -> Result<Resolved, ResolveError> {
    let running = current.database.as_ref().ok_or(ResolveError::NoDatabase)?;
    let release = current.release.and_then(|id| facts.releases.get(&id));
    let release = release.ok_or(ResolveError::NoRelease)?;
    let wanted = Database {
        primary: candidate(to, running)?,
        ..running.clone()
    };
    let mut notes = Vec::new();
    database::note_moves(running, &wanted, current, &mut notes);
    let mut topology = current.clone();
    topology.database = Some(wanted);
    Ok(Resolved {
        topology,
        release: release.clone(),
        is_new: false,
        pinned: facts.pinned,
        notes,
    })
}

/// Whether it is near enough is seen when the step begins.
fn candidate(to: Option<NodeId>, running: &Database) -> Result<NodeId, ResolveError> {
    let replicas: Vec<NodeId> = running.replicas().map(|node| node.id).collect();
    match to {
        Some(to) if running.is_primary(to) => Err(ResolveError::PrimaryAlready(to)),
        Some(to) if replicas.contains(&to) => Ok(to),
        Some(wanted) if !replicas.is_empty() => Err(ResolveError::UnknownServer {
            wanted,
            known: replicas,
        }),
        _ => replicas.first().copied().ok_or(ResolveError::NoReplica),
    }
}
