//! How numbers of instances follow their load, as people are told.

use banyan_topology::ProcessName;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoscaleVerb {
    Show,
    /// The last decisions, with all that led to them.
    Why,
    /// Nothing is changed until it goes on.
    Pause,
    GoOn,
}

/// How numbers of instances follow their load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Autoscale {
    /// Since when nothing is changed, in Unix ms.
    pub paused_ms: Option<u64>,
    /// Why the last change failed; it is tried again.
    pub problem: Option<String>,
    pub processes: Vec<ScaledProcess>,
    /// The last ones, oldest first.
    pub changes: Vec<ScaleChange>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScaledProcess {
    pub process: ProcessName,
    pub min: u32,
    pub max: u32,
    /// Instances that there are.
    pub count: u32,
    /// How many there should be, and how many the load alone asks for; `None`: nothing was measured yet.
    pub want: Option<u32>,
    pub need: Option<u32>,
    /// Why, in words.
    pub why: Option<String>,
    /// What keeps it from what the load asks for, in words.
    pub guards: Vec<String>,
    /// It decides only; nothing is changed.
    #[serde(default)]
    pub shadow: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleChange {
    pub unix_ms: u64,
    pub process: ProcessName,
    pub from: u32,
    pub to: u32,
    pub why: String,
}

/// A decision, with all that led to it. Times and rates are the clock's, whatever `speed` is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    pub unix_ms: u64,
    pub process: ProcessName,
    /// "headroom"
    pub policy: String,
    /// It was not made true, and was not meant to be.
    pub shadow: bool,
    pub min: u32,
    pub max: u32,
    pub measured: Measured,
    /// What the load alone asks for, and what was decided.
    pub need: u32,
    pub want: u32,
    /// Why `need` is what it is, in words.
    pub why: String,
    /// All that made `want` another number, in the order in which it did, in words.
    pub bounds: Vec<String>,
}

/// What was known. `None`: it was not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// How old the newest report of the edge was.
    pub age_ms: u64,
    /// Requests per second that arrived in the last five and fifteen seconds.
    pub rate_5s: f64,
    pub rate_15s: f64,
    pub waiting: f64,
    pub in_flight: f64,
    /// Instances.
    pub ready: u32,
    pub starting: u32,
    /// Of an instance: requests at once (`None`: no limit), time of a request, requests per second when it is never idle.
    pub slots: Option<u32>,
    pub service_ms: f64,
    pub capacity: f64,
    /// From the start of an instance to its first request.
    pub start_ms: u64,
    /// Share of the CPUs that an instance is meant to use.
    pub cpu: Option<f64>,
    /// Share of the requests that found no instance.
    pub refused: Option<f64>,
    /// Share of the time of requests that is spent waiting for a database connection.
    pub pool_wait: Option<f64>,
    /// So many instances find their connections to the database.
    pub connected: Option<u32>,
    /// The machine has no CPU left.
    pub host_is_full: bool,
}
