//! Steps: up at once, down slowly and only by what was not needed for a while.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::observation::Observation;

/// How long a number must not have been needed before it goes.
const WINDOW: Duration = Duration::from_secs(120);
const LONGEST: Duration = Duration::from_secs(300);
/// Between two steps down.
const PACE: Duration = Duration::from_secs(15);
/// An up so soon after a down is regretted: the window grows.
const REGRET: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3600);
/// A state older than this says nothing of the load.
const STALE: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    Up,
    Down,
}

/// What was needed and what was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Moves {
    /// When the first question was asked since the start or restart.
    began: Option<Duration>,
    asked: Option<Duration>,
    ticks: u32,
    /// What was needed: (when, how many), oldest first; only those that no later one exceeds.
    needs: VecDeque<(Duration, u32)>,
    window: Duration,
    widened: Option<Duration>,
    narrowed: Option<Duration>,
    last: Option<(Duration, Way)>,
    last_down: Option<Duration>,
    /// When an up followed a down or a down an up, within the last hour.
    turns: VecDeque<Duration>,
}

impl Default for Moves {
    fn default() -> Self {
        Self {
            began: None,
            asked: None,
            ticks: 0,
            needs: VecDeque::new(),
            window: WINDOW,
            widened: None,
            narrowed: None,
            last: None,
            last_down: None,
            turns: VecDeque::new(),
        }
    }
}

impl Moves {
    pub(super) fn resume(&mut self, at: Duration) {
        if self.asked.is_none_or(|asked| at.saturating_sub(asked) > STALE) {
            self.needs.clear();
        }
        // Nothing goes down before it was watched for a window.
        self.began = None;
        self.ticks = 0;
    }

    pub(super) fn take(&mut self, at: Duration) {
        self.began.get_or_insert(at);
        self.asked = Some(at);
        self.ticks = self.ticks.saturating_add(1);
        self.turns.retain(|turn| at.saturating_sub(*turn) < HOUR);
        let quiet_since = self.last.map(|(when, _)| when).max(self.narrowed).or(self.began);
        if quiet_since.is_some_and(|since| at.saturating_sub(since) >= HOUR) {
            self.window = self.window.mul_f64(0.8).max(WINDOW);
            self.narrowed = Some(at);
        }
    }

    /// Questions since the start.
    pub(super) fn ticks(&self) -> u32 {
        self.ticks
    }

    /// Changes of direction in the last hour.
    pub(super) fn turns(&self) -> usize {
        self.turns.len()
    }

    /// Whether everything was watched for a whole window.
    pub(super) fn watched(&self, at: Duration) -> bool {
        self.began
            .is_some_and(|began| at.saturating_sub(began) >= self.window)
    }

    /// How many there should be now that `need` are needed.
    pub(super) fn step(&self, seen: &Observation, need: u32) -> u32 {
        let current = seen.running();
        if need > current {
            return need.min((2 * current).max(current + 4));
        }
        let spared = self.most_needed(seen.at).max(need);
        let too_many = current.saturating_sub(spared);
        let soon = self
            .last_down
            .is_some_and(|down| seen.at.saturating_sub(down) < PACE);
        if too_many == 0 || too_many * 12 < current || soon || !self.watched(seen.at) {
            return current;
        }
        current - too_many.min((current / 8).max(1))
    }

    fn most_needed(&self, at: Duration) -> u32 {
        let recent = self
            .needs
            .iter()
            .filter(|(when, _)| at.saturating_sub(*when) < self.window);
        recent.map(|(_, need)| *need).max().unwrap_or(0)
    }

    /// Remembers what was needed: before [`Self::step`] of the next question.
    pub(super) fn needed(&mut self, at: Duration, need: u32) {
        while self.needs.back().is_some_and(|(_, before)| *before <= need) {
            self.needs.pop_back();
        }
        self.needs.push_back((at, need));
        while self
            .needs
            .front()
            .is_some_and(|(when, _)| at.saturating_sub(*when) >= LONGEST)
        {
            self.needs.pop_front();
        }
    }

    pub(super) fn moved(&mut self, at: Duration, from: u32, to: u32) {
        let way = match to.cmp(&from) {
            std::cmp::Ordering::Equal => return,
            std::cmp::Ordering::Greater => Way::Up,
            std::cmp::Ordering::Less => Way::Down,
        };
        if self.last.is_some_and(|(_, before)| before != way) {
            self.turns.push_back(at);
        }
        if way == Way::Up {
            self.regret(at);
        } else {
            self.last_down = Some(at);
        }
        self.last = Some((at, way));
    }

    fn regret(&mut self, at: Duration) {
        let soon = |then: Option<Duration>, within: Duration| {
            then.is_some_and(|then| at.saturating_sub(then) < within)
        };
        if soon(self.last_down, REGRET) && !soon(self.widened, Duration::from_secs(60)) {
            self.window = self.window.mul_f64(1.25).min(LONGEST);
            self.widened = Some(at);
        }
    }
}
