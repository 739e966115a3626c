//! Policy `target`: one figure is held at a value, by the rules of Kubernetes' HorizontalPodAutoscaler.
//!
//! Source: kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale, "Algorithm details" and "Default behavior".

use std::collections::VecDeque;
use std::time::Duration;

use banyan_config::TargetRule;
use serde::{Deserialize, Serialize};

use super::observation::Observation;
use super::{Proposal, Reason};

const EVERY: Duration = Duration::from_secs(15);
const TOLERANCE: f64 = 0.1;
/// Down goes only to the most that was asked for in this time.
const STABLE: Duration = Duration::from_secs(300);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Target {
    asked: Option<Duration>,
    /// What was proposed, and when.
    proposed: VecDeque<(Duration, u32)>,
    last: Option<(u32, f64)>,
}

impl Target {
    pub(super) fn propose(&mut self, rule: &TargetRule, seen: &Observation) -> Proposal {
        let current = seen.running();
        let (value, target) = (value(rule, seen), wanted(rule));
        if self
            .asked
            .is_none_or(|asked| seen.at.saturating_sub(asked) >= EVERY)
        {
            self.asked = Some(seen.at);
            let need = need(target, value, seen);
            self.proposed.push_back((seen.at, need));
            self.proposed
                .retain(|(when, _)| seen.at.saturating_sub(*when) <= STABLE);
            self.last = Some((need, value.unwrap_or(0.0)));
        } else if let Some((need, value)) = self.last {
            // Between two of its own ticks nothing moves.
            return proposal(target, need, current, value);
        }
        let need = self.last.map_or(current, |(need, _)| need);
        let stable = self.proposed.iter().map(|(_, need)| *need).max();
        let want = if need > current {
            need.min((2 * current).max(current + 4))
        } else {
            stable.unwrap_or(need).min(current)
        };
        proposal(target, need, want, value.unwrap_or(0.0))
    }
}

fn proposal(target: f64, need: u32, want: u32, value: f64) -> Proposal {
    Proposal {
        need,
        want,
        reason: Reason::Target { value, target },
    }
}

/// The figure per ready instance.
fn value(rule: &TargetRule, seen: &Observation) -> Option<f64> {
    let each = f64::from(seen.ready.max(1));
    match rule {
        TargetRule::Cpu(_) => seen.cpu,
        TargetRule::Requests(_) => Some(seen.rate_15s / each),
        TargetRule::InFlight(_) => Some((seen.in_flight + seen.waiting) / each),
    }
}

fn wanted(rule: &TargetRule) -> f64 {
    match rule {
        TargetRule::Cpu(share) => share.of_one(),
        TargetRule::Requests(number) | TargetRule::InFlight(number) => f64::from(*number),
    }
}

/// What is starting counts as idle when more are to come, and as loaded as it should be when some are to go.
fn need(target: f64, value: Option<f64>, seen: &Observation) -> u32 {
    let current = seen.running();
    let Some(value) = value else { return current };
    let ready = f64::from(seen.ready);
    let ratio = value / target;
    if (ratio - 1.0).abs() <= TOLERANCE {
        return current;
    }
    let all = f64::from(current.max(1));
    let corrected = if ratio > 1.0 {
        value * ready / (target * all)
    } else {
        (value * ready + target * f64::from(seen.starting)) / (target * all)
    };
    let turned = (ratio > 1.0) != (corrected > 1.0);
    if turned || (corrected - 1.0).abs() <= TOLERANCE {
        return current;
    }
    (corrected * all).ceil() as u32
}
