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

    pub(super) fn pick(&self, field: &impl Field, key: u64) -> Option<usize> {
        let eligible = field.eligible();
        let sum = |value: &dyn Fn(usize) -> f64| eligible.iter().map(|&slot| value(slot)).sum::<f64>();
        let all = sum(&|slot| f64::from(field.outstanding(slot))) + 1.0;
        let shares = sum(&|slot| field.share(slot));
        let has_room = |slot: usize| {
            let room = (BOUND * all * field.share(slot) / shares).ceil();
            f64::from(field.outstanding(slot)) < room
        };
        let first = self.points.partition_point(|(place, _)| *place < hash::mix(key));
        let turn = self.points[first..].iter().chain(&self.points[..first]);
        let mut owners = turn
            .map(|(_, slot)| *slot)
            .filter(|slot| field.is_eligible(*slot));
        // Rooms add up to more than what is under way, so one has room; without any eligible there is no owner.
        owners.find(|slot| has_room(*slot))
    }
}
