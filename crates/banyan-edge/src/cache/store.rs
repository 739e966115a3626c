//! The memory tier: stored responses of all cores, bounded in bytes.
//!
//! Shared by the cores in 64 shards, each behind a lock that is held for a look-up or a move between queues (see
//! docs/decisions for why). Eviction is S3-FIFO by default: what comes once goes through a short queue and out again, what is
//! asked for a second time moves to the long one, so a scan pushes nothing popular out. Other policies hold within a shard. Expired responses stay: they can be
//! validated, and stand in for an app that fails.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use banyan_config::CachePolicy;
use banyan_httpcache::purge::{Marks, Mode, Noted, Table, Target};
use banyan_httpcache::{Head, Standing, Time};
use banyan_topology::purge::Scope;

use super::disk::Disk;
use super::disk::body::Body;
use super::elsewhere::Elsewhere;
use super::followed::Followed;
use super::kept::Kept;
use super::object::Object;
use super::steady::Steady;
use shard::Shard;

const SHARDS: usize = 64;
/// Variants of one URI.
const MOST_VARIANTS: usize = 32;
/// One response may take this share of the memory.
const LARGEST: u64 = 8;

/// The same in every process of a build. Who finds names with the same hash purges too much.
type Lasting = BuildHasherDefault<DefaultHasher>;

pub(crate) struct Store {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    used: AtomicU64,
    budget: AtomicU64,
    /// Of bodies that are not complete.
    under_way: AtomicU64,
    /// A [`CachePolicy`].
    policy: AtomicU8,
    evicted: AtomicU64,
    purges: RwLock<Table<Lasting>>,
    /// The same as that of `purges`.
    tick: AtomicU64,
    /// Ages are counted by it.
    pub steady: Steady,
    /// What other edges must hear.
    pub elsewhere: Elsewhere,
    /// How far the log of purges is.
    pub followed: Followed,
    /// There once something is to be kept on the disk.
    disk: OnceLock<Disk>,
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
            policy: AtomicU8::new(CachePolicy::default() as u8),
            evicted: AtomicU64::new(0),
            purges: RwLock::new(Table::with_hasher(Lasting::default(), 0)),
            tick: AtomicU64::new(0),
            steady: Steady::default(),
            elsewhere: Elsewhere::default(),
            followed: Followed::default(),
            disk: OnceLock::new(),
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

