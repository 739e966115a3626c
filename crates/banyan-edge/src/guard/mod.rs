//! A client's byte stream with a gate: hyper gets a head only when it is complete and unambiguous.
//!
//! A refused head is replaced by a synthetic request (method [`REFUSED_METHOD`]), so that its answer comes in order and
//! is made in one place (`respond`). The gate also keeps the time: a head must be complete in `header`, an idle
//! connection ends after `idle` (checked lazily: between once and twice that), a client must take what we write within
//! `idle`. Bytes after an upgrade request are held until the upgrade is answered.

mod head;
mod scan;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking::Held;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::respond::Refusal;
pub(crate) use head::{HeadLimits, REFUSED_METHOD};
use scan::{Scanner, Then};

#[derive(Clone, Copy, Debug)]
pub(crate) struct GuardConfig {
    pub limits: HeadLimits,
    pub header: Duration,
    pub idle: Duration,
}

/// What the gate and the requests of its connection tell each other. All of it stays on one core; it is atomic only
/// because an upgraded stream must be `Send`.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Requests being answered: idle and header time do not run. More than one only in HTTP/2.
    busy: AtomicU32,
    /// Requests so far.
    asked: AtomicU32,
    /// Framing of the current request's body is broken.
    body_refused: AtomicBool,
    upgrade: AtomicU8,
    refusal: Held<Refusal>,
    waker: Held<Waker>,
}

const UNDECIDED: u8 = 0;
const TUNNEL: u8 = 1;
const STAY: u8 = 2;

/// A value handed over at most now and then: the lock is never contended.
mod parking {
    use std::sync::Mutex;

    #[derive(Debug)]
    pub(super) struct Held<T>(Mutex<Option<T>>);

    impl<T> Default for Held<T> {
        fn default() -> Self {
            Self(Mutex::new(None))
        }
    }

    impl<T> Held<T> {
        pub(super) fn put(&self, value: T) {
            if let Ok(mut slot) = self.0.lock() {
                *slot = Some(value);
            }
        }

        pub(super) fn take(&self) -> Option<T> {
            self.0.lock().ok().and_then(|mut slot| slot.take())
        }
    }
}

impl Shared {
    /// A request begins.
    pub(crate) fn begin(&self) {
        let add = |counter: &AtomicU32| {
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        };
        add(&self.busy);
        add(&self.asked);
    }

    /// A request has ended.
    pub(crate) fn end(&self) {
        let busy = self.busy.load(Ordering::Relaxed);
        self.busy.store(busy.saturating_sub(1), Ordering::Relaxed);
    }

    pub(crate) fn busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// Requests so far; it wraps.
    pub(crate) fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn body_refused(&self) -> bool {
        self.body_refused.load(Ordering::Relaxed)
    }

    /// Why the synthetic request stands there.
    pub(crate) fn refusal(&self) -> Refusal {
        self.refusal
            .take()
            .unwrap_or(Refusal::BadRequest("the request is not valid"))
    }

