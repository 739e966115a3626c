//! Numbers, durations and sizes: unit and range, with the value that was probably meant.

use std::time::Duration;

use super::Wrong;
use crate::fraction::Fraction;
use crate::units::{format_bytes, format_duration, parse_bytes, parse_duration};

pub(super) fn integer(number: i128, min: i64, max: i64) -> Option<Wrong> {
    if (i128::from(min)..=i128::from(max)).contains(&number) {
        return None;
    }
    let help = if min == max {
        format!("write {min}")
    } else {
        format!("write a whole number from {min} to {max}")
    };
    Some(Wrong::new(format!("cannot be {number}"), help))
}

pub(super) fn fraction(number: Option<f64>) -> Option<Wrong> {
    match number {
        Some(number) if Fraction::new(number).is_some() => None,
        Some(percent) if (1.0..=100.0).contains(&percent) => Some(Wrong::new(
            format!("cannot be {percent}"),
            format!("write a number from 0 to 1: {} for {percent} %", percent / 100.0),
        )),
        _ => Some(Wrong::new(
            "is no share",
            "write a number from 0 to 1, for example 0.1",
        )),
    }
}

pub(super) fn duration(text: &str, min: u64, max: u64) -> Option<Wrong> {
    let Some(found) = parse_duration(text) else {
        let help = match guess(text, DURATIONS) {
            Some(ms) => format!("write \"{}\"", format_duration(Duration::from_millis(ms))),
            None => "write a whole number and a unit: \"250ms\", \"10s\", \"5m\", \"1h\", \"1d\"".to_owned(),
        };
        return Some(Wrong::new(
            format!("cannot be \"{text}\": {}", complaint(text, "duration")),
            help,
        ));
    };
    let range = Duration::from_millis(min)..=Duration::from_millis(max);
    if range.contains(&found) {
        return None;
    }
    let (min, max) = (format_duration(*range.start()), format_duration(*range.end()));
    Some(Wrong::new(
        format!("cannot be \"{text}\""),
        format!("write a duration from \"{min}\" to \"{max}\""),
    ))
}

pub(super) fn bytes(text: &str, min: u64, max: u64) -> Option<Wrong> {
    let Some(found) = parse_bytes(text) else {
        let help = match guess(text, SIZES) {
            Some(bytes) => format!("write \"{}\"", format_bytes(bytes)),
            None => "write a whole number and a unit: \"500B\", \"64KiB\", \"10MiB\", \"1GiB\"".to_owned(),
        };
        return Some(Wrong::new(
            format!("cannot be \"{text}\": {}", complaint(text, "size")),
            help,
        ));
    };
    if (min..=max).contains(&found) {
        return None;
    }
    let (min, max) = (format_bytes(min), format_bytes(max));
    Some(Wrong::new(
        format!("cannot be \"{text}\""),
        format!("write a size from \"{min}\" to \"{max}\""),
    ))
}

fn complaint(text: &str, what: &str) -> String {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        "it has no unit".to_owned()
    } else {
        format!("it is not a {what}")
    }
}

/// Units as people write them elsewhere. A bare number is most often seconds, but a size of any unit.
type Units = &'static [(&'static [&'static str], u64)];

const DURATIONS: Units = &[
    (&["", "s", "sec", "secs", "second", "seconds"], 1_000),
    (&["ms", "msec", "millis", "millisecond", "milliseconds"], 1),
    (&["m", "min", "mins", "minute", "minutes"], 60_000),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600_000),
    (&["d", "day", "days"], 86_400_000),
    (&["w", "week", "weeks"], 7 * 86_400_000),
];

const SIZES: Units = &[
    (&["m", "mb", "mib", "meg", "mega"], 1 << 20),
    (&["b", "byte", "bytes"], 1),
    (&["k", "kb", "kib"], 1 << 10),
    (&["g", "gb", "gib"], 1 << 30),
    (&["t", "tb", "tib"], 1 << 40),
];

/// `"30"`, `"1.5 GB"`, `"1m30s"`, `"10 seconds"`: a sum of numbers with units, in the smallest unit.
fn guess(text: &str, units: Units) -> Option<u64> {
    let text = text.to_lowercase().replace([' ', '_'], "");
    let mut rest = text.as_str();
    let mut sum = 0.0;
    while !rest.is_empty() {
        let number = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let value: f64 = rest[..number].parse().ok()?;
        rest = &rest[number..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (_, factor) = units.iter().find(|(names, _)| names.contains(&&rest[..unit]))?;
        sum += value * *factor as f64;
        rest = &rest[unit..];
    }
    // Beyond that, or finer than the smallest unit, the number would not be what was meant.
    (sum > 0.0 && sum < 1e15 && sum.fract() == 0.0).then_some(sum as u64)
}
