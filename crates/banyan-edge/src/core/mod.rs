//! One core: its own runtime, listener, endpoints, connections and counters. Nothing on a request's path is shared.
//!
//! Tasks: the core itself (commands, tick), one per listener, one per client connection, one per instance connection.

mod accept;
pub(crate) mod census;
pub(crate) mod command;
mod connection;
mod frames;
pub(crate) mod groups;
pub(crate) mod http1;
pub(crate) mod http2;
mod passage;
mod proxied;
pub(crate) mod stages;
mod stream;
pub(crate) mod streams;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
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
use banyan_runtime::{Clock, TaskKind, Tasks};
use banyan_tls::{ServerConfig, Version};
use banyan_topology::InstanceId;
use banyan_topology::snapshot::{Listener, Speaks};
use banyan_upstream::balance::hash::Random;
use banyan_upstream::health::Cause;
use banyan_upstream::retry::Budget;
use banyan_upstream::{Demand, Rules};

use crate::access_log::AccessLog;
use crate::challenges::Challenges;
use crate::filter::Filters;
use crate::filter::auth::{Claims, Materials, Memory, passwords};
use crate::filter::buckets::Buckets;
use crate::forward::pool::Upstream;
use crate::http1::reading::ReadBuffer;
use crate::interim::Interim;
use crate::metrics::{CoreMetrics, ListenerCells};
use crate::proxy_protocol::Ends;
use crate::request_id::RequestIds;
use crate::route::Table;
use crate::route::serving::Routes;
use accept::Place;
use census::{Admitted, Arrival, Census, Counted};
use command::{Command, CoreSnapshot, Event, Share};
use groups::{Group, Groups};
use stages::Stages;
use streams::{Stream, Streams};

const TICK: Duration = Duration::from_millis(250);
/// Each takes what up to 1024 sockets have for us.
const CLOSING_TURNS: usize = 16;
/// For tasks to end after their connections were ended.
const LAST: Duration = Duration::from_secs(1);

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
    /// Common to all cores: seconds of histograms count from here.
    pub start: Instant,
    groups: RefCell<Groups>,
    pub budget: RefCell<Budget>,
    pub random: RefCell<Random>,
    /// What is read from instances goes through it.
    pub buffer: Rc<ReadBuffer>,
    pub metrics: Arc<CoreMetrics>,
    pub log: RefCell<AccessLog>,
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
    draining: Cell<bool>,
    /// Listeners whose queue may still hold connections.
    accepting: Cell<usize>,
    ids: RefCell<RequestIds>,
    events: mpsc::UnboundedSender<Event>,
    /// Common to all cores; asked where a connection begins and ends.
    census: Arc<Census>,
    /// Common to all cores; asked by requests with a rate limit.
    pub buckets: Arc<Buckets>,
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
    pub events: mpsc::UnboundedSender<Event>,
    pub census: Arc<Census>,
    pub buckets: Arc<Buckets>,
    pub passwords: passwords::Sender,
    pub tasks: Tasks,
}

/// One client connection.
pub(crate) struct Peer {
    pub address: IpAddr,
    /// With ports, for instances that are told.
    pub ends: Ends,
    /// The address as a header value.
    pub text: HeaderValue,
    pub activity: Activity,
    /// Within TLS.
    pub secure: bool,
    /// It came too fast after others: every request is refused.
    pub hurried: bool,
    _counted: Option<Counted>,
    /// Known after the handshake.
    pub tls: Option<Version>,
    /// Interim answers to the current request (HTTP/1 has one at a time).
    pub interim: Interim,
    open: Open,
}

impl Peer {
    /// This core's counters of the address that it came to.
    pub(crate) fn listener(&self) -> &ListenerCells {
        &self.open.listener
    }
}

/// What is going on over a connection.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Requests being answered; more than one only in HTTP/2.
    busy: Cell<u32>,
    /// Requests so far; it wraps.
    asked: Cell<u32>,
}

impl Activity {
    pub(crate) fn begin(&self) {
        self.busy.set(self.busy.get() + 1);
        self.asked.set(self.asked.get().wrapping_add(1));
    }

    pub(crate) fn end(&self) {
        self.busy.set(self.busy.get().saturating_sub(1));
    }
}

