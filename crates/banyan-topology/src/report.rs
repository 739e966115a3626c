//! What a role tells the controller, each second and at once after a change of epoch, health or an emptied drain.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, InstanceId};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EdgeReport {
    pub pid: u32,
    /// The epoch that every core of the role serves.
    pub epoch: Epoch,
    /// Addresses it accepts connections on right now.
    pub listening: Vec<SocketAddr>,
    /// What TLS is served by; `None`: none.
    #[serde(default)]
    pub certificates: Option<CertificatesReport>,
    /// Why the newest snapshot could not be taken (for example: address in use); the last good one is served.
    pub refused: Option<String>,
    pub endpoints: Vec<EndpointReport>,
    pub totals: EdgeTotals,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertificatesReport {
    pub names: Vec<String>,
    /// When the first of them expires, in Unix seconds.
    pub until: i64,
    /// Why changed files were not taken up; the former ones are served.
    pub problem: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointReport {
    pub id: InstanceId,
    pub healthy: bool,
    /// Why it is not healthy, in words.
    pub reason: Option<String>,
    /// Why passive health has taken it out for a while, in words.
    #[serde(default)]
    pub ejected: Option<String>,
    /// How often it has.
    #[serde(default)]
    pub ejections: u64,
    /// Requests sent and not yet finished, over all cores; upgraded connections count.
    pub in_flight: u64,
    pub requests: u64,
    pub failures: u64,
}

/// Counters since the role started, and latency over the last ten seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EdgeTotals {
    pub requests: u64,
    pub responses_2xx: u64,
    pub responses_3xx: u64,
    pub responses_4xx: u64,
    pub responses_5xx: u64,
    /// Answers that the edge made itself (502, 503, 504 …).
    pub made_here: u64,
    pub retries: u64,
    pub connections: u64,
    pub in_flight: u64,
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
    /// Requests that wait because every endpoint has as many as it may have.
    #[serde(default)]
    pub queue_length: u64,
    /// How long requests waited for an endpoint; `None`: there is no limit per endpoint.
    #[serde(default)]
    pub queue_p50_us: Option<u64>,
    #[serde(default)]
    pub queue_p99_us: Option<u64>,
    /// Requests refused because the queue was full or the wait too long.
    #[serde(default)]
    pub shed: u64,
}

/// One line on the report socket (`.banyan/report.sock`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "role", content = "report")]
pub enum RoleReport {
    Edge(EdgeReport),
}
