//! The end: a lame-duck window, then idle connections close, then what is in flight may finish, then everything ends.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use banyan_runtime::Shutdown;

use super::Control;
use crate::core::command::Command;

/// A client that is just sending on a kept connection gets its answer (with `Connection: close`) instead of a reset.
const LAME_DUCK: Duration = Duration::from_secs(1);
/// For WebSockets to hear of the end, at the end of the drain's time.
const GOODBYE: Duration = Duration::from_secs(1);
/// For purges.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Threads that do not end by then end with the process.
const LAST: Duration = Duration::from_secs(2);

impl Control {
    /// Returns when nothing is open, the time is up, or everything is to end at once.
    pub(super) async fn drain(&mut self, shutdown: &mut Shutdown) {
        let begin = Instant::now();
        let deadline = begin + self.snapshot.settings.timeouts.drain;
        tracing::info!("draining");
        self.scrape.give_up_port();
        self.tell_all(|| Command::Drain);
        if self.drained(shutdown, deadline.min(begin + LAME_DUCK)).await {
            return;
        }
        self.tell_all(|| Command::CloseIdle);
        let all = self.snapshot.settings.timeouts.drain;
        if self.drained(shutdown, deadline - GOODBYE.min(all / 2)).await {
            return;
        }
        self.tell_all(|| Command::Part);
        if !self.drained(shutdown, deadline).await {
            tracing::warn!("ending with connections still open");
        }
    }

    /// Whether the last connection ended before `until`.
    async fn drained(&mut self, shutdown: &mut Shutdown, until: Instant) -> bool {
        let stored = std::sync::Arc::clone(&self.stored);
        let mut tick = tokio::time::interval(LOOK_EVERY);
        while !self.cores.iter().all(|core| core.drained) {
            tokio::select! {
                () = shutdown.now() => return false,
                () = sleep_until(until) => return false,
                Some(event) = self.events.recv() => self.note(event),
                Some(ask) = self.asks.recv() => self.tell_measured(ask),
                () = stored.store.elsewhere.news() => self.gather_invalidated(),
                // Connections that are open still may ask for what is purged meanwhile.
                _ = tick.tick() => self.look_at_purges(),
            }
        }
        true
    }

    pub(super) async fn end(mut self) {
        self.tell_all(|| Command::End);
        self.publish();
        for core in &mut self.cores {
            if timeout(LAST, &mut core.ended).await.is_err() {
                tracing::warn!("a core did not end in time");
            }
        }
        if timeout(LAST, &mut self.log_written).await.is_err() {
            tracing::warn!("the access log was not written to its end");
        }
    }
}
