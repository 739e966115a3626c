//! One core: its own runtime, listener, endpoints, connections and counters. Nothing on a request's path is shared.
//!
//! Tasks: the core itself (commands, tick), one per listener, one per client connection, one per instance connection that speaks HTTP/2.

mod accept;
pub(crate) mod census;
pub(crate) mod command;
mod connection;
mod frames;
pub(crate) mod groups;
pub(crate) mod http1;
pub(crate) mod http2;
mod life;
mod passage;
mod peer;
mod proxied;
pub(crate) mod stages;
pub(crate) mod stream;
pub(crate) mod streams;
mod turn;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Response};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};

use banyan_config::EdgeSettings;
use banyan_runtime::spans::Way;
use banyan_runtime::{Clock, TaskKind, Tasks};
use banyan_tls::ServerConfig;
use banyan_topology::snapshot::{Listener, Speaks};
use banyan_topology::{InstanceId, ProcessName};
use banyan_upstream::balance::hash::Random;
use banyan_upstream::health::Cause;
use banyan_upstream::retry::Budget;
use banyan_upstream::{Demand, Rules};

use crate::access_log::AccessLog;
use crate::cache::{self, Cache};
use crate::challenges::Challenges;
use crate::exchange::Teller;
use crate::filter::Filters;
use crate::filter::auth::{Claims, Memory, passwords};
use crate::filter::buckets::Buckets;
use crate::filter::together::Together;
use crate::forward::origin::Origins;
use crate::forward::pool::Upstream;
use crate::http1::reading::ReadBuffer;
use crate::metrics::CoreMetrics;
use crate::request_id::RequestIds;
use crate::route::serving::Routes;
use census::{Admitted, Arrival, Census};
use command::Event;
use groups::{Group, Groups};
pub(crate) use life::run;
pub(crate) use peer::Peer;
use stages::Stages;
use streams::{Stream, Streams};
use turn::Turn;

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Serving,
    /// Answers close their connections; idle connections may still send one request.
    LameDuck,
    /// Idle connections close.
    Closing,
    /// The time is nearly over: WebSockets hear that they end.
    Parting,
    Ended,
}

pub(crate) struct Core {
    pub clock: Clock,
    turn: Turn,
    /// Common to all cores: seconds of histograms count from here.
    pub start: Instant,
    groups: RefCell<Groups>,
    /// Servers elsewhere that routes lead to.
    origins: RefCell<Origins>,
    pub budget: RefCell<Budget>,
    pub random: RefCell<Random>,
    /// What is read from instances goes through it.
    pub buffer: Rc<ReadBuffer>,
    pub metrics: Arc<CoreMetrics>,
    pub log: RefCell<AccessLog>,
    /// Of traces.
    pub teller: RefCell<Teller>,
    pub stage: watch::Sender<Stage>,
    /// The same, cheaper to look at.
    pub stages: Rc<Stages>,
    /// As answers say it; no older than a tick.
    pub(crate) date: RefCell<String>,
    pub index: usize,
    /// Each core has its own copy: a shared counter of references would be written by every core on every request.
    settings: RefCell<Rc<EdgeSettings>>,
    /// `None`: every request goes to the default group.
    routes: RefCell<Option<Rc<Routes>>>,
    /// Of what no route takes.
    filters: RefCell<Option<Rc<Filters>>>,
    /// `None`: nothing is kept.
    cache: RefCell<Option<Rc<Cache>>>,
    /// Common to all cores.
    stored: Arc<cache::Shared>,
    /// What clients may not say of themselves; `None`: nobody is asked who they are.
    claims: RefCell<Option<Rc<Claims>>>,
    pub memory: RefCell<Memory>,
    /// Woken when there is something new to tell clients by, or surely nothing.
    pub auth_changed: Notify,
    /// Passwords to be judged, outside this thread.
    pub passwords: passwords::Sender,
    streams: RefCell<Streams>,
    /// What a CA asks for; `None`, as nearly always: nothing.
    challenges: RefCell<Option<Challenges>>,
    tls: RefCell<Option<Arc<ServerConfig>>>,
    redirect_to: Cell<Option<u16>>,
    /// `Strict-Transport-Security`, for answers within TLS.
    hsts: RefCell<Option<HeaderValue>>,
    /// Some instances are told who the client is, before its first byte.
    tells_ends: Cell<bool>,
    /// Heads of answers pass as they are.
    plain: Cell<bool>,
    /// Who asks is said where a head is written.
    introduces_late: Cell<bool>,
    draining: Cell<bool>,
    /// Listeners whose queue may still hold connections.
    accepting: Cell<usize>,
    ids: RefCell<RequestIds>,
    events: mpsc::UnboundedSender<Event>,
    /// Common to all cores; asked where a connection begins and ends.
    census: Arc<Census>,
    /// Common to all cores; asked by requests with a rate limit.
    pub buckets: Arc<Buckets>,
    /// `None`: this edge counts rate limits for itself.
    together: RefCell<Option<Rc<Together>>>,
    tasks: Tasks,
}

