//! `banyan backup …` and `banyan restore`

use std::path::PathBuf;

use banyan_supervisor::engine::postgres::backup::moment::parse_moment;
use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct Backup {
    #[command(subcommand)]
    pub(crate) action: BackupAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackupAction {
    /// Make a backup now, beside whatever else goes on
    #[command(after_help = "Example:\n  banyan backup now --kind full")]
    Now {
        /// full, differential or incremental [default: the one that is due next]
        #[arg(long, value_name = "KIND")]
        kind: Option<BackupKind>,
    },
    /// What there is, and which moments can be restored
    #[command(after_help = "Example:\n  banyan backup list --json | jq .backups")]
    List,
    /// Restore the last backup and all log since into a folder of its own, start it, look at every page and index, delete it
    #[command(after_help = "Example:\n  banyan backup verify")]
    Verify {
        /// Where there is room for a copy of the database [default: beside the data]
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackupKind {
    Full,
    Differential,
    Incremental,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The moment: `2026-11-22 07:05:40` (UTC), `2026-11-22T07:05:40.5+01:00`
    #[arg(long, value_name = "TIME", value_parser = moment, required_unless_present = "latest")]
    pub(crate) at: Option<u64>,
    /// All that is stored
    #[arg(long, conflicts_with = "at")]
    pub(crate) latest: bool,
    /// A folder that is empty or does not exist
    #[arg(long, value_name = "DIR", required_unless_present = "in_place")]
    pub(crate) into: Option<PathBuf>,
    /// The installation's own place, where `banyan up` finds it; nothing may run or lie there
    #[arg(long, conflicts_with = "into")]
    pub(crate) in_place: bool,
}

/// Unix time in µs.
fn moment(text: &str) -> Result<u64, String> {
    parse_moment(text).map_err(|error| error.to_string())
}
