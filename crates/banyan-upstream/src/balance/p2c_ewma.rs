//! Of two random endpoints the one that is expected to answer sooner: peak EWMA of its latency × requests under way.
//!
//! The latencies of the two count only up to a factor of 4: a slow answer must not starve an endpoint for as long as its
//! memory lasts. One whose latency is not known yet is judged by its load alone.

use super::Field;

const SKEW: f64 = 4.0;

pub(super) fn pick(field: &impl Field, random: u64) -> Option<usize> {
    let eligible = field.eligible();
    let count = eligible.len();
    if count < 2 {
        return eligible.first().copied();
    }
    let (low, high) = (random & 0xffff_ffff, random >> 32);
    let one = ((low * count as u64) >> 32) as usize;
    let other = ((high * (count as u64 - 1)) >> 32) as usize;
    let (a, b) = (eligible[one], eligible[other + usize::from(other >= one)]);
    let (latency_a, latency_b) = latencies(field.latency(a), field.latency(b));
    let cost =
        |slot: usize, latency: f64| latency * f64::from(field.outstanding(slot) + 1) / field.share(slot);
    Some(if cost(b, latency_b) < cost(a, latency_a) {
        b
    } else {
        a
    })
}

fn latencies(a: Option<f64>, b: Option<f64>) -> (f64, f64) {
    match (a, b) {
        (Some(a), Some(b)) => (a.min(b * SKEW), b.min(a * SKEW)),
        _ => (1.0, 1.0),
    }
}
