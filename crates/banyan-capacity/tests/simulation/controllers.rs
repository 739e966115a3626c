//! Who decides: our policies through [`decide`], what other platforms do, and who knows what comes.

use std::collections::VecDeque;

use banyan_capacity::autoscale::{Observation, State, TICK, decide};
use banyan_config::{Fraction, Scale, ScalePolicy, SpecRules, TargetRule};

use crate::queue::{Controller, ONE};

/// One of our policies.
pub(crate) struct Ours {
    scale: Scale,
    every: u64,
    state: Option<State>,
}

impl Ours {
    /// Asked every five seconds; the one that reacts within six every two, as its model does.
    pub(crate) fn new(policy: ScalePolicy, max: u32) -> Self {
        let quick = matches!(policy, ScalePolicy::Concurrency);
        Self {
            every: if quick { 2 } else { TICK.as_secs() },
            scale: scale(policy, max),
            state: Some(State::default()),
        }
    }
}

pub(crate) fn scale(policy: ScalePolicy, max: u32) -> Scale {
    Scale {
        policy,
        min: 2,
        max,
        slo_wait: std::time::Duration::from_millis(100),
        cores: 1,
        schedule: Vec::new(),
        shadow: false,
        connections: None,
        speed: 1,
    }
}

pub(crate) fn by_cpu() -> ScalePolicy {
    ScalePolicy::Target(TargetRule::Cpu(Fraction::new(0.7).expect("a share")))
}

/// 70 % of what an instance stands.
pub(crate) fn by_requests() -> ScalePolicy {
    ScalePolicy::Target(TargetRule::Requests((0.7 * ONE) as u32))
}

pub(crate) fn by_spec() -> ScalePolicy {
    let share = |share| Fraction::new(share).expect("a share");
    let minutes = |minutes: u64| std::time::Duration::from_secs(60 * minutes);
    ScalePolicy::Spec(SpecRules {
        up_cpu: share(0.7),
        down_cpu: share(0.3),
        up_for: minutes(5),
        down_for: minutes(15),
        up_requests: 1000,
        up_errors: share(0.01),
        cooldown_up: minutes(5),
        cooldown_down: minutes(10),
    })
}

impl Controller for Ours {
    fn every(&self) -> u64 {
        self.every
    }

    fn want(&mut self, seen: &Observation) -> u32 {
        let state = self.state.take().unwrap_or_default();
        let (decision, state) = decide(&self.scale, state, seen);
        self.state = Some(state);
        decision.want
    }
}

/// CPU at 70 % as Amazon's target tracking does it: a figure a minute, three above it for more, fifteen below nine tenths of
/// it for fewer.
#[derive(Default)]
pub(crate) struct Tracking {
    above: u32,
    below: u32,
    used: Vec<f64>,
}

const TRACKED: f64 = 0.7;

impl Controller for Tracking {
    fn every(&self) -> u64 {
        15
    }

    fn want(&mut self, seen: &Observation) -> u32 {
        let current = seen.running();
        self.used.extend(seen.cpu);
        if self.used.len() < 4 {
            return current;
        }
        let used = self.used.iter().sum::<f64>() / self.used.len() as f64;
        self.used.clear();
        self.above = if used > TRACKED { self.above + 1 } else { 0 };
        self.below = if used < 0.9 * TRACKED { self.below + 1 } else { 0 };
        let need = (f64::from(seen.ready) * used / TRACKED).ceil() as u32;
        if self.above >= 3 {
            // Those that start are not measured, and count.
            need.max(current)
        } else if self.below >= 15 {
            self.below = 0;
            need.clamp(2, current)
        } else {
            current
        }
    }
}

/// Knows what comes: the fewest instances, each begun just in time, that are never more than 95 % busy over 15 s.
pub(crate) struct Oracle {
    needs: Vec<u32>,
}

const OVER: usize = 15;

impl Oracle {
    pub(crate) fn new(arrivals: &[f64], start: u64) -> Self {
        let need = |window: &[f64]| {
            let rate = window.iter().sum::<f64>() / window.len() as f64;
            (rate / (0.95 * ONE)).ceil() as u32
        };
        let needs: Vec<u32> = arrivals.windows(OVER).map(need).collect();
        Self {
            needs: most_within(&needs, OVER + start as usize + 5),
        }
    }
}

impl Controller for Oracle {
    fn every(&self) -> u64 {
        5
    }

    fn want(&mut self, seen: &Observation) -> u32 {
        // Also what has begun already.
        let at = (seen.at.as_secs() as usize).saturating_sub(OVER);
        self.needs[at.min(self.needs.len() - 1)].max(2)
    }
}

/// Of each value and so many that follow it, the largest.
fn most_within(values: &[u32], ahead: usize) -> Vec<u32> {
    let mut found = vec![0; values.len()];
    // Of those ahead, what no earlier one exceeds: the largest is at the end.
    let mut largest: VecDeque<usize> = VecDeque::new();
    for at in (0..values.len()).rev() {
        while largest.front().is_some_and(|next| values[*next] <= values[at]) {
            largest.pop_front();
        }
        largest.push_front(at);
        while largest.back().is_some_and(|last| *last > at + ahead) {
            largest.pop_back();
        }
        found[at] = largest.back().map_or(0, |most| values[*most]);
    }
    found
}
