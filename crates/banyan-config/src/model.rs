//! The typed configuration: what every other part reads. No strings with meaning, no numbers without units.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alerts::Alerts;
use crate::auth::Auth;
use crate::backup::BackupSettings;
use crate::cache::Cache;
use crate::filter::{CountLimits, Filters};
use crate::fraction::Fraction;
use crate::listener::StreamListener;
use crate::logs::LogSettings;
use crate::name::{AppName, HostName, PlaceName, ProcessName, ZoneName};
use crate::observe::ObserveTable;
use crate::origin::Origin;
use crate::place::EdgePlace;
use crate::pooling::{Durability, HoldSettings, MeasureSettings, PoolSettings, Reads};
use crate::proxy_protocol::ProxyProtocol;
use crate::redis::{Purpose, Redis};
use crate::route::{Network, Route};
use crate::scale::Scale;
use crate::template::Template;
use crate::units::duration;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    pub name: AppName,
    pub app: App,
    /// From the Procfile and `[process.NAME]` together; at least one.
    pub processes: BTreeMap<ProcessName, ProcessTable>,
    /// `None`: no process listens (workers only).
    pub edge: Option<EdgeTable>,
    pub database: Option<Database>,
    /// `[sessions]` and `[cache]`, as far as there are any.
    #[serde(flatten)]
    pub redis: BTreeMap<Purpose, Redis>,
    /// `None`: nothing is judged.
    pub alerts: Option<Alerts>,
    /// `None`: nothing is kept, and there is no dashboard.
    pub observe: Option<ObserveTable>,
    pub logs: LogSettings,
    pub hosts: BTreeMap<HostName, Host>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct App {
    /// The app's folder, as written, relative to banyan.toml; default `.`.
    pub dir: PathBuf,
    /// argv of the release command.
    pub release: Option<Vec<Template>>,
    /// Unix user that app processes run as when Banyan runs as root.
    pub user: Option<String>,
    pub env: BTreeMap<String, Template>,
    /// The secrets file as written, relative to banyan.toml. Its values are not part of the Config.
    pub secrets: Option<PathBuf>,
    /// Names defined in the secrets file.
    pub secret_names: Vec<String>,
    pub files: Vec<FileTemplate>,
}

/// A file written from a template before launch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileTemplate {
    /// The template as written, relative to the app's folder.
    pub from: PathBuf,
    /// Where it is written, relative to the app's folder.
    pub to: PathBuf,
    pub text: Template,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessTable {
    pub argv: Vec<Template>,
    /// On top of `[app.env]`.
    pub env: BTreeMap<String, Template>,
    pub count: u32,
    /// Never more than this many at once, not even in a deploy.
    pub max: Option<u32>,
    pub hosts: Vec<HostName>,
    /// Part of the release: a change takes effect with new instances.
    pub protocol: Protocol,
    pub settings: ProcessSettings,
}

/// What an instance is spoken to in, on its port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    #[default]
    Http1,
    /// HTTP/2 in the clear, with prior knowledge (RFC 9113 §3.3).
    H2,
}

impl Protocol {
    pub const ALL: [Self; 2] = [Self::Http1, Self::H2];

    /// As written in banyan.toml.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::H2 => "h2",
        }
    }

    /// For serde: what is not written.
    pub fn is_default(&self) -> bool {
        *self == Self::Http1
    }
}

/// The method of the gRPC health protocol (grpc.io/docs/guides/health-checking): a readiness path that is asked as one.
pub const GRPC_HEALTH: &str = "/grpc.health.v1.Health/Check";

/// How the instances of a process are judged and ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSettings {
    /// `None`: ready when it accepts TCP connections on its port (edge process), or runs for one second (others).
    pub ready: Option<ReadyProbe>,
    /// `None`: only its exit restarts it.
    pub live: Option<LiveProbe>,
    /// Earlier failures do not count; not ready by then: the start has failed. Default 60 s.
    #[serde(with = "duration")]
    pub start_grace: Duration,
    /// From SIGTERM to SIGKILL, and the limit of a drain. Default 30 s.
    #[serde(with = "duration")]
    pub stop_grace: Duration,
    /// What connections to its instances begin with; `None`: with the client's own bytes.
    #[serde(default)]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How its number follows its load; `None`: it is `count`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// Zones of its hosts: instances 1, 2, … are in them in turn. Empty: none is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<ZoneName>,
}

