//! Which lines are wanted.

use std::str::FromStr;
use std::time::Duration;

use banyan_config::units::parse_duration;
use banyan_telemetry::{Level, moment};
use regex::Regex;

use super::Line;

/// A moment as people name it: some time ago (`10m`), or a date and time in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    Ago(Duration),
    At(u64),
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(ago) = parse_duration(text) {
            return Ok(Self::Ago(ago));
        }
        let whole = match text.len() {
            10 => format!("{text}T00:00:00Z"),
            16 => format!("{text}:00Z"),
            _ => text.to_owned(),
        };
        let at = moment::iso_ms(&whole).map(Self::At);
        at.ok_or_else(|| "write how long ago (10m, 2h, 1d), or a moment: 2026-01-31T12:00".to_owned())
    }
}

impl Since {
    pub(crate) fn unix_ms(self, now_ms: u64) -> u64 {
        match self {
            Self::Ago(ago) => now_ms.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
            Self::At(ms) => ms,
        }
    }
}

/// A line must satisfy all of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) since_ms: Option<u64>,
    /// The line's own moment is not before it.
    pub(crate) until_ms: Option<u64>,
    /// Or worse.
    pub(crate) level: Option<Level>,
    /// An identifier, or its beginning.
    pub(crate) trace: Option<String>,
    pub(crate) grep: Option<Regex>,
}

impl Filter {
    /// Whether it lets everything pass.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            since_ms,
            until_ms,
            level,
            trace,
            grep,
        } = self;
        since_ms.is_none() && until_ms.is_none() && level.is_none() && trace.is_none() && grep.is_none()
    }

    pub(crate) fn takes(&self, line: &Line) -> bool {
        self.since_ms.is_none_or(|since| line.time_ms >= since)
            && self.until_ms.is_none_or(|until| line.time_ms < until)
            && self.level.is_none_or(|level| line.record.level >= level)
            && self.trace.as_deref().is_none_or(|trace| of_trace(line, trace))
            && self.grep.as_ref().is_none_or(|grep| grep.is_match(&line.text))
    }
}

/// By its field; a line of plain text by naming it.
fn of_trace(line: &Line, trace: &str) -> bool {
    match &line.record.trace_id {
        Some(own) => own.starts_with(trace),
        None => line.text.contains(trace),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line::new("web.1", 5_000, text.to_owned())
    }

    #[test]
    fn moments_are_read_as_people_write_them() {
        assert_eq!("10m".parse(), Ok(Since::Ago(Duration::from_secs(600))));
        let day = Since::At(1_767_225_600_000);
        for text in [
            "2026-01-01",
            "2026-01-01T00:00",
            "2026-01-01 00:00:00",
            "2026-01-01T01:00:00+01:00",
        ] {
            assert_eq!(text.parse(), Ok(day), "{text}");
        }
        assert!("yesterday".parse::<Since>().unwrap_err().contains("10m"));
        assert_eq!(Since::Ago(Duration::from_secs(1)).unix_ms(5_000), 4_000);
    }

    #[test]
    fn a_line_must_satisfy_all_that_is_asked() {
        let filter = |change: fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            filter
        };
        let warn = line(r#"{"level":"warn","msg":"slow","trace_id":"4bf92f35"}"#);
        let plain = line("all is well in 4bf92f35");
        let takes = |change| [&warn, &plain].map(|line| filter(change).takes(line));
        assert_eq!(takes(|_| {}), [true, true]);
        assert_eq!(takes(|all| all.level = Some(Level::Warn)), [true, false]);
        assert_eq!(takes(|all| all.trace = Some("4bf9".into())), [true, true]);
        assert_eq!(takes(|all| all.trace = Some("bf9".into())), [false, true]);
        assert_eq!(
            takes(|all| all.grep = Regex::new("w(ell|ill)").ok()),
            [false, true]
        );
        assert_eq!(takes(|all| all.since_ms = Some(5_000)), [true, true]);
        assert_eq!(takes(|all| all.since_ms = Some(5_001)), [false, false]);
        assert_eq!(takes(|all| all.until_ms = Some(5_000)), [false, false]);
    }
}
