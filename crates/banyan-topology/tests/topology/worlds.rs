//! Generated topologies: settled ones, as `resolve` makes them, and any at all.

use std::collections::{BTreeMap, BTreeSet};

use banyan_config::Durability;
use banyan_topology::{Instance, InstanceId, ProcessName, ReleaseId, Topology};
use proptest::collection::{btree_map, btree_set};
use proptest::prelude::*;

use crate::notation::{self, port, topology};

const NAMES: [&str; 4] = ["web", "api", "clock", "worker"];

/// One process of a generated topology.
#[derive(Clone, Debug)]
struct Drawn {
    count: u32,
    max: Option<u32>,
    other_grace: bool,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    (
        0..=4u32,
        prop_oneof![3 => Just(None), 2 => (0..=2u32).prop_map(Some)],
        any::<bool>(),
    )
        .prop_map(|(count, room, other_grace)| Drawn {
            count,
            max: room.map(|room| (count + room).max(1)),
            other_grace,
        })
}

fn processes() -> impl Strategy<Value = BTreeMap<&'static str, Drawn>> {
    btree_map(proptest::sample::select(&NAMES[..]), drawn(), 0..=4)
}

fn edge() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(
        &[
            "edge",
            "edge",
            "edge:9090",
            "edge~",
            "edge/api",
            "edge+api",
            "edge+clock",
            "edge/api+web",
            "edge*",
            "edge/api*",
            "edge+api*",
            "edge at:south:8081",
            "edge* at:south:8081 at:west:8082",
            "edge/api at:south:8083 at:west:8081",
            "edge~ at:west:8082",
            "",
        ][..],
    )
}

/// Servers as one word of the notation, the proxy as another.
fn database() -> impl Strategy<Value = String> {
    let servers = proptest::sample::select(
        &[
            "db",
            "db",
            "db~",
            "db^",
            "db=1+2",
            "db=2+1",
            "db=1+2!",
            "db=2+1!",
            "db=1+2,3",
            "db=3+1,2!",
            "db=2",
            "db=1+3~",
            "db=1+2^!",
        ][..],
    );
    let pgproxy = proptest::sample::select(&["", "pgproxy", "pgproxy~"][..]);
    (servers, pgproxy).prop_map(|(servers, pgproxy)| format!("{servers} {pgproxy}"))
}

/// As words of the notation.
fn redis() -> impl Strategy<Value = String> {
    let sessions = proptest::sample::select(&["", "sessions", "sessions", "sessions~", "sessions^"][..]);
    let cache = proptest::sample::select(&["", "cache", "cache~", "cache^"][..]);
    (sessions, cache).prop_map(|(sessions, cache)| format!("{sessions} {cache}"))
}

/// Complete and at rest: one release, slots from 1, every instance of the edge's process in rotation.
pub(crate) fn settled() -> impl Strategy<Value = Topology> {
    let database = proptest::option::of(database());
    (1..=3u32, (database, redis()), any::<bool>(), edge(), processes()).prop_map(
        |(release, (database, redis), has_command, edge, processes)| {
            let database = database.unwrap_or_default();
            let mut topology = topology(&format!("r{release} {edge} {database} {redis}"));
            if has_command {
                topology.released.insert(ReleaseId(release));
            }
            for (name, drawn) in processes {
                populate(&mut topology, name, &drawn, ReleaseId(release));
            }
            topology
        },
    )
}

fn populate(at: &mut Topology, name: &str, drawn: &Drawn, release: ReleaseId) {
    let process: ProcessName = name.parse().unwrap();
    let text = if drawn.other_grace {
        format!("{name}~")
    } else {
        name.to_owned()
    };
    at.processes.extend(topology(&text).processes);
    at.processes.get_mut(&process).unwrap().max = drawn.max;
    for slot in 1..=drawn.count {
        let id = InstanceId {
            process: process.clone(),
            slot,
            release,
        };
        at.instances.insert(
            id.clone(),
            Instance {
                port: port(&id),
                id: id.clone(),
                protocol: Default::default(),
            },
        );
        if at.edge.as_ref().is_some_and(|edge| edge.serves(&process)) {
            at.rotation.insert(id);
        }
    }
}

/// Two that one installation can have one after the other: what ran stays known, and the database's settings stay.
pub(crate) fn change() -> impl Strategy<Value = (Topology, Topology)> {
    let start = prop_oneof![1 => Just(topology("")), 9 => settled()];
    let end = prop_oneof![1 => Just(topology("")), 9 => settled()];
    (start, end).prop_map(|(start, mut end)| {
        end.released.extend(&start.released);
        // With or without a database is another release (`DATABASE_URL` is part of it).
        let same_release = start.release == end.release;
        if same_release && start.release.is_some() {
            match (&start.database, &mut end.database) {
                (Some(_), Some(_)) => {}
                (old, new) => new.clone_from(old),
            }
            let purposes = |side: &Topology| side.redis.keys().copied().collect::<Vec<_>>();
            if purposes(&start) != purposes(&end) {
                end.redis.clone_from(&start.redis);
            }
            if start.pgproxy.is_none() || end.pgproxy.is_none() {
                end.pgproxy.clone_from(&start.pgproxy);
            }
        }
        only_gently(&start, &mut end);
        (start, end)
    })
}

/// As `resolve` sees to it: without a proxy in between, servers neither change places nor start anew.
fn only_gently(start: &Topology, end: &mut Topology) {
    if let (Some(old), Some(new), None) = (&start.database, &mut end.database, &start.pgproxy) {
        new.primary = old.primary;
        new.max_connections = old.max_connections;
        new.nodes
            .entry(old.primary)
            .or_insert(old.nodes[&old.primary].clone());
        if new.is_alone() {
            new.durability = Durability::Async;
        }
    }
    if end.database.is_none() {
        end.pgproxy = None;
    }
}

/// Anything that the type can say: mixed releases, any rotation, any port, another database.
pub(crate) fn any_topology() -> impl Strategy<Value = Topology> {
    let ids = (proptest::sample::select(&NAMES[..]), 1..=3u32, 1..=2u32).prop_map(|(name, slot, release)| {
        InstanceId {
            process: name.parse().unwrap(),
            slot,
            release: ReleaseId(release),
        }
    });
    let instances = btree_map(ids, (20000..20003u16, any::<bool>()), 0..8);
    let database = prop_oneof![Just(None), (25432..25434u16).prop_map(Some)];
    (settled(), instances, database, btree_set(1..=3u32, 0..3)).prop_map(
        |(mut topology, instances, database, released)| {
            topology.database = database.map(notation::database);
            topology.pgproxy = topology.pgproxy.filter(|_| database.is_some());
            topology.released = released.into_iter().map(ReleaseId).collect();
            let in_rotation = instances.iter().filter(|(_, (_, served))| *served);
            topology.rotation = in_rotation.map(|(id, _)| id.clone()).collect::<BTreeSet<_>>();
            let started = instances.into_iter().map(|(id, (port, _))| {
                (
                    id.clone(),
                    Instance {
                        id,
                        port,
                        protocol: Default::default(),
                    },
                )
            });
            topology.instances = started.collect();
            topology
        },
    )
}
