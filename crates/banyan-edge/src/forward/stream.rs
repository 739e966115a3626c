//! A connection to an instance and back, byte by byte: found by the same choice as requests, tried elsewhere while nothing
//! was sent, counted, ended when nothing moves for too long or the drain is over.
//!
//! Half-closed connections stay open in the other direction; a broken one is reset on the other side, so that nobody takes
//! a cut-off for the end.

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use banyan_upstream::health::Cause;

use super::attempt;
use super::choose::{self, Wanted};
use super::pool::{InFlight, Upstream};
use crate::core::groups::Group;
use crate::core::streams::{Stream, StreamCells};
use crate::core::{Core, Peer, Stage};
use crate::respond::Outcome;

/// Instances that are tried, one after the other.
const TRIES: usize = 5;
/// Once one side has ended, the other may stand still for so long: many never end theirs.
const HALF_CLOSED: Duration = Duration::from_secs(30);
/// Per direction.
const BUFFER: usize = 16 * 1024;

/// `begun`: what was read of the client already.
pub(crate) async fn pass(
    core: &Rc<Core>,
    stream: &Stream,
    group: &Rc<Group>,
    client: TcpStream,
    begun: &[u8],
    peer: &Peer,
) {
    let started = core.now();
    let reached = reach(core, group, peer).await;
    let mut log = Entry {
        core,
        stream,
        peer,
        started,
        received: 0,
        sent: 0,
        upstream: None,
        outcome: Outcome::Refused,
    };
    let Some((in_flight, instance)) = reached else {
        stream.cells.refused.increment();
        return;
    };
    log.upstream = Some(Rc::clone(&in_flight.upstream));
    log.outcome = Outcome::Unknown;
    let open = OpenStream::new(&stream.cells);
    let mut counted = CountedClient::new(client, &stream.cells, begun.len());
    let flowed = flow(core, stream.idle, &mut counted, instance, begun).await;
    if flowed.is_ok() {
        log.outcome = Outcome::Answered;
    }
    (log.received, log.sent) = (counted.received.get(), counted.sent.get());
    drop(open);
}

/// A connection to an instance; `None`: nobody took it in time.
async fn reach(core: &Rc<Core>, group: &Rc<Group>, peer: &Peer) -> Option<(InFlight, TcpStream)> {
    let wanted = Wanted::of_address(core, peer.address);
    let limit = core.settings().timeouts.connect;
    let mut tried = Vec::new();
    for _ in 0..TRIES {
        let in_flight = choose::choose(core, group, &wanted, &tried).await.ok()?;
        let upstream = Rc::clone(&in_flight.upstream);
        let refused = match timeout(limit, attempt::open(&upstream, &peer.ends)).await {
            Ok(Ok(instance)) => {
                upstream.cells.requests.increment();
                core.observed(&upstream, None);
                return Some((in_flight, instance));
            }
            Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
            Err(_elapsed) => false,
        };
        drop(in_flight);
        upstream.cells.failures.increment();
        core.suspect(&upstream.id, refused);
        core.observed(&upstream, Some(Cause::Unreachable));
        core.metrics.retries.increment();
        tried.push(upstream);
    }
    None
}

/// Until both sides have ended, one breaks, nothing moves for `idle`, or the drain is over.
async fn flow(
    core: &Core,
    idle: Duration,
    client: &mut CountedClient<'_>,
    mut instance: TcpStream,
    begun: &[u8],
) -> io::Result<()> {
    let (moved, half_closed) = (Rc::clone(&client.moved), Rc::clone(&client.half_closed));
    let each = idle.min(HALF_CLOSED);
    let mut stage = core.stage.subscribe();
    let copied = {
        let mut copying = pin!(async {
            instance.write_all(begun).await?;
            copy_bidirectional_with_sizes(client, &mut instance, BUFFER, BUFFER).await
        });
        let mut look = pin!(sleep_until(Instant::now() + each));
        let (mut before, mut still) = (moved.get(), Duration::ZERO);
        loop {
            tokio::select! {
                copied = copying.as_mut() => break copied.map(drop),
                () = look.as_mut() => {
                    still = if moved.get() == before { still + each } else { Duration::ZERO };
                    if half_closed.get() && !still.is_zero() {
                        break Ok(());
                    }
                    if still >= idle {
                        break Err(io::ErrorKind::TimedOut.into());
                    }
                    before = moved.get();
                    look.as_mut().reset(Instant::now() + each);
                }
                _ended = stage.wait_for(|stage| *stage == Stage::Ended) => {
                    break Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
        }
    };
    if copied.is_err() {
        // A reset says that it is no proper end; where it cannot be set, a close must do.
        let _plain = client.stream.set_zero_linger();
        let _plain = instance.set_zero_linger();
    }
    copied
}

/// Counts a passed connection while it is open.
struct OpenStream<'a>(&'a StreamCells);

impl<'a> OpenStream<'a> {
    fn new(cells: &'a StreamCells) -> Self {
        cells.connections.increment();
        cells.open.increment();
        Self(cells)
    }
}

impl Drop for OpenStream<'_> {
    fn drop(&mut self) {
        self.0.open.decrement();
    }
}

/// One line in the log per connection, when it ends.
struct Entry<'a> {
    core: &'a Core,
    stream: &'a Stream,
    peer: &'a Peer,
    started: std::time::Instant,
    received: u64,
    sent: u64,
    upstream: Option<Rc<Upstream>>,
    outcome: Outcome,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if !self.core.settings().access_log {
            return;
        }
        let took = self.core.now().saturating_duration_since(self.started);
        let rest = format_args!(
            "\"listener\":\"{}\",\"client\":\"{}\",\"received\":{},\"sent\":{},\"ms\":{},\"upstream\":\"{}\",\"outcome\":\"{}\"",
            self.stream.name,
            self.peer.address,
            self.received,
            self.sent,
            took.as_millis(),
            self.upstream
                .as_ref()
                .map_or("-", |upstream| upstream.label.as_str()),
            self.outcome.name()
        );
        self.core.log.borrow_mut().line(self.core.clock.unix_ms(), rest);
    }
}

/// The client's side, whose bytes are counted as they pass.
struct CountedClient<'a> {
    stream: TcpStream,
    cells: &'a StreamCells,
    received: Cell<u64>,
    sent: Cell<u64>,
    /// Grows with every byte in either direction.
    moved: Rc<Cell<u64>>,
    /// One side has ended.
    half_closed: Rc<Cell<bool>>,
}

impl<'a> CountedClient<'a> {
    fn new(stream: TcpStream, cells: &'a StreamCells, begun: usize) -> Self {
        let counted = Self {
            stream,
            cells,
            received: Cell::new(0),
            sent: Cell::new(0),
            moved: Rc::default(),
            half_closed: Rc::default(),
        };
        counted.count(begun, &counted.received, &cells.received);
        counted
    }

    fn count(&self, bytes: usize, own: &Cell<u64>, of_core: &banyan_telemetry::Counter) {
        let bytes = bytes as u64;
        own.set(own.get() + bytes);
        of_core.add(bytes);
        self.moved.set(self.moved.get() + bytes);
    }
}

impl AsyncRead for CountedClient<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() == before && matches!(result, Poll::Ready(Ok(()))) {
            self.half_closed.set(true);
        }
        self.count(buf.filled().len() - before, &self.received, &self.cells.received);
        result
    }
}

impl AsyncWrite for CountedClient<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = &result {
            self.count(*count, &self.sent, &self.cells.sent);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.half_closed.set(true);
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
