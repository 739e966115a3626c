//! The body of an answer over HTTP/2.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::Frame;

use super::Place;
use super::pipe::Pipe;
use crate::forward::body::UpBody;

pub(in crate::forward) struct Answer {
    stream: RecvStream,
    /// `Content-Length`, less what came.
    left: Option<u64>,
    /// Everything came, trailers included.
    ended: bool,
    /// The request's body, while it is still on its way.
    upload: Option<Pipe<UpBody>>,
    _place: Place,
}

impl Answer {
    /// `length`: what the head says.
    pub(super) fn new(
        stream: RecvStream,
        length: Option<u64>,
        upload: Option<Pipe<UpBody>>,
        place: Place,
    ) -> Self {
        Self {
            upload,
            _place: place,
            ended: stream.is_end_stream(),
            stream,
            left: length,
        }
    }

    /// Whether everything came.
    pub(in crate::forward) fn is_read(&self) -> bool {
        self.ended
    }

    /// What is still to come, where it is known.
    pub(in crate::forward) fn left(&self) -> Option<u64> {
        if self.ended { Some(0) } else { self.left }
    }

    /// Goes on sending the request's body.
    pub(in crate::forward) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(upload) = &mut self.upload
            && upload.poll(cx).is_ready()
        {
            self.upload = None;
        }
    }

    pub(in crate::forward) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.drive(cx);
        let frame = match ready!(self.stream.poll_data(cx)) {
            Some(Ok(data)) => {
                let length = data.len();
                // A stream that is gone needs no more room.
                let _gone = self.stream.flow_control().release_capacity(length);
                self.left = self.left.map(|left| left.saturating_sub(length as u64));
                // Behind the last data there may be nothing more, and nobody might ask again.
                self.ended = self.stream.is_end_stream();
                Some(Ok(Frame::data(data)))
            }
            Some(Err(error)) => Some(Err(error)),
            None => match ready!(self.stream.poll_trailers(cx)) {
                Ok(trailers) => {
                    self.ended = true;
                    trailers.map(|trailers| Ok(Frame::trailers(trailers)))
                }
                Err(error) => Some(Err(error)),
            },
        };
        self.ended |= matches!(frame, Some(Err(_)));
        Poll::Ready(frame)
    }
}
