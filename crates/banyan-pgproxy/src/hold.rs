//! Hold: new units wait, running ones finish, the primary changes, then the waiting ones go on in their order.
//!
//! Open → Draining → Held → Open. It is a state of the snapshot, or an operator's PAUSE, with a limit that ends it
//! without anybody's help: a planned one lets units go on to the primary that is known, a crash's refuses them (57P03),
//! each at its own time. Connects after it are few at once, so that a new primary is not run over.

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
use banyan_topology::snapshot::pgproxy::{Hold, HoldCause};

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
    failure: Cell<Option<&'static str>>,
    /// PAUSE on the console: until when.
    paused: Cell<Option<Instant>>,
    /// Units that wait, in their order.
    parked: RefCell<VecDeque<oneshot::Sender<()>>>,
}

/// Units that may wait in a hold.
const PARKED: usize = 10_000;
/// How long a unit waits when nobody is primary and no hold says how long.
const LIMIT: Duration = Duration::from_secs(15);

impl Gate {
    pub(crate) fn state(&self) -> HoldState {
        self.state.get()
    }

    pub(crate) fn failure(&self) -> Option<&'static str> {
        self.failure.get()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.get() != HoldState::Open
    }

    /// What comes back is closed: the server behind it is to stop or to change.
    pub(crate) fn closes_idle(&self) -> bool {
        self.is_closed()
    }

    /// When it ends.
    pub(crate) fn limit(&self) -> Option<Instant> {
        self.limit.get()
    }

    /// When a unit that waits now is refused; `None`: it is let go on.
    pub(crate) fn refuses_at(&self) -> Option<Instant> {
        let crash = self.cause.get() == Some(HoldCause::Crash);
        self.limit.get().filter(|_| crash)
    }

    /// A place among those that wait; `None`: there are too many.
    pub(crate) fn park(&self) -> Option<oneshot::Receiver<()>> {
        let mut parked = self.parked.borrow_mut();
        parked.retain(|waiter| !waiter.is_closed());
        if parked.len() >= PARKED {
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
        match (hold, snapshot.database.primary, self.paused.get()) {
            (Some(Hold { cause, limit, .. }), ..) => self.close(worker, *cause, now + *limit),
            (None, None, _) => self.close(worker, HoldCause::Crash, now + LIMIT),
            (None, Some(_), Some(until)) => self.close(worker, HoldCause::Operator, until),
            (None, Some(_), None) => self.open(worker),
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
        if self.is_closed() && before == Some(cause) {
            return;
        }
        self.limit.set(Some(limit));
        if !self.is_closed() {
            self.state.set(HoldState::Draining);
            self.failure.set(None);
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

    fn expire(&self, worker: &Rc<Worker>) {
        if self.paused.take().is_none() {
            tracing::warn!("a hold reached its limit: units go on to the primary that is known");
            self.failure.set(Some("the hold reached its limit"));
            self.expired.set(Some(worker.snapshot.borrow().epoch));
        }
        let snapshot = Arc::clone(&worker.snapshot.borrow());
        self.take(worker, &snapshot);
    }

    /// Has the drain emptied?
    pub(crate) fn look(&self, worker: &Rc<Worker>) {
        if self.state.get() != HoldState::Draining {
            return;
        }
        for pool in worker.pools() {
            pool.close_idle();
        }
        if worker.backends() == 0 {
            self.state.set(HoldState::Held);
        }
    }

    fn open(&self, worker: &Rc<Worker>) {
        self.limit.set(None);
        self.cause.set(None);
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
