//! More or fewer instances of what runs, because the load asks for it; all else stays as it runs.

use std::collections::BTreeMap;

use crate::facts::Facts;
use crate::id::ProcessName;
use crate::model::Topology;
use crate::resolve::{ResolveError, ResolveErrors, Resolved, instances};

/// `wanted`: of these processes so many; the others keep what they have.
pub(super) fn resolve(
    wanted: &BTreeMap<ProcessName, u32>,
    facts: &Facts,
    current: &Topology,
) -> Result<Resolved, ResolveErrors> {
    let release = current.release.and_then(|id| facts.releases.get(&id));
    let release = release.ok_or_else(|| ResolveErrors(vec![ResolveError::NoRelease]))?;
    let counts = current.processes.keys().map(|process| {
        let asked = wanted.get(process).copied();
        (process.clone(), asked.unwrap_or_else(|| slots(process, current)))
    });
    let mut topology = current.clone();
    let mut errors = Vec::new();
    instances::fill(
        &mut topology,
        &counts.collect(),
        release,
        facts,
        current,
        &mut errors,
    );
    if !errors.is_empty() {
        return Err(ResolveErrors(errors));
    }
    Ok(Resolved {
        topology,
        release: release.clone(),
        is_new: false,
        pinned: facts.pinned,
        notes: Vec::new(),
    })
}

fn slots(process: &ProcessName, current: &Topology) -> u32 {
    let slots = current.instances.keys().filter(|id| id.process == *process);
    slots.map(|id| id.slot).max().unwrap_or(0)
}
