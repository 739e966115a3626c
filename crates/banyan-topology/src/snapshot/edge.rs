//! What the edge is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use banyan_config::{
    EdgePlace, EdgeSettings, FIRST_PLACE, Protocol, ProxyProtocol, ReadyProbe, Route, StreamListener,
    ZoneName,
};

use crate::id::{AppName, Epoch, InstanceId, PlaceName, ProcessName};
use crate::model::{Edge, Topology};

pub mod among;

/// The snapshot that makes a running edge serve this topology; `None` when it has no edge.
///
/// `draining` are the instances whose drain is under way: they finish what they have, whether or not the topology
/// still counts them into the rotation.
pub fn edge(topology: &Topology, epoch: Epoch, draining: &BTreeSet<InstanceId>) -> Option<EdgeSnapshot> {
    let edge = topology.edge.as_ref()?;
    let listed: BTreeSet<&InstanceId> = topology.rotation.union(draining).collect();
    // What the edge serves no more (or not yet) has a group too: it finishes what it has, its health is known.
    let mut processes = edge.processes();
    for id in &listed {
        if !processes.contains(&&id.process) {
            processes.push(&id.process);
        }
    }
    let mut groups = processes
        .into_iter()
        .map(|process| group(topology, process, &listed, draining));
    let upstream = groups.next()?;
    Some(EdgeSnapshot {
        epoch,
        app: topology.app.clone(),
        listeners: listeners(edge),
        settings: (*edge.settings).clone(),
        upstream,
        others: groups.collect(),
        routes: edge.routes.clone(),
        streams: edge.listeners.clone(),
        passthrough: edge.passthrough.clone(),
        places: edge.places.clone(),
        // The publisher's to add: they come and go without a change of the topology.
        challenges: BTreeMap::new(),
    })
}

fn group(
    topology: &Topology,
    process: &ProcessName,
    listed: &BTreeSet<&InstanceId>,
    draining: &BTreeSet<InstanceId>,
) -> Upstream {
    let endpoints = listed
        .iter()
        .filter(|id| id.process == *process)
        .filter_map(|id| {
            let instance = topology.instances.get(*id)?;
            let state = if draining.contains(*id) {
                EndpointState::Draining
            } else {
                EndpointState::Active
            };
            Some(Endpoint {
                id: (*id).clone(),
                address: (Ipv4Addr::LOCALHOST, instance.port).into(),
                protocol: instance.protocol,
                zone: topology
                    .processes
                    .get(process)
                    .and_then(|process| process.settings.zone(id.slot).cloned()),
                state,
            })
        });
    Upstream {
        process: process.clone(),
        ready: topology
            .processes
            .get(process)
            .and_then(|process| process.settings.ready.clone()),
        endpoints: endpoints.collect(),
        proxy_protocol: topology
            .processes
            .get(process)
            .and_then(|process| process.settings.proxy_protocol),
    }
}

fn listeners(edge: &Edge) -> Vec<Listener> {
    let plain = Listener {
        address: edge.listen,
        speaks: Speaks::Http,
    };
    let https = edge.https.map(|address| Listener {
        address,
        speaks: Speaks::Https,
    });
    let streams = edge.listeners.iter().map(|listener| Listener {
        address: listener.listen,
        speaks: Speaks::Stream,
    });
    std::iter::once(plain).chain(https).chain(streams).collect()
}

/// In the folder of secrets (mode 0600): the URL of the Redis in which edges count rate limits together. It may be missing
/// while there is none: each edge counts alone then.
pub const LIMITS_URL: &str = "edge-limits-url";

