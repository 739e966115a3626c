//! A worker: one thread with its own runtime, listener, clients and pools. Nothing of it crosses threads but counters.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use banyan_config::PoolMode;
use banyan_runtime::parcels::Parcel;
use banyan_runtime::spans::{Emitter, Way};
use banyan_runtime::{Clock, Tasks};
use banyan_tls::TlsAcceptor;
use banyan_topology::NodeId;
use banyan_topology::snapshot::pgproxy::{Bound, PgproxySnapshot};

use crate::backend::Info;
use crate::backend::connect::{ConnectError, Credentials};
use crate::control::Request;
use crate::fresh::Fresh;
use crate::frontend::Shared;
use crate::frontend::console::Action;
use crate::frontend::hidden::Definitions;
use crate::hold::Gate;
use crate::metrics::WorkerMetrics;
use crate::parse::PostgresGrammar;
use crate::pool::Pool;
use crate::pool::account::{Account, address};
use crate::respond::Refusal;
use crate::route::{Plan, Planner};
use crate::session::intern::Interner;
use crate::session::prepared::{Statement, Statements, meaning_apart};
use crate::session::settings::{Parameters, Settings};
use crate::workload::Workload;

/// What is read at once; shared by all clients of the worker.
const READ: usize = 64 * 1024;
/// Buffers kept for the next client that needs one, and how large they may have become.
const SPARE: usize = 32;
const SPARE_SIZE: usize = 128 * 1024;
/// A client's number: 8 bits of worker, 24 that count.
const WORKER_SHIFT: u32 = 24;
/// Connects at once after a hold, so that a new primary is not run over.
const RELEASE_CONNECTS: u32 = 8;

/// Values that many clients share.
#[derive(Default)]
pub(crate) struct Shop {
    settings: RefCell<Interner<Settings>>,
    parameters: RefCell<Interner<Parameters>>,
    pub(crate) statements: RefCell<Statements>,
    pub(crate) workload: Workload,
}

impl Shop {
    pub(crate) fn intern_settings(&self, settings: Settings) -> Rc<Settings> {
        self.settings.borrow_mut().intern(settings)
    }

    pub(crate) fn intern_parameters(&self, parameters: Parameters) -> Rc<Parameters> {
        self.parameters.borrow_mut().intern(parameters)
    }

    pub(crate) fn plan_refused(&self) {
        self.statements.borrow_mut().plan_refused();
    }
}

/// SQLSTATE and rule; empty: none.
type Answer = (&'static str, &'static str);

/// Database and user.
type Whose = (Box<str>, Box<str>);

pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) tasks: Tasks,
    pub(crate) shop: Shop,
    pub(crate) scratch: RefCell<Box<[u8]>>,
    spare: RefCell<Vec<Vec<u8>>>,
    pub(crate) snapshot: RefCell<Arc<PgproxySnapshot>>,
    pub(crate) accounts: RefCell<HashMap<Whose, Rc<Account>>>,
    pub(crate) clients: RefCell<HashMap<u32, Rc<Shared>>>,
    servers: RefCell<Vec<Weak<Info>>>,
    /// By SQLSTATE and rule: how many, and the last one in words.
    pub(crate) refusals: RefCell<BTreeMap<Answer, (u64, String)>>,
    pub(crate) gate: Gate,
    /// The role ends: servers' connections are not kept.
    pub(crate) ending: Cell<bool>,
    /// Where clients go then.
    pub(crate) next: RefCell<Option<mpsc::UnboundedSender<Parcel>>>,
    /// What the last failover left behind, and how many there were.
    bound: Cell<Option<Bound>>,
    failovers: Cell<u64>,
    begun: Instant,
    next_id: Cell<u64>,
    next_client: Cell<u32>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    /// Of all workers, this one's among them.
    pub(crate) all_metrics: Arc<[Arc<WorkerMetrics>]>,
    pub(crate) control: mpsc::UnboundedSender<Request>,
    pub(crate) tls: RefCell<Option<TlsAcceptor>>,
    pub(crate) fresh: Arc<Fresh>,
    planner: RefCell<Planner<PostgresGrammar>>,
    pub(crate) definitions: RefCell<Definitions>,
    /// Of traces.
    pub(crate) spans: RefCell<Emitter>,
    /// No two of one process are equal.
    span: Cell<u64>,
}

/// What a worker is made of.
pub(crate) struct WorkerStart {
    pub(crate) index: usize,
    pub(crate) snapshot: Arc<PgproxySnapshot>,
    pub(crate) all_metrics: Arc<[Arc<WorkerMetrics>]>,
    pub(crate) control: mpsc::UnboundedSender<Request>,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) fresh: Arc<Fresh>,
    /// Numbers count from it: those of clients that come from another process are to stay theirs.
    pub(crate) first_client: u32,
    pub(crate) spans: Way,
}

