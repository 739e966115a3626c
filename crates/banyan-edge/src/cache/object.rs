//! One stored response, and one that is on its way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use banyan_httpcache::purge::Marks;
use banyan_httpcache::{Extent, Head, Standing, Stored};

use super::flow::Flow;
use super::kept::Kept;

/// Beside fields and body: tables, counters, places in queues.
const OVERHEAD: u64 = 600;

pub(crate) struct Object {
    pub head: Head,
    /// What else than its URI decides: the route, and whose instances answer.
    pub side: Box<str>,
    pub body: Arc<Kept>,
    /// What it takes of the memory.
    pub weight: u64,
    marks: Mutex<Marks>,
    /// No purge up to this tick concerns it.
    passed: AtomicU64,
}

impl Object {
    pub(crate) fn new(head: Head, side: Box<str>, body: Arc<Kept>, marks: Marks) -> Self {
        let fields: usize = head
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 32)
            .sum();
        Self {
            weight: body.length() + fields as u64 + OVERHEAD,
            passed: AtomicU64::new(marks.born),
            side,
            head,
            body,
            marks: Mutex::new(marks),
        }
    }

    /// Purges reach what is made of it as they reach it.
    pub(crate) fn marks(&self) -> Marks {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Made here of another one.
    pub(crate) fn is_made(&self) -> bool {
        self.side.contains(super::pictures::SIDE)
    }

    /// The same body under another head.
    pub(crate) fn renewed(&self, head: Head, marks: Marks) -> Self {
        Self::new(head, self.side.clone(), Arc::clone(&self.body), marks)
    }

    /// `judge` is asked only when there was a purge since the last time.
    pub(crate) fn standing(&self, tick: u64, judge: impl FnOnce(&mut Marks) -> Standing) -> Standing {
        if self.passed.load(Ordering::Acquire) == tick {
            return Standing::Sound;
        }
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = judge(&mut marks);
        if standing == Standing::Sound {
            self.passed.store(tick, Ordering::Release);
        }
        standing
    }

    pub(crate) fn stored(&self, standing: Standing) -> Stored<'_> {
        Stored {
            head: &self.head,
            standing,
            length: self.body.length(),
        }
    }

    /// Length of the whole that it is, or is a part of.
    pub(crate) fn total(&self) -> u64 {
        self.stored(Standing::Sound).total()
    }
}

/// A response that will be stored if its body ends as it should.
pub(crate) struct Coming {
    pub head: Head,
    pub flow: Arc<Flow>,
    /// Of the whole, if the origin said.
    pub length: Option<u64>,
    /// By which a purge reaches it.
    pub marks: Marks,
}

impl Coming {
    /// Where its body begins in the whole.
    pub(crate) fn first(&self) -> u64 {
        match &self.head.extent {
            Extent::Whole => 0,
            Extent::Parts { spans, .. } => spans.first().map_or(0, |span| span.first),
        }
    }
}
