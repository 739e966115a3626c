//! Letting another proxy process take over: the listening sockets are passed on, then the clients.
//!
//! Both accept until this one is told to end; what then waits in the queues is the other's. Clients between two units go
//! over with their connection and their session ([`crate::frontend::moved`]) and notice nothing. Those who keep a server
//! connection, or speak TLS, cannot: they stay here until they go, or the limit.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use banyan_runtime::handover::{Asker, Door, Passed, asked};
use banyan_runtime::parcels::{Giver, Parcel, Taker};
use banyan_runtime::{TaskKind, Tasks};

use super::Request;
use super::doors::Sockets;
use crate::frontend::moved::FORM;

/// Where processes meet.
pub(super) struct Paths {
    pub(super) sockets: PathBuf,
    pub(super) clients: PathBuf,
}

pub(super) struct HandOver {
    paths: Paths,
    door: Option<Door>,
    /// Where the process before gives its clients.
    entrance: Option<Door>,
    /// Those of the workers, by their address as configured.
    sockets: Sockets,
    /// Another process has the sockets.
    given: bool,
}

impl HandOver {
    pub(super) fn new(paths: Paths, sockets: &Sockets) -> Self {
        let entrance = Door::open(&paths.clients);
        let mut hand_over = Self {
            door: None,
            entrance: entrance
                .map_err(|error| tracing::warn!(%error, "clients of the process before cannot be taken"))
                .ok(),
            paths,
            sockets: Sockets::new(),
            given: false,
        };
        hand_over.add(sockets);
        hand_over.keep_door();
        hand_over
    }

    /// These will be passed on, too.
    pub(super) fn add(&mut self, sockets: &Sockets) {
        for (address, sockets) in sockets {
            let copies: Result<Vec<_>, _> = sockets.iter().map(TcpListener::try_clone).collect();
            match copies {
                Ok(copies) => drop(self.sockets.insert(*address, copies)),
                Err(error) => tracing::warn!(%error, %address, "a listening socket cannot be passed on"),
            }
        }
    }

    /// Our copy would keep a queue open that nobody serves any more.
    pub(super) fn remove(&mut self, address: SocketAddr) {
        self.sockets.remove(&address);
    }

    /// Opens the door for the next process, and again when one that had taken it over is gone.
    pub(super) fn keep_door(&mut self) {
        if self.sockets.is_empty() || self.door.as_ref().is_some_and(Door::is_found) {
            return;
        }
        self.given = false;
        match Door::open(&self.paths.sockets) {
            Ok(door) => self.door = Some(door),
            Err(error) => tracing::warn!(%error, "cannot open the socket for a hand-over"),
        }
    }

    pub(super) async fn asked(&self) -> Option<Asker> {
        asked(self.door.as_ref()).await
    }

    /// The process before, that has clients to give.
    pub(super) async fn visited(&self) -> Option<Asker> {
        asked(self.entrance.as_ref()).await
    }

    /// Gives the asker a copy of every listening socket.
    pub(super) fn give(&mut self, asker: Asker, tasks: &Tasks) {
        let sockets = self
            .sockets
            .iter()
            .flat_map(|(asked, all)| all.iter().map(move |one| (*asked, one)));
        let passed = sockets.map(|(asked, socket)| {
            Ok(Passed {
                asked,
                socket: socket.try_clone()?.into(),
            })
        });
        let passed: std::io::Result<Vec<Passed>> = passed.collect();
        self.given = true;
        let blocking = tasks.clone();
        tasks.spawn(TaskKind::Background, "hand-over", async move {
            let given = blocking.spawn_blocking(move || asker.give(&passed?)).await;
            match given {
                Ok(Ok(())) => tracing::info!("passed the listening sockets on"),
                Ok(Err(error)) => tracing::warn!(%error, "the listening sockets were not passed on"),
                Err(_panic) => {}
            }
        });
    }

    /// Takes the clients of the process before, one after the other.
    pub(super) fn take(giver: Asker, to: mpsc::UnboundedSender<Request>, tasks: &Tasks) {
        let taking = tasks.spawn_blocking(move || {
            let mut taker = Taker::meet(giver, FORM)?;
            let mut count = 0_u64;
            while let Some(parcel) = taker.take()? {
                count += 1;
                if to.send(Request::Moved(parcel)).is_err() {
                    break;
                }
            }
            Ok::<_, std::io::Error>(count)
        });
        tasks.spawn(
            TaskKind::Background,
            "clients of the process before",
            async move {
                match taking.await {
                    Ok(Ok(count)) => tracing::info!(count, "took over the clients of the process before"),
                    Ok(Err(error)) => tracing::warn!(%error, "not all clients of the process before came"),
                    Err(_panic) => {}
                }
            },
        );
    }

    /// Our copies would keep the queues open that nobody serves any more. Returns where clients go that may, and what ends
    /// when all have gone and the sender is dropped; `None`: there is nobody who would take them.
    pub(super) async fn end(
        &mut self,
        tasks: &Tasks,
    ) -> Option<(mpsc::UnboundedSender<Parcel>, JoinHandle<()>)> {
        self.door = None;
        // Our own clients are not to come back to us.
        self.entrance = None;
        self.sockets.clear();
        if !self.given {
            return None;
        }
        let path = self.paths.clients.clone();
        let found = tasks.spawn_blocking(move || Giver::find(&path, FORM)).await;
        let mut giver = match found {
            Ok(Ok(giver)) => giver,
            Ok(Err(error)) => {
                tracing::warn!(%error, "clients cannot be passed on: they are let go as they come to rest");
                return None;
            }
            Err(_panic) => return None,
        };
        let (next, mut parcels) = mpsc::unbounded_channel();
        let giving = tasks.spawn_blocking(move || {
            while let Some(parcel) = parcels.blocking_recv() {
                if let Err(error) = giver.give(parcel) {
                    tracing::error!(%error, "clients were lost on their way to the next process");
                    return;
                }
            }
        });
        Some((next, giving))
    }
}
