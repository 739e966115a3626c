//! The disk tier: stored responses that outlive the process, behind the memory tier.
//!
//! What the memory stores is written behind the client's back, one plain file per object (`file`): complete or not there,
//! whatever is killed when. What the memory misses is looked for here; a file that is not whole to the last byte is none.
//! Only names and sizes are in memory (`index`); they are read when the edge starts, and until then everything is a miss.
//! Nothing waits for a write: where the queue is full, an object is not written. Bodies that are too long for the memory have a
//! file of their own (`body`, `long`), and only their heads are in memory. Errors of the disk turn the tier off for
//! [`AGAIN`]; the memory serves on. Threads: one writes, one reads.

pub(crate) mod body;
mod bring;
mod file;
mod index;
mod journal;
mod long;
mod past;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};

use banyan_runtime::{Clock, cores};

use super::object::Object;
use super::store::Store;
use file::Written;
use index::{Id, Index};
use journal::Journal;
use long::Bodies;
use past::Past;

/// Objects that wait to be written; they are in memory anyway.
const WRITES: usize = 1024;
/// Look-ups that wait; more are misses.
const READS: usize = 4096;
/// After an error.
const AGAIN: Duration = Duration::from_secs(30);
/// An unfinished file that is older was left behind.
const LEFT_BEHIND: Duration = Duration::from_secs(600);

pub(crate) struct Disk {
    shared: Arc<Shared>,
    writes: mpsc::Sender<Write>,
    reads: mpsc::Sender<Read>,
    pub dropped: AtomicU64,
    /// Sent to be written so far.
    sent: AtomicU64,
    journal: Mutex<Journal>,
}

/// With the threads, which end when nobody can send them anything.
struct Shared {
    folder: PathBuf,
    index: Mutex<Index>,
    next: AtomicU64,
    /// What this process writes.
    era: u64,
    past: Mutex<Past>,
    problem: Mutex<Option<Problem>>,
    read: AtomicU64,
    /// Of what was sent: done, one way or another.
    done: AtomicU64,
    bodies: Mutex<Bodies>,
    /// What has them in memory.
    store: Weak<Store>,
}

struct Problem {
    why: String,
    until: Instant,
}

enum Write {
    Keep { uri: Box<str>, object: Arc<Object> },
    Forget(Id),
}

struct Read {
    store: Arc<Store>,
    uri: String,
    side: String,
    done: oneshot::Sender<()>,
}

/// How it is, for people.
pub(crate) struct State {
    pub bytes: u64,
    pub objects: usize,
    /// Read from it so far.
    pub read: u64,
    /// Not written: the queue was full.
    pub dropped: u64,
    /// Not written yet.
    pub waiting: u64,
    /// Why nothing is written or read.
    pub problem: Option<String>,
}

impl Disk {
    /// Starts its threads. `seed`: numbers of files begin there; no other process has the same. `probe`: of the table of purges.
    pub(super) fn start(
        store: Weak<Store>,
        folder: PathBuf,
        (seed, probe): (u64, u64),
        bytes: u64,
    ) -> io::Result<Self> {
        let (writes, to_write) = mpsc::channel(WRITES);
        let (reads, to_read) = mpsc::channel(READS);
        let mut index = Index::default();
        index.resize(bytes);
        let journal = Journal::begin(&folder, seed, probe);
        let shared = Arc::new(Shared {
            folder,
            index: Mutex::new(index),
            next: AtomicU64::new(seed),
            era: seed,
            past: Mutex::new(Past::of(journal.epoch)),
            problem: Mutex::default(),
            read: AtomicU64::new(0),
            done: AtomicU64::new(0),
            bodies: Mutex::default(),
            store,
        });
        let (writer, reader) = (Arc::clone(&shared), Arc::clone(&shared));
        cores::spawn("edge-disk-write", 0, move || async move {
            writer.write_all(to_write).await
        })?;
        cores::spawn("edge-disk-read", 0, move || async move {
            reader.read_all(to_read).await
        })?;
        Ok(Self {
            shared,
            writes,
            reads,
            dropped: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            journal: Mutex::new(journal),
        })
    }

    /// 0: nothing is kept, and what lies there goes.
    pub(super) fn resize(&self, bytes: u64) {
        let gone = self.shared.index().resize(bytes);
        gone.into_iter().for_each(|id| self.send_forget(id));
    }

    pub(crate) fn state(&self) -> State {
        let index = self.shared.index();
        let problem = self.shared.problem();
        State {
            bytes: index.bytes(),
            objects: index.len(),
            read: self.shared.read.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            waiting: self
                .sent
                .load(Ordering::Acquire)
                .saturating_sub(self.shared.done.load(Ordering::Acquire)),
            problem: problem.as_ref().map(|problem| problem.why.clone()),
        }
    }

