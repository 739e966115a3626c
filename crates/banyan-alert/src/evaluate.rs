//! From verdicts to alerts: pending, firing, cleared; who mutes whom; what changed.

use std::fmt;
use std::time::Duration;

use banyan_config::AlertRule;
use serde::{Deserialize, Serialize};

use crate::judge::{Verdict, judge};
use crate::rule::{Area, Measure, Rule, Severity};
use crate::series::{Labels, Series};
use crate::silence::Silences;

/// A firing alert of which nothing is measured any more is given up after this.
const LOST: Duration = Duration::from_secs(15 * 60);
/// After a longer break in judging, what was pending begins anew.
const BREAK: Duration = Duration::from_secs(5 * 60);

/// All alerts; to be kept across restarts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// When it was judged last.
    pub at_ms: u64,
    pub alerts: Vec<Alert>,
}

/// A rule that holds for one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub rule: AlertRule,
    pub severity: Severity,
    pub area: Area,
    pub labels: Labels,
    pub summary: String,
    /// The newest that held.
    pub value: f64,
    pub measure: Measure,
    /// Since when the condition holds.
    pub since_ms: u64,
    pub phase: Phase,
    /// Who is not told, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted: Option<Muted>,
    /// Somebody was told, so is told of its end.
    pub told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The condition holds, not yet for long enough.
    Pending,
    Firing {
        fired_ms: u64,
        /// Since when the condition does not hold any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quiet_ms: Option<u64>,
        /// Since when nothing is measured any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost_ms: Option<u64>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Muted {
    /// By a person, with their reason.
    Silenced(String),
    /// By this more urgent one that fires.
    By(AlertRule),
}

/// What happened to an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    pub at_ms: u64,
    pub change: Change,
    /// Somebody is to be told.
    pub tell: bool,
    pub alert: Alert,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Fired,
    /// It has fired for a while, and what muted it is over.
    Unmuted,
    /// It fires on, and somebody wants to hear of it again.
    Still,
    Cleared(Why),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The condition does not hold any more.
    Recovered,
    /// Nothing is measured any more.
    NoData,
    /// The configuration has no such rule any more.
    NoRule,
}

/// Judges all rules once. `state` is what the last time left.
pub fn evaluate(
    rules: &[Rule],
    series: &impl Series,
    state: State,
    silences: &Silences,
    now: Duration,
) -> (State, Vec<Transition>) {
    let at = ms(now);
    let resumed = at.saturating_sub(state.at_ms) > ms(BREAK);
    let mut old = state.alerts;
    let mut alerts = Vec::new();
    let mut ended = Vec::new();
    for rule in rules {
        for finding in judge(rule, series, now) {
            let place = old
                .iter()
                .position(|alert| alert.rule == rule.id && alert.labels == finding.labels);
            let known = place.map(|place| old.swap_remove(place));
            let known = known.filter(|alert| !(resumed && alert.phase == Phase::Pending));
            match (finding.verdict, known) {
                (Verdict::Holds(value), known) => {
                    let known = known.unwrap_or_else(|| Alert::new(rule, finding.labels, at));
                    alerts.push(known.held(rule, value, at));
                }
                (Verdict::Not, Some(mut known)) if known.fires() => {
                    if known.quiet(rule, at) {
                        ended.push((known, Why::Recovered));
                    } else {
                        alerts.push(known);
                    }
                }
                (Verdict::Not, _) => {}
            }
        }
    }
    for mut alert in old.into_iter().filter(Alert::fires) {
        if rules.iter().all(|rule| rule.id != alert.rule) {
            ended.push((alert, Why::NoRule));
        } else if alert.lost(at) {
            ended.push((alert, Why::NoData));
        } else {
            alerts.push(alert);
        }
    }
    let transitions = tell(&mut alerts, ended, silences, now);
    alerts.sort_by(|a, b| (a.severity, a.rule, &a.labels).cmp(&(b.severity, b.rule, &b.labels)));
    (State { at_ms: at, alerts }, transitions)
}

