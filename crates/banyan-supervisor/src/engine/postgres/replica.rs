//! A server that follows another: copied from it, or brought back to its history, and started behind it.
//!
//! It logs in by SCRAM; the password is in a file of mode 0600 in its data directory, as `primary_conninfo` may be read
//! by more people. What it has not got yet, the primary keeps for it in a slot of its name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_runtime::Clock;

use super::control::query;
use super::init::{clear, configure, end_earlier, put_in_place, unfinished, with_suffix};
use super::provision::{REPLICATION_ROLE, create_or_alter};
use super::{PostgresError, Server, io_error, secret, version};
use crate::child::{ChildId, ChildSpec, Handle};
use crate::engine::files::write_private;

/// A copy takes as long as there is data; one that takes longer than a day hangs.
const COPY_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// Data that was there before follows soon, or never.
const FOLLOW_LIMIT: Duration = Duration::from_secs(15);
const FOLLOW_FRESH_LIMIT: Duration = Duration::from_secs(600);
const AGAIN: Duration = Duration::from_millis(50);

const SIGNAL: &str = "standby.signal";
const PASSWORD_FILE: &str = "banyan.pgpass";

/// Where data is that a copy takes the place of, until the copy is whole.
pub(super) fn former(data: &Path) -> PathBuf {
    with_suffix(data, ".former")
}

/// What goes into `primary_conninfo`; `None`: it is the primary.
pub(super) fn connection(server: &Server, data: &Path) -> Result<Option<String>, PostgresError> {
    if server.is_primary() {
        return Ok(None);
    }
    let password_file = data.join(PASSWORD_FILE);
    write_password(server, &password_file)?;
    // In data's own folder: the folder may be renamed before it is used.
    let password_file = server.data.join(PASSWORD_FILE);
    let quoted = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
    Ok(Some(format!(
        "host=127.0.0.1 port={} user={REPLICATION_ROLE} application_name={} passfile='{}' connect_timeout=5 \
         keepalives_idle=5 keepalives_interval=2 keepalives_count=3",
        server.database.port(),
        server.node,
        quoted(&password_file.display().to_string()),
    )))
}

fn write_password(server: &Server, path: &Path) -> Result<(), PostgresError> {
    let password = secret::password(&server.secrets, REPLICATION_ROLE)?;
    let line = format!("*:*:*:{REPLICATION_ROLE}:{password}\n");
    write_private(path, line.as_bytes(), &server.owner()).map_err(io_error("write", path))
}

/// The file that keeps a replica one. Never taken away here: only a promotion does that.
pub(super) fn mark(server: &Server, data: &Path) -> Result<(), PostgresError> {
    let signal = data.join(SIGNAL);
    if server.is_primary() || is_marked(data) {
        return Ok(());
    }
    write_private(&signal, b"", &server.owner()).map_err(io_error("write", &signal))
}

/// It comes up as a replica, whatever it is to become.
pub(super) fn is_marked(data: &Path) -> bool {
    data.join(SIGNAL).exists()
}

