//! Steps and plans in the user's words.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use banyan_config::units::{format_bytes, format_duration};
use banyan_config::{self as config, LogSettings};
use serde::Serialize;
use serde_json::Value;

use crate::id::{NodeId, ReleaseId};
use crate::model::{Database, Edge, Pgproxy, Process, Redis};
use crate::plan::{Plan, Step};

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartDatabase(database) => {
                let (version, port) = (database.version, database.port());
                write!(f, "start postgres {version}{} on port {port}", named(database))
            }
            Self::StopDatabase(database) => {
                let version = database.version;
                write!(f, "stop postgres {version}{} (its data stays)", named(database))
            }
            Self::AddReplica(node) => {
                write!(f, "add replica {} on port {}", node.id, node.port)?;
                match &node.dir {
                    Some(dir) => write!(f, " in {}", dir.display()),
                    None => Ok(()),
                }
            }
            Self::RemoveReplica(node) => write!(f, "remove replica {} (its data stays)", node.id),
            Self::ConfigureDatabase { from, to } => write!(f, "change postgres: {}", changes(from, to)),
            Self::RestartDatabase { from, to } => {
                write!(f, "restart postgres while statements wait: {}", changes(from, to))
            }
            Self::Switchover { from, to } => {
                write!(f, "switch over from {from} to {to} while statements wait")
            }
            Self::StartPgproxy(pgproxy) => {
                write!(f, "start pgproxy on {}", pgproxy.listen)?;
                match &pgproxy.external {
                    Some(external) => write!(f, ", leading to {external}"),
                    None => Ok(()),
                }
            }
            Self::StopPgproxy(pgproxy) => write!(f, "drain and stop pgproxy on {}", pgproxy.listen),
            Self::ConfigurePgproxy { from, to } => write!(f, "change pgproxy: {}", pgproxy_changes(from, to)),
            Self::StartRedis(redis) => write!(f, "start redis for {} on port {}", redis.purpose, redis.port),
            Self::StopRedis(redis) if redis.keeps() => {
                write!(f, "stop redis of {} (its data stays)", redis.purpose)
            }
            Self::StopRedis(redis) => write!(f, "stop redis of {}", redis.purpose),
            Self::ConfigureRedis { from, to } => {
                write!(f, "change redis of {}: {}", to.purpose, redis_changes(from, to))
            }
            Self::RestartRedis { from, to } => {
                write!(f, "restart redis of {}: {}", to.purpose, redis_changes(from, to))
            }
            Self::StartObserve(observe) => write!(f, "start observe on {}", observe.listen()),
            Self::StopObserve(_) => f.write_str("stop observe (its history stays)"),
            Self::ConfigureObserve { from, to } => write!(f, "change observe: {}", changes(from, to)),
            Self::ReplacePgproxy { from, to } => write!(
                f,
                "replace the pgproxy process without a break: program {} → {}",
                short(&from.program),
                short(&to.program)
            ),
            Self::RunRelease(release) => {
                write!(f, "run the release command of {release} (not undone by rollback)")
            }
            Self::SetRelease { from, to } => set_release(f, *from, *to),
            Self::ConfigureProcess { from, to } => configure_process(f, from.as_ref(), to.as_ref()),
            Self::ConfigureLogs { from, to } => write!(f, "keep logs: {}", log_changes(from, to)),
            Self::StartInstance(instance) => write!(f, "start {} on port {}", instance.id, instance.port),
            Self::StopInstance(instance) => write!(f, "stop {}", instance.id),
            Self::Admit(id) => write!(f, "admit {id}"),
            Self::Drain(id) => write!(f, "drain {id}"),
            Self::StartEdge(edge) => write!(f, "start edge on {}", addresses(edge)),
            Self::StopEdge(edge) => write!(f, "drain and stop edge on {}", addresses(edge)),
            Self::ConfigureEdge { from, to } => write!(f, "change edge: {}", edge_changes(from, to)),
            Self::StartPlace { name, place } => {
                write!(f, "start edge {name} on {}", and(place.addresses()))
            }
            Self::StopPlace { name, place } => {
                write!(f, "drain and stop edge {name} on {}", and(place.addresses()))
            }
            Self::ReplaceEdge { from, to } => replace_edge(f, from, to),
        }
    }
}

