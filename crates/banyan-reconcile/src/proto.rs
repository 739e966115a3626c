//! What the verbs of the binary say to the controller over `.banyan/control.sock`: one request line, then reply lines
//! until [`Reply::Done`].

mod autoscale;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use autoscale::{Autoscale, AutoscaleVerb, Decided, Measured, ScaleChange, ScaledProcess};
use banyan_config::Purpose;
use banyan_supervisor::engine::postgres::backup::archiving::Archiving;
use banyan_supervisor::engine::postgres::backup::{Backup, Kind};
pub use banyan_supervisor::engine::redis::Info;
pub use banyan_topology::Change;
use banyan_topology::purge::{Mode, Scope};
use banyan_topology::report::{EdgeReport, ObserveReport, PgproxyReport};
use banyan_topology::{Edge, Epoch, InstanceId, PlaceName, Plan, ProcessName, ReleaseId};
use serde::{Deserialize, Serialize};

pub use crate::purge::{Applied, Purged};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "request")]
pub enum Request {
    Status,
    /// What `apply` would do with the configuration at these paths. Nothing is changed.
    Plan {
        config: ConfigPaths,
        change: Change,
    },
    /// Plans and performs. `config_hash`, when given, must match the plan that was shown.
    Apply {
        config: ConfigPaths,
        change: Change,
        config_hash: Option<String>,
    },
    /// Continues the unfinished plan.
    Resume,
    /// Undoes the done steps of the unfinished (or, with none, of the last) plan.
    Revert,
    /// Makes a backup; `None`: the kind that would be next.
    Backup {
        kind: Option<Kind>,
    },
    /// Purges what edges have stored, and waits for them.
    Purge {
        scopes: Vec<Scope>,
        mode: Mode,
    },
    /// How numbers of instances follow their load.
    Autoscale {
        verb: AutoscaleVerb,
    },
    /// Stops everything in order and ends the controller.
    Down,
    /// Starts one more instance outside the rotation, judges it (PORT, readiness, SIGTERM) and stops it.
    Trial {
        config: ConfigPaths,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigPaths {
    pub file: PathBuf,
    /// `--env production` lays banyan.production.toml on top.
    pub overlay: Option<PathBuf>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reply")]
pub enum Reply {
    Status(Box<Status>),
    Plan {
        plan: Plan,
        config_hash: String,
        notes: Vec<String>,
        text: Vec<String>,
    },
    /// A step of the running plan began or ended.
    Progress(Progress),
    Trial(Trial),
    /// It was made.
    Backup(Backup),
    /// It is durable; whether all edges have applied it, it says itself.
    Purged(Purged),
    Autoscale {
        /// `None`: no number follows its load.
        shown: Option<Autoscale>,
    },
    /// The last decision of each process that follows its load.
    Decided {
        decisions: Vec<Decided>,
    },
    /// The last line. `error`: what failed and what to do next.
    Done {
        outcome: Outcome,
        error: Option<String>,
        /// What people should know although nothing failed.
        #[serde(default)]
        notes: Vec<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// 1-based.
    pub step: usize,
    pub of: usize,
    /// "start web.2@r3"
    pub what: String,
    pub state: ProgressState,
    pub took_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgressState {
    Begun,
    Done,
    /// It held already.
    Skipped,
    Failed,
    /// Undoing an earlier step of this plan.
    Reverting,
    /// It still runs; `what` says why it takes long and what to do.
    Waits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Nothing,
    Changed,
    /// The change failed and was undone, or (without an error) was undone on request: the system is as before.
    RolledBack,
    /// The change failed and stands half-way: resume or revert.
    Stopped,
    Refused,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub app: String,
    pub controller_pid: u32,
    pub release: Option<ReleaseId>,
    pub url: Option<String>,
    pub edge: Option<Edge>,
    pub epoch: Epoch,
    pub children: Vec<Row>,
    pub edge_report: Option<EdgeReport>,
    /// Of the edge's places.
    #[serde(default)]
    pub place_reports: BTreeMap<PlaceName, EdgeReport>,
    /// What the PostgreSQL proxy said last.
    #[serde(default)]
    pub pgproxy_report: Option<PgproxyReport>,
    /// What the role that keeps what is measured said last.
    #[serde(default)]
    pub observe_report: Option<ObserveReport>,
    /// Requests per second over the last seconds.
    pub rps: Option<f64>,
    pub error_share: Option<f64>,
    /// Of each process that the edge sends requests to.
    #[serde(default)]
    pub processes: Vec<ProcessRates>,
    /// An unfinished plan: (done, of, error).
    pub unfinished: Option<(usize, usize, String)>,
    /// What is being changed right now.
    #[serde(default)]
    pub under_way: Option<UnderWay>,
    /// Why there is no certificate from a CA that should make one.
    #[serde(default)]
    pub certificate_problem: Option<String>,
    /// Those that Banyan runs.
    #[serde(default)]
    pub redis: Vec<RedisState>,
    /// `None`: there are no backups.
    #[serde(default)]
    pub backup: Option<BackupState>,
    /// `None`: no number follows its load.
    #[serde(default)]
    pub autoscale: Option<Autoscale>,
    /// The last failure of the database that this controller has mended.
    #[serde(default)]
    pub mended: Option<MendedState>,
    pub rotation: Vec<InstanceId>,
    pub state_dir: PathBuf,
    pub log_dir: PathBuf,
}

/// What was done about a primary that had failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MendedState {
    /// When that was over; Unix time in ms.
    pub at_ms: u64,
    pub notes: Vec<String>,
}

/// A change that is being performed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    /// "change", "the start", "a failover", "going down"
    pub what: String,
    /// Unix time in ms.
    pub since_ms: u64,
    /// `None`: it is being planned.
    pub step: Option<UnderWayStep>,
}

/// The step that began last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWayStep {
    /// 1-based.
    pub number: usize,
    pub of: usize,
    /// "start web.2@r3"
    pub what: String,
    /// Unix time in ms.
    pub since_ms: u64,
    /// It is being undone.
    pub undoes: bool,
}

/// How a managed Redis is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisState {
    pub purpose: Purpose,
    pub port: u16,
    /// `None`: it does not answer.
    pub info: Option<Info>,
    /// Why it does not answer.
    pub problem: Option<String>,
}

/// Backups of the database, as `status` and `doctor` show them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupState {
    /// The repository.
    pub path: PathBuf,
    /// From when on moments can be restored; Unix time in ms, as all of these.
    pub first_ms: Option<u64>,
    pub last: Option<Backup>,
    pub next: Option<(Kind, u64)>,
    pub running: Option<BackupNow>,
    /// Why the last try failed.
    pub problem: Option<String>,
    pub archiving: Archiving,
    /// When log was given up last: moments from then to the next backup cannot be restored.
    pub gap_ms: Option<u64>,
}

/// A backup that is being made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupNow {
    /// `None`: a controller before this one began it.
    pub kind: Option<Kind>,
    pub since_ms: u64,
    /// Of the bytes to copy.
    pub percent: Option<u8>,
}

/// What the instances of a process are asked, over the last seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessRates {
    pub process: ProcessName,
    pub rps: Option<f64>,
    /// Of 5xx and of answers that never came; `None` without requests.
    pub error_share: Option<f64>,
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
}

/// A line of `banyan status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    #[serde(flatten)]
    pub child: banyan_supervisor::ChildStatus,
    /// "edge", "postgres 15", "web"
    pub kind: String,
    pub in_rotation: Option<bool>,
    pub healthy: Option<bool>,
    /// What else there is to say of it: how far a replica is behind, how many clients the proxy has.
    #[serde(default)]
    pub detail: Option<String>,
    /// Why the edge has taken it out for a while.
    #[serde(default)]
    pub ejected: Option<String>,
    pub rps: Option<f64>,
    pub in_flight: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trial {
    pub process: String,
    /// Each judged property: name, held, what was seen and what to do.
    pub findings: Vec<Finding>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finding {
    pub name: String,
    pub holds: bool,
    pub detail: String,
}
