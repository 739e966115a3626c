//! Durations and sizes as people write them: `"250ms"`, `"10s"`, `"5m"`, `"1h"`, `"1d"`; `"64KiB"`, `"10MiB"`, `"1GiB"`.

use std::time::Duration;

/// Serde form of a [`Duration`]: the text that banyan.toml uses.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&super::format_duration(*value))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_duration(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a duration such as \"10s\"")))
    }
}

/// The same of a [`Duration`] that may be absent.
pub mod duration_if_any {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::duration::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let parse = |text: String| {
            super::parse_duration(&text).ok_or_else(|| {
                serde::de::Error::custom(format!("`{text}` is not a duration such as \"10s\""))
            })
        };
        text.map(parse).transpose()
    }
}

/// `None` when the text is not a whole number followed by ms, s, m, h or d.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..split].parse().ok()?;
    let milliseconds = match &text[split..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

/// The shortest exact form in one unit; below a millisecond is cut off.
pub fn format_duration(value: Duration) -> String {
    let ms = value.as_millis();
    if ms == 0 {
        return "0s".to_owned();
    }
    for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if ms >= unit && ms.is_multiple_of(unit) {
            return format!("{}{name}", ms / unit);
        }
    }
    format!("{ms}ms")
}

/// `None` when the text is not a whole number followed by B, KiB, MiB, GiB or TiB.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..split].parse().ok()?;
    let factor = match &text[split..] {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// The shortest exact form in one unit.
pub fn format_bytes(value: u64) -> String {
    for (shift, name) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if value >= 1 << shift && value.is_multiple_of(1 << shift) {
            return format!("{}{name}", value >> shift);
        }
    }
    format!("{value}B")
}
