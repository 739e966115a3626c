//! `[edge.place.NAME]`: edges beside the first one, each a process with ports of its own; all serve the same routes.
//!
//! `[[listener]]`, `passthrough` and the port of metrics are the first edge's alone.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::keys::Key;
use crate::model::EdgeTable;
use crate::name::PlaceName;
use crate::nearest::{list, nearest};
use crate::read::Reader;
use crate::report::{Place, Report};
use crate::tree::{Entry, Value};

/// What people call the edge that is no further place.
pub const FIRST_PLACE: &str = "edge";

/// An edge beside the first one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgePlace {
    pub listen: SocketAddr,
    /// Where TLS is spoken; there when the edge has `tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<SocketAddr>,
}

impl EdgePlace {
    /// Every address it listens on.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        std::iter::once(self.listen).chain(self.https)
    }
}

/// After the listeners: it is the later ones that clash.
pub(crate) fn build(root: &Reader<'_>, edge: Option<&mut EdgeTable>, report: &Report) {
    let Some(edge) = edge else { return };
    let (entries, keys) = root.table("edge").map("place");
    for entry in entries {
        let Value::Table(inner) = &entry.node.value else {
            continue;
        };
        let Ok(name) = entry.name.parse::<PlaceName>() else {
            continue;
        };
        if name.as_str() == FIRST_PLACE {
            let help = "[edge] itself is that place; give this one another name";
            report.error(&entry.place, "the place `edge` is there already", &[help]);
            continue;
        }
        let table = Reader::new(inner, keys);
        if let Some(place) = place(&table, edge, entry, report) {
            differs(&table, &name, edge, report);
            edge.places.insert(name, place);
        }
    }
    for entry in entries {
        if let Value::Table(inner) = &entry.node.value
            && let Ok(name) = entry.name.parse::<PlaceName>()
            && edge.places.contains_key(&name)
        {
            beside((entries, keys), &Reader::new(inner, keys), &name, edge, report);
        }
    }
    check_shield(root, edge, report);
}

/// A longer name has no room in that of the group in which other edges know it.
const LONGEST_BESIDE: usize = 24;

