//! The memory tier: stored responses of all cores, bounded in bytes.
//!
//! Shared by the cores in 64 shards, each behind a lock that is held for a look-up or a move between queues (see
//! docs/decisions for why). Eviction is S3-FIFO: what comes once goes through a short queue and out again, what is asked
//! for a second time moves to the long one, so a scan pushes nothing popular out. Expired responses stay: they can be
//! validated, and stand in for an app that fails.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use banyan_httpcache::purge::{Marks, Mode, Table, Target};
use banyan_httpcache::{Standing, Time};
use banyan_topology::purge::Scope;

use super::elsewhere::Elsewhere;
use super::object::Object;

const SHARDS: usize = 64;
/// Of what a shard has, the short queue holds so much: a tenth.
const SHORT: u64 = 10;
/// Uses that are counted.
const MOST_USED: u8 = 3;
/// Variants of one URI.
const MOST_VARIANTS: usize = 32;
/// One response may take this share of the memory.
const LARGEST: u64 = 8;

pub(crate) struct Store {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    used: AtomicU64,
    budget: AtomicU64,
    /// Of bodies that are not complete.
    under_way: AtomicU64,
    evicted: AtomicU64,
    purges: RwLock<Table>,
    /// The same as that of `purges`.
    tick: AtomicU64,
    /// What other edges must hear.
    pub elsewhere: Elsewhere,
}

/// All that is stored under one URI.
pub(crate) type Variants = Arc<[Arc<Object>]>;

#[derive(Default)]
struct Shard {
    slots: HashMap<u64, Slot>,
    short: VecDeque<Ticket>,
    long: VecDeque<Ticket>,
    short_bytes: u64,
    bytes: u64,
    /// What left the short queue lately: if it comes again, it goes to the long one.
    ghosts: HashSet<u64>,
    ghost_order: VecDeque<u64>,
    next: u64,
    /// URIs that the origin is being asked for.
    asked: HashMap<u64, u32>,
}

/// A place in a queue; of a slot that was filled anew since, it means nothing.
#[derive(Clone, Copy)]
struct Ticket {
    hash: u64,
    number: u64,
}

struct Slot {
    uri: Box<str>,
    variants: Variants,
    bytes: u64,
    number: u64,
    used: u8,
    is_long: bool,
}

/// While it is there, a purge concerns what the origin will answer. Given up when dropped.
pub(crate) struct Asking {
    store: Arc<Store>,
    hash: u64,
    /// The tick before the request was sent.
    pub born: u64,
}

/// What there is of one URI and side.
pub(crate) struct Found {
    pub objects: Vec<(Arc<Object>, Standing)>,
}

impl Found {
    /// Nothing was stored or replaced between the two.
    pub(crate) fn is_as(&self, before: &Self) -> bool {
        let same = |(now, then): (&(Arc<Object>, _), &(Arc<Object>, _))| Arc::ptr_eq(&now.0, &then.0);
        self.objects.len() == before.objects.len() && self.objects.iter().zip(&before.objects).all(same)
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            used: AtomicU64::new(0),
            budget: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            purges: RwLock::default(),
            tick: AtomicU64::new(0),
            elsewhere: Elsewhere::default(),
        }
    }
}

