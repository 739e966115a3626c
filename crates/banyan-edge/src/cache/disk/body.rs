//! A body that is too long for the memory, in a file of its own beside that of its head: written as it comes from the origin,
//! read meanwhile by any number, and found there by the next process.
//!
//! It is known by slices of [`SLICE`] bytes, each with a digest in the head's file. What this process has not written itself is
//! compared with it before a byte goes out: a damaged body breaks off and is given up, it is never wrong. Reads and writes are
//! blocking work off the cores. The file goes with the last one who knows it, unless its head lies beside it.

use std::fs::{File, OpenOptions};
use std::future::Future as _;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

use super::Shared;
use super::index::Id;
use crate::cache::flow::{End, Read};

/// Bytes under one digest.
pub(super) const SLICE: u64 = 256 << 10;

pub(super) type Digest = [u8; 32];

pub(crate) struct Body {
    disk: Arc<Shared>,
    /// Of its head's file, too.
    pub(super) id: Id,
    /// What it is stored under.
    pub(super) uri: Box<str>,
    pub length: u64,
    file: Arc<File>,
    path: PathBuf,
    state: Mutex<State>,
    /// Its head lies beside it.
    stays: AtomicBool,
}

#[derive(Default)]
struct State {
    /// From the first byte on.
    written: u64,
    /// `Err`: the rest never comes.
    end: Option<Result<(), ()>>,
    digests: Arc<[Digest]>,
    /// Of slices: whether they are as they were written.
    sound: Vec<bool>,
    /// Of readers that wait for more.
    wakers: Vec<Waker>,
}

