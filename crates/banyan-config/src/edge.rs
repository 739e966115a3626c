//! `[edge]`: the HTTP front.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use crate::auth;
use crate::cache;
use crate::files::Files;
use crate::filter::{self, CountLimits, Filters};
use crate::model::{
    Balance, EdgeHealth, EdgeLimits, EdgeQueue, EdgeSettings, EdgeTable, EdgeTimeouts, HashBy, ProcessTable,
    Sticky, Trace,
};
use crate::name::ProcessName;
use crate::nearest::{list, nearest};
use crate::process::{Hosts, host_names};
use crate::read::Reader;
use crate::report::Report;
use crate::source::JudgeCertificate;
use crate::{metrics, origin, tls, zone};

/// Without an `[edge]` table there is one if there is a process for it.
pub(crate) fn build(
    root: &Reader<'_>,
    processes: &BTreeMap<ProcessName, ProcessTable>,
    hosts: &Hosts,
    certificates: &JudgeCertificate<'_>,
    files: &Files<'_>,
) -> Option<EdgeTable> {
    let report = files.report;
    let table = root.table("edge");
    let process: ProcessName = table.text_or_default("process").parse().ok()?;
    match processes.get(&process) {
        Some(settings) => {
            warn_about_gaps(&table, &process, settings, root, report);
            warn_about_balance(&table, report);
            check_sticky(&table, report);
            warn_about_queue(&table.table("queue"), report);
            check_proxy_protocol(&table, report);
            metrics::check_log(&table, report);
        }
        None if root.has("edge") => missing_process(root, &table, &process, processes, report),
        None => return None,
    }
    let address = if table.boolean("public") {
        Ipv4Addr::UNSPECIFIED
    } else {
        Ipv4Addr::LOCALHOST
    };
    let tls = tls::build(&table, certificates, report);
    let auth = auth::build(root, files);
    let names = host_names(&table, hosts, report);
    let zone = zone::of_edge(&table, &names, hosts, report);
    let mut edge = EdgeTable {
        listen: SocketAddr::new(address.into(), table.number("port")),
        https: tls
            .is_some()
            .then(|| SocketAddr::new(address.into(), table.number("https_port"))),
        process,
        hosts: names,
        settings: EdgeSettings {
            zone,
            tls: tls.map(Box::new),
            cache: cache::build(&table, files).map(Box::new),
            filters: filter::build(&table, None, &Filters::default(), &auth, report),
            auth,
            origins: origin::build(root, files),
            ..settings(&table)
        },
        routes: Vec::new(),
        listeners: Vec::new(),
        passthrough: BTreeMap::new(),
        places: BTreeMap::new(),
    };
    edge.settings.metrics = metrics::build(root, &edge, report);
    cache::check_port(&table, &edge, report);
    Some(edge)
}

fn missing_process(
    root: &Reader<'_>,
    table: &Reader<'_>,
    process: &ProcessName,
    processes: &BTreeMap<ProcessName, ProcessTable>,
    report: &Report,
) {
    let written = table.text("process").map(|process| process.place);
    let Some(place) = written.or_else(|| root.entry("edge").map(|entry| entry.place.clone())) else {
        return;
    };
    let known = processes.keys().map(ProcessName::as_str);
    let help = match nearest(process.as_str(), known.clone()) {
        Some(near) => format!("did you mean process = \"{near}\" in [edge]?"),
        None if processes.is_empty() => format!(
            "write a Procfile with a line {process}: command, or command = \"…\" in [process.{process}]"
        ),
        None => format!("write process = \"…\" in [edge] with one of {}", list(known)),
    };
    report.error(
        &place,
        format!("the edge needs a process `{process}`, and there is none"),
        &[&help],
    );
}

fn warn_about_gaps(
    table: &Reader<'_>,
    name: &ProcessName,
    process: &ProcessTable,
    root: &Reader<'_>,
    report: &Report,
) {
    let (entries, keys) = root.map("process");
    let Some(entry) = entries.iter().find(|entry| entry.name == name.as_str()) else {
        return;
    };
    let crate::tree::Value::Table(entries) = &entry.node.value else {
        return;
    };
    let own = Reader::new(entries, keys);
    if let (0, Some(count)) = (process.count, own.integer("count")) {
        let help = "the edge will answer 503 to everything";
        report.warning(&count.place, format!("no instance of `{name}` runs"), &[help]);
    } else if let (Some(max), Some(place)) = (process.max, own.integer("max"))
        && process.count == max
    {
        let wait = crate::units::format_duration(table.table("timeouts").duration("no_endpoint"));
        let message =
            format!("with `max` equal to `count`, a deploy of `{name}` stops the old version first");
        let help = format!(
            "requests wait meanwhile, up to {wait} (edge.timeouts.no_endpoint); write max = {}",
            max + 1
        );
        report.warning(&place.place, message, &[&help]);
    }
}

impl Default for EdgeSettings {
    /// What an empty `[edge]` means.
    fn default() -> Self {
        settings(&Reader::new(&[], crate::keys::ROOT).table("edge"))
    }
}

