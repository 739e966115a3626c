//! Which servers there are, which is primary, and their ports. What runs keeps its name and port.

use std::collections::BTreeMap;

use super::{Known, Ports};
use crate::id::NodeId;
use crate::model::Node;

pub(super) struct Servers {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) primary: NodeId,
}

/// `None`: ports are missing.
pub(super) fn choose(
    port: Option<u16>,
    replicas: u32,
    known: &Known<'_>,
    ports: &mut Ports,
    notes: &mut Vec<String>,
) -> Option<Servers> {
    let running = known.current.database.as_ref();
    let mut nodes: BTreeMap<NodeId, Node> = running.map(|running| running.nodes.clone()).unwrap_or_default();
    let primary = primary(port, replicas, known, ports, notes)?;
    if let Some(old) = running
        .map(|running| running.primary)
        .filter(|old| *old != primary.id)
    {
        nodes.remove(&old);
    }
    nodes.insert(primary.id, primary);
    let wanted = replicas as usize + 1;
    while nodes.len() > wanted {
        let last = nodes.keys().copied().rfind(|id| *id != primary.id)?;
        nodes.remove(&last);
    }
    let old = running.map(|running| running.primary);
    while nodes.len() < wanted {
        // The number of a primary that is on its way out is not free yet.
        let unused = |id: &NodeId| !nodes.contains_key(id) && Some(*id) != old;
        let id = (1..).map(NodeId).find(unused)?;
        let before = known.facts.remembered.nodes.get(&id).copied();
        // The configured port is this one's if it was: another one has become the primary since.
        let own =
            before.filter(|before| Some(*before) == port && nodes.values().all(|node| node.port != *before));
        let port = match own {
            Some(own) => own,
            None => ports.take(before)?,
        };
        nodes.insert(id, Node { id, port });
    }
    Some(Servers {
        nodes,
        primary: primary.id,
    })
}

/// The one that runs, or ran; another one if no server has the wanted port and the change can be gentle.
///
/// Who is primary may have changed since the port was written: it is enough that one of the servers has it.
fn primary(
    port: Option<u16>,
    replicas: u32,
    known: &Known<'_>,
    ports: &mut Ports,
    notes: &mut Vec<String>,
) -> Option<Node> {
    let remembered = &known.facts.remembered;
    if let Some(running) = &known.current.database {
        let there = *running.nodes.get(&running.primary)?;
        let port = port.unwrap_or(there.port);
        let has_it = running.replicas().find(|node| node.port == port);
        match has_it {
            _ if port == there.port => return Some(there),
            Some(_) if replicas > 0 => return Some(there),
            Some(replica) => return Some(*replica),
            None => {}
        }
        if !known.gentle() {
            return Some(Node { port, ..there });
        }
        let id = (1..).map(NodeId).find(|id| !running.nodes.contains_key(id))?;
        return Some(Node { id, port });
    }
    let id = remembered.primary.unwrap_or(NodeId::FIRST);
    let before = remembered.nodes.get(&id).copied();
    let before = before.or(remembered.database_port.filter(|_| id == NodeId::FIRST));
    let others = remembered.nodes.iter().filter(|(other, _)| **other != id);
    let is_anothers = |port: &u16| replicas > 0 && others.clone().any(|(_, other)| other == port);
    let port = match port.filter(|port| !is_anothers(port)) {
        Some(port) => port,
        None => ports.take(before)?,
    };
    if let Some(before) = before.filter(|before| *before != port)
        && !known.facts.free_ports.contains(&before)
    {
        notes.push(format!(
            "PostgreSQL moves to port {port}: its port {before} is in use by another program"
        ));
    }
    Some(Node { id, port })
}
