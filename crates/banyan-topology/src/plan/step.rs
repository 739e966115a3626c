//! What a step means for a topology: when it may be done, what it changes, whether it is done, what undoes it.

mod database;
mod places;
mod redis;

use std::collections::BTreeMap;

use crate::id::NodeId;
use crate::model::{Instance, Node, Topology};
use crate::plan::Step;

/// A step was asked of a topology that it does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {step}: {reason}")]
pub struct StepError {
    pub step: String,
    pub reason: String,
}

impl Step {
    /// The topology after this step, if the step fits this one.
    pub fn apply(&self, to: &Topology) -> Result<Topology, StepError> {
        let mut next = to.clone();
        self.perform(&mut next).map_err(|reason| StepError {
            step: self.to_string(),
            reason,
        })?;
        Ok(next)
    }

    /// Whether its effect is there already, so that a resumed plan can skip it.
    pub fn holds(&self, at: &Topology) -> bool {
        match self {
            Self::StartDatabase(database) => database::runs(at, database),
            Self::StopDatabase(database) => !database::runs(at, database),
            Self::AddReplica(node) => nodes(at).is_some_and(|nodes| nodes.get(&node.id) == Some(node)),
            Self::RemoveReplica(node) => nodes(at).is_none_or(|nodes| nodes.get(&node.id) != Some(node)),
            Self::ConfigureDatabase { from, to } | Self::RestartDatabase { from, to } => {
                database::is_configured(at, from, to)
            }
            Self::Switchover { from: _, to } => at
                .database
                .as_ref()
                .is_some_and(|database| database.primary == *to),
            Self::StartPgproxy(pgproxy) => at.pgproxy.as_ref() == Some(pgproxy),
            Self::StopPgproxy(_) => at.pgproxy.is_none(),
            Self::ConfigurePgproxy { from: _, to } => at.pgproxy.as_ref() == Some(to),
            Self::StartRedis(redis) => redis::runs(at, redis),
            Self::StopRedis(redis) => !redis::runs(at, redis),
            Self::ConfigureRedis { from: _, to } | Self::RestartRedis { from: _, to } => redis::runs(at, to),
            Self::StartObserve(observe) => at.observe.as_ref() == Some(observe),
            Self::StopObserve(_) => at.observe.is_none(),
            Self::ConfigureObserve { from: _, to } => at.observe.as_ref() == Some(to),
            Self::ReplacePgproxy { from: _, to } => at
                .pgproxy
                .as_ref()
                .is_some_and(|pgproxy| pgproxy.program == to.program),
            Self::RunRelease(release) => at.released.contains(release),
            Self::SetRelease { from: _, to } => at.release == *to,
            Self::ConfigureProcess { from, to } => {
                let named = from.as_ref().or(to.as_ref());
                named.is_none_or(|process| at.processes.get(&process.name) == to.as_ref())
            }
            Self::ConfigureLogs { from: _, to } => *at.logs == *to,
            Self::StartInstance(instance) => at.instances.get(&instance.id) == Some(instance),
            Self::StopInstance(instance) => at.instances.get(&instance.id) != Some(instance),
            Self::Admit(id) => at.rotation.contains(id),
            Self::Drain(id) => !at.rotation.contains(id),
            Self::StartEdge(edge) => at.edge.as_ref() == Some(edge),
            Self::StopEdge(_) => at.edge.is_none(),
            // Places come and go in steps of their own.
            Self::ConfigureEdge { from: _, to } => at
                .edge
                .as_ref()
                .is_some_and(|edge| edge.with_places_of(to) == *to),
            Self::StartPlace { name, place } => places::runs(at, name, place),
            Self::StopPlace { name, place } => !places::runs(at, name, place),
            // What changes after it is another step's.
            Self::ReplaceEdge { from: _, to } => at
                .edge
                .as_ref()
                .is_some_and(|edge| edge.started_like(to) == *edge),
        }
    }

