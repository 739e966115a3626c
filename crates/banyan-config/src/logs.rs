//! `[logs]`: what is kept of the logs of all processes.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::read::Reader;
use crate::report::Report;
use crate::units::{duration, format_bytes};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSettings {
    /// A larger file is set aside. Default 32 MiB.
    pub file_bytes: u64,
    /// Older lines go. Default 30 days.
    #[serde(with = "duration")]
    pub keep: Duration,
    /// Of all files together; the oldest go, whatever their age. Default 1 GiB.
    pub total_bytes: u64,
    /// Where they go; `None`: they are deleted. As written, relative to banyan.toml; absolute once it is in a topology.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<PathBuf>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            file_bytes: 32 << 20,
            keep: Duration::from_secs(30 * 24 * 3600),
            total_bytes: 1 << 30,
            archive: None,
        }
    }
}

pub(crate) fn build(table: &Reader<'_>, report: &Report) -> LogSettings {
    let settings = LogSettings {
        file_bytes: table.bytes("file"),
        keep: table.duration("keep"),
        total_bytes: table.bytes("size"),
        archive: table.text("archive").map(|path| PathBuf::from(path.value)),
    };
    let written = table.entry("size").or_else(|| table.entry("file"));
    let least = settings.file_bytes.saturating_mul(FILES);
    if let Some(entry) = written.filter(|_| settings.total_bytes < least) {
        let message = format!(
            "`size` is {}, less than {FILES} files of {}",
            format_bytes(settings.total_bytes),
            format_bytes(settings.file_bytes),
        );
        let help = format!(
            "write size = \"{}\" or more, or a smaller `file`",
            format_bytes(least)
        );
        report.error(&entry.node.place, message, &[&help]);
    }
    settings
}

/// A process that writes has a file under way and one that was set aside; two of them are the least that is of use.
const FILES: u64 = 4;
