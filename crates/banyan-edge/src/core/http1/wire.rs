//! The client's side of one connection: its bytes as requests, and what waits to be written.
//!
//! The connection's loop and the body of its current request share it; both run on one core, never at the same time.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::core::stream::ClientStream;
use crate::http1::chunked::Piece;
use crate::http1::outbox::Outbox;
use crate::http1::reading::ReadBuffer;
use crate::http1::requests::Requests;
use crate::request_body::ClientBroke;

pub(crate) struct Wire(RefCell<Inner>);

pub(super) struct Inner {
    pub stream: ClientStream,
    pub requests: Requests,
    pub outbox: Outbox,
    buffer: Rc<ReadBuffer>,
    read: u64,
    written: u64,
    /// The client waits to be told before it sends the body.
    pub go_ahead: bool,
    /// Whoever had the current request's body will not read on.
    abandoned: bool,
    /// The loop, while it waits for that.
    waker: Option<Waker>,
}

impl Wire {
    pub(super) fn new(stream: ClientStream, requests: Requests, buffer: Rc<ReadBuffer>) -> Rc<Self> {
        Rc::new(Self(RefCell::new(Inner {
            stream,
            requests,
            outbox: Outbox::default(),
            buffer,
            read: 0,
            written: 0,
            go_ahead: false,
            abandoned: false,
            waker: None,
        })))
    }

    pub(super) fn borrow(&self) -> std::cell::RefMut<'_, Inner> {
        self.0.borrow_mut()
    }

    /// Ready when the client is gone, which only shows while it has nothing to say: where something is held, it waits for
    /// its turn.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.borrow();
        if inner.requests.holds() {
            inner.requests.own();
            return Poll::Pending;
        }
        if !inner.requests.body_is_done() {
            return Poll::Pending;
        }
        match ready!(inner.poll_read(cx)) {
            Ok(true) => {
                inner.requests.own();
                Poll::Pending
            }
            Ok(false) | Err(_) => Poll::Ready(()),
        }
    }

    /// Ready when nobody reads the current request's body any more; `true`: it was read to its end.
    pub(super) fn poll_released(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut inner = self.borrow();
        if inner.requests.body_is_done() {
            return Poll::Ready(true);
        }
        if inner.abandoned {
            return Poll::Ready(false);
        }
        inner.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Inner {
    /// `false`: the client sends nothing more.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let read = ready!(self.buffer.poll(cx, &mut self.stream))?;
        let some = !read.is_empty();
        self.read += read.len() as u64;
        self.requests.feed(read);
        Poll::Ready(Ok(some))
    }

    /// Takes what comes and drops it; `false`: nothing more comes.
    pub(super) fn poll_drop(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let read = ready!(self.buffer.poll(cx, &mut self.stream));
        Poll::Ready(read.is_ok_and(|bytes| !bytes.is_empty()))
    }

    /// Passes over what is here of the current body, `left` bytes at most; `true`: all of it was.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>, left: &mut usize) -> Poll<bool> {
        loop {
            match self.requests.piece() {
                Ok(Piece::End) => return Poll::Ready(true),
                Ok(Piece::Data(data)) if data.len() <= *left => *left -= data.len(),
                Ok(Piece::Data(_)) | Err(_) => return Poll::Ready(false),
                Ok(Piece::Trailers(_)) => {}
                Ok(Piece::More) => {
                    let more = matches!(self.poll_read(cx), Poll::Ready(Ok(true)));
                    if !more {
                        return Poll::Ready(false);
                    }
                }
            }
        }
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.poll_flush(cx, &mut self.stream, &mut self.written)
    }

    /// Bytes so far: tells whether the client sends something.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Bytes so far: tells whether the client takes something.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientBroke>>> {
        loop {
            match self.requests.piece() {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Trailers(fields)) => return Poll::Ready(Some(Ok(Frame::trailers(fields)))),
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::More) => {}
                Err(_why) => return Poll::Ready(Some(Err(ClientBroke::Framing))),
            }
            if std::mem::take(&mut self.go_ahead) {
                self.outbox
                    .text()
                    .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                // If it cannot be written at once, it goes before the answer; if at all, the reading will tell.
                let _later = self.poll_flush(cx);
            }
            match ready!(self.poll_read(cx)) {
                Ok(true) => {}
                Ok(false) | Err(_) => return Poll::Ready(Some(Err(ClientBroke::Gone))),
            }
        }
    }
}

/// The body of the current request.
pub(crate) struct RequestBody(Rc<Wire>);

impl RequestBody {
    pub(super) fn new(wire: &Rc<Wire>) -> Self {
        wire.borrow().abandoned = false;
        Self(Rc::clone(wire))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = ClientBroke;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientBroke>>> {
        self.0.borrow().poll_body(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.borrow().requests.body_is_done()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.0.borrow().requests.body_left();
        left.map_or(SizeHint::default(), SizeHint::with_exact)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let mut inner = self.0.borrow();
        inner.abandoned = true;
        if let Some(waker) = inner.waker.take() {
            waker.wake();
        }
    }
}

/// The connection after a 101: bytes.
pub(super) struct Bare(pub Rc<Wire>);

impl AsyncRead for Bare {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow();
        if !inner.requests.holds() {
            return Pin::new(&mut inner.stream).poll_read(cx, buf);
        }
        let held = inner.requests.take_held();
        let count = held.len().min(buf.remaining());
        buf.put_slice(&held[..count]);
        inner.requests.feed(held.slice(count..));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bare {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.borrow().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow().stream).poll_shutdown(cx)
    }
}
