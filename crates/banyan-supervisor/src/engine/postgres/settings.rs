//! PostgreSQL's settings, tuned from the memory it is given: pure text.
//!
//! A quarter of the memory is its own cache and three quarters are what it may assume the system caches, as in the
//! specification (64 GiB: shared_buffers 16GB, effective_cache_size 48GB, work_mem 128MB, maintenance_work_mem 2GB).

use std::collections::BTreeMap;
use std::fmt::Write;

use banyan_config::Durability;
use banyan_topology::{Database, NodeId};

use super::least::Least;

/// Decided by Banyan: another value would cut it off from its own server.
const RESERVED: [&str; 10] = [
    "cluster_name",
    "primary_conninfo",
    "primary_slot_name",
    "synchronous_standby_names",
    "config_file",
    "data_directory",
    "hba_file",
    "ident_file",
    "password_encryption",
    "port",
];

/// A setting that the user may not change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the PostgreSQL setting `{0}` cannot be set here: Banyan decides it; remove it from [database] settings"
)]
pub struct Reserved(pub String);

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What a server's settings say besides what its database does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// The connection string of a replica; `None`: it is the primary.
    pub following: Option<&'a str>,
    /// What stores a piece of log; `None`: nothing does.
    pub archive: Option<&'a str>,
    /// What the log that a replica replays asks for: it ends, or stops replaying, with less.
    pub least: &'a [Least],
}

/// Name and value of every setting of one server; the user's own win.
pub fn tuned(
    database: &Database,
    node: NodeId,
    beside: Beside<'_>,
) -> Result<BTreeMap<String, String>, Reserved> {
    let memory = database.memory_bytes;
    let connections = u64::from(database.max_connections.max(1));
    let mut settings = BTreeMap::new();
    let mut set = |name: &str, value: String| settings.insert(name.to_owned(), value);

    let port = database.nodes.get(&node).map_or(0, |node| node.port);
    set("port", port.to_string());
    set("cluster_name", node.to_string());
    set("listen_addresses", "127.0.0.1".to_owned());
    set("unix_socket_directories", String::new());
    set("password_encryption", "scram-sha-256".to_owned());
    set("max_connections", connections.to_string());

    set("shared_buffers", megabytes(memory / 4));
    set("effective_cache_size", megabytes(memory / 4 * 3));
    set("work_mem", megabytes(work_memory(memory, connections)));
    set(
        "maintenance_work_mem",
        megabytes((memory / 32).clamp(16 * MIB, 2 * GIB)),
    );

    // Fewer, smoother checkpoints: bounded by the time to recover, so by size as well.
    set("checkpoint_timeout", "15min".to_owned());
    set("checkpoint_completion_target", "0.9".to_owned());
    let max_wal = (memory / 4).clamp(GIB, 16 * GIB);
    set("max_wal_size", megabytes(max_wal));
    set("min_wal_size", megabytes(max_wal / 4));
    set("wal_compression", "on".to_owned());
    // Ready for a replica without a restart.
    set("wal_level", "replica".to_owned());
    set("max_wal_senders", "10".to_owned());
    set("wal_log_hints", "on".to_owned());
    // What a replica that was away for a moment needs, should its slot be gone with a former primary.
    set("wal_keep_size", "256MB".to_owned());
    // One that stays away must not fill the disk.
    set("max_slot_wal_keep_size", megabytes(max_wal * 4));
    for (name, value) in archive(database, beside.archive) {
        set(name, value);
    }
    for (name, value) in replication(database, node, beside.following) {
        set(name, value);
    }

    // Solid state disks: a random page costs little more than the next one.
    set("random_page_cost", "1.1".to_owned());
    set("effective_io_concurrency", "200".to_owned());
    // Compiling costs more than the short queries of a web app take.
    set("jit", "off".to_owned());

    set("logging_collector", "off".to_owned());
    set("log_line_prefix", "%m [%p] %q%u@%d ".to_owned());
    set("log_timezone", "UTC".to_owned());

    for (name, value) in &database.settings {
        let name = name.to_ascii_lowercase();
        if RESERVED.contains(&name.as_str()) {
            return Err(Reserved(name));
        }
        settings.insert(name, value.clone());
    }
    for least in beside.least {
        if least.exceeds(settings.get(least.name).map(String::as_str)) {
            settings.insert(least.name.to_owned(), least.value.to_string());
        }
    }
    Ok(settings)
}

