//! The edge role: an HTTP reverse proxy that is changed by snapshots and never by a restart.
//!
//! [`build`] takes a [`Config`] and returns the [`Service`] to run and a [`Handle`] to watch it by. A control task (see
//! `control`) owns what is global; each core (see `core`) has its own thread, runtime, listener, connections and counters.
//! Life of a request: `http1::request` judges its head, `pipeline` lists the stages, `filter` asks who and how often, `cache` answers what it has, `forward` finds an instance, `respond` words
//! every failure, `exchange` counts and logs it once.

mod accept_encoding;
mod access_log;
mod answer_limits;
mod cache;
mod challenges;
mod compress;
mod control;
mod core;
mod exchange;
mod files;
mod filter;
mod forward;
#[doc(hidden)]
pub mod fuzz;
mod gateway;
mod grpc;
mod headers;
mod http1;
mod http2;
mod interim;
mod introduction;
mod metrics;
mod pipeline;
mod plain;
pub mod proxy_protocol;
mod redirect;
mod request_body;
mod request_id;
mod respond;
pub mod route;
mod secret;
pub mod sni;
mod sticky;
mod trace;

pub use filter::auth::link::{LinkKeys, SignError, Terms};

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use banyan_config::FIRST_PLACE;
use banyan_runtime::watched::WatchedError;
use banyan_runtime::{Shutdown, reporter};
use banyan_topology::PlaceName;
use banyan_topology::report::EdgeReport;

pub struct Config {
    /// Holds `snapshots/edge.json` (read) and `report.sock` (reported to).
    pub state_dir: PathBuf,
    /// Which of the snapshot's places it is; `None`: the first edge.
    pub place: Option<PlaceName>,
    /// Where access lines go; [`Config::new`] takes stdout.
    pub access_log: Box<dyn Write + Send>,
    /// How long a request waits for the Redis in which edges count rate limits together; [`Config::new`] takes 50 ms.
    pub limits_deadline: Duration,
}

impl Config {
    pub fn new(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            place: None,
            access_log: Box::new(io::stdout()),
            limits_deadline: Duration::from_millis(50),
        }
    }

    fn snapshot_path(&self) -> PathBuf {
        self.state_dir.join("snapshots").join("edge.json")
    }

    /// Where people ask about the cache.
    fn sight_path(&self) -> PathBuf {
        self.state_dir.join("cdn")
    }

    /// What the controller purges.
    fn purge_path(&self) -> PathBuf {
        self.state_dir.join("snapshots").join("purge.log")
    }

    /// Where the edge that replaces this one asks for its sockets.
    fn handover_path(&self) -> PathBuf {
        match &self.place {
            None => self.state_dir.join("handover.sock"),
            Some(place) => self.state_dir.join(format!("handover-{place}.sock")),
        }
    }

    /// Where the cache keeps what outlives the process.
    fn cache_path(&self) -> PathBuf {
        let place = self.place.as_ref().map_or(FIRST_PLACE, PlaceName::as_str);
        self.state_dir.join("cache").join(place)
    }

    /// Where the processes of the machine tell each other what they have measured.
    fn metrics_path(&self) -> PathBuf {
        self.state_dir.join("metrics")
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
    #[error("failed to start a thread")]
    Thread(#[source] io::Error),
    #[error(transparent)]
    Tls(#[from] banyan_tls::ServerError),
    #[error("a part of the edge panicked: this is a bug in Banyan; the log says where")]
    TaskPanicked,
}

/// The role, not yet running.
pub struct Service {
    config: Config,
    reports: watch::Sender<EdgeReport>,
}

/// What others in the same process see of the role.
pub type Handle = reporter::Handle<EdgeReport>;

pub fn build(config: Config) -> Result<(Service, Handle), Error> {
    let snapshots = config.state_dir.join("snapshots");
    if !snapshots.is_dir() {
        return Err(Error::NoSnapshots(snapshots));
    }
    let (reports, handle) = Handle::of_a_role();
    Ok((Service { config, reports }, handle))
}

impl Service {
    /// Serves until `shutdown` drains, then until what is in flight has ended (or the drain's limit). Needs a tokio
    /// runtime with I/O and time; requests run on threads of their own.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), Error> {
        control::run(self.config, self.reports, shutdown).await
    }
}
