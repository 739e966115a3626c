//! Backends of one (database, user, node): granted first in, first out; never more than the size.
//!
//! A [`Lease`] is a borrowed backend; dropped without being given back it is closed, so that what is unclear is never
//! used again. Tasks: one per connect, one per backend that is cleaned, and a watch over the idle ones.

pub(crate) mod account;
mod lease;
mod watch;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use banyan_runtime::{Clock, TaskKind};
use banyan_topology::NodeId;

use crate::backend::Backend;
use crate::backend::connect::{self, ConnectError, Login};
use crate::backend::stream::Address;
use crate::respond::Refusal;
use crate::worker::Worker;
use account::Account;
pub(crate) use lease::Lease;

/// How long a login may take.
const LOGIN_LIMIT: Duration = Duration::from_secs(5);
/// Between two attempts, while somebody waits.
const AGAIN: Duration = Duration::from_millis(50);

pub(crate) type Grant = Result<Lease, Denied>;

/// Why a place in the line ends without a backend.
#[derive(Debug)]
pub(crate) enum Denied {
    Refused(Refusal),
    /// A hold has begun: wait there.
    Held,
    /// The deadline has come.
    Late,
}

pub(crate) struct Pool {
    pub(crate) node: NodeId,
    pub(crate) address: Address,
    account: Weak<Account>,
    worker: Weak<Worker>,
    state: RefCell<State>,
    /// Wakes the watch over idle backends.
    watcher: RefCell<Option<Waker>>,
    /// Of a primary that is one no more: nothing is granted, what comes back is closed.
    pub(crate) retired: Cell<bool>,
    /// Backends older than this are not used again.
    renewed: Cell<Option<Instant>>,
    /// Once more when the server, a replica, has come as far as the primary was then.
    renews: Cell<bool>,
    /// When those in line are looked through for ones that are late; no timer of their own.
    looks_at_line: Cell<Option<Instant>>,
}

#[expect(
    clippy::vec_box,
    reason = "a backend is moved on every grant: a pointer, not half a KiB"
)]
#[derive(Default)]
struct State {
    /// The last one back is the first to go: its caches are warm. Boxed: they move from here to clients and back.
    idle: Vec<Box<Backend>>,
    /// Idle, borrowed and being connected.
    total: u32,
    connecting: u32,
    waiters: VecDeque<Waiter>,
    /// Sessions that keep a backend for themselves.
    pinned: u32,
    last_failure: Option<String>,
}

struct Waiter {
    to: oneshot::Sender<Grant>,
    since: Instant,
    deadline: Instant,
}

/// Figures for the console.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) idle: usize,
    pub(crate) total: u32,
    pub(crate) waiting: usize,
    pub(crate) pinned: u32,
    pub(crate) longest_wait: Duration,
}

impl Pool {
    pub(crate) fn new(
        node: NodeId,
        address: Address,
        account: &Rc<Account>,
        worker: &Rc<Worker>,
    ) -> Rc<Self> {
        let pool = Rc::new(Self {
            node,
            address,
            account: Rc::downgrade(account),
            worker: Rc::downgrade(worker),
            state: RefCell::default(),
            watcher: RefCell::default(),
            retired: Cell::new(false),
            renewed: Cell::new(None),
            renews: Cell::new(false),
            looks_at_line: Cell::new(None),
        });
        watch::start(&pool, worker);
        pool
    }

    fn size(&self) -> u32 {
        self.worker.upgrade().map_or(1, |worker| worker.pool_size())
    }

    /// May units begin?
    fn open(&self) -> bool {
        !self.retired.get() && self.worker.upgrade().is_some_and(|worker| !worker.holding())
    }

    /// An idle backend, unless others wait for one.
    pub(crate) fn try_take(self: &Rc<Self>) -> Option<Lease> {
        let mut state = self.state.borrow_mut();
        if !state.waiters.is_empty() || !self.open() {
            return None;
        }
        let backend = state.idle.pop()?;
        drop(state);
        Some(Lease::new(self, backend))
    }

    /// That very backend, if it is idle and nobody has used it since `tenure`.
    pub(crate) fn take_same(self: &Rc<Self>, id: u64, tenure: u64) -> Option<Lease> {
        let mut state = self.state.borrow_mut();
        if !self.open() {
            return None;
        }
        let at = state.idle.iter().position(|b| b.id == id && b.tenure == tenure)?;
        let backend = state.idle.remove(at);
        drop(state);
        Some(Lease::new(self, backend))
    }