impl ProcessSettings {
    /// Where the instance of a slot (from 1 on) is.
    pub fn zone(&self, slot: u32) -> Option<&ZoneName> {
        let turn = (slot.max(1) - 1) as usize;
        turn.checked_rem(self.zones.len()).map(|turn| &self.zones[turn])
    }
}

/// Readiness steers traffic: an instance that is not ready gets none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyProbe {
    pub path: String,
    /// `Host` header; default: the address.
    pub host: Option<String>,
    /// Expected status; default 200.
    pub status: u16,
    /// Where `path` is [`GRPC_HEALTH`]: whose health is asked for; `None`: the whole server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Default 2 s.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// Default 1 s.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Successes in a row that make it ready again. Default 1.
    pub rise: u32,
    /// Failures in a row that make it unready. Default 2.
    pub fall: u32,
}

impl ReadyProbe {
    /// Whether it is asked by the gRPC health protocol.
    pub fn is_grpc(&self) -> bool {
        self.path == GRPC_HEALTH
    }
}

/// Liveness restarts: an instance that fails it is stopped and started anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveProbe {
    pub path: String,
    pub host: Option<String>,
    /// Failures in a row. Default 10.
    pub failures: u32,
    /// Default 5 s.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// Default 2 s.
    #[serde(with = "duration")]
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EdgeTable {
    /// 127.0.0.1:8080 by default; `public = true` listens on 0.0.0.0.
    pub listen: SocketAddr,
    /// Where TLS is spoken; `None` without `tls`.
    pub https: Option<SocketAddr>,
    /// Default `web`.
    pub process: ProcessName,
    pub hosts: Vec<HostName>,
    pub settings: EdgeSettings,
    /// In the order of the file.
    pub routes: Vec<Route>,
    /// In the order of the file.
    pub listeners: Vec<StreamListener>,
    /// Names on the https port that go to a process undecrypted, as in [`StreamTo::Names`](crate::StreamTo).
    pub passthrough: BTreeMap<String, ProcessName>,
    /// Edges beside this one.
    pub places: BTreeMap<PlaceName, EdgePlace>,
}

/// What a running edge can change without a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EdgeSettings {
    /// The zone of its host, whose instances it prefers; `None`: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneName>,
    /// How an endpoint is picked. Default `p2c_ewma`.
    pub balance: Balance,
    /// By slot number, beginning with 1; the others weigh 1.
    pub weights: Vec<u32>,
    /// What `ring` goes by. Default the path.
    pub hash_by: HashBy,
    /// How long the share of a new endpoint rises from 10 % to 100 %. Default 20 s; 0: no slow start.
    #[serde(with = "duration")]
    pub slow_start: Duration,
    /// `None`: each request goes by itself.
    pub sticky: Option<Sticky>,
    pub health: EdgeHealth,
    pub queue: EdgeQueue,
    /// Peers whose forwarded headers are believed; those of all others are stripped.
    pub trusted_proxies: Vec<Network>,
    /// Connections of trusted proxies begin with a PROXY header. Default false.
    pub proxy_protocol: bool,
    pub timeouts: EdgeTimeouts,
    pub limits: EdgeLimits,
    /// The header that tells instances how many milliseconds are left for their answer. Default: none.
    pub deadline_header: Option<String>,
    /// One line of JSON per request in the edge's log. Default true.
    pub access_log: bool,
    /// Which requests have one.
    pub log: EdgeLog,
    /// Whose trace a request continues. Default: that of trusted proxies.
    pub trace: Trace,
    /// Percent of the traces begun here. Default 10.
    pub trace_sampled: u8,
    /// Worker threads; `None`: one per core. Takes effect at the next start of the edge.
    pub workers: Option<u16>,
    /// How clients show who they are, by name.
    pub auth: BTreeMap<String, Auth>,
    /// Servers elsewhere that routes lead to, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub origins: BTreeMap<String, Origin>,
    /// Of requests that no route takes.
    pub filters: Filters,
    /// Where rate limits are counted. Default here.
    #[serde(skip_serializing_if = "CountLimits::is_here")]
    pub count_limits: CountLimits,
    /// `None`: nothing is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Box<Cache>>,
    /// `None`: no TLS.
    pub tls: Option<Box<Tls>>,
    /// `None`: metrics are not served.
    pub metrics: Option<Metrics>,
}

