//! Equal values share one allocation, so that "is it the same" is a comparison of pointers.

use std::collections::HashSet;
use std::hash::Hash;
use std::rc::Rc;

pub(crate) struct Interner<T> {
    values: HashSet<Rc<T>>,
    /// Unused values are dropped when there are this many.
    sweep_at: usize,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self {
            values: HashSet::new(),
            sweep_at: 64,
        }
    }
}

impl<T: Hash + Eq> Interner<T> {
    pub(crate) fn intern(&mut self, value: T) -> Rc<T> {
        if let Some(known) = self.values.get(&value) {
            return Rc::clone(known);
        }
        if self.values.len() >= self.sweep_at {
            self.values.retain(|value| Rc::strong_count(value) > 1);
            self.sweep_at = (self.values.len() * 2).max(64);
        }
        let value = Rc::new(value);
        self.values.insert(Rc::clone(&value));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_unused_ones_go() {
        let mut interner = Interner::default();
        let first = interner.intern(1);
        assert!(Rc::ptr_eq(&first, &interner.intern(1)));
        for value in 2..1000 {
            interner.intern(value);
        }
        assert!(interner.values.len() <= 65, "{}", interner.values.len());
        assert!(Rc::ptr_eq(&first, &interner.intern(1)));
    }
}