impl Server {
    /// From whatever there is (nothing, a former replica's or primary's data, itself running) to a replica that streams.
    pub async fn follow(&self, handle: &Handle, primary: &Self) -> Result<(), PostgresError> {
        primary.keep_for_replicas().await?;
        if handle.status().await.iter().any(|child| child.id == self.id()) {
            self.reload().await?;
            return self.streams(primary, FOLLOW_LIMIT).await;
        }
        if version::of_data(&self.data)?.is_some() {
            match self.come_back(handle, primary).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::warn!(node = %self.node, %error, "its data cannot be used any more; it is copied anew");
                    handle.fence(&self.id()).await;
                }
            }
        }
        self.copy(handle, primary).await?;
        self.run(handle).await?;
        self.streams(primary, FOLLOW_FRESH_LIMIT).await
    }

    /// Points a running replica at another primary.
    pub async fn follow_now(&self) -> Result<(), PostgresError> {
        self.reload().await
    }

    /// With the data that is there: a replica's goes on, a primary's is rewound first.
    async fn come_back(&self, handle: &Handle, primary: &Self) -> Result<(), PostgresError> {
        self.check_place().await?;
        if !is_marked(&self.data) {
            self.rewind(handle, primary).await?;
        }
        configure(self, &self.data)?;
        self.run(handle).await?;
        self.streams(primary, FOLLOW_LIMIT).await
    }

    /// Starts what its files say it is, whether or not anybody is there to follow; returns when it answers.
    pub async fn come_up(&self, handle: &Handle) -> Result<(), PostgresError> {
        self.check_place().await?;
        configure(self, &self.data)?;
        self.run(handle).await?;
        self.answering(FOLLOW_LIMIT).await
    }

    /// Waits while it replays what it must before anybody may ask.
    async fn answering(&self, limit: Duration) -> Result<(), PostgresError> {
        let until = Clock.now() + limit;
        loop {
            match self.facts().await {
                Ok(_) => return Ok(()),
                Err(error) if Clock.now() > until => return Err(error),
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    async fn run(&self, handle: &Handle) -> Result<(), PostgresError> {
        handle.start(self.spec()).await?;
        let ready = handle.ready(&self.id()).await;
        if let Err(error) = ready {
            handle.fence(&self.id()).await;
            return Err(PostgresError::NotReady(error));
        }
        Ok(())
    }

    /// Back to where the primary's history and its own parted. What it had beyond that point is given up.
    async fn rewind(&self, handle: &Handle, primary: &Self) -> Result<(), PostgresError> {
        primary.write_checkpoint().await?;
        let password_file = self.data.join(PASSWORD_FILE);
        write_password(self, &password_file)?;
        let source = format!(
            "host=127.0.0.1 port={} user={REPLICATION_ROLE} dbname=postgres connect_timeout=10",
            primary.port()
        );
        let arguments = [
            format!("--target-pgdata={}", self.data.display()),
            format!("--source-server={source}"),
        ];
        let spec = self.tool("pg_rewind", arguments.into(), &password_file);
        end_earlier(spec.clone(), handle).await;
        let outcome = handle.run(spec, COPY_LIMIT).await?;
        if outcome.success {
            return Ok(());
        }
        Err(PostgresError::BaseBackup {
            node: self.node,
            exit: outcome.exit,
            log_tail: outcome.log_tail,
        })
    }

    async fn copy(&self, handle: &Handle, primary: &Self) -> Result<(), PostgresError> {
        let folder = unfinished(&self.data);
        let password_file = with_suffix(&self.data, ".pgpass");
        let arguments = [
            format!("--pgdata={}", folder.display()),
            "--host=127.0.0.1".to_owned(),
            format!("--port={}", primary.port()),
            format!("--username={REPLICATION_ROLE}"),
            "--no-password".to_owned(),
            "--wal-method=stream".to_owned(),
            format!("--slot={}", self.node),
            "--checkpoint=fast".to_owned(),
        ];
        let spec = self.tool("pg_basebackup", arguments.into(), &password_file);
        end_earlier(spec.clone(), handle).await;
        clear(&folder)?;
        crate::engine::files::create_private_dir(&folder, &self.owner())
            .map_err(io_error("create", &folder))?;
        write_password(self, &password_file)?;
        let outcome = handle.run(spec, COPY_LIMIT).await?;
        fs::remove_file(&password_file).map_err(io_error("delete", &password_file))?;
        if !outcome.success {
            clear(&folder)?;
            return Err(PostgresError::BaseBackup {
                node: self.node,
                exit: outcome.exit,
                log_tail: outcome.log_tail,
            });
        }
        configure(self, &folder)?;
        self.check_place().await?;
        let former = former(&self.data);
        clear(&former)?;
        match fs::rename(&self.data, &former) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("move away", &self.data)(error));
            }
            _ => {}
        }
        put_in_place(&folder, &self.data)?;
        clear(&former)
    }

    fn tool(&self, program: &str, arguments: Vec<String>, password_file: &Path) -> ChildSpec {
        let id = ChildId(format!("{program}-{}", self.node));
        let program = self.bin.join(program).display().to_string();
        let argv = std::iter::once(program).chain(arguments).collect();
        let passwords = password_file.display().to_string();
        self.spec().tool(id, argv, [("PGPASSFILE", passwords)])
    }

    /// Waits until the primary sends it what it writes.
    async fn streams(&self, primary: &Self, limit: Duration) -> Result<(), PostgresError> {
        let until = Clock.now() + limit;
        let name = self.node.to_string();
        loop {
            let followers = primary.followers().await?;
            let own = followers.iter().find(|follower| follower.name == name);
            if own.is_some_and(|own| own.streaming) && self.shares_history(primary).await {
                return Ok(());
            }
            if Clock.now() > until {
                return Err(PostgresError::NotFollowing {
                    node: self.node,
                    primary: primary.node,
                    after: limit,
                    reason: format!("its log: {}", self.log.display()),
                });
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// It answers, and what it receives is what the primary writes now. One that is behind a point where histories parted
    /// streams, too, and confirms positions that are another history's.
    async fn shares_history(&self, primary: &Self) -> bool {
        match (self.facts().await, primary.facts().await) {
            (Ok(own), Ok(primary)) => own.streaming && own.timeline == primary.timeline,
            _ => false,
        }
    }

    /// For a server that is to be a replica when it runs again: after this it cannot come up as a primary.
    pub fn demote(&self) -> Result<(), PostgresError> {
        mark(self, &self.data)
    }
}

/// Roles for replication: made with the others.
pub(super) async fn provision(
    session: &mut super::control::Session,
    verifier: &str,
) -> Result<(), PostgresError> {
    let verb = create_or_alter(session, REPLICATION_ROLE).await?;
    // What pg_rewind reads with: https://www.postgresql.org/docs/15/app-pgrewind.html
    let statements = format!(
        "{verb} ROLE {REPLICATION_ROLE} LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{verifier}';
         GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean) TO {REPLICATION_ROLE};
         GRANT EXECUTE ON FUNCTION pg_catalog.pg_stat_file(text, boolean) TO {REPLICATION_ROLE};
         GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text) TO {REPLICATION_ROLE};
         GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) TO {REPLICATION_ROLE};"
    );
    session.run(&statements).await.map_err(query)
}
