//! `connections` of `[scale.NAME]`: as many instances as there may be must find theirs at the database.

use std::collections::BTreeMap;

use crate::database::BESIDE_THE_POOL;
use crate::model::{Database, ProcessTable};
use crate::name::ProcessName;
use crate::read::Reader;
use crate::report::Report;
use crate::tree::Value;

/// Together over all processes that say how many they open.
pub(crate) fn check(
    root: &Reader<'_>,
    database: Option<&Database>,
    processes: &BTreeMap<ProcessName, ProcessTable>,
    report: &Report,
) {
    let of = |table: &ProcessTable| {
        let scale = table.settings.scale.as_ref()?;
        Some(scale.connections?.saturating_mul(scale.max))
    };
    let asked = processes.values().filter_map(of).fold(0, u32::saturating_add);
    let (most, key, kept) = match database {
        Some(Database::Managed(managed)) if managed.pgproxy.direct => {
            (managed.max_connections, "max_connections", BESIDE_THE_POOL)
        }
        Some(Database::Managed(managed)) => (managed.pgproxy.pool.max_clients, "max_clients", 0),
        Some(Database::External(external)) if !external.pgproxy.direct => {
            (external.pgproxy.pool.max_clients, "max_clients", 0)
        }
        // Where it ends is known to its server alone, or there is nothing to connect to.
        _ => return,
    };
    if asked.saturating_add(kept) <= most {
        return;
    }
    let table = match key {
        "max_clients" => "[database.pgproxy]",
        _ => "[database]",
    };
    let beside = if kept > 0 {
        format!(", {kept} of them kept for others")
    } else {
        String::new()
    };
    let message = format!(
        "as many instances as there may be open {asked} connections, the database takes {most}{beside}"
    );
    let help = format!(
        "write a smaller max or connections, or {key} = {} in {table}",
        asked.saturating_add(kept)
    );
    let (entries, keys) = root.map("scale");
    let written = entries.iter().rev().find_map(|entry| match &entry.node.value {
        Value::Table(inner) => Reader::new(inner, keys).integer("connections"),
        _ => None,
    });
    if let Some(written) = written {
        report.error(&written.place, message, &[&help]);
    }
}