impl Worker {
    pub(crate) fn new(start: WorkerStart, tasks: Tasks) -> Rc<Self> {
        let worker = Rc::new(Self {
            index: start.index,
            tasks,
            shop: Shop::default(),
            scratch: RefCell::new(vec![0; READ].into()),
            spare: RefCell::default(),
            snapshot: RefCell::new(Arc::clone(&start.snapshot)),
            accounts: RefCell::default(),
            clients: RefCell::default(),
            servers: RefCell::default(),
            refusals: RefCell::default(),
            gate: Gate::default(),
            ending: Cell::new(false),
            next: RefCell::default(),
            bound: Cell::new(start.snapshot.database.bound),
            failovers: Cell::new(0),
            begun: Clock.now(),
            next_id: Cell::new(0),
            next_client: Cell::new(start.first_client),
            metrics: Arc::clone(&start.all_metrics[start.index]),
            all_metrics: start.all_metrics,
            control: start.control,
            tls: RefCell::new(start.tls),
            definitions: RefCell::new(Definitions::new(&start.fresh)),
            fresh: start.fresh,
            planner: RefCell::new(Planner::new(PostgresGrammar)),
            spans: RefCell::new(start.spans.emitter()),
            // What an earlier process has told is another statement.
            span: Cell::new(Clock.unix_us() << 8),
        });
        worker.take_snapshot(start.snapshot);
        worker
    }

    /// What a client prepares, as definitions are now.
    pub(crate) fn statement(&self, text: &[u8], types: &[u8], meaning: &Rc<Settings>) -> Rc<Statement> {
        let definitions = self.fresh.marks.definitions();
        let mut statements = self.shop.statements.borrow_mut();
        statements.intern(text, types, meaning, definitions)
    }

    /// What sessions of this worker begin with may be other: their server connections are made anew.
    pub(crate) fn renew(&self) {
        for account in self.accounts.borrow().values() {
            account.renew();
        }
    }

    /// Every server connection of every worker began with what sessions began with before.
    pub(crate) fn defaults_changed(&self) {
        self.renew();
        let (done, _) = oneshot::channel();
        let _ended = self.control.send(Request::Act(Action::Reconnect, done));
    }

    /// One that nobody else gets.
    pub(crate) fn statement_apart(&self, text: &[u8], types: &[u8], meaning: &Settings) -> Rc<Statement> {
        let meaning = self.shop.intern_settings(meaning_apart(meaning, rand::random()));
        self.statement(text, types, &meaning)
    }