    /// Stands in line from now, `since`, until `deadline`.
    pub(crate) fn wait(self: &Rc<Self>, since: Instant, deadline: Instant) -> oneshot::Receiver<Grant> {
        let (to, receiver) = oneshot::channel();
        let waiter = Waiter { to, since, deadline };
        self.state.borrow_mut().waiters.push_back(waiter);
        self.look_at_line(deadline);
        self.serve();
        receiver
    }

    /// Those in line are looked through at `deadline`, if not earlier.
    fn look_at_line(self: &Rc<Self>, deadline: Instant) {
        if self.looks_at_line.get().is_some_and(|at| at <= deadline) {
            return;
        }
        let Some(worker) = self.worker.upgrade() else {
            return;
        };
        self.looks_at_line.set(Some(deadline));
        let weak = Rc::downgrade(self);
        worker
            .tasks
            .spawn_local(TaskKind::Background, "late in line", async move {
                tokio::time::sleep_until(deadline.into()).await;
                if let Some(pool) = weak.upgrade()
                    && pool.looks_at_line.get() == Some(deadline)
                {
                    pool.looks_at_line.set(None);
                    pool.send_late_away(Clock.now());
                }
            });
    }

    fn send_late_away(self: &Rc<Self>, now: Instant) {
        let waiters = std::mem::take(&mut self.state.borrow_mut().waiters);
        let (late, waiting): (VecDeque<_>, VecDeque<_>) =
            waiters.into_iter().partition(|waiter| waiter.deadline <= now);
        let next = waiting.iter().map(|waiter| waiter.deadline).min();
        self.state.borrow_mut().waiters = waiting;
        for waiter in late {
            let _gone = waiter.to.send(Err(Denied::Late));
        }
        if let Some(next) = next {
            self.look_at_line(next);
        }
    }

    /// Grants what can be granted, connects what may be connected.
    pub(crate) fn serve(self: &Rc<Self>) {
        if !self.open() {
            return;
        }
        loop {
            let mut state = self.state.borrow_mut();
            state.waiters.retain(|waiter| !waiter.to.is_closed());
            if state.waiters.is_empty() {
                return;
            }
            let Some(backend) = state.idle.pop() else { break };
            let Some(waiter) = state.waiters.pop_front() else {
                return;
            };
            drop(state);
            // One that has gone meanwhile gives it back by dropping the grant: then it is closed, which is right, too.
            let _gone = waiter.to.send(Ok(Lease::new(self, backend)));
        }
        self.connect_if_wanted();
    }

    fn connect_if_wanted(self: &Rc<Self>) {
        let Some(worker) = self.worker.upgrade() else {
            return;
        };
        loop {
            let mut state = self.state.borrow_mut();
            let wanted = state.waiters.len() > state.connecting as usize;
            if !wanted || state.total >= self.size() || !worker.may_connect(state.connecting) {
                return;
            }
            state.total += 1;
            state.connecting += 1;
            drop(state);
            let pool = Rc::clone(self);
            worker.tasks.spawn_local(
                TaskKind::Connection,
                "connect",
                async move { pool.connect().await },
            );
        }
    }

