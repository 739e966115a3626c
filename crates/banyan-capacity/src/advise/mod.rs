//! Which step of the ladder comes next for a running system, with the figures that say so: [`advise`].
//!
//! A step is advised when every figure that it needs was measured and is past its limit; otherwise it is "not yet", with what
//! is missing. What limits the system comes first, numbers of users are no trigger. Too little data is refused.
//!
//! Limits: it judges what was measured, it simulates nothing: what a step gives is not predicted.

mod rules;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Less than this says nothing of a system.
pub const LEAST: Duration = Duration::from_secs(30 * 60);
const LEAST_REQUESTS: f64 = 1000.0;
/// From so much on, it is likely to have seen the busiest hour; and the busiest day.
const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// What was measured. Busy figures are of the busiest minutes: 95 % of the time it was less. `None`: it was not measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// For so long.
    pub over: Duration,
    pub requests: f64,
    /// Requests per second on average, and in the busiest minutes.
    pub rate: Option<f64>,
    pub rate_busy: Option<f64>,
    /// What 95 % of the requests took at most, in seconds.
    pub p95: Option<f64>,
    /// Share of the requests that found no instance in time.
    pub refused: Option<f64>,
    /// Of the machine, and the share of them in use.
    pub cores: Option<f64>,
    pub machine: Option<f64>,
    /// CPUs that all instances of the app, and the servers of the database, use.
    pub app: Option<f64>,
    pub database: Option<f64>,
    /// Share of the statements that a replica may answer.
    pub movable: Option<f64>,
    /// Bytes that leave the edge per second, on average.
    pub sent: Option<f64>,
}

/// What there is already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Of the process that gets the requests; on average, where their number follows the load.
    pub instances: u32,
    pub scaled: bool,
    /// Banyan runs it on this machine.
    pub own_database: bool,
    pub replicas: u32,
    pub cache: bool,
    pub cdn: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Advice {
    /// What to do now; `None`: nothing.
    pub next: Option<Step>,
    /// In the order of the ladder.
    pub not_yet: Vec<Step>,
    pub confidence: Confidence,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// As its file in `stages/` is called.
    pub rung: String,
    pub what: String,
    /// What to write into banyan.toml.
    pub write: String,
    pub evidence: Vec<Evidence>,
}

/// A figure and the limit that it must be past.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub what: String,
    /// `None`: it was not measured.
    pub now: Option<f64>,
    pub limit: f64,
    /// It must be above the limit; else below.
    pub above: bool,
    pub unit: Unit,
    pub holds: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Of one.
    Share,
    Times,
    Gigabytes,
}

/// How much of the load's ups and downs it can have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Less than a day.
    Low,
    Medium,
    /// A week or more.
    High,
}

#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "too little was measured to advise: {} min and {requests:.0} requests, of {} min and {LEAST_REQUESTS} at least",
    over.as_secs() / 60,
    least.as_secs().div_ceil(60)
)]
pub struct TooLittle {
    pub over: Duration,
    pub requests: f64,
    pub least: Duration,
}

/// `least`: so much must have been measured; [`LEAST`], unless somebody asks for a shorter look.
pub fn advise(standing: Standing, measured: &Measured, least: Duration) -> Result<Advice, TooLittle> {
    let Measured { over, requests, .. } = *measured;
    if over < least || requests < LEAST_REQUESTS || measured.machine.is_none() {
        return Err(TooLittle {
            over,
            requests,
            least,
        });
    }
    let mut steps = rules::open(standing, measured);
    let next = steps
        .iter()
        .position(Step::is_due)
        .map(|first| steps.remove(first));
    Ok(Advice {
        next,
        not_yet: steps,
        confidence: match over {
            over if over >= WEEK => Confidence::High,
            over if over >= DAY => Confidence::Medium,
            _ => Confidence::Low,
        },
    })
}

impl Step {
    fn is_due(&self) -> bool {
        self.evidence.iter().all(|evidence| evidence.holds)
    }

    /// What is missing, unless it is due.
    pub fn missing(&self) -> Option<&Evidence> {
        self.evidence.iter().find(|evidence| !evidence.holds)
    }
}

impl Unit {
    /// "74 %"
    pub fn words(self, value: f64) -> String {
        match self {
            Self::Share => format!("{:.0} %", value * 100.0),
            Self::Times => format!("{value:.1} x"),
            Self::Gigabytes => format!("{value:.0} GB"),
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.unit.words(self.limit);
        let side = if self.above { "above" } else { "below" };
        match self.now {
            Some(now) => write!(
                f,
                "{} {}; the rule asks for {side} {limit}",
                self.what,
                self.unit.words(now)
            ),
            None => write!(
                f,
                "{} was not measured; the rule asks for {side} {limit}",
                self.what
            ),
        }
    }
}

#[cfg(test)]
mod tests;
