//! Consistent hash with bounded load: the same key, the same endpoint, but none gets more than 1.25 times its share.
//!
//! When an endpoint leaves, only its keys move; when one comes, keys move only to it. Keys of a full endpoint overflow
//! to the next on the ring.

use super::{Field, Named, hash};

const BOUND: f64 = 1.25;
/// Points on the ring for a weight of 1: shares of the keys differ by less than about 20 %.
const POINTS: f64 = 160.0;

#[derive(Clone, Debug)]
pub(crate) struct Ring {
    /// Sorted by place on the ring, with the slot that owns it.
    points: Vec<(u64, usize)>,
}

impl Ring {
    pub(crate) fn new(slots: &[Named]) -> Self {
        let mut points: Vec<_> = slots
            .iter()
            .enumerate()
            .flat_map(|(slot, named)| {
                let count = (named.weight * POINTS).ceil() as u64;
                (0..count).map(move |number| (hash::both(named.name, number), slot))
            })
            .collect();
        points.sort_unstable();
        Self { points }
    }

    /// Slots in the order of the ring, each several times; the first is the key's.
    fn from(&self, key: u64) -> impl Iterator<Item = usize> {
        let first = self.points.partition_point(|(place, _)| *place < hash::mix(key));
        let turn = self.points[first..].iter().chain(&self.points[..first]);
        turn.map(|(_, slot)| *slot)
    }

    pub(super) fn pick(&self, field: &impl Field, key: u64) -> Option<usize> {
        let eligible = field.eligible();
        let sum = |value: &dyn Fn(usize) -> f64| eligible.iter().map(|&slot| value(slot)).sum::<f64>();
        let all = sum(&|slot| f64::from(field.outstanding(slot))) + 1.0;
        let shares = sum(&|slot| field.share(slot));
        let has_room = |slot: usize| {
            let room = (BOUND * all * field.share(slot) / shares).ceil();
            f64::from(field.outstanding(slot)) < room
        };
        let mut owners = self.from(key).filter(|slot| field.is_eligible(*slot));
        // Rooms add up to more than what is under way, so one has room; without any eligible there is no owner.
        owners.find(|slot| has_room(*slot))
    }
}

/// Who among some has what, alike wherever it is worked out: by their names alone, without a bound on anybody's share.
#[derive(Clone, Debug)]
pub struct Owners(Ring);

impl Owners {
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let named = names.into_iter().map(|name| Named {
            name: hash::bytes(name.as_bytes()),
            weight: 1.0,
        });
        Self(Ring::new(&named.collect::<Vec<_>>()))
    }

    /// The number of the name that has this key, among those that are there; `None`: nobody is.
    pub fn of(&self, key: u64, is_there: impl Fn(usize) -> bool) -> Option<usize> {
        self.0.from(key).find(|name| is_there(*name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_keys_of_one_that_is_gone_move_and_all_have_their_share() {
        let owners = Owners::new(["edge", "south", "west"]);
        let mut shares = [0; 3];
        for key in (0..3000).map(hash::mix) {
            let owner = owners.of(key, |_| true).unwrap();
            shares[owner] += 1;
            let without = owners.of(key, |name| name != 1).unwrap();
            assert_eq!(without == owner, owner != 1);
            assert_ne!(without, 1);
        }
        assert!(
            shares.iter().all(|share| (700..1300).contains(share)),
            "{shares:?}"
        );
        assert_eq!(owners.of(7, |_| false), None);
    }
}
