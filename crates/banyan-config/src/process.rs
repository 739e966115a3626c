//! `[process.NAME]` and the Procfile together: what runs, how often, how it is judged and ended.

use std::collections::BTreeMap;

use crate::app;
use crate::model::{
    App, GRPC_HEALTH, Host, HostKind, LiveProbe, ProcessSettings, ProcessTable, Protocol, ReadyProbe,
};
use crate::name::{HostName, ProcessName};
use crate::nearest::{list, nearest};
use crate::procfile::Procfile;
use crate::proxy_protocol::ProxyProtocol;
use crate::read::{Reader, Spot};
use crate::report::Report;
use crate::scope::{Scope, Use};
use crate::tree::{Entry, Value};
use crate::zone;

pub(crate) type Hosts = BTreeMap<HostName, Host>;

pub(crate) fn build(
    root: &Reader<'_>,
    procfile: &Procfile,
    app: &App,
    hosts: &Hosts,
    scope: &Scope<'_>,
) -> BTreeMap<ProcessName, ProcessTable> {
    let (entries, keys) = root.map("process");
    let mut processes = BTreeMap::new();
    for entry in entries {
        if entry.name == "release" {
            let help = "write release = \"…\" in [app]";
            scope
                .report
                .error(&entry.place, "the release command is not a process", &[help]);
            continue;
        }
        let Ok(name) = entry.name.parse::<ProcessName>() else {
            continue;
        };
        let table = match &entry.node.value {
            Value::Table(entries) => Reader::new(entries, keys),
            _ => Reader::new(&[], keys),
        };
        let command = command(entry, &table, &name, procfile, scope.report);
        processes.insert(name.clone(), build_one(&name, command, &table, app, hosts, scope));
    }
    for (name, command) in &procfile.processes {
        if !processes.contains_key(name) {
            let table = Reader::new(&[], keys);
            processes.insert(
                name.clone(),
                build_one(name, Some(command.clone()), &table, app, hosts, scope),
            );
        }
    }
    processes
}

/// The table's own, else the Procfile's.
fn command(
    entry: &Entry,
    table: &Reader<'_>,
    name: &ProcessName,
    procfile: &Procfile,
    report: &Report,
) -> Option<Spot<String>> {
    let command = table.text("command").or_else(|| procfile.command(name).cloned());
    if command.is_none() && !table.has("command") && !matches!(entry.node.value, Value::Invalid) {
        let near = nearest(
            name.as_str(),
            procfile.processes.iter().map(|(name, _)| name.as_str()),
        );
        let near = near.map(|near| format!("did you mean [process.{near}]? The Procfile has that one"));
        let write = "write command = \"…\" here, or a line in the Procfile".to_owned();
        let help: Vec<String> = near.into_iter().chain([write]).collect();
        let help: Vec<&str> = help.iter().map(String::as_str).collect();
        report.error(&entry.place, format!("process `{name}` has no command"), &help);
    }
    command
}

fn build_one(
    name: &ProcessName,
    command: Option<Spot<String>>,
    table: &Reader<'_>,
    app: &App,
    hosts: &Hosts,
    scope: &Scope<'_>,
) -> ProcessTable {
    let env = app::environment(table, scope);
    let visible = app::visible(scope, &[&app.env, &env]);
    let argv = command
        .map(|text| scope.command(&text, Use::Command, &visible, name.as_str()))
        .unwrap_or_default();
    let count: u32 = table.number("count");
    let max = table.integer("max");
    if let Some(max) = &max
        && i64::from(count) > max.value
    {
        let place = table
            .integer("count")
            .map_or_else(|| max.place.clone(), |count| count.place);
        let message = format!("`count` is {count}, but `max` is {}", max.value);
        let help = format!("write max = {count} or more, or count = {} or less", max.value);
        scope.report.error(&place, message, &[&help]);
    }
    let protocol = match table.text_or_default("protocol").as_str() {
        "h2" => Protocol::H2,
        _ => Protocol::Http1,
    };
    protocol_fits(table, protocol, name, scope.report);
    let names = host_names(table, hosts, scope.report);
    let zones = zone::of_process(table, name, &names, hosts, scope.report);
    ProcessTable {
        argv,
        env,
        count,
        max: max.and_then(|max| u32::try_from(max.value).ok()),
        hosts: names,
        protocol,
        settings: ProcessSettings {
            zones,
            ..settings(table)
        },
    }
}

