//! What is still to be looked at, each thing once: a statement reaches the same function by many ways, or itself.

use std::collections::HashSet;
use std::hash::Hash;

pub(super) struct Worklist<T> {
    todo: Vec<T>,
    seen: HashSet<T>,
}

impl<T: Copy + Eq + Hash> Worklist<T> {
    pub(super) fn new() -> Self {
        Self {
            todo: Vec::new(),
            seen: HashSet::new(),
        }
    }

    pub(super) fn next(&mut self) -> Option<T> {
        self.todo.pop()
    }

    /// Whether there was any, known already or not.
    pub(super) fn add_all(&mut self, items: impl Iterator<Item = T>) -> bool {
        let mut found = false;
        for item in items {
            found = true;
            if self.seen.insert(item) {
                self.todo.push(item);
            }
        }
        found
    }
}
