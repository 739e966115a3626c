//! The one planner: start, scaling, deploy, rollback and stop are all differences between two topologies.
//!
//! Order: what is kept of logs; database with its servers, proxy; Redis; release command; current release; how processes are watched; edge process; edge settings;
//! instances, the edge's process first; then what goes away: processes, current release, Redis, database, observe last.
//!
//! - The edge starts right before the first `Admit`: whatever it accepts from then on waits (`timeouts.no_endpoint`)
//!   for an instance that is known to be ready, so a start has no moment of 503s. Going down it stops first, while
//!   every instance still runs to finish what is in flight.
//! - Instances that replace none start one right after the other, so that they may start at once, and are admitted when all
//!   are ready.
//! - The others roll slot by slot: start, admit, drain, stop. Where `max` leaves no room, an old one stops first.
//! - When the edge is to serve another process (its own or a route's), that one's instances start and are admitted
//!   first, then the edge changes, then those that it serves no more are drained.
//! - A place of the edge starts before the edge changes, and stops after: what turns to a place finds it. Where one is
//!   to have the address of another, the other one gives it up first.
//! - Another database under running instances has no gentle way: the plan goes through nothing, and `check` refuses
//!   it while instances are in rotation on both sides.

mod database;
mod observe;
mod places;
mod redis;

use std::collections::BTreeSet;

use crate::id::{InstanceId, ProcessName};
use crate::model::{Instance, Topology};
use crate::plan::{Plan, Step};

/// The steps from one topology to another. Never fails: whether it may be performed is for `check` to say.
///
/// Release commands that ran stay known: the result's `released` is that of both sides.
pub fn between(current: &Topology, desired: &Topology) -> Plan {
    let mut planner = Planner {
        at: current.clone(),
        desired,
        steps: Vec::new(),
    };
    match (&current.database, &desired.database) {
        (Some(old), Some(new)) if !old.continues(new) => {
            let nothing = current.stopped();
            let mut down = Planner {
                at: current.clone(),
                desired: &nothing,
                steps: Vec::new(),
            };
            down.all();
            planner.at = down.at;
            planner.steps = down.steps;
        }
        _ => {}
    }
    planner.all();
    planner.steps.into_iter().collect()
}

struct Planner<'a> {
    /// Where the steps so far lead.
    at: Topology,
    desired: &'a Topology,
    steps: Vec<Step>,
}

