//! Policy `concurrency`: requests at once at 70 % of what instances may have, over a minute; over six seconds, and never
//! down, from when they are twice as many until a minute after.
//!
//! Source: knative.dev/docs/serving/autoscaling/concurrency and /kpa-specific ("Stable window", "Panic window and
//! threshold", "Scale rates").

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::observation::Observation;
use super::{Proposal, Reason};

const UTILIZATION: f64 = 0.7;
const STABLE: Duration = Duration::from_secs(60);
const PANIC: Duration = Duration::from_secs(6);
/// So many times what is ready, asked for within [`PANIC`], is a reason for it.
const THRESHOLD: u32 = 2;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Concurrency {
    /// Requests at once, of the last minute.
    at_once: VecDeque<(Duration, f64)>,
    /// Since when it panics, and the most that was asked for meanwhile.
    panic: Option<(Duration, u32)>,
    /// What was asked for in the last minute: down only to the most of it.
    asked: VecDeque<(Duration, u32)>,
}

impl Concurrency {
    pub(super) fn propose(&mut self, seen: &Observation) -> Proposal {
        let at = seen.at;
        self.at_once.push_back((at, seen.in_flight + seen.waiting));
        self.at_once.retain(|(when, _)| at.saturating_sub(*when) < STABLE);
        let target = UTILIZATION * f64::from(seen.staffing.slots);
        let (stable, quick) = (self.mean(at, STABLE), self.mean(at, PANIC));
        let need = (stable / target).ceil() as u32;
        let now = (quick / target).ceil() as u32;
        let ready = seen.ready.max(1);
        if now >= THRESHOLD * ready {
            let most = self
                .panic
                .map_or(0, |(_, most)| most)
                .max(now)
                .max(seen.running());
            self.panic = Some((at, most));
        } else if self
            .panic
            .is_some_and(|(since, _)| at.saturating_sub(since) > STABLE)
        {
            self.panic = None;
        }
        let need = self.panic.map_or(need, |(_, most)| most.max(now));
        // Half as many, or a thousand times as many, at once at most.
        let asked = need.clamp(ready / 2, 1000 * ready);
        self.asked.push_back((at, asked));
        self.asked.retain(|(when, _)| at.saturating_sub(*when) <= STABLE);
        let want = self.asked.iter().map(|(_, want)| *want).max().unwrap_or(asked);
        let value = if self.panic.is_some() { quick } else { stable };
        Proposal {
            need,
            want,
            reason: Reason::Target {
                value: value / f64::from(ready),
                target,
            },
        }
    }

    fn mean(&self, at: Duration, window: Duration) -> f64 {
        let within = self
            .at_once
            .iter()
            .filter(|(when, _)| at.saturating_sub(*when) < window);
        let (sum, count) = within.fold((0.0, 0.0), |(sum, count), (_, value)| (sum + value, count + 1.0));
        sum / f64::max(count, 1.0)
    }
}