/// What a core is made of; moves to its thread.
pub(crate) struct CoreStart {
    pub index: usize,
    pub clock: Clock,
    pub start: Instant,
    pub settings: EdgeSettings,
    pub metrics: Arc<CoreMetrics>,
    pub log: mpsc::Sender<String>,
    pub spans: Way,
    pub events: mpsc::UnboundedSender<Event>,
    pub census: Arc<Census>,
    pub buckets: Arc<Buckets>,
    pub stored: Arc<cache::Shared>,
    pub passwords: passwords::Sender,
    pub tasks: Tasks,
}

impl Core {
    fn new(start: CoreStart) -> Self {
        let now = start.clock.now();
        let date = http_date(start.clock.unix_ms());
        Self {
            clock: start.clock,
            turn: Turn::default(),
            start: start.start,
            groups: RefCell::new(Groups::new(start.index, Rules::from(&start.settings))),
            origins: RefCell::default(),
            budget: RefCell::new(Budget::new(now)),
            random: RefCell::new(Random::new(crate::request_id::seed())),
            buffer: Rc::default(),
            log: RefCell::new(AccessLog::new(start.log, Arc::clone(&start.metrics))),
            teller: RefCell::new(Teller::new(&start.spans)),
            metrics: start.metrics,
            stage: watch::Sender::new(Stage::Serving),
            stages: Stages::new(),
            date: RefCell::new(date),
            index: start.index,
            hsts: RefCell::new(hsts(&start.settings)),
            settings: RefCell::new(Rc::new(start.settings)),
            routes: RefCell::new(None),
            filters: RefCell::new(None),
            cache: RefCell::new(None),
            stored: start.stored,
            claims: RefCell::new(None),
            memory: RefCell::default(),
            auth_changed: Notify::new(),
            passwords: start.passwords,
            streams: RefCell::default(),
            challenges: RefCell::default(),
            tls: RefCell::new(None),
            redirect_to: Cell::new(None),
            tells_ends: Cell::new(false),
            plain: Cell::new(false),
            introduces_late: Cell::new(false),
            draining: Cell::new(false),
            accepting: Cell::new(0),
            ids: RefCell::new(RequestIds::new()),
            events: start.events,
            census: start.census,
            buckets: start.buckets,
            together: RefCell::default(),
            tasks: start.tasks,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.turn.now(self.clock)
    }

    /// For all of `work` it is one time.
    fn at_once<R>(&self, work: impl FnOnce() -> R) -> R {
        self.turn.take(work)
    }

    pub(crate) fn settings(&self) -> Rc<EdgeSettings> {
        Rc::clone(&self.settings.borrow())
    }

    pub(crate) fn routes(&self) -> Option<Rc<Routes>> {
        self.routes.borrow().clone()
    }

    /// Of requests that no route takes.
    pub(crate) fn filters(&self) -> Option<Rc<Filters>> {
        self.filters.borrow().clone()
    }

    /// Who else counts rate limits.
    pub(crate) fn together(&self) -> Option<Rc<Together>> {
        self.together.borrow().clone()
    }

    pub(crate) fn cache(&self) -> Option<Rc<Cache>> {
        self.cache.borrow().clone()
    }

    /// As `Cache-Status` calls the cache.
    pub(crate) fn cache_name(&self) -> &str {
        self.stored.name()
    }

    pub(crate) fn group_of(&self, process: &ProcessName) -> Option<Rc<Group>> {
        self.groups.borrow().of(process)
    }

    pub(crate) fn claims(&self) -> Option<Rc<Claims>> {
        self.claims.borrow().clone()
    }

    /// Nanoseconds since a start that all cores share.
    pub(crate) fn since_start(&self) -> u64 {
        let time = self.now().saturating_duration_since(self.start);
        u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Of requests that no route sends elsewhere.
    pub(crate) fn default_group(&self) -> Rc<Group> {
        self.groups.borrow().default()
    }

    /// Where the client connected to: asked of the kernel only if somebody is told.
    fn own_end(&self, stream: &TcpStream, at: Listener) -> SocketAddr {
        let told = self.tells_ends.get().then(|| stream.local_addr().ok()).flatten();
        told.unwrap_or(at.address)
    }

    /// Whether a connection of this client may be served; `None`: it is closed.
    fn admit(&self, address: IpAddr, speaks: Speaks) -> Option<Admitted> {
        let settings = self.settings();
        let limits = &settings.limits;
        let exempt = limits.exempt_ips.iter().any(|network| network.contains(address));
        if exempt || settings.trusts(address) || (limits.connections_per_ip == 0 && limits.new_per_ip == 0) {
            return Some(Admitted::default());
        }
        let now = self.now().saturating_duration_since(self.start);
        let arrival = self.census.arrive(address, now, limits);
        if !matches!(arrival, Arrival::Fits(_)) {
            self.metrics.turned_away.increment();
        }
        match (arrival, speaks) {
            (Arrival::Fits(counted), _) => Some(Admitted {
                hurried: false,
                counted: Some(counted),
            }),
            // A handshake costs more than the answer is worth.
            (Arrival::TooFast(counted), Speaks::Http) => Some(Admitted {
                hurried: true,
                counted: Some(counted),
            }),
            (Arrival::TooFast(_) | Arrival::TooMany, _) => None,
        }
    }

    /// The answer to a CA that asks whether a domain is ours.
    pub(crate) fn challenge(&self, path: &str) -> Option<Response<Bytes>> {
        self.challenges.borrow().as_ref()?.answer(path)
    }

    /// Of the listener that is configured at this address.
    fn stream(&self, asked: SocketAddr) -> Option<Rc<Stream>> {
        self.streams.borrow().of(asked)
    }

    fn passthrough(&self) -> Option<Rc<Stream>> {
        self.streams.borrow().passthrough()
    }

    fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.borrow().clone()
    }

    /// The https port that plain requests are sent to.
    pub(crate) fn redirect_to(&self) -> Option<u16> {
        self.redirect_to.get()
    }

    pub(crate) fn hsts(&self) -> Option<HeaderValue> {
        self.hsts.borrow().clone()
    }

    pub(crate) fn next_id(&self) -> HeaderValue {
        self.ids.borrow_mut().next()
    }

    /// Whether nothing that concerns all requests reads or changes heads of answers.
    pub(crate) fn passes_heads(&self) -> bool {
        self.plain.get()
    }

    /// Whether nothing that concerns all requests reads or changes what instances hear of who asks.
    pub(crate) fn introduces_late(&self) -> bool {
        self.introduces_late.get()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    pub(crate) fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + 'static) {
        self.tasks.spawn_local(TaskKind::Connection, name, future);
    }

    pub(crate) fn tell(&self, event: Event) {
        // The control task is gone only at the very end.
        let _gone = self.events.send(event);
    }

    /// A connection to it failed: have it checked now. `refused`: nobody listens, so it gets nothing until then.
    pub(crate) fn suspect(&self, id: &InstanceId, refused: bool) {
        if refused {
            self.groups.borrow().set_ready(id, false, self.now());
        }
        self.tell(Event::Suspect { id: id.clone() });
    }

    /// What became of a request to it. `None`: it answered, and no error of its own.
    pub(crate) fn observed(&self, upstream: &Upstream, cause: Option<Cause>) {
        match cause {
            None => upstream.cells.successes.increment(),
            Some(cause) if upstream.may_tell() => {
                let id = upstream.id.clone();
                self.tell(Event::Failed { id, cause });
            }
            Some(_) => {}
        }
    }

    /// Gives what is free to those who have waited longest, on whatever core they wait.
    pub(crate) fn hand_out(&self) {
        self.groups.borrow().each_group(|group| self.hand_out_of(group));
    }

    fn hand_out_of(&self, group: &Group) {
        while group.gate.waiting() > 0 {
            let limit = self.settings().queue.max_connections.unwrap_or(u32::MAX);
            let random = self.random.borrow_mut().number();
            let demand = Demand {
                now: self.now(),
                key: random,
                random,
            };
            let has_room = |upstream: &Rc<Upstream>| upstream.cells.seats.has_room(limit);
            let mut set = group.endpoints.borrow_mut();
            let Some(entry) = set.pick(&demand, Some(&has_room)) else {
                return;
            };
            let seat = entry.data.cells.seats.take(limit);
            drop(set);
            if let Some(seat) = seat {
                group.gate.give(seat);
            }
        }
    }

    /// How long a request waited for its endpoint, which is nothing for most.
    pub(crate) fn waited(&self, group: &Group, begun: Instant) -> Duration {
        let now = self.now();
        let second = now.saturating_duration_since(self.start).as_secs();
        let waited = now.saturating_duration_since(begun);
        self.metrics.queue_wait.record(second, waited);
        group.cells.queue_wait.record(waited);
        waited
    }

    /// A listener's queue is empty and its socket closed.
    fn stopped_accepting(&self) {
        self.accepting.set(self.accepting.get().saturating_sub(1));
        self.tell_if_drained();
    }

    fn tell_if_drained(&self) {
        if self.draining.get() && self.accepting.get() == 0 && self.metrics.open.get() == 0 {
            self.tell(Event::Drained { core: self.index });
        }
    }
}

/// An HTTP date (RFC 9110 §5.6.7).
fn http_date(unix_ms: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(unix_ms))
}

fn hsts(settings: &EdgeSettings) -> Option<HeaderValue> {
    let life = settings.tls.as_ref()?.hsts;
    let text = format!("max-age={}", life.as_secs());
    (!life.is_zero()).then(|| HeaderValue::from_str(&text).ok())?
}