    /// What goes first. All cores say the same.
    pub(crate) fn order_by(&self, policy: CachePolicy) {
        let before = self.policy.swap(policy as u8, Ordering::AcqRel);
        if before != policy as u8 {
            (0..SHARDS).for_each(|shard| self.shard(shard as u64).order_by(policy));
        }
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
        object.standing(tick, |marks| self.known().standing(marks))
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
        self.known().marks(uri, tags, born)
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
            kept.push(Arc::clone(&object));
        });
        self.make_room(hash);
        if let Some(disk) = self.disk.get() {
            disk.keep(uri, &object);
        }
    }

    /// Of a file of this number.
    pub(crate) fn insert_from_disk(
        &self,
        uri: &str,
        side: &str,
        head: Head,
        body: Kept,
        born: u64,
        number: u64,
    ) {
        let origin = super::origin_of(uri);
        let tags: Vec<String> = head.tags.iter().map(|tag| super::tag_of(origin, tag)).collect();
        let marks = self.marks(uri, &tags, born);
        let object = Object::new(head, side.into(), Arc::new(body), marks).of_file(number);
        self.insert(uri, Arc::new(object), None);
    }

    /// Keeps what it has in that folder, too. `None`: no more.
    pub(crate) fn use_disk(self: &Arc<Self>, folder: &Path, bytes: Option<u64>) -> io::Result<()> {
        if self.disk.get().is_none() && bytes.is_some() {
            let seed = crate::request_id::seed() | 1;
            let probe = self.known().probe();
            let disk = Disk::start(
                Arc::downgrade(self),
                folder.to_owned(),
                (seed, probe),
                bytes.unwrap_or(0),
            )?;
            self.change_purges(|purges| purges.raise(u64::from(disk.journal().epoch) << 32));
            let disk = self.disk.get_or_init(|| disk);
            disk.journal().note(&self.noted());
        }
        if let Some(disk) = self.disk.get() {
            disk.resize(bytes.unwrap_or(0));
        }
        Ok(())
    }

    /// `None`: there is none.
    pub(crate) fn disk(&self) -> Option<&Disk> {
        self.disk.get()
    }

    /// A file for a body that the memory has no room for. `None`: neither has the disk, or it is too slow or broken.
    pub(crate) async fn begin_long(&self, uri: &str, side: &str, length: u64) -> Option<Arc<Body>> {
        let disk = self.disk().filter(|disk| length <= disk.largest())?;
        disk.begin(uri, side, length).await
    }

    /// Its file is gone.
    pub(crate) fn forget_body(&self, uri: &str, body: &Arc<Body>) {
        let hash = self.hash(uri);
        let is_in = |object: &Object| object.body.file().is_some_and(|file| Arc::ptr_eq(file, body));
        self.change(hash, uri, |kept| kept.retain(|object| !is_in(object)));
    }

    pub(crate) fn remove(&self, uri: &str, object: &Arc<Object>) {
        let hash = self.hash(uri);
        self.change(hash, uri, |kept| kept.retain(|other| !Arc::ptr_eq(object, other)));
    }

    fn change(&self, hash: u64, uri: &str, change: impl FnOnce(&mut Vec<Arc<Object>>)) {
        let disk = self.disk.get();
        let mut left = Vec::new();
        let mut shard = self.shard(hash);
        let (gone, come) = shard.change(hash, uri, |kept| {
            let before = disk.map(|_| kept.clone()).unwrap_or_default();
            change(kept);
            // One that has only another head needs its file.
            let stays = |old: &Arc<Object>| {
                kept.iter()
                    .any(|one| Arc::ptr_eq(one, old) || one.body.shares_file(&old.body))
            };
            left.extend(before.into_iter().filter(|old| !stays(old)));
        });
        drop(shard);
        if let Some(disk) = disk {
            left.iter().for_each(|object| disk.forget(uri, object));
        }
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

    /// Requests to the origin whose answers are not stored yet, if they ever will be.
    pub(crate) fn asked(&self) -> u64 {
        let count = |shard: &Mutex<Shard>| shard.lock().map_or(0, |shard| shard.asked.values().sum::<u32>());
        self.shards.iter().map(count).map(u64::from).sum()
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
        let noted = self.change_purges(|purges| purges.apply(target, mode, now));
        if let Some(disk) = self.disk.get() {
            disk.journal().note(&[noted]);
        }
    }

    /// Rows of an earlier process.
    pub(super) fn note(&self, rows: &[Noted]) {
        self.change_purges(|purges| purges.note(rows));
        if let Some(disk) = self.disk.get() {
            disk.journal().note(rows);
        }
    }

    pub(super) fn noted(&self) -> Vec<Noted> {
        self.known().noted()
    }

    /// Rows of the table of purges.
    pub(super) fn purges_known(&self) -> usize {
        self.known().len()
    }

    fn change_purges<T>(&self, change: impl FnOnce(&mut Table<Lasting>) -> T) -> T {
        let mut purges = self.purges.write().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut purges);
        self.tick.store(purges.tick(), Ordering::Release);
        changed
    }

    fn known(&self) -> RwLockReadGuard<'_, Table<Lasting>> {
        self.purges.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what has these names is still of use.
    pub(crate) fn reached(&self, marks: &Marks) -> Standing {
        self.known().standing(&mut marks.clone())
    }

    /// The tick of the last hard purge that names this URI: what was asked of the origin before is not for who asks now.
    pub(crate) fn last_purge(&self, uri: &str) -> u64 {
        if self.tick.load(Ordering::Acquire) == 0 {
            return 0;
        }
        self.known().last_hard(uri)
    }

    /// An unsafe request changed this URI. Without anything stored there is nothing to note, but others may have it.
    pub(crate) fn invalidate(&self, uri: &str, now: Time) {
        let hash = self.hash(uri);
        let shard = self.shard(hash);
        // What the memory gave up may still lie on the disk.
        let concerns =
            self.disk.get().is_some() || shard.slots.contains_key(&hash) || shard.asked.contains_key(&hash);
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

impl Asking {
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
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

mod shard;
#[cfg(test)]
mod tests;
