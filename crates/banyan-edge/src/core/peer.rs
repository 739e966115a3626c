//! One client connection, as its requests see it: who is at its other end, and what is counted of it.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use banyan_tls::Version;
use http::HeaderValue;

use super::Core;
use super::census::Counted;
use crate::interim::Interim;
use crate::metrics::ListenerCells;
use crate::proxy_protocol::Ends;

/// One client connection.
pub(crate) struct Peer {
    pub address: IpAddr,
    /// With ports, for instances that are told.
    pub ends: Ends,
    /// The address as a header value.
    pub text: HeaderValue,
    pub activity: Activity,
    /// Within TLS.
    pub secure: bool,
    /// It came too fast after others: every request is refused.
    pub hurried: bool,
    pub(super) _counted: Option<Counted>,
    /// Known after the handshake.
    pub tls: Cell<Option<Version>>,
    /// Interim answers to the current request (HTTP/1 has one at a time).
    pub interim: Interim,
    pub(super) open: Open,
}

impl Peer {
    /// This core's counters of the address that it came to.
    pub(crate) fn listener(&self) -> &ListenerCells {
        &self.open.listener
    }
}

/// What is going on over a connection.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Requests being answered; more than one only in HTTP/2.
    pub(super) busy: Cell<u32>,
    /// Requests so far; it wraps.
    pub(super) asked: Cell<u32>,
}

impl Activity {
    pub(crate) fn begin(&self) {
        self.busy.set(self.busy.get() + 1);
        self.asked.set(self.asked.get().wrapping_add(1));
    }

    pub(crate) fn end(&self) {
        self.busy.set(self.busy.get().saturating_sub(1));
    }
}

/// Counts a client connection until its last byte, tunnels included.
pub(super) struct Open {
    core: Rc<Core>,
    listener: Arc<ListenerCells>,
}

impl Open {
    pub(super) fn new(core: &Rc<Core>, listener: &Arc<ListenerCells>) -> Self {
        core.metrics.connections.increment();
        core.metrics.open.increment();
        listener.connections.increment();
        listener.open.increment();
        Self {
            core: Rc::clone(core),
            listener: Arc::clone(listener),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.listener.open.decrement();
        self.core.metrics.open.decrement();
        self.core.tell_if_drained();
    }
}
