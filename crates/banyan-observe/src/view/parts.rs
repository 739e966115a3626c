//! The boxes of the map, the arrows between them, and what the machine has.

use banyan_topology::InstanceId;
use banyan_topology::snapshot::observe::Layout;

use super::{Figures, Flow, Lane, Level, Part, Resource};

pub(super) fn parts(layout: &Layout, figures: &Figures<'_>) -> Vec<Part> {
    let mut parts = Vec::new();
    if !layout.edge.is_empty() {
        parts.push(edge("edge", figures));
        parts.extend(
            layout
                .places
                .keys()
                .map(|place| edge(&format!("edge-{place}"), figures)),
        );
    }
    parts.extend(layout.instances.keys().map(|id| instance(id, layout, figures)));
    if layout.pgproxy.is_some() {
        parts.push(Part {
            per_second: figures.rate("banyan_pgproxy_units_total", &[]),
            ..child("pgproxy", Lane::Beside, "pgproxy", figures)
        });
    }
    for node in layout.nodes.keys() {
        let primary = layout.primary == Some(*node);
        let mut part = child(&node_child(&node.to_string()), Lane::Data, "postgres", figures);
        part.id = node.to_string();
        if part.level == Level::Fine {
            part.says = if primary {
                "primary".to_owned()
            } else {
                replica(&part.id, figures)
            };
        }
        if primary && part.level == Level::Fine && figures.sum("banyan_postgres_up", &[]) == Some(0.0) {
            (part.level, part.says) = (Level::Bad, "primary does not answer".to_owned());
        }
        parts.push(part);
    }
    for purpose in layout.redis.keys() {
        let labels = [("redis", purpose.name())];
        let mut part = child(&format!("redis-{purpose}"), Lane::Beside, "redis", figures);
        part.per_second = figures.rate("redis_commands_total", &labels);
        if figures.sum("redis_up", &labels) == Some(0.0) {
            (part.level, part.says) = (Level::Bad, "does not answer".to_owned());
        }
        parts.push(part);
    }
    parts
}

/// The first server's child has the name of the engine.
pub(crate) fn node_child(node: &str) -> String {
    match node {
        "db1" => "postgres".to_owned(),
        other => format!("postgres-{other}"),
    }
}

fn edge(id: &str, figures: &Figures<'_>) -> Part {
    let mut part = child(id, Lane::Edge, "edge", figures);
    if id == "edge" {
        part.per_second = figures.all_routes().per_second;
    }
    part
}

fn replica(node: &str, figures: &Figures<'_>) -> String {
    match figures.sum("banyan_pgproxy_lag_seconds", &[("node", node)]) {
        Some(lag) if lag >= 0.1 => format!("replica, {lag:.1} s behind"),
        _ => "replica".to_owned(),
    }
}

/// What the controller says of a child; without it nothing is known of the process.
fn child(id: &str, lane: Lane, kind: &str, figures: &Figures<'_>) -> Part {
    let labels = [("child", id)];
    let up = figures.sum("banyan_child_up", &labels);
    let (level, says) = match up {
        Some(up) if up > 0.0 => (Level::Fine, "ready"),
        Some(_) if figures.sum("banyan_child_pid", &labels).is_none() => {
            (Level::Bad, "has ended, is started again")
        }
        Some(_) => (Level::Warn, "not ready"),
        // Others are known, this one is not: it is gone.
        None if figures.all("banyan_child_up").next().is_some() => (Level::Bad, "is gone"),
        None => (Level::Unknown, "not known: the controller does not answer"),
    };
    Part {
        id: id.to_owned(),
        lane,
        kind: kind.to_owned(),
        level,
        says: says.to_owned(),
        per_second: None,
        cpu: figures.rate("banyan_child_cpu_seconds_total", &labels),
        memory_bytes: figures.sum("banyan_child_memory_bytes", &labels),
    }
}

fn instance(id: &InstanceId, layout: &Layout, figures: &Figures<'_>) -> Part {
    let name = id.to_string();
    let mut part = child(&name, Lane::App, id.process.as_str(), figures);
    let served = layout.processes.get(&id.process).copied().unwrap_or(false);
    if !served {
        return part;
    }
    let labels = [("endpoint", name.as_str())];
    part.per_second = figures.rate("http_client_request_duration_seconds_count", &labels);
    let in_rotation = layout.instances.get(id).is_some_and(|place| place.in_rotation);
    let ready = figures.sum("banyan_edge_endpoint_ready", &labels);
    let ejected = figures.sum("banyan_edge_endpoint_ejected", &labels);
    let worse = match (ready, ejected) {
        (Some(0.0), _) if in_rotation => Some((Level::Bad, "does not pass its checks")),
        (_, Some(out)) if out > 0.0 => Some((Level::Warn, "taken out for errors")),
        _ if !in_rotation => Some((Level::Warn, "out of rotation")),
        _ => None,
    };
    if let Some((level, says)) =
        worse.filter(|(level, _)| *level > part.level || part.level == Level::Unknown)
    {
        (part.level, part.says) = (level, says.to_owned());
    }
    part
}

