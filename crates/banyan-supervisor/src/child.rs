//! The contract of the supervisor, to be filled.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use banyan_runtime::{Shutdown, Tasks};
use serde::{Deserialize, Serialize};

/// Unique name among the children: `edge`, `postgres`, `web.1@r3`. Also the name of its log file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChildId(pub String);

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// All that is needed to start it, and to start it again. Debug must not print `env` values.
#[derive(Clone)]
pub struct ChildSpec {
    pub id: ChildId,
    pub argv: Vec<String>,
    /// The whole environment (nothing is inherited). May hold secrets: never logged, never written to disk.
    pub env: BTreeMap<String, String>,
    pub cwd: PathBuf,
    pub user: RunAs,
    /// Where stdout and stderr are appended; rotated at `log_limit`, one older file kept.
    pub log: PathBuf,
    pub ready: Probe,
    pub live: Option<(Probe, LiveRule)>,
    pub start_grace: Duration,
    pub stop: StopSignal,
    pub stop_grace: Duration,
    /// The port it was told to listen on: to say "it listens on 3000, not on 21001".
    pub port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveRule {
    pub failures: u32,
    pub interval: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunAs {
    /// As the controller.
    Same,
    /// Drop to this user (name looked up when the child starts); only root can.
    User(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// GET; `timeout` for the whole exchange.
    Http {
        address: SocketAddr,
        path: String,
        host: Option<String>,
        status: u16,
        interval: Duration,
        timeout: Duration,
        rise: u32,
        fall: u32,
    },
    /// A TCP connect succeeds.
    Tcp {
        address: SocketAddr,
        interval: Duration,
        timeout: Duration,
    },
    /// Still running this long after its start.
    Running { for_at_least: Duration },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    Terminate,
    /// SIGINT: PostgreSQL's fast shutdown; SIGQUIT (immediate) before SIGKILL.
    PostgresFast,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum ChildState {
    Starting,
    Ready,
    /// Was ready, its readiness probe fails now.
    NotReady {
        reason: String,
    },
    /// Exited; starts again after the wait.
    BackingOff {
        exit: String,
        wait_ms: u64,
    },
    /// Exited again and again (5 times within a minute of starting): still retried, at the slowest pace.
    CrashLoop {
        exits: u32,
        exit: String,
        wait_ms: u64,
    },
    Stopping,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildStatus {
    pub id: ChildId,
    #[serde(flatten)]
    pub state: ChildState,
    pub pid: Option<u32>,
    /// Unix time in ms of the current process's start.
    pub since_ms: Option<u64>,
    pub restarts: u32,
    /// Resident memory of the whole process group, and CPU time used, from /proc.
    pub memory_bytes: Option<u64>,
    pub cpu_ms: Option<u64>,
    pub port: Option<u16>,
    pub user: Option<String>,
}

/// What must be remembered on disk to adopt a running child: no secret in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    pub id: ChildId,
    pub pid: u32,
    /// Field 22 of /proc/PID/stat: with the pid it names one process for the machine's uptime.
    pub start_ticks: u64,
    /// /proc/sys/kernel/random/boot_id
    pub boot_id: String,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("a child named {0} exists already")]
    Exists(ChildId),
    #[error("failed to start {id}: {program} was not found; check the command, or install it")]
    ProgramMissing { id: ChildId, program: String },
    #[error("failed to start {id}")]
    Spawn {
        id: ChildId,
        #[source]
        source: std::io::Error,
    },
    #[error("the supervisor has ended")]
    Gone,
}

/// Why a start did not become ready. Every variant carries the last log lines where there are any.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    #[error("{id} exited ({exit}) {times} time(s) before it was ready\n{log_tail}")]
    Exited {
        id: ChildId,
        exit: String,
        times: u32,
        log_tail: String,
    },
    #[error("{id} was not ready after {after:?}: {reason}\n{log_tail}")]
    Timeout {
        id: ChildId,
        after: Duration,
        reason: String,
        log_tail: String,
    },
    #[error("no child is named {0}")]
    Unknown(ChildId),
    #[error("the supervisor has ended")]
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopReport {
    /// `exit code 0`, `killed by SIGKILL after 30s` …
    pub how: String,
    pub took_ms: u64,
    /// It had to be killed.
    pub killed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOutcome {
    pub success: bool,
    pub exit: String,
    pub log_tail: String,
}

/// Talks to the service; cheap to clone.
#[derive(Clone)]
pub struct Handle;

pub struct Service;

/// Where the supervisor keeps what it must: `state_dir/children.json` (what to adopt).
pub struct SupervisorConfig {
    pub state_dir: PathBuf,
    /// Path of this binary, for the `launch` shim.
    pub program: PathBuf,
    pub log_limit_bytes: u64,
}

/// Starts nothing.
pub fn build(_config: SupervisorConfig, _tasks: &Tasks) -> std::io::Result<(Service, Handle)> {
    Ok((Service, Handle))
}

impl Service {
    /// Returns when `shutdown` says now, **leaving the children running**: stopping is the plan's work.
    pub async fn run(self, _shutdown: Shutdown) {}
}

impl Handle {
    /// Starts it and returns once the process exists.
    pub async fn start(&self, _spec: ChildSpec) -> Result<(), StartError> {
        unimplemented!()
    }
    /// Waits until it is ready for the first time, or it is clear that it will not be (start_grace passed, or it exited 3 times).
    pub async fn ready(&self, _id: &ChildId) -> Result<(), NotReady> {
        unimplemented!()
    }
    /// Signal, grace, SIGKILL of everything it left; returns when all its processes are gone. Unknown id: `None`.
    pub async fn stop(&self, _id: &ChildId) -> Option<StopReport> {
        unimplemented!()
    }
    /// SIGKILL of everything at once (second Ctrl-C).
    pub async fn kill_all(&self) {
        unimplemented!()
    }
    /// New probes and graces for a running child; restarts nothing.
    pub async fn configure(&self, _spec: ChildSpec) {
        unimplemented!()
    }
    /// Children recorded on disk by an earlier controller that still run (pid, start time and boot agree).
    pub async fn survivors(&self) -> Vec<Adopted> {
        unimplemented!()
    }
    /// Takes over a survivor under `spec` (spec is used for its next restart). False: it is gone.
    pub async fn adopt(&self, _spec: ChildSpec, _survivor: &Adopted) -> bool {
        unimplemented!()
    }
    pub async fn status(&self) -> Vec<ChildStatus> {
        unimplemented!()
    }
    /// Runs a command to its end (release command, initdb), output appended to its log. `limit`: killed after it.
    pub async fn run(&self, _spec: ChildSpec, _limit: Duration) -> Result<RunOutcome, StartError> {
        unimplemented!()
    }
}