impl Planner<'_> {
    fn all(&mut self) {
        self.begin();
        self.replace_edge();
        let (first, rest) = self.processes();
        // What the edge shall serve and does not yet is admitted before it is served: the turn has no gap.
        if let (Some(from), Some(to)) = (self.at.edge.clone(), &self.desired.edge) {
            let new = first.iter().filter(|name| to.serves(name) && !from.serves(name));
            new.for_each(|process| self.roll(process));
        }
        self.clear_addresses();
        self.start_places();
        self.configure_edge();
        self.start_places();
        self.stop_places();
        first.iter().for_each(|process| self.roll(process));
        rest.iter().for_each(|process| self.roll(process));
        self.start_edge();
        self.end();
        self.observe();
    }

    /// What must stand before an instance may start.
    fn begin(&mut self) {
        if self.at.logs != self.desired.logs {
            self.push(Step::ConfigureLogs {
                from: (*self.at.logs).clone(),
                to: (*self.desired.logs).clone(),
            });
        }
        if let (Some(edge), None) = (&self.at.edge, &self.desired.edge) {
            self.push(Step::StopEdge(edge.clone()));
        }
        self.begin_database();
        self.begin_redis();
        for release in self.desired.released.difference(&self.at.released.clone()) {
            self.push(Step::RunRelease(*release));
        }
        if self.desired.release.is_some() {
            self.set_release();
        }
        for (name, process) in &self.desired.processes {
            let from = self.at.processes.get(name);
            if from != Some(process) {
                self.push(Step::ConfigureProcess {
                    from: from.cloned(),
                    to: Some(process.clone()),
                });
            }
        }
    }

    /// What no instance needs any more.
    fn end(&mut self) {
        for (name, process) in self.at.processes.clone() {
            if !self.desired.processes.contains_key(&name) {
                self.push(Step::ConfigureProcess {
                    from: Some(process),
                    to: None,
                });
            }
        }
        self.set_release();
        self.end_redis();
        self.end_database();
    }

    fn set_release(&mut self) {
        let (from, to) = (self.at.release, self.desired.release);
        if from != to {
            self.push(Step::SetRelease { from, to });
        }
    }

    /// Processes with instances on either side: those in traffic, what the edge shall serve first; then the others.
    fn processes(&self) -> (Vec<ProcessName>, Vec<ProcessName>) {
        let ids = self.at.instances.keys().chain(self.desired.instances.keys());
        let names: BTreeSet<ProcessName> = ids.map(|id| id.process.clone()).collect();
        let edges = [&self.at.edge, &self.desired.edge];
        let served = |name: &ProcessName| {
            edges.into_iter().flatten().any(|edge| edge.serves(name))
                || self
                    .at
                    .rotation
                    .iter()
                    .chain(&self.desired.rotation)
                    .any(|id| id.process == *name)
        };
        let (mut first, rest): (Vec<_>, Vec<_>) = names.into_iter().partition(served);
        let wanted = self.desired.edge.as_ref().map(|edge| &edge.process);
        first.sort_by_key(|name| Some(name) != wanted);
        (first, rest)
    }

    /// First of all: the edge of a new program knows new settings.
    fn replace_edge(&mut self) {
        if let (Some(from), Some(to)) = (&self.at.edge, &self.desired.edge)
            && from.started_like(to) != *from
        {
            self.push(Step::ReplaceEdge {
                from: from.clone(),
                to: from.started_like(to),
            });
        }
    }

    fn configure_edge(&mut self) {
        if let (Some(from), Some(to)) = (self.at.edge.clone(), &self.desired.edge) {
            let to = to.with_places_of(&from);
            if from != to {
                self.push(Step::ConfigureEdge { from, to });
            }
        }
    }

    fn start_edge(&mut self) {
        if let (None, Some(edge)) = (&self.at.edge, &self.desired.edge) {
            self.push(Step::StartEdge(edge.clone()));
        }
    }

    /// The instances of a process that must go and come. One that changes its port does both.
    fn changing(&self, process: &ProcessName) -> (Vec<Instance>, Vec<Instance>) {
        let only_in = |a: &Topology, b: &Topology| -> Vec<Instance> {
            let of = a
                .instances
                .values()
                .filter(|instance| instance.id.process == *process);
            of.filter(|instance| b.instances.get(&instance.id) != Some(instance))
                .cloned()
                .collect()
        };
        (only_in(&self.at, self.desired), only_in(self.desired, &self.at))
    }

    /// Brings one process to its desired instances and rotation: first what adds capacity, last what takes it away.
    fn roll(&mut self, process: &ProcessName) {
        self.admit_kept(process);
        let (old, new) = self.changing(process);
        let replaces = |instance: &Instance| old.iter().any(|other| other.id.slot == instance.id.slot);
        let (replacing, added): (Vec<_>, Vec<_>) = new.into_iter().partition(replaces);
        // A new slot adds capacity before a replaced one may lack it.
        self.add(process, added);
        for instance in &replacing {
            self.make_room_and_start(instance);
            self.admit(&instance.id);
            let (old, _) = self.changing(process);
            if let Some(replaced) = old.iter().find(|other| other.id.slot == instance.id.slot) {
                self.retire(replaced);
            }
        }
        let (old, _) = self.changing(process);
        old.iter().rev().for_each(|instance| self.retire(instance));
        self.drain_kept(process);
    }

    /// Starts instances that replace none, as many at once as there is room for; then they are admitted.
    fn add(&mut self, process: &ProcessName, added: Vec<Instance>) {
        let mut started: Vec<InstanceId> = Vec::new();
        for instance in added {
            if !self.has_room(process) {
                started.drain(..).for_each(|id| self.admit(&id));
            }
            self.make_room_and_start(&instance);
            started.push(instance.id);
        }
        started.iter().for_each(|id| self.admit(id));
    }

    /// Whether one more may run beside those that do.
    fn has_room(&self, process: &ProcessName) -> bool {
        let settings = self.desired.processes.get(process);
        let max = settings.and_then(|process| process.max);
        max.is_none_or(|max| self.at.running(process) < max as usize)
    }

    /// Starts an instance; where `max`, or its own older self, is in the way, that goes first.
    fn make_room_and_start(&mut self, instance: &Instance) {
        let process = &instance.id.process;
        if let Some(itself) = self.at.instances.get(&instance.id).cloned() {
            self.retire(&itself);
        }
        while !self.has_room(process) {
            let Some(victim) = self.next_to_go(process, instance.id.slot) else {
                break;
            };
            self.retire(&victim);
        }
        self.push(Step::StartInstance(instance.clone()));
    }

    /// Of the instances that go: one without traffic, else one that nothing replaces, else the one of this slot.
    fn next_to_go(&self, process: &ProcessName, slot: u32) -> Option<Instance> {
        let (old, _) = self.changing(process);
        let idle = old
            .iter()
            .rev()
            .find(|other| !self.at.rotation.contains(&other.id));
        let replaced = |slot: u32| {
            self.desired
                .instances
                .keys()
                .any(|id| id.process == *process && id.slot == slot)
        };
        let surplus = old.iter().rev().find(|other| !replaced(other.id.slot));
        let same_slot = old.iter().find(|other| other.id.slot == slot);
        idle.or(surplus).or(same_slot).or(old.last()).cloned()
    }

    fn retire(&mut self, instance: &Instance) {
        if self.at.rotation.contains(&instance.id) {
            self.push(Step::Drain(instance.id.clone()));
        }
        self.push(Step::StopInstance(instance.clone()));
    }

    fn admit(&mut self, id: &InstanceId) {
        if self.desired.rotation.contains(id) && !self.at.rotation.contains(id) {
            self.start_edge();
            self.push(Step::Admit(id.clone()));
        }
    }

    fn admit_kept(&mut self, process: &ProcessName) {
        let of = self.desired.rotation.iter().filter(|id| id.process == *process);
        let kept = of.filter(|id| self.at.instances.get(*id) == self.desired.instances.get(*id));
        let kept: Vec<InstanceId> = kept.cloned().collect();
        kept.iter().for_each(|id| self.admit(id));
    }

    fn drain_kept(&mut self, process: &ProcessName) {
        let of = self.at.rotation.iter().filter(|id| id.process == *process);
        let unwanted: Vec<InstanceId> = of
            .filter(|id| !self.desired.rotation.contains(*id))
            .cloned()
            .collect();
        unwanted.into_iter().for_each(|id| self.push(Step::Drain(id)));
    }

    fn push(&mut self, step: Step) {
        // A step that does not apply stays in the plan, where `check` names it.
        if let Ok(next) = step.apply(&self.at) {
            self.at = next;
        }
        self.steps.push(step);
    }
}
