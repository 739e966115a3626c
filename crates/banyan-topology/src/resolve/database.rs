//! The managed PostgreSQL: its version, port and memory, and what may not change while it runs.

use std::collections::BTreeMap;

use banyan_config::{AppName, Database as Configured, ManagedDatabase};

use crate::facts::Facts;
use crate::model::{Database, Topology};
use crate::resolve::ResolveError;
use crate::resolve::instances::uses;

/// What Debian 12 has: the version to name when there is nothing to choose from.
const DEBIAN_VERSION: u32 = 15;

pub(super) fn resolve(
    app: &AppName,
    configured: Option<&Configured>,
    facts: &Facts,
    current: &Topology,
    errors: &mut Vec<ResolveError>,
    notes: &mut Vec<String>,
) -> Option<Database> {
    match configured {
        Some(Configured::Managed(table)) => managed(app, table, facts, current, errors, notes),
        Some(Configured::External(_)) | None => {
            if let Some(running) = &current.database {
                let version = running.version;
                notes.push(format!(
                    "PostgreSQL {version} is no longer configured: it stops, its data stays"
                ));
            }
            None
        }
    }
}

fn managed(
    app: &AppName,
    table: &ManagedDatabase,
    facts: &Facts,
    current: &Topology,
    errors: &mut Vec<ResolveError>,
    notes: &mut Vec<String>,
) -> Option<Database> {
    let ManagedDatabase {
        postgres,
        port,
        memory_bytes,
        max_connections,
        name,
        settings,
    } = table;
    let running = current.database.as_ref();
    let version = version(*postgres, facts, errors);
    let port = port
        .or(running.map(|database| database.port))
        .or_else(|| free_port(facts, current, notes));
    // A machine's memory as seen differs a little from boot to boot: what runs keeps what it was tuned for.
    let kept_memory = running.map(|database| database.memory_bytes);
    let memory_bytes = memory_bytes.or(kept_memory).unwrap_or(facts.memory_bytes / 4);
    let name = name.clone().unwrap_or_else(|| app.as_str().replace('-', "_"));
    let Some(port) = port else {
        errors.push(ResolveError::NoPorts { needed: 1, wanted: 1 });
        return None;
    };
    let user = name.clone();
    let max_connections = *max_connections;
    let settings = settings.clone();
    let wanted = Database {
        version: version?,
        port,
        memory_bytes,
        max_connections,
        name,
        user,
        settings,
    };
    if let Some(running) = running {
        refuse_changes(running, &wanted, errors);
    }
    Some(wanted)
}

/// As configured, else that of the data, else the newest installed; it must be installed and fit the data.
fn version(configured: Option<u32>, facts: &Facts, errors: &mut Vec<ResolveError>) -> Option<u32> {
    if let (Some(wanted), Some(data)) = (configured, facts.data_version)
        && wanted != data
    {
        errors.push(ResolveError::OtherDataVersion { wanted, data });
        return None;
    }
    let newest = facts.postgres_installed.last().copied();
    let version = facts
        .data_version
        .or(configured)
        .or(newest)
        .unwrap_or(DEBIAN_VERSION);
    if facts.postgres_installed.contains(&version) {
        return Some(version);
    }
    errors.push(ResolveError::PostgresMissing {
        version,
        installed: facts.postgres_installed.iter().copied().collect(),
        may_choose: facts.data_version.is_none(),
    });
    None
}

fn free_port(facts: &Facts, current: &Topology, notes: &mut Vec<String>) -> Option<u16> {
    let remembered = facts.remembered.database_port;
    let instances = &facts.remembered.instance_ports;
    let usable = |port: &u16| !instances.values().any(|taken| taken == port) && !uses(current, *port);
    let again = remembered.filter(|port| facts.free_ports.contains(port) && usable(port));
    let port = again.or_else(|| facts.free_ports.iter().copied().find(usable))?;
    if let (Some(before), None) = (remembered, again) {
        notes.push(format!(
            "PostgreSQL moves to port {port}: its port {before} is in use by another program"
        ));
    }
    Some(port)
}

fn refuse_changes(running: &Database, wanted: &Database, errors: &mut Vec<ResolveError>) {
    let Database {
        version,
        port,
        memory_bytes,
        max_connections,
        name,
        user: _,
        settings,
    } = running;
    let mut differ = |key, from: String, to: String| {
        if from != to {
            errors.push(ResolveError::DatabaseChange { key, from, to });
        }
    };
    let bytes = banyan_config::units::format_bytes;
    differ(
        "database.postgres",
        version.to_string(),
        wanted.version.to_string(),
    );
    differ("database.port", port.to_string(), wanted.port.to_string());
    differ(
        "database.memory",
        bytes(*memory_bytes),
        bytes(wanted.memory_bytes),
    );
    differ(
        "database.max_connections",
        max_connections.to_string(),
        wanted.max_connections.to_string(),
    );
    differ("database.name", name.clone(), wanted.name.clone());
    let text = |settings: &BTreeMap<String, String>| {
        let lines: Vec<String> = settings
            .iter()
            .map(|(key, value)| format!("{key} = {value}"))
            .collect();
        if lines.is_empty() {
            "none".to_owned()
        } else {
            lines.join(", ")
        }
    };
    differ("database.settings", text(settings), text(&wanted.settings));
}
