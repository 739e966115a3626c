//! Moments as log lines write them: read from the common forms, written in one. Pure.

/// `2026-01-31T12:00:05.123Z` as Unix ms; also with a space for the T, without a fraction, with a zone's offset.
pub fn iso_ms(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let separators = [(4, "-"), (7, "-"), (13, ":"), (16, ":")];
    if separators
        .iter()
        .any(|(at, sign)| text.get(*at..at + 1) != Some(sign))
    {
        return None;
    }
    let days = days_since_1970(number(0..4)?, number(5..7)?, number(8..10)?);
    let seconds = number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
    let rest = text.get(19..)?;
    let fraction: String = rest
        .strip_prefix(['.', ','])
        .map(|digits| digits.chars().take_while(char::is_ascii_digit).collect())
        .unwrap_or_default();
    let millis = format!("{fraction:0<3}").get(..3)?.parse::<i64>().ok()?;
    let zone = rest.get(
        if fraction.is_empty() {
            0
        } else {
            fraction.len() + 1
        }..,
    )?;
    u64::try_from((days * 86_400 + seconds - offset_seconds(zone)?) * 1000 + millis).ok()
}

/// What a zone is ahead of UTC: `+01:00`, `-02`; all else is UTC.
fn offset_seconds(zone: &str) -> Option<i64> {
    let sign = match zone.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Some(0),
    };
    let Some(hours) = zone.get(1..3) else {
        return Some(0);
    };
    let minutes = zone.get(4..6).and_then(|minutes| minutes.parse::<i64>().ok());
    Some(sign * (hours.parse::<i64>().ok()? * 60 + minutes.unwrap_or(0)) * 60)
}

/// Days from 1970-01-01 in the Gregorian calendar, counted from the first of March to keep leap days last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// `2026-01-31T23:59:59.042Z` of Unix ms.
pub fn iso(unix_ms: u64) -> String {
    format!("{}.{:03}Z", date_time(unix_ms / 1000), unix_ms % 1000)
}

/// `2026-01-31T23:59:59` of a Unix time (days to date after H. Hinnant's civil calendar).
pub fn date_time(second: u64) -> String {
    let (days, rest) = (second / 86_400, second % 86_400);
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_with_zones_are_the_same_moment() {
        let utc = iso_ms("2026-03-01T12:00:00Z").unwrap();
        assert_eq!(iso_ms("2026-03-01 13:00:00.000+01:00"), Some(utc));
        assert_eq!(iso_ms("2026-03-01 10:00:00-02"), Some(utc));
        assert_eq!(iso_ms("1970-01-02T00:00:00.007Z"), Some(86_400_007));
        assert_eq!(iso_ms("not a date at all, really"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(ms in 0_u64..4_102_444_800_000) {
            prop_assert_eq!(iso_ms(&iso(ms)), Some(ms));
        }

        #[test]
        fn no_text_is_read_with_a_panic(text in "\\PC{0,40}") {
            let _: Option<u64> = iso_ms(&text);
        }
    }
}
