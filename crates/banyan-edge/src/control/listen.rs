//! Listening sockets: one per core and address. A new address is bound before the old one is given up.
//!
//! What a running edge passed on (see `handover`) is used instead of binding; where it had other threads, each core takes
//! its share of the sockets, so that every queue is served.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};

use banyan_runtime::listener::{self, BindError};
use banyan_topology::snapshot::EdgeSnapshot;

use super::Control;
use crate::core::command::Command;

/// One address that connections are accepted on.
pub(super) struct Listening {
    /// As configured; port 0 asks for a free one.
    asked: SocketAddr,
    bound: SocketAddr,
    /// Sockets that are still accepted on.
    sockets: usize,
}

impl Control {
    pub(super) fn listening_on(&self) -> Vec<SocketAddr> {
        self.listening.iter().map(|l| l.bound).collect()
    }

    /// At the start: an address in use is reported and tried again, the role does not die of it.
    pub(super) fn listen_first(&mut self) {
        let address = self.snapshot.listen;
        self.refused = self.bind(address).err().map(|error| error.to_string());
        if let Some(why) = &self.refused {
            tracing::error!(why, "cannot listen; trying again");
        }
    }

    /// Nothing new in the snapshot; but if its address could not be bound before, try now.
    pub(super) fn listen_again(&mut self) -> std::result::Result<(), String> {
        if self.listening.is_empty() && self.opening.is_none() {
            self.bind(self.snapshot.listen)
                .map_err(|error| error.to_string())?;
            self.publish();
        }
        Ok(())
    }

    /// Binds a new snapshot's address if it is another. Returns the addresses to give up afterwards.
    pub(super) fn listen_for(
        &mut self,
        snapshot: &EdgeSnapshot,
    ) -> std::result::Result<Vec<SocketAddr>, String> {
        if self.listening.iter().any(|l| l.asked == snapshot.listen) {
            return Ok(Vec::new());
        }
        let former = self.listening_on();
        self.bind(snapshot.listen).map_err(|error| error.to_string())?;
        Ok(former)
    }

    /// A configured address by the one it is bound to.
    pub(super) fn asked_of(&self) -> HashMap<SocketAddr, SocketAddr> {
        self.listening.iter().map(|l| (l.bound, l.asked)).collect()
    }

    fn bind(&mut self, address: SocketAddr) -> std::result::Result<(), BindError> {
        let count = self.cores.len();
        // Our own sockets on the same port (127.0.0.1 → 0.0.0.0) are no reason to refuse.
        let beside_ours = self.listening.iter().any(|l| l.bound.port() == address.port());
        let sockets = if let Some(inherited) = self.inherited.remove(&address) {
            complete(inherited, address, count)?
        } else if beside_ours {
            listener::share(address, count)?
        } else {
            listener::bind_per_core(address, count)?
        };
        let bound = sockets
            .first()
            .and_then(|s| s.local_addr().ok())
            .unwrap_or(address);
        self.listening.push(Listening {
            asked: address,
            bound,
            sockets: sockets.len(),
        });
        for (core, listener) in self.cores.iter().cycle().zip(sockets) {
            let _gone = core.commands.send(Command::Listen {
                address: bound,
                listener,
            });
        }
        tracing::info!(address = %bound, "listening");
        Ok(())
    }

    pub(super) fn stop_listening(&self, addresses: &[SocketAddr]) {
        for address in addresses {
            self.tell_all(|| Command::StopListening { address: *address });
        }
    }

    pub(super) fn stopped_listening(&mut self, core: usize, address: SocketAddr) {
        tracing::debug!(core, %address, "stopped listening");
        for listening in self.listening.iter_mut().filter(|l| l.bound == address) {
            listening.sockets = listening.sockets.saturating_sub(1);
        }
        self.listening.retain(|l| l.sockets > 0);
    }
}

/// At least one socket per core: more cores than the former process had threads bind the rest.
fn complete(
    mut sockets: Vec<TcpListener>,
    address: SocketAddr,
    count: usize,
) -> std::result::Result<Vec<TcpListener>, BindError> {
    let missing = count.saturating_sub(sockets.len());
    let bound = sockets.first().and_then(|s| s.local_addr().ok());
    sockets.extend(listener::share(bound.unwrap_or(address), missing)?);
    Ok(sockets)
}
