//! Policy `spec`: thresholds that must hold for minutes, with cooldowns, as the specification of the system writes them.

use std::time::Duration;

use banyan_config::SpecRules;
use serde::{Deserialize, Serialize};

use super::observation::Observation;
use super::{Proposal, Reason};

/// Below these it may shrink: requests per second and instance, share of errors.
const QUIET_RATE: f64 = 200.0;
const QUIET_ERRORS: f64 = 0.001;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Spec {
    /// Since when CPU is above and below its thresholds.
    hot: Option<Duration>,
    cold: Option<Duration>,
    last_up: Option<Duration>,
    last_down: Option<Duration>,
}

impl Spec {
    pub(super) fn propose(&mut self, rules: &SpecRules, seen: &Observation) -> Proposal {
        let at = seen.at;
        since(
            &mut self.hot,
            at,
            seen.cpu.is_some_and(|cpu| cpu > rules.up_cpu.of_one()),
        );
        since(
            &mut self.cold,
            at,
            seen.cpu.is_some_and(|cpu| cpu < rules.down_cpu.of_one()),
        );
        let passed = |since: Option<Duration>, time: Duration| {
            since.is_none_or(|since| at.saturating_sub(since) >= time)
        };
        let current = seen.running();
        if let Some(rule) = self.too_much(rules, seen) {
            let by_cpu = seen.cpu.unwrap_or(0.0) / rules.up_cpu.of_one() * f64::from(seen.ready);
            let need = (by_cpu.ceil() as u32).max(current + 1);
            let may = passed(self.last_up, rules.cooldown_up);
            if may {
                self.last_up = Some(at);
            }
            return proposal(need, if may { need } else { current }, rule);
        }
        let long_cold = self
            .cold
            .is_some_and(|since| at.saturating_sub(since) >= rules.down_for);
        if long_cold && quiet(seen) {
            let need = current - (current / 10).max(1).min(current);
            let may =
                passed(self.last_down, rules.cooldown_down) && passed(self.last_up, rules.cooldown_down);
            if may {
                self.last_down = Some(at);
            }
            let rule = format!(
                "CPU below {:.0} % for {} min, few requests and errors",
                rules.down_cpu.of_one() * 100.0,
                rules.down_for.as_secs() / 60
            );
            return proposal(need, if may { need } else { current }, rule);
        }
        proposal(current, current, "no threshold is passed".to_owned())
    }

    /// The rule that asks for more, in words.
    fn too_much(&self, rules: &SpecRules, seen: &Observation) -> Option<String> {
        let each = seen.rate_15s / f64::from(seen.ready.max(1));
        let long_hot = self
            .hot
            .is_some_and(|since| seen.at.saturating_sub(since) >= rules.up_for);
        if long_hot {
            let minutes = rules.up_for.as_secs() / 60;
            Some(format!(
                "CPU above {:.0} % for {minutes} min",
                rules.up_cpu.of_one() * 100.0
            ))
        } else if each > f64::from(rules.up_requests) {
            Some(format!("{each:.0} requests/s for each instance"))
        } else {
            let refused = seen
                .refused
                .filter(|refused| *refused > rules.up_errors.of_one())?;
            Some(format!("{:.1} % of the requests were refused", refused * 100.0))
        }
    }
}

fn quiet(seen: &Observation) -> bool {
    let each = seen.rate_15s / f64::from(seen.ready.max(1));
    each < QUIET_RATE && seen.refused.unwrap_or(0.0) < QUIET_ERRORS
}

fn since(then: &mut Option<Duration>, at: Duration, holds: bool) {
    *then = holds.then(|| then.unwrap_or(at));
}

fn proposal(need: u32, want: u32, rule: String) -> Proposal {
    Proposal {
        need,
        want,
        reason: Reason::Rule { rule },
    }
}
