//! `[logs]`: what is kept of the logs of all processes.

use super::Kind::{Bytes, Duration, Text};
use super::Rule::Path;
use super::{DAY, KIB, Key, MINUTE, TIB};

pub(super) static LOGS: &[Key] = &[
    Key::new(
        "file",
        Bytes {
            min: 64 * KIB,
            max: TIB,
        },
        "A process's log that is larger is set aside, and compressed when the next one is.",
    )
    .default("\"32MiB\"")
    .alias(&["rotate", "max_size", "max_file_size"]),
    Key::new(
        "keep",
        Duration {
            min: MINUTE,
            max: 3650 * DAY,
        },
        "Lines older than this go.",
    )
    .default("\"30d\"")
    .alias(&["retention", "max_age", "age"]),
    Key::new(
        "size",
        Bytes {
            min: 256 * KIB,
            max: 1024 * TIB,
        },
        "All logs together; above it the oldest go, however young they are.",
    )
    .default("\"1GiB\"")
    .alias(&["total", "cap", "limit", "max_total_size"]),
    Key::new(
        "archive",
        Text(Path),
        "Folder where what goes is moved, compressed, instead of being deleted; nothing clears it.",
    )
    .alias(&["cold", "archive_dir"]),
];
