//! Long bodies among the files: room for them, who knows them, and how they go.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};

use super::body::{self, Body};
use super::index::Id;
use super::{Disk, Shared, key};

/// A body may take this share of the disk.
const LARGEST: u64 = 4;

/// Those that this process knows, by their number.
#[derive(Default)]
pub(super) struct Bodies {
    known: HashMap<u64, Weak<Body>>,
    sweep_at: usize,
}

impl Bodies {
    fn add(&mut self, body: &Arc<Body>) {
        if self.known.len() > self.sweep_at {
            self.known.retain(|_, body| body.strong_count() > 0);
            self.sweep_at = self.known.len() * 2 + 64;
        }
        self.known.insert(body.id.number, Arc::downgrade(body));
    }
}

impl Disk {
    /// The longest body that is kept here; 0: none is.
    pub(crate) fn largest(&self) -> u64 {
        if self.shared.is_off() {
            return 0;
        }
        self.shared.index().limit() / LARGEST
    }

    /// A file for a body that comes. `None`: it has no room, or the disk failed.
    pub(crate) async fn begin(&self, uri: &str, side: &str, length: u64) -> Option<Arc<Body>> {
        let (shared, id, uri) = (
            Arc::clone(&self.shared),
            self.shared.new_id(uri, side),
            uri.to_owned(),
        );
        let begun = banyan_runtime::task::blocking(move || shared.begin(id, &uri, length));
        begun.await.ok().flatten()
    }

    /// A copy of a file. `None`: it is not as long as that, there is no room, or the disk failed. Blocking.
    pub(crate) fn copy(
        &self,
        (uri, side): (&str, &str),
        from: &mut impl io::Read,
        length: u64,
    ) -> Option<Arc<Body>> {
        let body = self.shared.begin(self.shared.new_id(uri, side), uri, length)?;
        match body::copy(&body, from) {
            Ok(true) => Some(body),
            Ok(false) => None,
            Err(error) => {
                self.shared.fails("cannot write", &error);
                None
            }
        }
    }
}

impl Shared {
    pub(super) fn new_id(&self, uri: &str, side: &str) -> Id {
        Id {
            key: key(uri, side),
            number: self.next.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn begin(self: &Arc<Self>, id: Id, uri: &str, length: u64) -> Option<Arc<Body>> {
        match Body::begin(self, id, uri.into(), length) {
            Ok(body) => {
                let body = Arc::new(body);
                self.bodies().add(&body);
                Some(body)
            }
            Err(error) => {
                self.fails("cannot write", &error);
                None
            }
        }
    }

    pub(super) fn knows(&self, body: &Arc<Body>) {
        self.bodies().add(body);
    }

    fn bodies(&self) -> MutexGuard<'_, Bodies> {
        // Nothing under the lock can panic half-way.
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that are to come count as there.
    pub(super) fn reserve(&self, bytes: u64) {
        let gone = self.index().reserve(bytes);
        gone.into_iter().for_each(|id| self.remove(id));
    }

    pub(super) fn release(&self, bytes: u64) {
        self.index().release(bytes);
    }

    /// It was asked for, and goes later than others.
    pub(super) fn is_used(&self, id: Id) {
        self.index().touch(id);
    }

    /// It cannot be read: nobody else is to find it.
    pub(super) fn gives_up(&self, body: &Body, error: &io::Error) {
        if error.kind() == io::ErrorKind::InvalidData || error.kind() == io::ErrorKind::UnexpectedEof {
            tracing::warn!(uri = %body.uri, "a stored body is damaged, and was removed");
        } else {
            self.fails("cannot read", error);
        }
        self.index().remove(body.id);
        self.remove(body.id);
    }

    /// The files; the memory does not know what was in them any more.
    pub(super) fn remove(&self, id: Id) {
        let path = self.path(id);
        drop(fs::remove_file(&path));
        drop(fs::remove_file(body::beside(&path)));
        let body = self.bodies().known.remove(&id.number);
        if let (Some(body), Some(store)) = (body.and_then(|body| body.upgrade()), self.store.upgrade()) {
            store.forget_body(&body.uri, &body);
        }
    }

    /// A body without its head is one that is being written, or was left behind.
    pub(super) fn has_head(&self, body: &Path) -> bool {
        body.extension().is_some_and(|name| name == "body") && body.with_extension("").exists()
    }
}
