//! A body that is compressed while it passes.
//!
//! Bounded: one piece of the plain body, its encoder and what came out of it. A core's other work comes in between: after
//! [`TURN`] bytes it is their turn. What comes without a known length is flushed whenever its source pauses, so nothing is
//! held back from a client that waits for it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use banyan_config::Coding;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

use super::encoder::Encoder;
use crate::forward::http1::Broke;
use crate::metrics::CoreMetrics;

/// Bytes that are compressed before others have their turn.
const TURN: usize = 64 * 1024;
/// Bytes that are compressed in one go.
const PIECE: usize = 16 * 1024;
/// Encoders of one core at once: they hold memory for as long as their answers last.
const MOST: u64 = 256;

pub(crate) struct CompressedBody<B> {
    from: B,
    /// `None`: the end was written.
    encoder: Option<Encoder>,
    /// Taken and not yet compressed.
    held: Bytes,
    trailers: Option<HeaderMap>,
    /// Its length is not known.
    streams: bool,
    /// The encoder has bytes that cannot be read yet.
    holds_back: bool,
    worked: usize,
    /// Plain bytes so far, and how many there may be.
    taken: u64,
    most: Option<u64>,
    cells: Arc<CoreMetrics>,
}

impl<B> CompressedBody<B> {
    /// `Err`: it stays as it is, as too many others are being compressed.
    pub(crate) fn new(
        from: B,
        coding: Coding,
        streams: bool,
        most: Option<u64>,
        cells: &Arc<CoreMetrics>,
    ) -> Result<Self, B> {
        if cells.compressing.get() >= MOST {
            cells.not_compressed.increment();
            return Err(from);
        }
        let Ok(encoder) = Encoder::new(coding) else {
            cells.not_compressed.increment();
            return Err(from);
        };
        cells.compressing.increment();
        cells.compressed[coding as usize].increment();
        Ok(Self {
            from,
            encoder: Some(encoder),
            held: Bytes::new(),
            trailers: None,
            streams,
            holds_back: false,
            worked: 0,
            taken: 0,
            most,
            cells: Arc::clone(cells),
        })
    }

    pub(crate) fn plain(&self) -> &B {
        &self.from
    }

    pub(crate) fn plain_mut(&mut self) -> &mut B {
        &mut self.from
    }

    /// Nothing more comes.
    pub(crate) fn is_end(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }

    fn out(&self, bytes: Bytes) -> Frame<Bytes> {
        self.cells.compressed_out.add(bytes.len() as u64);
        Frame::data(bytes)
    }
}

impl<B: Body<Data = Bytes, Error = Broke> + Unpin> CompressedBody<B> {
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broke>>> {
        loop {
            if self.encoder.is_none() {
                return Poll::Ready(self.trailers.take().map(|fields| Ok(Frame::trailers(fields))));
            }
            if self.held.is_empty() {
                match Pin::new(&mut self.from).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) if data.is_empty() => continue,
                        Ok(data) => self.held = data,
                        Err(frame) => self.trailers = frame.into_trailers().ok(),
                    },
                    Poll::Ready(None) => self.trailers = None,
                    Poll::Ready(Some(Err(broke))) => return Poll::Ready(Some(Err(broke))),
                    Poll::Pending => return self.pause(),
                }
            }
            let out = if self.held.is_empty() {
                self.finish()
            } else if self.worked < TURN {
                self.compress()
            } else {
                self.worked = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            };
            match out {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(self.out(bytes)))),
                Err(broke) => return Poll::Ready(Some(Err(broke))),
            }
        }
    }

    /// The source has nothing now. It wakes us, or was asked again after what is flushed here.
    fn pause(&mut self) -> Poll<Option<Result<Frame<Bytes>, Broke>>> {
        self.worked = 0;
        match &mut self.encoder {
            Some(encoder) if self.streams && std::mem::take(&mut self.holds_back) => {
                let flushed = encoder.flush().map_err(Broke::Coding);
                Poll::Ready(Some(flushed.map(|bytes| self.out(bytes))))
            }
            _ => Poll::Pending,
        }
    }

    fn compress(&mut self) -> Result<Bytes, Broke> {
        let piece = self.held.split_to(self.held.len().min(PIECE));
        self.taken += piece.len() as u64;
        if self.most.is_some_and(|most| self.taken > most) {
            // The client has a part of it already: it must see that the rest is missing.
            return Err(Broke::Invalid("its body is larger than allowed"));
        }
        self.cells.compressed_in.add(piece.len() as u64);
        self.worked += piece.len();
        self.holds_back = true;
        let written = self.encoder.as_mut().map(|encoder| encoder.write(&piece));
        written.unwrap_or_else(|| Ok(Bytes::new())).map_err(Broke::Coding)
    }

    fn finish(&mut self) -> Result<Bytes, Broke> {
        let last = self.encoder.take().map(Encoder::finish);
        last.unwrap_or_else(|| Ok(Bytes::new())).map_err(Broke::Coding)
    }
}

impl<B> Drop for CompressedBody<B> {
    fn drop(&mut self) {
        self.cells.compressing.decrement();
    }
}
