//! A group of instances behind one queue, as a fluid, in steps of a second; a controller says how many there are.

use std::collections::VecDeque;
use std::time::Duration;

use banyan_capacity::autoscale::{Activity, Downstream, HostRoom, Observation, Staffing};

/// Of an instance: 8 slots, 40 ms.
pub(crate) const SLOTS: u32 = 8;
pub(crate) const SERVICE: f64 = 0.040;
pub(crate) const ONE: f64 = SLOTS as f64 / SERVICE;
const SLOW: f64 = 0.1;
/// Seconds that a request waits at most.
const PATIENCE: f64 = 5.0;
/// Seconds that an instance which goes is still paid for.
const DRAIN: u64 = 30;

/// Says how many instances there should be.
pub(crate) trait Controller {
    /// Seconds between two questions.
    fn every(&self) -> u64;
    fn want(&mut self, seen: &Observation) -> u32;
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Score {
    pub(crate) requests: f64,
    pub(crate) slow: f64,
    pub(crate) instance_seconds: f64,
    pub(crate) reversals: u32,
}

impl Score {
    pub(crate) fn slow_percent(&self) -> f64 {
        100.0 * self.slow / self.requests
    }

    pub(crate) fn hours(&self) -> f64 {
        self.instance_seconds / 3600.0
    }
}

struct Group {
    ready: u32,
    /// When each that was begun is ready.
    starting: VecDeque<u64>,
    /// Until when each that goes is paid for.
    draining: VecDeque<u64>,
    waiting: f64,
    arrived: VecDeque<f64>,
    used: VecDeque<f64>,
}

/// Runs the load from the second `from` on; only seconds from `scored` on count.
pub(crate) fn run(
    arrivals: &[f64],
    start: u64,
    from: usize,
    scored: usize,
    controller: &mut dyn Controller,
) -> Score {
    let mut group = Group {
        ready: 2 + (arrivals[from] / ONE) as u32,
        starting: VecDeque::new(),
        draining: VecDeque::new(),
        waiting: 0.0,
        arrived: VecDeque::new(),
        used: VecDeque::new(),
    };
    let (mut score, mut last) = (Score::default(), 0);
    for (second, came) in arrivals.iter().enumerate().skip(from) {
        let now = second as u64;
        let slow = group.second(now, *came);
        let mut moved = 0;
        if now.is_multiple_of(controller.every()) {
            let seen = group.seen(now, start);
            let want = controller.want(&seen);
            moved = i64::from(want) - i64::from(seen.running());
            group.become_(now, start, want);
        }
        if second >= scored {
            score.requests += came;
            score.slow += slow;
            score.instance_seconds += f64::from(group.paid());
            if moved != 0 && moved.signum() != last && last != 0 {
                score.reversals += 1;
            }
        }
        if moved != 0 {
            last = moved.signum();
        }
    }
    score
}

impl Group {
    /// Yields how many of the arrivals waited too long or were given up.
    fn second(&mut self, now: u64, came: f64) -> f64 {
        while self.starting.front().is_some_and(|ready| *ready <= now) {
            self.starting.pop_front();
            self.ready += 1;
        }
        while self.draining.front().is_some_and(|gone| *gone <= now) {
            self.draining.pop_front();
        }
        let capacity = f64::from(self.ready) * ONE;
        let wait = self.waiting / capacity;
        let served = (self.waiting + came).min(capacity);
        self.waiting = (self.waiting + came - served).min(capacity * PATIENCE);
        keep(&mut self.arrived, came);
        keep(&mut self.used, served / capacity);
        let after = self.waiting / capacity;
        // Those of this second wait from `wait` to `after`, evenly.
        let (least, most) = (wait.min(after), wait.max(after));
        if least > SLOW {
            came
        } else if most > SLOW {
            came * (most - SLOW) / (most - least)
        } else {
            0.0
        }
    }

    fn seen(&self, now: u64, start: u64) -> Observation {
        let mean = |values: &VecDeque<f64>, n: usize| {
            let n = n.min(values.len());
            values.iter().rev().take(n).sum::<f64>() / n as f64
        };
        Observation {
            at: Duration::from_secs(now),
            rate_5s: mean(&self.arrived, 5),
            rate_15s: mean(&self.arrived, 15),
            waiting: self.waiting,
            in_flight: mean(&self.used, 5) * f64::from(self.ready * SLOTS),
            staffing: Staffing {
                slots: SLOTS,
                service: SERVICE,
                variation: 1.0,
                knee: None,
                wait: Duration::from_millis(100),
            },
            start: Duration::from_secs(start),
            ready: self.ready,
            starting: self.starting.len() as u32,
            cpu: Some(mean(&self.used, 15)),
            refused: Some(0.0),
            downstream: Downstream::default(),
            host: HostRoom::Room,
            activity: Activity::Calm,
            age: Duration::ZERO,
        }
    }

    fn become_(&mut self, now: u64, start: u64, want: u32) {
        let mut running = self.ready + self.starting.len() as u32;
        while running < want {
            self.starting.push_back(now + start);
            running += 1;
        }
        while running > want {
            if self.starting.pop_back().is_none() {
                self.ready -= 1;
                self.draining.push_back(now + DRAIN);
            }
            running -= 1;
        }
    }

    fn paid(&self) -> u32 {
        self.ready + (self.starting.len() + self.draining.len()) as u32
    }
}

/// The last minute is kept.
fn keep(values: &mut VecDeque<f64>, value: f64) {
    values.push_back(value);
    if values.len() > 60 {
        values.pop_front();
    }
}