pub(super) fn flows(layout: &Layout, parts: &[Part], figures: &Figures<'_>) -> Vec<Flow> {
    let mut flows = Vec::new();
    let instances = || parts.iter().filter(|part| part.lane == Lane::App);
    let served = |part: &Part| {
        let mut known = layout.processes.iter();
        known.any(|(name, served)| *served && name.as_str() == part.kind)
    };
    let flow = |from: &str, to: &Part, per_second| Flow {
        from: from.to_owned(),
        to: to.id.clone(),
        per_second,
        level: to.level,
    };
    if !layout.edge.is_empty() {
        flows.extend(
            instances()
                .filter(|part| served(part))
                .map(|part| flow("edge", part, part.per_second)),
        );
    }
    let proxy = parts.iter().find(|part| part.kind == "pgproxy");
    if let Some(proxy) = proxy {
        // What each instance asks is not told apart: the arrow is that of the app.
        flows.push(flow("app", proxy, proxy.per_second));
    }
    let replicas = figures.rate("banyan_pgproxy_reads_on_replicas_total", &[]);
    let count = layout.nodes.len().saturating_sub(1).max(1) as f64;
    for node in parts.iter().filter(|part| part.kind == "postgres") {
        let primary = layout
            .primary
            .is_some_and(|primary| primary.to_string() == node.id);
        let of_replica = replicas.map(|reads| reads / count);
        let of_primary = proxy.and_then(|proxy| proxy.per_second);
        let of_primary = of_primary.map(|all| (all - replicas.unwrap_or(0.0)).max(0.0));
        let from = if proxy.is_some() { "pgproxy" } else { "app" };
        flows.push(flow(from, node, if primary { of_primary } else { of_replica }));
    }
    flows.extend(
        parts
            .iter()
            .filter(|part| part.kind == "redis")
            .map(|part| flow("app", part, part.per_second)),
    );
    flows
}

pub(crate) fn resources(figures: &Figures<'_>) -> Vec<Resource> {
    let mut all = Vec::new();
    all.extend(processors(figures));
    let of = |name: &str, label: &str, state: &str| figures.sum(name, &[(label, state)]);
    let memory = |state| of("system_memory_usage_bytes", "system_memory_state", state);
    let free = (memory("used"), memory("free"));
    all.extend(space(("host.memory", "memory"), free, (0.85, 0.95)));
    let disk = |state| of("system_filesystem_usage_bytes", "system_filesystem_state", state);
    all.extend(space(
        ("host.disk", "disk"),
        (disk("used"), disk("free")),
        (0.8, 0.9),
    ));
    if let Some(busy) = figures.rate("system_disk_io_time_seconds_total", &[]) {
        all.push(Resource {
            id: "host.disk_io".to_owned(),
            name: "disk work".to_owned(),
            used: Some(busy.min(1.0)),
            says: format!("busy {:.0} % of the time", busy.min(1.0) * 100.0),
            waits: None,
            level: level(busy, (0.9, 2.0)),
        });
    }
    all.extend(connections(figures));
    all
}

fn level(used: f64, (warn, bad): (f64, f64)) -> Level {
    match used {
        used if used >= bad => Level::Bad,
        used if used >= warn => Level::Warn,
        _ => Level::Fine,
    }
}

fn processors(figures: &Figures<'_>) -> Option<Resource> {
    let mode = |mode| {
        figures
            .rate("system_cpu_time_seconds_total", &[("cpu_mode", mode)])
            .unwrap_or(0.0)
    };
    let count = figures.sum("system_cpu_logical_count", &[])?;
    figures.before?;
    let all = figures.rate("system_cpu_time_seconds_total", &[])?;
    let used = (all - mode("idle") - mode("iowait")) / all.max(f64::MIN_POSITIVE);
    let waiting = figures
        .sum("system_load_average_1m", &[])
        .map(|load| load - count);
    Some(Resource {
        id: "host.cores".to_owned(),
        name: "processors".to_owned(),
        used: Some(used.clamp(0.0, 1.0)),
        says: format!("{:.1} of {count:.0}", used.clamp(0.0, 1.0) * count),
        waits: waiting
            .filter(|more| *more >= 1.0)
            .map(|more| format!("{more:.0} tasks wait")),
        // Busy is not broken.
        level: level(used, (0.95, 2.0)),
    })
}

fn space(
    (id, name): (&str, &str),
    (used, free): (Option<f64>, Option<f64>),
    bounds: (f64, f64),
) -> Option<Resource> {
    let (used, free) = (used?, free?);
    let share = used / (used + free).max(1.0);
    let gib = |bytes: f64| bytes / f64::from(1 << 30);
    Some(Resource {
        id: id.to_owned(),
        name: name.to_owned(),
        used: Some(share),
        says: format!("{:.1} of {:.1} GiB", gib(used), gib(used + free)),
        waits: None,
        level: level(share, bounds),
    })
}

fn connections(figures: &Figures<'_>) -> Option<Resource> {
    let backends = |state| figures.sum("banyan_pgproxy_backends", &[("state", state)]);
    let (active, idle) = (backends("active")?, backends("idle").unwrap_or(0.0));
    let waiting = figures.sum("banyan_pgproxy_waiting", &[]).unwrap_or(0.0);
    Some(Resource {
        id: "database.pool".to_owned(),
        name: "database connections".to_owned(),
        used: (active + idle > 0.0).then(|| active / (active + idle)),
        says: format!("{active:.0} of {:.0} at work", active + idle),
        waits: (waiting > 0.0).then(|| format!("{waiting:.0} units wait")),
        level: if waiting > 0.0 { Level::Warn } else { Level::Fine },
    })
}