impl Body {
    /// Room for a body that comes. An error: there is none.
    pub(super) fn begin(disk: &Arc<Shared>, id: Id, uri: Box<str>, length: u64) -> io::Result<Self> {
        let path = disk.path(id).with_extension("body");
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let body = Self {
            disk: Arc::clone(disk),
            id,
            uri,
            length,
            file: Arc::new(file),
            path,
            state: Mutex::default(),
            stays: AtomicBool::new(false),
        };
        disk.reserve(length);
        // A disk that is full must say so before a client waits for it.
        match fallocate(&body.file, FallocateFlags::empty(), 0, length) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(body),
            Err(error) => Err(error.into()),
        }
    }

    /// What lies there since before. `Ok(None)`: another length than its head says.
    pub(super) fn open(
        disk: &Arc<Shared>,
        id: Id,
        uri: &str,
        length: u64,
        digests: Vec<Digest>,
    ) -> io::Result<Option<Self>> {
        let path = disk.path(id).with_extension("body");
        let file = File::open(&path)?;
        let slices = length.div_ceil(SLICE);
        if file.metadata()?.len() != length || digests.len() as u64 != slices {
            return Ok(None);
        }
        let state = State {
            written: length,
            end: Some(Ok(())),
            sound: vec![false; digests.len()],
            digests: digests.into(),
            wakers: Vec::new(),
        };
        Ok(Some(Self {
            disk: Arc::clone(disk),
            id,
            uri: uri.into(),
            length,
            file: Arc::new(file),
            path,
            state: Mutex::new(state),
            stays: AtomicBool::new(true),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn digests(&self) -> Arc<[Digest]> {
        Arc::clone(&self.state().digests)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state().end.is_some()
    }

    /// Its head lies beside it, so it may outlive whoever knows it.
    pub(super) fn stays(&self) {
        if !self.stays.swap(true, Ordering::AcqRel) {
            self.disk.release(self.length);
        }
    }

    pub(crate) fn reader(self: &Arc<Self>) -> Reading {
        self.disk.is_used(self.id);
        Reading {
            body: Arc::clone(self),
            running: None,
            piece: None,
        }
    }

    fn wrote(&self, written: u64) {
        let mut state = self.state();
        state.written = written;
        state.wakers.drain(..).for_each(Waker::wake);
    }

    fn end(&self, digests: Result<Vec<Digest>, ()>) {
        let mut state = self.state();
        if state.end.is_none() {
            state.end = Some(if digests.is_ok() { Ok(()) } else { Err(()) });
            state.digests = digests.unwrap_or_default().into();
            // It was in this process's hands until now.
            state.sound = vec![true; state.digests.len()];
        }
        state.wakers.drain(..).for_each(Waker::wake);
    }

    /// What may be read now around `at`.
    fn next(&self, cx: &Context<'_>, at: u64) -> Poll<Result<Job, End>> {
        let mut state = self.state();
        if at < state.written && !state.digests.is_empty() {
            let slice = at / SLICE;
            let n = usize::try_from(slice).unwrap_or(usize::MAX);
            let unknown = state.sound.get(n) != Some(&true);
            let digest = state.digests.get(n).copied().filter(|_| unknown);
            let from = if digest.is_some() { slice * SLICE } else { at };
            let until = ((slice + 1) * SLICE).min(self.length);
            return Poll::Ready(Ok(Job { from, until, digest }));
        }
        if at < state.written {
            let until = (at + SLICE).min(state.written);
            return Poll::Ready(Ok(Job {
                from: at,
                until,
                digest: None,
            }));
        }
        match state.end {
            Some(Ok(())) => Poll::Ready(Err(End::Whole(None))),
            Some(Err(())) => Poll::Ready(Err(End::Broken)),
            None => {
                if !state.wakers.iter().any(|known| known.will_wake(cx.waker())) {
                    state.wakers.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    fn is_sound(&self, from: u64) {
        let n = usize::try_from(from / SLICE).unwrap_or(usize::MAX);
        if let Some(sound) = self.state().sound.get_mut(n) {
            *sound = true;
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if !self.stays.load(Ordering::Acquire) {
            self.disk.release(self.length);
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// One read.
#[derive(Clone, Copy)]
struct Job {
    from: u64,
    until: u64,
    digest: Option<Digest>,
}

impl Job {
    fn run(self, file: &File) -> io::Result<Bytes> {
        let count = usize::try_from(self.until - self.from).map_err(io::Error::other)?;
        let mut bytes = vec![0; count];
        file.read_exact_at(&mut bytes, self.from)?;
        match self.digest {
            Some(digest) if Sha256::digest(&bytes)[..] != digest => Err(io::ErrorKind::InvalidData.into()),
            _ => Ok(bytes.into()),
        }
    }
}

/// One reader's place.
pub(crate) struct Reading {
    body: Arc<Body>,
    running: Option<(u64, JoinHandle<io::Result<Bytes>>)>,
    /// With the place of its first byte.
    piece: Option<(u64, Bytes)>,
}

impl Reading {
    /// What begins at `at`.
    pub(crate) fn poll(&mut self, cx: &Context<'_>, at: u64) -> Poll<Read> {
        loop {
            if let Some((from, running)) = &mut self.running {
                let done = ready!(Pin::new(running).poll(&mut Context::from_waker(cx.waker())));
                let from = *from;
                self.running = None;
                match done.unwrap_or_else(|_panic| Err(io::Error::other("reading ended by a bug"))) {
                    Ok(bytes) => {
                        self.body.is_sound(from);
                        self.piece = Some((from, bytes));
                    }
                    Err(error) => {
                        self.body.disk.gives_up(&self.body, &error);
                        return Poll::Ready(Read::End(End::Broken));
                    }
                }
            }
            if let Some((from, bytes)) = self.piece.take() {
                let skip = at.checked_sub(from).and_then(|skip| usize::try_from(skip).ok());
                if let Some(skip) = skip.filter(|skip| *skip < bytes.len()) {
                    return Poll::Ready(Read::Data(bytes.slice(skip..)));
                }
            }
            let job = match ready!(self.body.next(cx, at)) {
                Ok(job) => job,
                Err(end) => return Poll::Ready(Read::End(end)),
            };
            let file = Arc::clone(&self.body.file);
            let running = banyan_runtime::task::blocking(move || job.run(&file));
            self.running = Some((job.from, running));
        }
    }
}

/// Digests of what was written so far.
#[derive(Default)]
struct Hashing {
    slice: Sha256,
    filled: u64,
    done: Vec<Digest>,
}

impl Hashing {
    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(SLICE - self.filled).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.slice.update(now);
            self.filled += now.len() as u64;
            if self.filled == SLICE {
                self.end_slice();
            }
            bytes = later;
        }
    }

    fn end_slice(&mut self) {
        self.done.push(std::mem::take(&mut self.slice).finalize().into());
        self.filled = 0;
    }

    fn end(mut self) -> Vec<Digest> {
        if self.filled > 0 {
            self.end_slice();
        }
        self.done
    }
}

/// Whoever writes it; dropped before its end it has broken off.
pub(crate) struct Writing {
    body: Arc<Body>,
    at: u64,
    hashing: Option<Hashing>,
    waiting: bytes::BytesMut,
    running: Option<JoinHandle<io::Result<(Hashing, u64)>>>,
}

/// Bytes that wait while others are written; whoever pushes waits, too, beyond it.
const WAITING: usize = 1 << 20;

impl Writing {
    pub(crate) fn new(body: Arc<Body>) -> Self {
        Self {
            body,
            at: 0,
            hashing: Some(Hashing::default()),
            waiting: bytes::BytesMut::new(),
            running: None,
        }
    }

    pub(crate) fn push(&mut self, data: &[u8]) {
        self.waiting.extend_from_slice(data);
    }

    /// Ready when more may be pushed.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_written(cx) {
            Poll::Pending if self.waiting.len() < WAITING => Poll::Ready(Ok(())),
            other => other,
        }
    }

    /// Ready when all that was pushed is written.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(running) = &mut self.running {
                let done = ready!(Pin::new(running).poll(cx));
                self.running = None;
                let (hashing, at) =
                    done.unwrap_or_else(|_panic| Err(io::Error::other("writing ended by a bug")))?;
                (self.hashing, self.at) = (Some(hashing), at);
                self.body.wrote(at);
            }
            if self.waiting.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let Some(mut hashing) = self.hashing.take() else {
                return Poll::Ready(Err(io::Error::other("a write failed before")));
            };
            let (bytes, at) = (self.waiting.split().freeze(), self.at);
            let file = Arc::clone(&self.body.file);
            self.running = Some(banyan_runtime::task::blocking(move || {
                file.write_all_at(&bytes, at)?;
                hashing.add(&bytes);
                Ok((hashing, at + bytes.len() as u64))
            }));
        }
    }

    /// `whole`: nothing is missing at its end. `None`: it is not what was announced, or the disk failed.
    pub(crate) async fn finish(mut self, whole: bool) -> Option<Arc<Body>> {
        let written = std::future::poll_fn(|cx| self.poll_written(cx)).await;
        if let Err(error) = &written {
            self.fails(error);
        }
        let hashing = self.hashing.take().filter(|_| written.is_ok());
        let hashing = hashing.filter(|_| whole && self.at == self.body.length)?;
        self.body.end(Ok(hashing.end()));
        Some(Arc::clone(&self.body))
    }

    pub(crate) fn fails(&self, error: &io::Error) {
        self.body.disk.fails("cannot write", error);
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.body.end(Err(()));
    }
}

/// A file that is put there at once: a copy of another one. Blocking.
pub(super) fn copy(body: &Arc<Body>, from: &mut impl io::Read) -> io::Result<bool> {
    let (mut hashing, mut at) = (Hashing::default(), 0);
    let mut piece = vec![0; usize::try_from(SLICE).map_err(io::Error::other)?];
    loop {
        let count = from.read(&mut piece)?;
        if count == 0 {
            break;
        }
        let bytes = &piece[..count];
        if at + count as u64 > body.length {
            return Ok(false);
        }
        body.file.write_all_at(bytes, at)?;
        hashing.add(bytes);
        at += count as u64;
    }
    if at != body.length {
        return Ok(false);
    }
    body.wrote(at);
    body.end(Ok(hashing.end()));
    Ok(true)
}

/// Beside the file of its head.
pub(super) fn beside(head: &Path) -> PathBuf {
    head.with_extension("body")
}
