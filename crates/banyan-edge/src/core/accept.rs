//! Taking connections from one listening socket, and serving each.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::HeaderValue;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::command::{Event, Share};
use super::{Core, Open, Peer, Stage};
use crate::guard::{Guard, GuardConfig, HeadLimits};
use crate::pipeline;

/// Reading and writing buffers may grow to this; the guard keeps heads far below.
const BUFFER: usize = 128 * 1024;
/// hyper's own limit on header lines when the guard's is lower.
const HYPER_HEADERS: usize = 100;
/// After a failed accept (too many open files): time for others to close some.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `asks` is closed, then empties the queue: closing the socket would reset what waits there, unless a
/// process that replaces this one holds it, too.
pub(crate) async fn accept(
    core: Rc<Core>,
    address: SocketAddr,
    listener: TcpListener,
    asks: mpsc::UnboundedReceiver<Share>,
) {
    match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => until_stopped(&core, address, listener, asks).await,
        Err(error) => tracing::error!(%error, %address, "cannot accept connections"),
    }
    core.stopped_accepting();
    core.tell(Event::StoppedListening {
        core: core.index,
        address,
    });
}

async fn until_stopped(
    core: &Rc<Core>,
    address: SocketAddr,
    listener: tokio::net::TcpListener,
    mut asks: mpsc::UnboundedReceiver<Share>,
) {
    loop {
        tokio::select! {
            biased;
            ask = asks.recv() => match ask {
                Some(to) => share(address, &listener, &to),
                None => break,
            },
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => start(core, stream, peer.ip()),
                Err(error) => {
                    tracing::warn!(%error, %address, "failed to accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
    empty_queue(core, listener);
}

fn share(address: SocketAddr, listener: &tokio::net::TcpListener, to: &Share) {
    match listener.as_fd().try_clone_to_owned() {
        // Who asked may have given up.
        Ok(copy) => drop(to.send((address, copy))),
        Err(error) => tracing::warn!(%error, %address, "cannot share a listening socket"),
    }
}

fn empty_queue(core: &Rc<Core>, listener: tokio::net::TcpListener) {
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((stream, peer)) = listener.accept() {
        let ready = stream
            .set_nonblocking(true)
            .and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = ready {
            start(core, stream, peer.ip());
        }
    }
}

fn start(core: &Rc<Core>, stream: TcpStream, address: IpAddr) {
    let open = Open::new(core);
    core.spawn(
        "client",
        serve(Rc::clone(core), stream, address.to_canonical(), open),
    );
}

async fn serve(core: Rc<Core>, stream: TcpStream, address: IpAddr, open: Open) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let (config, headers) = guard_config(&core);
    let (guard, shared) = Guard::new(stream, config);
    let Ok(text) = HeaderValue::from_str(&address.to_string()) else {
        return;
    };
    let peer = Rc::new(Peer {
        address,
        text,
        guard: shared,
        _open: open,
    });
    let service = {
        let core = Rc::clone(&core);
        service_fn(move |request| {
            let (core, peer) = (Rc::clone(&core), Rc::clone(&peer));
            async move { Ok::<_, Infallible>(pipeline::serve(core, peer, request).await) }
        })
    };
    let mut builder = Builder::new();
    // Times are kept by the guard, which can answer before it closes.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(BUFFER);
    if headers > HYPER_HEADERS {
        builder.max_headers(headers);
    }
    let mut connection = pin!(
        builder
            .serve_connection(TokioIo::new(guard), service)
            .with_upgrades()
    );
    let mut stage = core.stage.subscribe();
    let mut known = Stage::Serving;
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a client connection broke");
                }
                return;
            }
            now = stage.wait_for(|stage| *stage > known) => match now.map(|stage| *stage) {
                Ok(Stage::Ended) | Err(_) => return,
                Ok(stage) => {
                    known = stage;
                    if stage == Stage::Closing {
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
        }
    }
}

fn guard_config(core: &Core) -> (GuardConfig, usize) {
    let settings = core.settings();
    let limits = &settings.limits;
    let config = GuardConfig {
        limits: HeadLimits {
            bytes: limits.header_bytes as usize,
            headers: limits.headers as usize,
            request_line: limits.request_line as usize,
        },
        header: settings.timeouts.header,
        idle: settings.timeouts.idle,
    };
    (config, config.limits.headers)
}
