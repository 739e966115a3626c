//! How a process ends: running → draining (finish, take no new) → now.
//!
//! The first SIGTERM or SIGINT starts the drain, the second ends it at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::task::{TaskKind, Tasks};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShutdownStage {
    Running,
    Draining,
    Now,
}

/// What components watch. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<ShutdownStage>);

/// Moves the stage forward; it never goes back.
#[derive(Clone, Debug)]
pub struct ShutdownTrigger(watch::Sender<ShutdownStage>);

pub fn channel() -> (ShutdownTrigger, Shutdown) {
    let (sender, receiver) = watch::channel(ShutdownStage::Running);
    (ShutdownTrigger(sender), Shutdown(receiver))
}

impl ShutdownTrigger {
    pub fn advance(&self, to: ShutdownStage) {
        self.0.send_if_modified(|stage| {
            let moved = *stage < to;
            *stage = (*stage).max(to);
            moved
        });
    }

    /// Advances on SIGTERM and SIGINT. Fails when a handler cannot be installed.
    pub fn on_signals(&self, tasks: &Tasks) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let trigger = self.clone();
        tasks.spawn(TaskKind::Background, "signals", async move {
            for stage in [ShutdownStage::Draining, ShutdownStage::Now] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                trigger.advance(stage);
            }
        });
        Ok(())
    }
}

impl Shutdown {
    pub fn stage(&self) -> ShutdownStage {
        *self.0.borrow()
    }

    /// Returns when the drain has begun (or everything is to end).
    pub async fn draining(&mut self) {
        self.reached(ShutdownStage::Draining).await;
    }

    /// Returns when everything is to end at once.
    pub async fn now(&mut self) {
        self.reached(ShutdownStage::Now).await;
    }

    async fn reached(&mut self, stage: ShutdownStage) {
        if self.0.wait_for(|current| *current >= stage).await.is_err() && self.stage() < stage {
            // The trigger is gone without having fired: nothing will ever end this wait.
            std::future::pending::<()>().await;
        }
    }
}
