//! `[scale.NAME]`: how many instances a process has when its load decides.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backup::TimeOfDay;
use crate::fraction::Fraction;
use crate::units::duration;

/// By which rule, and within which bounds, the number of a process's instances follows its load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    pub policy: ScalePolicy,
    /// At least 1.
    pub min: u32,
    pub max: u32,
    /// Requests that an instance works on at once; default: `edge.queue.max_connections`.
    pub slots: Option<u32>,
    /// A longer wait for an instance counts as slow. Default 100 ms.
    #[serde(with = "duration")]
    pub slo_wait: Duration,
    /// CPUs that an instance is meant to use: what 100 % is. Default 1.
    pub cores: u32,
    /// Times of the day with a minimum of their own.
    pub schedule: Vec<Floor>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScalePolicy {
    /// So many that few requests wait, now and when a new instance would be ready.
    Headroom,
    /// One figure is held at a value.
    Target(TargetRule),
    /// Thresholds that must hold for minutes.
    Spec(SpecRules),
}

/// What of an instance is held, as by Kubernetes' HorizontalPodAutoscaler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetRule {
    /// Share of its CPUs.
    Cpu(Fraction),
    /// Requests per second.
    Requests(u32),
    /// Requests under way.
    InFlight(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecRules {
    /// Shares of CPU. Defaults 0.7 and 0.3.
    pub up_cpu: Fraction,
    pub down_cpu: Fraction,
    /// How long they must hold. Defaults 5 and 15 min.
    #[serde(with = "duration")]
    pub up_for: Duration,
    #[serde(with = "duration")]
    pub down_for: Duration,
    /// Requests per second and instance. Default 1000.
    pub up_requests: u32,
    /// Share of refused requests. Default 0.01.
    pub up_errors: Fraction,
    /// Between two steps. Defaults 300 and 600 s.
    #[serde(with = "duration")]
    pub cooldown_up: Duration,
    #[serde(with = "duration")]
    pub cooldown_down: Duration,
}

/// A minimum between two times of the day, UTC; over midnight when it ends before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    pub from: TimeOfDay,
    pub to: TimeOfDay,
    pub min: u32,
}

impl Floor {
    /// Whether it holds at this time after midnight.
    pub fn holds(&self, now: Duration) -> bool {
        let (from, to) = (self.from.since_midnight(), self.to.since_midnight());
        if from <= to {
            from <= now && now < to
        } else {
            from <= now || now < to
        }
    }
}
