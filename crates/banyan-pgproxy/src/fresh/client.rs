//! What one client has seen and written: its reads never go back, and in mode `session` they include its own writes.

use super::commits::Commits;
use super::marks::{Epoch, Marks};
use crate::catalog::Tables;
use crate::route::Freshness;

#[derive(Clone, Copy, Debug, Default)]
pub struct ClientFreshness {
    /// A replica must cover this epoch to serve the client again.
    floor: Epoch,
    /// The last epoch in which the client wrote.
    wrote: Epoch,
}

impl ClientFreshness {
    /// At the end of a read on the primary, before its last byte is forwarded. It may have shown commits that are not acknowledged yet;
    /// if none is under way, the marks say it all.
    pub fn primary_read(&mut self, marks: &Marks, commits: &Commits) {
        if !commits.is_idle() {
            self.floor = self.floor.max(marks.now());
        }
    }

    /// After the client's write was marked.
    pub fn wrote(&mut self, epoch: Epoch) {
        self.wrote = self.wrote.max(epoch);
    }

    /// The epoch that a replica must cover to serve `tables` now; None if it need cover none.
    pub fn needs(&self, marks: &Marks, tables: &Tables, freshness: Freshness) -> Option<Epoch> {
        match freshness {
            Freshness::Index => Some(marks.now()),
            Freshness::Tables => Some(marks.needed(tables).max(self.floor)),
            Freshness::Session => Some(self.wrote.max(self.floor)),
            Freshness::Bounded(_) | Freshness::Off => None,
        }
    }
}
