//! The body of a client's request, whichever way the client speaks.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::core::http1::RequestBody;
use crate::core::http2::RequestBody as Http2Body;

pub(crate) enum ClientBody {
    Http1(RequestBody),
    Http2(Http2Body),
    /// Of a request that the edge makes itself.
    Made(Option<Bytes>),
    /// Of a request that has none.
    Empty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientBroke {
    #[error("the framing of the client's request body is broken")]
    Framing,
    #[error("the client ended its request body early")]
    Gone,
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = ClientBroke;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientBroke>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body).poll_frame(cx),
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
            Self::Made(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
            Self::Made(bytes) => bytes.is_none(),
            Self::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
            Self::Made(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Empty => SizeHint::with_exact(0),
        }
    }
}
