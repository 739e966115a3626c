//! Which tables were changed when, in epochs. Shared by all workers: atomics, no lock.
//!
//! Order is everything here. A writer's commit comes before its mark, its mark before its acknowledgement. The sampler closes an epoch
//! first and asks for the position then. So a position asked for after closing epoch `e` covers every commit marked with `e` or less.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::catalog::{TableId, Tables};

/// Tables share slots by oid: a collision makes a read wait for another table's write, never miss one.
const SLOTS: usize = 4_096;

/// A number that the sampler raises. 0 is before everything.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Epoch(pub u64);

#[derive(Debug)]
pub struct Marks {
    open: AtomicU64,
    slots: Box<[AtomicU64]>,
    /// Every table, those to come included.
    all: AtomicU64,
    /// Any table.
    any: AtomicU64,
    definitions: AtomicU64,
}

impl Default for Marks {
    /// As if everything had just been written: what others wrote before this process began is not known.
    fn default() -> Self {
        Self {
            open: AtomicU64::new(1),
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            all: AtomicU64::new(1),
            any: AtomicU64::new(1),
            definitions: AtomicU64::new(1),
        }
    }
}

impl Marks {
    /// Before an acknowledgement is forwarded, and when an outcome is unknown.
    pub fn mark(&self, tables: &Tables) -> Epoch {
        let epoch = self.open.load(SeqCst);
        match tables {
            Tables::All => {
                self.all.fetch_max(epoch, SeqCst);
            }
            Tables::Some(tables) => {
                for table in tables {
                    self.slots[slot(*table)].fetch_max(epoch, SeqCst);
                }
            }
        }
        if !tables.is_none() {
            self.any.fetch_max(epoch, SeqCst);
        }
        Epoch(epoch)
    }

    /// The latest epoch in which one of `tables` was changed.
    pub fn needed(&self, tables: &Tables) -> Epoch {
        match tables {
            Tables::All => Epoch(self.any.load(SeqCst)),
            Tables::Some(tables) => {
                let marked = tables
                    .iter()
                    .map(|table| self.slots[slot(*table)].load(SeqCst))
                    .max();
                // Definitions are under every read: what changes them marks all tables.
                Epoch(marked.unwrap_or(0).max(self.all.load(SeqCst)))
            }
        }
    }

    /// The epoch that is open now. A position asked for later, after it is closed, covers everything visible now.
    pub fn now(&self) -> Epoch {
        Epoch(self.open.load(SeqCst))
    }

    /// Ends the open epoch and returns it. Only the sampler's; then it asks for the position.
    pub fn close(&self) -> Epoch {
        Epoch(self.open.fetch_add(1, SeqCst))
    }

    /// Another primary: every earlier position is void, so everything counts as just written.
    pub fn reset(&self) {
        let epoch = self.open.load(SeqCst);
        self.all.fetch_max(epoch, SeqCst);
        self.any.fetch_max(epoch, SeqCst);
    }

    /// Before the acknowledgement of a change of definitions is forwarded: plans of older generations are void.
    pub fn definitions_changed(&self) {
        self.definitions.fetch_add(1, SeqCst);
    }

    /// The generation that a catalog must have, whose reading began now.
    pub fn definitions(&self) -> u64 {
        self.definitions.load(SeqCst)
    }
}

fn slot(table: TableId) -> usize {
    // The low bits of neighbouring oids differ.
    table.oid() as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(oids: &[u32]) -> Tables {
        oids.iter().map(|oid| TableId::new(*oid)).collect()
    }

    #[test]
    fn a_table_needs_its_own_last_epoch_only() {
        let marks = Marks::default();
        marks.close();
        marks.mark(&tables(&[20_000]));
        marks.close();
        marks.mark(&tables(&[20_001]));
        assert_eq!(marks.needed(&tables(&[20_000])), Epoch(2));
        assert_eq!(marks.needed(&tables(&[20_001])), Epoch(3));
        assert_eq!(
            marks.needed(&tables(&[20_002])),
            Epoch(1),
            "what was before the start"
        );
        assert_eq!(marks.needed(&Tables::All), Epoch(3));
    }

    #[test]
    fn all_tables_include_those_to_come() {
        let marks = Marks::default();
        marks.close();
        marks.mark(&Tables::All);
        assert_eq!(marks.needed(&tables(&[77_777])), Epoch(2));
        assert_eq!(marks.needed(&Tables::none()), Epoch(2));
    }

    #[test]
    fn nothing_changed_marks_nothing() {
        let marks = Marks::default();
        marks.close();
        marks.mark(&Tables::none());
        assert_eq!(marks.needed(&Tables::All), Epoch(1));
    }
}
