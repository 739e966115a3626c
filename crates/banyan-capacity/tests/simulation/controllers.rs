//! Who decides: our policies through [`decide`], and what other platforms do.

use std::collections::VecDeque;

use banyan_capacity::autoscale::{Observation, State, TICK, decide};
use banyan_config::{Fraction, Scale, ScalePolicy, SpecRules, TargetRule};

use crate::queue::Controller;

/// One of our policies, asked every five seconds.
pub(crate) struct Ours {
    scale: Scale,
    state: Option<State>,
}

impl Ours {
    pub(crate) fn new(policy: ScalePolicy, max: u32) -> Self {
        Self {
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
    }
}

pub(crate) fn by_cpu() -> ScalePolicy {
    ScalePolicy::Target(TargetRule::Cpu(Fraction::new(0.7).expect("a share")))
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
        TICK.as_secs()
    }

    fn want(&mut self, seen: &Observation) -> u32 {
        let state = self.state.take().unwrap_or_default();
        let (decision, state) = decide(&self.scale, state, seen);
        self.state = Some(state);
        decision.want
    }
}

/// Knative's KPA: concurrency at 70 % over 60 s, or over 6 s while it panics (knative.dev, "Autoscaling concepts").
pub(crate) struct Kpa {
    max: u32,
    /// Of the last minute, every other second.
    flight: VecDeque<f64>,
    panic: Option<(u64, u32)>,
    /// What was wanted in the last minute: down only to the most of it.
    wanted: VecDeque<(u64, u32)>,
}

impl Kpa {
    pub(crate) fn new(max: u32) -> Self {
        Self {
            max,
            flight: VecDeque::new(),
            panic: None,
            wanted: VecDeque::new(),
        }
    }
}

impl Controller for Kpa {
    fn every(&self) -> u64 {
        2
    }

    fn want(&mut self, seen: &Observation) -> u32 {
        let now = seen.at.as_secs();
        self.flight.push_back(seen.in_flight + seen.waiting);
        if self.flight.len() > 30 {
            self.flight.pop_front();
        }
        let target = 0.7 * f64::from(seen.staffing.slots);
        let over = |n: usize| {
            let n = n.min(self.flight.len());
            let mean = self.flight.iter().rev().take(n).sum::<f64>() / n as f64;
            (mean / target).ceil() as u32
        };
        let (stable, quick) = (over(30), over(3));
        if quick >= 2 * seen.ready {
            let most = self
                .panic
                .map_or(0, |(_, most)| most)
                .max(quick)
                .max(seen.running());
            self.panic = Some((now, most));
        } else if self.panic.is_some_and(|(since, _)| now - since > 60) {
            self.panic = None;
        }
        let ready = seen.ready.max(1);
        let asked = match self.panic {
            Some((_, most)) => most.max(quick),
            None => stable,
        };
        let asked = asked.clamp(ready / 2, 1000 * ready).clamp(2, self.max);
        self.wanted.push_back((now, asked));
        self.wanted.retain(|(when, _)| now - when <= 60);
        self.wanted.iter().map(|(_, want)| *want).max().unwrap_or(asked)
    }
}

/// Always so many.
pub(crate) struct Fixed(pub(crate) u32);

impl Controller for Fixed {
    fn every(&self) -> u64 {
        3600
    }

    fn want(&mut self, _: &Observation) -> u32 {
        self.0
    }
}
