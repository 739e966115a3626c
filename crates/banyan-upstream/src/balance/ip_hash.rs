//! The same client address, the same endpoint: rendezvous hashing.
//!
//! Each endpoint draws a number from its name and the key; the best draw wins. When one leaves, only its keys move; when
//! one comes (or warms up), keys move only to it.

use super::{Field, hash, unit};

/// `names` by slot.
pub(super) fn pick(field: &impl Field, names: &[u64], key: u64) -> Option<usize> {
    let draw = |slot: usize| {
        let number = unit(hash::both(names[slot], key)).max(f64::MIN_POSITIVE);
        -number.ln() / field.warmth(slot)
    };
    let draws = field.eligible().iter().map(|&slot| (draw(slot), slot));
    draws.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, slot)| slot)
}
