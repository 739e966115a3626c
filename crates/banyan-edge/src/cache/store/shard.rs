//! One of the parts that the memory tier is divided into: what it has, and in which order that goes.
//!
//! By default S3-FIFO; or as the policy is called: FIFO by arrival, LRU by last use, LFU by number of uses.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use banyan_config::CachePolicy;

use super::super::object::Object;
use super::super::weigh;

/// Of what a shard has, the short queue holds so much: a tenth.
const SHORT: u64 = 10;
/// Uses that S3-FIFO counts.
const MOST_USED: u32 = 3;
/// Tickets that mean nothing any more are swept out beyond so many, and as many as there are slots.
const SPARE: usize = 64;

/// All that is stored under one URI.
type Variants = Arc<[Arc<Object>]>;

#[derive(Default)]
pub(super) struct Shard {
    pub slots: HashMap<u64, Slot>,
    policy: CachePolicy,
    /// With FIFO and LRU the only queue.
    short: VecDeque<Ticket>,
    long: VecDeque<Ticket>,
    short_bytes: u64,
    bytes: u64,
    /// What left the short queue lately: if it comes again, it goes to the long one.
    ghosts: HashSet<u64>,
    ghost_order: VecDeque<u64>,
    /// With LFU: uses, the number of the last ticket, and whose they are.
    by_use: BTreeSet<(u32, u64, u64)>,
    next: u64,
    /// URIs that the origin is being asked for.
    pub asked: HashMap<u64, u32>,
}

/// A place in a queue; of a slot that was filled anew since, it means nothing.
#[derive(Clone, Copy)]
struct Ticket {
    hash: u64,
    number: u64,
}

pub(super) struct Slot {
    uri: Box<str>,
    variants: Variants,
    bytes: u64,
    number: u64,
    used: u32,
    is_long: bool,
}

impl Slot {
    fn place(&self, hash: u64) -> (u32, u64, u64) {
        (self.used, self.number, hash)
    }
}

impl Shard {
    pub(super) fn find(&mut self, hash: u64, uri: &str) -> Option<Variants> {
        let slot = self.slots.get_mut(&hash).filter(|slot| *slot.uri == *uri)?;
        let variants = Arc::clone(&slot.variants);
        match self.policy {
            CachePolicy::S3Fifo => slot.used = slot.used.saturating_add(1).min(MOST_USED),
            CachePolicy::Fifo => {}
            CachePolicy::Lru => {
                self.next += 1;
                slot.number = self.next;
                self.short.push_back(Ticket {
                    hash,
                    number: self.next,
                });
                self.sweep();
            }
            CachePolicy::Lfu => {
                self.by_use.remove(&slot.place(hash));
                self.next += 1;
                (slot.used, slot.number) = (slot.used.saturating_add(1), self.next);
                self.by_use.insert(slot.place(hash));
            }
        }
        Some(variants)
    }

    /// From now on; what is there counts as come in its order, and not used yet.
    pub(super) fn order_by(&mut self, policy: CachePolicy) {
        self.policy = policy;
        let mut order: Vec<_> = self
            .slots
            .iter()
            .map(|(hash, slot)| (slot.number, *hash))
            .collect();
        order.sort_unstable();
        self.short = order
            .into_iter()
            .map(|(number, hash)| Ticket { hash, number })
            .collect();
        self.long.clear();
        self.ghosts.clear();
        self.ghost_order.clear();
        self.short_bytes = self.bytes;
        for slot in self.slots.values_mut() {
            (slot.used, slot.is_long) = (0, false);
        }
        let places = self.slots.iter().map(|(hash, slot)| slot.place(*hash));
        self.by_use = match policy {
            CachePolicy::Lfu => places.collect(),
            CachePolicy::S3Fifo | CachePolicy::Fifo | CachePolicy::Lru => BTreeSet::new(),
        };
    }

