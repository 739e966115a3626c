//! Who decides: our policies through [`decide`], and what other platforms do.

use banyan_capacity::autoscale::{Observation, State, TICK, decide};
use banyan_config::{Fraction, Scale, ScalePolicy, SpecRules, TargetRule};

use crate::queue::Controller;

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
