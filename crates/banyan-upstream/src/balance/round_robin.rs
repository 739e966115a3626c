//! Each eligible endpoint in turn; one in its slow start is passed over most of the time.

use super::{Field, hash, unit};

/// Remembers where it stands in a list whose length and eligibility may change between picks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RoundRobin {
    next: usize,
}

impl RoundRobin {
    pub(crate) fn starting_at(next: usize) -> Self {
        Self { next }
    }

    pub(super) fn pick(&mut self, field: &impl Field, random: u64) -> Option<usize> {
        let eligible = field.eligible();
        let first = eligible.partition_point(|slot| *slot < self.next);
        let turn = eligible[first..].iter().chain(&eligible[..first]).copied();
        let mut turn = turn.enumerate();
        let warm = turn.find(|(step, slot)| {
            let warmth = field.warmth(*slot);
            warmth >= 1.0 || unit(hash::both(random, *step as u64)) < warmth
        });
        let found = match warm {
            Some((_, slot)) => slot,
            None => *eligible.get(first).or(eligible.first())?,
        };
        self.next = found + 1;
        Some(found)
    }
}
