//! Which servers there are, which is primary, and their ports. What runs keeps its name and port.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Known, Ports};
use crate::id::NodeId;
use crate::model::{Database, Node};
use crate::resolve::ResolveError;

/// As configured.
pub(super) struct ToBe {
    pub(super) port: Option<u16>,
    pub(super) dir: Option<PathBuf>,
    pub(super) replicas: u32,
    /// The proxy is to be left out.
    pub(super) direct: bool,
}

pub(super) struct Servers {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) primary: NodeId,
}

const NO_PORT: ResolveError = ResolveError::NoPorts { needed: 1, wanted: 1 };

pub(super) fn choose(
    to_be: &ToBe,
    known: &Known<'_>,
    ports: &mut Ports,
    notes: &mut Vec<String>,
) -> Result<Servers, ResolveError> {
    let running = known.current.database.as_ref();
    let mut nodes: BTreeMap<NodeId, Node> = running.map(|running| running.nodes.clone()).unwrap_or_default();
    let primary = match running {
        Some(running) => next_primary(to_be, running, known, ports)?,
        None => first_primary(to_be, known, ports, notes)?,
    };
    let old = running.map(|running| running.primary);
    if let Some(old) = old.filter(|old| *old != primary.id) {
        nodes.remove(&old);
    }
    let (first, dir) = (primary.id, primary.dir.clone());
    nodes.insert(first, primary);
    // Data never moves by itself: what lies elsewhere gives way to another server.
    nodes.retain(|_, node| node.dir == dir);
    let wanted = to_be.replicas as usize + 1;
    while nodes.len() > wanted {
        let last = nodes.keys().copied().rfind(|id| *id != first);
        let Some(last) = last else { break };
        nodes.remove(&last);
    }
    while nodes.len() < wanted {
        // The number of a server that is on its way out is not free yet.
        let leaves = |id: &NodeId| running.is_some_and(|running| running.nodes.contains_key(id));
        let id = unused(dir.as_ref(), known, |id| nodes.contains_key(id) || leaves(id));
        let before = known.facts.remembered.nodes.get(&id).copied();
        // The configured port is this one's if it was: another one has become the primary since.
        let is_free = |port: &u16| nodes.values().all(|node| node.port != *port);
        let own = before.filter(|before| Some(*before) == to_be.port && is_free(before));
        let port = own.or_else(|| ports.take(before)).ok_or(NO_PORT)?;
        let dir = dir.clone();
        nodes.insert(id, Node { id, port, dir });
    }
    Ok(Servers {
        nodes,
        primary: first,
    })
}

/// A number that has data in that folder, or never had any.
fn unused(dir: Option<&PathBuf>, known: &Known<'_>, taken: impl Fn(&NodeId) -> bool) -> NodeId {
    let remembered = &known.facts.remembered;
    let fits = |id: &NodeId| !remembered.nodes.contains_key(id) || remembered.dirs.get(id) == dir;
    let mut id = NodeId::FIRST;
    while taken(&id) || !fits(&id) {
        id.0 += 1;
    }
    id
}

/// The one that runs; another one if no server has the wanted port and folder and the change can be gentle.
///
/// Who is primary may have changed since the port was written: it is enough that one of the servers has it.
fn next_primary(
    to_be: &ToBe,
    running: &Database,
    known: &Known<'_>,
    ports: &mut Ports,
) -> Result<Node, ResolveError> {
    let there = running
        .nodes
        .get(&running.primary)
        .ok_or(ResolveError::NoDatabase)?;
    let moves = there.dir != to_be.dir;
    let has_port = |node: &Node| to_be.port.is_none_or(|port| node.port == port);
    if !moves && has_port(there) {
        return Ok(there.clone());
    }
    let mut replicas = running.replicas();
    match replicas.find(|node| node.dir == to_be.dir && has_port(node)) {
        Some(_) if !moves && to_be.replicas > 0 => return Ok(there.clone()),
        Some(replica) => return Ok(replica.clone()),
        None => {}
    }
    let dir = to_be.dir.clone();
    if !known.gentle() {
        let port = to_be.port.unwrap_or(there.port);
        return Ok(Node { port, dir, ..*there });
    }
    if let Some(port) = to_be.port
        && running.nodes.values().any(|node| node.port == port)
    {
        return Err(ResolveError::DirAndPort { port });
    }
    let id = unused(dir.as_ref(), known, |id| running.nodes.contains_key(id));
    let before = known.facts.remembered.nodes.get(&id).copied();
    let port = to_be.port.or_else(|| ports.take(before)).ok_or(NO_PORT)?;
    Ok(Node { id, port, dir })
}

/// The one that ran last, where its data is.
fn first_primary(
    to_be: &ToBe,
    known: &Known<'_>,
    ports: &mut Ports,
    notes: &mut Vec<String>,
) -> Result<Node, ResolveError> {
    let remembered = &known.facts.remembered;
    let id = remembered.primary.unwrap_or(NodeId::FIRST);
    let dir = first_dir(id, to_be, known, notes)?;
    let before = remembered.nodes.get(&id).copied();
    let before = before.or(remembered.database_port.filter(|_| id == NodeId::FIRST));
    let others = remembered.nodes.iter().filter(|(other, _)| **other != id);
    let is_anothers = |port: &u16| to_be.replicas > 0 && others.clone().any(|(_, other)| other == port);
    let port = match to_be.port.filter(|port| !is_anothers(port)) {
        Some(port) => port,
        None => ports.take(before).ok_or(NO_PORT)?,
    };
    if let Some(before) = before.filter(|before| *before != port)
        && !known.facts.free_ports.contains(&before)
    {
        notes.push(format!(
            "PostgreSQL moves to port {port}: its port {before} is in use by another program"
        ));
    }
    Ok(Node { id, port, dir })
}

/// Where its data is, or is to be.
fn first_dir(
    id: NodeId,
    to_be: &ToBe,
    known: &Known<'_>,
    notes: &mut Vec<String>,
) -> Result<Option<PathBuf>, ResolveError> {
    let remembered = &known.facts.remembered;
    if !remembered.nodes.contains_key(&id) {
        return Ok(to_be.dir.clone());
    }
    let dir = remembered.dirs.get(&id);
    if known.facts.data_version.is_none() {
        return match dir {
            Some(dir) => Err(ResolveError::DataGone {
                dir: dir.display().to_string(),
            }),
            None => Ok(to_be.dir.clone()),
        };
    }
    if dir != to_be.dir.as_ref() {
        if let Some(then) = hinders_moving(to_be, known) {
            let dir = dir.cloned();
            return Err(ResolveError::DataElsewhere { dir, then });
        }
        notes.push(
            "PostgreSQL starts where its data is; `banyan apply` then moves it to database.dir while it is used"
                .to_owned(),
        );
    }
    Ok(dir.cloned())
}

/// What to do first if the data could not move once it is in use: a start that promises the move would never settle.
fn hinders_moving(to_be: &ToBe, known: &Known<'_>) -> Option<&'static str> {
    match (known.proxied, to_be.direct, to_be.port) {
        (false, true, _) => Some("write direct = false in [database.pgproxy]"),
        (false, false, _) => Some("run `banyan deploy` for a release that goes through the proxy"),
        (true, _, Some(_)) => {
            Some("take database.port out until it has moved, because both servers run for a while")
        }
        (true, _, None) => None,
    }
}