/// Who is primary goes without saying until it changes.
fn named(database: &Database) -> String {
    match database.primary {
        NodeId::FIRST => String::new(),
        other => format!(" ({other})"),
    }
}

/// Of its places, too.
fn addresses(edge: &Edge) -> String {
    let mut text = and(edge.first_addresses());
    for (name, place) in &edge.places {
        text = format!("{text}, {name} on {}", and(place.addresses()));
    }
    text
}

fn and(addresses: impl Iterator<Item = SocketAddr>) -> String {
    let all: Vec<String> = addresses.map(|address| address.to_string()).collect();
    all.join(" and ")
}

fn replace_edge(f: &mut fmt::Formatter<'_>, from: &Edge, to: &Edge) -> fmt::Result {
    let mut why = Vec::new();
    if from.program != to.program {
        why.push(format!(
            "program {} → {}",
            short(&from.program),
            short(&to.program)
        ));
    }
    let (old, new) = (from.settings.workers, to.settings.workers);
    if old != new {
        let of = |workers: Option<u16>| workers.map_or_else(|| "unset".to_owned(), |count| count.to_string());
        why.push(format!("workers {} → {}", of(old), of(new)));
    }
    write!(f, "replace the edge process without a break: {}", why.join(", "))
}

fn log_changes(from: &LogSettings, to: &LogSettings) -> String {
    let of = |settings: &LogSettings| {
        let archive = settings.archive.as_ref();
        [
            ("file", format_bytes(settings.file_bytes)),
            ("keep", format_duration(settings.keep)),
            ("size", format_bytes(settings.total_bytes)),
            (
                "archive",
                archive.map_or_else(|| "none".to_owned(), |path| path.display().to_string()),
            ),
        ]
    };
    let changed = of(from).into_iter().zip(of(to)).filter(|(old, new)| old != new);
    let texts: Vec<String> = changed
        .map(|((name, old), (_, new))| format!("{name} {old} → {new}"))
        .collect();
    texts.join(", ")
}

/// Enough of a digest for people.
fn short(digest: &str) -> &str {
    match digest.get(..8) {
        Some(short) => short,
        None if digest.is_empty() => "unknown",
        None => digest,
    }
}

/// Where it accepts clients in words, if nothing else changes.
fn pgproxy_changes(from: &Pgproxy, to: &Pgproxy) -> String {
    let elsewhere = Pgproxy {
        listen: to.listen,
        before: to.before.clone(),
        ..from.clone()
    };
    if elsewhere != *to {
        return changes(from, to);
    }
    let only_in = |a: &Pgproxy, b: &Pgproxy| -> Vec<String> {
        let of = a
            .addresses()
            .filter(|address| b.addresses().all(|other| other != *address));
        of.map(|address| address.to_string()).collect()
    };
    let words = [
        ("listen on", only_in(to, from)),
        ("no longer listen on", only_in(from, to)),
    ];
    let words = words.iter().filter(|(_, addresses)| !addresses.is_empty());
    let words: Vec<String> = words
        .map(|(what, all)| format!("{what} {}", all.join(" and ")))
        .collect();
    words.join(", ")
}

fn set_release(f: &mut fmt::Formatter<'_>, from: Option<ReleaseId>, to: Option<ReleaseId>) -> fmt::Result {
    match (from, to) {
        (None, Some(to)) => write!(f, "make {to} the current release"),
        (Some(from), Some(to)) => write!(f, "make {to} the current release (was {from})"),
        (_, None) => f.write_str("have no current release"),
    }
}

fn configure_process(
    f: &mut fmt::Formatter<'_>,
    from: Option<&Process>,
    to: Option<&Process>,
) -> fmt::Result {
    match (from, to) {
        (None, Some(to)) => write!(f, "add process {}", to.name),
        (Some(from), Some(to)) => write!(f, "change process {}: {}", to.name, changes(from, to)),
        (Some(from), None) => write!(f, "remove process {}", from.name),
        (None, None) => f.write_str("change no process"),
    }
}

