//! Ids of users and posts: 41 bits of milliseconds since 2025, 12 of the process's node number, 10 of a sequence.
//!
//! Minted in the process, so a row's id and its slug are known before it is written, on whatever database it will live.
//! The clock may stand still or step back: the id then continues from the last one, never repeats.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// 2025-01-01T00:00:00Z.
pub(crate) const EPOCH_UNIX_MS: u64 = 1_735_689_600_000;
const NODE_BITS: u32 = 12;
const SEQUENCE_BITS: u32 = 10;

pub(crate) struct Ids {
    node: u64,
    /// Milliseconds and sequence of the last id.
    last: AtomicU64,
}

impl Ids {
    pub(crate) fn new(node: u16) -> Self {
        Self {
            node: u64::from(node) % (1 << NODE_BITS),
            last: AtomicU64::new(0),
        }
    }

    pub(crate) fn next(&self) -> i64 {
        self.next_at(now_ms())
    }

    fn next_at(&self, now_ms: u64) -> i64 {
        let floor = now_ms << SEQUENCE_BITS;
        let following = |last: u64| floor.max(last + 1);
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(following(last)))
            .expect("the update is never refused");
        let minted = following(last);
        compose(minted >> SEQUENCE_BITS, self.node, minted % (1 << SEQUENCE_BITS))
    }
}

/// `ms` counts from 2025.
pub(crate) fn compose(ms: u64, node: u64, sequence: u64) -> i64 {
    let id = ms << (NODE_BITS + SEQUENCE_BITS) | node << SEQUENCE_BITS | sequence;
    i64::try_from(id).expect("41 bits of milliseconds last until 2094")
}

#[expect(clippy::disallowed_methods, reason = "the app's one reading of the clock")]
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let ms = u64::try_from(since.unwrap_or(Duration::ZERO).as_millis()).unwrap_or(u64::MAX);
    ms.saturating_sub(EPOCH_UNIX_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_even_when_the_clock_stands_or_steps_back() {
        let ids = Ids::new(7);
        let times = [5, 5, 5, 4, 1, 6, 6].into_iter().chain([6; 3000]).chain([2, 20]);
        let minted: Vec<i64> = times.map(|ms| ids.next_at(ms)).collect();
        assert!(minted.is_sorted_by(|a, b| a < b));
        assert!(minted.iter().all(|id| (id >> SEQUENCE_BITS) & 0xfff == 7));
    }

    #[test]
    fn nodes_mint_different_ids_in_the_same_millisecond() {
        assert_ne!(Ids::new(1).next_at(5), Ids::new(2).next_at(5));
    }
}
