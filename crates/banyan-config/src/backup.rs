//! Backups of the managed PostgreSQL as configured: what pgBackRest and the schedule are told.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{duration, duration_if_any};

/// `[database.backup]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSettings {
    /// The repository. Absolute once the configuration's folder is known.
    pub path: PathBuf,
    #[serde(with = "duration")]
    pub full: Duration,
    #[serde(with = "duration_if_any")]
    pub differential: Option<Duration>,
    #[serde(with = "duration_if_any")]
    pub incremental: Option<Duration>,
    /// When backups begin whose interval is a day or more.
    pub at: TimeOfDay,
    /// Full backups; at least 1.
    pub keep: u32,
    /// Of one backup.
    #[serde(with = "duration")]
    pub limit: Duration,
    pub processes: u32,
    #[serde(with = "duration")]
    pub archive_timeout: Duration,
    /// Log that may wait on the database's disk.
    pub queue_bytes: u64,
}

/// Of a day, UTC: `03:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay {
    minutes: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write hours and minutes of a day: 03:00")]
pub struct NotATime;

impl TimeOfDay {
    /// From midnight on.
    pub fn since_midnight(self) -> Duration {
        Duration::from_secs(u64::from(self.minutes) * 60)
    }
}

impl FromStr for TimeOfDay {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let (hours, minutes) = text.split_once(':').ok_or(NotATime)?;
        let number = |text: &str, below: u16| {
            let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text
                .parse::<u16>()
                .ok()
                .filter(|number| digits && *number < below);
            number.ok_or(NotATime)
        };
        Ok(Self {
            minutes: number(hours, 24)? * 60 + number(minutes, 60)?,
        })
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = NotATime;

    fn try_from(text: String) -> Result<Self, NotATime> {
        text.parse()
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_read_as_it_is_written() {
        for text in ["00:00", "03:05", "23:59"] {
            assert_eq!(text.parse::<TimeOfDay>().unwrap().to_string(), text);
        }
        for text in ["24:00", "3:00", "03:60", "03", "03:00:00", "+3:00", ""] {
            assert_eq!(text.parse::<TimeOfDay>(), Err(NotATime), "{text}");
        }
    }
}
