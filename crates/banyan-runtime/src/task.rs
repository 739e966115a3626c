//! Spawning: every task has a kind that says what its end means, so that none dies unseen.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::shutdown::{ShutdownStage, ShutdownTrigger};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// The process lives for it: a panic is reported and begins the shutdown.
    Role,
    /// One peer's work: a panic is reported and ends that connection only.
    Connection,
    /// Helps a role: a panic is reported; the role notices by the closed channel.
    Background,
}

/// Spawns and counts tasks; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    shutdown: ShutdownTrigger,
}

impl Tasks {
    pub fn new(shutdown: ShutdownTrigger) -> Self {
        Self {
            tracker: TaskTracker::new(),
            shutdown,
        }
    }

    /// Runs `future` on the current multi-threaded runtime.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn<F>(&self, kind: TaskKind, name: &'static str, future: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tokio::spawn(self.tracker.track_future(Watched {
            future: Box::pin(future),
            kind,
            name,
            shutdown: self.shutdown.clone(),
        }))
    }

    /// Runs `future` on the current core's `LocalSet` (see [`crate::cores`]).
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn_local<F>(
        &self,
        kind: TaskKind,
        name: &'static str,
        future: F,
    ) -> JoinHandle<Option<F::Output>>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        tokio::task::spawn_local(self.tracker.track_future(Watched {
            future: Box::pin(future),
            kind,
            name,
            shutdown: self.shutdown.clone(),
        }))
    }

    /// Runs blocking work off the async threads.
    pub fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.tracker.spawn_blocking(work)
    }

    /// Returns when every task has ended.
    pub async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Runs blocking work beside the current runtime, for whoever awaits it; nobody counts it.
pub fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

/// Turns a panic into `None` and a report.
struct Watched<F> {
    future: Pin<Box<F>>,
    kind: TaskKind,
    name: &'static str,
    shutdown: ShutdownTrigger,
}

impl<F: Future> Future for Watched<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| self.future.as_mut().poll(context)));
        match polled {
            Ok(poll) => poll.map(Some),
            Err(_panic) => {
                tracing::error!(task = self.name, kind = ?self.kind, "task panicked: this is a bug in Banyan");
                if self.kind == TaskKind::Role {
                    self.shutdown.advance(ShutdownStage::Draining);
                }
                Poll::Ready(None)
            }
        }
    }
}
