//! How the app's connections share those of PostgreSQL, and which server answers reads: what a running pgproxy is told.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{duration, format_duration, parse_duration};

/// What a running pgproxy can change without a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSettings {
    /// Backends per database, user and node; at least 1. Default 20.
    pub size: u32,
    /// Clients at once; one more is refused with 53300. Default 1000.
    pub max_clients: u32,
    /// How long a unit waits for a backend. Default 10 s → 53300.
    #[serde(with = "duration")]
    pub wait: Duration,
    /// Default `transaction`.
    pub mode: PoolMode,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            size: 20,
            max_clients: 1000,
            wait: Duration::from_secs(10),
            mode: PoolMode::Transaction,
        }
    }
}

/// How long a client keeps a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolMode {
    /// For a transaction; session state is carried over.
    Transaction,
    /// Until it disconnects.
    Session,
}

impl PoolMode {
    pub const ALL: [Self; 2] = [Self::Transaction, Self::Session];

    /// As written in banyan.toml.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Session => "session",
        }
    }
}

/// When a replica may answer a statement that is proven to be a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reads {
    /// It has replayed every write that any client was told of.
    Fresh,
    /// It has replayed every write that this client was told of.
    Session,
    /// It is at most this far behind.
    Bounded {
        #[serde(with = "duration")]
        lag: Duration,
    },
    /// Never. The default while there are no replicas.
    #[default]
    Primary,
}

/// Not a word for [`Reads`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write fresh, session, bounded:500ms or primary")]
pub struct NotReads;

impl FromStr for Reads {
    type Err = NotReads;

    /// As written in banyan.toml. A bound is from 1 ms to 1 h.
    fn from_str(text: &str) -> Result<Self, NotReads> {
        let bound = || {
            let lag = parse_duration(text.strip_prefix("bounded:")?)?;
            let sound = (Duration::from_millis(1)..=Duration::from_secs(3600)).contains(&lag);
            sound.then_some(Self::Bounded { lag })
        };
        match text {
            "fresh" => Ok(Self::Fresh),
            "session" => Ok(Self::Session),
            "primary" => Ok(Self::Primary),
            _ => bound().ok_or(NotReads),
        }
    }
}

impl fmt::Display for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh => f.write_str("fresh"),
            Self::Session => f.write_str("session"),
            Self::Bounded { lag } => write!(f, "bounded:{}", format_duration(*lag)),
            Self::Primary => f.write_str("primary"),
        }
    }
}

/// How long statements wait while the primary changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldSettings {
    /// How long open transactions may run on. Default 5 s.
    #[serde(with = "duration")]
    pub grace: Duration,
    /// When waiting ends without a primary. Default 15 s.
    #[serde(with = "duration")]
    pub limit: Duration,
}

impl Default for HoldSettings {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(5),
            limit: Duration::from_secs(15),
        }
    }
}

/// What pgproxy measures of statements; a running one can change it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasureSettings {
    /// Rates and latencies by shape of statement. Default true.
    pub statements: bool,
    /// A statement that a server needs longer for is logged, without its values. Default 500 ms.
    #[serde(with = "duration")]
    pub slow_query: Duration,
}

impl Default for MeasureSettings {
    fn default() -> Self {
        Self {
            statements: true,
            slow_query: Duration::from_millis(500),
        }
    }
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// When it is on the primary's disk: losing the primary may lose the last ones.
    #[default]
    Async,
    /// When it is on a replica's disk, too: losing the primary loses none. Writes wait while there is no replica.
    Sync,
}

impl Durability {
    /// As written in banyan.toml.
    pub fn name(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::Sync => "sync",
        }
    }
}
