//! The managed PostgreSQL servers: found, initialised or copied, tuned, started, provided with the app's role and
//! database; promoted, and brought back behind another.
//!
//! TCP on 127.0.0.1 only, SCRAM passwords only: no trust, no peer, no socket file. Its data is never deleted but by
//! [`destroy`].

pub mod backup;
mod control;
mod init;
mod least;
mod place;
mod provision;
mod replica;
mod secret;
pub mod settings;
mod trouble;
mod version;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_config::DatabaseAddress;
use banyan_topology::{Database, NodeId};

pub use control::{Following, NodeFacts, Pulse};
pub use place::{destroy, dir_problem, place, size, timeline};
pub use provision::PGPROXY_ROLE;
pub use trouble::PostgresError;
pub use version::{Installation, choose, installed, of_data};

use super::files::{FileError, Owner};
use super::identity;
use super::serving::{self, Engine};
use crate::account;
use crate::child::diagnose;
use crate::child::{ChildId, ChildSpec, Handle, NotReady, Probe, RunAs, StopSignal, procfs};

/// The server's own administrator; the app gets a role without rights over the server.
const SUPERUSER: &str = "postgres";
/// The Unix user that Debian's package makes.
const UNIX_USER: &str = "postgres";
/// A fast shutdown writes a checkpoint.
const STOP_GRACE: Duration = Duration::from_secs(60);
const START_GRACE: Duration = Duration::from_secs(60);

/// One server and all that is needed to run it.
#[derive(Clone, Debug)]
pub struct Server {
    /// With all its servers: who is primary decides what this one is.
    pub database: Database,
    /// This one.
    pub node: NodeId,
    /// Folder of `postgres` and `initdb` of the right major version ([`choose`]).
    pub bin: PathBuf,
    /// From [`place`].
    pub data: PathBuf,
    /// `.banyan/secrets`
    pub secrets: PathBuf,
    pub log: PathBuf,
    /// From [`run_as`].
    pub run_as: RunAs,
}

/// The child's name: `postgres`, `postgres-db2`, …
pub fn child_id(node: NodeId) -> ChildId {
    ChildId(place::name(node))
}

/// The server that a child is.
pub fn node_of(child: &ChildId) -> Option<NodeId> {
    match child.0.as_str() {
        "postgres" => Some(NodeId::FIRST),
        name => name.strip_prefix("postgres-")?.parse().ok(),
    }
}

/// PostgreSQL refuses root: its own user then.
pub fn run_as() -> Result<RunAs, PostgresError> {
    if !identity::controller_is_root() {
        return Ok(RunAs::Same);
    }
    match account::find(UNIX_USER) {
        Some(_) => Ok(RunAs::User(UNIX_USER.to_owned())),
        None => Err(PostgresError::NoUser {
            user: UNIX_USER.to_owned(),
        }),
    }
}

impl Server {
    pub fn id(&self) -> ChildId {
        child_id(self.node)
    }

    /// Its own; 0 if the database does not have it.
    pub fn port(&self) -> u16 {
        self.database.nodes.get(&self.node).map_or(0, |node| node.port)
    }

    fn is_primary(&self) -> bool {
        self.database.is_primary(self.node)
    }

    /// The server as a child, for [`Handle::start`] and [`Handle::adopt`].
    pub fn spec(&self) -> ChildSpec {
        let env = [("PATH", "/usr/bin:/bin"), ("LANG", "C.UTF-8")];
        ChildSpec {
            id: self.id(),
            argv: vec![
                self.bin.join("postgres").display().to_string(),
                "-D".to_owned(),
                self.data.display().to_string(),
            ],
            env: env
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            cwd: self.data.parent().unwrap_or(Path::new("/")).to_owned(),
            user: self.run_as.clone(),
            log: self.log.clone(),
            ready: Probe::Tcp {
                address: self.socket(),
                interval: Duration::from_secs(2),
                timeout: Duration::from_secs(1),
            },
            live: None,
            start_grace: START_GRACE,
            stop: StopSignal::PostgresFast,
            stop_grace: STOP_GRACE,
            port: Some(self.port()),
        }
    }

    /// From whatever there is (nothing, a data directory, a crashed server's leftovers, our own running server) to a
    /// server that answers and has the app's role and database. On failure nothing that it started is left running.
    pub async fn start(&self, handle: &Handle) -> Result<(), PostgresError> {
        serving::start(self, handle).await
    }

