//! While the process runs: when to probe, and what the answers mean.

use std::time::{Duration, Instant};

use super::{Action, Machine, Phase, Readiness, Rules};
use crate::child::status::ChildState;

/// The first probes of a start come quickly, so that a fast program is not kept waiting.
const FIRST_PROBE: Duration = Duration::from_millis(20);
const SLOWEST_START_PROBE: Duration = Duration::from_millis(500);

pub(super) struct Running {
    pub(super) since: Instant,
    ready: bool,
    /// It has been ready since this start.
    was_ready: bool,
    /// Answers in a row, and the last failure.
    successes: u32,
    failures: u32,
    reason: Option<String>,
    /// `None`: a probe is under way.
    next_probe: Option<Instant>,
    probes: u32,
    live_failures: u32,
    live_reason: Option<String>,
    live: LiveCheck,
}

/// Liveness is not asked before the child was ready once, or its grace has passed.
enum LiveCheck {
    NotYet,
    At(Instant),
    UnderWay,
}

impl Running {
    pub(super) fn was_ready(&self) -> bool {
        self.was_ready
    }

    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            ready: false,
            was_ready: false,
            successes: 0,
            failures: 0,
            reason: None,
            next_probe: Some(now + FIRST_PROBE),
            probes: 0,
            live_failures: 0,
            live_reason: None,
            live: LiveCheck::NotYet,
        }
    }

    pub(super) fn starting_for(&self, now: Instant) -> Duration {
        if self.was_ready {
            Duration::ZERO
        } else {
            now.saturating_duration_since(self.since)
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// The rules have changed: the count begins anew.
    pub(super) fn live_anew(&mut self) {
        self.live = LiveCheck::NotYet;
        self.live_failures = 0;
    }

    pub(super) fn reason(&self) -> String {
        self.reason
            .clone()
            .unwrap_or_else(|| "it has not answered yet".to_owned())
    }

    pub(super) fn state(&self, now: Instant, rules: &Rules) -> ChildState {
        if self.ready {
            ChildState::Ready
        } else if self.was_ready || now >= self.since + rules.start_grace {
            ChildState::NotReady {
                reason: self.reason(),
            }
        } else {
            ChildState::Starting
        }
    }

    pub(super) fn wake(&self, rules: &Rules) -> Option<Instant> {
        let ready = match rules.ready {
            Readiness::Running { for_at_least } => (!self.ready).then(|| self.since + for_at_least),
            Readiness::Probed { .. } => self.next_probe,
        };
        let live = rules.live.as_ref().and_then(|_| match self.live {
            LiveCheck::NotYet => Some(self.since + rules.start_grace),
            LiveCheck::At(at) => Some(at),
            LiveCheck::UnderWay => None,
        });
        ready.into_iter().chain(live).min()
    }

    /// `Some`: why it must be replaced.
    pub(super) fn due(&mut self, now: Instant, rules: &Rules, actions: &mut Vec<Action>) -> Option<String> {
        match rules.ready {
            Readiness::Running { for_at_least } => {
                if now >= self.since + for_at_least {
                    self.become_ready();
                }
            }
            Readiness::Probed { .. } if self.next_probe.is_some_and(|at| now >= at) => {
                self.next_probe = None;
                actions.push(Action::ProbeReady);
            }
            Readiness::Probed { .. } => {}
        }
        self.due_live(now, rules, actions)
    }

    fn due_live(&mut self, now: Instant, rules: &Rules, actions: &mut Vec<Action>) -> Option<String> {
        let rule = rules.live.as_ref()?;
        if self.live_failures >= rule.failures.max(1) {
            let reason = self.live_reason.take().unwrap_or_default();
            return Some(format!(
                "failed its liveness check {} times: {reason}",
                self.live_failures
            ));
        }
        match self.live {
            LiveCheck::NotYet if self.was_ready || now >= self.since + rules.start_grace => {
                self.live = LiveCheck::At(now + rule.interval);
            }
            LiveCheck::At(at) if now >= at => {
                self.live = LiveCheck::UnderWay;
                actions.push(Action::ProbeLive);
            }
            _ => {}
        }
        None
    }

    fn become_ready(&mut self) {
        self.ready = true;
        self.was_ready = true;
        self.reason = None;
    }

    fn probed(&mut self, now: Instant, rules: &Rules, result: Result<(), String>) {
        let Readiness::Probed { interval, rise, fall } = rules.ready else {
            return;
        };
        self.probes = self.probes.saturating_add(1);
        match result {
            Ok(()) => {
                self.successes = self.successes.saturating_add(1);
                self.failures = 0;
                if self.successes >= rise {
                    self.become_ready();
                }
            }
            Err(reason) => {
                self.successes = 0;
                self.failures = self.failures.saturating_add(1);
                self.reason = Some(reason);
                self.ready &= self.failures < fall;
            }
        }
        let wait = if self.was_ready {
            interval
        } else {
            start_probe_interval(self.probes).min(interval)
        };
        self.next_probe = Some(now + wait);
    }
}

/// 20, 40, 80 … 500 ms.
fn start_probe_interval(probes: u32) -> Duration {
    FIRST_PROBE
        .saturating_mul(1_u32.checked_shl(probes.saturating_sub(1)).unwrap_or(u32::MAX))
        .min(SLOWEST_START_PROBE)
}

impl Machine {
    pub(super) fn probed(&mut self, now: Instant, result: Result<(), String>) {
        if let Phase::Running(running) = &mut self.phase {
            running.probed(now, &self.rules, result);
        }
    }

    pub(super) fn live(&mut self, now: Instant, result: Result<(), String>) {
        let (Phase::Running(running), Some(rule)) = (&mut self.phase, &self.rules.live) else {
            return;
        };
        running.live = LiveCheck::At(now + rule.interval);
        match result {
            Ok(()) => running.live_failures = 0,
            Err(reason) => {
                running.live_failures = running.live_failures.saturating_add(1);
                running.live_reason = Some(reason);
            }
        }
    }
}
