//! What a rule is: a condition over series, for how long it must hold, and how urgent it is.

use std::fmt;
use std::time::Duration;

use banyan_config::AlertRule;
use serde::{Deserialize, Serialize};

/// How soon a person is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// At once, day and night.
    P0,
    /// In working hours.
    P1,
    /// A ticket.
    P2,
}

/// What an alert is about: a more urgent one mutes the less urgent ones of its area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    Requests,
    Database,
    Cache,
    Machine,
    /// The measuring itself.
    Metrics,
}

/// One rule. It makes an alert for each combination of `by` that it finds.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub id: AlertRule,
    pub severity: Severity,
    pub area: Area,
    pub condition: Condition,
    /// How long the condition must hold.
    pub hold: Duration,
    /// An alert is over when the condition did not hold for so long: what goes up and down around a threshold is one alert.
    pub keep: Duration,
    /// Labels that alerts of this rule differ in.
    pub by: &'static [&'static str],
    /// One sentence; what is wrong.
    pub summary: String,
}

/// What must be so. All thresholds are exclusive.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// So much of `all` is `bad`; asked only of at least `least` in the window.
    Share {
        bad: Select,
        all: Select,
        over: Duration,
        above: f64,
        least: f64,
    },
    /// Of hits and misses: fewer hits than this.
    Hits {
        hits: Select,
        misses: Select,
        over: Duration,
        below: f64,
        least: f64,
    },
    /// The error budget is spent so many times too fast, in a window and in its last twelfth.
    Burn {
        bad: Select,
        all: Select,
        over: Duration,
        factor: f64,
        budget: f64,
        least: f64,
    },
    /// A quantile of a histogram, in the histogram's unit.
    Quantile {
        of: &'static str,
        quantile: f64,
        over: Duration,
        above: f64,
        least: f64,
    },
    /// The newest value of a gauge.
    Newest { of: Select, sum: bool, wanted: Wanted },
    /// The newest value of one gauge as a share of another.
    Of { part: Select, whole: Select, above: f64 },
    /// A time, in seconds since 1970, is so near.
    Near { of: Select, within: Duration },
    /// What is free (a gauge), and falls as over the last `over`, is used up so soon.
    UsedUp {
        free: Select,
        over: Duration,
        within: Duration,
    },
    /// Nothing was measured for so long, while the witness was.
    Absent {
        of: Select,
        witness: Select,
        over: Duration,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wanted {
    Above(f64),
    Below(f64),
}

/// Series by the name of their metric and by labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    pub metric: &'static str,
    pub labels: Vec<(&'static str, Match)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    Is(String),
    OneOf(Vec<String>),
    /// Statuses from 500 on; as class (`5xx`) or exact.
    ServerError,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    Share,
    Seconds,
    Factor,
    Count,
}

impl Condition {
    pub fn measure(&self) -> Measure {
        match self {
            Self::Share { .. } | Self::Hits { .. } | Self::Of { .. } => Measure::Share,
            Self::Burn { .. } => Measure::Factor,
            Self::Quantile { .. } | Self::Near { .. } | Self::UsedUp { .. } | Self::Absent { .. } => {
                Measure::Seconds
            }
            Self::Newest { .. } => Measure::Count,
        }
    }
}

impl Measure {
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Share => format!("{:.1} %", value * 100.0),
            Self::Factor => format!("{value:.1}x"),
            Self::Count => format!("{value:.3}")
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_owned(),
            Self::Seconds if value >= 172_800.0 => format!("{:.1} d", value / 86_400.0),
            Self::Seconds if value >= 7200.0 => format!("{:.1} h", value / 3600.0),
            Self::Seconds if value >= 1.0 => format!("{value:.1} s"),
            Self::Seconds => format!("{:.0} ms", value * 1000.0),
        }
    }
}

impl Match {
    pub fn takes(&self, value: &str) -> bool {
        match self {
            Self::Is(text) => text == value,
            Self::OneOf(texts) => texts.iter().any(|text| text == value),
            Self::ServerError => value.len() == 3 && value.starts_with('5'),
        }
    }
}

impl Select {
    pub const fn all(metric: &'static str) -> Self {
        Self {
            metric,
            labels: Vec::new(),
        }
    }

    pub fn with(mut self, label: &'static str, is: Match) -> Self {
        self.labels.push((label, is));
        self
    }
}

impl Severity {
    pub const ALL: [Self; 3] = [Self::P0, Self::P1, Self::P2];

    pub fn name(self) -> &'static str {
        match self {
            Self::P0 => "P0",
            Self::P1 => "P1",
            Self::P2 => "P2",
        }
    }
}

impl Area {
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Database => "database",
            Self::Cache => "cache",
            Self::Machine => "machine",
            Self::Metrics => "metrics",
        }
    }
}

impl Rule {
    /// What it asks for: metrics with their windows; a window of zero is the newest value.
    pub fn needs(&self) -> Vec<(String, Duration)> {
        let need = |select: &Select, over: Duration| (select.metric.to_owned(), over);
        let now = Duration::ZERO;
        match &self.condition {
            Condition::Share { bad, all, over, .. } => vec![need(bad, *over), need(all, *over)],
            Condition::Hits {
                hits, misses, over, ..
            } => vec![need(hits, *over), need(misses, *over)],
            Condition::Burn { bad, all, over, .. } => {
                let short = *over / 12;
                vec![
                    need(bad, *over),
                    need(all, *over),
                    need(bad, short),
                    need(all, short),
                ]
            }
            Condition::Quantile { of, over, .. } => vec![(format!("{of}_bucket"), *over)],
            Condition::Newest { of, .. } | Condition::Near { of, .. } => vec![need(of, now)],
            Condition::Of { part, whole, .. } => vec![need(part, now), need(whole, now)],
            Condition::UsedUp { free, over, .. } => vec![need(free, now), need(free, *over)],
            Condition::Absent { of, witness, over } => vec![need(of, *over), need(witness, *over)],
        }
    }

    pub fn name(&self) -> &'static str {
        self.id.name()
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
