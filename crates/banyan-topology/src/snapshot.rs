//! What a role is told: one complete, immutable, numbered value per role, published as a file.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use banyan_config::{EdgeSettings, ReadyProbe};

use crate::id::{AppName, Epoch, InstanceId, ProcessName};

/// All that the edge role knows. It keeps the last good one and refuses older epochs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeSnapshot {
    pub epoch: Epoch,
    pub app: AppName,
    pub listen: SocketAddr,
    pub settings: EdgeSettings,
    pub upstream: Upstream,
}

/// A group that gets traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    pub process: ProcessName,
    /// How the edge itself checks each endpoint; `None`: a TCP connect.
    pub ready: Option<ReadyProbe>,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub id: InstanceId,
    pub address: SocketAddr,
    pub state: EndpointState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// Gets requests while healthy.
    Active,
    /// Finishes what is in flight, gets nothing new. A state, not a command: a restarted edge does the same.
    Draining,
}
