//! From a repository to a data directory that starts: files copied, log replayed to the wanted moment, promoted, stopped.
//!
//! The log is replayed here and not at the next start, so that a moment that cannot be reached is said at once. Needs the
//! repository and PostgreSQL's programs, no controller and no other server.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::moment::moment;
use super::program::{self, RepositoryError, reason};
use super::scratch::{Folder, Program, Scratch};
use super::{Backup, Catalogue};
use crate::account;
use crate::child::RunAs;
use crate::engine::files::{Owner, create_private_dir, write_private};
use crate::engine::identity;
use crate::engine::postgres::PostgresError;

const LOOK: Duration = Duration::from_millis(100);

/// Until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// All that is stored.
    Latest,
    /// Nothing that was committed after it. Unix time in µs.
    At(u64),
}

/// What is to be restored, and where to.
#[derive(Clone, Debug)]
pub struct Restore {
    pub repository: PathBuf,
    pub stanza: String,
    pub target: Target,
    /// Must not exist, or be empty; its parent must exist.
    pub into: PathBuf,
    /// Folder of `postgres`.
    pub bin: PathBuf,
    pub run_as: RunAs,
    pub processes: u32,
    /// `.banyan/secrets`: the administrator gets this installation's password.
    pub secrets: PathBuf,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    Copying {
        label: String,
        percent: f64,
    },
    /// Unix time in ms of the last commit so far.
    Replaying {
        until_ms: Option<u64>,
    },
    Checking(&'static str),
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    pub backup: Backup,
    /// Unix time in ms of the last commit that is in it; `None`: the backup was not gone beyond.
    pub last_commit_ms: Option<u64>,
    pub timeline: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error("{0} holds no backup of this database")]
    NoBackups(PathBuf),
    #[error("{} is before the end of the first backup; the first moment that can be restored is {}", moment(*.wanted_us), moment(*.first_us))]
    BeforeFirst { wanted_us: u64, first_us: u64 },
    #[error("{} is in the future", moment(*.0))]
    Future(u64),
    #[error("{0} is not empty; choose a folder that is, or one that does not exist yet")]
    NotEmpty(PathBuf),
    #[error("{0} does not exist; make it first")]
    NoParent(PathBuf),
    #[error("user {user} cannot enter {path}, and PostgreSQL runs as that user; choose another place")]
    Unreachable { user: String, path: PathBuf },
    #[error("pgBackRest could not copy the files: {0}")]
    Copy(String),
    #[error(
        "the stored log ends before {}{}; `--latest` restores all that is stored",
        moment(*.wanted_us),
        .last.as_ref().map(|last| format!(": its last commit is of {last}")).unwrap_or_default()
    )]
    LogEnds { wanted_us: u64, last: Option<String> },
    #[error("PostgreSQL could not replay the log:\n{0}")]
    Replay(String),
    #[error("a query to the restored server failed")]
    Query(#[source] tokio_postgres::Error),
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    #[error("{program} failed:\n{said}")]
    Check { program: &'static str, said: String },
}

pub(super) fn failed<'a>(operation: &'static str, path: &'a Path) -> impl Fn(io::Error) -> RestoreError + 'a {
    move |source| {
        RestoreError::Postgres(PostgresError::File {
            operation,
            path: path.to_owned(),
            source,
        })
    }
}

/// The backup to begin with: the last one that ended before the wanted moment.
pub fn choose<'a>(
    catalogue: &'a Catalogue,
    target: Target,
    now_ms: u64,
    repository: &Path,
) -> Result<&'a Backup, RestoreError> {
    let (Some(first), Some(last)) = (catalogue.backups.first(), catalogue.backups.last()) else {
        return Err(RestoreError::NoBackups(repository.to_owned()));
    };
    let Target::At(wanted_us) = target else {
        return Ok(last);
    };
    if wanted_us / 1000 > now_ms {
        return Err(RestoreError::Future(wanted_us));
    }
    let before = |backup: &&Backup| backup.stop_ms * 1000 <= wanted_us;
    let found = catalogue.backups.iter().rev().find(before);
    found.ok_or(RestoreError::BeforeFirst {
        wanted_us,
        first_us: first.stop_ms * 1000,
    })
}

