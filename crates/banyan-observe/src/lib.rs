//! The observe role: collects what every process of the machine measures, keeps it, and shows it. No request depends on it:
//! it asks, and nobody waits for it.
//!
//! [`build`] takes a [`Config`] and returns the [`Service`] to run and a [`Handle`] to watch it by. One task collects
//! (`collect`), one thread of its own keeps (`keep`: the only one that touches the disk), the control task follows
//! snapshots and reports. Whoever adds series, asks the [`Keeper`]; what is to be looked at now and then has a line in
//! `control::tasks`.

mod alert;
mod collect;
mod control;
mod happened;
pub mod keep;
mod look;
pub mod marks;
mod otlp;
mod outgoing;
mod page;
pub mod series;
pub mod traces;
pub mod usage;
pub mod view;

use std::path::{Path, PathBuf};

use tokio::sync::watch;

use banyan_runtime::watched::WatchedError;
use banyan_runtime::{Shutdown, reporter};
use banyan_topology::report::ObserveReport;

pub use alert::{Book, Shown};
pub use keep::Keeper;

pub struct Config {
    /// Holds `snapshots/observe.json` (read), `report.sock` (reported to), `metrics/` (asked, and asked at), `observe/`
    /// (what is kept).
    pub state_dir: PathBuf,
}

impl Config {
    pub fn new(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
        }
    }

    fn snapshot_path(&self) -> PathBuf {
        self.state_dir.join("snapshots").join("observe.json")
    }

    fn report_path(&self) -> PathBuf {
        self.state_dir.join("report.sock")
    }

    /// What is kept.
    fn series_dir(&self) -> PathBuf {
        self.state_dir.join("observe").join("series")
    }

    fn metrics_dir(&self) -> PathBuf {
        self.state_dir.join("metrics")
    }
}

/// Answers whoever connects and says how far back ([`usage::Wanted`]) with a [`usage::Usage`].
pub fn usage_socket(state_dir: &Path) -> PathBuf {
    state_dir.join("usage.sock")
}

/// Answers whoever connects with a [`view::View`].
pub fn view_socket(state_dir: &Path) -> PathBuf {
    state_dir.join("observe.sock")
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no folder {0} to read snapshots from; is --state right?")]
    NoSnapshots(PathBuf),
    #[error("failed to watch for snapshots")]
    Watch(#[from] WatchedError),
}

/// The role, not yet running.
pub struct Service {
    config: Config,
    reports: watch::Sender<ObserveReport>,
}

/// What others in the same process see of the role.
pub type Handle = reporter::Handle<ObserveReport>;

pub fn build(config: Config) -> Result<(Service, Handle), Error> {
    let snapshots = config.state_dir.join("snapshots");
    if !snapshots.is_dir() {
        return Err(Error::NoSnapshots(snapshots));
    }
    let (reports, handle) = Handle::of_a_role();
    Ok((Service { config, reports }, handle))
}

impl Service {
    /// Runs until `shutdown` drains. Needs a tokio runtime with I/O and time.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), Error> {
        control::run(self.config, self.reports, shutdown).await
    }
}
