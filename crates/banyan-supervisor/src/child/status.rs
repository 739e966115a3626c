//! What is told about a child: its state, what must be remembered to adopt it, how it ended.

use serde::{Deserialize, Serialize};

use super::spec::ChildId;

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

impl ChildState {
    /// Its process has ended; another may come.
    pub fn is_without_process(&self) -> bool {
        matches!(self, Self::BackingOff { .. } | Self::CrashLoop { .. })
    }
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
    /// While it starts: why it will not become ready, as far as its sockets tell ("it listens on 3000, but PORT is 21001 …").
    #[serde(default)]
    pub hint: Option<String>,
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
