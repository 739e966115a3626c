//! Hold: new units wait, running ones finish, the primary changes, then the waiting ones go on in their order.
//!
//! Open → Draining → Held → Repointing → Open. It is a state of the snapshot, or an operator's PAUSE, with a limit that
//! ends it without anybody's help: a planned one lets units go on to the primary that is known, also when transactions
//! outlast its grace; a crash's refuses them (57P03), each at its own time. A primary that is lost is held for before
//! the snapshot says so (`crash`); the one that comes after it is judged before anything is sent there. Connects are few
//! at once, so that a new primary is not run over.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use banyan_runtime::{Clock, TaskKind};
use banyan_topology::Epoch;
use banyan_topology::report::HoldState;
use banyan_topology::snapshot::PgproxySnapshot;
use banyan_topology::snapshot::pgproxy::HoldCause;

use crate::worker::Worker;

/// Of one worker.
#[derive(Default)]
pub(crate) struct Gate {
    state: Cell<HoldState>,
    /// When this hold ends by itself.
    limit: Cell<Option<Instant>>,
    /// Why there is one.
    cause: Cell<Option<HoldCause>>,
    /// The snapshot's hold that has reached its limit: the same one does not begin again.
    expired: Cell<Option<Epoch>>,
    /// Why the last one ended without its goal.
    failure: RefCell<Option<String>>,
    /// PAUSE on the console: until when.
    paused: Cell<Option<Instant>>,
    /// The primary was lost and the snapshot does not say so (yet).
    suspected: Cell<bool>,
    /// A task judges the primary.
    judging: Cell<bool>,
    /// Units that wait, in their order.
    parked: RefCell<VecDeque<oneshot::Sender<()>>>,
    /// What clients have sent that wait.
    bytes: Cell<usize>,
}

/// What a client that waits has sent, counted as long as it waits.
pub(crate) struct Parked {
    worker: Rc<Worker>,
    bytes: usize,
}

impl Parked {
    pub(crate) fn new(worker: &Rc<Worker>) -> Self {
        Self {
            worker: Rc::clone(worker),
            bytes: 0,
        }
    }

    /// So much in all now; `false`: no more may be read.
    pub(crate) fn holds(&mut self, bytes: usize) -> bool {
        let count = &self.worker.gate.bytes;
        count.set(count.get() + bytes - self.bytes);
        self.bytes = bytes;
        count.get() < PARKED_BYTES
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.holds(0);
    }
}

/// Units that may wait in a hold.
const PARKED: usize = 10_000;
/// Bytes of them.
const PARKED_BYTES: usize = 64 << 20;

impl Gate {
    pub(crate) fn state(&self) -> HoldState {
        self.state.get()
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.get() != HoldState::Open
    }

    /// What comes back is closed: the server behind it is to stop or to change. One that is only suspected may be well.
    pub(crate) fn closes_idle(&self) -> bool {
        self.is_closed() && !self.suspected.get()
    }

    /// Is the primary to be judged before units go on?
    pub(crate) fn judges(&self) -> bool {
        self.suspected.get() || self.state.get() == HoldState::Repointing
    }

    /// `false`: a task does it already.
    pub(crate) fn begin_to_judge(&self) -> bool {
        !self.judging.replace(true)
    }

    pub(crate) fn end_to_judge(&self) {
        self.judging.set(false);
    }

    /// When it ends.
    pub(crate) fn limit(&self) -> Option<Instant> {
        self.limit.get()
    }

    /// When a unit that waits now is refused; `None`: it is let go on.
    pub(crate) fn refuses_at(&self) -> Option<Instant> {
        let crash = self.cause.get() == Some(HoldCause::Crash);
        self.limit.get().filter(|_| crash || self.judges())
    }

    /// A place among those that wait; `None`: there are too many.
    pub(crate) fn park(&self) -> Option<oneshot::Receiver<()>> {
        let mut parked = self.parked.borrow_mut();
        parked.retain(|waiter| !waiter.is_closed());
        if parked.len() >= PARKED || self.bytes.get() >= PARKED_BYTES {
            return None;
        }
        let (to, receiver) = oneshot::channel();
        parked.push_back(to);
        Some(receiver)
    }

    pub(crate) fn parked(&self) -> usize {
        let parked = self.parked.borrow();
        parked.iter().filter(|waiter| !waiter.is_closed()).count()
    }

    pub(crate) fn take(&self, worker: &Rc<Worker>, snapshot: &PgproxySnapshot) {
        let now = Clock.now();
        let hold = snapshot.database.hold.as_ref();
        let hold = hold.filter(|hold| hold.cause == HoldCause::Crash || self.expired.get().is_none());
        if snapshot.database.hold.is_none() {
            self.expired.set(None);
        }
        let limit = now + snapshot.database.hold_limit;
        match (hold, snapshot.database.primary, self.paused.get()) {
            (Some(hold), ..) => {
                self.suspected.set(false);
                let grace = (hold.cause == HoldCause::Planned).then(|| now + hold.grace);
                self.close(worker, hold.cause, now + hold.limit);
                if let Some(grace) = grace {
                    self.give_up_at(worker, grace, hold.grace);
                }
            }
            (None, None, _) => self.close(worker, HoldCause::Crash, limit),
            (None, Some(_), Some(until)) => self.close(worker, HoldCause::Operator, until),
            (None, Some(_), None) => self.reopen(worker),
        }
    }

