//! How the app's connections share those of PostgreSQL, and which server answers reads: what a running pgproxy is told.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::duration;

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
