//! What is asked for most and was not answered from the store, with the reason: bounded, whatever is asked for.
//!
//! Space-saving (Metwally, Agrawal, El Abbadi 2005): so many counters; a name without one takes over the smallest, with its
//! count. What is frequent is never missed, and no count is too high by more than `over`. Touched by misses only; 16
//! shards, each behind a lock that is held for one look over its counters.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use banyan_httpcache::Why;

const SHARDS: usize = 16;
/// Counters of a shard.
const COUNTERS: usize = 64;
/// Of a name.
const MOST_BYTES: usize = 512;

#[derive(Default)]
pub(crate) struct Tops {
    shards: [Mutex<Vec<Top>>; SHARDS],
    hasher: RandomState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Top {
    pub uri: Box<str>,
    pub route: Box<str>,
    pub why: Why,
    pub count: u64,
    /// Of that, so many at most were others'.
    pub over: u64,
    hash: u64,
}

impl Tops {
    pub(crate) fn note(&self, uri: &str, route: &str, why: Why) {
        let uri = head(uri);
        let hash = self.hasher.hash_one((uri, why));
        let shard = &self.shards[hash as usize % SHARDS];
        // Nothing under the lock can panic half-way.
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |top: &&mut Top| top.hash == hash && *top.uri == *uri && top.why == why;
        if let Some(top) = shard.iter_mut().find(known) {
            top.count += 1;
            return;
        }
        let mut new = Top {
            uri: uri.into(),
            route: route.into(),
            why,
            count: 1,
            over: 0,
            hash,
        };
        if shard.len() < COUNTERS {
            return shard.push(new);
        }
        if let Some(least) = shard.iter_mut().min_by_key(|top| top.count) {
            (new.count, new.over) = (least.count + 1, least.count);
            *least = new;
        }
    }

    /// The most frequent first.
    pub(crate) fn most(&self, count: usize) -> Vec<Top> {
        let mut all = self.all(|_| true);
        all.truncate(count);
        all
    }

    /// Why this one was not answered from the store, the most frequent reason first.
    pub(crate) fn of(&self, uri: &str) -> Vec<Top> {
        let uri = head(uri);
        self.all(|top| *top.uri == *uri)
    }

    fn all(&self, wanted: impl Fn(&Top) -> bool) -> Vec<Top> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(shard.iter().filter(|top| wanted(top)).cloned());
        }
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.uri.cmp(&b.uri)));
        all
    }
}

/// What of a long name is kept.
fn head(uri: &str) -> &str {
    let end = (0..=MOST_BYTES.min(uri.len()))
        .rev()
        .find(|end| uri.is_char_boundary(*end));
    &uri[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_frequent_is_found_among_any_number_of_others() {
        let tops = Tops::default();
        for n in 0..20_000 {
            tops.note(&format!("/once/{n}"), "web", Why::Absent);
            if n % 10 == 0 {
                tops.note("/often", "web", Why::SetCookie);
            }
        }
        let most = tops.most(usize::MAX);
        assert!(most.len() <= SHARDS * COUNTERS);
        let often = &tops.of("/often")[0];
        assert!(
            often.count - often.over <= 2000 && often.count >= 2000,
            "{often:?}"
        );
        assert!(tops.most(20).iter().any(|top| *top.uri == *"/often"));
        tops.note(&"ä".repeat(1000), "web", Why::Absent);
        assert_eq!(tops.of(&"ä".repeat(1000)).len(), 1);
    }
}