/// Whom it shares what it keeps with.
fn beside(
    (all, keys): (&[Entry], &'static [Key]),
    table: &Reader<'_>,
    name: &PlaceName,
    edge: &mut EdgeTable,
    report: &Report,
) {
    let Some(word) = table.text("beside") else { return };
    let Ok(other) = word.value.parse::<PlaceName>() else {
        return;
    };
    let known = || edge.places.keys().map(PlaceName::as_str).chain([FIRST_PLACE]);
    let others = || known().filter(|place| *place != name.as_str());
    if !others().any(|place| place == other.as_str()) {
        let message = if other == *name {
            format!("place `{name}` cannot stand beside itself")
        } else {
            format!("there is no place `{other}`")
        };
        let help = match nearest(other.as_str(), others()) {
            Some(near) if other != *name => format!("did you mean `{near}`?"),
            _ => format!("places are {}", list(others())),
        };
        report.error(&word.place, message, &[&help]);
        return;
    }
    let tables = all.iter().filter(|entry| entry.name == other.as_str());
    let third = tables.filter_map(|entry| match &entry.node.value {
        Value::Table(inner) => Reader::new(inner, keys).text("beside"),
        _ => None,
    });
    if let Some(third) = third.map(|third| third.value).next() {
        let message = format!("place `{other}` stands beside `{third}` itself");
        let help = "write the name of one that all of them stand beside";
        report.error(&word.place, message, &[help]);
        return;
    }
    if let Some(long) = [name, &other]
        .into_iter()
        .find(|place| place.as_str().len() > LONGEST_BESIDE)
    {
        let message = format!("the name `{long}` is too long for edges that share what they keep");
        let help = format!("give that place a name of at most {LONGEST_BESIDE} characters");
        report.error(&word.place, message, &[&help]);
        return;
    }
    match &mut edge.settings.cache {
        Some(cache) => {
            cache.beside.insert(name.clone(), other);
        }
        None => {
            let help = "write cache = {} in [edge], or leave it away";
            let message = "`beside` has no effect: the edges keep nothing";
            report.warning(&word.place, message.to_owned(), &[help]);
        }
    }
}

fn check_shield(root: &Reader<'_>, edge: &EdgeTable, report: &Report) {
    let Some(shield) = root.table("edge").table("cache").text("shield") else {
        return;
    };
    let known = || edge.places.keys().map(PlaceName::as_str).chain([FIRST_PLACE]);
    if !known().any(|name| name == shield.value) {
        let help = match nearest(&shield.value, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("places are {}", list(known())),
        };
        let message = format!("there is no place `{}`", shield.value);
        report.error(&shield.place, message, &[&help]);
    } else if edge.places.is_empty() {
        let help = "write [edge.place.NAME] with a port for each edge that is to ask it";
        let message = "`shield` has no effect: there is one edge";
        report.warning(&shield.place, message.to_owned(), &[help]);
    }
}

/// `None`: reported, not usable.
fn place(table: &Reader<'_>, edge: &EdgeTable, entry: &Entry, report: &Report) -> Option<EdgePlace> {
    let number = |key: &str| u16::try_from(table.integer(key)?.value).ok();
    let address = match table.entry("public").map(|entry| &entry.node.value) {
        Some(Value::Boolean(true)) => Ipv4Addr::UNSPECIFIED.into(),
        Some(_) => Ipv4Addr::LOCALHOST.into(),
        None => edge.listen.ip(),
    };
    let https = number("https_port").map(|port| SocketAddr::new(address, port));
    match (&edge.settings.tls, table.entry("https_port")) {
        (Some(_), None) => {
            let message = format!(
                "the edge has `tls`, so place `{}` needs an https port",
                entry.name
            );
            report.error(&entry.place, message, &["write https_port = …"]);
        }
        (None, Some(written)) => {
            let help = "write tls = \"self-signed\" or certificate files in [edge], or leave it away";
            let message = "`https_port` has no effect: the edge has no `tls`";
            report.warning(&written.place, message.to_owned(), &[help]);
        }
        _ => {}
    }
    Some(EdgePlace {
        listen: SocketAddr::new(address, number("port")?),
        https: https.filter(|_| edge.settings.tls.is_some()),
    })
}

/// One port, one listener.
fn differs(table: &Reader<'_>, name: &PlaceName, edge: &EdgeTable, report: &Report) {
    let mut taken: BTreeMap<u16, String> = BTreeMap::new();
    taken.insert(edge.listen.port(), "`port` of [edge]".to_owned());
    let https = edge
        .https
        .iter()
        .map(|https| (https.port(), "`https_port` of [edge]".to_owned()));
    let listeners = edge.listeners.iter();
    let listeners = listeners.map(|l| (l.listen.port(), format!("listener `{}`", l.name)));
    let places = edge.places.iter();
    let places = places.flat_map(|(name, place)| {
        place
            .addresses()
            .map(move |address| (address.port(), format!("place `{name}`")))
    });
    taken.extend(https.chain(listeners).chain(places));
    let metrics = edge.settings.metrics.as_ref();
    taken.extend(metrics.map(|metrics| (metrics.listen.port(), "`listen` of [metrics]".to_owned())));
    for key in ["port", "https_port"] {
        let Some(port) = table.integer(key) else { continue };
        let Ok(number) = u16::try_from(port.value) else {
            continue;
        };
        let itself = format!("place `{name}`");
        if let Some(holder) = taken.insert(number, itself) {
            clash(&port.place, number, &holder, report);
        }
    }
}

fn clash(place: &Place, port: u16, holder: &str, report: &Report) {
    let message = format!("port {port} is that of {holder}, too");
    report.error(place, message, &["each place needs ports of its own"]);
}
