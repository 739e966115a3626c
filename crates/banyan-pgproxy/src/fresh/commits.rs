//! Writes that are under way: sent, and not yet acknowledged to their client.
//!
//! The first-row gate: a replica may show a commit that the primary still hides (it waits for its synchronous standby, or simply has not
//! come to the end). A reader who saw it there and then asked the primary would go back in time. So a replica's first byte waits until
//! every commit that was under way on its tables at that moment is acknowledged.
//!
//! A lock, because workers on several threads share it: held for a scan of as many entries as writes are under way, never across an
//! await, and not touched by anything when there are no replicas.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

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
    under_way: Vec<Commit>,
}

#[derive(Debug)]
struct Commit {
    ticket: Ticket,
    tables: Tables,
    since: Instant,
}

impl Commits {
    /// Before what may commit is sent.
    pub fn begin(&self, tables: Tables, since: Instant) -> Ticket {
        let mut state = self.lock();
        let ticket = Ticket(state.next);
        state.next += 1;
        state.under_way.push(Commit {
            ticket,
            tables,
            since,
        });
        ticket
    }

    /// After its tables were marked: when the acknowledgement is forwarded, or the outcome will never be known here.
    pub fn end(&self, ticket: Ticket) {
        self.lock().under_way.retain(|commit| commit.ticket != ticket);
    }

    /// What a reader of `tables` must wait for, as seen at its first byte.
    pub fn before(&self, tables: &Tables) -> Vec<Ticket> {
        let state = self.lock();
        let blocking = state
            .under_way
            .iter()
            .filter(|commit| commit.tables.intersects(tables));
        blocking.map(|commit| commit.ticket).collect()
    }

    /// Is one of those under way since then, or longer? It is not to be waited for.
    pub fn any_since(&self, then: Instant, tables: &Tables) -> bool {
        let state = self.lock();
        let mut long = state.under_way.iter().filter(|commit| commit.since <= then);
        long.any(|commit| commit.tables.intersects(tables))
    }

    pub fn any_of(&self, tickets: &[Ticket]) -> bool {
        !tickets.is_empty()
            && self
                .lock()
                .under_way
                .iter()
                .any(|commit| tickets.contains(&commit.ticket))
    }

    pub fn is_idle(&self) -> bool {
        self.lock().under_way.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
