//! `[database.backup]`: read, and what it needs of the other keys.

use std::path::PathBuf;
use std::time::Duration;

use crate::backup::BackupSettings;
use crate::model::ManagedDatabase;
use crate::read::Reader;
use crate::report::Report;
use crate::units::format_duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// PostgreSQL's settings that backups depend on.
const TAKEN: [&str; 5] = [
    "archive_mode",
    "archive_command",
    "archive_library",
    "archive_timeout",
    "restore_command",
];

/// `None`: there are to be none, or an error says what is missing.
pub(super) fn build(database: &Reader<'_>, report: &Report) -> Option<Box<BackupSettings>> {
    database.entry("backup")?;
    let table = database.table("backup");
    let full = table.duration("full");
    let written = table.duration_if_any("differential");
    let differential = written.or((DAY < full).then_some(DAY));
    let incremental = table.duration_if_any("incremental");
    let longer = |name: &str, interval: Option<Duration>, above: &str, limit: Duration| {
        if let (Some(interval), Some(written)) = (interval, table.text(name))
            && interval >= limit
        {
            let limit = format_duration(limit);
            report.error(
                &written.place,
                format!("`{name}` has no effect: it is not less than `{above}` ({limit})"),
                &[&format!("write less than \"{limit}\", or remove this line")],
            );
        }
    };
    longer("differential", written, "full", full);
    match differential {
        Some(differential) => longer("incremental", incremental, "differential", differential),
        None => longer("incremental", incremental, "full", full),
    }
    Some(Box::new(BackupSettings {
        path: PathBuf::from(table.text("path")?.value),
        full,
        differential,
        incremental,
        at: table.text_or_default("at").parse().ok()?,
        keep: table.number("keep"),
        limit: table.duration("limit"),
        processes: table.number("processes"),
        archive_timeout: table.duration("archive_timeout"),
        queue_bytes: table.bytes("queue"),
    }))
}

/// Settings of the user's own that leave nothing to store.
pub(super) fn check(table: &Reader<'_>, database: &ManagedDatabase, report: &Report) {
    if database.backup.is_none() {
        return;
    }
    for entry in table.map("settings").0 {
        let minimal = database.settings.get(&entry.name).map(String::as_str) == Some("minimal");
        let help = match entry.name.as_str() {
            "archive_timeout" => "write it in [database.backup]",
            "wal_level" if minimal => "remove this line: Banyan writes wal_level = replica",
            name if TAKEN.contains(&name) => "remove this line, or [database.backup]",
            _ => continue,
        };
        let message = format!("`{}` is decided by [database.backup]", entry.name);
        report.error(&entry.place, message, &[help]);
    }
}