/// `idle 60s → 30s, body 10 → 20`: every leaf that differs, under the name it has in banyan.toml.
pub(crate) fn changes<T: Serialize>(from: &T, to: &T) -> String {
    let value = |side: &T| serde_json::to_value(side).unwrap_or(Value::Null);
    let mut found = Vec::new();
    compare("", &value(from), &value(to), &mut found);
    found.join(", ")
}

/// Memory as it is written in banyan.toml.
fn redis_changes(from: &Redis, to: &Redis) -> String {
    let same_memory = Redis {
        memory_bytes: to.memory_bytes,
        ..from.clone()
    };
    let memory = |redis: &Redis| config::units::format_bytes(redis.memory_bytes);
    let memory =
        (from.memory_bytes != to.memory_bytes).then(|| format!("memory {} → {}", memory(from), memory(to)));
    let rest = Some(changes(&same_memory, to)).filter(|text| !text.is_empty());
    let all: Vec<String> = memory.into_iter().chain(rest).collect();
    all.join(", ")
}

/// Routes are named, not spelled out.
fn edge_changes(from: &Edge, to: &Edge) -> String {
    let without = |edge: &Edge| Edge {
        routes: Vec::new(),
        listeners: Vec::new(),
        ..edge.clone()
    };
    let named = |edge: &Edge| -> Vec<String> { edge.routes.iter().map(|route| route.name.clone()).collect() };
    let mut found = vec![changes(&without(from), &without(to))];
    found.retain(|text| !text.is_empty());
    for listener in &to.listeners {
        match from.listeners.iter().find(|other| other.name == listener.name) {
            None => found.push(format!("add listener {} on {}", listener.name, listener.listen)),
            Some(other) if other != listener => found.push(format!("change listener {}", listener.name)),
            Some(_) => {}
        }
    }
    let stays = |name: &String| to.listeners.iter().any(|listener| listener.name == *name);
    let gone = from.listeners.iter().map(|listener| &listener.name);
    found.extend(
        gone.filter(|name| !stays(name))
            .map(|name| format!("remove listener {name}")),
    );
    let (before, after) = (named(from), named(to));
    for route in &to.routes {
        match from.routes.iter().find(|other| other.name == route.name) {
            None => found.push(format!("add route {}", route.name)),
            Some(other) if other != route => found.push(format!("change route {}", route.name)),
            Some(_) => {}
        }
    }
    let gone = before.iter().filter(|name| !after.contains(name));
    found.extend(gone.map(|name| format!("remove route {name}")));
    if found.is_empty() {
        found.push("another order of routes".to_owned());
    }
    found.join(", ")
}

fn compare(path: &str, from: &Value, to: &Value, found: &mut Vec<String>) {
    let keys = |side: &Value| {
        side.as_object()
            .map(|object| object.keys().cloned().collect::<Vec<_>>())
    };
    let (a, b) = (keys(from), keys(to));
    if a.is_none() && b.is_none() {
        if from != to {
            found.push(format!("{path} {} → {}", plain(from), plain(to)));
        }
        return;
    }
    // A table on one side only (a probe that was not there before) is told key by key too.
    let keys: BTreeSet<String> = a.into_iter().chain(b).flatten().collect();
    for key in keys {
        // `settings` is our grouping, not a key of banyan.toml.
        let below = match (path, key.as_str()) {
            (_, "settings") => path.to_owned(),
            ("", _) => key.clone(),
            _ => format!("{path}.{key}"),
        };
        let of = |side: &Value| side.get(&key).cloned().unwrap_or(Value::Null);
        compare(&below, &of(from), &of(to), found);
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "unset".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Plan {
    /// One line per step, numbered and aligned, irreversible ones marked; one line when there is nothing to do.
    pub fn lines(&self) -> Vec<String> {
        if self.is_empty() {
            return vec!["nothing to do".to_owned()];
        }
        let width = self.steps.len().to_string().len();
        let line = |(n, planned): (usize, &crate::plan::PlannedStep)| {
            let mark = if planned.inverse.is_none() { '!' } else { ' ' };
            format!("{:>width$} {mark} {}", n + 1, planned.step)
        };
        self.steps.iter().enumerate().map(line).collect()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}
