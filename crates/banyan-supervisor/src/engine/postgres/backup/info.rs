//! What lies in a repository, as `pgbackrest info --output=json` says it.
//!
//! <https://pgbackrest.org/command.html#command-info>

use serde::{Deserialize, Serialize};

use super::Kind;

/// One backup that is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// `20261122-030000F_20261123-030000D`
    pub label: String,
    pub kind: Kind,
    /// Unix time in ms. It can be restored to any moment from `stop_ms` on.
    pub start_ms: u64,
    pub stop_ms: u64,
    /// Of the database's files.
    pub size_bytes: u64,
    /// What it added to the repository.
    pub stored_bytes: u64,
    /// Pages whose checksum was wrong when they were copied.
    pub has_broken_pages: bool,
}

/// The pieces of log that are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    pub first: String,
    pub last: String,
}

/// All of one database; oldest backup first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    pub backups: Vec<Backup>,
    pub archive: Option<Archive>,
    /// A backup is being made right now.
    pub busy: bool,
    /// Which PostgreSQL cluster it is of; `None`: there is nothing yet.
    pub system_identifier: Option<u64>,
    /// Major version of PostgreSQL.
    pub version: Option<u32>,
}

#[derive(Debug, thiserror::Error)]
#[error("pgBackRest's answer is not understood")]
pub struct InfoError(#[from] serde_json::Error);

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Stanza {
    #[serde(default)]
    archive: Vec<StanzaArchive>,
    #[serde(default)]
    backup: Vec<StanzaBackup>,
    #[serde(default)]
    db: Vec<Db>,
    status: Status,
}

#[derive(Deserialize)]
struct StanzaArchive {
    min: Option<String>,
    max: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Db {
    system_id: u64,
    version: String,
}

#[derive(Deserialize)]
struct Status {
    lock: Lock,
}

#[derive(Deserialize)]
struct Lock {
    backup: Held,
}

#[derive(Deserialize)]
struct Held {
    held: bool,
}

#[derive(Deserialize)]
struct StanzaBackup {
    label: String,
    #[serde(rename = "type")]
    kind: String,
    timestamp: Timestamp,
    info: Info,
    #[serde(default)]
    error: Option<bool>,
}

#[derive(Deserialize)]
struct Timestamp {
    start: u64,
    stop: u64,
}

#[derive(Deserialize)]
struct Info {
    size: u64,
    repository: InRepository,
}

#[derive(Deserialize)]
struct InRepository {
    #[serde(default)]
    delta: u64,
}

impl Catalogue {
    pub(super) fn parse(text: &str) -> Result<Self, InfoError> {
        let stanzas: Vec<Stanza> = serde_json::from_str(text)?;
        let Some(stanza) = stanzas.into_iter().next() else {
            return Ok(Self::default());
        };
        let first = stanza.archive.iter().find_map(|archive| archive.min.clone());
        let last = stanza
            .archive
            .iter()
            .rev()
            .find_map(|archive| archive.max.clone());
        Ok(Self {
            backups: stanza.backup.into_iter().filter_map(Backup::from_info).collect(),
            archive: first.zip(last).map(|(first, last)| Archive { first, last }),
            busy: stanza.status.lock.backup.held,
            system_identifier: stanza.db.last().map(|db| db.system_id),
            version: stanza.db.last().and_then(|db| db.version.parse().ok()),
        })
    }

    /// The last one of this kind, or of one that copies more: what a schedule counts from.
    pub fn last_at_least(&self, kind: Kind) -> Option<&Backup> {
        self.backups.iter().rev().find(|backup| backup.kind <= kind)
    }
}

impl Backup {
    /// `None`: of a kind that is not known.
    fn from_info(found: StanzaBackup) -> Option<Self> {
        let kind = Kind::ALL.into_iter().find(|kind| kind.word() == found.kind)?;
        Some(Self {
            label: found.label,
            kind,
            start_ms: found.timestamp.start * 1000,
            // In whole seconds, cut off: what happened within the last one may be beyond the backup's end.
            stop_ms: (found.timestamp.stop + 1) * 1000,
            size_bytes: found.info.size,
            stored_bytes: found.info.repository.delta,
            has_broken_pages: found.error.unwrap_or(false),
        })
    }
}
