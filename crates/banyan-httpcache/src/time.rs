//! Wall-clock time as HTTP sees it, and HTTP-date in its three forms (RFC 9110 §5.6.7).
//!
//! Own parser: `Expires` decides about freshness, so letter case, years past 2038 and the 50-year rule must be right,
//! and everything that is not a date must be told from one.

use std::fmt;
use std::time::Duration;

const DAY: i64 = 86_400;
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const GRAIN: Duration = Duration::from_secs(1);
/// 1970-01-01 was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// Milliseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(i64);

impl Time {
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    pub const fn millis(self) -> i64 {
        self.0
    }

    /// How long after `earlier`; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The same; `None`: `earlier` is later, so a clock was set back since, and nobody knows. Within `GRAIN` it is none of that:
    /// a moment is read by several.
    pub fn passed_since(self, earlier: Self) -> Option<Duration> {
        (self.plus(GRAIN) >= earlier).then(|| self.since(earlier))
    }

    pub fn minus(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    pub fn plus(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// An HTTP-date; `None` for anything else. `now` decides the century of a two-digit year: more than 50 years in the
    /// future means the past (RFC 9110 §5.6.7). A wrong weekday is not noticed.
    pub fn parse(text: &str, now: Self) -> Option<Self> {
        let text = text.trim_matches([' ', '\t']);
        imf_fixdate(text)
            .or_else(|| rfc850(text, now))
            .or_else(|| asctime(text))
    }
}

impl fmt::Display for Time {
    /// IMF-fixdate, the form to send.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(1000);
        let (days, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        let weekday = usize::try_from(days.rem_euclid(7)).map_or("Thu", |i| WEEKDAYS[i]);
        let name = MONTHS[usize::try_from(month - 1).unwrap_or(0)];
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        let initial = name[..1].to_ascii_uppercase();
        write!(
            f,
            "{weekday}, {day:02} {initial}{} {year:04} {hour:02}:{minute:02}:{second:02} GMT",
            &name[1..]
        )
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &str) -> Option<Time> {
    let (weekday, rest) = text.split_once(", ")?;
    short_weekday(weekday)?;
    let mut words = rest.split(' ');
    let day = digits(words.next()?, 2)?;
    let month = month(words.next()?)?;
    let year = digits(words.next()?, 4)?;
    let clock = clock(words.next()?)?;
    zone(words.next()?)?;
    words.next().is_none().then_some(())?;
    at(year, month, day, clock)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(text: &str, now: Time) -> Option<Time> {
    let (weekday, rest) = text.split_once(", ")?;
    let long = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    long.iter().find(|name| weekday.eq_ignore_ascii_case(name))?;
    let mut words = rest.split(' ');
    let mut date = words.next()?.split('-');
    let day = digits(date.next()?, 2)?;
    let month = month(date.next()?)?;
    let short = digits(date.next()?, 2)?;
    let clock = clock(words.next()?)?;
    zone(words.next()?)?;
    (words.next().is_none() && date.next().is_none()).then_some(())?;
    let (this_year, ..) = civil(now.0.div_euclid(1000 * DAY));
    let year = this_year - this_year.rem_euclid(100) + short;
    let year = if year > this_year + 50 { year - 100 } else { year };
    at(year, month, day, clock)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &str) -> Option<Time> {
    let (weekday, rest) = text.split_once(' ')?;
    short_weekday(weekday)?;
    let (name, rest) = rest.split_once(' ')?;
    let month = month(name)?;
    let (day, rest) = rest.split_at_checked(2)?;
    let day = match day.strip_prefix(' ') {
        Some(digit) => digits(digit, 1)?,
        None => digits(day, 2)?,
    };
    let mut words = rest.strip_prefix(' ')?.split(' ');
    let clock = clock(words.next()?)?;
    let year = digits(words.next()?, 4)?;
    words.next().is_none().then_some(())?;
    at(year, month, day, clock)
}

fn short_weekday(text: &str) -> Option<()> {
    WEEKDAYS
        .iter()
        .find(|name| text.eq_ignore_ascii_case(name))
        .map(|_| ())
}

fn month(text: &str) -> Option<i64> {
    let index = MONTHS.iter().position(|name| text.eq_ignore_ascii_case(name))?;
    i64::try_from(index + 1).ok()
}

fn zone(text: &str) -> Option<()> {
    text.eq_ignore_ascii_case("GMT").then_some(())
}

/// Seconds of the day; a leap second counts as the second before it.
fn clock(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let hour = digits(parts.next()?, 2).filter(|n| *n < 24)?;
    let minute = digits(parts.next()?, 2).filter(|n| *n < 60)?;
    let second = digits(parts.next()?, 2).filter(|n| *n < 61)?;
    parts.next().is_none().then_some(())?;
    Some(hour * 3600 + minute * 60 + second.min(59))
}

fn digits(text: &str, length: usize) -> Option<i64> {
    let right = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    right.then(|| text.parse().ok())?
}

fn at(year: i64, month: i64, day: i64, clock: i64) -> Option<Time> {
    let days = days(year, month, day);
    // 31 February would come back as a day of March.
    (civil(days) == (year, month, day)).then_some(())?;
    Some(Time::from_seconds(days * DAY + clock))
}

/// Days since 1970-01-01 of a date of the Gregorian calendar. Years are counted from March, so that leap days come last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a day since 1970-01-01: (year, month, day).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Time = Time::from_seconds(1_800_000_000);

    #[test]
    fn the_three_forms_of_rfc_9110_name_the_same_second() {
        let same = [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "sun, 06 nov 1994 08:49:37 gmt",
            "Mon, 06 Nov 1994 08:49:37 GMT",
        ];
        for text in same {
            assert_eq!(
                Time::parse(text, NOW),
                Some(Time::from_seconds(784_111_777)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        let wrong = [
            "0",
            "",
            "-1",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 31 Feb 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2051 02:01:18 GMT",
        ];
        for text in wrong {
            assert_eq!(Time::parse(text, NOW), None, "{text}");
        }
    }

    #[test]
    fn a_two_digit_year_is_at_most_50_years_ahead() {
        let year = |text| civil(Time::parse(text, NOW).unwrap().millis().div_euclid(86_400_000)).0;
        assert_eq!(year("Sunday, 06-Nov-77 08:49:37 GMT"), 2077);
        assert_eq!(year("Sunday, 06-Nov-78 08:49:37 GMT"), 1978);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in -60_000_000_000_i64..200_000_000_000) {
            let time = Time::from_seconds(seconds);
            prop_assert_eq!(Time::parse(&time.to_string(), NOW), Some(time));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            let _ = Time::parse(&text, NOW);
        }
    }
}
