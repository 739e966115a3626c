//! What `banyan status` shows, from what the controller knows: pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use banyan_config::Certificates;
use banyan_supervisor::engine::{postgres, redis};
use banyan_supervisor::{ChildId, ChildStatus};
use banyan_topology::report::{EdgeReport, EndpointReport, HoldState, ObserveReport, PgproxyReport};
use banyan_topology::{Database, Edge, Epoch, InstanceId, PlaceName, Topology};

use super::rates::Rates;
use crate::paths::StateDir;
use crate::proto::{Autoscale, BackupState, MendedState, RedisState, Row, Status, UnderWay};

pub(super) struct Known<'a> {
    pub(super) topology: &'a Topology,
    pub(super) children: Vec<ChildStatus>,
    pub(super) rates: &'a Rates,
    /// Of the edge's places.
    pub(super) places: &'a BTreeMap<PlaceName, Rates>,
    pub(super) pgproxy: Option<&'a PgproxyReport>,
    pub(super) observe: Option<&'a ObserveReport>,
    pub(super) unfinished: Option<(usize, usize, String)>,
    pub(super) under_way: Option<UnderWay>,
    pub(super) state: &'a StateDir,
    pub(super) certificate_problem: Option<String>,
    pub(super) backup: Option<BackupState>,
    pub(super) autoscale: Option<Autoscale>,
    pub(super) redis: Vec<RedisState>,
    pub(super) mended: Option<MendedState>,
    pub(super) now: Instant,
}

pub(super) fn status(known: Known<'_>) -> Status {
    let Known {
        topology,
        children,
        rates,
        places,
        pgproxy,
        observe,
        unfinished,
        under_way,
        state,
        certificate_problem,
        backup,
        autoscale,
        redis,
        mended,
        now,
    } = known;
    let report = rates.current(now);
    Status {
        app: topology.app.to_string(),
        controller_pid: std::process::id(),
        release: topology.release,
        url: topology.edge.as_ref().map(|edge| url(edge, report)),
        edge: topology.edge.clone(),
        epoch: report.map_or(Epoch::default(), |report| report.epoch),
        children: rows(topology, children, (rates, places), pgproxy, &redis, now),
        edge_report: report.cloned(),
        place_reports: place_reports(topology, places, now),
        observe_report: observe.filter(|_| topology.observe.is_some()).cloned(),
        pgproxy_report: pgproxy.filter(|_| topology.pgproxy.is_some()).cloned(),
        rps: rates.total(now),
        error_share: rates.error_share(now),
        processes: rates.per_process(now),
        unfinished,
        under_way,
        certificate_problem,
        redis,
        backup,
        autoscale,
        mended,
        rotation: topology.rotation.iter().cloned().collect(),
        state_dir: state.path().to_owned(),
        log_dir: state.logs(),
    }
}