impl Restore {
    /// What is to be begun with, before anything is touched.
    pub fn check(&self, now_ms: u64) -> Result<Backup, RestoreError> {
        self.check_place()?;
        let catalogue = program::catalogue(&self.repository, &self.stanza, &self.run_as)?;
        choose(&catalogue, self.target, now_ms, &self.repository).cloned()
    }

    fn check_place(&self) -> Result<(), RestoreError> {
        let parent = self.into.parent().unwrap_or(Path::new("/"));
        if !parent.is_dir() {
            return Err(RestoreError::NoParent(parent.to_owned()));
        }
        if let RunAs::User(user) = &self.run_as
            && let Some(account) = account::find(user)
            && !identity::reaches(parent, &account)
        {
            return Err(RestoreError::Unreachable {
                user: user.clone(),
                path: parent.to_owned(),
            });
        }
        match fs::read_dir(&self.into).map(|entries| entries.count()) {
            Ok(0) => Ok(()),
            Ok(_) => Err(RestoreError::NotEmpty(self.into.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("look into", &self.into)(error)),
        }
    }

    /// On failure nothing is left in the folder.
    pub async fn run(
        &self,
        backup: Backup,
        say: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Restored, RestoreError> {
        let done = async {
            let (scratch, restored) = self.recover(backup, say).await?;
            self.hand_over(scratch).await?;
            Ok(restored)
        };
        let done = done.await;
        if done.is_err() {
            self.clear();
        }
        done
    }

    /// Nobody else's: it was empty, or not there.
    pub(super) fn clear(&self) {
        if let Err(error) = fs::remove_dir_all(&self.into)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.into.display(), %error, "what was restored could not be deleted");
        }
    }

