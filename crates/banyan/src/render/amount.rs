//! Numbers for people: bytes, durations, rates.

use std::time::Duration;

/// `812 KiB`, `43 MiB`, `1.2 GiB`.
pub(crate) fn bytes(value: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    let float = value as f64;
    match value {
        0..1024 => format!("{value} B"),
        1024..1_048_576 => format!("{:.0} KiB", float / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.0} MiB", float / 1_048_576.0),
        _ => format!("{:.1} GiB", float / 1_073_741_824.0),
    }
}

/// `8 ms`, `1.2 s`, `75 s`, `12 min`: two digits are enough.
pub(crate) fn took(value: Duration) -> String {
    match value.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        ms @ 1000..10_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        ms @ 10_000..600_000 => format!("{} s", ms / 1000),
        ms => format!("{} min", ms / 60_000),
    }
}

/// How long something has been so, in one or two units: `5s`, `3m 20s`, `2h 5m`, `3d 4h`.
pub(crate) fn age(value: Duration) -> String {
    let seconds = value.as_secs();
    let two = |big: u64, big_unit, small: u64, small_unit| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit} {small}{small_unit}"),
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => two(seconds / 60, "m", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// One digit below ten, none above.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second < 9.95 {
        format!("{per_second:.1}")
    } else {
        format!("{per_second:.0}")
    }
}

/// Latency as the access log has it.
pub(crate) fn latency_ms(ms: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time, shown with two digits"
    )]
    let us = (ms.max(0.0) * 1000.0) as u64;
    latency_us(us)
}

/// Latency from microseconds: `0.8 ms`, `24 ms`, `1.3 s`.
pub(crate) fn latency_us(us: u64) -> String {
    match us {
        0..10_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        10_000..1_000_000 => format!("{} ms", us / 1000),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        assert_eq!(
            [bytes(900), bytes(45 << 20), bytes(3 << 29)],
            ["900 B", "45 MiB", "1.5 GiB"]
        );
        let ms = Duration::from_millis;
        assert_eq!(
            [took(ms(8)), took(ms(1250)), took(ms(75_000))],
            ["8 ms", "1.2 s", "75 s"]
        );
        let s = Duration::from_secs;
        assert_eq!(
            [age(s(5)), age(s(200)), age(s(7200)), age(s(273_600))],
            ["5s", "3m 20s", "2h", "3d 4h"]
        );
        assert_eq!([rate(0.0), rate(9.96), rate(211.4)], ["0.0", "10", "211"]);
        assert_eq!(
            [latency_us(812), latency_us(24_100), latency_us(1_310_000)],
            ["0.8 ms", "24 ms", "1.3 s"]
        );
    }
}