    /// The primary is lost, or seems so: units wait until it, or its successor, is well.
    pub(crate) fn suspect(&self, worker: &Rc<Worker>) {
        if !self.is_closed() {
            self.suspected.set(true);
            let limit = Clock.now() + worker.snapshot.borrow().database.hold_limit;
            self.close(worker, HoldCause::Crash, limit);
            crate::crash::judge(worker);
        }
    }

    /// It is lost indeed: what is left of its connections is closed.
    pub(crate) fn confirm(&self, worker: &Rc<Worker>) {
        if self.suspected.replace(false) {
            self.state.set(HoldState::Repointing);
            for pool in worker.pools() {
                pool.close_idle();
            }
        }
    }

    /// Units may go on, once the primary is judged: it may be another one, or one that has crashed.
    fn reopen(&self, worker: &Rc<Worker>) {
        match self.cause.get() {
            Some(HoldCause::Crash | HoldCause::Planned) if self.is_closed() => {
                self.suspected.set(false);
                self.state.set(HoldState::Repointing);
                let limit = Clock.now() + worker.snapshot.borrow().database.hold_limit;
                self.limit.set(Some(limit));
                crate::crash::judge(worker);
            }
            _ => self.open(worker),
        }
    }

    /// An operator's hold.
    pub(crate) fn pause(&self, worker: &Rc<Worker>, limit: Duration) {
        self.paused.set(Some(Clock.now() + limit));
        let snapshot = Arc::clone(&worker.snapshot.borrow());
        self.take(worker, &snapshot);
    }

    pub(crate) fn resume(&self, worker: &Rc<Worker>) {
        self.paused.set(None);
        let snapshot = Arc::clone(&worker.snapshot.borrow());
        self.take(worker, &snapshot);
    }

    fn close(&self, worker: &Rc<Worker>, cause: HoldCause, limit: Instant) {
        let before = self.cause.replace(Some(cause));
        if self.state.get() == HoldState::Repointing {
            // Judged too early: there is a hold again.
            self.state.set(HoldState::Draining);
        }
        if self.is_closed() && before == Some(cause) {
            self.look(worker);
            return;
        }
        self.limit.set(Some(limit));
        if !self.is_closed() {
            self.state.set(HoldState::Draining);
            *self.failure.borrow_mut() = None;
            tracing::info!(?cause, "hold: new units wait");
            for pool in worker.pools() {
                pool.send_away();
            }
        }
        if cause != HoldCause::Crash {
            self.end_at(worker, limit);
        }
        self.look(worker);
    }

    /// The limit holds without the controller.
    fn end_at(&self, worker: &Rc<Worker>, limit: Instant) {
        let weak = Rc::downgrade(worker);
        worker
            .tasks
            .spawn_local(TaskKind::Background, "hold", async move {
                tokio::time::sleep_until(limit.into()).await;
                if let Some(worker) = weak.upgrade()
                    && worker.gate.limit.get() == Some(limit)
                {
                    worker.gate.expire(&worker);
                }
            });
    }

    /// Transactions that outlast the grace of a plan end the plan, not themselves.
    fn give_up_at(&self, worker: &Rc<Worker>, at: Instant, grace: Duration) {
        let weak = Rc::downgrade(worker);
        let limit = self.limit.get();
        worker
            .tasks
            .spawn_local(TaskKind::Background, "grace", async move {
                tokio::time::sleep_until(at.into()).await;
                if let Some(worker) = weak.upgrade()
                    && worker.gate.limit.get() == limit
                    && worker.gate.state.get() == HoldState::Draining
                {
                    let open = worker.backends();
                    let why = format!(
                        "{open} transactions are still open after {} s",
                        grace.as_secs_f32()
                    );
                    worker.gate.abandon(&worker, why);
                }
            });
    }

    fn expire(&self, worker: &Rc<Worker>) {
        if self.paused.get().is_none() {
            return self.abandon(worker, "the hold reached its limit".to_owned());
        }
        self.resume(worker);
    }

    /// This hold ends without its goal, and does not begin again.
    fn abandon(&self, worker: &Rc<Worker>, why: String) {
        tracing::warn!(
            why,
            "a hold is given up: units go on to the primary that is known"
        );
        *self.failure.borrow_mut() = Some(why);
        self.expired.set(Some(worker.snapshot.borrow().epoch));
        let snapshot = Arc::clone(&worker.snapshot.borrow());
        self.take(worker, &snapshot);
    }

    /// Has the drain emptied?
    pub(crate) fn look(&self, worker: &Rc<Worker>) {
        if self.state.get() != HoldState::Draining || self.suspected.get() {
            return;
        }
        for pool in worker.pools() {
            pool.close_idle();
        }
        if worker.backends() == 0 {
            self.state.set(HoldState::Held);
        }
    }

    pub(crate) fn open(&self, worker: &Rc<Worker>) {
        self.limit.set(None);
        self.cause.set(None);
        self.suspected.set(false);
        if !self.is_closed() {
            return;
        }
        self.state.set(HoldState::Open);
        tracing::info!(waiting = self.parked(), "hold ended: units go on");
        // Woken in their order, they stand in their pools' lines in that order.
        for waiter in self.parked.borrow_mut().drain(..) {
            let _gone = waiter.send(());
        }
        for pool in worker.pools() {
            pool.serve();
        }
    }
}
