//! One stored response, and one that is on its way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use banyan_httpcache::purge::Marks;
use banyan_httpcache::{Extent, Head, Standing, Stored};

use super::flow::Flow;
use super::kept::Kept;
use super::weigh;

/// Of an object that was replaced.
const LEFT: u64 = u64::MAX;

pub(crate) struct Object {
    pub head: Head,
    /// What else than its URI decides: the route, and whose instances answer.
    pub side: Box<str>,
    pub body: Arc<Kept>,
    /// What it takes of the memory.
    pub weight: u64,
    /// Another edge keeps it for all that share: it has no place on this one's disk.
    pub guest: bool,
    marks: Mutex<Marks>,
    /// No purge up to this tick concerns it.
    passed: AtomicU64,
    /// The number of its file; 0: it has none, [`LEFT`]: it is to have none.
    disk: AtomicU64,
}

impl Object {
    pub(crate) fn new(mut head: Head, side: Box<str>, body: Arc<Kept>, marks: Marks) -> Self {
        head.headers = compact(&head.headers);
        let own = weigh::block(size_of::<Self>() + weigh::COUNTS) + weigh::block(side.len());
        Self {
            weight: own + body.weight() + weigh::head(&head) + weigh::block(marks.size()),
            passed: AtomicU64::new(marks.born),
            disk: AtomicU64::new(0),
            guest: false,
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

    pub(crate) fn with_guest(self, guest: bool) -> Self {
        Self { guest, ..self }
    }

    /// It was read from this file.
    pub(crate) fn of_file(self, number: u64) -> Self {
        self.disk.store(number, Ordering::Release);
        self
    }

    /// It has a file, or is to have none.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.disk.load(Ordering::Acquire) != 0
    }

    /// `false`: it was replaced before its file was there.
    pub(crate) fn lies_on_disk(&self, number: u64) -> bool {
        let first = self
            .disk
            .compare_exchange(0, number, Ordering::AcqRel, Ordering::Acquire);
        first.is_ok()
    }

    /// The number of its file, which is to go.
    pub(crate) fn leave_disk(&self) -> Option<u64> {
        let number = self.disk.swap(LEFT, Ordering::AcqRel);
        (number != 0 && number != LEFT).then_some(number)
    }

    /// The tick of the purges at which its request began.
    pub(crate) fn born(&self) -> u64 {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).born
    }

    /// The same body under another head.
    pub(crate) fn renewed(&self, head: Head, marks: Marks) -> Self {
        Self::new(head, self.side.clone(), Arc::clone(&self.body), marks).with_guest(self.guest)
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

/// The same fields without room for more, their values in one buffer that holds nothing else: as they came, they hold the
/// whole head that they were read from.
fn compact(fields: &HeaderMap) -> HeaderMap {
    let mut text = Vec::with_capacity(fields.values().map(HeaderValue::len).sum());
    fields
        .values()
        .for_each(|value| text.extend_from_slice(value.as_bytes()));
    let mut text = Bytes::from(text);
    // A copy has room for what is there, no more.
    let mut compact = fields.clone();
    for value in compact.values_mut() {
        let own = text.split_to(value.len());
        if let Ok(mut own) = HeaderValue::from_maybe_shared(own) {
            own.set_sensitive(value.is_sensitive());
            *value = own;
        }
    }
    compact
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
