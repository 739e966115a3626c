//! One buffer per core for everything that is read: a connection that waits for bytes holds none.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Large bodies are read in pieces of up to this; smaller costs CPU, larger memory.
const SIZE: usize = 128 * 1024;

/// What was read is lent out as [`Bytes`]; once they are dropped, the same memory is read into again.
#[derive(Default)]
pub(crate) struct ReadBuffer(RefCell<BytesMut>);

impl ReadBuffer {
    /// What the stream has now; empty at its end.
    pub(crate) fn poll(
        &self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<Bytes>> {
        let mut buffer = self.0.take();
        // While somebody still has what was read before, the rest will do for as long as it is large.
        if !buffer.try_reclaim(SIZE) && buffer.capacity() < SIZE / 2 {
            buffer.reserve(SIZE);
        }
        let polled = pin!(stream.read_buf(&mut buffer)).poll(cx);
        let read = polled.map(|result| result.map(|_count| buffer.split().freeze()));
        self.0.replace(buffer);
        read
    }
}

/// `more` behind `rest`, without a copy where nothing was left.
pub(crate) fn append(rest: &mut Bytes, more: Bytes) {
    if rest.is_empty() {
        *rest = more;
    } else {
        let mut joined = BytesMut::with_capacity(rest.len() + more.len());
        joined.extend_from_slice(rest);
        joined.extend_from_slice(&more);
        *rest = joined.freeze();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(buffer: &ReadBuffer, mut from: &[u8]) -> Bytes {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match buffer.poll(&mut cx, &mut from) {
            Poll::Ready(read) => read.unwrap(),
            Poll::Pending => panic!("a slice is always ready"),
        }
    }

    #[test]
    fn memory_is_used_again_once_nobody_has_it() {
        let buffer = ReadBuffer::default();
        let first = read(&buffer, b"first");
        let place = first.as_ptr();
        let second = read(&buffer, b"second");
        assert_eq!((&first[..], &second[..]), (&b"first"[..], &b"second"[..]));
        drop((first, second));
        let third = read(&buffer, b"third");
        assert_eq!((third.as_ptr(), &third[..]), (place, &b"third"[..]));
    }

    #[test]
    fn what_is_kept_is_never_written_over() {
        let buffer = ReadBuffer::default();
        let kept: Vec<Bytes> = (0..100_u8).map(|n| read(&buffer, &vec![n; 5000])).collect();
        for (n, bytes) in (0..).zip(kept) {
            assert_eq!(bytes, vec![n; 5000]);
        }
    }

    #[test]
    fn pieces_of_a_head_are_joined() {
        let mut rest = Bytes::new();
        append(&mut rest, Bytes::from_static(b"GE"));
        append(&mut rest, Bytes::from_static(b"T"));
        assert_eq!(&rest[..], b"GET");
    }
}
