//! What is done when the primary fails: a pure decision, `step(event) -> actions`.
//!
//! Healthy → Suspect → Fencing → Replaying → Bound → Promoting → Published → Rejoining → Healthy; or, where promotion
//! might lose what was acknowledged, Fencing → Restarting in place. It knows no process and no clock:
//! [`Local`](crate::driver::Local) performs the actions and feeds their results back.
//!
//! - Nothing is promoted before the old primary is fenced: every process of it is gone.
//! - With synchronous durability an acknowledged write is on at least one replica. Log is received in order, so the one
//!   that received most has it, if every replica was asked. One that does not answer may be that one: then the old
//!   primary is started in place, whose disk has everything.
//! - Without it a replica may lack what was acknowledged last: the old primary is started in place, and a replica takes
//!   over only when that fails.
//! - Whatever happens, statements pass again in the end, or their hold ends at its limit.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use banyan_config::Durability;
use banyan_topology::snapshot::pgproxy::Bound;
use banyan_topology::{Database, NodeId};

/// Probes in a row without an answer that make a primary a failed one.
const MISSES: u32 = 3;
/// Starts in place that fail before a replica takes over.
const STARTS: u32 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its main process has ended.
    Exited,
    /// It gave no answer in time.
    Missed,
    /// It answers, whatever it says.
    Answered,
    /// Every process of it is gone.
    Fenced,
    /// How far each replica that answers is: the log position that it received, once it has replayed what it can.
    Measured(BTreeMap<NodeId, u64>),
    BoundTaken(Bound),
    Promoted,
    NotPromoted,
    Restarted(Bound),
    NotRestarted,
    Published,
    Rejoined,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Let statements wait.
    Hold,
    /// Kill every process of this server and wait until none is left.
    Fence(NodeId),
    /// Ask these how far they are.
    Measure(Vec<NodeId>),
    /// Ask this one for the first transaction number that it has not seen.
    TakeBound(NodeId),
    Promote(NodeId),
    Restart(NodeId),
    /// Write down who is primary, tell everyone, let statements pass.
    Publish {
        primary: NodeId,
        bound: Bound,
    },
    /// Bring this one back as a replica.
    Rejoin(NodeId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Healthy,
    Suspect {
        misses: u32,
    },
    Fencing,
    Replaying,
    /// The number that tells lost transactions from others is asked for.
    Bound {
        candidate: NodeId,
    },
    Promoting {
        candidate: NodeId,
        bound: Bound,
    },
    Restarting {
        tries: u32,
    },
    Published {
        primary: NodeId,
    },
    Rejoining {
        primary: NodeId,
    },
    /// Neither the primary nor a replica can be had: a person must look.
    Stuck,
}

/// One failure, from the first sign to the end.
#[derive(Clone, Debug)]
pub struct Failover {
    state: State,
    primary: NodeId,
    replicas: Vec<NodeId>,
    durability: Durability,
    /// Starts in place that failed.
    failed_starts: u32,
    in_place: Option<InPlace>,
}

/// Why no replica takes over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InPlace {
    #[error("it has no replica")]
    Alone,
    #[error("a replica may lack what was acknowledged last (database.durability = \"async\")")]
    Asynchronous,
    #[error("{} did not answer, and may be the one that has what was acknowledged last", names(.0))]
    Silent(Vec<NodeId>),
}

fn names(nodes: &[NodeId]) -> String {
    let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    names.join(", ")
}

impl Failover {
    pub fn new(database: &Database) -> Self {
        Self {
            state: State::Healthy,
            primary: database.primary,
            replicas: database.replicas().map(|node| node.id).collect(),
            durability: database.durability,
            failed_starts: 0,
            in_place: None,
        }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Why the primary is, or was, started in its place.
    pub fn in_place(&self) -> Option<&InPlace> {
        self.in_place.as_ref()
    }

    /// Nothing more is to be done.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Healthy | State::Stuck)
    }

