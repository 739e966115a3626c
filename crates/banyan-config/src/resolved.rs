//! The configuration as it is in force: every default filled in, Procfile and overlay merged, as banyan.toml or JSON.
//!
//! Masked, it can be shown to others: passwords in URLs and values that look secret become `***`.

mod alerts;
mod cache;
mod database;
mod filters;
mod listeners;
mod mask;
mod observe;
mod origins;
mod places;
mod redis;
mod routes;
mod scale;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::command;
use crate::filter::{CountLimits, Filters};
use crate::logs::LogSettings;
use crate::model::{
    Balance, Certificates, Config, Database, EdgeTable, HashBy, HostKind, ProcessTable, Sticky, Tls, Trace,
};
use crate::name::HostName;
use crate::template::Template;
use crate::units::{format_bytes, format_duration};

/// banyan.toml that means the same as the Config; unmasked, it can be loaded again.
pub fn render_resolved(config: &Config, masked: bool) -> String {
    let mut out = Writer(String::new());
    let config = if masked { &mask::mask(config) } else { config };
    out.line("version", "1");
    out.text("name", config.name.as_str());
    app(&mut out, config);
    for (name, process) in &config.processes {
        process_table(&mut out, name.as_str(), process);
    }
    for (name, process) in &config.processes {
        if let Some(scale) = &process.settings.scale {
            scale::table(&mut out, name.as_str(), scale);
        }
    }
    if let Some(edge) = &config.edge {
        edge_table(&mut out, edge);
    }
    if let Some(edge) = &config.edge {
        for (name, auth) in &edge.settings.auth {
            filters::auth(&mut out, name, auth);
        }
        for (name, origin) in &edge.settings.origins {
            origins::table(&mut out, name, origin);
        }
        metrics_table(&mut out, edge);
        for route in &edge.routes {
            routes::table(&mut out, route, &edge.settings.filters);
        }
    }
    for listener in config.edge.iter().flat_map(|edge| &edge.listeners) {
        listeners::table(&mut out, listener);
    }
    match &config.database {
        None => {}
        Some(Database::External(external)) => database::external(&mut out, external),
        Some(Database::Managed(managed)) => database::managed(&mut out, managed),
    }
    for (purpose, table) in &config.redis {
        redis::table(&mut out, *purpose, table);
    }
    alerts::tables(&mut out, config.alerts.as_ref());
    observe::table(&mut out, config.observe.as_ref());
    logs_table(&mut out, &config.logs);
    for (name, host) in &config.hosts {
        out.table(&format!("host.{name}"));
        match host.kind {
            HostKind::Machine => out.text("kind", "machine"),
        }
        if let Some(zone) = &host.zone {
            out.text("zone", zone.as_str());
        }
    }
    out.0
}

/// The same as JSON, durations as text and sizes in bytes.
pub fn resolved_json(config: &Config, masked: bool) -> serde_json::Value {
    let masked_config;
    let config = if masked {
        masked_config = mask::mask(config);
        &masked_config
    } else {
        config
    };
    serde_json::to_value(config).expect("a Config has only text keys")
}

fn app(out: &mut Writer, config: &Config) {
    let app = &config.app;
    out.table("app");
    out.text("dir", &app.dir.to_string_lossy());
    if let Some(release) = &app.release {
        out.text("release", &joined(release));
    }
    if let Some(secrets) = &app.secrets {
        out.text("secrets", &secrets.to_string_lossy());
    }
    if let Some(user) = &app.user {
        out.text("user", user);
    }
    if !app.files.is_empty() {
        let files = app.files.iter().map(|file| {
            let (from, to) = (file.from.to_string_lossy(), file.to.to_string_lossy());
            format!("{{ from = {}, to = {} }}", quoted(&from), quoted(&to))
        });
        out.list("files", files);
    }
    environment(out, "app.env", &app.env);
}

