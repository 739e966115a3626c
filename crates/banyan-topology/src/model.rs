//! The desired (or reached) state of one installation, complete: nothing in it is left to choose.
//!
//! The same type says what is wanted and what was reached, so that `apply(plan(a, b), a) == b` can be tested.
//! It holds no secret: environments are templates, rendered only when a process is launched.

mod database;
mod observe;
mod redis;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use banyan_config as config;

pub use database::{Database, External, Node, Pgproxy};
pub use observe::Observe;
pub use redis::Redis;

use crate::id::{AppName, InstanceId, PlaceName, ProcessName, ReleaseId};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    pub app: AppName,
    /// The managed PostgreSQL; `None` when there is none or it is the user's own (`database.url`).
    pub database: Option<Database>,
    /// The PostgreSQL proxy; `None`: the app connects to PostgreSQL itself.
    #[serde(default)]
    pub pgproxy: Option<Pgproxy>,
    /// Managed ones; none for a purpose: it is not configured, or the user's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub redis: BTreeMap<config::Purpose, Redis>,
    /// The HTTP front; `None` only while everything is down.
    pub edge: Option<Edge>,
    /// How each process of the app is watched and stopped.
    pub processes: BTreeMap<ProcessName, Process>,
    /// The release new instances are made of; `None` before the first.
    pub release: Option<ReleaseId>,
    /// History and dashboard; `None`: not configured, or everything is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observe: Option<Observe>,
    /// Releases whose release command has run to success in this installation.
    pub released: BTreeSet<ReleaseId>,
    pub instances: BTreeMap<InstanceId, Instance>,
    /// The instances that get traffic from the edge: a subset of `instances`.
    pub rotation: BTreeSet<InstanceId>,
    /// What is kept of everybody's log.
    #[serde(default)]
    pub logs: Box<config::LogSettings>,
}

impl Topology {
    /// Nothing runs: the state every start begins from.
    pub fn nothing(app: AppName) -> Self {
        Self {
            app,
            database: None,
            pgproxy: None,
            redis: BTreeMap::new(),
            edge: None,
            processes: BTreeMap::new(),
            release: None,
            observe: None,
            released: BTreeSet::new(),
            instances: BTreeMap::new(),
            rotation: BTreeSet::new(),
            logs: Box::default(),
        }
    }

    /// What `down` wants: nothing runs, and what cannot be undone (release commands that ran) stays known, and
    /// how logs are kept.
    pub fn stopped(&self) -> Self {
        Self {
            released: self.released.clone(),
            logs: self.logs.clone(),
            ..Self::nothing(self.app.clone())
        }
    }

    /// Whether nothing runs.
    pub fn is_stopped(&self) -> bool {
        self.database.is_none()
            && self.pgproxy.is_none()
            && self.redis.is_empty()
            && self.edge.is_none()
            && self.observe.is_none()
            && self.instances.is_empty()
    }

    /// Takes out an instance that is seen to be dead. Without it in rotation either, it can be planned again.
    pub fn lose(&mut self, id: &InstanceId) {
        self.instances.remove(id);
        self.rotation.remove(id);
    }

    /// How many instances of a process run.
    pub fn running(&self, process: &ProcessName) -> usize {
        self.instances.keys().filter(|id| id.process == *process).count()
    }
}

/// The edge as the user configured it; what it forwards to is the rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    pub listen: SocketAddr,
    /// Where TLS is spoken; there when the settings have `tls`.
    #[serde(default)]
    pub https: Option<SocketAddr>,
    /// The process whose instances get the requests that no route sends elsewhere.
    pub process: ProcessName,
    /// Boxed: topologies are held in many futures.
    pub settings: Box<config::EdgeSettings>,
    #[serde(default)]
    pub routes: Vec<config::Route>,
    /// Addresses whose connections go to a process as they are.
    #[serde(default)]
    pub listeners: Vec<config::StreamListener>,
    /// Names on the https port that go to a process undecrypted.
    #[serde(default)]
    pub passthrough: BTreeMap<String, ProcessName>,
    /// Edges beside this one, each a process with addresses of its own; all else is the same.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub places: BTreeMap<PlaceName, config::EdgePlace>,
    /// SHA-256 of the banyan program that it runs, in hex; empty: not known.
    #[serde(default)]
    pub program: String,
}

impl Edge {
    /// Whether its instances get requests: those of its own process and of every route's and listener's.
    pub fn serves(&self, process: &ProcessName) -> bool {
        self.process == *process || self.routed().any(|routed| routed == process)
    }

