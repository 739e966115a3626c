//! Topologies of one small app, by what matters to the tests.

use std::collections::BTreeMap;
use std::time::Duration;

use banyan_config::{EdgeLimits, EdgeSettings, ProcessSettings};
use banyan_topology::{Database, Edge, Instance, InstanceId, Node, NodeId, Process, ReleaseId, Topology};

pub(crate) struct Shape {
    release: Option<u32>,
    web: u32,
    released: Vec<u32>,
    body: u64,
}

impl Shape {
    pub(crate) fn nothing() -> Self {
        Self {
            release: None,
            web: 0,
            released: Vec::new(),
            body: 10,
        }
    }

    /// PostgreSQL, the edge, `web` instances of the edge's process and a singleton worker.
    pub(crate) fn running(release: u32, web: u32) -> Self {
        Self {
            release: Some(release),
            web,
            released: vec![release],
            body: 10,
        }
    }

    pub(crate) fn released(mut self, release: u32) -> Self {
        self.released.push(release);
        self
    }

    pub(crate) fn body_limit(mut self, body: u64) -> Self {
        self.body = body;
        self
    }
}

pub(crate) fn topology(shape: &Shape) -> Topology {
    let mut topology = Topology::nothing("photos".parse().unwrap());
    topology.released = shape.released.iter().copied().map(ReleaseId).collect();
    let Some(release) = shape.release.map(ReleaseId) else {
        return topology;
    };
    topology.release = Some(release);
    topology.database = Some(database());
    topology.edge = Some(edge(shape.body));
    for (name, count, max) in [("web", shape.web, None), ("worker", 1, Some(1))] {
        let process = process(name, max);
        for slot in 1..=count {
            let id = InstanceId {
                process: process.name.clone(),
                slot,
                release,
            };
            let base = if max.is_some() { 25_000 } else { 20_000 };
            let port = base + u16::try_from(release.0 * 100 + slot).unwrap();
            topology.instances.insert(
                id.clone(),
                Instance {
                    id: id.clone(),
                    port,
                    protocol: Default::default(),
                },
            );
            if name == "web" {
                topology.rotation.insert(id);
            }
        }
        topology.processes.insert(process.name.clone(), process);
    }
    topology
}

fn database() -> Database {
    Database {
        version: 15,
        nodes: BTreeMap::from([(
            NodeId(1),
            Node {
                id: NodeId(1),
                port: 29_999,
                dir: None,
            },
        )]),
        primary: NodeId(1),
        durability: banyan_config::Durability::Async,
        memory_bytes: 1 << 28,
        max_connections: 100,
        name: "photos".to_owned(),
        user: "photos".to_owned(),
        backup: None,
        settings: BTreeMap::new(),
    }
}

fn process(name: &str, max: Option<u32>) -> Process {
    Process {
        name: name.parse().unwrap(),
        max,
        settings: Box::new(ProcessSettings {
            proxy_protocol: None,
            scale: None,
            zones: Vec::new(),
            ready: None,
            live: None,
            start_grace: Duration::from_secs(60),
            stop_grace: Duration::from_secs(30),
        }),
    }
}

fn edge(body: u64) -> Edge {
    Edge {
        listen: "127.0.0.1:8080".parse().unwrap(),
        https: None,
        process: "web".parse().unwrap(),
        settings: Box::new(EdgeSettings {
            limits: EdgeLimits {
                body,
                ..EdgeSettings::default().limits
            },
            ..EdgeSettings::default()
        }),
        routes: Vec::new(),
        listeners: Vec::new(),
        passthrough: Default::default(),
        places: Default::default(),
        program: String::new(),
    }
}
