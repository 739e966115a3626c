//! Gathers what `topology::resolve` must know about this machine. Reads only; ports are probed by binding them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use banyan_config::{Config, Database, EdgePlace, Redis};
use banyan_runtime::listener::{self, BindError};
use banyan_supervisor::engine::postgres::{self, PostgresError};
use banyan_supervisor::engine::redis;
use banyan_topology::resolve;
use banyan_topology::{BackupFacts, Facts, NodeId, Release, ReleaseId, Remembered, Topology};
use sha2::{Digest, Sha256};

use crate::controller::Loaded;
use crate::external;
use crate::intent::Intent;
use crate::paths::StateDir;
use crate::programs;

/// Below the range that the kernel gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    #[error("failed to read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to read a program of the app in {folder}")]
    Program {
        folder: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

pub fn gather(
    loaded: &Loaded,
    state: &StateDir,
    current: &Topology,
    intent: &Intent,
    releases: BTreeMap<ReleaseId, Release>,
) -> Result<Facts, FactsError> {
    let config = &loaded.config;
    let app = loaded.root.join(&config.app.dir);
    let programs =
        programs::find(config, &app).map_err(|source| FactsError::Program { folder: app, source })?;
    let wanted = config
        .processes
        .values()
        .map(|table| {
            table
                .settings
                .scale
                .as_ref()
                .map_or(table.count, |scale| scale.max) as usize
        })
        .sum::<usize>()
        + 16;
    let remembered = Remembered {
        primary: newest(state.path(), intent),
        ..intent.remembered()
    };
    let primary = current.database.as_ref().map(|database| database.primary);
    let primary = primary.or(remembered.primary).unwrap_or(NodeId::FIRST);
    let place = postgres::child_id(primary).0;
    let data = state.path().join("data").join(place);
    let data_version = postgres::of_data(&data)?;
    Ok(Facts {
        postgres_installed: postgres::installed(&[])
            .into_iter()
            .map(|found| found.major)
            .collect(),
        data_version,
        redis_installed: redis::is_installed(),
        backup: backups(config, &data, state.path(), data_version.is_some()),
        dir_problem: dir_problem(config, &data, state.path(), current),
        memory_bytes: memory_bytes()?,
        free_ports: free_ports(state.path(), intent, wanted),
        taken_ports: taken_ports(config, current),
        programs,
        external: external::of(loaded),
        // The driver's to say.
        edge_program: None,
        secrets_digest: programs::hex(&Sha256::digest(loaded.secrets.digest_input())),
        next_release: intent.next_release,
        releases,
        served: intent.served.clone(),
        pinned: intent.pinned,
        remembered,
    })
}

/// What stands in the way of the configured backups.
fn backups(config: &Config, data: &Path, state: &Path, has_data: bool) -> BackupFacts {
    let Some(Database::Managed(table)) = &config.database else {
        return BackupFacts::default();
    };
    let (Some(backup), Ok(run_as)) = (&table.backup, postgres::run_as()) else {
        return BackupFacts::default();
    };
    let stanza = resolve::database_name(table, &config.name);
    let disk = |path: &Path| {
        let there = path.ancestors().find(|folder| folder.exists())?;
        Some(std::fs::metadata(there).ok()?.dev())
    };
    BackupFacts {
        problem: postgres::backup::program::problem(&backup.path, state, &stanza, &run_as, has_data),
        same_disk: disk(&backup.path) == disk(data),
    }
}

/// What stands in the way of the folder that is to take the data. One that has it is not looked at.
fn dir_problem(config: &Config, data: &Path, state: &Path, current: &Topology) -> Option<String> {
    let Some(Database::Managed(table)) = &config.database else {
        return None;
    };
    let dir = table.dir.as_deref()?;
    let running = current.database.as_ref();
    if running.is_some_and(|running| running.dir() == Some(dir)) {
        return None;
    }
    let run_as = postgres::run_as().ok()?;
    let size = running.map_or(0, |_| postgres::size(&data.canonicalize().unwrap_or_default()));
    postgres::dir_problem(dir, state, &run_as, size)
}

/// Who was primary last. Each promotion begins a timeline, so data of a newer one than the remembered primary's is what
/// clients were told of, whatever a controller that was killed did not come to write down.
fn newest(state: &Path, intent: &Intent) -> Option<NodeId> {
    let timeline = |node: &NodeId| postgres::timeline(state, *node);
    let remembered = intent.primary.unwrap_or(NodeId::FIRST);
    // Its disk is away: what others have is older.
    if intent.dirs.contains_key(&remembered) && timeline(&remembered).is_none() {
        return Some(remembered);
    }
    let known = intent.nodes.keys().copied().chain([remembered]);
    let newest = known.max_by_key(|node| (timeline(node), *node == remembered))?;
    (timeline(&newest).is_some() || intent.primary.is_some()).then_some(newest)
}

/// Starting at a place that differs by installation, so that two on one machine seldom meet; remembered ones too.
fn free_ports(installation: &Path, intent: &Intent, wanted: usize) -> Vec<u16> {
    let hash = Sha256::digest(installation.as_os_str().as_encoded_bytes());
    let offset = u16::from_be_bytes([hash[0], hash[1]]) % (PORTS.end - PORTS.start);
    let in_order = (PORTS.start + offset..PORTS.end).chain(PORTS.start..PORTS.start + offset);
    let mut free: Vec<u16> = in_order.filter(|port| is_free(*port)).take(wanted).collect();
    let remembered = intent
        .instance_ports
        .values()
        .copied()
        .chain(intent.nodes.values().copied())
        .chain(intent.pgproxy_port)
        .chain(intent.redis_ports.values().copied())
        .chain(intent.observe_port)
        .chain(intent.database_port);
    for port in remembered {
        if !free.contains(&port) && is_free(port) {
            free.push(port);
        }
    }
    free
}

fn is_free(port: u16) -> bool {
    listener::bind_per_core(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), 1).is_ok()
}

