//! `[[listener]]` and `passthrough` of `[edge]`: connections that go to a process as they are, without a look into them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{EdgeTable, ProcessTable};
use crate::name::ProcessName;
use crate::nearest::{list, nearest};
use crate::read::Reader;
use crate::report::{Place, Report};
use crate::tree::{Entry, Value};
use crate::units::duration;

/// An address whose connections go to the instances of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamListener {
    pub name: String,
    pub listen: SocketAddr,
    pub to: StreamTo,
    /// Connections of trusted proxies begin with a PROXY header.
    pub proxy_protocol: bool,
    /// Connections on which nothing moves for so long are closed. Default 1 h.
    #[serde(with = "duration")]
    pub idle: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamTo {
    Process(ProcessName),
    /// By the name in the TLS handshake.
    Names {
        /// Lower case; `*.example.org` is every name one level below it.
        names: BTreeMap<String, ProcessName>,
        /// Gets all others; `None`: they are refused.
        otherwise: Option<ProcessName>,
    },
}

impl StreamListener {
    pub fn processes(&self) -> Vec<&ProcessName> {
        match &self.to {
            StreamTo::Process(process) => vec![process],
            StreamTo::Names { names, otherwise } => names.values().chain(otherwise).collect(),
        }
    }
}

pub(crate) fn build(
    root: &Reader<'_>,
    edge: Option<&mut EdgeTable>,
    processes: &BTreeMap<ProcessName, ProcessTable>,
    report: &Report,
) {
    let (nodes, keys) = root.items("listener");
    let Some(edge) = edge else {
        if let (Some(node), false) = (nodes.first(), report.has_errors()) {
            let help = "name the process that gets HTTP requests: process = \"…\" in [edge]";
            report.error(&node.place, "listeners need an edge, and there is none", &[help]);
        }
        return;
    };
    let builder = Builder { processes, report };
    edge.passthrough = builder.names(&root.table("edge"), "passthrough");
    without_tls(&root.table("edge"), report);
    for (n, node) in nodes.iter().enumerate() {
        let Value::Table(entries) = &node.value else {
            continue;
        };
        let table = Reader::new(entries, keys);
        if let Some(listener) = builder.listener(&table, n + 1, &node.place) {
            builder.differs(&listener, edge, &table, &node.place);
            edge.listeners.push(listener);
        }
    }
}

fn without_tls(edge: &Reader<'_>, report: &Report) {
    if let Some(entry) = edge.entry("passthrough")
        && !edge.has("tls")
    {
        let help =
            "write tls = \"self-signed\", or certificate files; or a [[listener]] with protocol = \"tls\"";
        report.error(
            &entry.place,
            "`passthrough` shares the https port, and there is none without `tls`",
            &[help],
        );
    }
}

struct Builder<'a> {
    processes: &'a BTreeMap<ProcessName, ProcessTable>,
    report: &'a Report,
}

impl Builder<'_> {
    /// `None`: reported, not usable.
    fn listener(&self, table: &Reader<'_>, number: usize, place: &Place) -> Option<StreamListener> {
        let address = if table.boolean("public") {
            Ipv4Addr::UNSPECIFIED
        } else {
            Ipv4Addr::LOCALHOST
        };
        let port = u16::try_from(table.integer("port")?.value).ok()?;
        let process = table.text("process");
        let known = process.as_ref().map(|spot| self.known(&spot.value, &spot.place));
        let to = match (table.text_or_default("protocol").as_str(), known) {
            ("tls", known) => StreamTo::Names {
                names: self.names(table, "names"),
                otherwise: known.flatten(),
            },
            (_, Some(known)) => StreamTo::Process(known?),
            (_, None) => {
                let help = "write process = \"…\" with the process that gets its connections";
                self.report
                    .error(place, "this listener leads to no process", &[help]);
                return None;
            }
        };
        self.fits(table, &to, place);
        Some(StreamListener {
            name: table
                .text("name")
                .map_or_else(|| format!("listener-{number}"), |name| name.value),
            listen: SocketAddr::new(address.into(), port),
            to,
            proxy_protocol: table.boolean("proxy_protocol"),
            idle: table.duration("idle"),
        })
    }

    fn fits(&self, table: &Reader<'_>, to: &StreamTo, place: &Place) {
        match to {
            StreamTo::Process(_) => {
                if let Some(entry) = table.entry("names") {
                    let help = "write protocol = \"tls\" to go by the name in the handshake";
                    self.report.error(
                        &entry.place,
                        "`names` are not read with protocol = \"tcp\"",
                        &[help],
                    );
                }
            }
            StreamTo::Names { names, otherwise } => {
                if names.is_empty() && otherwise.is_none() && !table.has("names") && !table.has("process") {
                    let help =
                        "write names = { \"db.example.org\" = \"db\" }, or process = \"…\" for every name";
                    self.report
                        .error(place, "this listener leads to no process", &[help]);
                }
            }
        }
    }

    fn names(&self, table: &Reader<'_>, key: &str) -> BTreeMap<String, ProcessName> {
        let entries: &[Entry] = match table.entry(key).map(|entry| &entry.node.value) {
            Some(Value::Table(entries)) => entries,
            _ => &[],
        };
        let one = |entry: &Entry| {
            let Value::Text(process) = &entry.node.value else {
                return None;
            };
            let process = self.known(process, &entry.node.place)?;
            Some((entry.name.to_lowercase(), process))
        };
        entries.iter().filter_map(one).collect()
    }

    fn known(&self, name: &str, place: &Place) -> Option<ProcessName> {
        let process: ProcessName = name.parse().ok()?;
        if self.processes.contains_key(&process) {
            return Some(process);
        }
        let names = self.processes.keys().map(ProcessName::as_str);
        let help = match nearest(name, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("processes are {}", list(names)),
        };
        self.report
            .error(place, format!("there is no process `{name}`"), &[&help]);
        None
    }

    /// One port, one listener; one name, one listener.
    fn differs(&self, listener: &StreamListener, edge: &EdgeTable, table: &Reader<'_>, place: &Place) {
        let port = listener.listen.port();
        let same = |address: &SocketAddr| address.port() == port;
        let own = [("port", Some(edge.listen)), ("https_port", edge.https)];
        let holder = own
            .iter()
            .find(|(_, address)| address.as_ref().is_some_and(same))
            .map(|(key, _)| format!("`{key}` of [edge]"));
        let other = || {
            let mut others = edge.listeners.iter();
            let other = others.find(|other| same(&other.listen))?;
            Some(format!("listener `{}`", other.name))
        };
        if let Some(holder) = holder.or_else(other) {
            let place = table.integer("port").map_or(place.clone(), |port| port.place);
            self.report.error(
                &place,
                format!("port {port} is that of {holder}, too"),
                &["each listener needs a port of its own"],
            );
        }
        if edge.listeners.iter().any(|other| other.name == listener.name) {
            let message = format!("two listeners are named `{}`", listener.name);
            self.report
                .error(place, message, &["names tell them apart in `banyan status`"]);
        }
    }
}
