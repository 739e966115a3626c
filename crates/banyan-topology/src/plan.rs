//! Ordered steps from one topology to another.
//!
//! A step is complete: who performs it leaves no choice. Its precondition and its meaning are [`Step::apply`]; its
//! postcondition on the real system is `banyan-reconcile`'s driver's (a `StartInstance` is done when the instance is
//! ready, an `Admit` when the edge reports it healthy in rotation, a `Drain` when nothing is in flight to it).

use serde::{Deserialize, Serialize};

use crate::id::{InstanceId, ReleaseId};
use crate::model::{Database, Edge, Instance, Process};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step", content = "with")]
pub enum Step {
    /// Start PostgreSQL (creating its data directory, role and database if absent); done when it answers queries.
    StartDatabase(Database),
    /// Stop PostgreSQL by fast shutdown; the data stays.
    StopDatabase(Database),
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
    /// Start an instance outside the rotation; done when it is ready.
    StartInstance(Instance),
    /// Stop an instance that is out of rotation: SIGTERM, grace, SIGKILL.
    StopInstance(Instance),
    /// Let the edge send requests to it; done when the edge reports it healthy at the new epoch.
    Admit(InstanceId),
    /// Send it no new requests; done when none is in flight (or the stop grace has passed).
    Drain(InstanceId),
    /// Start the edge; done when it listens and reports.
    StartEdge(Edge),
    /// Let the edge finish what is in flight, then stop it.
    StopEdge(Edge),
    /// Change the running edge by snapshot; done when it reports the epoch.
    ConfigureEdge { from: Edge, to: Edge },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    pub step: Step,
    /// What undoes it; `None`: irreversible.
    pub inverse: Option<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub steps: Vec<PlannedStep>,
}