/// What of the access log is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeLog {
    /// Share of requests. Default all.
    pub sample: Fraction,
    /// Requests that take at least this long are always logged, as errors are. Default 1 s.
    #[serde(with = "duration")]
    pub slow: Duration,
}

/// Where what is measured can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// Default 127.0.0.1:9464.
    pub listen: SocketAddr,
}

impl EdgeSettings {
    /// Whether what this peer says about others is believed.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(peer))
    }
}

/// How the edge speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    pub certificates: Certificates,
    /// Names that people reach the edge by.
    pub domains: Vec<String>,
    /// Plain requests are sent to https. Default true.
    pub redirect: bool,
    /// `Strict-Transport-Security`: how long browsers are to use https only; zero (the default): it is not sent.
    #[serde(with = "duration")]
    pub hsts: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certificates {
    /// Made by the installation's own CA.
    SelfSigned,
    /// Made by a CA that judges by itself that the domains are ours.
    Acme(Acme),
    /// The first one serves clients that name none of the others' domains.
    Files(Vec<CertificateFiles>),
}

/// Who makes certificates by RFC 8555.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acme {
    /// URL of its directory.
    pub directory: String,
    pub contact: Option<String>,
    /// By what the directory's own certificate is believed, as [`CertificateFiles`] are written; `None`: the system's CAs.
    pub root: Option<PathBuf>,
}

/// A certificate (with its chain) and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFiles {
    /// As written, relative to banyan.toml; absolute once it is in a topology.
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Each in turn.
    RoundRobin,
    /// In turn, by weight.
    Weighted,
    /// The one with the fewest requests under way.
    LeastConnections,
    /// The same client address, the same endpoint.
    IpHash,
    /// The same key, the same endpoint, unless it has more than its share.
    Ring,
    /// Of two random ones the one that is expected to answer sooner.
    P2cEwma,
}

impl Balance {
    pub const ALL: [Self; 6] = [
        Self::RoundRobin,
        Self::Weighted,
        Self::LeastConnections,
        Self::IpHash,
        Self::Ring,
        Self::P2cEwma,
    ];

    /// As written in banyan.toml.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::Weighted => "weighted",
            Self::LeastConnections => "least_connections",
            Self::IpHash => "ip_hash",
            Self::Ring => "ring",
            Self::P2cEwma => "p2c_ewma",
        }
    }
}

/// Whose `traceparent` (W3C) is continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trace {
    Off,
    /// That of trusted proxies.
    Proxies,
    Clients,
}

/// What of a request `ring` hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashBy {
    Path,
    Ip,
}

/// How a client stays with its instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sticky {
    /// By its address.
    Ip,
    /// By a signed cookie of this name.
    Cookie(String),
}

/// Passive health: what requests say about an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeHealth {
    /// Failures in a row that eject an endpoint; 0: nobody is ejected. Default 5.
    pub failures: u32,
    /// Within which they must lie. Default 10 s.
    #[serde(with = "duration")]
    pub window: Duration,
    /// For how long, times how often it was ejected lately. Default 30 s.
    #[serde(with = "duration")]
    pub eject: Duration,
    /// Percent of the endpoints that may be ejected at once. Default 50.
    pub max_ejected: u32,
    /// Below this percentage of sound endpoints ejections are passed over. Default 50.
    pub panic: u32,
}

