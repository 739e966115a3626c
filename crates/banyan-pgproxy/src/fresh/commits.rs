//! Writes that are under way: sent, and not yet acknowledged to their client.
//!
//! The first-row gate: a replica may show a commit that the primary still hides (it waits for its synchronous standby, or simply has not
//! come to the end). A reader who saw it there and then asked the primary would go back in time. So a replica's first byte waits until
//! every commit that was under way on its tables at that moment is acknowledged.
//!
//! A lock, because workers on several threads share it: held for a scan of as many entries as writes are under way, never across an
//! await, and not touched by anything when there are no replicas.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::catalog::Tables;

/// A write under way. Numbers rise.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Ticket(u64);

#[derive(Debug, Default)]
pub struct Commits {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    under_way: Vec<(Ticket, Tables)>,
}

impl Commits {
    /// Before what may commit is sent.
    pub fn begin(&self, tables: Tables) -> Ticket {
        let mut state = self.lock();
        let ticket = Ticket(state.next);
        state.next += 1;
        state.under_way.push((ticket, tables));
        ticket
    }

    /// After its tables were marked: when the acknowledgement is forwarded, or the outcome will never be known here.
    pub fn end(&self, ticket: Ticket) {
        self.lock().under_way.retain(|(other, _)| *other != ticket);
    }

    /// What a reader of `tables` must wait for, as seen at its first byte.
    pub fn before(&self, tables: &Tables) -> Vec<Ticket> {
        let state = self.lock();
        let blocking = state
            .under_way
            .iter()
            .filter(|(_, changed)| changed.intersects(tables));
        blocking.map(|(ticket, _)| *ticket).collect()
    }

    pub fn any_of(&self, tickets: &[Ticket]) -> bool {
        !tickets.is_empty()
            && self
                .lock()
                .under_way
                .iter()
                .any(|(ticket, _)| tickets.contains(ticket))
    }

    pub fn is_idle(&self) -> bool {
        self.lock().under_way.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
