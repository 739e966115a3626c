//! One child's life as a pure state machine: `step(now, event) -> actions`.
//!
//! It knows no process, socket or clock. [`actor`](super::actor) performs the actions and feeds their results back;
//! [`Machine::wake`] says when the next [`Event::Tick`] is due. It never gives up restarting; only a stop ends it.

mod ending;
mod running;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use self::ending::{Ending, Purpose, Sweeping};
use self::running::Running;
use super::backoff::Backoff;
use super::spec::{ChildSpec, LiveRule, Probe, StopSignal};
use super::status::{ChildState, StopReport};

/// What of a spec decides.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) ready: Readiness,
    pub(crate) live: Option<LiveRule>,
    pub(crate) start_grace: Duration,
    pub(crate) stop: StopSignal,
    pub(crate) stop_grace: Duration,
}

#[derive(Clone, Debug)]
pub(crate) enum Readiness {
    Probed {
        interval: Duration,
        rise: u32,
        fall: u32,
    },
    Running {
        for_at_least: Duration,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Launched,
    LaunchFailed(String),
    /// The main process is gone (how, in words).
    Exited(String),
    /// So many processes of the child are still there, now that the main one is gone.
    Left(usize),
    Ready(Result<(), String>),
    Live(Result<(), String>),
    Stop,
    /// As [`Event::Stop`], without grace.
    Kill,
    Tick,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Launch,
    ProbeReady,
    ProbeLive,
    Signal(Signal),
    /// SIGKILL everything that belongs to the child, the main process included.
    KillAll,
    /// Count what is left of it (after killing that, if told), answer with [`Event::Left`].
    Sweep {
        kill: bool,
    },
    /// All its processes are gone and it will not start again.
    Stopped(StopReport),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM to the process group: a shell around the program does not forward it.
    Terminate,
    /// SIGINT to the main process.
    Interrupt,
    /// SIGQUIT to the main process.
    Quit,
}

pub(crate) struct Machine {
    rules: Rules,
    phase: Phase,
    backoff: Backoff,
    first_launch: Option<Instant>,
    launches: u32,
    /// Exits that nobody asked for.
    exits: u32,
    last_exit: String,
    ever_ready: bool,
}

enum Phase {
    /// [`Action::Launch`] is under way; what to do when it is answered.
    Launching {
        then_stop: Option<Event>,
    },
    Running(Running),
    /// Told to end; the main process is still there.
    Ending(Ending),
    /// The main process is gone; what it left is being ended.
    Sweeping(Sweeping),
    Waiting {
        until: Instant,
    },
    Done,
}

/// What a caller of `ready` waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadyWait {
    pub(crate) until: Instant,
    exits_before: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Ready,
    Stopped,
    Exited { exit: String, times: u32 },
    TimedOut { reason: String },
}

/// A start has failed after so many exits.
const EXITS_OF_A_FAILED_START: u32 = 3;

impl Machine {
    /// A child to be launched.
    pub(crate) fn new(rules: Rules, seed: u64) -> (Self, Action) {
        let machine = Self {
            rules,
            phase: Phase::Launching { then_stop: None },
            backoff: Backoff::new(seed),
            first_launch: None,
            launches: 0,
            exits: 0,
            last_exit: String::new(),
            ever_ready: false,
        };
        (machine, Action::Launch)
    }

    /// A child that runs already.
    pub(crate) fn adopted(rules: Rules, seed: u64, now: Instant) -> Self {
        let (mut machine, _launch) = Self::new(rules, seed);
        machine.launched(now);
        machine
    }