    fn routed(&self) -> impl Iterator<Item = &ProcessName> {
        let routes = self.routes.iter().flat_map(config::Route::processes);
        let listeners = self.listeners.iter().flat_map(config::StreamListener::processes);
        routes.chain(listeners).chain(self.passthrough.values())
    }

    /// What it serves, its own process first, each once.
    pub fn processes(&self) -> Vec<&ProcessName> {
        let mut found = vec![&self.process];
        for process in self.routed() {
            if !found.contains(&process) {
                found.push(process);
            }
        }
        found
    }

    /// The same edge as a process like `other`: what a running one keeps until it is replaced.
    pub fn started_like(&self, other: &Self) -> Self {
        let mut edge = self.clone();
        edge.program.clone_from(&other.program);
        edge.settings.workers = other.settings.workers;
        edge
    }
}

impl Edge {
    /// Every address that it and its places listen on.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let places = self.places.values();
        self.first_addresses()
            .chain(places.flat_map(config::EdgePlace::addresses))
    }

    /// Those of the process that is no further place.
    pub fn first_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let listeners = self.listeners.iter().map(|listener| listener.listen);
        [Some(self.listen), self.https]
            .into_iter()
            .flatten()
            .chain(listeners)
    }

    /// Of its process there, `None`: the first.
    pub fn addresses_at(&self, place: Option<&PlaceName>) -> Vec<SocketAddr> {
        match place {
            None => self.first_addresses().collect(),
            Some(name) => {
                let place = self.places.get(name).into_iter();
                place.flat_map(config::EdgePlace::addresses).collect()
            }
        }
    }

    /// Every process of it: the first, then its places.
    pub fn everywhere(&self) -> impl Iterator<Item = Option<&PlaceName>> {
        std::iter::once(None).chain(self.places.keys().map(Some))
    }

    /// The same edge at the places of another.
    pub fn with_places_of(&self, other: &Self) -> Self {
        Self {
            places: other.places.clone(),
            ..self.clone()
        }
    }
}

/// How instances of a process are judged and ended. Changing it restarts nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub name: ProcessName,
    /// Never more than this many at once, not even in a deploy (`max = 1`: a singleton).
    pub max: Option<u32>,
    pub settings: Box<config::ProcessSettings>,
}

/// One copy of a process: enough, with its release, to start it again exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub id: InstanceId,
    /// Given to every instance as `PORT`; only the processes that the edge serves are expected to listen on it.
    pub port: u16,
    /// What it speaks there: its release's.
    #[serde(default, skip_serializing_if = "config::Protocol::is_default")]
    pub protocol: config::Protocol,
}

/// What a deploy changes: commands, environment and program files of the app. Immutable once made, kept for rollback.
///
/// Kept beside the topology (`.banyan/releases/N/`), not in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub id: ReleaseId,
    /// The app's folder as written in banyan.toml: where commands run.
    pub dir: PathBuf,
    /// Unix user of the app's processes, when one was configured.
    pub user: Option<String>,
    /// URL of its database: the user's own, or `{{database.url}}`; `None` without a database. Part of the release
    /// because environments and files may use it by any name.
    #[serde(default)]
    pub database_url: Option<config::Template>,
    /// URL of each Redis that it uses: the user's own, or `{{sessions.url}}` and `{{cache.url}}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub redis: BTreeMap<config::Purpose, config::Template>,
    /// Its instances connect to the PostgreSQL proxy.
    #[serde(default)]
    pub proxied: bool,
    /// The proxy's port: another one is another release, because instances are told of it at their start. `None`: not known then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_port: Option<u16>,
    /// Per process: argv as templates, environment as templates.
    pub commands: BTreeMap<ProcessName, Launch>,
    /// Runs once before the first instance of the release starts; its failure stops the deploy.
    pub release_command: Option<Launch>,
    /// Files written from templates before launch: (template text, path relative to the app's folder).
    pub files: Vec<config::FileTemplate>,
    /// Program files that were copied into the release: path in the app's folder → SHA-256 in hex.
    pub programs: BTreeMap<String, String>,
    /// SHA-256 over the secret values in use when it was made: tells a change, reveals nothing.
    pub secrets_digest: String,
}

impl Release {
    /// Whether both would run the same: everything but the number.
    pub fn same_content(&self, other: &Self) -> bool {
        Self {
            id: other.id,
            ..self.clone()
        } == *other
    }
}

/// A command and its environment, both still templates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    pub argv: Vec<config::Template>,
    /// Holds `DATABASE_URL` too when there is a database.
    pub env: BTreeMap<String, config::Template>,
    /// What its instances speak on their port.
    #[serde(default, skip_serializing_if = "config::Protocol::is_default")]
    pub protocol: config::Protocol,
}