/// Counts a client connection until its last byte, tunnels included.
struct Open {
    core: Rc<Core>,
    listener: Arc<ListenerCells>,
}

impl Open {
    fn new(core: &Rc<Core>, listener: &Arc<ListenerCells>) -> Self {
        core.metrics.connections.increment();
        core.metrics.open.increment();
        listener.connections.increment();
        listener.open.increment();
        Self {
            core: Rc::clone(core),
            listener: Arc::clone(listener),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.listener.open.decrement();
        self.core.metrics.open.decrement();
        self.core.tell_if_drained();
    }
}

/// Those of one core by address: several where a process with more threads passed its sockets on.
type Acceptors = HashMap<Listener, Vec<mpsc::UnboundedSender<Share>>>;

/// The core's life: commands in order until the end.
pub(crate) async fn run(start: CoreStart, mut commands: mpsc::UnboundedReceiver<Command>) {
    let core = Rc::new(Core::new(start));
    let mut acceptors = Acceptors::new();
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            command = commands.recv() => {
                // Without a control task nobody could ever stop this core.
                let command = command.unwrap_or(Command::End);
                let end = matches!(command, Command::End);
                core.obey(command, &mut acceptors);
                if end {
                    break;
                }
            }
            _ = tick.tick() => core.tick(),
        }
    }
    // A task that hangs on a peer must not keep the last log lines back.
    let _some_hang = tokio::time::timeout(LAST, core.tasks.finished()).await;
    core.log.borrow_mut().flush();
}

/// A connection with a request in its socket is not idle. After a stall (a busy machine) many may not have been read yet:
/// each turn asks the kernel once more and lets those connections run.
async fn close_idle(core: Rc<Core>) {
    for _ in 0..CLOSING_TURNS {
        tokio::task::yield_now().await;
    }
    let stage = core.stages.now().max(Stage::Closing);
    core.advance(stage);
}