    /// The step that undoes this one; `None`: nothing does.
    pub fn inverse(&self) -> Option<Self> {
        Some(match self.clone() {
            Self::StartDatabase(database) => Self::StopDatabase(database),
            Self::StopDatabase(database) => Self::StartDatabase(database),
            Self::AddReplica(node) => Self::RemoveReplica(node),
            Self::RemoveReplica(node) => Self::AddReplica(node),
            Self::ConfigureDatabase { from, to } => Self::ConfigureDatabase { from: to, to: from },
            Self::RestartDatabase { from, to } => Self::RestartDatabase { from: to, to: from },
            Self::Switchover { from, to } => Self::Switchover { from: to, to: from },
            Self::StartPgproxy(pgproxy) => Self::StopPgproxy(pgproxy),
            Self::StopPgproxy(pgproxy) => Self::StartPgproxy(pgproxy),
            Self::ConfigurePgproxy { from, to } => Self::ConfigurePgproxy { from: to, to: from },
            Self::StartRedis(redis) => Self::StopRedis(redis),
            Self::StopRedis(redis) => Self::StartRedis(redis),
            Self::ConfigureRedis { from, to } => Self::ConfigureRedis { from: to, to: from },
            Self::RestartRedis { from, to } => Self::RestartRedis { from: to, to: from },
            Self::StartObserve(observe) => Self::StopObserve(observe),
            Self::StopObserve(observe) => Self::StartObserve(observe),
            Self::ConfigureObserve { from, to } => Self::ConfigureObserve { from: to, to: from },
            Self::ReplacePgproxy { from, to } => Self::ReplacePgproxy { from: to, to: from },
            Self::RunRelease(_) => return None,
            Self::SetRelease { from, to } => Self::SetRelease { from: to, to: from },
            Self::ConfigureProcess { from, to } => Self::ConfigureProcess { from: to, to: from },
            Self::ConfigureLogs { from, to } => Self::ConfigureLogs { from: to, to: from },
            Self::StartInstance(instance) => Self::StopInstance(instance),
            Self::StopInstance(instance) => Self::StartInstance(instance),
            Self::Admit(id) => Self::Drain(id),
            Self::Drain(id) => Self::Admit(id),
            Self::StartEdge(edge) => Self::StopEdge(edge),
            Self::StopEdge(edge) => Self::StartEdge(edge),
            Self::ConfigureEdge { from, to } => Self::ConfigureEdge { from: to, to: from },
            Self::StartPlace { name, place } => Self::StopPlace { name, place },
            Self::StopPlace { name, place } => Self::StartPlace { name, place },
            Self::ReplaceEdge { from, to } => Self::ReplaceEdge { from: to, to: from },
        })
    }

