//! Moments as people write them and PostgreSQL reads them: `2026-11-22 07:05:40.767159+00`. Unix time in µs.

use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// Not a moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no moment; write `2026-11-22 07:05` or `2026-11-22T07:05:40.5+01:00` (without an offset: UTC)"
)]
pub struct NotAMoment(String);

/// As PostgreSQL's `recovery_target_time` takes it.
pub fn moment(us: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * 1000);
    let Ok(at) = at else {
        return us.to_string();
    };
    let fraction = match at.microsecond() {
        0 => String::new(),
        fraction => format!(".{fraction:06}").trim_end_matches('0').to_owned(),
    };
    let (hour, minute, second) = at.to_hms();
    format!("{} {hour:02}:{minute:02}:{second:02}{fraction}+00", at.date())
}

/// A date, `T` or a space, hours and minutes, perhaps seconds with a fraction, perhaps `Z` or an offset. From 1970 on.
pub fn parse_moment(text: &str) -> Result<u64, NotAMoment> {
    parse(text.trim()).ok_or_else(|| NotAMoment(text.to_owned()))
}

fn parse(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(['T', ' '])?;
    let date = Date::parse(date, format_description!("[year]-[month]-[day]")).ok()?;
    let (clock, offset) = match rest.find(['Z', '+', '-']) {
        Some(at) => rest.split_at(at),
        None => (rest, "Z"),
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let clock = Time::parse(clock, format_description!("[hour]:[minute]:[second]"))
        .or_else(|_| Time::parse(clock, format_description!("[hour]:[minute]")))
        .ok()?;
    let sound = fraction.len() <= 6 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let micros: u64 = format!("{fraction:0<6}").parse().ok().filter(|_| sound)?;
    let at = PrimitiveDateTime::new(date, clock).assume_offset(self::offset(offset)?);
    let seconds = u64::try_from(at.unix_timestamp()).ok()?;
    Some(seconds * 1_000_000 + micros)
}

/// `Z`, `+01`, `+01:00`
fn offset(text: &str) -> Option<UtcOffset> {
    if text == "Z" {
        return Some(UtcOffset::UTC);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = text[1..].split_once(':').unwrap_or((&text[1..], "0"));
    let number = |text: &str| text.parse::<i8>().ok().filter(|number| *number >= 0);
    UtcOffset::from_hms(sign * number(hours)?, sign * number(minutes)?, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_however_it_is_written() {
        for (text, shown) in [
            ("2026-11-22 07:05", "2026-11-22 07:05:00+00"),
            ("2026-11-22T07:05:40.767159Z", "2026-11-22 07:05:40.767159+00"),
            ("2026-11-22 07:05:40.5+01:00", "2026-11-22 06:05:40.5+00"),
            ("2024-02-29T23:59:59-0", "2024-02-29 23:59:59+00"),
            ("1970-01-01 00:00", "1970-01-01 00:00:00+00"),
        ] {
            assert_eq!(moment(parse_moment(text).unwrap()), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-11-22",
            "2026-13-01 00:00",
            "2026-11-22 25:00",
            "07:05",
            "2026-11-22 07:05+x",
        ] {
            assert!(parse_moment(text).is_err(), "{text}");
        }
    }
}
