//! The limit of requests at once per endpoint, and the line of those that wait for it: both over all cores.
//!
//! A limit that cores shared out among themselves would be wrong by what each has and does not use, and a slow endpoint
//! could starve one core's clients. So these two are shared: a counter per endpoint (one atomic addition per request, and
//! only where `max_connections` is set), and one line behind a lock that is only met when every endpoint is full, and so
//! each request has to wait anyway. The limit and the order are exact.
//!
//! No wake-up is lost: who waits enters the line and then looks for seats, who leaves gives the seat up and then looks at
//! the line, both in sequentially consistent order.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use banyan_upstream::queue::{Full, Line, Ticket};

/// One line for all cores.
#[derive(Default)]
pub(crate) struct Gate {
    line: Mutex<Line<oneshot::Sender<Seat>>>,
    /// The line's length, to be read without the lock.
    waiting: AtomicUsize,
}

/// How many requests an endpoint has, over all cores. Counted only while there is a limit.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Seats(AtomicU32);

/// The right to send one request; given up when dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Seats>);

impl Seats {
    pub(crate) fn has_room(&self, limit: u32) -> bool {
        self.0.load(SeqCst) < limit
    }

    pub(crate) fn take(self: &Arc<Self>, limit: u32) -> Option<Seat> {
        let more = |taken| (taken < limit).then_some(taken + 1);
        self.0.fetch_update(SeqCst, SeqCst, more).ok()?;
        Some(Seat(Arc::clone(self)))
    }
}

impl Seat {
    pub(crate) fn is_of(&self, seats: &Arc<Seats>) -> bool {
        Arc::ptr_eq(&self.0, seats)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, SeqCst);
    }
}

impl Gate {
    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    pub(crate) fn enter(&self, limit: usize) -> Result<(Ticket, oneshot::Receiver<Seat>), Full> {
        let (offer, offered) = oneshot::channel();
        let mut line = self.line();
        let ticket = line.enter(limit, offer)?;
        self.count(&line);
        Ok((ticket, offered))
    }

    /// Back to an old place.
    pub(crate) fn again(&self, ticket: Ticket) -> oneshot::Receiver<Seat> {
        let (offer, offered) = oneshot::channel();
        let mut line = self.line();
        line.again(ticket, offer);
        self.count(&line);
        offered
    }

    pub(crate) fn leave(&self, ticket: Ticket) {
        let mut line = self.line();
        line.leave(ticket);
        self.count(&line);
    }

    /// To the one that has waited longest; if nobody waits, the seat is given up.
    pub(crate) fn give(&self, mut seat: Seat) {
        while let Some(offer) = self.pop() {
            // Outside the lock: a seat that is dropped may bring somebody here again.
            match offer.send(seat) {
                Ok(()) => return,
                Err(back) => seat = back,
            }
        }
    }

    fn pop(&self) -> Option<oneshot::Sender<Seat>> {
        let mut line = self.line();
        let oldest = line.pop();
        self.count(&line);
        oldest
    }

    fn count(&self, line: &Line<oneshot::Sender<Seat>>) {
        self.waiting.store(line.len(), SeqCst);
    }

    fn line(&self) -> MutexGuard<'_, Line<oneshot::Sender<Seat>>> {
        // Nothing under the lock can panic half-way.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
