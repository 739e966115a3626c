//! What all workers share: marks, writes under way, the view of positions, the catalog. Cheap to read; only waiting costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use banyan_runtime::Clock;

use super::commits::{Commits, Ticket};
use super::marks::{Epoch, Marks};
use super::sampler::PATIENCE;
use super::view::{Verdict, View};
use super::watcher::{Ask, Nodes};
use crate::catalog::{Catalog, Effect, Tables};

/// What a read asks of a replica.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Need {
    /// To have replayed what this epoch stands for.
    Epoch(Epoch),
    /// To have what the primary had this long ago.
    Within(Duration),
    /// To be there.
    Nothing,
}

#[derive(Debug)]
pub struct Fresh {
    pub marks: Marks,
    pub commits: Commits,
    pub(super) view: watch::Receiver<Arc<View>>,
    pub(super) catalog: watch::Receiver<Option<Arc<Catalog>>>,
    pub(super) asks: mpsc::UnboundedSender<Ask>,
    pub(super) ended: watch::Sender<()>,
    pub(super) replicas: AtomicBool,
}

/// Replicas that may serve a read: indexes into the view's.
#[derive(Clone, Debug)]
pub struct Candidates {
    pub view: Arc<View>,
    pub replicas: Vec<usize>,
}

impl Fresh {
    /// The catalog, unless definitions have changed since it was read.
    pub fn catalog(&self) -> Option<Arc<Catalog>> {
        let catalog = self.catalog.borrow().clone()?;
        (catalog.generation() == self.marks.definitions()).then_some(catalog)
    }

    /// The catalog that was read last: good enough for figures.
    pub(crate) fn last_catalog(&self) -> Option<Arc<Catalog>> {
        self.catalog.borrow().clone()
    }

    /// Definitions as they are read, and again when they have changed.
    pub(crate) fn catalogs(&self) -> watch::Receiver<Option<Arc<Catalog>>> {
        self.catalog.clone()
    }

    /// Until definitions are read as they are now.
    pub(crate) async fn definitions_read(&self) {
        let mut changes = self.catalog.clone();
        while self.catalog().is_none() {
            // The keeper ends with the process only.
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Before the acknowledgement of a change of definitions is forwarded.
    pub(crate) fn definitions_changed(&self) {
        self.marks.definitions_changed();
        // Nobody reads the catalog again in a process that ends.
        let _ended: Result<(), _> = self.asks.send(Ask::Definitions).map_err(drop);
    }

    /// Whether anything of all this is of use: without replicas no statement is looked into.
    pub fn has_replicas(&self) -> bool {
        self.replicas.load(SeqCst)
    }

    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// Who may serve the read now, without waiting.
    pub fn candidates(&self, need: Need) -> Result<Candidates, Verdict> {
        self.judge(need, Clock.now())
    }

    /// The same, waiting for a replica to come so far, but not long: None means the primary.
    pub async fn wait_for_candidates(&self, need: Need) -> Option<Candidates> {
        self.wait_for(need, |_| true).await
    }

    /// The same, until `accept` agrees with the view as well.
    pub async fn wait_for(&self, need: Need, accept: impl Fn(&View) -> bool) -> Option<Candidates> {
        let mut changes = self.view.clone();
        let deadline = tokio::time::Instant::from_std(Clock.now() + PATIENCE);
        let epoch = match need {
            Need::Epoch(epoch) => epoch,
            // Any later position does.
            Need::Within(_) => self.marks.now(),
            Need::Nothing => Epoch(0),
        };
        let mut asked = false;
        loop {
            changes.mark_unchanged();
            match self.judge(need, Clock.now()) {
                Ok(candidates) if accept(&candidates.view) => return Some(candidates),
                Err(Verdict::Nobody) => return None,
                _ if !asked => {
                    asked = true;
                    // A closed channel is the end of the process.
                    self.asks.send(Ask::Epoch(epoch)).ok()?;
                }
                _ => {}
            }
            tokio::time::timeout_at(deadline, changes.changed())
                .await
                .ok()?
                .ok()?;
        }
    }

    fn judge(&self, need: Need, now: Instant) -> Result<Candidates, Verdict> {
        let view = self.view();
        let verdict = match need {
            Need::Epoch(epoch) => view.verdict(Some(epoch)),
            Need::Within(lag) => view.within(lag, now),
            Need::Nothing => view.verdict(None),
        };
        match verdict {
            Verdict::Fresh(replicas) => Ok(Candidates { view, replicas }),
            other => Err(other),
        }
    }

    /// Before what may commit is sent to the primary.
    pub fn begin(&self, effect: &Effect) -> Option<Ticket> {
        (!effect.tables.is_none()).then(|| self.commits.begin(effect.tables.clone(), Clock.now()))
    }

    /// Before an acknowledgement is forwarded, or when the outcome is unknown. `generation` is the plan's: if definitions have changed
    /// since, what it says of tables is void.
    pub fn changed(&self, effect: &Effect, generation: u64) -> Epoch {
        if effect.definitions {
            self.definitions_changed();
        }
        let current = generation == self.marks.definitions();
        self.marks
            .mark(if current { &effect.tables } else { &Tables::All })
    }

    /// The write is acknowledged, or will never be.
    pub fn end(&self, ticket: Ticket) {
        self.commits.end(ticket);
        self.ended.send_replace(());
    }

    /// Waits until none of `tickets` is under way. False: it took longer than `limit`.
    pub async fn gate(&self, tickets: &[Ticket], limit: Duration) -> bool {
        let mut ended = self.ended.subscribe();
        let waiting = async {
            while self.commits.any_of(tickets) {
                if ended.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(limit, waiting).await.is_ok()
    }

    /// Is something under way for as long already that may change one of them?
    pub fn is_long_changed(&self, tables: &Tables, limit: Duration) -> bool {
        let then = Clock.now().checked_sub(limit);
        then.is_some_and(|then| self.commits.any_since(then, tables))
    }

    /// A statement named what the catalog does not have.
    pub fn unknown_name(&self) {
        let _ended: Result<(), _> = self.asks.send(Ask::UnknownName).map_err(drop);
    }

    /// The servers there are, from a new snapshot.
    pub fn nodes(&self, nodes: Nodes) {
        let _ended: Result<(), _> = self.asks.send(Ask::Nodes(Box::new(nodes))).map_err(drop);
    }
}
