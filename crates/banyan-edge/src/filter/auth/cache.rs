//! What was verified lately, by a mark of the credentials that cannot be turned back into them.
//!
//! Two generations: when the young one is full, the old one goes. Bounded, and what is used stays.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const GENERATION: usize = 2048;

pub(crate) type Mark = [u8; 32];

pub(crate) struct Cache<T> {
    young: HashMap<Mark, (T, u64)>,
    old: HashMap<Mark, (T, u64)>,
}

impl<T: Clone> Cache<T> {
    pub(crate) fn new() -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// `now`: nanoseconds since a common start.
    pub(crate) fn get(&mut self, mark: &Mark, now: u64) -> Option<T> {
        let (value, until) = match self.young.get(mark) {
            Some(found) => found.clone(),
            None => {
                let found = self.old.remove(mark)?;
                self.insert(*mark, found.clone());
                found
            }
        };
        (now < until).then_some(value)
    }

    pub(crate) fn put(&mut self, mark: Mark, value: T, now: u64, keep: Duration) {
        let keep = u64::try_from(keep.as_nanos()).unwrap_or(u64::MAX);
        self.insert(mark, (value, now.saturating_add(keep)));
    }

    fn insert(&mut self, mark: Mark, entry: (T, u64)) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(mark, entry);
    }
}

/// Keyed by what this process alone knows: a mark says nothing about a password to who reads it.
pub(crate) fn mark(parts: &[&[u8]]) -> Mark {
    static KEY: OnceLock<[u8; 32]> = OnceLock::new();
    let key = KEY.get_or_init(|| {
        let mut key = [0; 32];
        for piece in key.chunks_exact_mut(8) {
            piece.copy_from_slice(&crate::request_id::seed().to_be_bytes());
        }
        key
    });
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        // With their lengths: no two lists of parts read the same.
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn what_is_kept_is_found_until_its_time_and_bounded() {
        let mut cache = Cache::new();
        let marks: Vec<Mark> = (0..3 * GENERATION as u64)
            .map(|n| mark(&[&n.to_be_bytes()]))
            .collect();
        for mark in &marks {
            cache.put(*mark, true, 0, Duration::from_secs(2));
            // In use all the time.
            assert_eq!(cache.get(&marks[0], SECOND), Some(true));
        }
        assert_eq!(cache.get(&marks[1], SECOND), None, "pushed out");
        assert_eq!(cache.get(&marks[0], 2 * SECOND), None, "too old");
        assert!(cache.young.len() + cache.old.len() <= 2 * GENERATION);
    }

    #[test]
    fn marks_tell_parts_apart() {
        assert_ne!(mark(&[b"ab", b"c"]), mark(&[b"a", b"bc"]));
        assert_eq!(mark(&[b"ab", b"c"]), mark(&[b"ab", b"c"]));
    }
}
