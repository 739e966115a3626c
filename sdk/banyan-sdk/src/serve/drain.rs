//! SIGTERM: say not ready, go on serving with `Connection: close`, stop accepting once nothing arrives any more, end.
//!
//! An app cannot know when the load balancer has taken it out; what it can see is that requests stop coming. Limits:
//! accepting ends after [`QUIET`] without a request or [`ACCEPT_LIMIT`]; all ends [`END_LIMIT`] after the signal,
//! below the 30 seconds after which supervisors commonly kill.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use super::health;
use crate::Banyan;

const QUIET: Duration = Duration::from_secs(1);
const ACCEPT_LIMIT: Duration = Duration::from_secs(10);
pub(super) const END_LIMIT: Duration = Duration::from_secs(25);

pub(crate) struct Drain {
    begun: watch::Sender<bool>,
    last_request: watch::Sender<Instant>,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            begun: watch::Sender::new(false),
            last_request: watch::Sender::new(Instant::now()),
        }
    }
}

impl Drain {
    pub(super) fn begin(&self) {
        self.begun.send_replace(true);
    }

    pub(super) fn has_begun(&self) -> bool {
        *self.begun.borrow()
    }

    /// Returns when accepting may end.
    pub(super) async fn wait(&self) {
        let mut begun = self.begun.subscribe();
        // The sender lives in self: it cannot be gone.
        begun.wait_for(|begun| *begun).await.ok();
        let start = Instant::now();
        loop {
            let last = *self.last_request.borrow();
            let end = (last.max(start) + QUIET).min(start + ACCEPT_LIMIT);
            if Instant::now() >= end {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

/// Notes that a request came and, once draining, asks the client to come back on a new connection.
pub(super) async fn close_when_draining(
    State(banyan): State<Banyan>,
    request: Request,
    next: Next,
) -> Response {
    let drain = banyan.drain();
    // Health checks do not stop when the load balancer stops sending requests.
    if drain.has_begun() && !health::is_health_path(request.uri().path()) {
        drain.last_request.send_replace(Instant::now());
    }
    let mut response = next.run(request).await;
    if drain.has_begun() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// SIGTERM, or Ctrl-C in a terminal.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub(super) fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
