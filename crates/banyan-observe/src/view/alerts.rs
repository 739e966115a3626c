//! What fires, for people: a row each, and the urgent ones among what is wrong.

use banyan_alert::{Alert, Muted, Severity};

use super::{Firing, Level, Trouble};
use crate::alert::Shown;

/// Most urgent first; what nobody is told of comes after what somebody is.
pub(super) fn firing(shown: &Shown) -> Vec<Firing> {
    let fires = shown.alerts.iter().filter(|alert| alert.fires());
    let mut rows: Vec<Firing> = fires.map(row).collect();
    rows.sort_by_key(|row| row.muted.is_some());
    rows
}

fn row(alert: &Alert) -> Firing {
    let muted = alert.muted.as_ref().map(|muted| match muted {
        Muted::Silenced(why) => format!("silenced: {why}"),
        Muted::By(rule) => format!("muted by {rule}"),
    });
    Firing {
        level: match (&muted, alert.severity) {
            (Some(_), _) => Level::Unknown,
            (None, Severity::P0) => Level::Bad,
            (None, Severity::P1 | Severity::P2) => Level::Warn,
        },
        severity: alert.severity.to_string(),
        rule: alert.rule.to_string(),
        subject: alert.subject(),
        what: format!("{} ({})", alert.summary, alert.measure.show(alert.value)),
        since_ms: alert.since_ms,
        muted,
    }
}

/// Of those that a person is told of and must look at by day at the latest; and receivers that cannot be told.
pub(super) fn troubles(shown: &Shown) -> impl Iterator<Item = Trouble> {
    let urgent = |alert: &&Alert| alert.fires() && alert.muted.is_none() && alert.severity <= Severity::P1;
    let fires = shown.alerts.iter().filter(urgent).map(|alert| {
        let row = row(alert);
        let space = if row.subject.is_empty() { "" } else { " " };
        Trouble {
            level: row.level,
            what: format!(
                "{} {}{space}{}: {}",
                row.severity, row.rule, row.subject, row.what
            ),
        }
    });
    let untold = shown.undelivered.iter().map(|(to, why)| Trouble {
        level: Level::Warn,
        what: format!("alerts.to.{to} could not be told, it is tried again: {why}"),
    });
    fires.chain(untold)
}
