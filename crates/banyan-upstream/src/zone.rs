//! Zone preference: endpoints near the one who picks get its requests, as far as they can carry them.
//!
//! What its own zone cannot carry spills over to all others, by their policy's shares. Policies that go by a key keep to it.

use banyan_config::{Balance, ZoneName};

use crate::balance::{hash, unit};

/// A zone with all its endpoints has room for this many times its share; so losing a few sends nothing away yet.
const ROOM: f64 = 1.4;
/// Keeps this draw apart from the policy's own.
const SALT: u64 = 0x7a6f_6e65;

/// Which part of the requests stays in the zone: `eligible` of its `active` endpoints can be picked.
pub fn local_share(eligible: usize, active: usize) -> f64 {
    if active == 0 {
        return 0.0;
    }
    (ROOM * eligible as f64 / active as f64).min(1.0)
}

/// The eligible endpoints, apart. Only there while both sides have some and the policy may choose.
#[derive(Debug)]
pub(crate) struct Sides {
    near: Vec<usize>,
    far: Vec<usize>,
    share: f64,
}

impl Sides {
    /// `active`: all that are not draining, by zone; `eligible`: slots that may be picked, ascending.
    pub(crate) fn of<'a>(
        own: Option<&ZoneName>,
        balance: Balance,
        active: impl Iterator<Item = Option<&'a ZoneName>>,
        eligible: &[usize],
        zone: impl Fn(usize) -> Option<&'a ZoneName>,
    ) -> Option<Self> {
        let own = own?;
        if matches!(balance, Balance::IpHash | Balance::Ring) {
            return None;
        }
        let active = active.filter(|zone| *zone == Some(own)).count();
        let (near, far): (Vec<_>, Vec<_>) = eligible.iter().partition(|slot| zone(**slot) == Some(own));
        let share = local_share(near.len(), active);
        (!near.is_empty() && !far.is_empty()).then_some(Self { near, far, share })
    }

    pub(crate) fn near(&self) -> &[usize] {
        &self.near
    }

    pub(crate) fn far(&self) -> &[usize] {
        &self.far
    }

    /// Whether a request with this number stays in the zone.
    pub(crate) fn stays(&self, random: u64) -> bool {
        unit(hash::both(random, SALT)) < self.share
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_zone_keeps_all_until_it_lacks_more_than_two_of_seven(active in 1_usize..50, lost in 0_usize..50) {
            let eligible = active.saturating_sub(lost);
            let share = local_share(eligible, active);
            prop_assert!((0.0..=1.0).contains(&share));
            prop_assert_eq!(share >= 1.0, eligible * 7 >= active * 5);
            prop_assert_eq!(share == 0.0, eligible == 0);
            // Never more per endpoint than 1.4 times what each has when all are there.
            prop_assert!(eligible == 0 || share / eligible as f64 <= 1.4 / active as f64 + 1e-12);
            prop_assert!(local_share(eligible + 1, active) >= share);
        }
    }

    #[test]
    fn a_zone_without_endpoints_keeps_nothing() {
        assert_eq!(local_share(0, 0), 0.0);
    }
}