/// Who is told of what: silences and more urgent alerts mute.
fn tell(
    alerts: &mut [Alert],
    ended: Vec<(Alert, Why)>,
    silences: &Silences,
    now: Duration,
) -> Vec<Transition> {
    let at = ms(now);
    let firing: Vec<(AlertRule, Severity, Area)> = alerts
        .iter()
        .filter(|alert| alert.fires())
        .map(|alert| (alert.rule, alert.severity, alert.area))
        .collect();
    let mut transitions: Vec<Transition> = Vec::new();
    for (alert, why) in ended {
        let tell = alert.told;
        transitions.push(Transition {
            at_ms: at,
            change: Change::Cleared(why),
            tell,
            alert,
        });
    }
    for alert in alerts.iter_mut().filter(|alert| alert.fires()) {
        let silenced = silences
            .of(alert.rule, now)
            .map(|silence| Muted::Silenced(silence.why.clone()));
        let muter = firing
            .iter()
            .find(|(_, severity, area)| mutes(*severity, *area, alert));
        alert.muted = silenced.or(muter.map(|(rule, ..)| Muted::By(*rule)));
        let new = matches!(alert.phase, Phase::Firing { fired_ms, .. } if fired_ms == at);
        let tell = alert.muted.is_none() && !alert.told && alert.holds();
        let change = if new { Change::Fired } else { Change::Unmuted };
        alert.told |= tell;
        if new || tell {
            transitions.push(Transition {
                at_ms: at,
                change,
                tell,
                alert: alert.clone(),
            });
        }
    }
    transitions
}

/// P0 mutes all that is less urgent, P1 the P2 of its area.
fn mutes(severity: Severity, area: Area, alert: &Alert) -> bool {
    severity < alert.severity && (severity == Severity::P0 || area == alert.area)
}

impl fmt::Display for Transition {
    /// `P1 errors-high fires: many requests fail (7.0 %)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alert = &self.alert;
        let (severity, rule, subject) = (alert.severity, alert.rule, alert.subject());
        let space = if subject.is_empty() { "" } else { " " };
        let change = match self.change {
            Change::Fired | Change::Unmuted => "fires",
            Change::Still => "still fires",
            Change::Cleared(Why::Recovered) => "is over",
            Change::Cleared(Why::NoData) => "is not measured any more",
            Change::Cleared(Why::NoRule) => "is no rule any more",
        };
        write!(f, "{severity} {rule}{space}{subject} {change}: {}", alert.summary)?;
        if matches!(self.change, Change::Cleared(_)) {
            return Ok(());
        }
        write!(f, " ({})", alert.measure.show(alert.value))
    }
}

impl Transition {
    pub(crate) fn still(alert: &Alert, at_ms: u64) -> Self {
        Self {
            at_ms,
            change: Change::Still,
            tell: true,
            alert: alert.clone(),
        }
    }
}

impl State {
    pub fn firing(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.iter().filter(|alert| alert.fires())
    }
}

impl Alert {
    fn new(rule: &Rule, labels: Labels, at: u64) -> Self {
        Self {
            rule: rule.id,
            severity: rule.severity,
            area: rule.area,
            labels,
            summary: rule.summary.clone(),
            value: 0.0,
            measure: rule.condition.measure(),
            since_ms: at,
            phase: Phase::Pending,
            muted: None,
            told: false,
        }
    }

    pub fn fires(&self) -> bool {
        matches!(self.phase, Phase::Firing { .. })
    }

    /// It fires, and its condition holds now.
    pub fn holds(&self) -> bool {
        matches!(
            self.phase,
            Phase::Firing {
                quiet_ms: None,
                lost_ms: None,
                ..
            }
        )
    }

    /// What it is about, as `route=pay`; empty: the whole.
    pub fn subject(&self) -> String {
        let labels: Vec<String> = self
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        labels.join(" ")
    }

    fn held(mut self, rule: &Rule, value: f64, at: u64) -> Self {
        self.value = value;
        self.summary.clone_from(&rule.summary);
        // A clock that went back.
        self.since_ms = self.since_ms.min(at);
        let fired_ms = match self.phase {
            Phase::Firing { fired_ms, .. } => Some(fired_ms),
            Phase::Pending => (at - self.since_ms >= ms(rule.hold)).then_some(at),
        };
        if let Some(fired_ms) = fired_ms {
            self.phase = Phase::Firing {
                fired_ms,
                quiet_ms: None,
                lost_ms: None,
            };
        }
        self
    }

    /// Its condition does not hold. True: for long enough, it is over.
    fn quiet(&mut self, rule: &Rule, at: u64) -> bool {
        let Phase::Firing {
            quiet_ms, lost_ms, ..
        } = &mut self.phase
        else {
            return false;
        };
        *lost_ms = None;
        at.saturating_sub(*quiet_ms.get_or_insert(at)) >= ms(rule.keep)
    }

    /// Nothing is measured of it. True: for so long that it is given up.
    fn lost(&mut self, at: u64) -> bool {
        let Phase::Firing { lost_ms, .. } = &mut self.phase else {
            return false;
        };
        at.saturating_sub(*lost_ms.get_or_insert(at)) >= ms(LOST)
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
