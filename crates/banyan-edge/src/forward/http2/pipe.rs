//! A body on its way into an HTTP/2 stream, as the receiver has room.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;
use tokio::time::Instant;

/// Dropped before its end, it ends the stream.
pub(crate) struct Pipe<B: Body> {
    body: B,
    /// What the receiver hears of a body that breaks.
    reason: fn(&B::Error) -> Reason,
    /// Since when there was no room.
    blocked: Option<Instant>,
    /// Taken from the body, and without room yet.
    waiting: Option<Bytes>,
    to: SendStream<Bytes>,
    over: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Pipe<B> {
    pub(crate) fn new(body: B, to: SendStream<Bytes>, reason: fn(&B::Error) -> Reason) -> Self {
        Self {
            body,
            reason,
            blocked: None,
            waiting: None,
            to,
            over: false,
        }
    }

    /// Ready when all was sent, the body broke, or the receiver wants no more (which is no mistake).
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.over {
            // An end of the stream wakes us, whatever we wait for.
            self.over |= self.to.poll_reset(cx).is_ready();
            if self.over {
                break;
            }
            match self.waiting.take() {
                Some(data) => ready!(self.poll_send(cx, data)),
                None => ready!(self.poll_take(cx)),
            }
        }
        Poll::Ready(())
    }

    /// Since when the receiver has no room for what is there.
    pub(crate) fn blocked_since(&self) -> Option<Instant> {
        self.blocked
    }

    pub(crate) fn body(&mut self) -> &mut B {
        &mut self.body
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, mut data: Bytes) -> Poll<()> {
        if self.to.capacity() == 0 {
            match self.to.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => {
                    self.over = true;
                    return Poll::Ready(());
                }
                Poll::Pending => {
                    self.waiting = Some(data);
                    self.blocked.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
            }
        }
        self.blocked = None;
        let now = data.split_to(data.len().min(self.to.capacity()));
        let ends = data.is_empty() && self.body.is_end_stream();
        self.waiting = Some(data).filter(|data| !data.is_empty());
        if !now.is_empty() {
            self.over = self.to.send_data(now, ends).is_err() || ends;
        }
        Poll::Ready(())
    }

    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    // Room is asked for when there is something to send, so that nobody holds what others could use.
                    self.to.reserve_capacity(data.len());
                    self.waiting = Some(data);
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.over = true;
                        let _gone = self.to.send_trailers(trailers);
                    }
                }
            },
            Some(Err(error)) => {
                self.over = true;
                self.to.send_reset((self.reason)(&error));
            }
            None => {
                self.over = true;
                let _gone = self.to.send_data(Bytes::new(), true);
            }
        }
        Poll::Ready(())
    }
}

impl<B: Body> Drop for Pipe<B> {
    fn drop(&mut self) {
        if !self.over {
            self.to.send_reset(Reason::CANCEL);
        }
    }
}
