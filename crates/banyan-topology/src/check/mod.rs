//! Judges a plan with code that did not make it: its result, and what would run if it stopped after any step.
//!
//! Shares nothing with the planner but [`Step::apply`](crate::Step::apply). A revert is a plan too and is judged by
//! the same rules, so they name what users rely on, not the order that the planner happens to choose.

mod rules;

use std::fmt;

use crate::model::Topology;
use crate::plan::{Plan, PlannedStep};

/// A rule that a plan would break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// By which step, 1-based; `None`: by the plan as a whole.
    pub step: Option<usize>,
    pub rule: Rule,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Every step fits the topology that the steps before it lead to.
    Applies,
    /// What undoes a step leads back to where it began; only release commands have nothing that does.
    Inverse,
    /// Nothing is started, stopped, admitted or drained against the result.
    Purpose,
    /// What is in rotation runs; what enters it is of a process that the edge serves before or after.
    Rotation,
    /// No two of edge, database, Redis and instances have one port.
    Ports,
    /// Every instance is of a process whose readiness and grace are known.
    Watched,
    /// No start brings a process above its `max`.
    Max,
    /// Traffic keeps as many instances as the smaller side has; one fewer only where `max` leaves no room.
    Capacity,
    /// No instance that comes or goes runs without the database of its side; a database that stays is never stopped.
    Database,
    /// A primary is one of the servers; synchronous durability has a replica; a server does not become another's replica
    /// or primary under instances that connect to it themselves.
    Servers,
    /// The proxy leads to a primary; one that stays is never stopped; no instance runs without the one of its side.
    Proxy,
    /// A Redis that stays is never stopped; no instance runs without the one of its side.
    Redis,
    /// An edge that stays is never stopped.
    Edge,
    /// No instance starts before the release command of its release has run.
    Released,
    /// The whole plan leads to what was wanted.
    Result,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Some(step) => write!(f, "step {step}: {}", self.detail),
            None => f.write_str(&self.detail),
        }
    }
}

/// Every rule that the plan would break, in order of steps.
pub fn plan(current: &Topology, plan: &Plan, desired: &Topology) -> Result<(), Vec<Violation>> {
    let mut found = Vec::new();
    let mut at = current.clone();
    for (n, planned) in plan.steps.iter().enumerate() {
        let mut broken = |rule, detail| {
            found.push(Violation {
                step: Some(n + 1),
                rule,
                detail,
            })
        };
        let next = match planned.step.apply(&at) {
            Ok(next) => next,
            Err(error) => {
                broken(Rule::Applies, error.to_string());
                // What follows would be judged from a state that never is.
                return Err(found);
            }
        };
        if let Err(detail) = inverts(planned, &at, &next) {
            broken(Rule::Inverse, detail);
        }
        let step = rules::Move {
            current,
            desired,
            before: &at,
            step: &planned.step,
            after: &next,
        };
        step.judge(&mut broken);
        at = next;
    }
    if let Err(detail) = reached(current, &at, desired) {
        found.push(Violation {
            step: None,
            rule: Rule::Result,
            detail,
        });
    }
    if found.is_empty() { Ok(()) } else { Err(found) }
}

fn inverts(planned: &PlannedStep, before: &Topology, after: &Topology) -> Result<(), String> {
    let PlannedStep { step, inverse } = planned;
    match inverse {
        None if matches!(step, crate::Step::RunRelease(_)) => Ok(()),
        None => Err(format!("nothing undoes `{step}`")),
        Some(inverse) => match inverse.apply(after) {
            Ok(undone) if undone == *before => Ok(()),
            Ok(_) => Err(format!("`{inverse}` does not undo `{step}`")),
            Err(error) => Err(format!("`{step}` cannot be undone: {error}")),
        },
    }
}

fn reached(current: &Topology, result: &Topology, desired: &Topology) -> Result<(), String> {
    // That a release command ran cannot be taken back, whatever is desired.
    let released = current.released.union(&desired.released).copied().collect();
    let wanted = Topology {
        released,
        ..desired.clone()
    };
    let differs = [
        ("app", result.app != wanted.app),
        ("database", result.database != wanted.database),
        ("proxy", result.pgproxy != wanted.pgproxy),
        ("Redis", result.redis != wanted.redis),
        ("edge", result.edge != wanted.edge),
        ("observe", result.observe != wanted.observe),
        ("processes", result.processes != wanted.processes),
        ("release", result.release != wanted.release),
        ("release commands that ran", result.released != wanted.released),
        ("instances", result.instances != wanted.instances),
        ("rotation", result.rotation != wanted.rotation),
    ];
    let parts: Vec<&str> = differs
        .iter()
        .filter(|(_, differs)| *differs)
        .map(|(part, _)| *part)
        .collect();
    if parts.is_empty() {
        Ok(())
    } else {
        Err(format!("the plan does not reach the wanted {}", parts.join(", ")))
    }
}