/// How much an endpoint gets at once, and what happens to the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeQueue {
    /// Requests at once per endpoint, over all cores; `None`: no limit, and so no queue.
    pub max_connections: Option<u32>,
    /// Requests that may wait when every endpoint has its limit. Default 1000 → 503.
    pub length: u32,
    /// How long. Default 10 s → 503.
    #[serde(with = "duration")]
    pub wait: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeTimeouts {
    /// For the whole request header. Default 10 s → 408.
    #[serde(with = "duration")]
    pub header: Duration,
    /// Idle keep-alive connection of a client. Default 60 s.
    #[serde(with = "duration")]
    pub idle: Duration,
    /// TCP connect to an endpoint. Default 1 s → another endpoint, or 502.
    #[serde(with = "duration")]
    pub connect: Duration,
    /// From the request sent to the response header. Default 60 s → 504.
    #[serde(with = "duration")]
    pub response: Duration,
    /// How long a request may wait for a ready endpoint when there is none. Default 5 s → 503.
    #[serde(with = "duration")]
    pub no_endpoint: Duration,
    /// A WebSocket (or its like) over which nothing comes for this long is closed. Default 5 min.
    #[serde(with = "duration", default = "five_minutes")]
    pub websocket: Duration,
    /// How long a drain of the edge itself may last. Default 30 s.
    #[serde(with = "duration")]
    pub drain: Duration,
}

/// Of snapshots that were written before there was this limit.
fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EdgeLimits {
    /// Default 32 KiB → 431.
    pub header_bytes: u32,
    /// Default 100 → 431.
    pub headers: u32,
    /// Default 8 KiB → 414.
    pub request_line: u32,
    /// Default 10 MiB → 413.
    pub body: u64,
    /// Of an answer → 502. Default: what the codec takes, 128 KiB and 128 lines.
    pub response_header: Option<u32>,
    /// Of an answer → 502, or broken off. Default: no limit.
    pub response_body: Option<u64>,
    /// Bytes per second that a request body must keep up with after 10 s. Default 500 → 408.
    pub body_rate: u32,
    /// Connections at once of one client address; 0: no limit. Default 256 → closed.
    pub connections_per_ip: u32,
    /// New connections per second of one client address; 0: no limit. Default 50 → 429.
    pub new_per_ip: u32,
    /// Whom the two above are not for, besides trusted proxies. Default: this machine.
    pub exempt_ips: Vec<Network>,
}

impl Default for EdgeLimits {
    fn default() -> Self {
        EdgeSettings::default().limits
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Database {
    /// `url = "postgres://…"`: the user's own; Banyan starts and stops nothing.
    External(ExternalDatabase),
    Managed(ManagedDatabase),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExternalDatabase {
    /// Template, so that the password can be `{{secret.NAME}}`.
    pub url: Template,
    pub pgproxy: PgproxyTable,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ManagedDatabase {
    /// Major version; `None`: that of the data directory, else the newest installed.
    pub postgres: Option<u32>,
    /// `None`: a free one, kept from then on.
    pub port: Option<u16>,
    /// Folder of the data; absolute once the configuration's folder is known. `None`: the state folder.
    pub dir: Option<PathBuf>,
    /// Memory to tune for, in bytes; `None`: a quarter of the machine's.
    pub memory_bytes: Option<u64>,
    /// Default 100.
    pub max_connections: u32,
    /// Database and role of the app; default: the app's name with `_` for `-`.
    pub name: Option<String>,
    /// Copies that follow the primary. Default 0.
    pub replicas: u32,
    /// Default `async`.
    pub durability: Durability,
    /// Default: fresh if there are replicas.
    pub reads: Reads,
    pub pgproxy: Box<PgproxyTable>,
    /// `None`: there are none.
    pub backup: Option<Box<BackupSettings>>,
    /// The user's own settings for postgresql.conf; they win over tuned ones.
    pub settings: BTreeMap<String, String>,
}

/// What stands between the app and PostgreSQL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PgproxyTable {
    /// There is none: `DATABASE_URL` leads to PostgreSQL itself.
    pub direct: bool,
    /// `None`: a free one, kept from then on.
    pub port: Option<u16>,
    pub pool: PoolSettings,
    pub hold: HoldSettings,
    pub measure: MeasureSettings,
    /// Roles of PostgreSQL that may do everything on the console.
    pub admins: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostKind {
    /// This machine.
    Machine,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    pub kind: HostKind,
    /// What it is near to; `None`: nothing is known of it.
    pub zone: Option<ZoneName>,
}
