//! What the steps of PostgreSQL's servers mean.

use super::{exchange, must};
use crate::id::NodeId;
use crate::model::{Database, Node, Topology};

fn running(at: &mut Topology) -> Result<&mut Database, String> {
    at.database
        .as_mut()
        .ok_or_else(|| "the database does not run".into())
}

/// Which replicas it has, and what has changed since it began, is other steps' doing.
pub(super) fn runs(at: &Topology, database: &Database) -> bool {
    at.database.as_ref().is_some_and(|runs| runs.continues(database))
}

/// What this step changes is as wanted; servers, and what other steps change, may be others.
pub(super) fn is_configured(at: &Topology, from: &Database, to: &Database) -> bool {
    // One that is stopped has nothing to be configured: a plan starts it before it configures it.
    at.database.as_ref().is_none_or(|runs| {
        let durability = from.durability == to.durability || runs.durability == to.durability;
        let backup = from.backup == to.backup || runs.backup == to.backup;
        let settings = from.with_settings_of(to) == *from || runs.with_settings_of(to) == *runs;
        durability && backup && settings
    })
}

pub(super) fn add_replica(at: &mut Topology, node: &Node) -> Result<(), String> {
    let database = running(at)?;
    must(!database.nodes.contains_key(&node.id), || {
        format!("{} runs already", node.id)
    })?;
    database.nodes.insert(node.id, node.clone());
    Ok(())
}

pub(super) fn remove_replica(at: &mut Topology, node: &Node) -> Result<(), String> {
    let database = running(at)?;
    must(!database.is_primary(node.id), || {
        format!("{} is the primary", node.id)
    })?;
    must(database.nodes.get(&node.id) == Some(node), || {
        format!("{} does not run on port {}", node.id, node.port)
    })?;
    database.nodes.remove(&node.id);
    Ok(())
}

/// `anew`: by starting the servers again.
pub(super) fn configure(at: &mut Topology, from: &Database, to: &Database, anew: bool) -> Result<(), String> {
    let same = (&from.nodes, from.primary) == (&to.nodes, to.primary) && from.continues(to);
    must(same, || "settings change neither servers nor data".into())?;
    must(anew || !from.restarts_for(to), || {
        "running servers do not take these settings".into()
    })?;
    exchange(&mut at.database, Some(from), Some(to), "the database")
}

pub(super) fn switch(at: &mut Topology, from: NodeId, to: NodeId) -> Result<(), String> {
    must(from != to, || format!("{to} is the primary already"))?;
    let database = running(at)?;
    must(database.is_primary(from), || format!("{from} is not the primary"))?;
    must(database.nodes.contains_key(&to), || format!("{to} does not run"))?;
    database.primary = to;
    Ok(())
}
