//! The body of an answer, wherever it comes from; its end is the end of its exchange.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use banyan_config::Coding;

use super::Exchange;
use crate::cache;
use crate::compress::CompressedBody;
use crate::files::Pieces;
use crate::forward::answer::InstanceBody;
use crate::forward::http1::{Broke, Lines};
use crate::forward::upgrade::Switched;
use crate::grpc;
use crate::metrics::CoreMetrics;
use crate::respond::Outcome;

/// An answer's body; when it ends (or is dropped), so does the exchange.
pub(crate) struct DownBody {
    content: Content,
    /// `None`: it has ended, or there is none to end.
    pub(super) exchange: Option<Box<Exchange>>,
}

enum Content {
    Page(Option<Bytes>),
    Stream(InstanceBody),
    /// After the head, another protocol.
    Switched(Option<Box<Switched>>),
    File(Box<Pieces>),
    Cached(Box<cache::Reader>),
    Compressed(Box<CompressedBody<Content>>),
    /// Of an answer to HEAD: there would be something of any length.
    LeftOut,
}

impl From<Content> for DownBody {
    fn from(content: Content) -> Self {
        Self {
            content,
            exchange: None,
        }
    }
}

impl DownBody {
    /// Of a 101: what follows is not HTTP.
    pub(crate) fn switched(switched: Switched) -> Self {
        Content::Switched(Some(Box::new(switched))).into()
    }

    pub(crate) fn take_switched(&mut self) -> Option<Box<Switched>> {
        let Content::Switched(switched) = &mut self.content else {
            return None;
        };
        switched.take()
    }

    /// The head of an instance's answer, where there is no map of it.
    pub(crate) fn lines(&mut self) -> Option<&mut Lines> {
        let Content::Stream(body) = &mut self.content else {
            return None;
        };
        body.lines()
    }

    /// Whether it comes from an instance.
    pub(crate) fn is_stream(&self) -> bool {
        self.content.is_stream()
    }

    /// Only its end shows that it was whole.
    pub(super) fn may_break(&self) -> bool {
        self.content.may_break()
    }

    /// To be called while nobody takes this body: the instance may still have to get the request's.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        self.content.drive(cx);
    }

    /// Whether it is: not if too many others are.
    pub(super) fn compress(&mut self, coding: Coding, most: Option<u64>, cells: &Arc<CoreMetrics>) -> bool {
        let streams = self.content.size_hint().exact().is_none();
        let content = std::mem::replace(&mut self.content, Content::LeftOut);
        match CompressedBody::new(content, coding, streams, most, cells) {
            Ok(body) => self.content = Content::Compressed(Box::new(body)),
            Err(content) => self.content = content,
        }
        matches!(self.content, Content::Compressed(_))
    }

    /// Nobody reads it, and its length is not that of what would be sent.
    pub(super) fn leave_out(&mut self) {
        if !self.is_stream() {
            self.content = Content::LeftOut;
        }
    }

    pub(crate) fn file(pieces: Pieces) -> Self {
        Content::File(Box::new(pieces)).into()
    }

    pub(crate) fn page(text: Bytes) -> Self {
        Content::Page(Some(text).filter(|text| !text.is_empty())).into()
    }

    pub(super) fn stream(body: InstanceBody) -> Self {
        Content::Stream(body).into()
    }

    pub(super) fn cached(reader: Box<cache::Reader>) -> Self {
        Content::Cached(reader).into()
    }

    /// Behind the body: a gRPC call says here how it went.
    fn judge(&mut self, trailers: &HeaderMap) {
        if let Some(exchange) = self.exchange.as_mut().filter(|e| e.end_decides)
            && let Some(upstream) = &exchange.upstream
        {
            exchange.core.observed(upstream, grpc::fault(trailers));
        }
    }

    fn finish(&mut self) {
        if let (true, Some(exchange)) = (self.content.may_break(), &mut self.exchange) {
            exchange.outcome = Outcome::Answered;
        }
        self.exchange = None;
    }
}

impl Body for DownBody {
    type Data = Bytes;
    type Error = Broke;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broke>>> {
        let this = &mut *self;
        let frame = std::task::ready!(Pin::new(&mut this.content).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some(exchange)) = (frame.data_ref(), &mut this.exchange) {
                    exchange.bytes += data.len() as u64;
                    if exchange.most.is_some_and(|most| exchange.bytes > most) {
                        // The client has a part of it already: it must see that the rest is missing.
                        exchange.outcome = Outcome::Unknown;
                        this.exchange = None;
                        return Poll::Ready(Some(Err(Broke::Invalid("its body is larger than allowed"))));
                    }
                }
                // Nothing comes behind trailers, and nobody asks.
                if let Some(trailers) = frame.trailers_ref() {
                    this.judge(trailers);
                    this.finish();
                }
            }
            // Of an answer with a known length: the client sees that it is incomplete.
            Some(Err(_)) => {}
            None => this.finish(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

impl Content {
    fn is_stream(&self) -> bool {
        match self {
            Self::Stream(_) => true,
            Self::Compressed(body) => body.plain().is_stream(),
            Self::Page(_) | Self::Switched(_) | Self::File(_) | Self::Cached(_) | Self::LeftOut => false,
        }
    }

    fn may_break(&self) -> bool {
        match self {
            Self::Stream(_) | Self::Cached(_) => true,
            Self::Compressed(body) => body.plain().may_break(),
            Self::Page(_) | Self::Switched(_) | Self::File(_) | Self::LeftOut => false,
        }
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        match self {
            Self::Stream(body) => body.drive(cx),
            Self::Compressed(body) => body.plain_mut().drive(cx),
            Self::Page(_) | Self::Switched(_) | Self::File(_) | Self::Cached(_) | Self::LeftOut => {}
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Broke;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broke>>> {
        match &mut *self {
            Self::Page(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Stream(body) => Pin::new(body).poll_frame(cx),
            Self::File(pieces) => pieces
                .poll(cx)
                .map(|piece| piece.map(|piece| piece.map(Frame::data).map_err(Broke::File))),
            Self::Cached(reader) => reader.poll(cx),
            Self::Compressed(body) => body.poll_frame(cx),
            Self::Switched(_) | Self::LeftOut => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Page(text) => text.is_none(),
            Self::Stream(body) => body.is_end_stream(),
            Self::File(pieces) => pieces.left() == 0,
            Self::Cached(reader) => reader.is_done(),
            Self::Compressed(body) => body.is_end(),
            Self::Switched(_) | Self::LeftOut => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Page(text) => SizeHint::with_exact(text.as_ref().map_or(0, |t| t.len() as u64)),
            Self::Stream(body) => body.size_hint(),
            Self::File(pieces) => SizeHint::with_exact(pieces.left()),
            Self::Cached(reader) => reader.left().map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Compressed(_) => SizeHint::default(),
            Self::Switched(_) | Self::LeftOut => SizeHint::with_exact(0),
        }
    }
}

impl Drop for DownBody {
    fn drop(&mut self) {
        // With a known length the last byte is the end: nobody asks for another frame.
        if self.is_end_stream() {
            self.finish();
        }
    }
}
