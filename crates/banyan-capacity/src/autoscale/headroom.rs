//! The default policy: enough instances that few requests wait, now and when a new one would be ready.

use banyan_config::Scale;
use serde::{Deserialize, Serialize};

use super::forecast::{Margin, Trend, horizon};
use super::moves::Moves;
use super::observation::Observation;
use super::season::{Loss, Season};
use super::staffing::{FORESEEN, PRESENT};
use super::{Proposal, Reason};

/// Factors that forecasts begin with.
const TREND: f64 = 1.15;
const SEASON: f64 = 1.25;
/// Seconds in which what waits is to be gone.
const CLEAR: f64 = 10.0;
/// Less than this share of a second's capacity waits all the time by chance.
const CHANCE: f64 = 0.05;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Headroom {
    trend: Trend,
    trend_margin: Margin,
    trend_loss: Loss,
    season: Season,
    season_margin: Margin,
    season_loss: Loss,
}

impl Default for Headroom {
    fn default() -> Self {
        Self {
            trend: Trend::default(),
            trend_margin: Margin::new(TREND),
            trend_loss: Loss::default(),
            season: Season::default(),
            season_margin: Margin::new(SEASON),
            season_loss: Loss::default(),
        }
    }
}

/// A rate that must be served, and why.
struct Load {
    rate: f64,
    reason: Reason,
}

impl Headroom {
    pub(super) fn propose(&mut self, scale: &Scale, moves: &Moves, seen: &Observation) -> Proposal {
        self.learn(seen);
        let foreseen = self.foresee(seen);
        let (need, reason) = need(scale, seen, &foreseen, self.trend.slope(seen.start));
        Proposal {
            need,
            want: moves.step(seen, need),
            reason,
        }
    }

    fn learn(&mut self, seen: &Observation) {
        if let Some(foreseen) = self.trend_margin.learn(seen.at, seen.rate_5s) {
            self.trend_loss.judge(foreseen, seen.rate_5s);
        }
        if let Some(foreseen) = self.season_margin.learn(seen.at, seen.rate_5s) {
            self.season_loss.judge(foreseen, seen.rate_5s);
        }
        self.trend.take(seen.rate_15s);
        self.season.take(seen.at, seen.rate_15s);
    }

    /// The load to be ready for, with its margin.
    fn foresee(&mut self, seen: &Observation) -> Load {
        let ahead = horizon(seen.start);
        let due = seen.at + ahead;
        let rate = seen.rate_15s;
        let trend = rate + self.trend.slope(seen.start) * ahead.as_secs_f64();
        self.trend_margin.foresee(due, trend);
        let by_trend = trend * self.trend_margin.factor();
        let season = self.season.foresee(seen.at, ahead);
        if let Some(season) = season {
            self.season_margin.foresee(due, season);
        }
        match season {
            Some(season) if self.season_loss.beats(&self.trend_loss) => {
                let foreseen = (season * self.season_margin.factor()).max(rate);
                Load {
                    rate: foreseen,
                    reason: Reason::Season { rate, foreseen },
                }
            }
            _ => Load {
                rate: by_trend,
                reason: Reason::Trend {
                    rate,
                    foreseen: by_trend,
                },
            },
        }
    }
}

/// The most of: what is foreseen, what is there, what waits.
fn need(scale: &Scale, seen: &Observation, foreseen: &Load, slope: f64) -> (u32, Reason) {
    let staffing = &seen.staffing;
    // One more than there may be: so it is seen that the maximum is what is in the way.
    let most = scale.max + 1;
    let present = staffing.instances(seen.rate_15s, PRESENT, most);
    let ahead = staffing.instances(foreseen.rate, FORESEEN, most);
    let capacity = staffing.one() * f64::from(seen.ready.max(1));
    let backlog = if seen.waiting > CHANCE * capacity {
        let rate = seen.rate_5s + seen.waiting / CLEAR + slope * horizon(seen.start).as_secs_f64();
        (rate / staffing.one()).ceil().min(f64::from(most)) as u32
    } else {
        0
    };
    let rate = seen.rate_15s;
    let waiting = seen.waiting;
    if backlog > ahead.max(present) {
        (backlog, Reason::Backlog { waiting })
    } else if ahead > present {
        (ahead, foreseen.reason.clone())
    } else {
        (present, Reason::Present { rate })
    }
}
