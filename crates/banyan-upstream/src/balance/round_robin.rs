//! Each eligible endpoint in turn.

/// Remembers where it stands in a list whose length and eligibility may change between picks.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin {
    next: usize,
}

impl RoundRobin {
    /// Cores that start at different places do not send their first requests to the same endpoint.
    pub fn starting_at(next: usize) -> Self {
        Self { next }
    }

    /// The index of the next eligible one of `count`; `None` when none is.
    pub fn pick(&mut self, count: usize, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        let start = if self.next < count {
            self.next
        } else {
            self.next.checked_rem(count)?
        };
        let found = (start..count).chain(0..start).find(|index| eligible(*index))?;
        self.next = found + 1;
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn over_n_rounds_every_eligible_endpoint_gets_n(
            eligible in prop::collection::vec(any::<bool>(), 1..20), rounds in 1_usize..10, start in 0_usize..50,
        ) {
            let ready = eligible.iter().filter(|e| **e).count();
            let mut robin = RoundRobin::starting_at(start);
            let mut got = vec![0; eligible.len()];
            for _ in 0..rounds * ready {
                got[robin.pick(eligible.len(), |i| eligible[i]).unwrap()] += 1;
            }
            for (count, eligible) in got.iter().zip(&eligible) {
                prop_assert_eq!(*count, if *eligible { rounds } else { 0 });
            }
        }

        #[test]
        fn none_eligible_gives_none(count in 0_usize..20, start in 0_usize..50) {
            prop_assert_eq!(RoundRobin::starting_at(start).pick(count, |_| false), None);
        }
    }
}
