//! Figures by shape: bounded, the shapes that were not met for the longest make room for others.
//!
//! What makes room goes on counting as "other", by operation, so that sums only grow.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use banyan_telemetry::Spread;

use super::fingerprint::{Operation, Shape, quick};

/// Shapes that are counted by themselves.
pub(crate) const SHAPES: usize = 500;
/// Texts of the same shape that are told apart without writing their template; at the bound all are forgotten.
const ALIASES: usize = 8 * 1024;
/// Longer shapes are cut.
const SHOWN: usize = 4 * 1024;
const SLOT_BITS: u32 = 9;
const WINDOW_US: u64 = 60_000_000;

/// A shape that is in the table; or 0, nothing, and 1, any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(u32);

impl Query {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const OTHER: Self = Self(1);

    fn new(generation: u32, slot: usize) -> Self {
        Self(generation << SLOT_BITS | slot as u32)
    }

    fn slot(self) -> usize {
        (self.0 & ((1 << SLOT_BITS) - 1)) as usize
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) spread: Spread,
    pub(crate) errors: u64,
    /// Outside a transaction.
    pub(crate) alone: u64,
    /// On a replica.
    pub(crate) elsewhere: u64,
}

impl Figures {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.spread.merge(&other.spread);
        self.errors += other.errors;
        self.alone += other.alone;
        self.elsewhere += other.elsewhere;
    }
}

/// One that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) now_us: u64,
    pub(super) took_us: u64,
    pub(super) failed: bool,
    pub(super) alone: bool,
    pub(super) elsewhere: bool,
}

struct Entry {
    query: Query,
    shape: Shape,
    operation: Operation,
    /// When it was met last, counted in statements.
    met: u64,
    figures: Figures,
    /// The window that `now` is of; `before` is of the one before.
    window: u64,
    now: Spread,
    before: Spread,
}

/// What is known of a shape.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) shape: Shape,
    pub(crate) operation: Operation,
    pub(crate) figures: Figures,
    /// Of the last one to two minutes.
    pub(crate) recent: Spread,
}

impl Measured {
    /// The same shape of another worker.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.figures.merge(&other.figures);
        self.recent.merge(&other.recent);
    }
}

/// What one worker has measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) shapes: Vec<Measured>,
    /// Of all other statements, by operation.
    pub(crate) others: [Figures; Operation::COUNT],
    /// Slow ones.
    pub(crate) slow: u64,
}

/// Its keys are hashes.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[derive(Default)]
pub(super) struct Table {
    aliases: HashMap<u64, Query, BuildHasherDefault<Same>>,
    by_key: HashMap<u64, usize, BuildHasherDefault<Same>>,
    entries: Vec<Entry>,
    others: [Figures; Operation::COUNT],
    generation: u32,
    met: u64,
    buffer: Vec<u8>,
}

impl Table {
    /// The shape of `text`, which is met now.
    pub(super) fn meet(&mut self, text: &[u8]) -> Query {
        let hash = quick(text);
        if let Some(known) = hash.and_then(|hash| self.aliases.get(&hash)).copied()
            && self.meet_known(known)
        {
            return known;
        }
        let query = self.look(text);
        if let Some(hash) = hash
            && query != Query::OTHER
        {
            if self.aliases.len() >= ALIASES {
                self.aliases.clear();
            }
            self.aliases.insert(hash, query);
        }
        query
    }

    /// `false`: it is in the table no more.
    pub(super) fn meet_known(&mut self, query: Query) -> bool {
        let entry = self
            .entries
            .get_mut(query.slot())
            .filter(|entry| entry.query == query);
        let Some(entry) = entry else { return false };
        self.met += 1;
        entry.met = self.met;
        true
    }

    fn look(&mut self, text: &[u8]) -> Query {
        let Ok(shape) = Shape::of(text, &mut self.buffer) else {
            return Query::OTHER;
        };
        if shape.text.is_empty() {
            return Query::OTHER;
        }
        if let Some(slot) = self.by_key.get(&shape.key) {
            let query = self.entries[*slot].query;
            self.meet_known(query);
            return query;
        }
        self.add(shape, Operation::of(text))
    }

    fn add(&mut self, mut shape: Shape, operation: Operation) -> Query {
        if shape.text.len() > SHOWN {
            let end = (0..=SHOWN).rev().find(|end| shape.text.is_char_boundary(*end));
            shape.text.truncate(end.unwrap_or(0));
            shape.text.shrink_to_fit();
        }
        let slot = self.free_slot();
        self.generation = (self.generation + 1) & ((1 << (32 - SLOT_BITS)) - 1);
        // 0 is for what is no shape.
        self.generation = self.generation.max(1);
        self.met += 1;
        let entry = Entry {
            query: Query::new(self.generation, slot),
            operation,
            met: self.met,
            figures: Figures::default(),
            window: 0,
            now: Spread::default(),
            before: Spread::default(),
            shape,
        };
        let query = entry.query;
        self.by_key.insert(entry.shape.key, slot);
        if slot == self.entries.len() {
            self.entries.push(entry);
        } else {
            self.entries[slot] = entry;
        }
        query
    }