impl Store {
    fn hash(&self, uri: &str) -> u64 {
        self.hasher.hash_one(uri)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[hash as usize % SHARDS];
        // Nothing under the lock can panic half-way.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// 0: nothing is kept.
    pub(crate) fn resize(&self, bytes: u64) {
        self.budget.store(bytes, Ordering::Relaxed);
        self.make_room(0);
    }

    /// The longest body that is stored.
    pub(crate) fn largest(&self) -> u64 {
        self.budget.load(Ordering::Relaxed) / LARGEST
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// URIs of which something is stored.
    pub(crate) fn len(&self) -> usize {
        let count = |shard: &Mutex<Shard>| shard.lock().map_or(0, |shard| shard.slots.len());
        self.shards.iter().map(count).sum()
    }

    pub(crate) fn find(&self, uri: &str, side: &str) -> Found {
        let hash = self.hash(uri);
        let variants = self.shard(hash).find(hash, uri);
        let tick = self.tick.load(Ordering::Acquire);
        let of_side = variants.iter().flat_map(|variants| variants.iter());
        let objects = of_side
            .filter(|object| *object.side == *side)
            .map(|object| (Arc::clone(object), self.standing(object, tick)));
        Found {
            objects: objects.collect(),
        }
    }

    /// Of every side. For people.
    pub(crate) fn find_all(&self, uri: &str) -> Found {
        let hash = self.hash(uri);
        let variants = self.shard(hash).find(hash, uri);
        let tick = self.tick.load(Ordering::Acquire);
        let objects = variants.iter().flat_map(|variants| variants.iter());
        let objects = objects.map(|object| (Arc::clone(object), self.standing(object, tick)));
        Found {
            objects: objects.collect(),
        }
    }

    fn standing(&self, object: &Object, tick: u64) -> Standing {
        object.standing(tick, |marks| {
            self.purges
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .standing(marks)
        })
    }

    /// To be called before a request is sent whose answer may be stored.
    pub(crate) fn ask(self: &Arc<Self>, uri: &str) -> Asking {
        let hash = self.hash(uri);
        *self.shard(hash).asked.entry(hash).or_default() += 1;
        Asking {
            store: Arc::clone(self),
            hash,
            born: self.tick.load(Ordering::Acquire),
        }
    }

    /// The names by which a purge reaches it.
    pub(crate) fn marks(&self, uri: &str, tags: &[String], born: u64) -> Marks {
        self.purges
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .marks(uri, tags, born)
    }

    /// Takes the place of `old`, and of what the same requests select.
    pub(crate) fn insert(&self, uri: &str, object: Arc<Object>, old: Option<&Arc<Object>>) {
        let hash = self.hash(uri);
        self.change(hash, uri, |kept| {
            kept.retain(|other| {
                let same = *other.side == *object.side && other.head.selection == object.head.selection;
                !same && old.is_none_or(|old| !Arc::ptr_eq(old, other))
            });
            if kept.len() >= MOST_VARIANTS {
                // What was made can be made again without asking anybody.
                let made = kept.iter().position(|object| object.is_made());
                kept.remove(made.unwrap_or(0));
            }
            kept.push(object);
        });
        self.make_room(hash);
    }

    pub(crate) fn remove(&self, uri: &str, object: &Arc<Object>) {
        let hash = self.hash(uri);
        self.change(hash, uri, |kept| kept.retain(|other| !Arc::ptr_eq(object, other)));
    }

    fn change(&self, hash: u64, uri: &str, change: impl FnOnce(&mut Vec<Arc<Object>>)) {
        let mut shard = self.shard(hash);
        let (gone, come) = shard.change(hash, uri, change);
        drop(shard);
        self.used.fetch_add(come, Ordering::Relaxed);
        self.used.fetch_sub(gone, Ordering::Relaxed);
    }

    /// `from`: where something came last, and so most likely has too much that is asked for once.
    fn make_room(&self, from: u64) {
        let budget = self.budget.load(Ordering::Relaxed);
        let is_over = || self.used.load(Ordering::Relaxed) > budget;
        // What is popular in one shard must not go while another has what nobody asked for twice.
        for gently in [true, false] {
            let (mut turn, mut empty) = (from as usize, 0);
            while is_over() && empty < SHARDS {
                let freed = self.shard(turn as u64).evict(gently);
                self.used.fetch_sub(freed, Ordering::Relaxed);
                if freed > 0 {
                    empty = 0;
                    self.evicted.fetch_add(1, Ordering::Relaxed);
                    if gently {
                        continue;
                    }
                } else {
                    empty += 1;
                }
                turn = turn.wrapping_add(1);
            }
        }
    }

    /// Bytes of a body that is not complete; `false`: there is no room for more.
    pub(crate) fn take_room(&self, bytes: u64) -> bool {
        self.under_way.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.budget.load(Ordering::Relaxed)
    }

    pub(crate) fn give_room(&self, bytes: u64) {
        self.under_way.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Holds for all that was asked of the origin before this call.
    pub(crate) fn purge(&self, target: &Target, mode: Mode, now: Time) {
        let mut purges = self.purges.write().unwrap_or_else(PoisonError::into_inner);
        purges.apply(target, mode, now);
        self.tick.store(purges.tick(), Ordering::Release);
    }

    /// Whether what has these names is still of use.
    pub(crate) fn reached(&self, marks: &Marks) -> Standing {
        let purges = self.purges.read().unwrap_or_else(PoisonError::into_inner);
        purges.standing(&mut marks.clone())
    }

    /// The tick of the last hard purge that names this URI: what was asked of the origin before is not for who asks now.
    pub(crate) fn last_purge(&self, uri: &str) -> u64 {
        if self.tick.load(Ordering::Acquire) == 0 {
            return 0;
        }
        let purges = self.purges.read().unwrap_or_else(PoisonError::into_inner);
        purges.last_hard(uri)
    }

    /// An unsafe request changed this URI. Without anything stored there is nothing to note, but others may have it.
    pub(crate) fn invalidate(&self, uri: &str, now: Time) {
        let hash = self.hash(uri);
        let shard = self.shard(hash);
        let concerns = shard.slots.contains_key(&hash) || shard.asked.contains_key(&hash);
        drop(shard);
        if concerns {
            self.purge(&Target::Url(uri.to_owned()), Mode::Hard, now);
        }
        self.elsewhere.note(Scope::Url(uri.to_owned()));
    }

    /// An unsafe request changed all responses with this tag.
    pub(crate) fn invalidate_tag(&self, tag: String, now: Time) {
        self.elsewhere.note(Scope::Tag(tag.clone()));
        self.purge(&Target::Tag(tag), Mode::Hard, now);
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut shard = self.store.shard(self.hash);
        if let Some(count) = shard.asked.get_mut(&self.hash) {
            *count -= 1;
            if *count == 0 {
                shard.asked.remove(&self.hash);
            }
        }
    }
}

impl Shard {
    fn find(&mut self, hash: u64, uri: &str) -> Option<Variants> {
        let slot = self.slots.get_mut(&hash).filter(|slot| *slot.uri == *uri)?;
        slot.used = slot.used.saturating_add(1).min(MOST_USED);
        Some(Arc::clone(&slot.variants))
    }

    /// Bytes that went, bytes that came.
    fn change(&mut self, hash: u64, uri: &str, change: impl FnOnce(&mut Vec<Arc<Object>>)) -> (u64, u64) {
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
        let bytes = kept.iter().map(|object| object.weight).sum::<u64>() + uri.len() as u64;
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
            self.short.push_back(ticket);
            self.short_bytes += bytes;
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
        slot.bytes
    }

    /// Gives one URI up; the bytes that are free then. 0: it has nothing. `gently`: nothing but what is in the short
    /// queue beyond its share.
    fn evict(&mut self, gently: bool) -> u64 {
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
mod tests;
