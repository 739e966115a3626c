//! How many instances of a process there should be: [`decide`], asked every five seconds.
//!
//! What comes in is an [`Observation`], what comes out a [`Decision`]; between two questions a [`State`] is kept. The
//! default policy (`headroom`) goes by the edge's arrivals: enough instances that few requests wait, for the load that
//! is there and for the one that is foreseen when a new instance would be ready. `target`, `concurrency` and `spec` go by
//! one figure and thresholds, as other platforms do.
//!
//! Limits: one queue in front of a group's instances, each with so many requests at once as the edge gives it.

mod bound;
mod concurrency;
mod forecast;
mod guard;
mod headroom;
mod moves;
mod observation;
mod season;
mod spec;
mod staffing;
mod target;

use std::fmt;
use std::time::Duration;

use banyan_config::{Scale, ScalePolicy};
use serde::{Deserialize, Serialize};

pub use bound::Bound;
pub use guard::Guard;
pub use observation::{Activity, Downstream, HostRoom, Observation};
pub use staffing::Staffing;

use concurrency::Concurrency;
use headroom::Headroom;
use moves::Moves;
use spec::Spec;
use target::Target;

/// How often [`decide`] is to be asked.
pub const TICK: Duration = Duration::from_secs(5);

/// What is to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Instances that there should be; between the group's minimum and maximum.
    pub want: u32,
    /// What the load alone asks for, before steps, windows and guards.
    pub need: u32,
    /// Why `need` is what it is.
    pub reason: Reason,
    /// What people should know of that keeps `want` from `need`.
    pub guards: Vec<Guard>,
    /// All that made `want` another number than `need`, in the order in which it did; empty: they are the same.
    #[serde(default)]
    pub bounds: Vec<Bound>,
}

/// Why so many are needed, with the figures that decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The load that is there, in requests per second.
    Present { rate: f64 },
    /// The load that its trend foresees for when a new instance would be ready.
    Trend { rate: f64, foreseen: f64 },
    /// The load of the same time on days before.
    Season { rate: f64, foreseen: f64 },
    /// Requests wait.
    Backlog { waiting: f64 },
    /// `target`: the figure, and what it is to be.
    Target { value: f64, target: f64 },
    /// `spec`: a rule of it, in words.
    Rule { rule: String },
    /// The minimum, or a floor of the schedule.
    Floor,
}

/// What [`decide`] remembers; to be kept across restarts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    moves: Moves,
    guards: guard::Memory,
    policy: Option<Memory>,
}

/// What the policies remember; begins anew when the policy changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Memory {
    Headroom(Box<Headroom>),
    Target(Target),
    Concurrency(Concurrency),
    Spec(Spec),
}

/// What a policy asks for, before guards and bounds.
struct Proposal {
    need: u32,
    want: u32,
    reason: Reason,
}

impl State {
    /// After a restart: what is too old says nothing, and nothing goes down for a while.
    pub fn resumed(mut self, at: Duration) -> Self {
        self.moves.resume(at);
        self.guards = guard::Memory::default();
        self
    }
}

/// How many instances there should be. `state` is what the last decision left.
pub fn decide(scale: &Scale, mut state: State, seen: &Observation) -> (Decision, State) {
    let floor = floor(scale, seen.at);
    let current = seen.running();
    state.guards.take(seen);
    state.moves.take(seen.at);
    let (proposal, memory) = propose(scale, state.policy.take(), &state.moves, seen);
    let mut guards = state.guards.against(scale, seen, &state.moves);
    guards.retain(|guard| guard.holds(proposal.want, current));
    let limited = bound::limited(
        &proposal,
        current,
        floor..=scale.max,
        seen.downstream.instances,
        &guards,
    );
    let want = limited.want;
    guards.extend(limited.guards);
    let reason = if want == floor && proposal.need < floor {
        Reason::Floor
    } else {
        proposal.reason
    };
    state.moves.needed(seen.at, proposal.need);
    state.moves.moved(seen.at, current, want);
    state.policy = Some(memory);
    let decision = Decision {
        want,
        need: proposal.need,
        reason,
        guards,
        bounds: limited.bounds,
    };
    (decision, state)
}

/// `kept` is the policy's own, or another's, that says nothing to it.
fn propose(scale: &Scale, kept: Option<Memory>, moves: &Moves, seen: &Observation) -> (Proposal, Memory) {
    match (&scale.policy, kept) {
        (ScalePolicy::Headroom, kept) => {
            let mut memory = match kept {
                Some(Memory::Headroom(memory)) => memory,
                _ => Box::default(),
            };
            (memory.propose(scale, moves, seen), Memory::Headroom(memory))
        }
        (ScalePolicy::Target(rule), kept) => {
            let mut memory = match kept {
                Some(Memory::Target(memory)) => memory,
                _ => Target::default(),
            };
            (memory.propose(rule, seen), Memory::Target(memory))
        }
        (ScalePolicy::Concurrency, kept) => {
            let mut memory = match kept {
                Some(Memory::Concurrency(memory)) => memory,
                _ => Concurrency::default(),
            };
            (memory.propose(seen), Memory::Concurrency(memory))
        }
        (ScalePolicy::Spec(rules), kept) => {
            let mut memory = match kept {
                Some(Memory::Spec(memory)) => memory,
                _ => Spec::default(),
            };
            (memory.propose(rules, seen), Memory::Spec(memory))
        }
    }
}

/// The least there may be: the minimum, or more while a floor of the schedule holds.
fn floor(scale: &Scale, at: Duration) -> u32 {
    let now = Duration::from_secs(at.as_secs() % 86_400);
    let holds = scale.schedule.iter().filter(|entry| entry.holds(now));
    let floors = holds.map(|entry| entry.min);
    floors
        .chain([scale.min])
        .max()
        .unwrap_or(scale.min)
        .min(scale.max)
}

impl Decision {
    /// The same for a clock that runs so many times slower than the one the load was measured by.
    pub fn slower(mut self, times: f64) -> Self {
        match &mut self.reason {
            Reason::Present { rate } => *rate *= times,
            Reason::Trend { rate, foreseen } | Reason::Season { rate, foreseen } => {
                *rate *= times;
                *foreseen *= times;
            }
            _ => {}
        }
        self
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present { rate } => write!(f, "{rate:.0} requests/s"),
            Self::Trend { rate, foreseen } => {
                write!(
                    f,
                    "{rate:.0} requests/s, by its trend {foreseen:.0} when a new instance is ready"
                )
            }
            Self::Season { rate, foreseen } => {
                write!(f, "{rate:.0} requests/s, {foreseen:.0} by the days before")
            }
            Self::Backlog { waiting } => write!(f, "{waiting:.0} requests wait"),
            Self::Target { value, target } => write!(f, "{value:.2} where {target:.2} is wanted"),
            Self::Rule { rule } => f.write_str(rule),
            Self::Floor => f.write_str("the minimum"),
        }
    }
}

#[cfg(test)]
mod tests;
