//! From the first signal to the last process gone: asked, then (PostgreSQL) ordered, then killed.

use std::time::{Duration, Instant};

use super::{Action, Event, Machine, Phase, Rules, Signal};
use crate::child::spec::StopSignal;
use crate::child::status::StopReport;

/// After SIGQUIT, PostgreSQL gives its own backends 5 s before it kills them.
const QUIT_GRACE: Duration = Duration::from_secs(6);
/// A process in an uninterruptible call ends late: killed again until it is gone.
const KILL_AGAIN: Duration = Duration::from_millis(200);
/// What a stopped child left may still end by itself for so long (never beyond the stop grace).
const LEFT_GRACE: Duration = Duration::from_secs(2);
const FIRST_COUNT: Duration = Duration::from_millis(5);
const SLOWEST_COUNT: Duration = Duration::from_millis(200);

/// Why the process ends, and what follows.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    Stop {
        asked: Instant,
    },
    /// It exited by itself after `uptime`.
    Restart {
        uptime: Duration,
        /// It was ready at some time.
        served: bool,
    },
    /// Liveness failed: ended like a stop, then started like after an exit.
    Replace {
        reason: String,
        uptime: Duration,
        served: bool,
    },
}

pub(super) struct Ending {
    pub(super) purpose: Purpose,
    stage: Stage,
    /// End of the stage.
    pub(super) until: Instant,
    /// When the stop grace is over.
    grace_until: Instant,
    killed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No signal sent yet.
    Begin,
    Asked,
    Quit,
    Killed,
}

pub(super) struct Sweeping {
    pub(super) purpose: Purpose,
    /// What is left is killed from then on.
    kill_from: Instant,
    /// `None`: a count is under way.
    pub(super) next: Option<Instant>,
    interval: Duration,
    killed_main: bool,
    killed_left: usize,
}

impl Ending {
    fn new(purpose: Purpose, now: Instant, rules: &Rules) -> Self {
        Self {
            purpose,
            stage: Stage::Begin,
            until: now,
            grace_until: now + rules.stop_grace,
            killed: false,
        }
    }

    fn kill(&mut self, now: Instant) {
        self.stage = Stage::Quit;
        self.until = now;
        self.grace_until = now;
    }

    pub(super) fn due(&mut self, now: Instant, rules: &Rules, actions: &mut Vec<Action>) {
        if now < self.until {
            return;
        }
        match (self.stage, rules.stop) {
            (Stage::Begin, stop) => {
                actions.push(Action::Signal(match stop {
                    StopSignal::Terminate => Signal::Terminate,
                    StopSignal::PostgresFast => Signal::Interrupt,
                }));
                self.stage = Stage::Asked;
                self.until = self.grace_until;
            }
            (Stage::Asked, StopSignal::PostgresFast) => {
                actions.push(Action::Signal(Signal::Quit));
                self.stage = Stage::Quit;
                self.until = now + QUIT_GRACE;
            }
            (Stage::Asked | Stage::Quit | Stage::Killed, _) => {
                actions.push(Action::KillAll);
                self.stage = Stage::Killed;
                self.killed = true;
                self.until = now + KILL_AGAIN;
            }
        }
    }
}

impl Sweeping {
    fn new(purpose: Purpose, now: Instant, kill_from: Instant, killed_main: bool) -> Self {
        Self {
            purpose,
            kill_from,
            next: Some(now),
            interval: FIRST_COUNT,
            killed_main,
            killed_left: 0,
        }
    }

    pub(super) fn due(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.next.is_some_and(|at| now >= at) {
            self.next = None;
            actions.push(Action::Sweep {
                kill: now >= self.kill_from,
            });
        }
    }
}

