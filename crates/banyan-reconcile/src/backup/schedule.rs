//! When the next backup begins, and which: pure.
//!
//! Each kind has slots: moments an interval apart, at the configured time of day where the interval is a day or more. A
//! kind is due when nothing that copies as much has begun in its current slot; so a slot that was missed is made up for,
//! once. All that is known lies in the repository: nothing is remembered that could be lost.

use std::time::Duration;

use banyan_config::BackupSettings;
use banyan_supervisor::engine::postgres::backup::{Catalogue, Kind};

/// After so many failures in a row.
const PAUSES: [u64; 5] = [60, 300, 900, 1800, 3600];
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What failed last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    pub(crate) in_a_row: usize,
    pub(crate) last_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) kind: Kind,
    /// Unix time in ms; past: now.
    pub(crate) at_ms: u64,
}

/// The next backup. `gap_ms`: when log was given up last; a backup after that makes moments restorable again.
pub(crate) fn next(
    settings: &BackupSettings,
    known: &Catalogue,
    gap_ms: Option<u64>,
    failures: Failures,
    now_ms: u64,
) -> Due {
    let due = planned(settings, known, gap_ms, now_ms);
    let retry_ms = match failures.in_a_row {
        0 => 0,
        some => failures.last_ms + pause(some).as_millis() as u64,
    };
    Due {
        at_ms: due.at_ms.max(retry_ms),
        ..due
    }
}

pub(crate) fn pause(failures: usize) -> Duration {
    let last = PAUSES.len() - 1;
    Duration::from_secs(PAUSES[failures.saturating_sub(1).min(last)])
}

fn planned(settings: &BackupSettings, known: &Catalogue, gap_ms: Option<u64>, now_ms: u64) -> Due {
    let wanted = [
        (Kind::Full, Some(settings.full)),
        (Kind::Differential, settings.differential),
        (Kind::Incremental, settings.incremental),
    ];
    let intervals = wanted
        .into_iter()
        .filter_map(|(kind, interval)| Some((kind, interval?)));
    let mut all: Vec<Due> = intervals
        .map(|(kind, interval)| of_kind(kind, interval, settings, known, now_ms))
        .collect();
    let since_gap = |gap_ms: &u64| known.backups.last().is_some_and(|last| last.start_ms < *gap_ms);
    if gap_ms.as_ref().is_some_and(since_gap) {
        all.push(Due {
            kind: Kind::Incremental,
            at_ms: now_ms,
        });
    }
    // Of those that are due the one that copies most; else the earliest.
    let now = all
        .iter()
        .filter(|due| due.at_ms <= now_ms)
        .min_by_key(|due| due.kind);
    let later = all.iter().min_by_key(|due| (due.at_ms, due.kind));
    *now.or(later).expect("there is always a full one")
}

fn of_kind(kind: Kind, interval: Duration, settings: &BackupSettings, known: &Catalogue, now_ms: u64) -> Due {
    let Some(last) = known.last_at_least(kind) else {
        return Due { kind, at_ms: now_ms };
    };
    let length = interval.as_millis() as u64;
    let offset = if interval < DAY {
        0
    } else {
        settings.at.since_midnight().as_millis() as u64
    };
    let slot = (now_ms.saturating_sub(offset) / length) * length + offset;
    let at_ms = if last.start_ms < slot {
        now_ms
    } else {
        slot + length
    };
    Due { kind, at_ms }
}

#[cfg(test)]
mod tests {
    use banyan_supervisor::engine::postgres::backup::Backup;
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = 3_600_000;
    const DAY_MS: u64 = 24 * HOUR;

    fn settings(full: &str, differential: Option<&str>, incremental: Option<&str>) -> BackupSettings {
        let interval = |text: &str| banyan_config::units::parse_duration(text).unwrap();
        BackupSettings {
            path: "/backups".into(),
            full: interval(full),
            differential: differential.map(interval),
            incremental: incremental.map(interval),
            at: "03:00".parse().unwrap(),
            keep: 2,
            limit: interval("6h"),
            processes: 1,
            archive_timeout: interval("60s"),
            queue_bytes: 1 << 30,
        }
    }