/// In the order of a request: edge, instances, PostgreSQL, anything else.
fn rows(
    topology: &Topology,
    children: Vec<ChildStatus>,
    (rates, places): (&Rates, &BTreeMap<PlaceName, Rates>),
    pgproxy: Option<&PgproxyReport>,
    redis: &[RedisState],
    now: Instant,
) -> Vec<Row> {
    let report = rates.current(now);
    let per_instance = rates.per_instance(now);
    let mut rows: Vec<(u8, Row)> = children
        .into_iter()
        .map(|child| match child.id.0.parse::<InstanceId>() {
            Ok(id) => {
                let endpoint = report.and_then(|report| endpoint(report, &id));
                let served = topology
                    .edge
                    .as_ref()
                    .is_some_and(|edge| edge.serves(&id.process));
                let row = Row {
                    kind: id.process.to_string(),
                    in_rotation: served.then(|| topology.rotation.contains(&id)),
                    healthy: endpoint.map(|endpoint| endpoint.healthy),
                    detail: zone(topology, &id),
                    ejected: endpoint.and_then(|endpoint| endpoint.ejected.clone()),
                    rps: per_instance.get(&id).copied(),
                    in_flight: endpoint.map(|endpoint| endpoint.in_flight),
                    child,
                };
                (1, row)
            }
            Err(_) => match edge_row(topology, &child, places, now) {
                Some(row) => (0, row),
                None => plain(topology, child, rates, pgproxy, redis, now),
            },
        })
        .collect();
    rows.sort_by(|(a, left), (b, right)| a.cmp(b).then_with(|| left.child.id.cmp(&right.child.id)));
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The newest report of each place.
fn place_reports(
    topology: &Topology,
    places: &BTreeMap<PlaceName, Rates>,
    now: Instant,
) -> BTreeMap<PlaceName, EdgeReport> {
    let known = topology.edge.iter().flat_map(|edge| edge.places.keys());
    let report = |name: &PlaceName| Some((name.clone(), places.get(name)?.current(now)?.clone()));
    known.filter_map(report).collect()
}

/// Of the edge at a further place.
fn edge_row(
    topology: &Topology,
    child: &ChildStatus,
    places: &BTreeMap<PlaceName, Rates>,
    now: Instant,
) -> Option<Row> {
    let known = topology.edge.iter().flat_map(|edge| edge.places.keys());
    let name = known
        .into_iter()
        .find(|name| child.id.0.strip_prefix("edge-") == Some(name.as_str()))?;
    let rates = places.get(name);
    let report = rates.and_then(|rates| rates.current(now));
    Some(Row {
        kind: "edge".to_owned(),
        in_rotation: None,
        healthy: None,
        detail: report.and_then(|report| report.refused.clone()),
        ejected: None,
        rps: rates.and_then(|rates| rates.total(now)),
        in_flight: report.map(|report| report.totals.in_flight),
        child: child.clone(),
    })
}

fn plain(
    topology: &Topology,
    child: ChildStatus,
    rates: &Rates,
    pgproxy: Option<&PgproxyReport>,
    redis: &[RedisState],
    now: Instant,
) -> (u8, Row) {
    let is_edge = child.id.0 == "edge";
    let (order, kind) = match (child.id.0.as_str(), &topology.database) {
        ("edge", _) => (0, "edge".to_owned()),
        ("pgproxy", _) => (2, "pgproxy".to_owned()),
        (_, Some(database)) if postgres::node_of(&child.id).is_some() => (3, server(database, &child.id)),
        (other, _) => match redis::purpose_of(&child.id) {
            Some(purpose) => (4, format!("redis {purpose}")),
            None => (5, other.to_owned()),
        },
    };
    // It may listen elsewhere than where it was started.
    let port = match (child.id.0.as_str(), &topology.pgproxy) {
        ("pgproxy", Some(proxy)) => Some(proxy.listen.port()),
        _ => child.port,
    };
    let child = ChildStatus { port, ..child };
    let of_proxy = pgproxy.and_then(|report| detail(&child.id, topology, report));
    let row = Row {
        kind,
        in_rotation: None,
        healthy: None,
        detail: of_proxy.or_else(|| redis_detail(&child.id, redis)),
        ejected: None,
        rps: is_edge.then(|| rates.total(now)).flatten(),
        in_flight: rates
            .current(now)
            .filter(|_| is_edge)
            .map(|report| report.totals.in_flight),
        child,
    };
    (order, row)
}

fn zone(topology: &Topology, id: &InstanceId) -> Option<String> {
    let process = topology.processes.get(&id.process)?;
    process.settings.zone(id.slot).map(|zone| format!("zone {zone}"))
}

/// As the proxy sees it.
fn detail(child: &ChildId, topology: &Topology, report: &PgproxyReport) -> Option<String> {
    if child.0 == "pgproxy" {
        let (clients, backends) = (report.clients, report.backends);
        let mut text = format!("{clients} clients on {backends} connections");
        if let Some(external) = topology
            .pgproxy
            .as_ref()
            .and_then(|proxy| proxy.external.as_ref())
        {
            text = format!("{text} to {external} (yours)");
        }
        for (count, what) in [(report.waiting, "waiting"), (report.pinned, "pinned")] {
            if count > 0 {
                text = format!("{text}, {count} {what}");
            }
        }
        if report.hold != HoldState::Open {
            text = format!("{text}, {:?}", report.hold).to_lowercase();
        }
        return Some(text);
    }
    let node = postgres::node_of(child)?;
    let database = topology.database.as_ref()?;
    let seen = report.nodes.iter().find(|seen| seen.id == node)?;
    let lag = seen.lag_bytes.filter(|_| !database.is_primary(node))?;
    Some(format!("{lag} B behind"))
}

/// `1.2 of 256 MiB, 3 clients`
fn redis_detail(child: &ChildId, states: &[RedisState]) -> Option<String> {
    let purpose = redis::purpose_of(child)?;
    let state = states.iter().find(|state| state.purpose == purpose)?;
    if let Some(problem) = &state.problem {
        return Some(problem.clone());
    }
    let info = state.info.as_ref()?;
    let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
    let mut text = format!(
        "{:.1} of {:.0} MiB, {} keys, {} clients",
        mib(info.used_bytes),
        mib(info.max_bytes),
        info.keys,
        info.clients
    );
    if info.loading {
        text.push_str(", reads its data");
    }
    Some(text)
}

/// What a server is goes without saying while it is alone.
fn server(database: &Database, child: &ChildId) -> String {
    let version = database.version;
    match postgres::node_of(child) {
        Some(_) if database.is_alone() => format!("postgres {version}"),
        Some(node) if database.is_primary(node) => format!("postgres {version} primary"),
        _ => format!("postgres {version} replica"),
    }
}

fn endpoint<'a>(report: &'a EdgeReport, id: &InstanceId) -> Option<&'a EndpointReport> {
    report.endpoints.iter().find(|endpoint| endpoint.id == *id)
}

/// What a browser on this machine can open; by its name where the certificate is for names only.
fn url(edge: &Edge, report: Option<&EdgeReport>) -> String {
    let (scheme, usual, listen, place) = match edge.https {
        Some(https) => ("https", 443, https, 1),
        None => ("http", 80, edge.listen, 0),
    };
    let bound = report.and_then(|report| report.listening.get(place).copied());
    let mut address = if listen.port() == 0 {
        bound.unwrap_or(listen)
    } else {
        listen
    };
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let host = match name(edge) {
        Some(name) => name.to_owned(),
        None if address.is_ipv6() => format!("[{}]", address.ip()),
        None => address.ip().to_string(),
    };
    match address.port() {
        port if port == usual => format!("{scheme}://{host}"),
        port => format!("{scheme}://{host}:{port}"),
    }
}

/// The first domain, where others reach it, or where the certificate is not for the bare address.
fn name(edge: &Edge) -> Option<&str> {
    let tls = edge.settings.tls.as_ref()?;
    let own = tls.certificates == Certificates::SelfSigned;
    let listens_for_others = edge.https.is_some_and(|https| !https.ip().is_loopback());
    let domain = tls.domains.iter().find(|domain| !domain.starts_with('*'))?;
    (listens_for_others || !own).then_some(domain)
}
