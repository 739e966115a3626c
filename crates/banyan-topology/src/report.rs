//! What a role tells the controller, each second and at once after a change of epoch, health or an emptied drain.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, InstanceId, NodeId, PlaceName, ProcessName};
use crate::purge::PurgeReport;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EdgeReport {
    pub pid: u32,
    /// Where it runs; `None`: it is the first edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<PlaceName>,
    /// The epoch that every core of the role serves.
    pub epoch: Epoch,
    /// Addresses it accepts connections on right now.
    pub listening: Vec<SocketAddr>,
    /// What TLS is served by; `None`: none.
    #[serde(default)]
    pub certificates: Option<CertificatesReport>,
    /// What clients show who they are by.
    #[serde(default)]
    pub auth: Vec<AuthReport>,
    /// Why rate limits are not counted with the other edges, as they should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_alone: Option<String>,
    /// Servers elsewhere that routes lead to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<OriginReport>,
    /// Why the newest snapshot could not be taken (for example: address in use); the last good one is served.
    pub refused: Option<String>,
    pub endpoints: Vec<EndpointReport>,
    /// What passes through listeners that speak no HTTP.
    #[serde(default)]
    pub streams: Vec<StreamReport>,
    pub totals: EdgeTotals,
    /// What the instances of each process were asked.
    #[serde(default)]
    pub processes: Vec<ProcessReport>,
    /// Where metrics are read.
    #[serde(default)]
    pub metrics: Option<MetricsReport>,
    /// How far it is with purges.
    #[serde(default)]
    pub purge: PurgeReport,
    /// What its cache has on the disk; `None`: nothing is to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheReport>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheReport {
    pub disk_bytes: u64,
    pub disk_objects: u64,
    /// Answers that are still on their way to the store or to its disk.
    #[serde(default)]
    pub under_way: u64,
    /// Why nothing is written or read there for a while.
    pub problem: Option<String>,
}

/// Counters since the role started, and latency over the last ten seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessReport {
    pub process: ProcessName,
    /// That have ended.
    pub requests: u64,
    /// Of those: answered with 5xx, or broken off.
    pub errors: u64,
    /// Requests refused because none was free in time.
    #[serde(default)]
    pub shed: u64,
    /// Requests that wait for one, now.
    #[serde(default)]
    pub waiting: u64,
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsReport {
    pub address: SocketAddr,
    /// Why they are not served there.
    pub problem: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertificatesReport {
    pub names: Vec<String>,
    /// When the first of them expires, in Unix seconds.
    pub until: i64,
    /// Why changed files were not taken up; the former ones are served.
    pub problem: Option<String>,
}

/// Of a listener since the role started; `passthrough`: of the names that share the https port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamReport {
    pub name: String,
    /// Connections that reached an instance.
    pub connections: u64,
    pub open: u64,
    /// Those that no instance took, or whose name leads nowhere.
    pub refused: u64,
    /// Bytes from clients, and to them.
    pub received: u64,
    pub sent: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuthReport {
    pub name: String,
    /// Keys or users that are known.
    pub entries: usize,
    /// Why the newest ones could not be read or fetched; the last good ones hold.
    pub problem: Option<String>,
}

/// One server of an origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginReport {
    pub origin: String,
    pub url: String,
    /// False: the others are asked first.
    pub sound: bool,
    /// What its last check found, or what else is wrong, in words.
    pub reason: Option<String>,
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
    /// Connections that were more than one client address may have, or came too fast.
    #[serde(default)]
    pub turned_away: u64,
}

/// What the PostgreSQL proxy tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PgproxyReport {
    pub pid: u32,
    /// The epoch that every worker of the role serves.
    pub epoch: Epoch,
    /// Addresses it accepts connections on right now.
    pub listening: Vec<SocketAddr>,
    /// Why the newest snapshot could not be taken; the last good one is served.
    pub refused: Option<String>,
    pub hold: HoldState,
    /// Why the last hold ended without its goal, in words; cleared by the next hold.
    #[serde(default)]
    pub hold_failure: Option<String>,
    pub clients: u64,
    /// Connections to servers.
    pub backends: u64,
    /// Units that wait for a backend or in a hold.
    pub waiting: u64,
    /// Clients that keep their backend for what their session holds.
    #[serde(default)]
    pub pinned: u64,
    /// Why passwords could not be checked when a client tried to log in last; `None`: they could.
    #[serde(default)]
    pub auth_problem: Option<String>,
    pub nodes: Vec<NodeReport>,
    /// What clients of servers saw since the last report.
    pub signals: NodeSignals,
    /// Simple queries, and messages up to Sync; over the last ten seconds.
    #[serde(default)]
    pub units_per_second: Option<f64>,
    /// Slow statements of the last minute.
    #[serde(default)]
    pub slow: u64,
    /// How long units waited for a connection that were not served at once; of the last ten seconds.
    #[serde(default)]
    pub wait_p99_us: Option<u64>,
    /// Log written by the primary, over the last minute.
    #[serde(default)]
    pub wal_bytes_per_second: Option<f64>,
}

/// How far a hold is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    #[default]
    Open,
    /// New units wait, running ones finish.
    Draining,
    /// Nothing runs on a server, no connection to one is open.
    Held,
    /// The new primary is judged.
    Repointing,
    /// Waiting units go on, in their order.
    Releasing,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    pub id: NodeId,
    pub reachable: bool,
    /// Why it gets nothing, in words; `None`: it is used.
    #[serde(default)]
    pub reason: Option<String>,
    /// `None`: not known.
    pub in_recovery: Option<bool>,
    /// How far it is behind the primary's write position.
    pub lag_bytes: Option<u64>,
    pub lag_seconds: Option<f64>,
    /// `pg_postmaster_start_time`, in microseconds since 1970: what was known before counts no more when it changes.
    pub incarnation: Option<i64>,
    /// LSN up to which it has replayed.
    pub replayed: Option<u64>,
}

/// Counts since the report before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSignals {
    /// Backends of the primary that ended without a word.
    pub eof: u64,
    /// 57P01, 57P02, 57P03: it is shut down, has crashed, cannot connect now.
    pub shutdown: u64,
    /// Connects that were refused or timed out.
    pub refused: u64,
}

/// One line on the report socket (`.banyan/report.sock`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "role", content = "report")]
pub enum RoleReport {
    Edge(Box<EdgeReport>),
    Pgproxy(Box<PgproxyReport>),
    Observe(Box<ObserveReport>),
}

/// What the role that keeps what is measured tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObserveReport {
    pub pid: u32,
    pub epoch: Epoch,
    /// Of the dashboard; `None`: its port is taken, and it is tried again.
    pub listening: Option<SocketAddr>,
    /// Why something of it is missing: the port is taken, the disk is full.
    pub problem: Option<String>,
    /// Series that are kept, and those that were one too many.
    pub series: u64,
    pub dropped: u64,
    pub disk_bytes: u64,
}
