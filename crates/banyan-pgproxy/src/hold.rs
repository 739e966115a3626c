//! Hold: new units wait, running ones finish, the primary changes, then the waiting ones go on in their order.
//!
//! Open → Draining → Held → Repointing → Releasing → Open. It is a state of the snapshot with a limit, or an operator's
//! PAUSE. Units wait in their pools' lines, so that their order is kept.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use banyan_runtime::Clock;
use banyan_topology::report::HoldState;
use banyan_topology::snapshot::PgproxySnapshot;

use crate::worker::Worker;

/// Of one worker.
#[derive(Default)]
pub(crate) struct Gate {
    state: Cell<HoldState>,
    since: Cell<Option<Instant>>,
    /// When those that wait are told 57P03.
    limit: Cell<Option<Instant>>,
    /// PAUSE on the console.
    paused: Cell<bool>,
    /// Units that wait, in their order.
    parked: RefCell<VecDeque<oneshot::Sender<()>>>,
}

/// Units that may wait in a hold.
const PARKED: usize = 10_000;
/// Of a hold that the snapshot does not limit: nobody is primary.
const LIMIT: Duration = Duration::from_secs(15);

impl Gate {
    pub(crate) fn state(&self) -> HoldState {
        self.state.get()
    }

    pub(crate) fn is_closed(&self) -> bool {
        !matches!(self.state.get(), HoldState::Open | HoldState::Releasing)
    }

    /// What comes back is closed: the server behind it is to stop or to change.
    pub(crate) fn closes_idle(&self) -> bool {
        self.is_closed()
    }

    /// When a unit that waits now is refused.
    pub(crate) fn limit(&self) -> Option<Instant> {
        self.limit.get()
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
        self.parked
            .borrow()
            .iter()
            .filter(|waiter| !waiter.is_closed())
            .count()
    }

    pub(crate) fn take(&self, worker: &Rc<Worker>, snapshot: &PgproxySnapshot) {
        let wanted =
            snapshot.database.hold.is_some() || snapshot.database.primary.is_none() || self.paused.get();
        if wanted && !self.is_closed() {
            self.state.set(HoldState::Draining);
            let now = Clock.now();
            self.since.set(Some(now));
            let limit = snapshot.database.hold.as_ref().map_or(LIMIT, |hold| hold.limit);
            self.limit.set(Some(now + limit));
            for pool in worker.pools() {
                pool.send_away();
            }
        }
        if !wanted && self.is_closed() {
            self.open(worker);
            return;
        }
        self.look(worker);
    }

    pub(crate) fn pause(&self, worker: &Rc<Worker>, on: bool) {
        self.paused.set(on);
        let snapshot = std::sync::Arc::clone(&worker.snapshot.borrow());
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
        self.state.set(HoldState::Open);
        self.since.set(None);
        self.limit.set(None);
        // Woken in their order, they stand in their pools' lines in that order.
        for waiter in self.parked.borrow_mut().drain(..) {
            let _gone = waiter.send(());
        }
        for pool in worker.pools() {
            pool.serve();
        }
    }
}