    /// The answer to an upgrade request is known: bytes flow again.
    pub(crate) fn decide_upgrade(&self, tunnel: bool) {
        self.upgrade
            .store(if tunnel { TUNNEL } else { STAY }, Ordering::Relaxed);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

pub(crate) struct Guard<S> {
    stream: S,
    shared: Arc<Shared>,
    scanner: Scanner,
    config: GuardConfig,
    /// The begin of a head, or what follows an upgrade request.
    held: Vec<u8>,
    /// Judged and not yet delivered.
    passed: Vec<u8>,
    /// A head was refused: nothing more is read.
    refused: bool,
    body_refused: bool,
    head_since: Option<Instant>,
    /// Something was read, or was being answered, since `read_timer` was set: then it is not idle.
    active: bool,
    read_timer: Pin<Box<Sleep>>,
    write_timer: Option<Pin<Box<Sleep>>>,
    linger: Option<Pin<Box<Sleep>>>,
}

/// How long a closed connection may take to say that it has understood.
const LINGER: Duration = Duration::from_secs(1);

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// `begun`: what was read of the stream already.
    pub(crate) fn new(stream: S, begun: &[u8], config: GuardConfig, shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        let mut guard = Self {
            stream,
            shared,
            scanner: Scanner::new(config.limits),
            config,
            held: Vec::new(),
            passed: Vec::new(),
            refused: false,
            body_refused: false,
            head_since: None,
            active: false,
            read_timer: Box::pin(sleep_until(now + config.header.min(config.idle))),
            write_timer: None,
            linger: None,
        };
        if !begun.is_empty() {
            guard.held.extend_from_slice(begun);
            let then = guard.judge_held();
            guard.act(then);
        }
        guard
    }

    fn deliver(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.passed.len().min(buf.remaining());
        buf.put_slice(&self.passed[..count]);
        self.passed.drain(..count);
    }

    /// Replaces a refused head by the synthetic request.
    fn refuse(&mut self, refusal: Refusal) {
        self.refused = true;
        self.held = Vec::new();
        self.shared.refusal.put(refusal);
        self.passed
            .extend_from_slice(format!("{REFUSED_METHOD} / HTTP/1.1\r\nhost: refused\r\n\r\n").as_bytes());
    }

    /// Judges what stands in `buf` from `before`, holding back what may not be read yet.
    fn judge_new(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let then = if self.held.is_empty() {
            let fed = self.scanner.feed(&buf.filled()[before..]);
            self.held.extend_from_slice(&buf.filled()[before + fed.good..]);
            buf.set_filled(before + fed.good);
            fed.then
        } else {
            self.held.extend_from_slice(&buf.filled()[before..]);
            buf.set_filled(before);
            self.judge_held()
        };
        self.act(then);
    }

    fn judge_held(&mut self) -> Then {
        let fed = self.scanner.feed(&self.held);
        self.passed.extend(self.held.drain(..fed.good));
        fed.then
    }

    fn act(&mut self, then: Then) {
        match then {
            Then::More | Then::Hold => {
                let in_head = self.scanner.at_head() && !self.held.is_empty();
                self.head_since = in_head.then(|| self.head_since.unwrap_or_else(Instant::now));
            }
            Then::RefuseHead(refusal) => self.refuse(refusal),
            Then::RefuseBody(_) => {
                self.body_refused = true;
                self.held = Vec::new();
            }
        }
    }

    /// Nothing to read now: has the client run out of time? `Ready(true)`: a head took too long.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            if let Some(since) = self.head_since {
                let due = since + self.config.header;
                if due < self.read_timer.deadline() {
                    self.read_timer.as_mut().reset(due);
                }
            }
            std::task::ready!(self.read_timer.as_mut().poll(cx));
            let now = Instant::now();
            let next = match self.head_since {
                _ if self.shared.busy() || !self.scanner.at_head() => {
                    self.active = true;
                    now + self.config.idle
                }
                Some(since) if since + self.config.header <= now => return Poll::Ready(true),
                Some(since) => since + self.config.header,
                // Between two requests: closing now could meet the next one on its way.
                None if std::mem::take(&mut self.active) => now + self.config.idle,
                None => return Poll::Ready(false),
            };
            self.read_timer.as_mut().reset(next);
        }
    }

    fn poll_upgrade(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.shared.upgrade.swap(UNDECIDED, Ordering::Relaxed) {
            UNDECIDED => {
                self.shared.waker.put(cx.waker().clone());
                Poll::Pending
            }
            decided => {
                self.scanner.upgrade_decided(decided == TUNNEL);
                let then = self.judge_held();
                self.act(then);
                Poll::Ready(())
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.passed.is_empty() {
                this.deliver(buf);
                return Poll::Ready(Ok(()));
            }
            if this.refused {
                // The answer to the synthetic request ends the connection; an end of stream here would abort it.
                return Poll::Pending;
            }
            if this.body_refused {
                this.shared.body_refused.store(true, Ordering::Relaxed);
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            if this.scanner.awaits_upgrade() {
                std::task::ready!(this.poll_upgrade(cx));
                continue;
            }
            let before = buf.filled().len();
            match Pin::new(&mut this.stream).poll_read(cx, buf) {
                Poll::Ready(Ok(())) if buf.filled().len() == before => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {
                    this.active = true;
                    this.judge_new(buf, before);
                    if buf.filled().len() > before {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => match std::task::ready!(this.poll_time(cx)) {
                    true => this.refuse(Refusal::HeaderTimeout),
                    false => return Poll::Ready(Ok(())),
                },
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// A client that takes nothing for `idle` is gone.
    fn watch_write(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.write_timer = None;
            return result;
        }
        let limit = self.config.idle;
        let timer = self
            .write_timer
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limit)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch_write(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch_write(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Says goodbye, then takes and drops what still comes: closing with unread bytes would reset the connection and
    /// could destroy the answer on its way.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            std::task::ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let timer = this
            .linger
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + LINGER)));
        let mut sink = [0_u8; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut sink);
            match Pin::new(&mut this.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() && !timer.is_elapsed() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return timer.as_mut().poll(cx).map(Ok),
            }
        }
    }
}