/// On from the first start, so that backups begin without another: a command that does nothing stores nothing.
fn archive(database: &Database, command: Option<&str>) -> [(&'static str, String); 3] {
    let timeout = match (&database.backup, command) {
        (Some(backup), Some(_)) => format!("{}s", backup.archive_timeout.as_secs().max(1)),
        _ => "0".to_owned(),
    };
    [
        ("archive_mode", "on".to_owned()),
        ("archive_command", command.unwrap_or("/bin/true").to_owned()),
        ("archive_timeout", timeout),
    ]
}

/// What a server is to the others.
fn replication(database: &Database, node: NodeId, following: Option<&str>) -> Vec<(&'static str, String)> {
    let others: Vec<String> = database
        .nodes
        .keys()
        .filter(|other| **other != node)
        .map(NodeId::to_string)
        .collect();
    let synchronous = database.durability == Durability::Sync && !others.is_empty();
    let names = if synchronous {
        format!("ANY 1 ({})", others.join(", "))
    } else {
        String::new()
    };
    let mut settings = vec![
        ("synchronous_standby_names", names),
        // Who has replicas promotes one sooner than it recovers.
        (
            "restart_after_crash",
            if others.is_empty() { "on" } else { "off" }.to_owned(),
        ),
        // How soon a replica is back behind a primary that was away, and how soon one knows that the other is gone.
        ("wal_retrieve_retry_interval", "200ms".to_owned()),
        ("wal_receiver_status_interval", "1s".to_owned()),
        ("wal_receiver_timeout", "10s".to_owned()),
        ("wal_sender_timeout", "10s".to_owned()),
        // A query on a replica must not make all others stale.
        ("max_standby_streaming_delay", "5s".to_owned()),
    ];
    if let Some(following) = following {
        settings.push(("primary_conninfo", following.to_owned()));
        settings.push(("primary_slot_name", node.to_string()));
    }
    settings
}

/// What three quarters of the memory allow when every connection runs two sorts or hashes at once, to the nearest
/// power of two.
fn work_memory(memory: u64, connections: u64) -> u64 {
    let fair = memory / 4 * 3 / (connections * 2) / MIB;
    let below = 1_u64 << fair.max(1).ilog2();
    let nearest = if fair - below.min(fair) > below * 2 - fair.min(below * 2) {
        below * 2
    } else {
        below
    };
    nearest.clamp(2, 1024) * MIB
}

fn megabytes(bytes: u64) -> String {
    format!("{}MB", bytes / MIB)
}

/// The text of `banyan.conf`.
pub fn config_file(database: &Database, node: NodeId, beside: Beside<'_>) -> Result<String, Reserved> {
    let mut text = String::from(
        "# Written by Banyan at each start; changes here are lost.\n\
         # Put your own settings into banyan.toml, under [database] settings: they win over these.\n",
    );
    for (name, value) in tuned(database, node, beside)? {
        // Infallible: writing to a string.
        writeln!(text, "{name} = '{}'", value.replace('\'', "''")).ok();
    }
    Ok(text)
}

/// The text of `pg_hba.conf`: passwords only, from this machine only.
pub fn access_file() -> &'static str {
    "# Written by Banyan at each start; changes here are lost.\n\
     # TYPE  DATABASE     USER  ADDRESS       METHOD\n\
     host    all          all   127.0.0.1/32  scram-sha-256\n\
     host    replication  all   127.0.0.1/32  scram-sha-256\n"
}

#[cfg(test)]
mod tests;
