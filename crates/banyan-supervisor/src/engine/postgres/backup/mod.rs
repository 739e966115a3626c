//! Backups by pgBackRest: its files, its runs beside a server, what lies in its repository, and the way back.
//!
//! pgBackRest runs as the server's own user and logs in over TCP: it names no host of its own for a server on this
//! machine, so libpq takes `PGHOST`, and the password is in a file that `PGPASSFILE` names. What a server does with full
//! pieces of log is a command in its settings; pieces are stored one by one, each acknowledged by the repository: a folder
//! on this machine needs no queue of pgBackRest's own (`archive-async`), and PostgreSQL keeps what is not stored yet.
//! A backup is not packed into bundles (`repo-bundle`): pgBackRest goes on from one that was cut short only without.

pub mod archiving;
mod info;
pub mod moment;
pub mod program;
pub mod restore;
mod scratch;
pub mod verify;

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_config::BackupSettings;
use serde::{Deserialize, Serialize};

use super::init::with_suffix;
use super::provision::BACKUP_ROLE;
use super::{PostgresError, Server, io_error, secret};
use crate::child::{ChildId, ChildSpec, Handle};
use crate::engine::files::{Owner, write_private};

pub use info::{Archive, Backup, Catalogue, InfoError};
pub use program::PROGRAM;

/// A run of `stanza-create` or `check` asks the server some questions and waits for one piece of log.
const ASK_LIMIT: Duration = Duration::from_secs(120);

/// What a backup copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Everything.
    Full,
    /// What changed since the last full one.
    Differential,
    /// What changed since the last one of any kind.
    Incremental,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Full, Self::Differential, Self::Incremental];

    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Differential => "differential",
            Self::Incremental => "incremental",
        }
    }

    /// pgBackRest's word.
    fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Differential => "diff",
            Self::Incremental => "incr",
        }
    }
}

/// Name of the child that makes a backup: one at a time.
pub fn child_id() -> ChildId {
    ChildId("backup".to_owned())
}

/// What pgBackRest is told about the server whose data this is.
pub(super) fn config_path(data: &Path) -> PathBuf {
    with_suffix(data, ".pgbackrest.conf")
}

fn password_path(data: &Path) -> PathBuf {
    with_suffix(data, ".backup.pgpass")
}

/// pgBackRest's locks: one folder for all servers of a database, so that one backup runs at a time.
fn lock_folder(data: &Path) -> PathBuf {
    data.parent().unwrap_or(Path::new("/")).join("pgbackrest")
}

/// What a server does with a full piece of log. `%p` is PostgreSQL's, the quotes are a shell's: PostgreSQL starts one.
pub(super) fn archive_command(data: &Path, stanza: &str) -> String {
    let quoted = config_path(data)
        .display()
        .to_string()
        .replace('\'', "'\\''")
        .replace('%', "%%");
    format!("{PROGRAM} --config='{quoted}' --stanza={stanza} archive-push \"%p\"")
}

/// pgBackRest's configuration: pure. Nothing secret is in it.
fn config_text(settings: &BackupSettings, server: &Server) -> String {
    let mut text = String::from("# Written by Banyan; changes here are lost.\n[global]\n");
    let lines = [
        ("repo1-path", settings.path.display().to_string()),
        ("repo1-retention-full", settings.keep.to_string()),
        ("lock-path", lock_folder(&server.data).display().to_string()),
        ("log-level-file", "off".to_owned()),
        ("log-level-console", "detail".to_owned()),
        ("log-timestamp", "n".to_owned()),
        ("compress-type", "zst".to_owned()),
        ("process-max", settings.processes.to_string()),
        ("start-fast", "y".to_owned()),
        // A server that was killed in a backup must not stand in the way of the next.
        ("stop-auto", "y".to_owned()),
        ("archive-push-queue-max", settings.queue_bytes.to_string()),
        ("exclude", "banyan.pgpass".to_owned()),
    ];
    for (name, value) in lines {
        // Infallible: writing to a string.
        writeln!(text, "{name}={value}").ok();
    }
    let of_server = [
        ("pg1-path", server.data.display().to_string()),
        ("pg1-port", server.port().to_string()),
        ("pg1-user", BACKUP_ROLE.to_owned()),
        ("pg1-database", "postgres".to_owned()),
    ];
    writeln!(text, "\n[{}]", server.stanza()).ok();
    for (name, value) in of_server {
        writeln!(text, "{name}={value}").ok();
    }
    text
}

