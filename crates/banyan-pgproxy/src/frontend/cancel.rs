//! Cancel requests. The keys that clients hold are ours: a number that names worker and client, and a secret. A backend
//! stays reserved until PostgreSQL has closed the cancel connection, so that the signal can hit no other client.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;

use banyan_runtime::TaskKind;

use crate::backend::Backend;
use crate::backend::stream::Stream;
use crate::control::Request;
use crate::pool::Lease;
use crate::wire::startup::{CancelKey, cancel_request};
use crate::worker::Worker;

/// A server that takes longer than this to close a cancel connection has not taken it.
const LIMIT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A client asks on a connection of its own; returns when it may be closed.
pub(super) async fn forward(worker: &Rc<Worker>, key: CancelKey) {
    let (done, finished) = oneshot::channel();
    if Worker::of_client(key.process) == worker.index {
        local(worker, key, done);
    } else if worker.control.send(Request::Cancel(key, done)).is_err() {
        return;
    }
    // Whether there was such a client is nobody's business.
    finished.await.ok();
}

/// Marks the client; its own task acts, because it alone knows what runs.
pub(super) fn local(worker: &Rc<Worker>, key: CancelKey, done: oneshot::Sender<()>) {
    let client = worker.clients.borrow().get(&key.process).cloned();
    if let Some(client) = client.filter(|client| client.secret == key.secret) {
        worker.metrics.cancels.increment();
        client.cancel(done);
    }
}

/// Asks the server to cancel what runs on `backend`; it is reserved until the server has taken it, and so long `askers`
/// wait: what the client sends after that is not hit.
pub(super) fn send(worker: &Rc<Worker>, backend: &Backend, askers: Vec<oneshot::Sender<()>>) {
    let address = backend.address.clone();
    let request = cancel_request(backend.key);
    let cancels = Rc::clone(&backend.cancels);
    cancels.set(cancels.get() + 1);
    worker
        .tasks
        .spawn_local(TaskKind::Connection, "cancel", async move {
            let asked = tokio::time::timeout(LIMIT, async {
                let mut stream = Stream::connect(&address).await?;
                stream.drain(&mut request.to_vec()).await?;
                // PostgreSQL closes it after the signal was sent.
                stream.read(&mut [0]).await
            });
            match asked.await {
                Ok(Ok(_)) => cancels.set(cancels.get() - 1),
                // Nobody knows whether the signal is still to come: reserved for ever, so the backend is closed at last.
                Ok(Err(error)) => tracing::warn!(%error, "failed to cancel a statement"),
                Err(_) => tracing::warn!("failed to cancel a statement: the server did not answer"),
            }
            drop(askers);
        });
}

/// Gives a backend back when the cancel requests on their way to it have arrived; closes it when they do not.
pub(crate) fn give_back_later(lease: Lease) {
    let Some(worker) = lease.pool.worker() else { return };
    worker
        .tasks
        .spawn_local(TaskKind::Connection, "reserved backend", async move {
            let arrived = tokio::time::timeout(LIMIT, async {
                while lease.cancels.get() > 0 {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            });
            if arrived.await.is_ok() {
                lease.give_back();
            }
        });
}
