//! What waits to be written on one connection: text (heads, chunk sizes), one piece of a body behind it, and its end.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use tokio::io::AsyncWrite;

/// Up to this, a copy into the text is cheaper than one more slice for the kernel.
const COPIED: usize = 4096;
/// A head with the usual headers and a small body fit.
const TEXT: usize = 2048;

#[derive(Default)]
pub(crate) struct Outbox {
    text: Vec<u8>,
    /// Of the text, how much was written.
    at: usize,
    data: Bytes,
    /// Behind the data.
    tail: &'static [u8],
    /// The data is ours alone: it does not keep a core's reading buffer.
    owned: bool,
}

impl Outbox {
    /// Where heads are written to.
    pub(crate) fn text(&mut self) -> &mut Vec<u8> {
        if self.text.capacity() == 0 {
            self.text = Vec::with_capacity(TEXT);
        }
        &mut self.text
    }

    /// A piece of a body. Everything before must have left, text excepted.
    pub(crate) fn data(&mut self, data: Bytes, chunked: bool) {
        debug_assert!(
            self.data.is_empty() && self.tail.is_empty(),
            "one piece at a time"
        );
        if data.is_empty() {
            return;
        }
        if chunked {
            // Writing to memory cannot fail.
            let _infallible = write!(self.text(), "{:x}\r\n", data.len());
        }
        let tail: &[u8] = if chunked { b"\r\n" } else { b"" };
        if data.len() <= COPIED {
            self.text().extend_from_slice(&data);
            self.text.extend_from_slice(tail);
        } else {
            (self.data, self.tail, self.owned) = (data, tail, false);
        }
    }

    /// The end of a chunked body.
    pub(crate) fn last_chunk(&mut self, trailers: Option<&HeaderMap>) {
        let text = self.text();
        text.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.into_iter().flatten() {
            field(text, name.as_str(), value.as_bytes());
        }
        text.extend_from_slice(b"\r\n");
    }

    /// Whether a piece of a body waits; then there is no room for another.
    pub(crate) fn is_full(&self) -> bool {
        !self.data.is_empty() || !self.tail.is_empty() || self.text.len() - self.at > COPIED
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.text.len() && self.data.is_empty() && self.tail.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Writes all of it. `written` counts bytes, also those before an error.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
        written: &mut u64,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            match self.poll_write(cx, Pin::new(&mut *stream)) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    *written += count as u64;
                    self.advance(count);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.own();
                    return Poll::Pending;
                }
            }
        }
        ready!(Pin::new(stream).poll_flush(cx))?;
        (self.text, self.at) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    fn poll_write(&self, cx: &mut Context<'_>, stream: Pin<&mut impl AsyncWrite>) -> Poll<io::Result<usize>> {
        let text = &self.text[self.at..];
        if self.data.is_empty() && self.tail.is_empty() {
            return stream.poll_write(cx, text);
        }
        let slices = [
            IoSlice::new(text),
            IoSlice::new(&self.data),
            IoSlice::new(self.tail),
        ];
        let from = usize::from(text.is_empty());
        stream.poll_write_vectored(cx, &slices[from..])
    }

    fn advance(&mut self, count: usize) {
        let text = count.min(self.text.len() - self.at);
        self.at += text;
        let data = (count - text).min(self.data.len());
        self.data.advance(data);
        self.tail = &self.tail[count - text - data..];
        if self.data.is_empty() {
            self.data = Bytes::new();
        }
    }

    /// A peer that takes its time must not keep the core's reading buffer.
    fn own(&mut self) {
        if !self.owned && !self.data.is_empty() {
            self.data = Bytes::copy_from_slice(&self.data);
            self.owned = true;
        }
    }
}

pub(crate) fn field(text: &mut Vec<u8>, name: &str, value: &[u8]) {
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b": ");
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes, then nothing until asked again.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            if self.room == 0 {
                return Poll::Pending;
            }
            let count = buf.len().min(self.room);
            self.room -= count;
            self.taken.extend_from_slice(&buf[..count]);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn written(outbox: &mut Outbox, room: usize) -> Vec<u8> {
        let (mut stream, mut count) = (
            Narrow {
                taken: Vec::new(),
                room,
            },
            0,
        );
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while outbox.poll_flush(&mut cx, &mut stream, &mut count).is_pending() {
            stream.room = room;
        }
        assert_eq!(count, stream.taken.len() as u64);
        stream.taken
    }

    #[test]
    fn all_of_it_is_written_in_order_however_little_the_stream_takes() {
        for room in [1, 3, 100, 100_000] {
            for size in [1, COPIED, COPIED + 1, 10_000] {
                let mut outbox = Outbox::default();
                outbox.text().extend_from_slice(b"HEAD\r\n\r\n");
                let data = vec![b'x'; size];
                outbox.data(Bytes::from(data.clone()), true);
                let mut expected = format!("HEAD\r\n\r\n{size:x}\r\n").into_bytes();
                expected.extend(&data);
                expected.extend(b"\r\n");
                assert!(
                    written(&mut outbox, room) == expected,
                    "{size} in pieces of {room}"
                );
                assert!(outbox.is_empty() && !outbox.is_full());
            }
        }
    }

    #[test]
    fn an_empty_piece_is_not_the_last_chunk() {
        let mut outbox = Outbox::default();
        outbox.data(Bytes::new(), true);
        assert!(outbox.is_empty());
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", http::HeaderValue::from_static("7"));
        outbox.last_chunk(Some(&trailers));
        assert_eq!(written(&mut outbox, 10), b"0\r\nx-sum: 7\r\n\r\n");
    }
}
