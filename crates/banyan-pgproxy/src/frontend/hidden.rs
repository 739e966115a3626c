//! What a client's statements may leave in its session by code that does not show in their text: functions, triggers, views.

use std::sync::Arc;

use tokio::sync::watch;

use super::client::Client;
use crate::catalog::Catalog;
use crate::catalog::leaves::Leaves;
use crate::fresh::Fresh;
use crate::session::marks::Marks;
use crate::session::scan::Scan;

/// A worker's view of what definitions say.
pub(crate) struct Definitions {
    changes: watch::Receiver<Option<Arc<Catalog>>>,
    leaves: Arc<Leaves>,
    /// 0: nothing has been read.
    generation: u64,
}

impl Definitions {
    pub(crate) fn new(fresh: &Fresh) -> Self {
        let mut changes = fresh.catalogs();
        changes.mark_changed();
        Self {
            changes,
            leaves: Arc::default(),
            generation: 0,
        }
    }

    /// `None`: they have changed since they were read.
    fn current(&mut self, fresh: &Fresh) -> Option<&Leaves> {
        if self.changes.has_changed().unwrap_or(false)
            && let Some(catalog) = &*self.changes.borrow_and_update()
        {
            self.generation = catalog.generation();
            self.leaves = Arc::clone(catalog.leaves());
        }
        (self.generation == fresh.marks.definitions()).then_some(&*self.leaves)
    }
}

impl Client {
    /// What a statement with this text may leave; `None`: nothing.
    pub(super) fn left_by(&self, text: &[u8]) -> Option<Scan> {
        self.left(|leaves| leaves.left_by(text))
    }

    /// The same of a statement whose text is not known.
    pub(super) fn left_by_anything(&self) -> Option<Scan> {
        self.left(|leaves| leaves.anything().clone())
    }

    fn left(&self, by: impl FnOnce(&Leaves) -> Scan) -> Option<Scan> {
        let mut definitions = self.worker.definitions.borrow_mut();
        // Definitions of an open transaction nobody else can read.
        let open = self.session.marks.has(Marks::DEFINITIONS);
        let current = definitions.current(&self.worker.fresh);
        let known = current.is_some() && !open;
        if known && definitions.leaves.is_empty() {
            return None;
        }
        let leaves = &definitions.leaves;
        let mut left = by(leaves);
        if !known {
            left.absorb(leaves.anything());
            left.doubt(Marks::HIDDEN);
            if !open {
                left.doubt(Marks::UNREAD);
            }
        } else if self.session.pins.has(Marks::TEMPORARY) {
            // Temporary objects are not among what was read.
            left.absorb(leaves.anything());
        }
        (!left.marks.is_none()).then_some(left)
    }

    /// Something that no scan tells of is about to be sent.
    pub(super) fn note_anything(&mut self) {
        if let Some(left) = self.left_by_anything() {
            self.note(&left);
        }
    }
}
