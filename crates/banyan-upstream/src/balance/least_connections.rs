//! The endpoint with the fewest requests under way for its share; among equals a random one.

use super::Field;

pub(super) fn pick(field: &impl Field, random: u64) -> Option<usize> {
    let eligible = field.eligible();
    let first = (random as usize).checked_rem(eligible.len())?;
    let burden = |slot: usize| f64::from(field.outstanding(slot) + 1) / field.share(slot);
    let turn = eligible[first..].iter().chain(&eligible[..first]);
    turn.copied()
        .map(|slot| (burden(slot), slot))
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, slot)| slot)
}
