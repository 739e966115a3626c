//! One of the parts that the memory tier is divided into: what it has, and in which order that goes (S3-FIFO).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::super::object::Object;

/// Of what a shard has, the short queue holds so much: a tenth.
const SHORT: u64 = 10;
/// Uses that are counted.
const MOST_USED: u8 = 3;

/// All that is stored under one URI.
type Variants = Arc<[Arc<Object>]>;

#[derive(Default)]
pub(super) struct Shard {
    pub slots: HashMap<u64, Slot>,
    short: VecDeque<Ticket>,
    long: VecDeque<Ticket>,
    short_bytes: u64,
    bytes: u64,
    /// What left the short queue lately: if it comes again, it goes to the long one.
    ghosts: HashSet<u64>,
    ghost_order: VecDeque<u64>,
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
    used: u8,
    is_long: bool,
}

impl Shard {
    pub(super) fn find(&mut self, hash: u64, uri: &str) -> Option<Variants> {
        let slot = self.slots.get_mut(&hash).filter(|slot| *slot.uri == *uri)?;
        slot.used = slot.used.saturating_add(1).min(MOST_USED);
        Some(Arc::clone(&slot.variants))
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
    pub(super) fn evict(&mut self, gently: bool) -> u64 {
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