    /// Until it succeeds, nobody waits any more, or trying again is useless.
    async fn connect(self: Rc<Self>) {
        let outcome = loop {
            let Some((worker, account)) = self.worker.upgrade().zip(self.account.upgrade()) else {
                break None;
            };
            if !self.open() {
                break None;
            }
            let credentials = account.credentials.borrow().clone();
            let login = Login {
                address: &self.address,
                user: &account.user,
                database: &account.database,
                credentials: &credentials,
                node: self.node,
            };
            let failovers = worker.failovers();
            let attempt = connect::connect(login, worker.next_id(), &worker.shop);
            let attempt = tokio::time::timeout(LOGIN_LIMIT, attempt)
                .await
                .unwrap_or_else(|_| {
                    Err(ConnectError::Unreachable {
                        address: self.address.clone(),
                        source: std::io::ErrorKind::TimedOut.into(),
                    })
                });
            match attempt {
                Ok(mut backend) => {
                    backend.failovers = failovers;
                    worker.metrics.connects.increment();
                    worker.remember_server(&backend.info);
                    account.reported(&backend.parameters);
                    break Some(backend);
                }
                Err(error) => {
                    worker.signal_connect(&error);
                    let transient = error.is_transient();
                    self.failed(&error, transient);
                    if error.is_end() {
                        worker.suspect(self.node);
                    }
                    let waits = !self.state.borrow().waiters.is_empty();
                    if !transient || !waits {
                        break None;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        };
        self.state.borrow_mut().connecting -= 1;
        match outcome {
            Some(backend) => {
                self.state.borrow_mut().last_failure = None;
                Lease::new(&self, Box::new(backend)).give_back();
                self.serve();
            }
            None => self.closed(),
        }
    }

    fn failed(&self, error: &ConnectError, transient: bool) {
        let text = error.to_string();
        tracing::warn!(error = text, node = %self.node, "failed to connect to the server");
        let mut state = self.state.borrow_mut();
        if !transient {
            for waiter in state.waiters.drain(..) {
                let _gone = waiter
                    .to
                    .send(Err(Denied::Refused(Refusal::Connect(text.clone()))));
            }
        }
        state.last_failure = Some(text);
    }

    /// A hold begins: those in line wait elsewhere, in the same order.
    pub(crate) fn send_away(&self) {
        let waiters = std::mem::take(&mut self.state.borrow_mut().waiters);
        for waiter in waiters {
            let _gone = waiter.to.send(Err(Denied::Held));
        }
    }

    /// Why nobody could connect; for those whose wait is over.
    pub(crate) fn last_failure(&self) -> Option<String> {
        self.state.borrow().last_failure.clone()
    }

    /// A backend is no more.
    fn closed(self: &Rc<Self>) {
        let mut state = self.state.borrow_mut();
        state.total = state.total.saturating_sub(1);
        drop(state);
        if let Some(worker) = self.worker.upgrade() {
            worker.drained();
        }
        self.serve();
    }

    /// One more session keeps its backend. `false`: too many do.
    pub(crate) fn pin(&self) -> bool {
        let cap = self.pin_cap();
        let mut state = self.state.borrow_mut();
        state.pinned += 1;
        state.pinned <= cap
    }

    pub(crate) fn may_pin(&self) -> bool {
        self.state.borrow().pinned < self.pin_cap()
    }

    /// One backend at least serves those that keep none, unless there is but one.
    fn pin_cap(&self) -> u32 {
        let session = self.worker.upgrade().is_some_and(|worker| worker.session_mode());
        let size = self.size();
        if session { size } else { (size * 9 / 10).max(1) }
    }

    pub(crate) fn unpin(&self) {
        let mut state = self.state.borrow_mut();
        state.pinned = state.pinned.saturating_sub(1);
    }

    /// Closes what is idle: the next unit connects anew.
    pub(crate) fn close_idle(self: &Rc<Self>) {
        let idle = std::mem::take(&mut self.state.borrow_mut().idle);
        for backend in idle {
            drop(Lease::new(self, backend));
        }
    }

    /// What is borrowed now is closed when it comes back.
    pub(crate) fn reconnect(self: &Rc<Self>) {
        self.renewed.set(Some(Clock.now()));
        self.close_idle();
    }

    /// As [`Pool::reconnect`], because what sessions begin with is other now. On a replica it is when that has replayed it.
    pub(crate) fn renew(self: &Rc<Self>) {
        self.reconnect();
        self.renews.set(true);
    }

    /// This replica has replayed all that was changed. `true`: what it has connected before is closed.
    pub(crate) fn is_renewed(self: &Rc<Self>) -> bool {
        let renews = self.renews.take();
        if renews {
            self.reconnect();
        }
        renews
    }

    /// Those that a client has, and those that are being connected.
    pub(crate) fn busy(&self) -> u32 {
        let state = self.state.borrow();
        state
            .total
            .saturating_sub(u32::try_from(state.idle.len()).unwrap_or(u32::MAX))
    }

    pub(crate) fn total(&self) -> u32 {
        self.state.borrow().total
    }

    pub(crate) fn figures(&self, now: Instant) -> Figures {
        let state = self.state.borrow();
        let longest = state
            .waiters
            .front()
            .map(|w| now.saturating_duration_since(w.since));
        Figures {
            idle: state.idle.len(),
            total: state.total,
            waiting: state.waiters.iter().filter(|w| !w.to.is_closed()).count(),
            pinned: state.pinned,
            longest_wait: longest.unwrap_or_default(),
        }
    }
}

impl Pool {
    pub(crate) fn worker(&self) -> Option<Rc<Worker>> {
        self.worker.upgrade()
    }

    /// Among the idle ones, watched for what the server says meanwhile.
    fn rest(self: &Rc<Self>, mut backend: Box<Backend>) {
        backend.since = Clock.now();
        let fit = watch::look(self, &mut backend);
        if fit {
            self.state.borrow_mut().idle.push(backend);
        } else {
            drop(Lease::new(self, backend));
        }
    }
}
