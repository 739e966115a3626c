//! What is known of a group of instances at one moment.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::autoscale::Staffing;

/// Nothing in it is guessed: what was not measured is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Since 1970, UTC.
    pub at: Duration,
    /// Requests per second that arrived in the last five seconds, and in the last fifteen.
    pub rate_5s: f64,
    pub rate_15s: f64,
    /// Requests that wait for an instance.
    pub waiting: f64,
    /// Requests that instances work on.
    pub in_flight: f64,
    pub staffing: Staffing,
    /// How long an instance takes from its start to its first request; the slow end (90 %).
    pub start: Duration,
    pub ready: u32,
    /// Begun and not ready yet.
    pub starting: u32,
    /// CPU that an instance uses on average, as a share of what it is meant to have.
    pub cpu: Option<f64>,
    /// Share of requests that were refused because no instance was free: 503, 504, waited too long. An app's own errors
    /// are not in it.
    pub refused: Option<f64>,
    pub downstream: Downstream,
    pub host: HostRoom,
    pub activity: Activity,
    /// How old the newest report of the edge is.
    pub age: Duration,
}

impl Observation {
    /// Instances that there are or will be.
    pub fn running(&self) -> u32 {
        self.ready + self.starting
    }
}

/// What all instances share: more of them only make it worse when it is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Downstream {
    /// How busy the database's CPUs are, 0 to 1.
    pub busy: Option<f64>,
    /// Share of the requests' time that is spent waiting for a database connection.
    pub pool_wait: Option<f64>,
    /// So many instances find the connections that they open.
    pub instances: Option<u32>,
}

/// Whether the machine has room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostRoom {
    Room,
    Full,
}

/// Whether something else is changing what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    Calm,
    /// A plan, a deploy, a failover.
    Changing,
}
