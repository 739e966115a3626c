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

/// Whose requests a limit counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u128);

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
    /// Of `who` for the limit of this name.
    pub(crate) fn key(&self, limit: &str, who: &[u8]) -> Key {
        let [high, low] = [0, 1].map(|n| self.hashers[n].hash_one((limit, who)));
        Key(u128::from(high) << 64 | u128::from(low))
    }

    /// Counts one request. `now`: nanoseconds since a start that all cores share.
    pub(crate) fn judge(&self, key: Key, rule: &Rule, now: u64) -> Verdict {
        self.at(key, now, |whole_at| rule.judge(whole_at, now))
    }

    /// Counts one request that was counted by another rule before, by this one in its place.
    pub(crate) fn judge_again(&self, key: Key, before: &Rule, rule: &Rule, now: u64) -> Verdict {
        self.at(key, now, |whole_at| {
            before.take_back(whole_at);
            rule.judge(whole_at, now)
        })
    }

    /// Somebody else knows better when it is whole.
    pub(crate) fn learn(&self, key: Key, whole_at: u64, now: u64) {
        self.at(key, now, |known| *known = whole_at);
    }

    fn at<T>(&self, key: Key, now: u64, work: impl FnOnce(&mut u64) -> T) -> T {
        let Key(key) = key;
        let shard = &self.shards[key as u64 as usize % SHARDS];
        // Nothing under the lock can panic half-way.
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(whole_at) = shard.keys.get_mut(&key) {
            return work(whole_at);
        }
        shard.make_room(now);
        work(shard.keys.entry(key).or_default())
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
            buckets.judge(buckets.key(limit, who.as_bytes()), &rule(1, 2), now),
            Verdict::Pass(_)
        )
    }

    #[test]
    fn what_was_counted_by_one_rule_counts_by_another_in_its_place_and_others_may_know_better() {
        let buckets = Buckets::default();
        let (key, whole) = (buckets.key("l", b"k"), rule(1, 4));
        let share = whole.share(2);
        let second = 1_000_000_000;
        let start = 100 * second;
        for (n, passes) in [true, true, false].into_iter().enumerate() {
            let mut own = 0;
            assert!(matches!(whole.judge(&mut own, start), Verdict::Pass(_)));
            buckets.judge(key, &whole, start);
            let again = buckets.judge_again(key, &whole, &share, start);
            assert_eq!(matches!(again, Verdict::Pass(_)), passes, "{n}");
        }
        buckets.learn(key, start, start);
        assert!(matches!(buckets.judge(key, &whole, start), Verdict::Pass(_)));
        buckets.learn(key, start + 4 * second, start);
        assert_eq!(
            buckets.judge(key, &whole, start),
            Verdict::Refuse(whole.standing_in(4 * second), second)
        );
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
                let pass =
                    |_: &u32| matches!(buckets.judge(buckets.key("l", b"k"), &rule, 7), Verdict::Pass(_));
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