    fn perform(&self, at: &mut Topology) -> Result<(), String> {
        match self {
            Self::StartDatabase(database) => {
                must(database.is_alone(), || {
                    "a start begins with the primary alone".into()
                })?;
                exchange(&mut at.database, None, Some(database), "the database")
            }
            Self::StopDatabase(database) => {
                must(database.is_alone(), || "its replicas are removed first".into())?;
                exchange(&mut at.database, Some(database), None, "the database")
            }
            Self::AddReplica(node) => database::add_replica(at, node),
            Self::RemoveReplica(node) => database::remove_replica(at, node),
            Self::ConfigureDatabase { from, to } => database::configure(at, from, to, false),
            Self::RestartDatabase { from, to } => database::configure(at, from, to, true),
            Self::Switchover { from, to } => database::switch(at, *from, *to),
            Self::StartPgproxy(pgproxy) => exchange(&mut at.pgproxy, None, Some(pgproxy), "the proxy"),
            Self::StopPgproxy(pgproxy) => exchange(&mut at.pgproxy, Some(pgproxy), None, "the proxy"),
            Self::ConfigurePgproxy { from, to } => {
                must(from.program == to.program, || {
                    "a running proxy keeps its program".into()
                })?;
                let kept = to.addresses().any(|address| address == from.listen)
                    || from.addresses().any(|address| address == to.listen);
                must(kept, || "a running proxy stays where clients find it".into())?;
                exchange(&mut at.pgproxy, Some(from), Some(to), "the proxy")
            }
            Self::ReplacePgproxy { from, to } => {
                must(from.started_like(to) == *to, || {
                    "another proxy process changes nothing else".into()
                })?;
                exchange(&mut at.pgproxy, Some(from), Some(to), "the proxy")
            }
            Self::StartRedis(redis) => redis::put(at, None, Some(redis)),
            Self::StopRedis(redis) => redis::put(at, Some(redis), None),
            Self::ConfigureRedis { from, to } => redis::configure(at, from, to, false),
            Self::RestartRedis { from, to } => redis::configure(at, from, to, true),
            Self::StartObserve(observe) => exchange(&mut at.observe, None, Some(observe), "observe"),
            Self::StopObserve(observe) => exchange(&mut at.observe, Some(observe), None, "observe"),
            Self::ConfigureObserve { from, to } => {
                must(from.port == to.port, || "a running observe keeps its port".into())?;
                exchange(&mut at.observe, Some(from), Some(to), "observe")
            }
            Self::RunRelease(release) => must(at.released.insert(*release), || {
                format!("the release command of {release} has run already")
            }),
            Self::SetRelease { from, to } => {
                exchange(&mut at.release, from.as_ref(), to.as_ref(), "the current release")
            }
            Self::ConfigureProcess { from, to } => configure_process(at, from.as_ref(), to.as_ref()),
            Self::ConfigureLogs { from, to } => {
                must(from != to && *at.logs == *from, || {
                    "logs are not kept as the plan expects".into()
                })?;
                *at.logs = to.clone();
                Ok(())
            }
            Self::StartInstance(instance) => start(at, instance),
            Self::StopInstance(instance) => stop(at, instance),
            Self::Admit(id) => {
                must(at.instances.contains_key(id), || format!("{id} does not run"))?;
                must(at.rotation.insert(id.clone()), || {
                    format!("{id} is in rotation already")
                })
            }
            Self::Drain(id) => must(at.rotation.remove(id), || format!("{id} is not in rotation")),
            Self::StartEdge(edge) => exchange(&mut at.edge, None, Some(edge), "the edge"),
            Self::StopEdge(edge) => exchange(&mut at.edge, Some(edge), None, "the edge"),
            Self::ConfigureEdge { from, to } => {
                must(from.started_like(to) == *from, || {
                    "a running edge keeps its program and its threads".into()
                })?;
                must(from.places == to.places, || {
                    "places are started and stopped one by one".into()
                })?;
                exchange(&mut at.edge, Some(from), Some(to), "the edge")
            }
            Self::StartPlace { name, place } => places::start(at, name, place),
            Self::StopPlace { name, place } => places::stop(at, name, place),
            Self::ReplaceEdge { from, to } => {
                must(from.started_like(to) == *to, || {
                    "another edge process changes nothing else".into()
                })?;
                exchange(&mut at.edge, Some(from), Some(to), "the edge")
            }
        }
    }
}

fn nodes(at: &Topology) -> Option<&BTreeMap<NodeId, Node>> {
    at.database.as_ref().map(|database| &database.nodes)
}

fn must(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Puts `to` where exactly `from` must be; a step that would change nothing is an error too.
fn exchange<T: Clone + PartialEq>(
    place: &mut Option<T>,
    from: Option<&T>,
    to: Option<&T>,
    what: &str,
) -> Result<(), String> {
    must(from != to, || format!("{what} is as wanted already"))?;
    must(place.as_ref() == from, || {
        format!("{what} is not as the plan expects")
    })?;
    *place = to.cloned();
    Ok(())
}

fn configure_process(
    at: &mut Topology,
    from: Option<&crate::model::Process>,
    to: Option<&crate::model::Process>,
) -> Result<(), String> {
    let Some(name) = from.or(to).map(|process| process.name.clone()) else {
        return Err("it names no process".into());
    };
    must(to.is_none_or(|process| process.name == name), || {
        format!("it renames {name}")
    })?;
    let mut place = at.processes.remove(&name);
    exchange(&mut place, from, to, &format!("process {name}"))?;
    at.processes.extend(place.map(|process| (name, process)));
    Ok(())
}

fn start(at: &mut Topology, instance: &Instance) -> Result<(), String> {
    let id = &instance.id;
    must(!at.instances.contains_key(id), || format!("{id} runs already"))?;
    at.instances.insert(id.clone(), instance.clone());
    Ok(())
}

fn stop(at: &mut Topology, instance: &Instance) -> Result<(), String> {
    let id = &instance.id;
    must(!at.rotation.contains(id), || format!("{id} is still in rotation"))?;
    must(at.instances.get(id) == Some(instance), || {
        format!("{id} does not run on port {}", instance.port)
    })?;
    at.instances.remove(id);
    Ok(())
}
