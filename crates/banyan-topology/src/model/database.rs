//! The managed PostgreSQL: the servers of one database, of which one is primary, and the proxy before them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use banyan_config::{
    BackupSettings, Durability, HoldSettings, MeasureSettings, PoolSettings, Reads, ServerTrust,
};

use crate::id::NodeId;

/// Settings that PostgreSQL 15 takes only at a start (`context = postmaster` in `pg_settings`), of those that a user may
/// set.
const AT_START: [&str; 42] = [
    "archive_mode",
    "autovacuum_freeze_max_age",
    "autovacuum_max_workers",
    "autovacuum_multixact_freeze_max_age",
    "bonjour",
    "bonjour_name",
    "dynamic_shared_memory_type",
    "event_source",
    "huge_page_size",
    "huge_pages",
    "jit_provider",
    "logging_collector",
    "max_files_per_process",
    "max_locks_per_transaction",
    "max_logical_replication_workers",
    "max_pred_locks_per_transaction",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_wal_senders",
    "max_worker_processes",
    "min_dynamic_shared_memory",
    "old_snapshot_threshold",
    "recovery_target",
    "recovery_target_action",
    "recovery_target_inclusive",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_timeline",
    "recovery_target_xid",
    "shared_memory_type",
    "shared_preload_libraries",
    "superuser_reserved_connections",
    "track_activity_query_size",
    "track_commit_timestamp",
    "unix_socket_group",
    "unix_socket_permissions",
    "wal_buffers",
    "wal_decode_buffer_size",
    "wal_level",
    "wal_log_hints",
    "max_connections",
];

/// The managed PostgreSQL of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Database {
    /// Major version, for example 15. Fixed by the data directory once that exists.
    pub version: u32,
    /// Its servers; each has all the data.
    pub nodes: BTreeMap<NodeId, Node>,
    /// The one of them that takes writes.
    pub primary: NodeId,
    /// When it acknowledges a write.
    pub durability: Durability,
    /// Memory that the settings of each server are tuned for, in bytes.
    pub memory_bytes: u64,
    pub max_connections: u32,
    /// Database and role of the app.
    pub name: String,
    pub user: String,
    /// `None`: there are none.
    pub backup: Option<BackupSettings>,
    /// The user's own `postgresql.conf` settings; they win over tuned ones.
    pub settings: BTreeMap<String, String>,
}

/// One server of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeId,
    /// On 127.0.0.1.
    pub port: u16,
    /// Absolute folder of its data; `None`: the state folder. A server stays where it is: another one takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
}

impl Database {
    /// Of the primary; 0 if it is none of the nodes, which no check lets pass.
    pub fn port(&self) -> u16 {
        self.nodes.get(&self.primary).map_or(0, |node| node.port)
    }

    /// Of the primary's data; `None`: the state folder.
    pub fn dir(&self) -> Option<&Path> {
        self.nodes.get(&self.primary)?.dir.as_deref()
    }

    /// By number.
    pub fn replicas(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| node.id != self.primary)
    }

    pub fn is_primary(&self, id: NodeId) -> bool {
        self.primary == id
    }

    /// The primary alone: what a start begins with and a stop ends with.
    pub fn alone(&self) -> Self {
        let mut alone = self.clone();
        alone.nodes.retain(|id, _| *id == self.primary);
        alone.durability = Durability::Async;
        alone
    }

    pub fn is_alone(&self) -> bool {
        self.replicas().next().is_none() && self.nodes.contains_key(&self.primary)
    }

    /// Whether steps lead from one to the other while data and name stay. A primary that is to be the same server on
    /// another port or in another folder has no such way: a server of another number has.
    pub fn continues(&self, other: &Self) -> bool {
        let same = |a: &Self| (a.version, a.name.clone(), a.user.clone());
        let place = |a: &Self| a.nodes.get(&a.primary).cloned();
        let stays = self.primary == other.primary;
        same(self) == same(other) && (!stays || place(self) == place(other))
    }

    /// The settings of `other` on the servers of this one. When writes are acknowledged, and backups, are none.
    pub fn with_settings_of(&self, other: &Self) -> Self {
        Self {
            nodes: self.nodes.clone(),
            primary: self.primary,
            durability: self.durability,
            backup: self.backup.clone(),
            ..other.clone()
        }
    }

    /// Whether a server must be started anew to have the other's settings.
    pub fn restarts_for(&self, other: &Self) -> bool {
        let at_start = |side: &Self| -> BTreeMap<String, String> {
            let of = side.settings.iter();
            of.filter(|(name, _)| AT_START.contains(&name.as_str()) || name.contains('.'))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        };
        self.memory_bytes != other.memory_bytes
            || self.max_connections != other.max_connections
            || at_start(self) != at_start(other)
    }
}

