//! A read of many entries: Redis is asked once for all, and one load brings all that this reader is to load.
//!
//! Of each entry the same is promised as of a read of it alone, for the same reason: its lease is from before the load's
//! statement. What is out of the ordinary about one of them (another loads it, another version wrote it) is left to such a read.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;

use futures_util::future::{join_all, try_join_all};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::l1::Stamp;
use super::read::{CacheError, decode, early, encode, in_time};
use super::stats::Event;
use super::store::{Found, Token};
use super::{Cache, Cached};
use crate::point::{Point, point};
use crate::task;

/// Redis answers nobody else while it looks them up: a part of a millisecond.
const AT_ONCE: usize = 256;

struct Entry<K> {
    key: K,
    /// As Redis knows it.
    name: String,
    stamp: Option<Stamp>,
}

impl<T: Serialize + DeserializeOwned> Cached<T> {
    /// As [`Self::get_or_load`] of each key, with what that promises; keys without a value are not in the answer. Redis is asked once for
    /// up to 256 of them, and `load` gets all that this reader is to load at once. It runs again for keys that another reader loads
    /// and does not bring. What it finds under other keys is not kept.
    pub async fn get_or_load_many<K, Fut, E>(
        &self,
        keys: impl IntoIterator<Item = K>,
        load: impl Fn(Vec<K>) -> Fut,
    ) -> Result<HashMap<K, T>, CacheError<E>>
    where
        K: Clone + Display + Eq + Hash,
        Fut: Future<Output = Result<HashMap<K, T>, E>>,
    {
        let mut values = HashMap::new();
        let mut asked = Vec::new();
        let mut seen = HashSet::new();
        for key in keys {
            let name = self.key(&key);
            if !seen.insert(key.clone()) {
                continue;
            }
            match self.local_value(&name) {
                Some(value) => values.extend(value.map(|value| (key, value))),
                None => asked.push(Entry {
                    stamp: self.stamp(&name),
                    name,
                    key,
                }),
            }
        }
        for entries in asked.chunks(AT_ONCE) {
            self.read_at_once(entries, &load, &mut values).await?;
        }
        Ok(values)
    }

    async fn read_at_once<K, Fut, E>(
        &self,
        entries: &[Entry<K>],
        load: &impl Fn(Vec<K>) -> Fut,
        values: &mut HashMap<K, T>,
    ) -> Result<(), CacheError<E>>
    where
        K: Clone + Display + Eq + Hash,
        Fut: Future<Output = Result<HashMap<K, T>, E>>,
    {
        let store = &self.cache.inner.store;
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        let mut leases = Leases::asked(&self.cache, &names);
        let found = store.get_all(&names, &leases.token, self.lifetimes.lease, early());
        let Some(found) = found.await else {
            drop(leases);
            return self.load_directly(entries, load, values).await;
        };
        let (mut ours, mut alone) = (Vec::new(), Vec::new());
        leases.names.clear();
        for (entry, found) in entries.iter().zip(found) {
            let kept = match found {
                Found::Leased => {
                    leases.names.push(&entry.name);
                    ours.push(entry);
                    continue;
                }
                Found::Busy => None,
                Found::Fresh(bytes) => self.hit(entry, bytes, load).await,
                Found::Stale(bytes) => decode(&bytes)
                    .ok()
                    .inspect(|_: &Option<T>| store.counters.note(Event::StaleHit)),
            };
            match kept {
                Some(value) => values.extend(value.map(|value| (entry.key.clone(), value))),
                None => alone.push(entry),
            }
        }
        // Before it waits for others: they may wait for what is loaded here.
        if !ours.is_empty() {
            self.load_under_leases(leases, &ours, load, values).await?;
        }
        let read = alone.into_iter().map(|entry| self.read_alone(entry, load));
        values.extend(try_join_all(read).await?.into_iter().flatten());
        Ok(())
    }

    /// `None`: another version of the app wrote it.
    async fn hit<K, Fut, E>(
        &self,
        entry: &Entry<K>,
        bytes: Vec<u8>,
        load: &impl Fn(Vec<K>) -> Fut,
    ) -> Option<Option<T>>
    where
        K: Clone + Eq + Hash,
        Fut: Future<Output = Result<HashMap<K, T>, E>>,
    {
        let inner = &self.cache.inner;
        let value = decode(&bytes).ok()?;
        inner.store.counters.note(Event::Hit);
        self.keep(&entry.name, &bytes, entry.stamp);
        if let Some(number) = inner.audit.takes() {
            self.compare(number, &entry.name, bytes, || one(load, &entry.key))
                .await;
        }
        Some(value)
    }

    async fn read_alone<K, Fut, E>(
        &self,
        entry: &Entry<K>,
        load: &impl Fn(Vec<K>) -> Fut,
    ) -> Result<Option<(K, T)>, CacheError<E>>
    where
        K: Clone + Eq + Hash,
        Fut: Future<Output = Result<HashMap<K, T>, E>>,
    {
        let value = self.read(&entry.name, || one(load, &entry.key)).await?;
        Ok(value.map(|value| (entry.key.clone(), value)))
    }

