//! What keeps a group from growing or shrinking whatever the load says.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use banyan_config::{Scale, ScalePolicy};
use serde::{Deserialize, Serialize};

use super::moves::Moves;
use super::observation::{Activity, HostRoom, Observation};

/// How old a report may be, and how many questions must have been asked.
const OLD: Duration = Duration::from_secs(15);
const QUESTIONS: u32 = 3;
/// Of the database's CPUs, and of a request's time waiting for a connection.
const BUSY: f64 = 0.85;
const POOL_WAIT: f64 = 0.50;
/// Traffic that falls by more than half within a minute comes back as a storm.
const FALL: f64 = 0.5;
const WITHIN: Duration = Duration::from_secs(60);
const AFTER: Duration = Duration::from_secs(900);
/// Changes of direction per hour.
const TURNS: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// Too little is known: nothing changes.
    Blind,
    /// The database is what limits.
    Downstream,
    /// The machine is full.
    Host,
    /// Something else is changing what runs.
    Changing,
    /// Traffic has collapsed; it will come back.
    Outage,
    /// It has changed its direction too often.
    Flapping,
    /// The database takes no more connections than those of so many.
    Connections,
    /// More are needed than there may be.
    Maximum,
}

impl Guard {
    fn stops_up(self) -> bool {
        matches!(self, Self::Blind | Self::Downstream | Self::Host)
    }

    fn stops_down(self) -> bool {
        matches!(self, Self::Blind | Self::Changing | Self::Outage | Self::Flapping)
    }

    /// Whether it is what keeps `wanted` from coming true.
    pub(super) fn holds(self, wanted: u32, current: u32) -> bool {
        (wanted > current && self.stops_up()) || (wanted < current && self.stops_down())
    }
}

/// What the guards remember.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// Rates of the last minute.
    rates: VecDeque<(Duration, f64)>,
    /// When traffic last collapsed.
    fell: Option<Duration>,
    flapped: Option<Duration>,
}

impl Memory {
    pub(super) fn take(&mut self, seen: &Observation) {
        let at = seen.at;
        self.rates.retain(|(when, _)| at.saturating_sub(*when) <= WITHIN);
        let before = self.rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
        // A handful of requests a second doubles and halves by chance.
        let counts = before >= seen.staffing.one() / 2.0;
        if counts && seen.age < OLD && seen.rate_15s < before * FALL {
            self.fell = Some(at);
        }
        self.rates.push_back((at, seen.rate_15s));
    }

    pub(super) fn against(&mut self, scale: &Scale, seen: &Observation, moves: &Moves) -> Vec<Guard> {
        if moves.turns() > TURNS {
            self.flapped = Some(seen.at);
        }
        let lately = |then: Option<Duration>| then.is_some_and(|then| seen.at.saturating_sub(then) < AFTER);
        // The other policies have windows of their own; they are kept as their users know them.
        let ours = matches!(scale.policy, ScalePolicy::Headroom);
        let holds = [
            (Guard::Blind, seen.age > OLD || moves.ticks() < QUESTIONS),
            (Guard::Downstream, downstream(seen)),
            (Guard::Host, seen.host == HostRoom::Full),
            (Guard::Changing, seen.activity == Activity::Changing),
            (Guard::Outage, ours && lately(self.fell)),
            (Guard::Flapping, ours && lately(self.flapped)),
        ];
        let held = holds.into_iter().filter(|(_, holds)| *holds);
        held.map(|(guard, _)| guard).collect()
    }
}

fn downstream(seen: &Observation) -> bool {
    let over = |value: Option<f64>, limit: f64| value.is_some_and(|value| value > limit);
    over(seen.downstream.busy, BUSY) || over(seen.downstream.pool_wait, POOL_WAIT)
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blind => "too little is known of the load: nothing changes",
            Self::Downstream => "the database limits: more instances would make it worse",
            Self::Host => "the machine is full",
            Self::Changing => "a change is under way: none goes meanwhile",
            Self::Outage => "traffic has collapsed and may come back at once: none goes for 15 minutes",
            Self::Flapping => "it went up and down too often: none goes for 15 minutes",
            Self::Connections => "the database has no connections for more instances",
            Self::Maximum => "more are needed than `max` allows",
        })
    }
}