    /// Seconds of the monotonic clock, for histograms.
    pub(crate) fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_secs()
    }

    /// Spans go out, and it is seen whether anybody wants some.
    pub(crate) fn tend_spans(&self) {
        let mut spans = self.spans.borrow_mut();
        spans.flush();
        self.shop.workload.tell_all(spans.is_on());
    }

    pub(crate) fn next_span(&self) -> u64 {
        self.span.set(self.span.get().wrapping_add(1));
        self.span.get()
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.set(self.next_id.get() + 1);
        self.next_id.get()
    }

    /// A number that no client of this process has now.
    pub(crate) fn new_client(&self) -> u32 {
        loop {
            let next = (self.next_client.get() + 1) & ((1 << WORKER_SHIFT) - 1);
            self.next_client.set(next);
            let number = ((self.index as u32) << WORKER_SHIFT) | next;
            if next != 0 && !self.clients.borrow().contains_key(&number) {
                return number;
            }
        }
    }

    /// Whose client is that?
    pub(crate) fn of_client(number: u32) -> usize {
        (number >> WORKER_SHIFT) as usize
    }

    pub(crate) fn pool_size(&self) -> u32 {
        let size = self.snapshot.borrow().database.pool.size.max(1);
        let workers = u32::try_from(self.all_metrics.len()).unwrap_or(1);
        size.div_ceil(workers)
    }

    pub(crate) fn session_mode(&self) -> bool {
        self.snapshot.borrow().database.pool.mode == PoolMode::Session
    }

    /// Over all workers.
    pub(crate) fn is_full(&self) -> bool {
        let clients: u64 = self.all_metrics.iter().map(|m| m.clients.get()).sum();
        clients > u64::from(self.snapshot.borrow().database.pool.max_clients)
    }

    pub(crate) fn account(&self, user: &str, database: &str, credentials: Credentials) -> Rc<Account> {
        let key = (Box::from(database), Box::from(user));
        let mut accounts = self.accounts.borrow_mut();
        let account = accounts
            .entry(key)
            .or_insert_with(|| Account::new(user, database, credentials.clone()));
        if *account.credentials.borrow() != credentials {
            *account.credentials.borrow_mut() = credentials;
        }
        Rc::clone(account)
    }

    /// Where units of `account` go that must go to the primary; `None`: nobody is.
    pub(crate) fn primary(self: &Rc<Self>, account: &Rc<Account>) -> Option<Rc<Pool>> {
        account.primary(&self.snapshot.borrow(), self)
    }

    /// The pool of `account` on a server that may serve reads.
    pub(crate) fn pool_of(self: &Rc<Self>, account: &Rc<Account>, id: NodeId) -> Option<Rc<Pool>> {
        let snapshot = Arc::clone(&self.snapshot.borrow());
        Some(account.pool(snapshot.database.node(id)?, self))
    }

    /// What `text` reads and may change.
    pub(crate) fn plan(&self, text: &[u8]) -> Arc<Plan> {
        let mut planner = self.planner.borrow_mut();
        planner.follow(self.fresh.catalog());
        planner.plan(text)
    }

    pub(crate) fn take_snapshot(self: &Rc<Self>, snapshot: Arc<PgproxySnapshot>) {
        let before = self.snapshot.replace(Arc::clone(&snapshot));
        let (old, new) = (&before.database, &snapshot.database);
        let moved = new.primary.is_some() && new.primary != old.primary;
        if moved || (new.bound.is_some() && new.bound != old.bound) {
            self.failovers.set(self.failovers.get() + 1);
            self.bound.set(new.bound);
        }
        self.shop.workload.configure(&new.measure);
        let accounts: Vec<_> = self.accounts.borrow().values().cloned().collect();
        for account in &accounts {
            account.keep(|node, at| {
                let node = snapshot.database.node(node);
                node.is_some_and(|node| address(node) == *at)
            });
        }
        self.gate.take(self, &snapshot);
    }

    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.metrics.refusals.increment();
        let mut refusals = self.refusals.borrow_mut();
        let entry = refusals.entry((refusal.code(), refusal.rule().unwrap_or_default()));
        let (count, last) = entry.or_default();
        *count += 1;
        *last = refusal.to_string();
    }

    pub(crate) fn remember_server(&self, info: &Rc<Info>) {
        let mut servers = self.servers.borrow_mut();
        servers.retain(|server| server.strong_count() > 0);
        servers.push(Rc::downgrade(info));
    }

    pub(crate) fn servers(&self) -> Vec<Rc<Info>> {
        self.servers.borrow().iter().filter_map(Weak::upgrade).collect()
    }

    /// How many there were; what is of before the last one is judged by its bound.
    pub(crate) fn failovers(&self) -> u64 {
        self.failovers.get()
    }

    /// The bound for what a server of `since` ([`Worker::failovers`]) left behind; `None`: there is none, or several.
    pub(crate) fn bound(&self, since: u64) -> Option<Bound> {
        self.bound.get().filter(|_| self.failovers.get() == since + 1)
    }

    /// A connection to `node` has ended, or cannot be made.
    pub(crate) fn suspect(self: &Rc<Self>, node: NodeId) {
        if self.snapshot.borrow().database.primary == Some(node) {
            self.gate.suspect(self);
        }
    }

    /// Units wait.
    pub(crate) fn holding(&self) -> bool {
        self.gate.is_closed()
    }

    pub(crate) fn closes_idle(&self) -> bool {
        self.ending.get() || self.gate.closes_idle()
    }

    /// May one more connect begin, with this many under way?
    pub(crate) fn may_connect(&self, connecting: u32) -> bool {
        connecting < RELEASE_CONNECTS
    }

    /// Something that a hold waits for may have ended.
    pub(crate) fn drained(self: &Rc<Self>) {
        self.gate.look(self);
    }

    pub(crate) fn pools(&self) -> Vec<Rc<Pool>> {
        let accounts = self.accounts.borrow();
        accounts.values().flat_map(|account| account.pools()).collect()
    }

    pub(crate) fn backends(&self) -> u32 {
        self.pools().iter().map(|pool| pool.total()).sum()
    }

    pub(crate) fn signal_connect(&self, error: &ConnectError) {
        match error {
            ConnectError::Unreachable { .. } => self.metrics.refused.increment(),
            ConnectError::Broken(_) => self.metrics.eof.increment(),
            ConnectError::Refused { code, .. } => self.signal_error(code.as_bytes()),
            ConnectError::Protocol(_) => {}
        }
    }

    pub(crate) fn signal_error(&self, code: &[u8]) {
        if code.starts_with(b"57P0") {
            self.metrics.shutdown.increment();
        }
    }

    /// A buffer for bytes on their way out.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn give_buffer(&self, buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if buffer.is_empty() && spare.len() < SPARE && (1..=SPARE_SIZE).contains(&buffer.capacity()) {
            spare.push(buffer);
        }
    }
}
