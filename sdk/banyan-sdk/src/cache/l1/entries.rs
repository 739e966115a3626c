//! Where entries are kept, and which go when it is full.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use moka::policy::EvictionPolicy;
use tokio::time::Instant;

use super::{L1, Policy};

#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) bytes: Arc<[u8]>,
    pub(super) stripe: u64,
    pub(super) until: Instant,
}

pub(super) enum Entries {
    Ranked(moka::sync::Cache<String, Kept>),
    InOrder(Mutex<Line>),
}

impl Entries {
    pub(super) fn new(L1 { policy, entries }: L1) -> Self {
        let ranked = |policy| {
            moka::sync::Cache::builder()
                .max_capacity(entries as u64)
                .eviction_policy(policy)
                .build()
        };
        match policy {
            Policy::Lfu => Self::Ranked(ranked(EvictionPolicy::tiny_lfu())),
            Policy::Lru => Self::Ranked(ranked(EvictionPolicy::lru())),
            Policy::Fifo => Self::InOrder(Mutex::new(Line {
                most: entries.max(1),
                kept: HashMap::new(),
                order: VecDeque::new(),
            })),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<Kept> {
        match self {
            Self::Ranked(cache) => cache.get(key),
            Self::InOrder(line) => {
                let line = line.lock().expect("no holder of this lock panics");
                line.kept.get(key).cloned()
            }
        }
    }

    pub(super) fn insert(&self, key: &str, kept: Kept) {
        match self {
            Self::Ranked(cache) => cache.insert(key.to_owned(), kept),
            Self::InOrder(line) => line
                .lock()
                .expect("no holder of this lock panics")
                .insert(key, kept),
        }
    }
}

/// First in, first out.
pub(super) struct Line {
    most: usize,
    kept: HashMap<String, Kept>,
    /// Each key of `kept`, the oldest first.
    order: VecDeque<String>,
}

impl Line {
    fn insert(&mut self, key: &str, kept: Kept) {
        if let Some(known) = self.kept.get_mut(key) {
            *known = kept;
            return;
        }
        if self.order.len() >= self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.kept.remove(&oldest);
        }
        self.kept.insert(key.to_owned(), kept);
        self.order.push_back(key.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept {
        Kept {
            bytes: Arc::from(&b"v"[..]),
            stripe: 0,
            until: Instant::now(),
        }
    }

    fn left(entries: &Entries) -> Vec<&'static str> {
        if let Entries::Ranked(cache) = entries {
            cache.run_pending_tasks();
        }
        let all = ["a", "b", "c"].into_iter();
        all.filter(|key| entries.get(key).is_some()).collect()
    }

    #[test]
    fn a_full_line_gives_up_what_came_first_however_often_it_is_read() {
        let entries = Entries::new(L1::fifo(2));
        entries.insert("a", kept());
        entries.insert("b", kept());
        entries.get("a");
        entries.insert("a", kept());
        entries.insert("c", kept());
        assert_eq!(left(&entries), ["b", "c"]);
    }

    #[test]
    fn by_use_what_was_not_read_for_longest_goes() {
        let entries = Entries::new(L1::lru(2));
        entries.insert("a", kept());
        entries.insert("b", kept());
        left(&entries);
        entries.get("a");
        entries.insert("c", kept());
        assert_eq!(left(&entries), ["a", "c"]);
    }

    #[test]
    fn by_frequency_what_is_read_once_does_not_drive_out_what_is_read_often() {
        let entries = Entries::new(L1::lfu(2));
        for key in ["a", "b"] {
            entries.insert(key, kept());
            for _ in 0..8 {
                entries.get(key);
            }
        }
        left(&entries);
        entries.insert("c", kept());
        assert_eq!(left(&entries), ["a", "b"]);
    }
}