    async fn load_under_leases<K, Fut, E>(
        &self,
        leases: Leases<'_>,
        ours: &[&Entry<K>],
        load: &impl Fn(Vec<K>) -> Fut,
        values: &mut HashMap<K, T>,
    ) -> Result<(), CacheError<E>>
    where
        K: Clone + Eq + Hash,
        Fut: Future<Output = Result<HashMap<K, T>, E>>,
    {
        let inner = &self.cache.inner;
        let _flights: Vec<_> = ours
            .iter()
            .map(|entry| inner.flights.begin(&entry.name))
            .collect();
        let under_way = inner.store.counters.loading(Event::Load);
        (1..ours.len()).for_each(|_| inner.store.counters.note(Event::Load));
        point(Point::Leased).await;
        let begin = Instant::now();
        let mut loaded = match in_time(self.lifetimes.loader, load(keys(ours))).await {
            Ok(loaded) => loaded,
            Err(error) => {
                leases.release().await;
                return self.or_all_stale(ours, error, values).await;
            }
        };
        drop(under_way);
        point(Point::Loaded).await;
        let mut fills = Vec::with_capacity(ours.len());
        for entry in ours {
            let value = loaded.remove(&entry.key);
            let bytes = encode(value.as_ref())?;
            fills.push((bytes, self.lifetime(value.is_none(), begin.elapsed())));
            values.extend(value.map(|value| (entry.key.clone(), value)));
        }
        let token = &leases.token;
        let fills = ours
            .iter()
            .zip(fills)
            .map(|(entry, (bytes, lifetime))| async move {
                let filled = inner.store.fill(&entry.name, token, &bytes, lifetime);
                if filled.await == Some(false) {
                    inner.store.counters.note(Event::Rejected);
                }
            });
        join_all(fills).await;
        leases.are_given_back();
        Ok(())
    }

    async fn or_all_stale<K: Clone + Eq + Hash, E>(
        &self,
        ours: &[&Entry<K>],
        error: CacheError<E>,
        values: &mut HashMap<K, T>,
    ) -> Result<(), CacheError<E>> {
        for entry in ours {
            match self.stale(&entry.name).await {
                Some(value) => values.extend(value.map(|value| (entry.key.clone(), value))),
                None => return Err(error),
            }
        }
        Ok(())
    }

    /// Without Redis: one turn for all of them.
    async fn load_directly<K, Fut, E>(
        &self,
        entries: &[Entry<K>],
        load: &impl Fn(Vec<K>) -> Fut,
        values: &mut HashMap<K, T>,
    ) -> Result<(), CacheError<E>>
    where
        K: Clone + Eq + Hash,
        Fut: Future<Output = Result<HashMap<K, T>, E>>,
    {
        let entries: Vec<&Entry<K>> = entries.iter().collect();
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        let load_all = || async {
            let mut loaded = load(keys(&entries)).await?;
            let all: Vec<Option<T>> = entries.iter().map(|entry| loaded.remove(&entry.key)).collect();
            Ok(Some(all))
        };
        let all = self.read_directly(&names.join("\n"), load_all).await?;
        let found = entries.iter().zip(all.into_iter().flatten());
        values.extend(found.filter_map(|(entry, value)| Some((entry.key.clone(), value?))));
        Ok(())
    }
}

fn keys<K: Clone>(entries: &[&Entry<K>]) -> Vec<K> {
    entries.iter().map(|entry| entry.key.clone()).collect()
}

async fn one<K, T, E, Fut>(load: &impl Fn(Vec<K>) -> Fut, key: &K) -> Result<Option<T>, E>
where
    K: Clone + Eq + Hash,
    Fut: Future<Output = Result<HashMap<K, T>, E>>,
{
    Ok(load(vec![key.clone()]).await?.remove(key))
}

/// Given back also when the reader is dropped in the middle.
struct Leases<'c> {
    cache: &'c Cache,
    token: Token,
    /// Held; until Redis has answered all that were asked for.
    names: Vec<&'c str>,
}

impl<'c> Leases<'c> {
    fn asked(cache: &'c Cache, names: &[&'c str]) -> Self {
        Self {
            cache,
            token: Token::random(),
            names: names.to_vec(),
        }
    }

    async fn release(mut self) {
        let names = std::mem::take(&mut self.names);
        let store = &self.cache.inner.store;
        join_all(names.into_iter().map(|name| store.release(name, &self.token))).await;
    }

    fn are_given_back(mut self) {
        self.names.clear();
    }
}

impl Drop for Leases<'_> {
    fn drop(&mut self) {
        if self.names.is_empty() {
            return;
        }
        let (cache, token) = (self.cache.clone(), self.token.clone());
        let names: Vec<String> = self.names.drain(..).map(str::to_owned).collect();
        task::start_if_running(async move {
            let store = &cache.inner.store;
            join_all(names.iter().map(|name| store.release(name, &token))).await;
        });
    }
}
