//! Taking connections from one listening socket.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use banyan_topology::snapshot::{Listener, Speaks};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::command::{Event, Share};
use super::connection::Arrived;
use super::peer::Open;
use super::{Core, connection};
use crate::metrics::ListenerCells;

/// After a failed accept (too many open files): time for others to close some.
const PAUSE: Duration = Duration::from_millis(50);

/// Where connections are taken.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// As bound.
    pub at: Listener,
    /// As configured.
    pub asked: SocketAddr,
}

/// Accepts until `asks` is closed, then empties the queue: closing the socket would reset what waits there, unless a
/// process that replaces this one holds it, too.
pub(crate) async fn accept(
    core: Rc<Core>,
    place: Place,
    listener: TcpListener,
    cells: Arc<ListenerCells>,
    asks: mpsc::UnboundedReceiver<Share>,
) {
    match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => until_stopped(&core, place, listener, &cells, asks).await,
        Err(error) => tracing::error!(%error, address = %place.at.address, "cannot accept connections"),
    }
    core.stopped_accepting();
    let at = place.at;
    core.tell(Event::StoppedListening { core: core.index, at });
}

async fn until_stopped(
    core: &Rc<Core>,
    place: Place,
    listener: tokio::net::TcpListener,
    cells: &Arc<ListenerCells>,
    mut asks: mpsc::UnboundedReceiver<Share>,
) {
    loop {
        tokio::select! {
            biased;
            ask = asks.recv() => match ask {
                Some(to) => share(place.at.address, &listener, &to),
                None => break,
            },
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => start(core, stream, peer, place, cells),
                Err(error) => {
                    tracing::warn!(%error, address = %place.at.address, "failed to accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
    empty_queue(core, place, listener, cells);
}

fn share(address: SocketAddr, listener: &tokio::net::TcpListener, to: &Share) {
    match listener.as_fd().try_clone_to_owned() {
        // Who asked may have given up.
        Ok(copy) => drop(to.send((address, copy))),
        Err(error) => tracing::warn!(%error, %address, "cannot share a listening socket"),
    }
}

fn empty_queue(core: &Rc<Core>, place: Place, listener: tokio::net::TcpListener, cells: &Arc<ListenerCells>) {
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((stream, peer)) = listener.accept() {
        let ready = stream
            .set_nonblocking(true)
            .and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = ready {
            start(core, stream, peer, place, cells);
        }
    }
}

fn start(core: &Rc<Core>, stream: TcpStream, from: SocketAddr, place: Place, cells: &Arc<ListenerCells>) {
    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
    let speaks = place.at.speaks;
    let arrived = if is_proxied(core, place) && core.settings().trusts(from.ip()) {
        // Who it is for is not known yet.
        Arrived::Proxied
    } else {
        match core.admit(from.ip(), speaks) {
            Some(admitted) => Arrived::Admitted(admitted),
            None => return,
        }
    };
    let open = Open::new(core, cells);
    core.spawn(
        "client",
        connection::serve(Rc::clone(core), stream, from, place, arrived, open),
    );
}

/// Whether trusted proxies begin with a PROXY header here.
fn is_proxied(core: &Core, place: Place) -> bool {
    match place.at.speaks {
        Speaks::Http | Speaks::Https => core.settings().proxy_protocol,
        Speaks::Stream => core.stream(place.asked).is_some_and(|stream| stream.proxied),
    }
}