    /// Soon, if there is room in the queue.
    pub(super) fn keep(&self, uri: &str, object: &Arc<Object>) {
        // What it is one of the largest of is not worth all the others; trailers have no place in a file.
        let fits = object.weight < self.shared.index().limit() / 2 && object.body.trailers.is_none();
        // What was made of another can be made again.
        if !fits || object.guest || object.is_made() || object.is_on_disk() || self.shared.is_off() {
            return;
        }
        let uri = uri.into();
        let object = Arc::clone(object);
        self.sent.fetch_add(1, Ordering::AcqRel);
        if self.writes.try_send(Write::Keep { uri, object }).is_err() {
            self.shared.done.fetch_add(1, Ordering::AcqRel);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It was replaced, or is true no more.
    pub(super) fn forget(&self, uri: &str, object: &Object) {
        if let Some(number) = object.leave_disk() {
            let key = key(uri, &object.side);
            let id = Id { key, number };
            if self.shared.index().remove(id) {
                self.send_forget(id);
            }
        }
    }

    /// No other process is to find it.
    fn send_forget(&self, id: Id) {
        if self.writes.try_send(Write::Forget(id)).is_err() {
            self.shared.remove(id);
        }
    }

    /// Puts what lies here of it into the memory.
    pub(super) async fn bring(&self, store: &Arc<Store>, uri: &str, side: &str) {
        if !self.shared.index().has(key(uri, side)) || self.shared.is_off() {
            return;
        }
        let (done, told) = oneshot::channel();
        let read = Read {
            store: Arc::clone(store),
            uri: uri.to_owned(),
            side: side.to_owned(),
            done,
        };
        if self.reads.try_send(read).is_ok() {
            let _ended = told.await;
        }
    }
}

impl Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        // Nothing under the lock can panic half-way.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn problem(&self) -> MutexGuard<'_, Option<Problem>> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_off(&self) -> bool {
        let problem = self.problem();
        problem
            .as_ref()
            .is_some_and(|problem| Clock.now() < problem.until)
    }

    fn path(&self, id: Id) -> PathBuf {
        let name = format!("{:016x}-{:016x}", id.key, id.number);
        self.folder.join(&name[..2]).join(name)
    }

    async fn write_all(&self, mut jobs: mpsc::Receiver<Write>) {
        if let Err(error) = self.scan() {
            self.fails("cannot read what is there", &error);
        }
        while let Some(job) = jobs.recv().await {
            match job {
                Write::Keep { uri, object } => {
                    self.write(&uri, &object);
                    self.done.fetch_add(1, Ordering::AcqRel);
                }
                Write::Forget(id) => self.remove(id),
            }
        }
    }

    fn write(&self, uri: &str, object: &Object) {
        if self.is_off() {
            return;
        }
        let body = object.body.file();
        let id = match body {
            Some(body) => body.id,
            None => self.new_id(uri, &object.side),
        };
        let written = Written {
            uri: uri.to_owned(),
            side: object.side.to_string(),
            era: self.era,
            born: object.born(),
            head: object.head.clone(),
            pieces: object.body.pieces().to_vec(),
            beside: body.map(|body| (body.length, body.digests().to_vec())),
        };
        match self.write_file(&written, id) {
            Ok(bytes) => {
                let again = self.problem().take();
                if again.is_some() {
                    tracing::info!(folder = %self.folder.display(), "the disk of the cache works again");
                }
                let long = body.map(|body| {
                    body.stays();
                    body.length
                });
                let gone = self.index().add(id, bytes + long.unwrap_or_default());
                gone.into_iter().for_each(|id| self.remove(id));
                // Replaced meanwhile.
                if !object.lies_on_disk(id.number) && self.index().remove(id) {
                    self.remove(id);
                }
            }
            Err(error) => self.fails("cannot write", &error),
        }
    }

    fn write_file(&self, written: &Written, id: Id) -> io::Result<u64> {
        let path = self.path(id);
        let unfinished = path.with_extension("new");
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        written.write(&unfinished, &path).inspect_err(|_| {
            drop(fs::remove_file(&unfinished));
        })
    }

    fn fails(&self, what: &str, error: &io::Error) {
        let why = format!("{what} in {}: {error}", self.folder.display());
        tracing::warn!(why, "the cache keeps nothing on the disk for a while");
        let until = Clock.now() + AGAIN;
        *self.problem() = Some(Problem { why, until });
    }

    /// What lies there since before; what was left half-way goes. While another process still serves, it takes files away meanwhile.
    fn scan(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let now = Clock.wall();
        for folder in fs::read_dir(&self.folder)? {
            let folder = folder?.path();
            if !folder.is_dir() {
                continue;
            }
            for entry in fs::read_dir(folder)? {
                match self.find(&entry?, now) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    found => found?,
                }
            }
        }
        Ok(())
    }

    fn find(&self, entry: &fs::DirEntry, now: SystemTime) -> io::Result<()> {
        let (path, meta) = (entry.path(), entry.metadata()?);
        match id_of(&path) {
            Some(id) => {
                let long = fs::metadata(body::beside(&path)).map_or(0, |meta| meta.len());
                let gone = self.index().add(id, meta.len() + long);
                gone.into_iter().for_each(|id| self.remove(id));
            }
            None if self.has_head(&path) => {}
            None if is_old(meta.modified()?, now) => drop(fs::remove_file(path)),
            None => {}
        }
        Ok(())
    }
}

fn is_old(made: SystemTime, now: SystemTime) -> bool {
    now.duration_since(made).is_ok_and(|age| age > LEFT_BEHIND)
}

/// The same in every process: `DefaultHasher::new` has fixed keys; another version of it costs misses.
fn key(uri: &str, side: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (uri, side).hash(&mut hasher);
    hasher.finish()
}

fn id_of(path: &Path) -> Option<Id> {
    let (key, number) = path.file_name()?.to_str()?.split_once('-')?;
    let digits = |text: &str| {
        (text.len() == 16)
            .then(|| u64::from_str_radix(text, 16).ok())
            .flatten()
    };
    Some(Id {
        key: digits(key)?,
        number: digits(number)?,
    })
}
