//! The controller of one installation: takes the lock, runs the supervisor, serves the two sockets, performs one plan
//! at a time as a task of its own, and answers `status` meanwhile.
//!
//! It ends without touching children unless it was told to bring them down: a new controller adopts them.

mod backup;
mod busy;
mod change;
mod handle;
mod measured;
mod proposal;
mod purging;
mod rates;
mod refused;
mod scale;
mod scaling;
mod service;
mod sockets;
mod status;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use banyan_config::{Config, Secrets};
use banyan_runtime::control::Listener;
use banyan_runtime::{Clock, Tasks};
use banyan_topology::PlaceName;
use banyan_topology::report::{EdgeReport, ObserveReport, PgproxyReport};
use tokio::sync::{mpsc, watch};

pub use handle::{Done, Handle};
pub use scale::read_decisions;
pub use service::Service;

use crate::controller::change::Changer;
use crate::driver::{Driver, Local};
use crate::lock::{Lock, LockError};
use crate::paths::StateDir;
use crate::proto::ConfigPaths;
use crate::purge::{Purges, endpoint};

/// A configuration as the binary read it, complete.
#[derive(Clone)]
pub struct Loaded {
    pub config: Config,
    /// The folder of banyan.toml, absolute.
    pub root: PathBuf,
    pub secrets: Secrets,
    /// SHA-256 in hex over all that was read.
    pub hash: String,
    /// Warnings for people.
    pub notes: Vec<String>,
}

/// Reads a configuration; `Err`: every error, as it is shown to people. Only the binary touches those files.
pub type Loader = Arc<dyn Fn(&ConfigPaths) -> Result<Loaded, Vec<String>> + Send + Sync>;

pub struct ControllerConfig {
    pub state: StateDir,
    /// This binary: children are launched through it, roles are it.
    pub program: PathBuf,
    /// What [`Handle::bring_up`] brings up.
    pub config: ConfigPaths,
    pub load: Loader,
    /// `PATH` and the like that children get: the binary alone reads the environment.
    pub base_env: BTreeMap<String, String>,
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("failed to prepare the state folder {path}")]
    State {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Socket(#[from] banyan_runtime::control::ControlError),
    #[error("failed to start the supervisor")]
    Supervisor(#[source] std::io::Error),
}

/// How the controller ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything was stopped in order.
    Down,
    /// The start was refused or undone; what an earlier controller left running still runs.
    NotStarted,
    /// Everything was killed.
    Killed,
    /// Stopping in order failed: children may run.
    Incomplete,
}

/// The newest report of each role, for the driver's waits.
#[derive(Default)]
pub(crate) struct Newest {
    edge: watch::Sender<Option<EdgeReport>>,
    /// Of the edge's places.
    places: watch::Sender<BTreeMap<PlaceName, EdgeReport>>,
    pgproxy: watch::Sender<Option<PgproxyReport>>,
    observe: watch::Sender<Option<ObserveReport>>,
}

/// The driver's end of it.
#[derive(Clone)]
pub(crate) struct Reports {
    pub(crate) edge: watch::Receiver<Option<EdgeReport>>,
    pub(crate) places: watch::Receiver<BTreeMap<PlaceName, EdgeReport>>,
    pub(crate) pgproxy: watch::Receiver<Option<PgproxyReport>>,
    pub(crate) observe: watch::Receiver<Option<ObserveReport>>,
}

impl Newest {
    fn take(&self, report: EdgeReport) {
        match report.place.clone() {
            Some(place) => self.places.send_modify(|places| {
                places.insert(place, report);
            }),
            None => drop(self.edge.send_replace(Some(report))),
        }
    }

    fn subscribe(&self) -> Reports {
        Reports {
            edge: self.edge.subscribe(),
            places: self.places.subscribe(),
            pgproxy: self.pgproxy.subscribe(),
            observe: self.observe.subscribe(),
        }
    }
}

/// Messages wait here for the controller's loop.
const MESSAGES: usize = 16;

/// Takes the lock and binds the sockets; starts no child. Needs a tokio runtime.
pub fn build(config: ControllerConfig, tasks: &Tasks) -> Result<(Service<Local>, Handle), BuildError> {
    let lock = prepare(&config.state)?;
    let newest = Newest::default();
    let local = Local::build(&config, newest.subscribe(), tasks).map_err(BuildError::Supervisor)?;
    assemble(config, lock, local, newest, tasks)
}

/// The controller over another driver: for tests.
pub fn build_with<D: Driver>(
    config: ControllerConfig,
    driver: D,
    tasks: &Tasks,
) -> Result<(Service<D>, Handle), BuildError> {
    let lock = prepare(&config.state)?;
    assemble(config, lock, driver, Newest::default(), tasks)
}

fn prepare(state: &StateDir) -> Result<Lock, BuildError> {
    state.prepare().map_err(|source| BuildError::State {
        path: state.path().to_owned(),
        source,
    })?;
    Ok(Lock::take(&state.lock())?)
}

fn assemble<D: Driver>(
    config: ControllerConfig,
    lock: Lock,
    driver: D,
    newest: Newest,
    tasks: &Tasks,
) -> Result<(Service<D>, Handle), BuildError> {
    let (sender, messages) = mpsc::channel(MESSAGES);
    let handle = Handle::new(sender);
    let driver = Arc::new(driver);
    let purges = Purges::start(config.state.purge_log(), Arc::clone(&driver), tasks);
    let secrets = config.state.secrets();
    let service = Service {
        lock,
        control: Listener::bind(&config.state.control_socket())?,
        report: Listener::bind(&config.state.report_socket())?,
        config: config.config,
        changer: Changer {
            driver,
            state: config.state,
            load: config.load,
            kept: watch::Sender::new(None),
            clock: Clock,
        },
        handle: handle.clone(),
        messages,
        newest,
        purge_endpoint: endpoint::start(purges.clone(), secrets, tasks),
        purges,
        tasks: tasks.clone(),
    };
    Ok((service, handle))
}
