//! What statements cost, by their shape: how many, how long, how many failed; and which ones were slow.
//!
//! One per worker, without locks. A statement is counted from the moment it is sent to a server (or the one before it on that
//! connection has ended) to the end of its answer: waiting for a connection is counted apart. One that commits by itself has the
//! commit in it. A simple Query of several statements counts as one; so does each Execute.

pub(crate) mod fingerprint;
mod slow;
pub(crate) mod table;

use std::cell::{Cell, RefCell};
use std::time::Instant;

use banyan_config::MeasureSettings;
use banyan_runtime::Clock;

use crate::session::prepared::Statement;
pub(crate) use slow::{Slow, SlowLine, trace_in};
pub(crate) use table::{Counts, Query};
use table::{Ended, Table};

/// A statement under way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Run {
    query: Query,
    alone: bool,
    elsewhere: bool,
    begun_us: u64,
}

/// Where a statement runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whereabouts {
    /// No transaction is open.
    pub(crate) alone: bool,
    pub(crate) on_replica: bool,
}

pub(crate) struct Workload {
    on: Cell<bool>,
    slow_us: Cell<u64>,
    /// Whoever runs statements hears of each one's end.
    tells_all: Cell<bool>,
    begun: Instant,
    table: RefCell<Table>,
    slow: Cell<u64>,
    lines: slow::Limit,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            on: Cell::new(false),
            slow_us: Cell::new(u64::MAX),
            tells_all: Cell::new(false),
            begun: Clock.now(),
            table: RefCell::default(),
            slow: Cell::new(0),
            lines: slow::Limit::default(),
        }
    }
}

impl Workload {
    pub(crate) fn configure(&self, settings: &MeasureSettings) {
        self.on.set(settings.statements);
        let slow = settings.slow_query.as_micros();
        self.slow_us.set(u64::try_from(slow).unwrap_or(u64::MAX));
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on.get()
    }

    pub(crate) fn tell_all(&self, all: bool) {
        self.tells_all.set(all);
    }

    pub(crate) fn tells_all(&self) -> bool {
        self.tells_all.get()
    }

    fn now_us(&self) -> u64 {
        let since = Clock.now().saturating_duration_since(self.begun);
        since.as_secs() * 1_000_000 + u64::from(since.subsec_micros())
    }

    /// The shape of a text that can be taken apart.
    pub(crate) fn query(&self, text: &[u8]) -> Query {
        self.table.borrow_mut().meet(text)
    }

    /// The same of a prepared one, which remembers it.
    pub(crate) fn prepared(&self, statement: &Statement) -> Query {
        let known = statement.query.get();
        let mut table = self.table.borrow_mut();
        if table.meet_known(known) {
            return known;
        }
        let query = table.meet(&statement.text);
        statement.query.set(query);
        query
    }

    /// It is sent now.
    pub(crate) fn begin(&self, query: Query, at: Whereabouts) -> Run {
        Run {
            query,
            alone: at.alone,
            elsewhere: at.on_replica,
            begun_us: self.now_us(),
        }
    }

    /// It has ended; told only if it was slow, or all are. `free_us`: when the one before it on its connection had.
    pub(crate) fn end(&self, run: Run, failed: bool, free_us: &mut u64) -> Option<Slow> {
        if run.query == Query::NONE {
            return None;
        }
        let now_us = self.now_us();
        let took_us = now_us.saturating_sub(run.begun_us.max(*free_us));
        *free_us = now_us;
        let ended = Ended {
            now_us,
            took_us,
            failed,
            alone: run.alone,
            elsewhere: run.elsewhere,
        };
        self.table.borrow_mut().end(run.query, ended);
        let is_slow = took_us >= self.slow_us.get();
        (is_slow || self.tells_all.get()).then_some(Slow {
            query: run.query,
            took_us,
            failed,
            is_slow,
        })
    }

    /// How many slow ones there were.
    pub(crate) fn slow(&self) -> u64 {
        self.slow.get()
    }

    pub(crate) fn counts(&self) -> Counts {
        let counts = self.table.borrow_mut().counts(self.now_us());
        Counts {
            slow: self.slow.get(),
            ..counts
        }
    }

    /// Seconds that [`table::Measured::recent`] covers now.
    pub(crate) fn recent_seconds(&self) -> f64 {
        table::recent_seconds(self.now_us())
    }

    /// A slow statement is written down, or counted if there are too many.
    pub(crate) fn tell_slow(&self, slow: Slow, line: &SlowLine<'_>) {
        self.slow.set(self.slow.get() + 1);
        let Some(left_out) = self.lines.take(self.now_us() / 1_000_000) else {
            return;
        };
        slow.write(&self.shown(slow.query), line, left_out);
    }

    /// A shape, without values.
    pub(crate) fn shown(&self, query: Query) -> String {
        let table = self.table.borrow();
        let shape = table.shape(query).map(|shape| fingerprint::shown(&shape.text));
        shape.unwrap_or_else(|| "(not taken apart)".to_owned())
    }
}
