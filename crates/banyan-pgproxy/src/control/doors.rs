//! Where clients are accepted: at one address, or at several while the proxy moves from one to another.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};

use banyan_runtime::handover::Inherited;
use banyan_runtime::listener::{self, BindError};
use banyan_topology::snapshot::PgproxySnapshot;

/// Listening sockets, one per worker, by the address that was configured for them.
pub(super) type Sockets = BTreeMap<SocketAddr, Vec<TcpListener>>;

/// Those that the process before has are taken over. An address of before that cannot be had is left out, with a warning.
pub(super) fn open(
    snapshot: &PgproxySnapshot,
    mut inherited: Inherited,
    workers: usize,
) -> Result<Sockets, BindError> {
    let mut sockets = Sockets::new();
    for address in snapshot.addresses() {
        let bound = match inherited.remove(&address) {
            // A queue that nobody serves would keep clients waiting.
            Some(sockets) => Ok(sockets),
            None => listener::bind_per_core(address, workers),
        };
        match bound {
            Ok(bound) => drop(sockets.insert(address, bound)),
            Err(error) if address != snapshot.listen => {
                tracing::warn!(%error, "clients of before are not accepted");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(sockets)
}

/// Where clients are accepted, and where they shall be.
#[derive(Debug, Default)]
pub(super) struct Doors {
    /// By what was configured; it differs where a free port was asked for.
    bound: BTreeMap<SocketAddr, SocketAddr>,
}

impl Doors {
    pub(super) fn of(sockets: &Sockets) -> io::Result<Self> {
        let mut doors = Self::default();
        sockets
            .iter()
            .try_for_each(|(asked, all)| doors.opened(*asked, all))?;
        Ok(doors)
    }

    fn opened(&mut self, asked: SocketAddr, sockets: &[TcpListener]) -> io::Result<()> {
        let bound = sockets.first().map(TcpListener::local_addr).transpose()?;
        self.bound.insert(asked, bound.unwrap_or(asked));
        Ok(())
    }

    /// The one that a snapshot leads to is the first.
    pub(super) fn addresses(&self, first: SocketAddr) -> Vec<SocketAddr> {
        let rest = self.bound.iter().filter(|(asked, _)| **asked != first);
        let first = self.bound.get(&first).into_iter();
        first.chain(rest.map(|(_, bound)| bound)).copied().collect()
    }

    /// All sockets that this snapshot needs and that are not there. `Err`: nothing was opened.
    pub(super) fn open_for(
        &mut self,
        snapshot: &PgproxySnapshot,
        workers: usize,
    ) -> Result<Sockets, BindError> {
        let missing = snapshot
            .addresses()
            .filter(|address| !self.bound.contains_key(address));
        let sockets = missing.map(|address| Ok((address, listener::bind_per_core(address, workers)?)));
        let sockets: Sockets = sockets.collect::<Result<_, BindError>>()?;
        for (asked, all) in &sockets {
            let opened = self.opened(*asked, all);
            opened.map_err(|source| BindError::Other {
                address: *asked,
                source,
            })?;
        }
        Ok(sockets)
    }

    /// Those that this snapshot needs no more.
    pub(super) fn close_for(&mut self, snapshot: &PgproxySnapshot) -> Vec<SocketAddr> {
        let wanted: Vec<SocketAddr> = snapshot.addresses().collect();
        let gone = self.bound.keys().filter(|asked| !wanted.contains(asked));
        let gone: Vec<SocketAddr> = gone.copied().collect();
        self.bound.retain(|asked, _| wanted.contains(asked));
        gone
    }
}