    /// Copies, replays, and leaves the server running as a primary of its own.
    pub(super) async fn recover(
        &self,
        backup: Backup,
        say: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(Scratch, Restored), RestoreError> {
        // An empty one may be anybody's.
        match fs::remove_dir(&self.into) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("take the place of", &self.into)(error));
            }
            _ => {}
        }
        let owner = Owner::of(&self.run_as);
        create_private_dir(&self.into, &owner).map_err(failed("create", &self.into))?;
        let folder = Folder::make(&self.run_as).map_err(failed("create a folder in", Path::new("/tmp")))?;
        self.copy(&backup, &folder, say).await?;
        let mut scratch = Scratch::start(&self.bin, &self.into, &self.run_as, folder)
            .map_err(failed("start PostgreSQL in", &self.into))?;
        let restored = self.replay(&mut scratch, backup, say).await?;
        Ok((scratch, restored))
    }

    async fn copy(
        &self,
        backup: &Backup,
        folder: &Folder,
        say: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), RestoreError> {
        let mut arguments = vec![
            "--no-config".to_owned(),
            format!("--stanza={}", self.stanza),
            format!("--repo1-path={}", self.repository.display()),
            format!("--pg1-path={}", self.into.display()),
            format!("--lock-path={}", folder.path().display()),
            format!("--process-max={}", self.processes),
            format!("--set={}", backup.label),
            "--log-level-file=off".to_owned(),
            "--log-level-console=detail".to_owned(),
            "--log-timestamp=n".to_owned(),
        ];
        if let Target::At(us) = self.target {
            arguments.extend([
                "--type=time".to_owned(),
                format!("--target={}", moment(us)),
                "--target-action=promote".to_owned(),
            ]);
        }
        arguments.push("restore".to_owned());
        let mut program = Program::start(Path::new(program::PROGRAM), &arguments, &self.run_as, folder)
            .map_err(failed("run", Path::new(program::PROGRAM)))?;
        loop {
            let ended = program
                .ended()
                .map_err(failed("wait for", Path::new(program::PROGRAM)))?;
            let said = program.said();
            match ended {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(RestoreError::Copy(
                        reason(&said).unwrap_or_else(|| status.to_string()),
                    ));
                }
                None => say(Progress::Copying {
                    label: backup.label.clone(),
                    percent: percent(&said).unwrap_or(0.0),
                }),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn replay(
        &self,
        scratch: &mut Scratch,
        backup: Backup,
        say: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Restored, RestoreError> {
        loop {
            if scratch
                .ended()
                .map_err(failed("wait for the server in", &self.into))?
            {
                return Err(self.why_not_replayed(&scratch.said()));
            }
            // Refused until it has read enough to be whole.
            if let Ok(mut session) = scratch.session().await {
                let rows = session
                    .rows(
                        "SELECT pg_is_in_recovery(), \
                         (extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000)::int8",
                        &[],
                    )
                    .await;
                if let Some(row) = rows.ok().as_ref().and_then(|rows| rows.first()) {
                    let until_ms = row.get::<_, Option<i64>>(1).map(i64::cast_unsigned);
                    if !row.get::<_, bool>(0) {
                        let timeline = timeline(&mut session).await?;
                        return Ok(Restored {
                            backup,
                            last_commit_ms: until_ms,
                            timeline,
                        });
                    }
                    say(Progress::Replaying { until_ms });
                }
            } else {
                say(Progress::Replaying { until_ms: None });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn why_not_replayed(&self, said: &str) -> RestoreError {
        if let (Target::At(wanted_us), true) = (
            self.target,
            said.contains("recovery ended before configured recovery target was reached"),
        ) {
            let last = said
                .lines()
                .rev()
                .find_map(|line| line.split_once("last completed transaction was at log time "));
            return RestoreError::LogEnds {
                wanted_us,
                last: last.map(|(_, time)| time.trim().to_owned()),
            };
        }
        let tail: Vec<&str> = said.lines().rev().take(12).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        RestoreError::Replay(tail.join("\n"))
    }

    /// Takes away what was for the replay, and stops it: what is left is a data directory like any other.
    async fn hand_over(&self, scratch: Scratch) -> Result<(), RestoreError> {
        let verifier = super::super::secret::verifier(&self.secrets, super::super::SUPERUSER)?;
        let mut session = scratch.session().await.map_err(RestoreError::Query)?;
        session
            .run(&format!(
                "ALTER ROLE {} PASSWORD '{verifier}'",
                super::super::SUPERUSER
            ))
            .await
            .map_err(RestoreError::Query)?;
        for name in [
            "restore_command",
            "recovery_target_time",
            "recovery_target_action",
            "recovery_target_timeline",
            "recovery_target",
        ] {
            session
                .run(&format!("ALTER SYSTEM RESET {name}"))
                .await
                .map_err(RestoreError::Query)?;
        }
        drop(session);
        scratch
            .stop()
            .await
            .map_err(failed("stop the server in", &self.into))?;
        self.detach()
    }

    /// Started by hand it must neither store log as if it were the other one, nor wait for that one's replicas.
    fn detach(&self) -> Result<(), RestoreError> {
        let path = self.into.join("banyan.conf");
        let mut text = fs::read_to_string(&path).map_err(failed("read", &path))?;
        text.push_str("# Of a restored copy, until Banyan starts it:\narchive_mode = 'off'\nsynchronous_standby_names = ''\n");
        write_private(&path, text.as_bytes(), &Owner::of(&self.run_as)).map_err(failed("write", &path))
    }
}

async fn timeline(session: &mut super::super::control::Session) -> Result<u32, RestoreError> {
    let rows = session
        .rows(
            "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int4",
            &[],
        )
        .await
        .map_err(RestoreError::Query)?;
    Ok(rows.first().map_or(0, |row| row.get::<_, i32>(0).cast_unsigned()))
}

/// `(8KB, 45.67%)` in the last line that has one.
pub fn percent(said: &str) -> Option<f64> {
    let share = |line: &str| {
        let (before, _) = line.split_once("%)")?;
        before.rsplit([' ', ',']).next()?.parse().ok()
    };
    said.lines().rev().find_map(share)
}
