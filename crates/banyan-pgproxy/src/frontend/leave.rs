//! A client goes: its last words, and its backend in a state for others, or closed.

use std::rc::Rc;
use std::time::Duration;

use super::cancel;
use super::client::{Client, Ending};
use super::tracking::Tracking;
use crate::backend::replies::Sink;
use crate::pool::Lease;
use crate::respond::{self, Refusal};
use crate::session::Session;
use crate::session::marks::Marks;
use crate::session::settings::Settings;
use crate::worker::Worker;

/// For the last words to a client.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a backend may take to become fit for others.
pub(super) const CLEAN_LIMIT: Duration = Duration::from_secs(5);

impl Client {
    /// The client goes: its last words, and its backend in a state for others, or closed.
    pub(super) async fn finish(mut self, ending: Ending) {
        self.worker.clients.borrow_mut().remove(&self.shared.number);
        if let Some(lease) = self.lease.take() {
            self.worker.metrics.active.decrement();
            if self.pinned {
                lease.pool.unpin();
            }
            if !self.on_replica {
                self.tracking.replied(&self.worker.fresh);
            }
            let tracking = std::mem::take(&mut self.tracking);
            leave(&self.worker, lease, &self.session, tracking);
        }
        match ending {
            Ending::Left => return,
            Ending::Moves => return self.move_on(),
            Ending::Refused(refusal) => {
                self.worker.refused(&refusal);
                tracing::debug!(code = refusal.code(), reason = %refusal, "client ended");
                respond::error(&mut self.outbox, "FATAL", &refusal);
            }
            Ending::ServerEnded | Ending::Lost => {}
        }
        // The client may be gone, too.
        tokio::time::timeout(FAREWELL, self.stream.drain(&mut self.outbox))
            .await
            .ok();
    }
}

/// Reads until nothing is owed. For moments when no client is pumped.
pub(super) async fn settled(lease: &mut Lease, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    let mut buffer = vec![0; 4096];
    loop {
        let backend = &mut **lease;
        let lost = |_| Refusal::BackendLost;
        backend.stream.drain(&mut backend.outbox).await.map_err(lost)?;
        if backend.is_quiet() {
            break;
        }
        let read = backend.stream.read(&mut buffer).await.map_err(lost)?;
        if read == 0 {
            return Err(Refusal::BackendLost);
        }
        let received = backend.receive(&buffer[..read], sink.again());
        let received = received.map_err(|_| Refusal::Desync)?;
        if received.fatal {
            return Err(Refusal::BackendLost);
        }
    }
    match lease.failure.take() {
        Some(failure) => Err(Refusal::Settings(failure.words)),
        None => Ok(()),
    }
}

/// What a client that has gone has sent may still commit: until the server has ended it, it counts as under way.
fn outlive(worker: &Rc<Worker>, mut lease: Lease, mut tracking: Tracking) {
    lease.spent = true;
    let worker_too = Rc::clone(worker);
    worker
        .tasks
        .spawn_local(banyan_runtime::TaskKind::Connection, "outlived", async move {
            let ended = async {
                let mut buffer = vec![0; 4096];
                while !matches!(lease.stream.read(&mut buffer).await, Ok(0) | Err(_)) {
                    tracking.replied(&worker_too.fresh);
                }
            };
            let _late = tokio::time::timeout(CLEAN_LIMIT, ended).await;
            tracking.lost(&worker_too.fresh);
        });
}

/// A client has left this backend behind.
fn leave(worker: &Rc<Worker>, mut lease: Lease, session: &Session, mut tracking: Tracking) {
    if lease.spent {
        tracking.lost(&worker.fresh);
        return;
    }
    let unsynced = lease.is_quiet() && lease.is_open() && lease.status == b'I';
    let guard = lease.guard.as_ref();
    if unsynced || guard.is_some_and(|guard| guard.ours && !guard.commits) {
        // Closed, it ends without a commit.
        tracking.lost(&worker.fresh);
        return;
    }
    if !lease.is_quiet() {
        // What runs for nobody is stopped; whose replies would come is not waited for.
        if !lease.expected.is_empty() {
            cancel::send(worker, &lease, Vec::new());
        }
        if tracking.is_committing() {
            outlive(worker, lease, tracking);
        }
        return;
    }
    tracking.lost(&worker.fresh);
    let left = session.marks.with(session.pins).without(Marks::FREE);
    if left.has(Marks::LOAD) {
        return;
    }
    let left = left.without(Marks::SESSION_MODE);
    let session_mode = session.pins.has(Marks::SESSION_MODE);
    if lease.status == b'I' && left.is_none() && !session_mode {
        lease.give_back();
        return;
    }
    let startup = Rc::clone(&worker.shop.intern_settings(Settings::default()));
    let parameters = Rc::clone(&lease.parameters);
    let worker_too = Rc::clone(worker);
    worker
        .tasks
        .spawn_local(banyan_runtime::TaskKind::Connection, "clean", async move {
            let mut session = Session::new(startup, parameters, &worker_too.shop);
            let mut heard = Vec::new();
            let mut sink = Sink::new(&worker_too.shop, &mut session, &mut heard, 0);
            let reset = !left.is_none() || session_mode;
            let cleaned = tokio::time::timeout(CLEAN_LIMIT, async {
                if lease.status != b'I' {
                    lease.clean("ROLLBACK");
                    settled(&mut lease, &mut sink).await?;
                }
                if reset {
                    lease.clean("DISCARD ALL");
                    settled(&mut lease, &mut sink).await?;
                    lease.known.clear();
                    lease.settings = worker_too.shop.intern_settings(Settings::default());
                }
                Ok::<(), Refusal>(())
            });
            if matches!(cleaned.await, Ok(Ok(()))) && lease.status == b'I' {
                lease.give_back();
            }
        });
}