impl Machine {
    pub(super) fn stop(&mut self, now: Instant, event: Event, actions: &mut Vec<Action>) {
        let at_once = event == Event::Kill;
        let asked = Purpose::Stop { asked: now };
        match &mut self.phase {
            Phase::Launching { then_stop } => *then_stop = Some(event),
            Phase::Running(_) => {
                let mut ending = Ending::new(asked, now, &self.rules);
                if at_once {
                    ending.kill(now);
                }
                self.phase = Phase::Ending(ending);
            }
            Phase::Ending(ending) => {
                if !matches!(ending.purpose, Purpose::Stop { .. }) {
                    ending.purpose = asked;
                }
                if at_once {
                    ending.kill(now);
                }
            }
            Phase::Sweeping(sweeping) => {
                if !matches!(sweeping.purpose, Purpose::Stop { .. }) {
                    sweeping.purpose = asked;
                }
                if at_once {
                    sweeping.kill_from = now;
                }
            }
            Phase::Waiting { .. } => self.done(now, now, false, actions),
            Phase::Done => {}
        }
    }

    pub(super) fn replace(&mut self, now: Instant, reason: String) {
        if let Phase::Running(running) = &self.phase {
            let uptime = now.saturating_duration_since(running.since);
            let served = running.was_ready();
            let purpose = Purpose::Replace {
                reason,
                uptime,
                served,
            };
            self.phase = Phase::Ending(Ending::new(purpose, now, &self.rules));
        }
    }

    pub(super) fn exited(&mut self, now: Instant, exit: String) {
        let sweeping = match &self.phase {
            Phase::Running(running) => {
                let uptime = now.saturating_duration_since(running.since);
                self.last_exit = exit;
                let served = running.was_ready();
                Sweeping::new(Purpose::Restart { uptime, served }, now, now, false)
            }
            Phase::Ending(ending) => {
                self.last_exit = match &ending.purpose {
                    Purpose::Replace { reason, .. } => format!("{reason}; {exit}"),
                    _ => exit,
                };
                let kill_from = ending.grace_until.min(now + LEFT_GRACE);
                Sweeping::new(ending.purpose.clone(), now, kill_from, ending.killed)
            }
            _ => return,
        };
        self.phase = Phase::Sweeping(sweeping);
    }

    pub(super) fn left(&mut self, now: Instant, count: usize, actions: &mut Vec<Action>) {
        let Phase::Sweeping(sweeping) = &mut self.phase else {
            return;
        };
        if count > 0 {
            if now >= sweeping.kill_from {
                sweeping.killed_left = sweeping.killed_left.max(count);
            }
            sweeping.next = Some(now + sweeping.interval);
            sweeping.interval = (sweeping.interval * 2).min(SLOWEST_COUNT);
            return;
        }
        let (killed_main, killed_left) = (sweeping.killed_main, sweeping.killed_left);
        match sweeping.purpose.clone() {
            Purpose::Stop { asked } => {
                self.done(now, asked, killed_main, actions);
                if let (1.., Some(Action::Stopped(report))) = (killed_left, actions.last_mut()) {
                    report.how += &format!("; {killed_left} process(es) it left were killed");
                }
            }
            Purpose::Restart { uptime, served } | Purpose::Replace { uptime, served, .. } => {
                self.exits += 1;
                let until = now + self.backoff.after(uptime, served);
                self.phase = Phase::Waiting { until };
            }
        }
    }

    pub(super) fn done(&mut self, now: Instant, asked: Instant, killed: bool, actions: &mut Vec<Action>) {
        let took = now.saturating_duration_since(asked);
        let how = match &self.phase {
            Phase::Waiting { .. } | Phase::Launching { .. } => {
                format!("was not running ({})", self.last_exit)
            }
            _ if killed => format!("{} after {}", self.last_exit, words(took)),
            _ => self.last_exit.clone(),
        };
        self.phase = Phase::Done;
        actions.push(Action::Stopped(StopReport {
            how,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            killed,
        }));
    }
}

/// `30s`, `250ms`.
fn words(time: Duration) -> String {
    if time >= Duration::from_secs(1) {
        format!("{}s", time.as_secs())
    } else {
        format!("{}ms", time.as_millis())
    }
}