/// All that the edge role knows. It keeps the last good one and refuses older epochs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeSnapshot {
    pub epoch: Epoch,
    pub app: AppName,
    /// At least one; no address twice.
    pub listeners: Vec<Listener>,
    pub settings: EdgeSettings,
    /// Gets what no route sends elsewhere.
    pub upstream: Upstream,
    /// The processes of routes, and those whose last instances finish.
    #[serde(default)]
    pub others: Vec<Upstream>,
    #[serde(default)]
    pub routes: Vec<Route>,
    /// One for each listener that speaks no HTTP, by its address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<StreamListener>,
    /// What a CA asks for under `/.well-known/acme-challenge/`: the answer by the token (RFC 8555 §8.3).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub challenges: BTreeMap<String, String>,
    /// Names on https listeners that go to a process undecrypted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub passthrough: BTreeMap<String, ProcessName>,
    /// Where else the edge runs; see `EdgeSnapshot::at`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub places: BTreeMap<PlaceName, EdgePlace>,
}

impl EdgeSnapshot {
    /// What the edge there serves (`None`: the first one), with the edges that it asks. `None`: there is no such place.
    pub fn seen_from(self, place: Option<&PlaceName>) -> Option<Self> {
        let asked = among::asked(&self, place.map_or(FIRST_PLACE, PlaceName::as_str));
        let mut own = match place {
            Some(place) => self.at(place)?,
            None => self,
        };
        own.others.extend(asked);
        Some(own)
    }

    /// The edge there is one that others ask as their shield.
    pub fn is_shield(&self, place: Option<&PlaceName>) -> bool {
        let place = place.map_or(FIRST_PLACE, PlaceName::as_str);
        self.settings
            .cache
            .as_ref()
            .is_some_and(|cache| among::is_shield(cache, place))
    }

    /// The same under addresses of its own, without what only the first edge has.
    fn at(self, place: &PlaceName) -> Option<Self> {
        let own = self.places.get(place)?;
        let plain = Listener {
            address: own.listen,
            speaks: Speaks::Http,
        };
        let https = own.https.map(|address| Listener {
            address,
            speaks: Speaks::Https,
        });
        Some(Self {
            listeners: std::iter::once(plain).chain(https).collect(),
            streams: Vec::new(),
            passthrough: BTreeMap::new(),
            ..self
        })
    }

    /// The default one first.
    pub fn upstreams(&self) -> impl Iterator<Item = &Upstream> {
        std::iter::once(&self.upstream).chain(&self.others)
    }

    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.upstreams().flat_map(|upstream| &upstream.endpoints)
    }
}

/// An address that connections are accepted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Listener {
    pub address: SocketAddr,
    pub speaks: Speaks,
}

/// What clients are expected to speak on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaks {
    Http,
    /// HTTP within TLS, by the settings' certificates.
    Https,
    /// Bytes that go to a process as they are, by `streams`.
    Stream,
}

/// A group that gets traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    pub process: ProcessName,
    /// How the edge itself checks each endpoint; `None`: a TCP connect.
    pub ready: Option<ReadyProbe>,
    pub endpoints: Vec<Endpoint>,
    /// What connections to them begin with; `None`: with the client's own bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub id: InstanceId,
    pub address: SocketAddr,
    /// What it is spoken to in.
    #[serde(default, skip_serializing_if = "Protocol::is_default")]
    pub protocol: Protocol,
    /// Where it is; the edge's own is in its settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneName>,
    pub state: EndpointState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// Gets requests while healthy.
    Active,
    /// Finishes what is in flight, gets nothing new. A state, not a command: a restarted edge does the same.
    Draining,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The benchmarks start an edge without a controller: what they write must stay a snapshot.
    #[test]
    fn the_benchmarks_snapshot_is_one() {
        let text = include_str!("../../../../bench/snapshot.json")
            .replace("@LISTEN@", "8080")
            .replace("@LISTEN_TLS@", "8443")
            .replace("@CERT@", "/cert.pem")
            .replace("@KEY@", "/key.pem")
            .replace("@UPSTREAM@", "8081")
            .replace("@WORKERS@", "2");
        let snapshot: EdgeSnapshot = serde_json::from_str(&text).unwrap();
        assert_eq!(snapshot.endpoints().count(), 1);
    }
}