impl Core {
    fn new(start: CoreStart) -> Self {
        let now = start.clock.now();
        let date = http_date(start.clock.unix_ms());
        Self {
            clock: start.clock,
            start: start.start,
            groups: RefCell::new(Groups::new(start.index, Rules::from(&start.settings))),
            budget: RefCell::new(Budget::new(now)),
            random: RefCell::new(Random::new(crate::request_id::seed())),
            buffer: Rc::default(),
            log: RefCell::new(AccessLog::new(start.log, Arc::clone(&start.metrics))),
            metrics: start.metrics,
            stage: watch::Sender::new(Stage::Serving),
            stages: Stages::new(),
            date: RefCell::new(date),
            index: start.index,
            hsts: RefCell::new(hsts(&start.settings)),
            settings: RefCell::new(Rc::new(start.settings)),
            routes: RefCell::new(None),
            filters: RefCell::new(None),
            claims: RefCell::new(None),
            memory: RefCell::default(),
            auth_changed: Notify::new(),
            passwords: start.passwords,
            streams: RefCell::default(),
            challenges: RefCell::default(),
            tls: RefCell::new(None),
            redirect_to: Cell::new(None),
            tells_ends: Cell::new(false),
            draining: Cell::new(false),
            accepting: Cell::new(0),
            ids: RefCell::new(RequestIds::new()),
            events: start.events,
            census: start.census,
            buckets: start.buckets,
            tasks: start.tasks,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
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

    pub(crate) fn claims(&self) -> Option<Rc<Claims>> {
        self.claims.borrow().clone()
    }

    fn take_materials(&self, materials: Materials) {
        let mut memory = self.memory.borrow_mut();
        memory.take(materials);
        memory.looked();
        self.auth_changed.notify_waiters();
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

    fn obey(self: &Rc<Self>, command: Command, acceptors: &mut Acceptors) {
        match command {
            Command::Snapshot(snapshot) => self.apply(*snapshot),
            Command::Ready { id, ready } => {
                self.groups.borrow().set_ready(&id, ready, self.now());
                self.settle_unready(&id, ready);
                self.hand_out();
            }
            Command::Ejected { id, ejected } => {
                self.groups.borrow().set_ejected(&id, ejected, self.now());
                self.hand_out();
            }
            Command::Materials(materials) => self.take_materials(materials),
            Command::MaterialsLookedFor => {
                self.memory.borrow_mut().looked();
                self.auth_changed.notify_waiters();
            }
            Command::Tls(config) => *self.tls.borrow_mut() = config,
            Command::Listen {
                at,
                asked,
                listener,
                cells,
            } => {
                let (ask, asks) = mpsc::unbounded_channel();
                acceptors.entry(at).or_default().push(ask);
                self.accepting.set(self.accepting.get() + 1);
                self.spawn(
                    "listener",
                    accept::accept(Rc::clone(self), Place { at, asked }, listener, cells, asks),
                );
            }
            // Dropping the senders stops the acceptors.
            Command::StopListening { at } => drop(acceptors.remove(&at)),
            Command::Share(to) => {
                for acceptor in acceptors.values().flatten() {
                    let _ended = acceptor.send(to.clone());
                }
            }
            Command::Drain => {
                acceptors.clear();
                self.draining.set(true);
                self.advance(Stage::LameDuck);
                self.tell_if_drained();
            }
            Command::Part => self.advance(Stage::Parting),
            Command::CloseIdle => self.spawn("close idle", close_idle(Rc::clone(self))),
            Command::End => {
                acceptors.clear();
                self.close_upstreams();
                self.advance(Stage::Ended);
            }
        }
    }

    fn advance(&self, stage: Stage) {
        self.stages.set(stage);
        self.stage.send_replace(stage);
    }

    /// From here on every pick follows the new snapshot; earlier picks are already counted as in flight.
    fn apply(&self, snapshot: CoreSnapshot) {
        let CoreSnapshot {
            epoch,
            settings,
            upstreams,
            routes,
            challenges,
            streams,
            passthrough,
            route_cells,
            redirect_to,
            mut cells,
            mut cookies,
            materials,
        } = snapshot;
        let rules = Rules::from(&settings);
        *self.hsts.borrow_mut() = hsts(&settings);
        *self.filters.borrow_mut() = Filters::compile(&settings.filters, &settings);
        *self.claims.borrow_mut() = Claims::of(&settings);
        self.take_materials(materials);
        self.redirect_to.set(redirect_to);
        let told = upstreams
            .iter()
            .any(|group| group.upstream.proxy_protocol.is_some());
        self.tells_ends.set(told);
        *self.settings.borrow_mut() = Rc::new(settings);
        self.groups.borrow_mut().update(&upstreams, rules, |endpoint| {
            let cells = cells.remove(&endpoint.id).unwrap_or_default();
            Upstream::new(endpoint, cells)
        });
        self.groups
            .borrow()
            .each(|entry| entry.data.set_cookie(cookies.remove(&entry.id)));
        // The control task has compiled them before: what it takes, compiles.
        let table = (!routes.is_empty())
            .then(|| Table::compile(&routes).ok())
            .flatten();
        *self.challenges.borrow_mut() = Challenges::of(challenges);
        *self.streams.borrow_mut() = Streams::compile(streams, passthrough, &self.groups.borrow());
        let routes = table.map(|table| {
            Rc::new(Routes::new(
                table,
                &self.groups.borrow(),
                &self.settings(),
                &route_cells,
            ))
        });
        *self.routes.borrow_mut() = routes;
        self.hand_out();
        self.tell(Event::Applied {
            core: self.index,
            epoch,
        });
    }

    /// Connections to an endpoint that is out are not to be trusted when it returns.
    fn settle_unready(&self, id: &InstanceId, ready: bool) {
        if ready {
            return;
        }
        self.groups.borrow().each(|entry| {
            if entry.id == *id {
                entry.data.close_idle();
            }
        });
    }

    fn close_upstreams(&self) {
        self.groups.borrow().each(|entry| entry.data.close_idle());
    }

    fn tell_time(&self) {
        *self.date.borrow_mut() = http_date(self.clock.unix_ms());
    }

    fn tick(&self) {
        self.log.borrow_mut().flush();
        self.tell_time();
        self.hand_out();
        let now = self.now();
        self.groups.borrow().each(|entry| {
            entry.data.expire_idle(now);
            entry.data.forget_told();
        });
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
