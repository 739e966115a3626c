//! One core's connections to one endpoint: the ones that wait for a request, and how many requests are on their way.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use banyan_topology::InstanceId;
use banyan_topology::snapshot::EndpointState;
use banyan_upstream::{Load, Loaded};

use super::body::UpBody;
use super::gate::Seat;
use crate::core::Core;
use crate::core::command::Event;
use crate::metrics::EndpointCells;

/// Idle connections are closed after this, before the instance does: common servers close after 5 s and more.
pub(crate) const IDLE: Duration = Duration::from_secs(4);
/// Per core and endpoint.
const IDLE_LIMIT: usize = 1024;
/// Failures per endpoint and tick that the control task hears of: enough to judge, too few to be a burden.
const TOLD_LIMIT: u32 = 50;

/// An endpoint as one core knows it.
pub(crate) struct Upstream {
    pub id: InstanceId,
    pub address: SocketAddr,
    /// The id as text, for the log.
    pub label: String,
    pub cells: Arc<EndpointCells>,
    /// This core's share of it.
    pub load: Load,
    /// What the cookie of a client says that is to stay here.
    cookie: RefCell<Option<String>>,
    /// Failures told since the last tick.
    told: Cell<u32>,
    idle: RefCell<Vec<Idle>>,
    /// `None`: no longer in the snapshot.
    state: Cell<Option<EndpointState>>,
}

impl Loaded for Upstream {
    fn load(&self) -> &Load {
        &self.load
    }
}

/// A connection that can take a request.
pub(crate) struct Idle {
    pub sender: SendRequest<UpBody>,
    pub traffic: Arc<Traffic>,
    since: Instant,
}

impl Upstream {
    pub(crate) fn new(id: InstanceId, address: SocketAddr, cells: Arc<EndpointCells>) -> Rc<Self> {
        Rc::new(Self {
            label: id.to_string(),
            id,
            address,
            cells,
            load: Load::default(),
            cookie: RefCell::default(),
            told: Cell::default(),
            idle: RefCell::default(),
            state: Cell::new(Some(EndpointState::Active)),
        })
    }

    /// What the snapshot says now; anything but active ends its idle connections.
    pub(crate) fn set_state(&self, state: Option<EndpointState>) {
        self.state.set(state);
        if state != Some(EndpointState::Active) {
            self.close_idle();
        }
    }

    /// Whether the control task is to hear of one more failure.
    pub(crate) fn may_tell(&self) -> bool {
        let told = self.told.get();
        self.told.set(told + 1);
        told < TOLD_LIMIT
    }

    pub(crate) fn set_cookie(&self, cookie: Option<String>) {
        *self.cookie.borrow_mut() = cookie;
    }

    pub(crate) fn cookie(&self) -> Option<String> {
        self.cookie.borrow().clone()
    }

    pub(crate) fn has_cookie(&self, cookie: &str) -> bool {
        self.cookie.borrow().as_deref() == Some(cookie)
    }

    /// Each tick.
    pub(crate) fn forget_told(&self) {
        self.told.set(0);
    }

    pub(crate) fn close_idle(&self) {
        self.idle.borrow_mut().clear();
    }

    /// The youngest idle connection that is still open.
    pub(crate) fn take_idle(&self) -> Option<Idle> {
        let mut idle = self.idle.borrow_mut();
        loop {
            let candidate = idle.pop()?;
            if candidate.sender.is_ready() {
                return Some(candidate);
            }
        }
    }

    fn put_idle(&self, idle: Idle) {
        let mut all = self.idle.borrow_mut();
        if self.state.get() == Some(EndpointState::Active) && all.len() < IDLE_LIMIT {
            all.push(idle);
        }
    }

    pub(crate) fn expire_idle(&self, now: Instant) {
        self.idle
            .borrow_mut()
            .retain(|i| !i.sender.is_closed() && now.saturating_duration_since(i.since) < IDLE);
    }
}

/// A request on its way to an endpoint, counted from the moment it was picked.
pub(crate) struct InFlight {
    pub upstream: Rc<Upstream>,
    /// When it was picked.
    pub since: Instant,
    /// Where there is a limit.
    pub seat: Option<Seat>,
    core: Rc<Core>,
}

impl InFlight {
    pub(crate) fn begin(core: &Rc<Core>, upstream: &Rc<Upstream>, since: Instant) -> Self {
        upstream.cells.in_flight.increment();
        upstream.load.begin();
        Self {
            upstream: Rc::clone(upstream),
            since,
            seat: None,
            core: Rc::clone(core),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.upstream.load.end();
        if self.seat.take().is_some() {
            self.core.hand_out();
        }
        let left = self.upstream.cells.in_flight.decrement();
        if left == 0 && self.upstream.state.get() != Some(EndpointState::Active) {
            self.core.tell(Event::Emptied);
        }
    }
}

/// A connection in use by one request.
pub(crate) struct Lease {
    pub sender: SendRequest<UpBody>,
    pub traffic: Arc<Traffic>,
    pub in_flight: InFlight,
}

impl Lease {
    /// The response was read to its end: the connection may serve another request.
    pub(crate) fn finished(self) {
        let Self {
            mut sender,
            traffic,
            in_flight,
        } = self;
        if sender.is_closed() {
            return;
        }
        let upstream = Rc::clone(&in_flight.upstream);
        let core = Rc::clone(&in_flight.core);
        drop(in_flight);
        if sender.is_ready() {
            let since = core.now();
            upstream.put_idle(Idle {
                sender,
                traffic,
                since,
            });
        } else {
            // The request's body is still being sent, or the connection has not come round yet.
            core.clone().spawn("release", async move {
                if sender.ready().await.is_ok() {
                    let since = core.now();
                    upstream.put_idle(Idle {
                        sender,
                        traffic,
                        since,
                    });
                }
            });
        }
    }
}

/// Bytes over one connection: tells whether a request left, whether an answer began.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    written: AtomicU64,
    read: AtomicU64,
}

impl Traffic {
    /// (written, read). One core writes and reads it; it is atomic only because an upgraded stream must be `Send`.
    pub(crate) fn now(&self) -> (u64, u64) {
        (
            self.written.load(Ordering::Relaxed),
            self.read.load(Ordering::Relaxed),
        )
    }
}

fn add(counter: &AtomicU64, count: usize) {
    counter.store(counter.load(Ordering::Relaxed) + count as u64, Ordering::Relaxed);
}

/// A connection to an endpoint whose bytes are counted.
pub(crate) struct Metered {
    stream: TcpStream,
    traffic: Arc<Traffic>,
}

impl Metered {
    pub(crate) fn new(stream: TcpStream) -> (Self, Arc<Traffic>) {
        let traffic = Arc::new(Traffic::default());
        let counted = Arc::clone(&traffic);
        (Self { stream, traffic }, counted)
    }

    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &result {
            add(&self.traffic.written, *count);
        }
        result
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        add(&self.traffic.read, buf.filled().len() - before);
        result
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
