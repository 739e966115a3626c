//! One core's connections to one endpoint: the ones that wait for a request, and how many requests are on their way.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use banyan_config::ProxyProtocol;
use http::uri::Authority;

use banyan_config::Protocol;
use banyan_topology::InstanceId;
use banyan_topology::snapshot::{Endpoint, EndpointState};
use banyan_upstream::{Load, Loaded};

use super::gate::Seat;
use super::http1::Connection;
use super::http2::Links;
use super::origin::server::Server;
use crate::core::Core;
use crate::core::command::Event;
use crate::metrics::EndpointCells;

/// Idle connections are closed after this, before the instance does: common servers close after 5 s and more.
pub(crate) const IDLE: Duration = Duration::from_secs(4);
/// Per core and endpoint.
const IDLE_LIMIT: usize = 1024;
/// Failures per endpoint and tick that the control task hears of: enough to judge, too few to be a burden.
const TOLD_LIMIT: u32 = 50;

/// An endpoint as one core knows it.
pub(crate) struct Upstream {
    pub id: InstanceId,
    pub address: SocketAddr,
    pub protocol: Protocol,
    /// The id as text, for the log.
    pub label: String,
    pub cells: Arc<EndpointCells>,
    /// This core's share of it.
    pub load: Load,
    /// What the cookie of a client says that is to stay here.
    cookie: RefCell<Option<String>>,
    /// Failures told since the last tick.
    told: Cell<u32>,
    idle: RefCell<Vec<Idle>>,
    /// What connections to it begin with. With it, each serves one request: the next is another client's.
    proxy: Cell<Option<ProxyProtocol>>,
    /// With HTTP/2.
    pub(super) links: Links,
    /// `None`: no longer in the snapshot.
    state: Cell<Option<EndpointState>>,
    /// Of an origin, found by its URL; `None`: an instance, at `address`.
    pub elsewhere: Option<Arc<Server>>,
}

impl Loaded for Upstream {
    fn load(&self) -> &Load {
        &self.load
    }
}

/// A connection that can take a request.
struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

impl Upstream {
    pub(crate) fn new(endpoint: &Endpoint, cells: Arc<EndpointCells>) -> Rc<Self> {
        Rc::new(Self {
            label: endpoint.id.to_string(),
            id: endpoint.id.clone(),
            address: endpoint.address,
            protocol: endpoint.protocol,
            cells,
            load: Load::default(),
            cookie: RefCell::default(),
            told: Cell::default(),
            idle: RefCell::default(),
            proxy: Cell::default(),
            links: Links::default(),
            state: Cell::new(Some(EndpointState::Active)),
            elsewhere: None,
        })
    }

    /// A server of an origin. It belongs to no process: its id and address are nobody's.
    pub(super) fn elsewhere(server: &Arc<Server>, core: usize) -> Option<Rc<Self>> {
        let endpoint = Endpoint {
            id: "origin.1@r0".parse().ok()?,
            address: (Ipv4Addr::UNSPECIFIED, server.url.port).into(),
            protocol: Protocol::Http1,
            zone: None,
            state: EndpointState::Active,
        };
        let cells = server.cells.get(core).cloned().unwrap_or_default();
        let mut upstream = Rc::into_inner(Self::new(&endpoint, cells))?;
        upstream.label.clone_from(&server.name);
        upstream.elsewhere = Some(Arc::clone(server));
        Some(Rc::new(upstream))
    }

    /// What the snapshot says now; anything but active ends its idle connections.
    pub(crate) fn set_state(&self, state: Option<EndpointState>) {
        self.state.set(state);
        if state != Some(EndpointState::Active) {
            self.close_idle();
        }
    }

    pub(crate) fn set_proxy(&self, proxy: Option<ProxyProtocol>) {
        if self.proxy.replace(proxy) != proxy {
            self.close_idle();
        }
    }

    pub(crate) fn proxy(&self) -> Option<ProxyProtocol> {
        self.proxy.get()
    }

    /// Whether the control task is to hear of one more failure.
    pub(crate) fn may_tell(&self) -> bool {
        let told = self.told.get();
        self.told.set(told + 1);
        told < TOLD_LIMIT
    }

    pub(crate) fn set_cookie(&self, cookie: Option<String>) {
        *self.cookie.borrow_mut() = cookie;
    }

    pub(crate) fn cookie(&self) -> Option<String> {
        self.cookie.borrow().clone()
    }

    pub(crate) fn has_cookie(&self, cookie: &str) -> bool {
        self.cookie.borrow().as_deref() == Some(cookie)
    }

    /// Each tick.
    pub(crate) fn forget_told(&self) {
        self.told.set(0);
    }

    pub(crate) fn close_idle(&self) {
        self.idle.borrow_mut().clear();
        self.links.retire();
    }

    /// Its address as a request to it names it that names no other host.
    pub(super) fn authority(&self) -> Authority {
        let text = self.address.to_string();
        text.parse()
            .unwrap_or_else(|_| Authority::from_static("localhost"))
    }

    /// The youngest idle connection that is still open.
    pub(super) fn take_idle(&self) -> Option<Box<Connection>> {
        let mut idle = self.idle.borrow_mut();
        loop {
            let candidate = idle.pop()?;
            if candidate.connection.is_quiet() {
                return Some(candidate.connection);
            }
        }
    }

    pub(super) fn put_idle(&self, connection: Box<Connection>, since: Instant) {
        let mut all = self.idle.borrow_mut();
        let wanted = self.state.get() == Some(EndpointState::Active) && self.proxy.get().is_none();
        if wanted && all.len() < IDLE_LIMIT {
            all.push(Idle { connection, since });
        }
    }

    pub(crate) fn expire_idle(&self, now: Instant) {
        self.idle
            .borrow_mut()
            .retain(|i| i.connection.is_quiet() && now.saturating_duration_since(i.since) < IDLE);
        self.links.expire(now);
    }
}

/// A request on its way to an endpoint, counted from the moment it was picked.
pub(crate) struct InFlight {
    pub upstream: Rc<Upstream>,
    /// When it was picked.
    pub since: Instant,
    /// Where there is a limit.
    pub seat: Option<Seat>,
    /// How long the request waited for it.
    pub waited: Duration,
    core: Rc<Core>,
}

impl InFlight {
    pub(crate) fn begin(core: &Rc<Core>, upstream: &Rc<Upstream>, since: Instant) -> Self {
        upstream.cells.in_flight.increment();
        upstream.load.begin();
        Self {
            upstream: Rc::clone(upstream),
            since,
            seat: None,
            waited: Duration::ZERO,
            core: Rc::clone(core),
        }
    }

    pub(super) fn core(&self) -> &Rc<Core> {
        &self.core
    }

    pub(crate) fn after(mut self, waited: Duration) -> Self {
        self.waited = waited;
        self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.upstream.load.end();
        if self.seat.take().is_some() {
            self.core.hand_out();
        }
        let left = self.upstream.cells.in_flight.decrement();
        if left == 0 && self.upstream.state.get() != Some(EndpointState::Active) {
            self.core.tell(Event::Emptied);
        }
    }
}
