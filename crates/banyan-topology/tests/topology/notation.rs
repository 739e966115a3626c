//! Topologies as one line of text, for tests: `r1 db edge web.1@r1* clock.1@r1 clock<=1`.
//!
//! - `r1`: the current release. `ran:r1`: its release command ran.
//! - `db`: PostgreSQL 15 on port 25432. `db=2+1`: db2 (on 25433) is primary, db1 its replica; `db!`: synchronous;
//!   `db~`: with other settings; `db^`: with settings that need a restart. `pgproxy`, `pgproxy~`: a proxy on 26432, with
//!   another pool; `pgproxy:26433`: on that port.
//! - `sessions`, `cache`: a Redis on 26379 or 26380; `cache~`: with other memory; `cache^`: with a setting that needs a
//!   restart; `cache:6390`: on that port.
//! - `edge` or `edge:9090`: an edge for `web`; `edge/api`: for `api`;
//!   `edge~`: with another idle timeout; `edge+api`: with a route to `api`; `edge*`: of another program.
//! - `at:south:8081`, behind the edge: one of its places.
//! - `web.1@r2*`: an instance, `*` when in rotation; its port follows from its name. `web`: the process alone.
//!   `clock<=1`: with `max = 1`. `web~`: with another stop grace.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use banyan_config::{
    Durability, EdgePlace, EdgeSettings, EdgeTimeouts, Eviction, Forward, HeaderEdit, HoldSettings,
    MeasureSettings, PoolSettings, ProcessSettings, Purpose, Reads, Route, RouteAction, RouteBounds,
    RouteMatch, Share, SplitBy,
};
use banyan_topology::{
    Database, Edge, Instance, InstanceId, Node, NodeId, Pgproxy, Process, ProcessName, Redis, ReleaseId,
    Topology,
};

pub(crate) fn topology(text: &str) -> Topology {
    let mut topology = Topology::nothing("photos".parse().unwrap());
    for word in text.split_whitespace() {
        add(&mut topology, word);
    }
    topology
}

fn add(topology: &mut Topology, word: &str) {
    if word.starts_with("db") {
        topology.database = Some(servers(word));
    } else if word.starts_with("pgproxy") {
        let mut proxy = pgproxy(word.ends_with('~'));
        if let Some((_, port)) = word.split_once(':') {
            proxy.listen.set_port(port.parse().unwrap());
        }
        topology.pgproxy = Some(proxy);
    } else if let Some(redis) = redis(word) {
        topology.redis.insert(redis.purpose, redis);
    } else if let Some(id) = word.strip_prefix("ran:") {
        topology.released.insert(release(id));
    } else if let Some(place) = word.strip_prefix("at:") {
        let (name, port) = place.split_once(':').unwrap();
        let place = EdgePlace {
            listen: ([127, 0, 0, 1], port.parse().unwrap()).into(),
            https: None,
        };
        let edge = topology.edge.as_mut().expect("an edge before its places");
        edge.places.insert(name.parse().unwrap(), place);
    } else if word.starts_with("edge") {
        topology.edge = Some(edge(word));
    } else if let Some((name, max)) = word.split_once("<=") {
        add(topology, name);
        topology.processes.get_mut(&name.parse().unwrap()).unwrap().max = Some(max.parse().unwrap());
    } else if let Some(name) = word.strip_suffix('~') {
        add(topology, name);
        let process = topology.processes.get_mut(&name.parse().unwrap()).unwrap();
        process.settings.stop_grace = Duration::from_secs(10);
    } else if word.contains('@') {
        let id: InstanceId = word.trim_end_matches('*').parse().unwrap();
        add(topology, id.process.as_str());
        topology.instances.insert(
            id.clone(),
            Instance {
                port: port(&id),
                id: id.clone(),
                protocol: Default::default(),
            },
        );
        if word.ends_with('*') {
            topology.rotation.insert(id);
        }
    } else if word.starts_with('r') && word[1..].parse::<u32>().is_ok() {
        topology.release = Some(release(word));
    } else {
        let name: ProcessName = word.parse().unwrap();
        topology.processes.entry(name.clone()).or_insert(Process {
            name,
            max: None,
            settings: Box::new(settings()),
        });
    }
}

pub(crate) fn release(text: &str) -> ReleaseId {
    ReleaseId(text.trim_start_matches('r').parse().unwrap())
}

/// 20000 and up for web, then api, clock, worker; +100 per release, +1 per slot.
pub(crate) fn port(id: &InstanceId) -> u16 {
    let bases = BTreeMap::from([
        ("web", 20000),
        ("api", 21000),
        ("clock", 22000),
        ("worker", 23000),
    ]);
    let offset = u16::try_from(id.release.0 * 100 + id.slot).unwrap();
    bases[id.process.as_str()] + offset
}