fn settings(table: &Reader<'_>) -> EdgeSettings {
    EdgeSettings {
        zone: None,
        balance: balance(table),
        weights: table.numbers("weights"),
        hash_by: match table.text_or_default("hash_by").as_str() {
            "ip" => HashBy::Ip,
            _ => HashBy::Path,
        },
        slow_start: table.duration("slow_start"),
        sticky: sticky(&table.table("sticky")),
        health: health(&table.table("health")),
        queue: queue(&table.table("queue")),
        trusted_proxies: table.networks("trusted_proxies"),
        proxy_protocol: table.boolean("proxy_protocol"),
        timeouts: timeouts(&table.table("timeouts")),
        limits: limits(&table.table("limits")),
        deadline_header: table.text("deadline_header").map(|name| name.value),
        access_log: table.boolean("access_log"),
        log: metrics::log(&table.table("log")),
        trace: match table.text_or_default("trace").as_str() {
            "proxies" => Trace::Proxies,
            "clients" => Trace::Clients,
            _ => Trace::Off,
        },
        trace_sampled: table.number("trace_sampled"),
        workers: table
            .integer("workers")
            .and_then(|workers| u16::try_from(workers.value).ok()),
        auth: BTreeMap::new(),
        origins: BTreeMap::new(),
        filters: Filters::default(),
        // Decided when it is known which edges and which Redis there are.
        count_limits: CountLimits::Here,
        cache: None,
        tls: None,
        metrics: None,
    }
}

/// A wrong word is reported elsewhere.
fn balance(table: &Reader<'_>) -> Balance {
    let word = table.text_or_default("balance");
    let known = Balance::ALL.into_iter().find(|balance| balance.name() == word);
    known.unwrap_or(Balance::P2cEwma)
}

fn sticky(table: &Reader<'_>) -> Option<Sticky> {
    match (
        table.text("by").map(|by| by.value).as_deref(),
        table.text("cookie"),
    ) {
        (Some("ip"), _) => Some(Sticky::Ip),
        (_, Some(name)) => Some(Sticky::Cookie(name.value)),
        (_, None) => None,
    }
}

fn check_sticky(table: &Reader<'_>, report: &Report) {
    let sticky = table.table("sticky");
    match (sticky.text("by"), sticky.text("cookie")) {
        (Some(by), Some(cookie)) if by.value == "ip" => report.error(
            &cookie.place,
            "sticky by address has no cookie".to_owned(),
            &["write sticky = \"ip\", or sticky = { cookie = \"…\" }"],
        ),
        (Some(by), None) if by.value == "cookie" => report.error(
            &by.place,
            "sticky by cookie needs the cookie's name".to_owned(),
            &["write sticky = { cookie = \"myapp_i\" }"],
        ),
        (Some(by), None) if by.value == "ip" && table.has("balance") => {
            let place = &table
                .entry("balance")
                .map_or(by.place, |entry| entry.place.clone());
            let help = "the client's address alone decides; remove one of the two";
            report.warning(
                place,
                "`balance` has no effect with sticky = \"ip\"".to_owned(),
                &[help],
            );
        }
        _ => {}
    }
}

/// Keys that would be without effect.
fn warn_about_balance(table: &Reader<'_>, report: &Report) {
    let balance = balance(table);
    let without = |name: &str, help: &str| {
        if let Some(entry) = table.entry(name) {
            let message = format!("`{name}` has no effect with balance = \"{}\"", balance.name());
            report.warning(&entry.place, message, &[help]);
        }
    };
    match balance {
        Balance::RoundRobin => without("weights", "balance = \"weighted\" is round robin with weights"),
        Balance::IpHash => without(
            "weights",
            "balance = \"ring\" with hash_by = \"ip\" goes by weights",
        ),
        _ => {}
    }
    if balance != Balance::Ring {
        without("hash_by", "only balance = \"ring\" goes by it");
    }
}

fn warn_about_queue(table: &Reader<'_>, report: &Report) {
    if table.has("max_connections") {
        return;
    }
    for name in ["length", "wait"] {
        if let Some(entry) = table.entry(name) {
            let message = format!("`{name}` has no effect without `max_connections`");
            let help = "without a limit per instance nothing waits";
            report.warning(&entry.place, message, &[help]);
        }
    }
}

fn check_proxy_protocol(table: &Reader<'_>, report: &Report) {
    if let Some(entry) = table.entry("proxy_protocol")
        && table.boolean("proxy_protocol")
        && table.texts("trusted_proxies").is_empty()
    {
        let help = "write trusted_proxies = [\"10.0.0.5\"] with the addresses or networks of your proxies";
        report.error(
            &entry.place,
            "`proxy_protocol` needs `trusted_proxies`: nobody else is believed",
            &[help],
        );
    }
}

fn health(table: &Reader<'_>) -> EdgeHealth {
    EdgeHealth {
        failures: table.number("failures"),
        window: table.duration("window"),
        eject: table.duration("eject"),
        max_ejected: table.number("max_ejected"),
        panic: table.number("panic"),
    }
}

fn queue(table: &Reader<'_>) -> EdgeQueue {
    EdgeQueue {
        max_connections: table
            .integer("max_connections")
            .and_then(|limit| u32::try_from(limit.value).ok()),
        length: table.number("length"),
        wait: table.duration("wait"),
    }
}

fn timeouts(table: &Reader<'_>) -> EdgeTimeouts {
    EdgeTimeouts {
        header: table.duration("header"),
        idle: table.duration("idle"),
        connect: table.duration("connect"),
        response: table.duration("response"),
        no_endpoint: table.duration("no_endpoint"),
        websocket: table.duration("websocket"),
        drain: table.duration("drain"),
    }
}

fn limits(table: &Reader<'_>) -> EdgeLimits {
    EdgeLimits {
        header_bytes: table.bytes("header_bytes"),
        headers: table.number("headers"),
        request_line: table.bytes("request_line"),
        body: table.bytes("body"),
        response_header: table
            .bytes_if_any("response_header")
            .and_then(|bytes| u32::try_from(bytes).ok()),
        response_body: table.bytes_if_any("response_body"),
        body_rate: table.bytes("body_rate"),
        connections_per_ip: table.number("connections_per_ip"),
        new_per_ip: table.number("new_per_ip"),
        exempt_ips: table.networks("exempt_ips"),
    }
}
