//! Why a configuration cannot become a topology, and what to do about each.

use std::fmt;
use std::path::PathBuf;

use banyan_config::Purpose;

use crate::id::{AppName, InstanceId, NodeId, ProcessName, ReleaseId};

/// All of them at once: the user mends once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveErrors(pub Vec<ResolveError>);

impl fmt::Display for ResolveErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ResolveErrors {}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error(
        "this state directory belongs to `{running}`, but the configuration says name = \"{wanted}\"; \
         put the name back, or run `banyan down` before changing it"
    )]
    OtherApp { running: AppName, wanted: AppName },

    #[error(
        "{}PostgreSQL {version} is not installed{}; run `sudo apt-get install -y postgresql-{version}`{}",
        why(.may_choose),
        have(.installed),
        instead(.may_choose, .installed)
    )]
    PostgresMissing {
        version: u32,
        installed: Vec<u32>,
        /// Whether another version could be configured: not once there is data.
        may_choose: bool,
    },

    #[error(
        "database.postgres = {wanted}, but the data directory is of PostgreSQL {data}; set database.postgres = {data} \
         (or leave it out): Banyan does not convert data between major versions yet"
    )]
    OtherDataVersion { wanted: u32, data: u32 },

    #[error(
        "{key} cannot change while PostgreSQL runs ({from} → {to}); run `banyan down`, then `banyan up` with the new \
         configuration{}",
        if *.key == "database.name" { " (the new database begins empty; the data of the old one stays in it)" } else { "" }
    )]
    DatabaseChange {
        key: &'static str,
        from: String,
        to: String,
    },

    #[error(
        "database.url leads to another PostgreSQL than the one that Banyan runs here, and Banyan does not copy data \
         between them: run `banyan down`, copy the data (`pg_dump` and `pg_restore`), then `banyan up` with `url`; or \
         take `url` out again"
    )]
    ToExternal,

    #[error(
        "the app's data is in the PostgreSQL of database.url, and Banyan does not copy it into one of its own: run \
         `banyan down`, then `banyan up` without `url` (its database begins empty), and copy the data (`pg_dump` and \
         `pg_restore`); or put `url` back"
    )]
    FromExternal,

    /// Why data cannot be there, and what to do.
    #[error("database.dir: {0}")]
    Dir(String),

    #[error(
        "database.dir moves the data to a server that runs beside the present one, and port {port} is the present \
         one's; write another database.port, or leave it out"
    )]
    DirAndPort { port: u16 },

    #[error(
        "the data of PostgreSQL is to be in {dir}, and there is none: if a disk is mounted there, mount it; \
         `banyan destroy` gives the data up"
    )]
    DataGone { dir: String },

    #[error(
        "the data of PostgreSQL is in {}, and it moves to database.dir only while it is used, behind the proxy: {} to \
         start where it is, or {then}",
        place(.dir),
        keep(.dir)
    )]
    DataElsewhere {
        /// `None`: the state folder.
        dir: Option<PathBuf>,
        /// What lets it move.
        then: &'static str,
    },

    #[error(
        "Redis is not installed, and [{0}] needs it; run `sudo apt-get install -y redis-server` (its own service is not \
         needed: `sudo systemctl disable --now redis-server`), or set {0}.url to a Redis of your own"
    )]
    RedisMissing(Purpose),

    #[error(
        "{purpose}.port cannot change while the app uses it ({from} → {to}); run `banyan down`, then `banyan up` with \
         the new configuration"
    )]
    RedisPort { purpose: Purpose, from: u16, to: u16 },

    #[error(
        "{release} uses the Redis of [{purpose}], which the configuration no longer has Banyan run; put [{purpose}] back, \
         or `banyan deploy` a release without it"
    )]
    RedisOfRelease { release: ReleaseId, purpose: Purpose },

    /// Why there can be no backups, and what to do.
    #[error("database.backup: {0}")]
    Backup(String),

    #[error(
        "port {port} ({key}) is in use by another program; `ss -ltnp 'sport = :{port}'` names it: stop it, or choose another port"
    )]
    PortTaken { key: &'static str, port: u16 },

    #[error("port {port} ({key}) is the port of {holder}; choose another one")]
    PortOfInstance {
        key: &'static str,
        port: u16,
        holder: InstanceId,
    },

    #[error("edge.port and database.port are both port {0}; choose another one for the edge")]
    PortTwice(u16),

    #[error(
        "no free port is left for {needed} of {wanted} new instances; lower `count`, or free ports in 20000-29999"
    )]
    NoPorts { needed: usize, wanted: usize },

    #[error("process.{process}.count = {count} is more than its max = {max}; lower count or raise max")]
    CountOverMax {
        process: ProcessName,
        count: u32,
        max: u32,
    },

    #[error("the edge forwards to process `{process}`, which {release} does not have (it has {}); {next}", list(.known))]
    NoEdgeProcess {
        process: ProcessName,
        release: String,
        known: Vec<ProcessName>,
        next: &'static str,
    },

    #[error("there is no release before {0} to go back to; `banyan deploy` makes a new one")]
    NothingBefore(ReleaseId),

    #[error("nothing was deployed yet, so there is no release to go back to; run `banyan up` first")]
    NoRelease,

    #[error("{0} is the current release already; nothing to roll back")]
    AlreadyCurrent(ReleaseId),

    #[error("{wanted} is not a kept release (kept: {}); choose one of those", list(.known))]
    UnknownRelease {
        wanted: ReleaseId,
        known: Vec<ReleaseId>,
    },

    #[error("Banyan runs no PostgreSQL here; run `banyan up` first, or add [database] without `url`")]
    NoDatabase,

    #[error(
        "there is no replica that could take over; write replicas = 1 in [database] and `banyan apply` first"
    )]
    NoReplica,

    #[error("{0} is the primary already; nothing to switch over")]
    PrimaryAlready(NodeId),

    #[error("{wanted} is no replica (replicas: {}); choose one of those", list(.known))]
    UnknownServer { wanted: NodeId, known: Vec<NodeId> },

    #[error(
        "{0} is kept since a rollback or a failed deploy, but its content is gone; run `banyan deploy` to make a new release"
    )]
    PinnedLost(ReleaseId),
}

fn list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

fn have(versions: &[u32]) -> String {
    if versions.is_empty() {
        String::new()
    } else {
        format!(" (installed: {})", list(versions))
    }
}

/// Nobody has asked for this version: the data has.
fn why(may_choose: &bool) -> &'static str {
    if *may_choose {
        ""
    } else {
        "the data directory needs the version that made it: "
    }
}

fn instead(may_choose: &bool, versions: &[u32]) -> String {
    match versions.last() {
        Some(newest) if *may_choose => format!(", or set database.postgres = {newest}"),
        _ => String::new(),
    }
}

fn place(dir: &Option<PathBuf>) -> String {
    match dir {
        Some(dir) => dir.display().to_string(),
        None => "the state folder".to_owned(),
    }
}

fn keep(dir: &Option<PathBuf>) -> String {
    match dir {
        Some(dir) => format!("write database.dir = \"{}\"", dir.display()),
        None => "take database.dir out".to_owned(),
    }
}
