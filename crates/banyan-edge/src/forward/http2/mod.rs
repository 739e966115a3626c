//! HTTP/2 to an endpoint: one core's connections to it, shared by many requests, and one try over one of them.
//!
//! A connection carries as many requests at once as the endpoint allows, at most [`STREAMS`]; when all are full, another
//! one is opened. GOAWAY ends a connection for new requests only. What the endpoint says it did not process (a stream
//! above GOAWAY's last one, or REFUSED_STREAM) counts as not sent, so that it is safe to try again (RFC 9113 §8.7).
//!
//! Tasks: one per connection. Bodies are passed on within the request that has them.

mod answer;
mod attempt;
mod metered;
pub(crate) mod pipe;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::pool::Upstream;
use crate::core::Core;
pub(super) use answer::Answer;
pub(super) use attempt::attempt;
use metered::Metered;

/// Requests at once per connection, also when the endpoint allows more.
const STREAMS: usize = 100;
/// Per endpoint and core; past it requests wait within the connections.
const LINKS: usize = 64;
const STREAM_WINDOW: u32 = 256 * 1024;
/// Enough for every stream: a slow client must not hold up those who share its connection.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;
/// Of an answer's header, after decompression.
const HEADER_LIST: u32 = 128 * 1024;
/// A connection without requests is closed after this.
const IDLE: Duration = Duration::from_secs(60);

/// One core's connections to one endpoint.
#[derive(Default)]
pub(crate) struct Links {
    all: RefCell<Vec<Rc<Link>>>,
    /// While one is being opened: who needs it waits here for the error, or for the end.
    dialing: RefCell<Option<watch::Receiver<Option<io::ErrorKind>>>>,
}

/// A connection that takes requests.
struct Link {
    sender: SendRequest<Bytes>,
    /// Bytes.
    written: Rc<Cell<u64>>,
    /// Requests on it.
    open: Cell<usize>,
    /// The endpoint has answered, so its settings are known; before, h2 holds back what could be too much.
    known: Cell<bool>,
    idle_since: Cell<Instant>,
}

/// A request's place on a connection.
struct Place {
    link: Rc<Link>,
    core: Rc<Core>,
}

impl Links {
    /// From now on nothing new goes over the connections that are there; they end with what is on them.
    pub(super) fn retire(&self) {
        self.all.borrow_mut().clear();
    }

    pub(super) fn expire(&self, now: Instant) {
        let stays = |link: &Rc<Link>| {
            let idle = now.saturating_duration_since(link.idle_since.get());
            link.is_alive() && (link.open.get() > 0 || idle < IDLE)
        };
        self.all.borrow_mut().retain(stays);
    }

    /// A connection with room, if there is one; else, past [`LINKS`], the one with the least on it.
    fn with_room(&self) -> Option<Rc<Link>> {
        let mut all = self.all.borrow_mut();
        all.retain(|link| link.is_alive());
        let free = all.iter().find(|link| link.open.get() < link.room());
        let least = || all.iter().min_by_key(|link| link.open.get());
        free.or_else(|| if all.len() < LINKS { None } else { least() })
            .cloned()
    }
}

impl Link {
    fn is_alive(&self) -> bool {
        let mut sender = self.sender.clone();
        !matches!(
            sender.poll_ready(&mut Context::from_waker(Waker::noop())),
            Poll::Ready(Err(_))
        )
    }

    fn room(&self) -> usize {
        if self.known.get() {
            self.sender.current_max_send_streams().clamp(1, STREAMS)
        } else {
            STREAMS
        }
    }

    fn begin(self: &Rc<Self>, core: &Rc<Core>) -> Place {
        self.open.set(self.open.get() + 1);
        Place {
            link: Rc::clone(self),
            core: Rc::clone(core),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.link.open.set(self.link.open.get().saturating_sub(1));
        self.link.idle_since.set(self.core.now());
    }
}

/// A connection with room, opened if there is none.
async fn link(core: &Rc<Core>, upstream: &Rc<Upstream>) -> io::Result<Rc<Link>> {
    loop {
        if let Some(link) = upstream.links.with_room() {
            return Ok(link);
        }
        let mut dialing = match &mut *upstream.links.dialing.borrow_mut() {
            Some(dialing) => dialing.clone(),
            none => none.insert(dial(core, upstream)).clone(),
        };
        // The sender is dropped when it is over.
        while dialing.changed().await.is_ok() {}
        let failed = *dialing.borrow();
        if let Some(kind) = failed {
            return Err(kind.into());
        }
    }
}

/// In a task of its own: who wanted it may go away, others wait for it.
fn dial(core: &Rc<Core>, upstream: &Rc<Upstream>) -> watch::Receiver<Option<io::ErrorKind>> {
    let (over, dialing) = watch::channel(None);
    let (core, upstream) = (Rc::clone(core), Rc::clone(upstream));
    core.clone().spawn("upstream", async move {
        let connected = connect(&core, &upstream).await;
        *upstream.links.dialing.borrow_mut() = None;
        let (connection, link) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                over.send_replace(Some(error.kind()));
                return;
            }
        };
        upstream.links.all.borrow_mut().push(link);
        drop((over, upstream));
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an instance broke");
        }
    });
    dialing
}

type Connection = h2::client::Connection<Metered, Bytes>;

async fn connect(core: &Rc<Core>, upstream: &Upstream) -> io::Result<(Connection, Rc<Link>)> {
    let limit = core.settings().timeouts.connect;
    let stream = timeout(limit, TcpStream::connect(upstream.address)).await??;
    stream.set_nodelay(true)?;
    let (metered, written) = Metered::new(stream);
    let (sender, connection) = Builder::new()
        .enable_push(false)
        // Until its settings are known the endpoint gets one request, so that none is refused.
        .initial_max_send_streams(1)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST)
        .handshake(metered)
        .await
        .map_err(io::Error::other)?;
    let link = Link {
        sender,
        written,
        open: Cell::new(0),
        known: Cell::new(false),
        idle_since: Cell::new(core.now()),
    };
    Ok((connection, Rc::new(link)))
}