/// Those of the configured ports that something listens on. What runs already holds its own.
fn taken_ports(config: &Config, current: &Topology) -> BTreeSet<u16> {
    let edge = config.edge.as_ref();
    let edge = edge.into_iter().flat_map(|edge| {
        let listeners = edge.listeners.iter().map(|listener| Some(listener.listen));
        [Some(edge.listen), edge.https]
            .into_iter()
            .chain(listeners)
            .flatten()
            .chain(edge.places.values().flat_map(EdgePlace::addresses))
    });
    let local = |port: Option<u16>| port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let (database, pgproxy) = match &config.database {
        Some(Database::Managed(table)) => (local(table.port), local(table.pgproxy.port)),
        Some(Database::External(table)) => (None, local(table.pgproxy.port)),
        None => (None, None),
    };
    let redis = config.redis.values().filter_map(|redis| match redis {
        Redis::Managed(managed) => local(managed.port),
        Redis::External(_) => None,
    });
    let observe = config.observe.as_ref().and_then(|observe| local(observe.port));
    let ours = |address: &SocketAddr| {
        let edge = current.edge.iter().flat_map(banyan_topology::Edge::addresses);
        let nodes = current
            .database
            .iter()
            .flat_map(|database| database.nodes.values());
        let pgproxy = current
            .pgproxy
            .iter()
            .flat_map(banyan_topology::Pgproxy::addresses);
        let pgproxy = pgproxy.map(|address| address.port());
        let redis = current.redis.values().map(|redis| redis.port);
        let observe = current.observe.as_ref().map(|observe| observe.port);
        let engines = nodes.map(|node| node.port).chain(pgproxy).chain(redis);
        let mut ports = engines.chain(observe);
        edge.into_iter().any(|ours| ours == *address) || ports.any(|port| port == address.port())
    };
    let configured = edge
        .chain(database)
        .chain(pgproxy)
        .chain(redis)
        .chain(observe)
        .filter(|address| address.port() != 0 && !ours(address));
    configured
        .filter(|address| matches!(listener::bind_per_core(*address, 1), Err(BindError::InUse { .. })))
        .map(|address| address.port())
        .collect()
}

/// The machine's memory, or what this container may use of it.
fn memory_bytes() -> Result<u64, FactsError> {
    let path = PathBuf::from("/proc/meminfo");
    let text = std::fs::read_to_string(&path).map_err(|source| FactsError::Read { path, source })?;
    let machine = total_memory(&text).unwrap_or(1 << 30);
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse().ok());
    Ok(limit.map_or(machine, |limit: u64| limit.min(machine)))
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_meminfo() {
        let text = "MemTotal:       16384000 kB\nMemFree:          100 kB\n";
        assert_eq!(total_memory(text), Some(16_384_000 * 1024));
        assert_eq!(total_memory("nonsense"), None);
    }

    #[test]
    fn a_port_in_use_is_not_free_and_two_installations_begin_elsewhere() {
        let intent = Intent::default();
        let first = free_ports(Path::new("/srv/a/.banyan"), &intent, 3);
        let other = free_ports(Path::new("/srv/b/.banyan"), &intent, 3);
        assert_eq!(first.len(), 3);
        assert_ne!(first, other);
        let holder = listener::bind_per_core(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 1).unwrap();
        assert!(!is_free(holder[0].local_addr().unwrap().port()));
    }
}