    /// Each use leaves a ticket behind that means nothing: no more of them than there are slots.
    fn sweep(&mut self) {
        if self.short.len() > self.slots.len() * 2 + SPARE {
            let slots = &self.slots;
            let counts = |ticket: &Ticket| {
                slots
                    .get(&ticket.hash)
                    .is_some_and(|slot| slot.number == ticket.number)
            };
            self.short.retain(counts);
        }
    }

    /// Bytes that went, bytes that came.
    pub(super) fn change(
        &mut self,
        hash: u64,
        uri: &str,
        change: impl FnOnce(&mut Vec<Arc<Object>>),
    ) -> (u64, u64) {
        let slot = self.slots.get(&hash);
        let before = slot.map_or(0, |slot| slot.bytes);
        // Two URIs with one hash: the newer one stays.
        let known = slot.filter(|slot| *slot.uri == *uri);
        let mut kept: Vec<_> = known.map(|slot| slot.variants.to_vec()).unwrap_or_default();
        if slot.is_some() && known.is_none() {
            self.forget(hash);
        }
        change(&mut kept);
        if kept.is_empty() {
            self.forget(hash);
            return (before, 0);
        }
        let objects: u64 = kept.iter().map(|object| object.weight).sum();
        let bytes = objects + weigh::slot(size_of::<(u64, Slot)>(), uri.len(), kept.len());
        if let Some(slot) = self.slots.get_mut(&hash) {
            (slot.variants, slot.bytes) = (kept.into(), bytes);
            self.bytes = self.bytes + bytes - before;
            if !slot.is_long {
                self.short_bytes = self.short_bytes + bytes - before;
            }
            return (before, bytes);
        }
        self.enter(hash, uri, kept.into(), bytes);
        (before, bytes)
    }

    fn enter(&mut self, hash: u64, uri: &str, variants: Variants, bytes: u64) {
        self.next += 1;
        let ticket = Ticket {
            hash,
            number: self.next,
        };
        let is_long = self.ghosts.remove(&hash);
        self.bytes += bytes;
        if is_long {
            self.long.push_back(ticket);
        } else {
            self.short_bytes += bytes;
            if self.policy == CachePolicy::Lfu {
                self.by_use.insert((0, ticket.number, hash));
            } else {
                self.short.push_back(ticket);
            }
        }
        let slot = Slot {
            uri: uri.into(),
            variants,
            bytes,
            number: ticket.number,
            used: 0,
            is_long,
        };
        self.slots.insert(hash, slot);
    }

    /// Its tickets are passed over later.
    fn forget(&mut self, hash: u64) -> u64 {
        let Some(slot) = self.slots.remove(&hash) else {
            return 0;
        };
        self.bytes -= slot.bytes;
        if !slot.is_long {
            self.short_bytes -= slot.bytes;
        }
        if self.policy == CachePolicy::Lfu {
            self.by_use.remove(&slot.place(hash));
        }
        slot.bytes
    }

    /// Gives one URI up; the bytes that are free then. 0: it has nothing. `gently`: nothing but what is in the short
    /// queue beyond its share.
    pub(super) fn evict(&mut self, gently: bool) -> u64 {
        match self.policy {
            CachePolicy::S3Fifo => self.evict_by_queues(gently),
            _ if gently => 0,
            CachePolicy::Fifo | CachePolicy::Lru => {
                while let Some(ticket) = self.short.pop_front() {
                    let slot = self.slots.get(&ticket.hash);
                    if slot.is_some_and(|slot| slot.number == ticket.number) {
                        return self.forget(ticket.hash);
                    }
                }
                0
            }
            CachePolicy::Lfu => match self.by_use.first().copied() {
                Some((_, _, hash)) => self.forget(hash),
                None => 0,
            },
        }
    }

