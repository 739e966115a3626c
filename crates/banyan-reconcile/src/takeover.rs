//! What a new controller does with what an earlier one left: adopt, then decide about its unfinished plan.

use banyan_runtime::watched;
use banyan_topology::{AppName, Database, Step, Topology};

use crate::driver::Driver;
use crate::durable::DurableError;
use crate::execute::fits;
use crate::intent::Intent;
use crate::journal::{Journal, Journals, OnFailure, Reason, Record};
use crate::paths::StateDir;

/// The state in which a controller begins.
#[derive(Debug)]
pub struct TakenOver {
    /// What of the last reached topology really runs.
    pub topology: Topology,
    pub unfinished: Option<(Journal, Record)>,
    pub notes: Vec<String>,
}

/// Adopts survivors, stops children that belong to no topology, and writes down what is left.
pub async fn take_over<D: Driver>(
    driver: &D,
    state: &StateDir,
    app: &AppName,
) -> Result<TakenOver, DurableError> {
    let saved: Option<Topology> = watched::read(&state.topology())?;
    let saved = saved.unwrap_or_else(|| Topology::nothing(app.clone()));
    let unfinished = Journals::new(state.journal()).unfinished()?;
    let expected = match &unfinished {
        Some((_, record)) => with_doubtful(&saved, record),
        None => saved.clone(),
    };
    let mut notes = driver.adopt(&expected).await;
    let mut topology = driver.observe(&saved).await;
    if topology.database.is_some() {
        let save = |mended: &Topology| write_down(state, mended);
        let mended = driver.mend(&topology, false, &save).await;
        topology = mended.topology;
        notes.extend(mended.notes);
    }
    if topology.edge.is_none() && saved.edge.is_some() {
        // The new edge had taken over already, and the old one has ended since.
        let replaced = driver.observe(&expected).await;
        topology.edge = replaced.edge;
    }
    if topology != saved {
        // Who was primary is known for longer than the server runs.
        let intent = Intent::read(&state.intent())?;
        intent.remembering(&saved).write(&state.intent())?;
        notes.extend(gone(&saved, &topology));
        watched::publish(&state.topology(), &topology)?;
    }
    Ok(TakenOver {
        topology,
        unfinished,
        notes,
    })
}

/// Another primary, before anybody is told of it: in the topology, and for a start after everything has ended.
pub(crate) fn write_down(state: &StateDir, topology: &Topology) -> Result<(), String> {
    let write = || {
        let intent = Intent::read(&state.intent())?;
        intent.remembering(topology).write(&state.intent())?;
        watched::publish(&state.topology(), topology)
    };
    write().map_err(|error: watched::WatchedError| error.to_string())
}

/// Starts that were begun may have happened although the topology does not say so yet.
fn with_doubtful(saved: &Topology, record: &Record) -> Topology {
    let doubtful = record.in_doubt.iter().filter_map(|index| {
        let planned = record.steps().get(*index)?;
        if record.reverting {
            planned.inverse.as_ref()
        } else {
            Some(&planned.step)
        }
    });
    doubtful.fold(saved.clone(), |expected, step| match step {
        Step::StartInstance(_)
        | Step::StartDatabase(_)
        | Step::AddReplica(_)
        | Step::StartPgproxy(_)
        | Step::StartRedis(_)
        | Step::StartEdge(_)
        | Step::StartPlace { .. }
        | Step::ReplaceEdge { .. } => step.apply(&expected).unwrap_or(expected),
        _ => expected,
    })
}

fn gone(saved: &Topology, left: &Topology) -> Vec<String> {
    let mut gone = Vec::new();
    if saved.database.is_some() && left.database.is_none() {
        gone.push("postgres".to_owned());
    }
    let nodes = |side: &Topology| {
        side.database
            .iter()
            .flat_map(Database::replicas)
            .cloned()
            .collect::<Vec<_>>()
    };
    let lost = nodes(saved);
    gone.extend(
        lost.iter()
            .filter(|node| !nodes(left).contains(node))
            .map(|node| node.id.to_string()),
    );
    if saved.pgproxy.is_some() && left.pgproxy.is_none() {
        gone.push("pgproxy".to_owned());
    }
    if saved.observe.is_some() && left.observe.is_none() {
        gone.push("observe".to_owned());
    }
    let lost = saved
        .redis
        .keys()
        .filter(|purpose| !left.redis.contains_key(purpose));
    gone.extend(lost.map(|purpose| format!("redis of {purpose}")));
    if saved.edge.is_some() && left.edge.is_none() {
        gone.push("edge".to_owned());
    }
    if let (Some(saved), Some(left)) = (&saved.edge, &left.edge) {
        let lost = saved
            .places
            .keys()
            .filter(|name| !left.places.contains_key(*name));
        gone.extend(lost.map(|name| format!("edge-{name}")));
    }
    let lost = saved
        .instances
        .keys()
        .filter(|id| !left.instances.contains_key(*id));
    gone.extend(lost.map(ToString::to_string));
    if gone.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "ended while no controller watched: {}; what is missing is started again",
        gone.join(", ")
    )]
}

/// What to do with an unfinished plan when a controller starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Resume,
    Revert,
    /// A new plan from what runs replaces it.
    Abandon(String),
}

pub fn decide(record: &Record, topology: &Topology) -> Decision {
    if record.header.reason == Reason::Down && !record.reverting {
        return Decision::Abandon("it was going down, and is now to come up".to_owned());
    }
    if let Err(reason) = fits(record, topology) {
        return Decision::Abandon(reason);
    }
    match (&record.failure, record.reverting) {
        (_, true) => Decision::Revert,
        // It failed and was killed before it could begin to undo.
        (Some(_), false) if record.header.on_failure == OnFailure::Revert => Decision::Revert,
        (None, false) => Decision::Resume,
        (Some((step, error)), false) => Decision::Abandon(format!(
            "it had failed to {}: {}",
            record.steps()[*step].step,
            error.lines().next().unwrap_or_default()
        )),
    }
}