fn process_table(out: &mut Writer, name: &str, process: &ProcessTable) {
    out.table(&format!("process.{name}"));
    out.text("command", &joined(&process.argv));
    out.line("count", process.count);
    if let Some(max) = process.max {
        out.line("max", max);
    }
    out.hosts(&process.hosts);
    out.text("protocol", process.protocol.name());
    let settings = &process.settings;
    if let Some(ready) = &settings.ready {
        let host = ready
            .host
            .as_ref()
            .map(|host| format!(", host = {}", quoted(host)))
            .unwrap_or_default();
        let service = ready
            .service
            .as_ref()
            .map(|service| format!(", service = {}", quoted(service)))
            .unwrap_or_default();
        let value = format!(
            "{{ path = {}{host}{service}, status = {}, interval = \"{}\", timeout = \"{}\", rise = {}, fall = {} }}",
            quoted(&ready.path),
            ready.status,
            format_duration(ready.interval),
            format_duration(ready.timeout),
            ready.rise,
            ready.fall,
        );
        out.line("ready", value);
    }
    if let Some(live) = &settings.live {
        let host = live
            .host
            .as_ref()
            .map(|host| format!(", host = {}", quoted(host)))
            .unwrap_or_default();
        let value = format!(
            "{{ path = {}{host}, failures = {}, interval = \"{}\", timeout = \"{}\" }}",
            quoted(&live.path),
            live.failures,
            format_duration(live.interval),
            format_duration(live.timeout),
        );
        out.line("live", value);
    }
    out.text("start_grace", &format_duration(settings.start_grace));
    out.text("stop_grace", &format_duration(settings.stop_grace));
    if let Some(version) = settings.proxy_protocol {
        out.text("proxy_protocol", version.name());
    }
    environment(out, &format!("process.{name}.env"), &process.env);
}

fn edge_table(out: &mut Writer, edge: &EdgeTable) {
    let settings = &edge.settings;
    out.table("edge");
    out.line("port", edge.listen.port());
    out.line("public", edge.listen.ip().is_unspecified());
    if let (Some(tls), Some(https)) = (&settings.tls, edge.https) {
        tls_keys(out, tls, https.port());
        if !edge.passthrough.is_empty() {
            out.line("passthrough", listeners::by_name(&edge.passthrough));
        }
    }
    out.text("process", edge.process.as_str());
    out.hosts(&edge.hosts);
    out.text("balance", settings.balance.name());
    if !settings.weights.is_empty() {
        out.list("weights", settings.weights.iter().map(u32::to_string));
    }
    let hash_by = match settings.hash_by {
        HashBy::Path => "path",
        HashBy::Ip => "ip",
    };
    if settings.balance == Balance::Ring {
        out.text("hash_by", hash_by);
    }
    out.text("slow_start", &format_duration(settings.slow_start));
    out.list(
        "trusted_proxies",
        settings
            .trusted_proxies
            .iter()
            .map(|address| format!("\"{address}\"")),
    );
    out.line("proxy_protocol", settings.proxy_protocol);
    if let Some(name) = &settings.deadline_header {
        out.text("deadline_header", name);
    }
    out.line("access_log", settings.access_log);
    let trace = match settings.trace {
        Trace::Off => "off",
        Trace::Proxies => "proxies",
        Trace::Clients => "clients",
    };
    out.text("trace", trace);
    out.line("trace_sampled", settings.trace_sampled);
    if let Some(workers) = settings.workers {
        out.line("workers", workers);
    }
    match &settings.sticky {
        Some(Sticky::Ip) => out.text("sticky", "ip"),
        Some(Sticky::Cookie(name)) => out.line("sticky", format!("{{ cookie = {} }}", quoted(name))),
        None => {}
    }
    filters::keys(out, &settings.filters, &Filters::default());
    if !edge.places.is_empty() || settings.count_limits != CountLimits::Here {
        out.text("count_limits", settings.count_limits.name());
    }
    if settings.access_log {
        out.table("edge.log");
        out.line("sample", settings.log.sample.of_one());
        out.text("slow", &format_duration(settings.log.slow));
    }
    if let Some(cache) = &settings.cache {
        cache::table(out, cache);
    }
    if let Some(Certificates::Acme(acme)) = settings.tls.as_ref().map(|tls| &tls.certificates) {
        out.table("edge.acme");
        out.text("directory", &acme.directory);
        if let Some(contact) = &acme.contact {
            out.text("contact", contact);
        }
        if let Some(root) = &acme.root {
            out.text("root", &root.to_string_lossy());
        }
    }
    let health = &settings.health;
    out.table("edge.health");
    out.line("failures", health.failures);
    out.text("window", &format_duration(health.window));
    out.text("eject", &format_duration(health.eject));
    out.line("max_ejected", health.max_ejected);
    out.line("panic", health.panic);
    if let Some(limit) = settings.queue.max_connections {
        out.table("edge.queue");
        out.line("max_connections", limit);
        out.line("length", settings.queue.length);
        out.text("wait", &format_duration(settings.queue.wait));
    }
    let timeouts = &settings.timeouts;
    out.table("edge.timeouts");
    out.text("header", &format_duration(timeouts.header));
    out.text("idle", &format_duration(timeouts.idle));
    out.text("connect", &format_duration(timeouts.connect));
    out.text("response", &format_duration(timeouts.response));
    out.text("no_endpoint", &format_duration(timeouts.no_endpoint));
    out.text("websocket", &format_duration(timeouts.websocket));
    out.text("drain", &format_duration(timeouts.drain));
    let limits = &settings.limits;
    out.table("edge.limits");
    out.text("header_bytes", &format_bytes(limits.header_bytes.into()));
    out.line("headers", limits.headers);
    out.text("request_line", &format_bytes(limits.request_line.into()));
    out.text("body", &format_bytes(limits.body));
    if let Some(most) = limits.response_header {
        out.text("response_header", &format_bytes(most.into()));
    }
    if let Some(most) = limits.response_body {
        out.text("response_body", &format_bytes(most));
    }
    out.text("body_rate", &format_bytes(limits.body_rate.into()));
    out.line("connections_per_ip", limits.connections_per_ip);
    out.line("new_per_ip", limits.new_per_ip);
    let exempt = limits.exempt_ips.iter();
    out.list("exempt_ips", exempt.map(|network| format!("\"{network}\"")));
    for (name, place) in &edge.places {
        let cache = edge.settings.cache.as_ref();
        let beside = cache.and_then(|cache| cache.beside.get(name));
        places::table(out, name, place, beside);
    }
}

