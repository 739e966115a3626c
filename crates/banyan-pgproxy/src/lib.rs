//! The pgproxy role: stands between the app and PostgreSQL behind one `DATABASE_URL`, so that the database can grow while
//! the app runs unchanged.
//!
//! [`build`] takes a [`Config`] and returns the [`Service`] to run and a [`Handle`] to watch it by. A control task owns
//! what is global (snapshot, report, verifiers); each worker has its own thread, runtime, listener, clients and pools.
//! Life of a unit (what a client sends at once: one simple Query, or extended messages up to Sync): `frontend` reads it,
//! `session` knows what it means for the session, `pool` grants a backend, `backend` pumps both ways and knows which
//! reply belongs to which message, `respond` words every failure.

mod backend;
pub mod catalog;
mod control;
mod crash;
pub mod fresh;
mod frontend;
mod hold;
mod metrics;
pub mod parse;
mod pool;
mod respond;
pub mod route;
mod session;
pub mod txn;
pub mod wire;
mod worker;
mod workload;

use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::watch;

use banyan_runtime::listener::BindError;
use banyan_runtime::watched::WatchedError;
use banyan_runtime::{Shutdown, reporter};
use banyan_topology::report::PgproxyReport;

pub struct Config {
    /// Holds `snapshots/pgproxy.json` (read), `report.sock` (reported to), `pgproxy.sock` and `metrics/` (asked at).
    pub state_dir: PathBuf,
}

impl Config {
    pub fn new(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
        }
    }

    fn snapshot_path(&self) -> PathBuf {
        self.state_dir.join("snapshots").join("pgproxy.json")
    }

    /// Answers with all that was measured ([`banyan_topology::signals`]).
    fn signals_path(&self) -> PathBuf {
        self.state_dir.join("pgproxy.sock")
    }

    fn metrics_dir(&self) -> PathBuf {
        self.state_dir.join("metrics")
    }

    /// Where a running proxy gives its listening sockets to its successor.
    fn handover_path(&self) -> PathBuf {
        self.state_dir.join("pgproxy-handover.sock")
    }

    /// Where it gives its clients then.
    fn clients_path(&self) -> PathBuf {
        self.state_dir.join("pgproxy-clients.sock")
    }

    fn report_path(&self) -> PathBuf {
        self.state_dir.join("report.sock")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no folder {0} to read snapshots from; is --state right?")]
    NoSnapshots(PathBuf),
    #[error("failed to watch for snapshots")]
    Watch(#[from] WatchedError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("failed to start a thread")]
    Thread(#[source] io::Error),
    #[error(transparent)]
    Tls(#[from] banyan_tls::ServerError),
    #[error("a part of the proxy panicked: this is a bug in Banyan; the log says where")]
    TaskPanicked,
}

/// The role, not yet running.
pub struct Service {
    config: Config,
    reports: watch::Sender<PgproxyReport>,
}

/// What others in the same process see of the role.
pub type Handle = reporter::Handle<PgproxyReport>;

pub fn build(config: Config) -> Result<(Service, Handle), Error> {
    let snapshots = config.state_dir.join("snapshots");
    if !snapshots.is_dir() {
        return Err(Error::NoSnapshots(snapshots));
    }
    let (reports, handle) = Handle::of_a_role();
    Ok((Service { config, reports }, handle))
}

impl Service {
    /// Serves until `shutdown` drains, then until clients have ended their transactions (or the drain's limit). Needs a
    /// tokio runtime with I/O and time; clients are served on threads of their own.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), Error> {
        control::run(self.config, self.reports, shutdown).await
    }
}
