//! From the disk into the memory: what lies there under a key, as far as it is whole. Of long bodies only the head is read.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::body::Body;
use super::file::Written;
use super::index::Id;
use super::past::Worth;
use super::{Read, Shared, key};
use crate::cache::kept::Kept;
use crate::cache::store::Store;

impl Shared {
    pub(super) async fn read_all(self: &Arc<Self>, mut jobs: mpsc::Receiver<Read>) {
        while let Some(Read {
            store,
            uri,
            side,
            done,
        }) = jobs.recv().await
        {
            // The one before may have asked for the same.
            if store.find(&uri, &side).objects.is_empty() {
                self.read(&store, &uri, &side);
            }
            let _gone = done.send(());
        }
    }

    fn read(self: &Arc<Self>, store: &Arc<Store>, uri: &str, side: &str) {
        let ids = self.index().take(key(uri, side));
        let mut found = Vec::new();
        for id in ids {
            match self.read_one(id, (uri, side)) {
                Ok(Some(written)) => match self.worth(&written.0) {
                    Worth::Nothing => {
                        self.index().remove(id);
                        self.remove(id);
                    }
                    Worth::NotNow => {}
                    worth => found.push((id, worth, written)),
                },
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::warn!(path = %self.path(id).display(), "a stored response is damaged, and was removed");
                    self.index().remove(id);
                    self.remove(id);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.index().remove(id);
                    self.remove(id);
                }
                Err(error) => self.fails("cannot read", &error),
            }
        }
        // Of two that the same requests select the newer one stays.
        found.sort_by_key(|(_, _, (written, _))| written.head.received);
        for (id, worth, (mut written, body)) in found {
            self.read.fetch_add(1, Ordering::Relaxed);
            written.head.invalidated |= worth == Worth::Unsure;
            store.insert_from_disk(uri, side, written.head, body, written.born, id.number);
        }
    }

    /// `Ok(None)`: another one with the same hash. `InvalidData`: it is not whole.
    fn read_one(self: &Arc<Self>, id: Id, (uri, side): (&str, &str)) -> io::Result<Option<(Written, Kept)>> {
        let torn = || io::Error::from(io::ErrorKind::InvalidData);
        let mut written = Written::read(&self.path(id))?.ok_or_else(torn)?;
        if written.uri != uri || written.side != side {
            return Ok(None);
        }
        let Some((length, digests)) = written.beside.take() else {
            let pieces = std::mem::take(&mut written.pieces);
            return Ok(Some((written, Kept::new(pieces, None))));
        };
        let body = Arc::new(Body::open(self, id, uri, length, digests)?.ok_or_else(torn)?);
        self.knows(&body);
        Ok(Some((written, Kept::in_file(body))))
    }
}