    pub fn step(&mut self, event: Event) -> Vec<Action> {
        match (self.state.clone(), event) {
            (State::Healthy | State::Suspect { .. }, Event::Exited) => self.begin(),
            (State::Healthy, Event::Missed) => self.suspect(1),
            (State::Suspect { misses }, Event::Missed) => self.suspect(misses + 1),
            (State::Suspect { .. }, Event::Answered) => self.turn(State::Healthy, []),
            (State::Fencing, Event::Fenced) => self.fenced(),
            (State::Replaying, Event::Measured(received)) => self.measured(&received),
            (State::Bound { candidate }, Event::BoundTaken(bound)) => self.turn(
                State::Promoting { candidate, bound },
                [Action::Promote(candidate)],
            ),
            (State::Promoting { candidate, bound }, Event::Promoted) => self.turn(
                State::Published { primary: candidate },
                [Action::Publish {
                    primary: candidate,
                    bound,
                }],
            ),
            // One that was told to promote may have done so: it must not run beside the old primary.
            (State::Promoting { .. } | State::Bound { .. }, Event::NotPromoted) => {
                self.turn(State::Stuck, [])
            }
            (State::Restarting { .. }, Event::Restarted(bound)) => {
                let primary = self.primary;
                self.turn(State::Published { primary }, [Action::Publish { primary, bound }])
            }
            (State::Restarting { tries }, Event::NotRestarted) => self.not_restarted(tries + 1),
            (State::Published { primary }, Event::Published) if primary == self.primary => {
                self.turn(State::Healthy, [])
            }
            (State::Published { primary }, Event::Published) => {
                let old = self.primary;
                self.turn(State::Rejoining { primary }, [Action::Rejoin(old)])
            }
            (State::Rejoining { .. }, Event::Rejoined) => self.turn(State::Healthy, []),
            // What comes late, or twice.
            _ => Vec::new(),
        }
    }

    fn turn(&mut self, state: State, actions: impl Into<Vec<Action>>) -> Vec<Action> {
        self.state = state;
        actions.into()
    }

    fn suspect(&mut self, misses: u32) -> Vec<Action> {
        if misses >= MISSES {
            return self.begin();
        }
        self.turn(State::Suspect { misses }, [])
    }

    fn begin(&mut self) -> Vec<Action> {
        let primary = self.primary;
        self.turn(State::Fencing, [Action::Hold, Action::Fence(primary)])
    }

    fn fenced(&mut self) -> Vec<Action> {
        let may_promote = self.durability == Durability::Sync || self.failed_starts > 0;
        if may_promote && !self.replicas.is_empty() {
            let asked = self.replicas.clone();
            return self.turn(State::Replaying, [Action::Measure(asked)]);
        }
        self.in_place = Some(if self.replicas.is_empty() {
            InPlace::Alone
        } else {
            InPlace::Asynchronous
        });
        self.restart(0)
    }

    fn restart(&mut self, tries: u32) -> Vec<Action> {
        let primary = self.primary;
        self.turn(State::Restarting { tries }, [Action::Restart(primary)])
    }

    fn measured(&mut self, received: &BTreeMap<NodeId, u64>) -> Vec<Action> {
        let asked: BTreeMap<NodeId, u64> = self
            .replicas
            .iter()
            .filter_map(|node| Some((*node, *received.get(node)?)))
            .collect();
        let all = asked.len() == self.replicas.len();
        let safe = all || self.durability == Durability::Async;
        // Of equal ones the first by number.
        let furthest = asked
            .iter()
            .max_by_key(|(node, position)| (**position, std::cmp::Reverse(**node)));
        match furthest {
            Some((candidate, _)) if safe => {
                let candidate = *candidate;
                self.in_place = None;
                self.turn(State::Bound { candidate }, [Action::TakeBound(candidate)])
            }
            _ if self.failed_starts > STARTS => self.turn(State::Stuck, []),
            _ => {
                let silent = self.replicas.iter().filter(|node| !asked.contains_key(node));
                self.in_place = Some(InPlace::Silent(silent.copied().collect()));
                self.restart(0)
            }
        }
    }

    fn not_restarted(&mut self, tries: u32) -> Vec<Action> {
        self.failed_starts += 1;
        if tries < STARTS {
            return self.restart(tries);
        }
        if self.replicas.is_empty() || self.failed_starts > STARTS {
            return self.turn(State::Stuck, []);
        }
        // What is left of the starts must be gone before another one writes.
        let primary = self.primary;
        self.turn(State::Fencing, [Action::Fence(primary)])
    }
}