    /// What was met least recently makes room.
    fn free_slot(&mut self) -> usize {
        if self.entries.len() < SHAPES {
            return self.entries.len();
        }
        let oldest = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.met);
        let Some((slot, entry)) = oldest else { return 0 };
        self.others[entry.operation.index()].merge(&entry.figures);
        self.by_key.remove(&entry.shape.key);
        slot
    }

    pub(super) fn end(&mut self, query: Query, ended: Ended) {
        let entry = self
            .entries
            .get_mut(query.slot())
            .filter(|entry| entry.query == query);
        let figures = match entry {
            Some(entry) => {
                entry.roll(ended.now_us);
                entry.now.record(ended.took_us);
                &mut entry.figures
            }
            None => &mut self.others[Operation::OTHER.index()],
        };
        figures.spread.record(ended.took_us);
        figures.errors += u64::from(ended.failed);
        figures.alone += u64::from(ended.alone);
        figures.elsewhere += u64::from(ended.elsewhere);
    }

    pub(super) fn shape(&self, query: Query) -> Option<&Shape> {
        let entry = self
            .entries
            .get(query.slot())
            .filter(|entry| entry.query == query);
        entry.map(|entry| &entry.shape)
    }

    pub(super) fn counts(&mut self, now_us: u64) -> Counts {
        let measured = |entry: &mut Entry| {
            entry.roll(now_us);
            let mut recent = entry.now.clone();
            recent.merge(&entry.before);
            Measured {
                shape: entry.shape.clone(),
                operation: entry.operation,
                figures: entry.figures.clone(),
                recent,
            }
        };
        Counts {
            shapes: self.entries.iter_mut().map(measured).collect(),
            others: self.others.clone(),
            slow: 0,
        }
    }
}

impl Entry {
    fn roll(&mut self, now_us: u64) {
        let window = now_us / WINDOW_US;
        if window != self.window {
            let now = std::mem::take(&mut self.now);
            self.before = if window == self.window + 1 {
                now
            } else {
                Spread::default()
            };
            self.window = window;
        }
    }
}

/// How long the last windows are, so that rates are right from the first second on.
pub(crate) fn recent_seconds(now_us: u64) -> f64 {
    let window = WINDOW_US.min(now_us / WINDOW_US * WINDOW_US);
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    let us = (window + now_us % WINDOW_US) as f64;
    us / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(now_us: u64, took_us: u64) -> Ended {
        Ended {
            now_us,
            took_us,
            failed: false,
            alone: true,
            elsewhere: false,
        }
    }

    fn run(table: &mut Table, text: &str, now_us: u64) {
        let query = table.meet(text.as_bytes());
        table.end(query, ended(now_us, 100));
    }

    #[test]
    fn what_is_used_stays_when_thousands_of_others_pass_and_no_count_is_lost() {
        let mut table = Table::default();
        for at in 0..3_000_u64 {
            run(&mut table, &format!("SELECT {at} FROM used WHERE a = {at}"), at);
            run(&mut table, &format!("SELECT * FROM t{at}"), at);
        }
        let counts = table.counts(3_000);
        assert_eq!(counts.shapes.len(), SHAPES);
        let used = counts
            .shapes
            .iter()
            .find(|one| one.shape.text.contains("used"))
            .expect("kept");
        assert_eq!(used.figures.spread.count(), 3_000);
        let all: u64 = counts.shapes.iter().map(|one| one.figures.spread.count()).sum();
        let others: u64 = counts.others.iter().map(|figures| figures.spread.count()).sum();
        assert_eq!(all + others, 6_000);
    }

    #[test]
    fn one_that_made_room_while_it_ran_counts_as_other() {
        let mut table = Table::default();
        let query = table.meet(b"SELECT * FROM first");
        for at in 0..SHAPES {
            table.meet(format!("SELECT * FROM t{at}").as_bytes());
        }
        table.end(query, ended(1, 7));
        assert_eq!(table.shape(query), None);
        let counts = table.counts(1);
        assert_eq!(counts.others[Operation::OTHER.index()].spread.sum_us(), 7);
    }

    #[test]
    fn recent_is_of_the_last_two_windows() {
        let mut table = Table::default();
        for minute in [0, 1, 5, 6, 6] {
            run(&mut table, "SELECT 1", minute * WINDOW_US);
        }
        let recent =
            |table: &mut Table, minute: u64| table.counts(minute * WINDOW_US).shapes[0].recent.count();
        assert_eq!(recent(&mut table, 6), 3);
        assert_eq!(recent(&mut table, 7), 2);
        assert_eq!(recent(&mut table, 8), 0);
        assert_eq!(table.counts(9).shapes[0].figures.spread.count(), 5);
        assert!((recent_seconds(5_000_000) - 5.0).abs() < 1e-9);
        assert!((recent_seconds(WINDOW_US * 3 + 5_000_000) - 65.0).abs() < 1e-9);
    }

    #[test]
    fn texts_of_one_shape_and_of_escapes_meet_in_one_entry() {
        let mut table = Table::default();
        let first = table.meet(b"SELECT * FROM t WHERE a = 'x'");
        assert_eq!(first, table.meet(b"SELECT * FROM t WHERE a = E'it\\'s'"));
        assert_eq!(first, table.meet(b"SELECT * FROM t  WHERE a = $$x$$ -- c"));
        assert_eq!(table.meet(b"SELECT 'open"), Query::OTHER);
        assert_eq!(table.meet(b" ; ").slot(), table.meet(b";").slot());
    }
}