pub(crate) fn database(port: u16) -> Database {
    let id = NodeId::FIRST;
    Database {
        version: 15,
        nodes: BTreeMap::from([(id, Node { id, port, dir: None })]),
        primary: id,
        durability: Durability::Async,
        memory_bytes: 1 << 30,
        max_connections: 100,
        name: "photos".to_owned(),
        user: "photos".to_owned(),
        backup: None,
        settings: BTreeMap::new(),
    }
}

pub(crate) fn node(number: u32) -> Node {
    let port = 25431 + u16::try_from(number).unwrap();
    Node {
        id: NodeId(number),
        port,
        dir: None,
    }
}

fn redis(word: &str) -> Option<Redis> {
    let end = word.find([':', '~', '^']).unwrap_or(word.len());
    let (name, marks) = word.split_at(end);
    let purpose = Purpose::ALL.into_iter().find(|purpose| purpose.name() == name)?;
    let usual = match purpose {
        Purpose::Sessions => 26379,
        Purpose::Cache => 26380,
    };
    let memory = if marks.contains('~') { 512 } else { 256 };
    let setting = ("databases".to_owned(), "4".to_owned());
    Some(Redis {
        purpose,
        port: marks
            .strip_prefix(':')
            .map_or(usual, |port| port.parse().unwrap()),
        memory_bytes: memory << 20,
        eviction: match purpose {
            Purpose::Sessions => Eviction::None,
            Purpose::Cache => Eviction::Lfu,
        },
        settings: marks.contains('^').then_some(setting).into_iter().collect(),
    })
}

fn servers(word: &str) -> Database {
    let mut database = database(25432);
    let marks = word.trim_start_matches(|c: char| !"!~^".contains(c));
    let word = &word[..word.len() - marks.len()];
    if let Some((primary, replicas)) = word
        .strip_prefix("db=")
        .map(|rest| rest.split_once('+').unwrap_or((rest, "")))
    {
        let replicas = replicas.split(',').filter(|text| !text.is_empty());
        let numbers = std::iter::once(primary).chain(replicas);
        let nodes = numbers.map(|number| node(number.parse().unwrap()));
        database.nodes = nodes.map(|node| (node.id, node)).collect();
        database.primary = NodeId(primary.parse().unwrap());
    }
    if marks.contains('!') {
        database.durability = Durability::Sync;
    }
    if marks.contains('~') {
        database.settings.insert("work_mem".to_owned(), "16MB".to_owned());
    }
    if marks.contains('^') {
        database.max_connections = 200;
    }
    database
}

pub(crate) fn pgproxy(other: bool) -> Pgproxy {
    Pgproxy {
        listen: ([127, 0, 0, 1], 26432).into(),
        before: BTreeSet::new(),
        pool: PoolSettings {
            size: if other { 30 } else { 20 },
            ..PoolSettings::default()
        },
        hold: HoldSettings::default(),
        reads: Reads::Primary,
        measure: MeasureSettings::default(),
        admins: Vec::new(),
        external: None,
        program: String::new(),
    }
}

fn edge(word: &str) -> Edge {
    let (word, program) = match word.strip_suffix('*') {
        Some(word) => (word, "new"),
        None => (word, "old"),
    };
    let (word, idle) = match word.strip_suffix('~') {
        Some(word) => (word, 30),
        None => (word, 60),
    };
    let (word, routed) = word
        .split_once('+')
        .map_or((word, None), |(word, routed)| (word, Some(routed)));
    let (word, process) = word.split_once('/').unwrap_or((word, "web"));
    let port = word
        .strip_prefix("edge:")
        .map_or(8080, |port| port.parse().unwrap());
    Edge {
        listen: ([127, 0, 0, 1], port).into(),
        https: None,
        process: process.parse().unwrap(),
        settings: Box::new(edge_settings(idle)),
        program: program.to_owned(),
        listeners: Vec::new(),
        passthrough: Default::default(),
        places: Default::default(),
        routes: routed.map(route).into_iter().collect(),
    }
}

fn route(process: &str) -> Route {
    let share = Share {
        process: process.parse().unwrap(),
        weight: 1,
    };
    Route {
        name: process.to_owned(),
        when: RouteMatch::default(),
        bounds: RouteBounds::default(),
        action: RouteAction::Process(Forward {
            shares: vec![share],
            sticky: SplitBy::None,
            rewrite: None,
            mirror: None,
            backup: None,
        }),
        request_headers: HeaderEdit::default(),
        response_headers: HeaderEdit::default(),
    }
}

pub(crate) fn edge_settings(idle: u64) -> EdgeSettings {
    EdgeSettings {
        timeouts: EdgeTimeouts {
            idle: Duration::from_secs(idle),
            ..EdgeSettings::default().timeouts
        },
        ..EdgeSettings::default()
    }
}

pub(crate) fn settings() -> ProcessSettings {
    ProcessSettings {
        ready: None,
        live: None,
        start_grace: Duration::from_secs(60),
        proxy_protocol: None,
        scale: None,
        zones: Vec::new(),
        stop_grace: Duration::from_secs(30),
    }
}