    fn made(backups: &[(Kind, u64)]) -> Catalogue {
        let backup = |(kind, start_ms): &(Kind, u64)| Backup {
            label: start_ms.to_string(),
            kind: *kind,
            start_ms: *start_ms,
            stop_ms: start_ms + 60_000,
            size_bytes: 1,
            stored_bytes: 1,
            has_broken_pages: false,
        };
        Catalogue {
            backups: backups.iter().map(backup).collect(),
            ..Catalogue::default()
        }
    }

    fn at(known: &Catalogue, now_ms: u64) -> (Kind, u64) {
        let settings = settings("7d", Some("1d"), Some("1h"));
        let due = next(&settings, known, None, Failures::default(), now_ms);
        (due.kind, due.at_ms)
    }

    /// A week's first day, as slots of seven days count.
    const WEEK: u64 = 7 * 2_900 * DAY_MS;

    #[test]
    fn the_first_is_full_and_at_once() {
        assert_eq!(at(&made(&[]), WEEK + 5), (Kind::Full, WEEK + 5));
    }

    #[test]
    fn each_kind_comes_at_its_own_slot() {
        let begun = WEEK + 3 * HOUR + 1;
        let full = (Kind::Full, begun);
        assert_eq!(
            at(&made(&[full]), begun + 1),
            (Kind::Incremental, WEEK + 4 * HOUR)
        );
        let hour = (Kind::Incremental, WEEK + 4 * HOUR);
        assert_eq!(
            at(&made(&[full, hour]), WEEK + 4 * HOUR + 9),
            (Kind::Incremental, WEEK + 5 * HOUR)
        );
        let night = WEEK + DAY_MS + 3 * HOUR;
        assert_eq!(at(&made(&[full, hour]), night), (Kind::Differential, night));
        let next_week = WEEK + 7 * DAY_MS + 3 * HOUR;
        assert_eq!(at(&made(&[full, hour]), next_week), (Kind::Full, next_week));
    }

    #[test]
    fn what_was_missed_is_made_up_for_once() {
        let full = (Kind::Full, WEEK + 3 * HOUR);
        let late = WEEK + 4 * DAY_MS;
        assert_eq!(at(&made(&[full]), late), (Kind::Differential, late));
        let caught_up = (Kind::Differential, late);
        assert_eq!(
            at(&made(&[full, caught_up]), late + 1),
            (Kind::Incremental, late + HOUR)
        );
    }

    #[test]
    fn log_that_was_given_up_needs_a_backup_at_once() {
        let known = made(&[(Kind::Full, WEEK)]);
        let weekly = settings("7d", None, None);
        let due = |gap| next(&weekly, &known, Some(gap), Failures::default(), WEEK + HOUR);
        assert_eq!(
            (due(WEEK + 1).kind, due(WEEK + 1).at_ms),
            (Kind::Incremental, WEEK + HOUR)
        );
        assert_eq!(due(WEEK - 1).at_ms, WEEK + 3 * HOUR);
    }

    #[test]
    fn failures_are_tried_again_ever_later() {
        let weekly = settings("7d", None, None);
        let due =
            |in_a_row, last_ms| next(&weekly, &made(&[]), None, Failures { in_a_row, last_ms }, WEEK).at_ms;
        assert_eq!(due(1, WEEK), WEEK + 60_000);
        assert_eq!(due(9, WEEK), WEEK + HOUR);
        assert_eq!(due(1, WEEK - HOUR), WEEK);
    }

    proptest! {
        #[test]
        fn every_kind_is_made_once_per_slot_whatever_the_downtime(
            steps in prop::collection::vec(1_u64..20 * HOUR, 1..200),
        ) {
            let settings = settings("7d", Some("1d"), None);
            let mut now = WEEK;
            let mut made_so_far: Vec<(Kind, u64)> = Vec::new();
            for step in steps {
                now += step;
                let known = made(&made_so_far);
                let due = next(&settings, &known, None, Failures::default(), now);
                prop_assert!(due.at_ms >= now);
                if due.at_ms == now {
                    made_so_far.push((due.kind, now));
                    let again = next(&settings, &made(&made_so_far), None, Failures::default(), now);
                    prop_assert!(again.at_ms > now, "{due:?} and then {again:?}");
                }
                let last = made_so_far.last().unwrap().1;
                prop_assert!(now - last <= DAY_MS + 20 * HOUR);
            }
        }
    }
}
