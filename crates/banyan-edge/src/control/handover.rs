//! Taking over from a running edge, and letting the next one take over: its listening sockets are passed on.
//!
//! The new process begins to accept when it knows its endpoints; both accept until the old one is told to end. It then
//! closes its copies, and what waits in the queues is the new one's. Without a running edge, addresses are bound.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use banyan_runtime::TaskKind;
use banyan_runtime::handover::{Asker, Door, Passed};
use banyan_topology::snapshot::EndpointState;

use super::Control;
use crate::core::command::Command;

/// The new process does not wait longer for its first checks before it accepts.
const WARM_UP: Duration = Duration::from_secs(3);
/// For the cores to copy their sockets.
const COLLECT: Duration = Duration::from_secs(1);

impl Control {
    /// At the start. With inherited sockets the running edge serves on, so there is time to know the endpoints first.
    pub(super) fn begin_to_listen(&mut self) {
        if self.inherited.is_empty() {
            self.open();
        } else {
            tracing::info!("taking over from the running edge");
            self.opening = Some(Instant::now() + WARM_UP);
        }
    }

    /// Accepts as soon as every endpoint was checked, or that took too long.
    pub(super) fn open_if_warm(&mut self) {
        let Some(until) = self.opening else { return };
        let checked = self
            .snapshot
            .endpoints()
            .filter(|e| e.state == EndpointState::Active)
            .all(|e| self.endpoints.get(&e.id).is_some_and(|c| c.was_checked));
        let warm = checked && self.applied() == self.snapshot.epoch;
        if warm || Instant::now() >= until {
            self.opening = None;
            self.open();
            self.publish();
        }
    }

    fn open(&mut self) {
        if self.listening.is_empty() {
            self.listen_first();
        }
        // What the snapshot does not name is not listened on.
        self.inherited.clear();
        self.keep_door();
    }

    /// Opens the door for the next process once we accept, and again when one that had taken it over is gone.
    pub(super) fn keep_door(&mut self) {
        if self.listening.is_empty() || self.door.as_ref().is_some_and(Door::is_found) {
            return;
        }
        match Door::open(&self.door_path) {
            Ok(door) => self.door = Some(door),
            Err(error) => tracing::warn!(%error, "cannot open the socket for a hand-over"),
        }
    }

    /// Gives the asker a copy of every listening socket.
    pub(super) fn hand_over(&mut self, asker: Asker) {
        let (share, mut copies) = mpsc::unbounded_channel();
        self.tell_all(|| Command::Share(share.clone()));
        drop(share);
        let asked = self.asked_of();
        let (metrics, tasks) = (self.scrape.passed(), self.tasks.clone());
        self.measured.given += 1;
        self.purges.beside_another();
        self.look_for_others();
        self.tasks.spawn(TaskKind::Background, "hand-over", async move {
            let mut sockets = Vec::from_iter(metrics);
            let collect = async {
                while let Some((bound, socket)) = copies.recv().await {
                    let asked = asked.get(&bound).copied().unwrap_or(bound);
                    sockets.push(Passed { asked, socket });
                }
            };
            if timeout(COLLECT, collect).await.is_err() {
                // With a queue that nobody serves clients would wait: better none of them.
                tracing::warn!("the cores did not share their sockets in time");
                return;
            }
            let given = tasks.spawn_blocking(move || asker.give(&sockets).map(|()| sockets.len()));
            match given.await {
                Ok(Ok(0)) | Err(_) => {}
                Ok(Ok(sockets)) => tracing::info!(sockets, "passed the listening sockets on"),
                Ok(Err(error)) => tracing::debug!(%error, "the sockets were not taken"),
            }
        });
    }
}