/// What depends on the protocol: PROXY headers name one client, and gRPC's health method is asked in HTTP/2.
fn protocol_fits(table: &Reader<'_>, protocol: Protocol, name: &ProcessName, report: &Report) {
    if let (Some(proxy), Protocol::H2) = (table.text("proxy_protocol"), protocol) {
        let help = "remove it: the client's address is in X-Forwarded-For";
        let message = "`proxy_protocol` beside protocol = \"h2\": many clients share a connection";
        report.error(&proxy.place, message, &[help]);
    }
    if !table.has("ready") {
        return;
    }
    let probe = table.table("ready");
    let grpc = probe.text("path").filter(|path| path.value == GRPC_HEALTH);
    if let (Some(path), Protocol::Http1) = (&grpc, protocol) {
        let help = format!("write protocol = \"h2\" in [process.{name}]");
        report.error(&path.place, "gRPC's health method is asked in HTTP/2", &[&help]);
    }
    if let (None, Some(service)) = (grpc, probe.text("service")) {
        let help = format!("write path = \"{GRPC_HEALTH}\", or remove `service`");
        report.error(&service.place, "`service` is of gRPC's health method", &[&help]);
    }
}

fn settings(table: &Reader<'_>) -> ProcessSettings {
    ProcessSettings {
        ready: table.has("ready").then(|| ready(&table.table("ready"))),
        live: table.has("live").then(|| live(&table.table("live"))),
        start_grace: table.duration("start_grace"),
        stop_grace: table.duration("stop_grace"),
        proxy_protocol: proxy_protocol(table),
        scale: None,
        zones: Vec::new(),
    }
}

/// A wrong word is reported elsewhere.
fn proxy_protocol(table: &Reader<'_>) -> Option<ProxyProtocol> {
    let word = table.text("proxy_protocol")?.value;
    ProxyProtocol::ALL
        .into_iter()
        .find(|version| version.name() == word)
}

fn ready(probe: &Reader<'_>) -> ReadyProbe {
    ReadyProbe {
        path: probe.text("path").map(|path| path.value).unwrap_or_default(),
        host: probe.text("host").map(|host| host.value),
        status: probe.number("status"),
        service: probe.text("service").map(|service| service.value),
        interval: probe.duration("interval"),
        timeout: probe.duration("timeout"),
        rise: probe.number("rise"),
        fall: probe.number("fall"),
    }
}

fn live(probe: &Reader<'_>) -> LiveProbe {
    LiveProbe {
        path: probe.text("path").map(|path| path.value).unwrap_or_default(),
        host: probe.text("host").map(|host| host.value),
        failures: probe.number("failures"),
        interval: probe.duration("interval"),
        timeout: probe.duration("timeout"),
    }
}

/// `[host]`: so far, all are this machine.
pub(crate) fn hosts(root: &Reader<'_>) -> Hosts {
    let (entries, keys) = root.map("host");
    let host = |entry: &Entry| {
        let zone = match &entry.node.value {
            Value::Table(entries) => Reader::new(entries, keys).text("zone"),
            _ => None,
        };
        Host {
            kind: HostKind::Machine,
            zone: zone.and_then(|zone| zone.value.parse().ok()),
        }
    };
    entries
        .iter()
        .filter_map(|entry| Some((entry.name.parse().ok()?, host(entry))))
        .collect()
}

/// The `hosts` of a process or of the edge; each must be in `[host]`.
pub(crate) fn host_names(table: &Reader<'_>, hosts: &Hosts, report: &Report) -> Vec<HostName> {
    let mut names = Vec::new();
    for text in table.texts("hosts") {
        let Ok(name) = text.value.parse::<HostName>() else {
            continue;
        };
        if hosts.contains_key(&name) {
            names.push(name);
            continue;
        }
        let known = hosts.keys().map(HostName::as_str);
        let help = match nearest(name.as_str(), known.clone()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if hosts.is_empty() => {
                format!("remove `hosts` to run on this machine, or add [host.{name}] with kind = \"machine\"")
            }
            None => format!("add it to [host]; known: {}", list(known)),
        };
        report.error(&text.place, format!("unknown host `{name}`"), &[&help]);
    }
    names
}
