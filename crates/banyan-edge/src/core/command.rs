//! What the control task and the cores tell each other.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::mpsc;

use banyan_config::{EdgeSettings, Route};
use banyan_tls::ServerConfig;
use banyan_topology::snapshot::Listener;
use banyan_topology::{Epoch, InstanceId};
use banyan_transcode::Api;
use banyan_upstream::health::Cause;

use super::groups::Shared;
use super::streams::Counted;
use crate::filter::auth::Materials;
use crate::filter::auth::token::KeySet;
use crate::filter::together::Terms;
use crate::forward::origin::Known;
use crate::metrics::{EndpointCells, ListenerCells, RouteCells};

/// To one core. Commands are taken in order, between requests.
pub(crate) enum Command {
    Snapshot(Box<CoreSnapshot>),
    /// The result of a check.
    Ready {
        id: InstanceId,
        ready: bool,
    },
    /// Passive health takes it out, or lets it return.
    Ejected {
        id: InstanceId,
        ejected: bool,
    },
    /// What clients show who they are by.
    Materials(Materials),
    /// Their secrets are others now.
    Origins(BTreeMap<String, Known>),
    /// Those who wait for newer ones wait in vain.
    MaterialsLookedFor,
    /// With whom rate limits are counted; `None`: with nobody.
    CountLimits(Option<Arc<Terms>>),
    /// What new handshakes are done by; running connections keep what they have.
    Tls(Option<Arc<ServerConfig>>),
    /// `at` is the bound address, `asked` the configured one.
    Listen {
        at: Listener,
        asked: SocketAddr,
        listener: TcpListener,
        /// This core's counters of it.
        cells: Arc<ListenerCells>,
    },
    StopListening {
        at: Listener,
    },
    /// A copy of every listening socket, for the process that replaces this one.
    Share(Share),
    /// The lame-duck window begins: no new connections, every answer closes its connection.
    Drain,
    /// The window is over: idle connections close.
    CloseIdle,
    /// The time is nearly over: WebSockets are closed.
    Part,
    /// Everything ends, whatever is in flight.
    End,
}

/// Where copies of listening sockets go, each with its bound address. The last sender to be dropped ends the wait.
pub(crate) type Share = mpsc::UnboundedSender<(SocketAddr, OwnedFd)>;

/// One core's share of a snapshot.
pub(crate) struct CoreSnapshot {
    pub epoch: Epoch,
    pub settings: EdgeSettings,
    /// The port that plain requests are redirected to; `None`: there is no https, or it is not wanted.
    pub redirect_to: Option<u16>,
    /// The default one first.
    pub upstreams: Vec<Shared>,
    pub routes: Arc<[Route]>,
    /// gRPC calls of routes, by their names.
    pub apis: BTreeMap<String, Arc<Api>>,
    /// Servers elsewhere, by name.
    pub origins: BTreeMap<String, Known>,
    /// What a CA asks for, by token.
    pub challenges: BTreeMap<String, String>,
    /// Listeners that speak no HTTP, with this core's counters.
    pub streams: Vec<Counted>,
    /// The names on https listeners that are passed on undecrypted.
    pub passthrough: Option<Counted>,
    /// This core's counters of each route, by name.
    pub route_cells: BTreeMap<String, Arc<RouteCells>>,
    /// This core's counters of each endpoint.
    pub cells: BTreeMap<InstanceId, Arc<EndpointCells>>,
    /// What a client's cookie says that is to stay with an endpoint; empty without sticky sessions by cookie.
    pub cookies: BTreeMap<InstanceId, String>,
    /// By name of `[auth]`.
    pub materials: Materials,
}

/// From a core.
#[derive(Debug)]
pub(crate) enum Event {
    /// Every pick from now on is by this epoch; every earlier one is counted.
    Applied {
        core: usize,
        epoch: Epoch,
    },
    /// A connection to the endpoint failed.
    Suspect {
        id: InstanceId,
    },
    /// A request to it failed.
    Failed {
        id: InstanceId,
        cause: Cause,
    },
    /// A token's key is not among those that are known.
    KeysWanted {
        core: usize,
        auth: String,
        /// What the core has.
        known: Option<Arc<KeySet>>,
    },
    /// Rate limits are not counted with other edges, and why; `None`: they are again.
    CountsAlone {
        core: usize,
        problem: Option<String>,
    },
    /// Nothing is in flight any more from this core to an endpoint that is not active.
    Emptied,
    StoppedListening {
        core: usize,
        at: Listener,
    },
    /// Draining, and the last connection has ended.
    Drained {
        core: usize,
    },
}
