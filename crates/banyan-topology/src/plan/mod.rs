//! Ordered steps from one topology to another.
//!
//! A step is complete: who performs it leaves no choice. Its precondition and its meaning are [`Step::apply`]; its
//! postcondition on the real system is `banyan-reconcile`'s driver's (a `StartInstance` is done when the instance is
//! ready, an `Admit` when the edge reports it healthy in rotation, a `Drain` when nothing is in flight to it).

mod between;
mod display;
mod step;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use between::between;
pub use step::StepError;

use banyan_config::{EdgePlace, LogSettings};

use crate::id::{InstanceId, NodeId, PlaceName, ReleaseId};
use crate::model::{Database, Edge, Instance, Node, Observe, Pgproxy, Process, Redis};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step", content = "with")]
pub enum Step {
    /// Start PostgreSQL, its primary alone (creating its data directory, role and database if absent); done when it
    /// answers queries.
    StartDatabase(Database),
    /// Stop PostgreSQL, whose primary is alone, by fast shutdown; the data stays.
    StopDatabase(Database),
    /// Copy the primary's data if there is none, or bring what there is back to its history; done when it streams.
    AddReplica(Node),
    /// Stop a replica; its data stays, and the primary keeps no log for it.
    RemoveReplica(Node),
    /// Change settings and durability that running servers take; with synchronous durability done when a replica is in
    /// step.
    ConfigureDatabase { from: Database, to: Database },
    /// Start every server anew with other settings, the primary while statements wait.
    RestartDatabase { from: Database, to: Database },
    /// Make a replica the primary and the primary its replica, while statements wait: no write is lost.
    Switchover { from: NodeId, to: NodeId },
    /// Start the PostgreSQL proxy; done when it listens and reports.
    StartPgproxy(Pgproxy),
    /// Let the proxy finish what runs, then stop it.
    StopPgproxy(Pgproxy),
    /// Change the running proxy by snapshot; done when it reports the epoch.
    ConfigurePgproxy { from: Pgproxy, to: Pgproxy },
    /// Start a Redis; done when it answers with all it had kept.
    StartRedis(Redis),
    /// Stop a Redis; what it keeps stays on the disk.
    StopRedis(Redis),
    /// Change settings that a running Redis takes.
    ConfigureRedis { from: Redis, to: Redis },
    /// Start a Redis anew with other settings.
    RestartRedis { from: Redis, to: Redis },
    /// Start the role that keeps what is measured; done when it reports. Where its port is taken it says so, and tries on.
    StartObserve(Observe),
    /// Stop it; its history stays.
    StopObserve(Observe),
    /// Change the running one by snapshot.
    ConfigureObserve { from: Observe, to: Observe },
    /// Start the proxy anew, of another program, beside the running one, whose listening socket and clients it takes over; done
    /// when it serves and the old one has ended. Nothing else changes.
    ReplacePgproxy { from: Pgproxy, to: Pgproxy },
    /// Run the release command once to success. Irreversible: migrations are not undone.
    RunRelease(ReleaseId),
    /// Make this the release that new instances are made of.
    SetRelease {
        from: Option<ReleaseId>,
        to: Option<ReleaseId>,
    },
    /// Add, change or remove how a process is watched; restarts nothing.
    ConfigureProcess {
        from: Option<Process>,
        to: Option<Process>,
    },
    /// Keep more or less of logs; restarts nothing.
    ConfigureLogs { from: LogSettings, to: LogSettings },
    /// Start an instance outside the rotation; done when it is ready.
    StartInstance(Instance),
    /// Stop an instance that is out of rotation: SIGTERM, grace, SIGKILL.
    StopInstance(Instance),
    /// Let the edge send requests to it; done when the edge reports it healthy at the new epoch. While no edge runs
    /// (the revert of a `down`) it is done at once.
    Admit(InstanceId),
    /// Send it no new requests; done when none is in flight (or the stop grace has passed). While no edge runs (going
    /// down: the edge has stopped before) it is done at once.
    Drain(InstanceId),
    /// Start the edge, at all its places, with the rotation as it is; done when it listens and reports.
    StartEdge(Edge),
    /// Let the edge finish what is in flight, then stop it everywhere.
    StopEdge(Edge),
    /// Change the running edge, at all its places, by snapshot; done when they report the epoch.
    ConfigureEdge { from: Edge, to: Edge },
    /// Start the running edge at one more place; done when it listens there and reports.
    StartPlace { name: PlaceName, place: EdgePlace },
    /// Let the edge finish there what is in flight, then stop it; its other places serve on.
    StopPlace { name: PlaceName, place: EdgePlace },
    /// Start the edge anew, of another program or with other threads, beside the running one, whose listening sockets it
    /// takes over; done when it serves and the old one has finished what was in flight. Nothing else changes.
    ReplaceEdge { from: Edge, to: Edge },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    pub step: Step,
    /// What undoes it; `None`: irreversible.
    pub inverse: Option<Step>,
}

impl From<Step> for PlannedStep {
    fn from(step: Step) -> Self {
        Self {
            inverse: step.inverse(),
            step,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub steps: Vec<PlannedStep>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The plan that undoes the first `done` steps: their inverses, newest first. What has no inverse is left out and
    /// listed by [`Plan::irreversible`].
    pub fn reverted(&self, done: usize) -> Self {
        let undo = self
            .first(done)
            .iter()
            .rev()
            .filter_map(|planned| planned.inverse.clone());
        undo.collect()
    }

    /// Which of the first `done` steps a revert leaves as they are.
    pub fn irreversible(&self, done: usize) -> Vec<&Step> {
        let kept = self
            .first(done)
            .iter()
            .filter(|planned| planned.inverse.is_none());
        kept.map(|planned| &planned.step).collect()
    }

    /// Names this exact plan: 16 hex digits that change with any step, for "apply what was shown, or refuse".
    pub fn fingerprint(&self) -> String {
        let text = serde_json::to_vec(self).expect("a plan has no map with keys other than text");
        let digest = Sha256::digest(&text);
        digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn first(&self, done: usize) -> &[PlannedStep] {
        &self.steps[..done.min(self.steps.len())]
    }
}

impl FromIterator<Step> for Plan {
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        Self {
            steps: steps.into_iter().map(PlannedStep::from).collect(),
        }
    }
}