/// As a file has it: one of before there were replicas says `port` alone.
#[derive(Deserialize)]
struct Written {
    version: u32,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    nodes: BTreeMap<NodeId, Node>,
    #[serde(default)]
    primary: Option<NodeId>,
    #[serde(default)]
    durability: Durability,
    memory_bytes: u64,
    max_connections: u32,
    name: String,
    user: String,
    #[serde(default)]
    backup: Option<BackupSettings>,
    settings: BTreeMap<String, String>,
}

impl From<Written> for Database {
    fn from(written: Written) -> Self {
        let Written {
            version,
            port,
            mut nodes,
            primary,
            durability,
            memory_bytes,
            max_connections,
            name,
            user,
            backup,
            settings,
        } = written;
        let primary = primary.unwrap_or(NodeId::FIRST);
        if let Some(port) = port {
            nodes.entry(primary).or_insert(Node {
                id: primary,
                port,
                dir: None,
            });
        }
        Self {
            version,
            nodes,
            primary,
            durability,
            memory_bytes,
            max_connections,
            name,
            user,
            backup,
            settings,
        }
    }
}

/// The PostgreSQL proxy as the user configured it; whom it leads to is the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pgproxy {
    /// Where `DATABASE_URL` leads.
    pub listen: SocketAddr,
    /// Where it led before: accepted too, as long as instances of then run.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub before: BTreeSet<SocketAddr>,
    pub pool: PoolSettings,
    pub hold: HoldSettings,
    pub reads: Reads,
    #[serde(default)]
    pub measure: MeasureSettings,
    /// Who may do everything on the console, beside those PostgreSQL lets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub admins: Vec<String>,
    /// Where it leads instead of to the managed database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<Box<External>>,
    /// The first 16 hex digits of the SHA-256 of the banyan program that it runs; empty: not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program: String,
}

impl Pgproxy {
    /// Wherever it accepts clients.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        std::iter::once(self.listen).chain(self.before.iter().copied())
    }

    /// Where instances of a release find it that was made for this port. One of another port, or of none, is of before.
    pub fn address_for(&self, port: Option<u16>) -> SocketAddr {
        let accepted = self.addresses().find(|address| Some(address.port()) == port);
        let before = self.before.first().copied();
        accepted.or(before).unwrap_or(self.listen)
    }

    /// The same proxy that leads there, and goes on accepting where it did.
    pub fn beside(&self, listen: SocketAddr) -> Self {
        let mut before: BTreeSet<_> = self.addresses().collect();
        before.remove(&listen);
        Self {
            listen,
            before,
            ..self.clone()
        }
    }

    /// The same proxy as a process like `other`: what a running one keeps until it is replaced.
    pub fn started_like(&self, other: &Self) -> Self {
        Self {
            program: other.program.clone(),
            ..self.clone()
        }
    }
}

/// The user's own PostgreSQL. No password is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct External {
    /// A domain or an address.
    pub host: String,
    pub port: u16,
    pub name: String,
    pub user: String,
    pub tls: ServerTrust,
    /// The other options of its URL, for those who connect to it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
    /// Of the URL with its password, in hex: tells a change, and names the file that holds it.
    pub login: String,
}

impl std::fmt::Display for External {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port, name, .. } = self;
        write!(f, "{name} on {host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_before_there_were_replicas_is_read() {
        let text = r#"{"version":15,"port":25432,"memory_bytes":1,"max_connections":100,"name":"a","user":"a","settings":{}}"#;
        let database: Database = serde_json::from_str(text).unwrap();
        assert_eq!((database.primary, database.port()), (NodeId(1), 25432));
        assert!(database.is_alone());
        let again: Database = serde_json::from_str(&serde_json::to_string(&database).unwrap()).unwrap();
        assert_eq!(again, database);
    }

    #[test]
    fn only_some_settings_need_a_restart() {
        let text = r#"{"version":15,"port":1,"memory_bytes":1,"max_connections":100,"name":"a","user":"a","settings":{}}"#;
        let database: Database = serde_json::from_str(text).unwrap();
        let with = |name: &str| {
            let mut other = database.clone();
            other.settings.insert(name.to_owned(), "1".to_owned());
            database.restarts_for(&other)
        };
        assert!(!with("work_mem"));
        assert!(with("max_locks_per_transaction"));
        // What an extension reads is not known: to be sure, at a start.
        assert!(with("pg_stat_statements.max"));
    }
}
