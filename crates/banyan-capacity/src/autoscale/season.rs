//! What the load was at this time on the days before. It is believed only once its forecasts were better than the trend's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const DAY: u64 = 24 * 60;
/// Days ago, and what they weigh: yesterday, and the same day of the week, most.
const DAYS: [(u64, f64); 4] = [(1, 1.0), (2, 0.6), (3, 0.4), (7, 1.2)];
/// Minutes that are kept: a week and a little more.
const KEPT: usize = (8 * DAY) as usize;
/// History without which nothing is said: a day and the hour that levels are compared over.
const LEAST: u64 = DAY + HOUR;
const HOUR: u64 = 60;
/// How much this day's level may differ from that day's.
const LEVEL: std::ops::RangeInclusive<f64> = 0.5..=2.0;

/// The largest rate of each minute, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Season {
    /// The minute after the newest one, since 1970.
    end: u64,
    minutes: Vec<f32>,
    /// The last answer: from which minute for which one. It holds for as long, as it is made of minutes that are over.
    told: Option<(u64, u64, Option<f64>)>,
}

impl Season {
    pub(super) fn take(&mut self, at: Duration, rate: f64) {
        let minute = at.as_secs() / 60;
        if self.minutes.is_empty() || minute >= self.end + KEPT as u64 {
            self.minutes.clear();
            self.end = minute;
        }
        while self.end <= minute {
            // Minutes that nobody saw count as the last one that somebody did: a gap is not a quiet hour.
            let gap = self.minutes.last().copied().unwrap_or(0.0);
            self.minutes.push(if self.end == minute { 0.0 } else { gap });
            self.end += 1;
        }
        if self.minutes.len() > KEPT + DAY as usize / 24 {
            self.minutes.drain(..self.minutes.len() - KEPT);
        }
        if let Some(last) = self.minutes.last_mut() {
            *last = last.max(rate as f32);
        }
    }

    fn minute(&self, minute: u64) -> Option<f64> {
        let back = self.end.checked_sub(minute + 1)?;
        let index = self.minutes.len().checked_sub(1 + usize::try_from(back).ok()?)?;
        Some(f64::from(self.minutes[index]))
    }

    fn mean(&self, minutes: std::ops::Range<u64>) -> Option<f64> {
        let length = minutes.end - minutes.start;
        let sum = minutes.map(|minute| self.minute(minute)).sum::<Option<f64>>()?;
        Some(sum / length as f64)
    }

    /// Requests per second so far ahead of `at`; `None`: there is too little history.
    pub(super) fn foresee(&mut self, at: Duration, horizon: Duration) -> Option<f64> {
        let now = at.as_secs() / 60;
        let from = (at + horizon).as_secs() / 60;
        match self.told {
            Some((then, of, told)) if (then, of) == (now, from) => told,
            _ => {
                let told = self.compare(now, from);
                self.told = Some((now, from, told));
                told
            }
        }
    }

    /// Days before, at the minutes from `from` on, each by how this day's last hour compares with that day's.
    fn compare(&self, now: u64, from: u64) -> Option<f64> {
        if (self.minutes.len() as u64) < LEAST {
            return None;
        }
        let level = self.mean(now.checked_sub(HOUR)?..now)?;
        let (mut sum, mut weights) = (0.0, 0.0);
        for (days, weight) in DAYS {
            let back = days * DAY;
            let Some(then) = now
                .checked_sub(back + HOUR)
                .and_then(|begin| self.mean(begin..begin + HOUR))
            else {
                continue;
            };
            let peak = (from..=from + 2).filter_map(|minute| self.minute(minute.checked_sub(back)?));
            let peak = peak.fold(0.0, f64::max);
            let ratio = if then > 0.0 { level / then } else { 1.0 };
            sum += weight * peak * ratio.clamp(*LEVEL.start(), *LEVEL.end());
            weights += weight;
        }
        (weights > 0.0).then(|| sum / weights)
    }
}

/// How wrong forecasts were: each 5 s a little less what is long ago.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Loss {
    sum: f64,
    judged: u32,
}

/// Forecasts that were too low cost 19 times what those cost that were too high.
const TAU: f64 = 0.95;
const FORGET: f64 = 0.998;
/// Ticks of an hour.
const TRIAL: u32 = 720;

impl Loss {
    pub(super) fn judge(&mut self, foreseen: f64, came: f64) {
        let miss = came - foreseen;
        let loss = if miss > 0.0 {
            TAU * miss
        } else {
            (TAU - 1.0) * miss
        };
        self.sum = self.sum * FORGET + loss;
        self.judged = self.judged.saturating_add(1);
    }

    /// Whether it was at least a twentieth better than `other`, over an hour or more.
    pub(super) fn beats(&self, other: &Self) -> bool {
        self.judged >= TRIAL && self.sum < 0.95 * other.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u64) -> Duration {
        Duration::from_secs(minute * 60)
    }

    #[test]
    fn yesterdays_peak_is_foreseen_a_few_minutes_ahead() {
        let mut season = Season::default();
        let load = |minute: u64| if minute % DAY == 600 { 900.0 } else { 100.0 };
        for minute in 0..DAY + 598 {
            season.take(at(minute), load(minute));
        }
        let now = at(DAY + 597);
        assert_eq!(season.foresee(now, Duration::from_secs(60)), Some(900.0));
        assert_eq!(
            season.foresee(at(DAY + 500), Duration::from_secs(60)),
            Some(100.0)
        );
    }

    #[test]
    fn without_a_day_of_history_nothing_is_said() {
        let mut season = Season::default();
        for minute in 0..DAY {
            season.take(at(minute), 10.0);
        }
        assert_eq!(season.foresee(at(DAY), Duration::from_secs(60)), None);
    }

    #[test]
    fn a_day_with_twice_the_load_is_foreseen_as_such() {
        let mut season = Season::default();
        for minute in 0..2 * DAY {
            season.take(at(minute), if minute < DAY { 100.0 } else { 200.0 });
        }
        let foreseen = season.foresee(at(2 * DAY - 10), Duration::from_secs(60));
        assert!((foreseen.unwrap_or_default() - 200.0).abs() < 1.0, "{foreseen:?}");
    }

    #[test]
    fn it_is_believed_after_an_hour_of_better_forecasts() {
        let (mut season, mut trend) = (Loss::default(), Loss::default());
        for tick in 0..TRIAL {
            assert!(!season.beats(&trend), "at {tick}");
            season.judge(100.0, 100.0);
            trend.judge(90.0, 100.0);
        }
        assert!(season.beats(&trend));
    }
}
