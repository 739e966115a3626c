//! pgBackRest asked at once, beside any server: what a repository holds, and its words when it fails.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Catalogue, InfoError};
use crate::account::{self, Account};
use crate::child::RunAs;
use crate::engine::identity;

/// Where Debian's package puts it.
pub const PROGRAM: &str = "/usr/bin/pgbackrest";

#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    #[error("pgBackRest is not installed; run: sudo apt-get install pgbackrest")]
    NotInstalled,
    #[error("failed to run {PROGRAM}")]
    Run(#[source] io::Error),
    #[error("pgBackRest could not read {path}: {reason}")]
    Failed { path: PathBuf, reason: String },
    #[error(transparent)]
    Info(#[from] InfoError),
}

pub fn is_installed() -> bool {
    Path::new(PROGRAM).exists()
}

/// The backups of one database. Blocking, some hundredths of a second.
pub fn catalogue(repository: &Path, stanza: &str, run_as: &RunAs) -> Result<Catalogue, RepositoryError> {
    if !is_installed() {
        return Err(RepositoryError::NotInstalled);
    }
    let arguments = [
        "--no-config".to_owned(),
        format!("--stanza={stanza}"),
        format!("--repo1-path={}", repository.display()),
        "--log-level-file=off".to_owned(),
        "--log-level-console=off".to_owned(),
        "--log-level-stderr=error".to_owned(),
        "--output=json".to_owned(),
        "info".to_owned(),
    ];
    let output = command(Path::new(PROGRAM), run_as)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(RepositoryError::Run)?;
    if output.status.success() {
        return Ok(Catalogue::parse(&String::from_utf8_lossy(&output.stdout))?);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(RepositoryError::Failed {
        path: repository.to_owned(),
        reason: reason(&said).unwrap_or_else(|| output.status.to_string()),
    })
}

/// A program as the server's user, with nothing of this process's environment.
pub(super) fn command(program: &Path, run_as: &RunAs) -> Command {
    #[expect(
        clippy::disallowed_methods,
        reason = "a person's own command, which it ends with; nothing to supervise"
    )]
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/");
    if let RunAs::User(user) = run_as
        && let Some(account) = account::find(user)
    {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

/// pgBackRest's own words for what failed, with its hints, on one line.
pub fn reason(said: &str) -> Option<String> {
    let mut lines = said
        .lines()
        .map(str::trim)
        .skip_while(|line| !line.contains("ERROR:"));
    let first = lines.next()?;
    let (_, first) = first.split_once("ERROR:")?;
    // `[028]: ` is its number.
    let first = first.trim();
    let first = first
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]: "))
        .map_or(first, |(_, words)| words);
    let more = lines
        .take_while(|line| !line.contains(" INFO:") && !line.contains("INFO: ") && !line.starts_with('P'));
    let all: Vec<&str> = std::iter::once(first)
        .chain(more)
        .filter(|line| !line.is_empty())
        .collect();
    Some(all.join("; "))
}

/// Why there can be no repository for a database at `path`; `None`: there can. Looks, and changes nothing.
///
/// `has_data`: there is a data directory already.
pub fn problem(path: &Path, state: &Path, stanza: &str, run_as: &RunAs, has_data: bool) -> Option<String> {
    if !is_installed() {
        return Some(RepositoryError::NotInstalled.to_string());
    }
    let shown = path.display();
    if path.starts_with(state) {
        return Some(format!(
            "{shown} lies in the state folder, which `banyan destroy` deletes; choose a folder outside of {}",
            state.display()
        ));
    }
    if let RunAs::User(user) = run_as
        && let Some(account) = account::find(user)
        && let Some(problem) = unreachable(path, &account)
    {
        return Some(problem);
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        // A disk that is away is no reason not to start what runs with it: no backup is made then.
        Err(_) if has_data => return None,
        Err(error) => return Some(format!("{shown} cannot be read: {error}")),
    };
    let names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let repository = names.iter().any(|name| name == "archive" || name == "backup");
    if !names.is_empty() && !repository && names != ["lost+found"] {
        return Some(format!(
            "{shown} holds other files; choose an empty folder, or one that does not exist yet"
        ));
    }
    let known = path.join("backup").join(stanza).join("backup.info").exists();
    (known && !has_data).then(|| {
        format!(
            "{shown} holds backups of this database, and there is no data here: a new, empty database would take their \
             place. Bring the data back with `banyan restore --latest --in-place`, or choose another folder"
        )
    })
}

/// The server's user could not come to it.
fn unreachable(path: &Path, account: &Account) -> Option<String> {
    let there = path.ancestors().find(|folder| folder.exists())?;
    let enters = identity::reaches(there, account);
    (!enters).then(|| {
        format!(
            "user {} cannot enter {}, and PostgreSQL runs as that user; choose a folder elsewhere, for example \
             /var/backups/NAME",
            account.name,
            there.display()
        )
    })
}