    fn evict_by_queues(&mut self, gently: bool) -> u64 {
        loop {
            let beyond = self.short_bytes > self.bytes / SHORT;
            if gently && !beyond {
                return 0;
            }
            let from_short = self.long.is_empty() || beyond;
            let queue = if from_short && !self.short.is_empty() {
                &mut self.short
            } else {
                &mut self.long
            };
            let Some(ticket) = queue.pop_front() else {
                return 0;
            };
            let Some(slot) = self
                .slots
                .get_mut(&ticket.hash)
                .filter(|slot| slot.number == ticket.number)
            else {
                continue;
            };
            if slot.used == 0 {
                let was_short = !slot.is_long;
                if was_short {
                    self.remember(ticket.hash);
                }
                return self.forget(ticket.hash);
            }
            if slot.is_long {
                slot.used -= 1;
            } else {
                (slot.used, slot.is_long) = (0, true);
                self.short_bytes -= slot.bytes;
            }
            self.long.push_back(ticket);
        }
    }

    fn remember(&mut self, hash: u64) {
        let most = self.slots.len().max(64);
        while self.ghost_order.len() >= most {
            let Some(oldest) = self.ghost_order.pop_front() else {
                break;
            };
            self.ghosts.remove(&oldest);
        }
        if self.ghosts.insert(hash) {
            self.ghost_order.push_back(hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of these when one after the other goes, in the order that it goes.
    fn gone(shard: &mut Shard, names: &[&str]) -> String {
        let mut left: Vec<&str> = names.to_vec();
        let mut gone = String::new();
        while shard.evict(false) > 0 {
            left.retain(|name| {
                let stays = shard.slots.contains_key(&hash(name));
                if !stays {
                    gone.push_str(name);
                }
                stays
            });
        }
        assert_eq!((shard.bytes, shard.short_bytes, shard.by_use.len()), (0, 0, 0));
        gone
    }

    fn hash(name: &str) -> u64 {
        u64::from(name.as_bytes()[0])
    }

    fn put(shard: &mut Shard, name: &str) {
        shard.enter(hash(name), name, Arc::new([]), 10);
    }

    fn shard(policy: CachePolicy) -> Shard {
        let mut shard = Shard::default();
        shard.order_by(policy);
        for name in ["a", "b", "c", "d"] {
            put(&mut shard, name);
        }
        for name in ["a", "a", "c", "b", "a", "b"] {
            assert!(shard.find(hash(name), name).is_some());
        }
        shard
    }

    #[test]
    fn each_policy_gives_up_what_its_name_says() {
        let order = |policy| gone(&mut shard(policy), &["a", "b", "c", "d"]);
        assert_eq!(order(CachePolicy::Fifo), "abcd");
        assert_eq!(order(CachePolicy::Lru), "dcab");
        // d never, c once, b twice, a three times.
        assert_eq!(order(CachePolicy::Lfu), "dcba");
        // Those that were used go round once more, in the order that they came.
        assert_eq!(order(CachePolicy::S3Fifo), "dabc");
    }

    #[test]
    fn equally_often_used_ones_go_by_their_last_use() {
        let mut shard = shard(CachePolicy::Lfu);
        put(&mut shard, "e");
        shard.find(hash("d"), "d");
        assert_eq!(gone(&mut shard, &["a", "b", "c", "d", "e"]), "ecdba");
    }

    #[test]
    fn another_policy_takes_over_what_is_there() {
        for from in CachePolicy::ALL {
            for to in CachePolicy::ALL {
                let mut shard = shard(from);
                shard.order_by(to);
                shard.find(hash("a"), "a");
                put(&mut shard, "e");
                let gone = gone(&mut shard, &["a", "b", "c", "d", "e"]);
                assert_eq!(gone.len(), 5, "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn uses_leave_no_more_tickets_than_there_are_slots() {
        let mut shard = shard(CachePolicy::Lru);
        for _ in 0..10_000 {
            shard.find(hash("a"), "a");
        }
        assert!(shard.short.len() <= 2 * 4 + SPARE + 1);
        assert_eq!(gone(&mut shard, &["a", "b", "c", "d"]), "dcba");
    }
}
