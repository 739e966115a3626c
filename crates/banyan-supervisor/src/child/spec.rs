//! What a child is: all that is needed to start it, watch it and end it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use banyan_config::Protocol;
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

impl ChildId {
    /// Whether it can be the name of a file and of a cgroup.
    pub fn is_valid(&self) -> bool {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '@' | '-' | '_');
        (1..=100).contains(&self.0.len()) && !self.0.starts_with('.') && self.0.chars().all(allowed)
    }
}

/// All that is needed to start it, and to start it again.
#[derive(Clone)]
pub struct ChildSpec {
    pub id: ChildId,
    pub argv: Vec<String>,
    /// The whole environment; nothing is inherited, only the marker `BANYAN_SUPERVISED` (installation and id) is added,
    /// by which its processes are found again. May hold secrets: never logged, never written to disk.
    pub env: BTreeMap<String, String>,
    pub cwd: PathBuf,
    pub user: RunAs,
    /// Where stdout and stderr are appended; rotated and kept as `[logs]` says.
    pub log: PathBuf,
    pub ready: Probe,
    pub live: Option<(Probe, LiveRule)>,
    pub start_grace: Duration,
    pub stop: StopSignal,
    pub stop_grace: Duration,
    /// The port it was told to listen on: to say "it listens on 3000, not on 21001".
    pub port: Option<u16>,
}

impl ChildSpec {
    /// A program that runs to its end beside this one: where it runs, as whom, with its environment and `env`.
    pub(crate) fn tool(
        self,
        id: ChildId,
        argv: Vec<String>,
        env: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        let mut all = self.env.clone();
        all.extend(env.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Self {
            id,
            argv,
            env: all,
            ready: Probe::Running {
                for_at_least: Duration::ZERO,
            },
            live: None,
            stop: StopSignal::Terminate,
            port: None,
            ..self
        }
    }
}

impl fmt::Debug for ChildSpec {
    /// Names of environment variables only: their values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("id", &self.id)
            .field("argv", &self.argv)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("cwd", &self.cwd)
            .field("user", &self.user)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
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
    /// GET, or gRPC's health method where that is the path; `timeout` for the whole exchange.
    Http {
        address: SocketAddr,
        /// Sent before the request: a PROXY header, where the child expects one.
        greeting: &'static [u8],
        protocol: Protocol,
        path: String,
        host: Option<String>,
        /// Whose health gRPC's method is asked for; `None`: the whole server's.
        service: Option<String>,
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
    /// Redis says something to PING: that it knows nobody who has not logged in is an answer too.
    Redis {
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