    pub(crate) fn step(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Launched => self.launched(now),
            Event::LaunchFailed(why) => self.launch_failed(now, why, &mut actions),
            Event::Exited(exit) => self.exited(now, exit),
            Event::Left(count) => self.left(now, count, &mut actions),
            Event::Ready(result) => self.probed(now, result),
            Event::Live(result) => self.live(now, result),
            Event::Stop | Event::Kill => self.stop(now, event, &mut actions),
            Event::Tick => {}
        }
        self.due(now, &mut actions);
        actions
    }

    /// When the next tick is due; `None`: nothing happens without an event.
    pub(crate) fn wake(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Launching { .. } | Phase::Done => None,
            Phase::Running(running) => running.wake(&self.rules),
            Phase::Ending(ending) => Some(ending.until),
            Phase::Sweeping(sweeping) => sweeping.next,
            Phase::Waiting { until, .. } => Some(*until),
        }
    }

    pub(crate) fn configure(&mut self, rules: Rules) {
        self.rules = rules;
        if let Phase::Running(running) = &mut self.phase {
            running.live_anew();
        }
    }

    /// Starts after the first.
    pub(crate) fn restarts(&self) -> u32 {
        self.launches.saturating_sub(1)
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    /// How long a start that has not become ready runs; zero for all other states.
    pub(crate) fn starting_for(&self, now: Instant) -> Duration {
        match &self.phase {
            Phase::Running(running) => running.starting_for(now),
            _ => Duration::ZERO,
        }
    }

    /// No main process is to be watched: it has ended, or none was started.
    pub(crate) fn main_is_gone(&self) -> bool {
        !matches!(self.phase, Phase::Running(_) | Phase::Ending(_))
    }

    pub(crate) fn state(&self, now: Instant) -> ChildState {
        match &self.phase {
            Phase::Launching { .. } => ChildState::Starting,
            Phase::Running(running) => running.state(now, &self.rules),
            Phase::Ending(Ending { purpose, .. }) | Phase::Sweeping(Sweeping { purpose, .. }) => {
                match purpose {
                    Purpose::Stop { .. } => ChildState::Stopping,
                    Purpose::Restart { .. } => self.backing_off(Duration::ZERO),
                    Purpose::Replace { reason, .. } => ChildState::NotReady {
                        reason: reason.clone(),
                    },
                }
            }
            Phase::Waiting { until, .. } => self.backing_off(until.saturating_duration_since(now)),
            Phase::Done => ChildState::Stopping,
        }
    }

    fn backing_off(&self, wait: Duration) -> ChildState {
        let exit = self.last_exit.clone();
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        match self.backoff.crash_loop() {
            Some(exits) => ChildState::CrashLoop { exits, exit, wait_ms },
            None => ChildState::BackingOff { exit, wait_ms },
        }
    }

    /// Begins a wait for readiness: of the first start if it was never ready, else from now.
    pub(crate) fn await_ready(&self, now: Instant) -> ReadyWait {
        let (from, exits_before) = match (self.ever_ready, self.first_launch) {
            (false, Some(first)) => (first, 0),
            _ => (now, self.exits),
        };
        ReadyWait {
            until: from + self.rules.start_grace,
            exits_before,
        }
    }

    /// `None`: still open.
    pub(crate) fn judge(&self, now: Instant, wait: &ReadyWait) -> Option<Judgement> {
        let times = self.exits - wait.exits_before;
        match self.state(now) {
            ChildState::Ready => Some(Judgement::Ready),
            ChildState::Stopping => Some(Judgement::Stopped),
            _ if times >= EXITS_OF_A_FAILED_START => Some(Judgement::Exited {
                exit: self.last_exit.clone(),
                times,
            }),
            state if now >= wait.until => Some(self.timed_out(state, times)),
            _ => None,
        }
    }

    fn timed_out(&self, state: ChildState, times: u32) -> Judgement {
        match state {
            ChildState::BackingOff { exit, .. } | ChildState::CrashLoop { exit, .. } if times > 0 => {
                Judgement::Exited { exit, times }
            }
            ChildState::NotReady { reason } => Judgement::TimedOut { reason },
            _ => Judgement::TimedOut {
                reason: match &self.phase {
                    Phase::Running(running) => running.reason(),
                    _ => "it was not probed yet".to_owned(),
                },
            },
        }
    }

    fn launched(&mut self, now: Instant) {
        let Phase::Launching { then_stop } = &mut self.phase else {
            return;
        };
        let then_stop = then_stop.take();
        self.launches += 1;
        self.first_launch.get_or_insert(now);
        self.phase = Phase::Running(Running::new(now));
        if let Some(event) = then_stop {
            self.stop(now, event, &mut Vec::new());
        }
    }

    fn launch_failed(&mut self, now: Instant, why: String, actions: &mut Vec<Action>) {
        let Phase::Launching { then_stop } = &self.phase else {
            return;
        };
        let stopping = then_stop.is_some();
        self.first_launch.get_or_insert(now);
        self.last_exit = why;
        if stopping {
            return self.done(now, now, false, actions);
        }
        self.exits += 1;
        let until = now + self.backoff.after(Duration::ZERO, false);
        self.phase = Phase::Waiting { until };
    }

    /// What the passing of time alone asks for.
    fn due(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match &mut self.phase {
            Phase::Launching { .. } | Phase::Done => {}
            Phase::Running(running) => {
                if let Some(reason) = running.due(now, &self.rules, actions) {
                    self.replace(now, reason);
                    self.due(now, actions);
                }
                if let Phase::Running(running) = &self.phase {
                    self.ever_ready |= running.is_ready();
                }
            }
            Phase::Ending(ending) => ending.due(now, &self.rules, actions),
            Phase::Sweeping(sweeping) => sweeping.due(now, actions),
            Phase::Waiting { until, .. } if now >= *until => {
                self.phase = Phase::Launching { then_stop: None };
                actions.push(Action::Launch);
            }
            Phase::Waiting { .. } => {}
        }
    }
}

impl Rules {
    pub(crate) fn of(spec: &ChildSpec) -> Self {
        let ready = match &spec.ready {
            Probe::Http {
                interval, rise, fall, ..
            } => Readiness::Probed {
                interval: *interval,
                rise: (*rise).max(1),
                fall: (*fall).max(1),
            },
            // One lost connect is no verdict.
            Probe::Tcp { interval, .. } | Probe::Redis { interval, .. } => Readiness::Probed {
                interval: *interval,
                rise: 1,
                fall: 2,
            },
            Probe::Running { for_at_least } => Readiness::Running {
                for_at_least: *for_at_least,
            },
        };
        Self {
            ready,
            live: spec.live.as_ref().map(|(_probe, rule)| rule.clone()),
            start_grace: spec.start_grace,
            stop: spec.stop,
            stop_grace: spec.stop_grace,
        }
    }
}