/// Files of backups beside a data directory.
pub(super) fn beside(data: &Path) -> [PathBuf; 2] {
    [config_path(data), password_path(data)]
}

/// Written with the server's own settings, which refer to them.
pub(super) fn configure(server: &Server) -> Result<(), PostgresError> {
    let Some(settings) = &server.database.backup else {
        return Ok(());
    };
    let owner = server.owner();
    let write = |path: &Path, text: &str| {
        write_private(path, text.as_bytes(), &owner).map_err(io_error("write", path))
    };
    write(&config_path(&server.data), &config_text(settings, server))?;
    let password = secret::password(&server.secrets, BACKUP_ROLE)?;
    write(
        &password_path(&server.data),
        &format!("*:*:*:{BACKUP_ROLE}:{password}\n"),
    )?;
    make_folder(&lock_folder(&server.data), &owner)
}

/// Makes it for the server's user if it is not there.
fn make_folder(path: &Path, owner: &Owner) -> Result<(), PostgresError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(parent);
    made.map_err(io_error("create", parent))?;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => owner.take(path).map_err(io_error("give away", path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io_error("create", path)(error)),
    }
}

impl Server {
    /// What pgBackRest calls the database: the same for all its servers, in all their lives.
    pub fn stanza(&self) -> &str {
        &self.database.name
    }

    /// Makes the repository ready for this database; one that is, stays as it is. `Err`: it is another database's, or
    /// cannot be written.
    pub async fn prepare_backups(&self, handle: &Handle) -> Result<(), PostgresError> {
        let Some(settings) = &self.database.backup else {
            return Ok(());
        };
        make_folder(&settings.path, &self.owner())?;
        configure(self)?;
        self.archives().await?;
        self.tell_pgbackrest(handle, "stanza-create").await
    }

    /// Writes a piece of log and waits until it is stored.
    pub async fn check_backups(&self, handle: &Handle) -> Result<(), PostgresError> {
        self.tell_pgbackrest(handle, "check").await
    }

    async fn tell_pgbackrest(&self, handle: &Handle, word: &'static str) -> Result<(), PostgresError> {
        let id = ChildId("pgbackrest".to_owned());
        let spec = self.pgbackrest(id, vec![word.to_owned()]);
        let outcome = handle.run(spec, ASK_LIMIT).await?;
        if outcome.success {
            return Ok(());
        }
        Err(PostgresError::Backup {
            what: word,
            reason: program::reason(&outcome.log_tail).unwrap_or(outcome.exit),
        })
    }

    /// A backup as a child, for [`Handle::run`]. One that was cut short is gone on with.
    pub fn backup(&self, kind: Kind) -> ChildSpec {
        let arguments = vec![format!("--type={}", kind.word()), "backup".to_owned()];
        self.pgbackrest(child_id(), arguments)
    }

    fn pgbackrest(&self, id: ChildId, arguments: Vec<String>) -> ChildSpec {
        let fixed = [
            PROGRAM.to_owned(),
            format!("--config={}", config_path(&self.data).display()),
            format!("--stanza={}", self.stanza()),
        ];
        let env = [
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPASSFILE", password_path(&self.data).display().to_string()),
        ];
        let spec = self.spec();
        ChildSpec {
            log: spec.log.with_file_name(format!("{}.log", child_id())),
            ..spec.tool(id, fixed.into_iter().chain(arguments).collect(), env)
        }
    }
}

#[cfg(test)]
mod tests;
