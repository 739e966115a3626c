//! `[observe]`: what is kept of everything that is measured, and where people see it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alerts::is_url;
use crate::read::{Reader, Spot};
use crate::report::Report;
use crate::units::duration;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObserveTable {
    /// Of the dashboard, on 127.0.0.1; `None`: a free one, kept from then on.
    pub port: Option<u16>,
    pub settings: ObserveSettings,
}

/// What a running role takes by snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObserveSettings {
    /// Default 256 MiB.
    pub disk_bytes: u64,
    /// Default 60 days.
    #[serde(with = "duration")]
    pub keep: Duration,
    #[serde(default)]
    pub otlp: Otlp,
}

/// Traces of apps, by OTLP: where they come in, and where all that are kept go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Otlp {
    /// Ports on 127.0.0.1; `None`: nobody listens.
    pub http: Option<u16>,
    pub grpc: Option<u16>,
    /// `http://HOST:PORT/PATH` or `https://…`.
    pub export: Option<String>,
}

/// Where OTLP over HTTP takes traces, if a URL says nothing else.
const TRACES: &str = "/v1/traces";

/// `None`: nothing is kept.
pub(crate) fn build(root: &Reader<'_>, report: &Report) -> Option<ObserveTable> {
    let table = root.table("observe");
    let [port, http, grpc] = ports(&table, report);
    let export = table.text("export").and_then(|url| export(&url, report));
    table.boolean("enabled").then(|| ObserveTable {
        port,
        settings: ObserveSettings {
            disk_bytes: table.bytes("disk"),
            keep: table.duration("keep"),
            otlp: Otlp { http, grpc, export },
        },
    })
}

/// One port has one thing that listens.
fn ports(table: &Reader<'_>, report: &Report) -> [Option<u16>; 3] {
    const NAMES: [&str; 3] = ["port", "otlp_http", "otlp_grpc"];
    let ports = NAMES.map(|name| u16::try_from(table.integer(name)?.value).ok());
    for (place, port) in ports.iter().enumerate().filter(|(_, port)| port.is_some()) {
        let other = ports[..place].iter().position(|other| other == port);
        if let (Some(other), Some(entry)) = (other, table.entry(NAMES[place])) {
            let message = format!("this port is `{}` already", NAMES[other]);
            report.error(&entry.node.place, message, &["write another port"]);
        }
    }
    ports
}

/// Without a path: OTLP's own.
fn export(url: &Spot<String>, report: &Report) -> Option<String> {
    let help = "write http://HOST:PORT or https://HOST:PORT, without a password or a query: a secret does not belong here";
    let text = &url.value;
    if !is_url(text) || text.contains(['@', '?', '#']) {
        report.hidden_error(&url.place, "this is no address of a collector", &[help]);
        return None;
    }
    let (scheme, rest) = text.split_once("://")?;
    let path = rest.find('/').map(|at| &rest[at..]);
    match path {
        None | Some("/") => Some(format!("{scheme}://{}{TRACES}", rest.trim_end_matches('/'))),
        Some(_) => Some(text.clone()),
    }
}
