//! The managed Redis servers: ports, and what may not change while they run.

use std::collections::BTreeMap;

use banyan_config::{self as config, ManagedRedis, Purpose};

use super::database::Ports;
use crate::facts::Facts;
use crate::model::{Redis, Release, Topology};
use crate::resolve::ResolveError;

/// `given`: the ports that this configuration's database and its proxy have got.
pub(super) fn resolve(
    tables: &BTreeMap<Purpose, config::Redis>,
    facts: &Facts,
    current: &Topology,
    given: &[u16],
    errors: &mut Vec<ResolveError>,
    notes: &mut Vec<String>,
) -> BTreeMap<Purpose, Redis> {
    let managed = tables.iter().filter_map(|(purpose, table)| match table {
        config::Redis::Managed(managed) => Some((*purpose, managed)),
        config::Redis::External(_) => None,
    });
    let managed: BTreeMap<Purpose, &ManagedRedis> = managed.collect();
    let configured = managed.values().map(|table| table.port);
    let given = given.iter().copied().map(Some);
    let mut ports = Ports::new(facts, current, configured.chain(given));
    let mut found = BTreeMap::new();
    for (purpose, table) in &managed {
        match one(*purpose, table, facts, current, &mut ports) {
            Ok(redis) => {
                note_change(current.redis.get(purpose), &redis, notes);
                found.insert(*purpose, redis);
            }
            Err(error) => errors.push(error),
        }
    }
    for (purpose, running) in &current.redis {
        if !found.contains_key(purpose) && errors.is_empty() {
            note_end(running, tables.contains_key(purpose), notes);
        }
    }
    found
}

fn one(
    purpose: Purpose,
    table: &ManagedRedis,
    facts: &Facts,
    current: &Topology,
    ports: &mut Ports,
) -> Result<Redis, ResolveError> {
    let ManagedRedis {
        port,
        memory_bytes,
        eviction,
        settings,
    } = table;
    if !facts.redis_installed {
        return Err(ResolveError::RedisMissing(purpose));
    }
    let runs_at = current.redis.get(&purpose).map(|redis| redis.port);
    if let (Some(from), Some(to)) = (runs_at, *port)
        && from != to
        && !current.instances.is_empty()
    {
        return Err(ResolveError::RedisPort { purpose, from, to });
    }
    let remembered = facts.remembered.redis_ports.get(&purpose).copied();
    let port = port.or(runs_at).or_else(|| ports.take(remembered));
    Ok(Redis {
        purpose,
        port: port.ok_or(ResolveError::NoPorts { needed: 1, wanted: 1 })?,
        memory_bytes: *memory_bytes,
        eviction: *eviction,
        settings: settings.clone(),
    })
}

fn note_change(running: Option<&Redis>, wanted: &Redis, notes: &mut Vec<String>) {
    let Some(running) = running else { return };
    let purpose = wanted.purpose;
    if running.restarts_for(wanted) {
        let what = match purpose {
            Purpose::Sessions => "connections break for a moment, what it holds is read back from the disk",
            Purpose::Cache => "connections break for a moment, and the cache begins empty",
        };
        notes.push(format!(
            "a setting of [{purpose}.settings] needs a restart of Redis: {what}"
        ));
    }
    let (from, to) = (running.data_bytes(), wanted.data_bytes());
    if to < from && purpose == Purpose::Sessions {
        notes.push(format!(
            "[sessions] gets less memory: if it holds more than {} already, writes are refused until some of it expires",
            config::units::format_bytes(to)
        ));
    }
}

fn note_end(running: &Redis, elsewhere: bool, notes: &mut Vec<String>) {
    let purpose = running.purpose;
    let why = if elsewhere {
        "[sessions] is your own Redis now"
    } else {
        "[sessions] is no longer configured"
    };
    if running.keeps() {
        notes.push(format!(
            "{why}: Redis stops, its data stays on the disk; sessions that were only there end, and their people must \
             log in again"
        ));
    } else {
        notes.push(format!(
            "the Redis of [{purpose}] stops, and what it held is gone"
        ));
    }
}

/// A release of before may want what the configuration has no more.
pub(super) fn check_release(
    release: &Release,
    tables: &BTreeMap<Purpose, config::Redis>,
    errors: &mut Vec<ResolveError>,
) {
    for (purpose, url) in &release.redis {
        let managed = url
            .placeholders()
            .any(|placeholder| placeholder.redis().is_some());
        let there = matches!(tables.get(purpose), Some(config::Redis::Managed(_)));
        if managed && !there {
            errors.push(ResolveError::RedisOfRelease {
                release: release.id,
                purpose: *purpose,
            });
        }
    }
}
