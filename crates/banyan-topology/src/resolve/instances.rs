//! Slots and ports: 1..=count of each process; what exists keeps its port, the rest gets the next free one.

use std::collections::{BTreeMap, BTreeSet};

use banyan_config::Purpose;

use crate::facts::Facts;
use crate::id::{InstanceId, ProcessName};
use crate::model::{Instance, Release, Topology};
use crate::resolve::ResolveError;

pub(super) fn fill(
    topology: &mut Topology,
    counts: &BTreeMap<ProcessName, u32>,
    made_of: &Release,
    facts: &Facts,
    current: &Topology,
    errors: &mut Vec<ResolveError>,
) {
    let Some(release) = topology.release else { return };
    let slots = topology.processes.keys().flat_map(|process| {
        let count = counts.get(process).copied().unwrap_or(0);
        (1..=count).map(|slot| InstanceId {
            process: process.clone(),
            slot,
            release,
        })
    });
    let wanted: Vec<InstanceId> = slots.collect();
    let is_new = |id: &&InstanceId| !current.instances.contains_key(id);
    let wanted_new = wanted.iter().filter(is_new).count();
    let ports = assign(&wanted, topology, facts, current);
    let needed = wanted.len() - ports.len();
    if needed > 0 {
        errors.push(ResolveError::NoPorts {
            needed,
            wanted: wanted_new,
        });
    }
    let edge = topology.edge.as_ref();
    topology.rotation = wanted
        .into_iter()
        .filter(|id| edge.is_some_and(|edge| edge.serves(&id.process)))
        .collect();
    topology.instances = ports
        .into_iter()
        .map(|(id, port)| {
            let launch = made_of.commands.get(&id.process);
            let protocol = launch.map(|launch| launch.protocol).unwrap_or_default();
            (id.clone(), Instance { id, port, protocol })
        })
        .collect();
}

/// Ports by instance: that of the running one, else the remembered one, else the next free one, while there are any.
fn assign(
    wanted: &[InstanceId],
    topology: &Topology,
    facts: &Facts,
    current: &Topology,
) -> BTreeMap<InstanceId, u16> {
    let running = |id: &InstanceId| current.instances.get(id).map(|instance| instance.port);
    // In a deploy old and new run side by side, so nothing of `current` is free yet.
    let usable = |port: &u16| !uses(current, *port) && !uses(topology, *port);
    let mut free: BTreeSet<u16> = facts.free_ports.iter().copied().filter(usable).collect();
    let mut ports = BTreeMap::new();
    for id in wanted {
        let remembered = facts.remembered.instance_ports.get(id).copied();
        if let Some(port) = running(id).or_else(|| remembered.filter(|port| free.remove(port))) {
            ports.insert(id.clone(), port);
        }
    }
    let mut in_order = facts.free_ports.iter().filter(|port| free.contains(port));
    for id in wanted {
        if ports.contains_key(id) {
            continue;
        }
        let Some(port) = in_order.next() else { break };
        ports.insert(id.clone(), *port);
    }
    ports
}

/// Whether anything of this topology has this port.
pub(super) fn uses(topology: &Topology, port: u16) -> bool {
    topology
        .edge
        .as_ref()
        .is_some_and(|edge| edge.addresses().any(|address| address.port() == port))
        || topology
            .database
            .as_ref()
            .is_some_and(|database| database.nodes.values().any(|node| node.port == port))
        || topology
            .pgproxy
            .as_ref()
            .is_some_and(|pgproxy| pgproxy.addresses().any(|address| address.port() == port))
        || topology.redis.values().any(|redis| redis.port == port)
        || topology
            .observe
            .as_ref()
            .is_some_and(|observe| observe.port == port)
        || topology.instances.values().any(|instance| instance.port == port)
}

/// Configured ports must be free, or be what they are already.
pub(super) fn check_ports(
    topology: &Topology,
    facts: &Facts,
    current: &Topology,
    errors: &mut Vec<ResolveError>,
) {
    let edge = topology.edge.as_ref().map(|edge| edge.listen.port());
    let https = topology
        .edge
        .as_ref()
        .and_then(|edge| edge.https)
        .map(|address| address.port());
    let database = topology.database.as_ref().map(crate::model::Database::port);
    let pgproxy = topology.pgproxy.as_ref().map(|pgproxy| pgproxy.listen.port());
    if let (Some(edge), Some(database)) = (edge, database)
        && edge == database
    {
        errors.push(ResolveError::PortTwice(edge));
    }
    let listeners = topology.edge.iter().flat_map(|edge| &edge.listeners);
    let listeners = listeners.map(|listener| ("listener.port", Some(listener.listen.port())));
    let own = [
        ("edge.port", edge),
        ("edge.https_port", https),
        ("database.port", database),
        ("database.pgproxy.port", pgproxy),
        (
            "observe.port",
            topology.observe.as_ref().map(|observe| observe.port),
        ),
    ];
    let places = topology.edge.iter().flat_map(|edge| edge.places.values());
    let places = places.flat_map(banyan_config::EdgePlace::addresses);
    let places = places.map(|address| ("edge.place", Some(address.port())));
    let redis = topology.redis.values().map(|redis| match redis.purpose {
        Purpose::Sessions => ("sessions.port", Some(redis.port)),
        Purpose::Cache => ("cache.port", Some(redis.port)),
    });
    let all = own.into_iter().chain(listeners).chain(places).chain(redis);
    for (key, port) in all {
        let Some(port) = port else { continue };
        let holder = current.instances.values().find(|instance| instance.port == port);
        if let Some(holder) = holder {
            errors.push(ResolveError::PortOfInstance {
                key,
                port,
                holder: holder.id.clone(),
            });
        } else if facts.taken_ports.contains(&port) && !uses(current, port) {
            errors.push(ResolveError::PortTaken { key, port });
        }
    }
}

/// Where `max` leaves no room for old and new side by side, the user should know the cost beforehand.
pub(super) fn note_max(topology: &Topology, current: &Topology, notes: &mut Vec<String>) {
    for (name, process) in &topology.processes {
        let Some(max) = process.max else { continue };
        let comes = |id: &&InstanceId| id.process == *name && !current.instances.contains_key(*id);
        let replaces = topology.instances.keys().filter(comes).count() > 0;
        if replaces && current.running(name) >= max as usize {
            let how = "so an old instance stops before a new one starts";
            notes.push(format!("{name} has max = {max}, {how}: one fewer runs meanwhile"));
        }
    }
}