    /// Waits until it answers queries; makes what is missing of the app's role and database. For an adopted server too.
    pub async fn provision(&self) -> Result<(), PostgresError> {
        provision::provision(self).await
    }

    /// Whether it takes queries right now.
    pub async fn answers(&self) -> Result<bool, PostgresError> {
        provision::answers(self).await
    }

    /// Where the app finds its database. Holds the password.
    pub fn address(&self) -> Result<DatabaseAddress, PostgresError> {
        self.address_of(&self.database.user, &self.database.name)
    }

    fn address_of(&self, role: &str, database: &str) -> Result<DatabaseAddress, PostgresError> {
        Ok(DatabaseAddress {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: self.port(),
            user: role.to_owned(),
            password: secret::password(&self.secrets, role)?,
            name: database.to_owned(),
            options: None,
        })
    }

    fn owner(&self) -> Owner {
        Owner::of(&self.run_as)
    }

    fn socket(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port()))
    }

    /// What would make it exit at once, seen before it does.
    async fn check_place(&self) -> Result<(), PostgresError> {
        if let Some(pid) = running_server(&self.data) {
            return Err(PostgresError::AnotherServer {
                pid,
                data: self.data.clone(),
            });
        }
        end_backends(&self.data).await?;
        self.remove_foreign_lock()?;
        if serving::is_taken(self.socket()) {
            return Err(PostgresError::PortInUse {
                port: self.port(),
                by: diagnose::owner_of(self.port()),
            });
        }
        Ok(())
    }

    /// After a crash or a reboot the number in postmaster.pid may belong to some other program of the same user, and
    /// PostgreSQL refuses to start. A number that belongs to nobody it deals with itself.
    fn remove_foreign_lock(&self) -> Result<(), PostgresError> {
        let lock = self.data.join("postmaster.pid");
        if locked_by(&self.data).and_then(procfs::entry).is_none() {
            return Ok(());
        }
        match fs::remove_file(&lock) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error("remove the stale", &lock)(error))
            }
            _ => Ok(()),
        }
    }
}

impl Engine for Server {
    type Error = PostgresError;

    fn spec(&self) -> ChildSpec {
        self.spec()
    }

    async fn prepare(&self, handle: &Handle) -> Result<(), PostgresError> {
        init::prepare(self, handle).await?;
        self.check_place().await
    }

    async fn provision(&self) -> Result<(), PostgresError> {
        if self.is_primary() {
            self.provision().await?;
        }
        Ok(())
    }

    fn not_ready(&self, error: NotReady) -> PostgresError {
        let known = match &error {
            NotReady::Exited { log_tail, .. } | NotReady::Timeout { log_tail, .. } => {
                self.known_trouble(log_tail)
            }
            _ => None,
        };
        known.unwrap_or(PostgresError::NotReady(error))
    }
}

fn locked_by(data: &Path) -> Option<u32> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// The pid of the server that runs in this data directory.
fn running_server(data: &Path) -> Option<u32> {
    let canonical = fs::canonicalize(data).ok()?;
    locked_by(data).filter(|pid| runs_in(*pid, &canonical))
}

fn runs_in(pid: u32, data: &Path) -> bool {
    let link = |name| fs::read_link(format!("/proc/{pid}/{name}")).ok();
    let postgres = |exe: PathBuf| exe.file_name().is_some_and(|name| name == "postgres");
    link("cwd").is_some_and(|cwd| cwd == data) && link("exe").is_some_and(postgres)
}

/// What a killed server left ends by itself, but may be in the middle of a long query; a new server must not share the
/// data with it.
async fn end_backends(data: &Path) -> Result<(), PostgresError> {
    const ROUNDS: u32 = 100;
    let Ok(data) = fs::canonicalize(data) else {
        return Ok(());
    };
    for _round in 0..ROUNDS {
        let mut left = procfs::table();
        left.retain(|entry| runs_in(entry.pid, &data));
        if left.is_empty() {
            return Ok(());
        }
        for entry in left {
            procfs::send(entry.pid, entry.start_ticks, rustix::process::Signal::KILL);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(PostgresError::SharedMemory)
}

fn io_error<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> PostgresError + 'a {
    move |source| FileError::new(operation, path)(source).into()
}
