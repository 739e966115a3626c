//! Listening sockets: one per core and address. New addresses are bound before old ones are given up.
//!
//! What a running edge passed on (see `handover`) is used instead of binding; where it had other threads, each core takes
//! its share of the sockets, so that every queue is served.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use banyan_runtime::listener::{self, BindError};
use banyan_topology::snapshot::{EdgeSnapshot, Listener, Speaks};

use super::Control;
use super::certificates::Served;
use crate::core::command::Command;
use crate::metrics::{ListenerCells, Shards, shards};

/// One address that connections are accepted on.
pub(super) struct Listening {
    /// As configured; port 0 asks for a free one.
    asked: Listener,
    pub bound: Listener,
    pub cells: Shards<ListenerCells>,
    /// Sockets that are still accepted on.
    sockets: usize,
}

impl Listening {
    /// Whether a connection that came to it is still there.
    fn is_used(&self) -> bool {
        self.cells.iter().any(|cells| cells.open.get() > 0)
    }
}

/// What a snapshot needs that is not there yet: bound and read, and nobody is told. Dropped, nothing happened.
pub(super) struct Ready {
    bound: Vec<(Listener, Vec<TcpListener>)>,
    certificates: Option<Served>,
}

impl Control {
    /// In the order of the snapshot; then what is about to be given up.
    pub(super) fn listening_on(&self) -> Vec<SocketAddr> {
        let wanted = &self.snapshot.listeners;
        let place = |l: &&Listening| {
            wanted
                .iter()
                .position(|asked| *asked == l.asked)
                .unwrap_or(usize::MAX)
        };
        let mut all: Vec<&Listening> = self.listening.iter().collect();
        all.sort_by_key(place);
        all.iter().map(|l| l.bound.address).collect()
    }

    /// At the start: an address in use is reported and tried again, the role does not die of it.
    pub(super) fn listen_first(&mut self) {
        self.refused = self.listen_again().err();
        if let Some(why) = &self.refused {
            tracing::error!(why, "cannot listen; trying again");
        }
    }

    /// Nothing new in the snapshot; but what could not be had before is tried now.
    pub(super) fn listen_again(&mut self) -> Result<(), String> {
        let missing = |asked: &Listener| self.listening.iter().all(|l| l.asked != *asked);
        if self.opening.is_none() && self.snapshot.listeners.iter().any(missing) {
            let ready = self.get_ready(&self.snapshot.clone())?;
            self.use_it(ready);
            // The port that plain requests are redirected to may be known only now.
            self.spread_snapshot();
            // Who is reported to listen is drained or replaced: the next one must find this door, not the one before.
            self.keep_door();
            self.publish();
        }
        Ok(())
    }

    /// Reads the certificates and binds the addresses of a snapshot that are not served yet.
    pub(super) fn get_ready(&mut self, snapshot: &EdgeSnapshot) -> Result<Ready, String> {
        let certificates = self
            .certificates
            .prepare(&snapshot.settings, self.unix_seconds())?;
        let mut bound = Vec::new();
        // While the running edge serves on, nothing is bound beside it.
        let wanted = snapshot.listeners.iter().filter(|_| self.opening.is_none());
        for asked in wanted.copied().collect::<Vec<_>>() {
            if self.listening.iter().all(|l| l.asked != asked) {
                let sockets = self.bind(asked.address).map_err(|error| error.to_string())?;
                bound.push((asked, sockets));
            }
        }
        Ok(Ready { bound, certificates })
    }

    /// Certificates first: a listener that speaks TLS finds them there.
    pub(super) fn use_it(&mut self, ready: Ready) {
        if let Some(served) = ready.certificates {
            self.serve_certificates(served);
        }
        for (asked, sockets) in ready.bound {
            let address = sockets.first().and_then(|s| s.local_addr().ok());
            let at = Listener {
                address: address.unwrap_or(asked.address),
                ..asked
            };
            let cells = shards(self.cores.len());
            let cores = self.cores.iter().zip(&cells).cycle();
            let count = sockets.len();
            for ((core, cells), listener) in cores.zip(sockets) {
                let cells = Arc::clone(cells);
                let _gone = core.commands.send(Command::Listen {
                    at,
                    asked: asked.address,
                    listener,
                    cells,
                });
            }
            self.listening.push(Listening {
                asked,
                bound: at,
                cells,
                sockets: count,
            });
            tracing::info!(address = %at.address, speaks = ?at.speaks, "listening");
        }
    }

    pub(super) fn serve_certificates(&mut self, served: Served) {
        let config = Arc::clone(&served.config);
        self.tell_all(|| Command::Tls(Some(Arc::clone(&config))));
        self.certificates.serve(served);
    }

    /// A configured address by the one it is bound to.
    pub(super) fn asked_of(&self) -> HashMap<SocketAddr, SocketAddr> {
        let pair = |l: &Listening| (l.bound.address, l.asked.address);
        self.listening.iter().map(pair).collect()
    }

    fn bind(&mut self, address: SocketAddr) -> Result<Vec<TcpListener>, BindError> {
        let count = self.cores.len();
        // Our own sockets on the same port (127.0.0.1 → 0.0.0.0, or plain → TLS) are no reason to refuse.
        let ours = |l: &Listening| l.bound.address.port() == address.port();
        if let Some(inherited) = self.inherited.remove(&address) {
            complete(inherited, address, count)
        } else if address.port() != 0 && self.listening.iter().any(ours) {
            listener::share(address, count)
        } else {
            listener::bind_per_core(address, count)
        }
    }

    /// Where plain requests are sent, if they are.
    pub(super) fn redirect_to(&self) -> Option<u16> {
        let tls = self.snapshot.settings.tls.as_ref().filter(|tls| tls.redirect);
        let https = self
            .listening
            .iter()
            .rev()
            .find(|l| l.bound.speaks == Speaks::Https);
        tls.and(https).map(|l| l.bound.address.port())
    }

    /// Gives up what the snapshot does not name any more.
    pub(super) fn stop_listening(&self) {
        let goes = |l: &&Listening| !self.snapshot.listeners.contains(&l.asked);
        for listening in self.listening.iter().filter(goes) {
            let at = listening.bound;
            self.tell_all(|| Command::StopListening { at });
        }
    }

    pub(super) fn stopped_listening(&mut self, core: usize, at: Listener) {
        tracing::debug!(core, address = %at.address, "stopped listening");
        for listening in self.listening.iter_mut().filter(|l| l.bound == at) {
            listening.sockets = listening.sockets.saturating_sub(1);
        }
        let is_over = |l: &mut Listening| l.sockets == 0;
        self.given_up.extend(self.listening.extract_if(.., is_over));
        self.forget_given_up();
    }

    /// Each tick.
    pub(super) fn forget_given_up(&mut self) {
        self.given_up.retain(Listening::is_used);
    }
}

/// At least one socket per core: more cores than the former process had threads bind the rest.
fn complete(
    mut sockets: Vec<TcpListener>,
    address: SocketAddr,
    count: usize,
) -> Result<Vec<TcpListener>, BindError> {
    let missing = count.saturating_sub(sockets.len());
    let bound = sockets.first().and_then(|s| s.local_addr().ok());
    sockets.extend(listener::share(bound.unwrap_or(address), missing)?);
    Ok(sockets)
}
