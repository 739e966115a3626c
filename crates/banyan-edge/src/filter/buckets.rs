//! The state of every rate limit's keys, for all cores: exact, and of bounded size.
//!
//! One table in 64 shards, each behind a lock that is held for one look-up and some arithmetic. Only requests of routes with a
//! limit come here. A key is 128 bits of a keyed hash of the limit's name and whatever it counts by, so nobody can
//! aim at another's key or fill a shard, and no address or token is kept. See docs/decisions for why it is shared.
//!
//! Limits: a million keys that are not whole (about 60 MB). Keys that are whole are forgotten: that changes nothing. Past
//! the bound a new key takes the place of one that owes little, which is then as a new client.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use super::gcra::{Rule, Verdict};

const SHARDS: usize = 64;
const KEYS_PER_SHARD: usize = 16 * 1024;
/// A shard with fewer keys is not swept.
const SWEEP_FROM: usize = 256;
/// A full shard is swept no more often than this, in nanoseconds.
const SWEEP_EVERY: u64 = 1_000_000_000;
/// Of how many the one that owes least goes, when all owe.
const SAMPLE: usize = 8;

pub(crate) struct Buckets {
    shards: Vec<Mutex<Shard>>,
    hashers: [RandomState; 2],
}

#[derive(Default)]
struct Shard {
    /// When each key is whole again.
    keys: HashMap<u128, u64>,
    sweep_at: usize,
    swept: u64,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hashers: [RandomState::new(), RandomState::new()],
        }
    }
}

impl Buckets {
    /// Counts one request of `who` against the limit of this name. `now`: nanoseconds since a start that all cores share.
    pub(crate) fn judge(&self, limit: &str, who: &[u8], rule: &Rule, now: u64) -> Verdict {
        let [high, low] = [0, 1].map(|n| self.hashers[n].hash_one((limit, who)));
        let shard = &self.shards[low as usize % SHARDS];
        // Nothing under the lock can panic half-way.
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let key = u128::from(high) << 64 | u128::from(low);
        if let Some(whole_at) = shard.keys.get_mut(&key) {
            return rule.judge(whole_at, now);
        }
        shard.make_room(now);
        rule.judge(shard.keys.entry(key).or_default(), now)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let count = |shard: &Mutex<Shard>| shard.lock().unwrap().keys.len();
        self.shards.iter().map(count).sum()
    }
}

impl Shard {
    /// For one more key.
    fn make_room(&mut self, now: u64) {
        if self.keys.len() < self.sweep_at.max(SWEEP_FROM) {
            return;
        }
        let full = self.keys.len() >= KEYS_PER_SHARD;
        if !full || now.saturating_sub(self.swept) >= SWEEP_EVERY {
            self.keys.retain(|_, whole_at| *whole_at > now);
            self.swept = now;
            self.sweep_at = (self.keys.len() * 2).min(KEYS_PER_SHARD);
        }
        if self.keys.len() >= KEYS_PER_SHARD {
            let some = self.keys.iter().take(SAMPLE);
            let least = some.min_by_key(|(_, whole_at)| **whole_at).map(|(key, _)| *key);
            least.map(|key| self.keys.remove(&key));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use banyan_config::{RateBy, RateLimit};

    use super::*;

    fn rule(count: u32, burst: u32) -> Rule {
        Rule::of(&RateLimit {
            name: "t".to_owned(),
            count,
            per: Duration::from_secs(1),
            burst,
            by: RateBy::Ip,
        })
    }

    fn passes(buckets: &Buckets, limit: &str, who: &str, now: u64) -> bool {
        matches!(
            buckets.judge(limit, who.as_bytes(), &rule(1, 2), now),
            Verdict::Pass(_)
        )
    }

    #[test]
    fn keys_and_limits_are_counted_apart() {
        let buckets = Buckets::default();
        for (limit, who) in [("a", "1"), ("a", "2"), ("b", "1")] {
            let three = [0; 3].map(|_| passes(&buckets, limit, who, 5));
            assert_eq!(three, [true, true, false], "{limit} {who}");
        }
    }

    #[test]
    fn threads_together_get_exactly_the_burst() {
        let (buckets, rule) = (Buckets::default(), rule(1, 1000));
        let counted: usize = std::thread::scope(|scope| {
            let count = || {
                let pass = |_: &u32| matches!(buckets.judge("l", b"k", &rule, 7), Verdict::Pass(_));
                (0..1000_u32).filter(pass).count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(counted, 1000);
    }

    #[test]
    fn whole_keys_are_forgotten_and_owing_ones_are_bounded() {
        let buckets = Buckets::default();
        // One per millisecond: each is whole after a second, so about a thousand owe at any time.
        for n in 0..100_000_u64 {
            assert!(passes(&buckets, "l", &n.to_string(), n * 1_000_000));
        }
        assert!(buckets.len() <= SHARDS * SWEEP_FROM, "{}", buckets.len());
        let mut shard = Shard::default();
        for n in 0..KEYS_PER_SHARD as u128 + 5_000 {
            shard.make_room(9);
            shard.keys.insert(n, 10);
        }
        assert_eq!(shard.keys.len(), KEYS_PER_SHARD);
    }
}