fn metrics_table(out: &mut Writer, edge: &EdgeTable) {
    out.table("metrics");
    match &edge.settings.metrics {
        Some(metrics) => out.text("listen", &metrics.listen.to_string()),
        None => out.line("enabled", false),
    }
}

fn logs_table(out: &mut Writer, logs: &LogSettings) {
    out.table("logs");
    out.text("file", &format_bytes(logs.file_bytes));
    out.text("keep", &format_duration(logs.keep));
    out.text("size", &format_bytes(logs.total_bytes));
    if let Some(archive) = &logs.archive {
        out.text("archive", &archive.to_string_lossy());
    }
}

fn tls_keys(out: &mut Writer, tls: &Tls, port: u16) {
    match &tls.certificates {
        Certificates::SelfSigned => out.text("tls", "self-signed"),
        Certificates::Acme(_) => out.text("tls", "acme"),
        Certificates::Files(files) => {
            let files = files.iter().map(|files| {
                let (cert, key) = (files.cert.to_string_lossy(), files.key.to_string_lossy());
                format!("{{ cert = {}, key = {} }}", quoted(&cert), quoted(&key))
            });
            out.list("tls", files);
        }
    }
    out.line("https_port", port);
    out.list("domains", tls.domains.iter().map(|domain| quoted(domain)));
    out.line("redirect", tls.redirect);
    out.text("hsts", &format_duration(tls.hsts));
}

fn environment(out: &mut Writer, table: &str, env: &BTreeMap<String, Template>) {
    if !env.is_empty() {
        out.table(table);
        for (name, value) in env {
            out.text(name, value.as_str());
        }
    }
}

/// argv as it would be written on one line.
fn joined(argv: &[Template]) -> String {
    command::join(argv.iter().map(Template::as_str))
}

struct Writer(String);

impl Writer {
    fn table(&mut self, name: &str) {
        self.push(format_args!("\n[{name}]\n"));
    }

    fn line(&mut self, key: &str, value: impl std::fmt::Display) {
        // A setting of PostgreSQL may have a dot in its name.
        if key.contains('.') {
            self.push(format_args!("{} = {value}\n", quoted(key)));
        } else {
            self.push(format_args!("{key} = {value}\n"));
        }
    }

    fn text(&mut self, key: &str, value: &str) {
        self.line(key, quoted(value));
    }

    fn list(&mut self, key: &str, values: impl Iterator<Item = String>) {
        self.line(key, format_args!("[{}]", values.collect::<Vec<_>>().join(", ")));
    }

    fn hosts(&mut self, hosts: &[HostName]) {
        if !hosts.is_empty() {
            self.list("hosts", hosts.iter().map(|host| format!("\"{host}\"")));
        }
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a String takes any text");
    }
}

/// A TOML basic string: JSON's notation, and DEL escaped as well.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('\u{7f}', "\\u007F")
}
