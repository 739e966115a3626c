//! Gathers the frames of many streams into few writes.
//!
//! The h2 crate flushes its connection before each DATA frame with a payload of its own, so that eight answers of 1 KB are
//! eight system calls and eight TLS records. Here its writes are held until the connection's task has nothing more to do in
//! this turn; the task then says `poll_out`. At most `HELD` bytes wait; what is large passes through without a copy.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One TLS record.
const HELD: usize = 16 * 1024;
/// From here on a copy costs more than a write saves.
const LARGE: usize = 4 * 1024;

struct Held<S> {
    stream: S,
    bytes: Vec<u8>,
    written: usize,
}

/// The connection as h2 sees it; `clone` of it is what the task flushes.
pub(super) struct Gather<S>(Rc<RefCell<Held<S>>>);

impl<S> Clone for Gather<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(Rc::new(RefCell::new(Held {
            stream,
            bytes: Vec::new(),
            written: 0,
        })))
    }

    /// Writes what is held; ready when all of it has left.
    pub(super) fn poll_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let held = &mut *self.0.borrow_mut();
        ready!(held.poll_drain(cx))?;
        Pin::new(&mut held.stream).poll_flush(cx)
    }
}

impl<S: AsyncWrite + Unpin> Held<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.bytes[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        // An idle connection holds no buffer.
        self.bytes = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Whether `more` bytes are to be held; drained before when they do not fit or pass through.
    fn poll_holds(&mut self, cx: &mut Context<'_>, more: usize) -> Poll<io::Result<bool>> {
        let fits = more < LARGE && self.bytes.len() + more <= HELD;
        if !fits {
            ready!(self.poll_drain(cx))?;
        }
        Poll::Ready(Ok(more < LARGE))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let held = &mut *self.0.borrow_mut();
        if ready!(held.poll_holds(cx, buf.len()))? {
            held.bytes.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut held.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let held = &mut *self.0.borrow_mut();
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if ready!(held.poll_holds(cx, all))? {
            for buf in bufs {
                held.bytes.extend_from_slice(buf);
            }
            return Poll::Ready(Ok(all));
        }
        Pin::new(&mut held.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().stream.is_write_vectored()
    }

    /// Nothing: `poll_out` is the flush, once for a turn.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.0.borrow_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn out(gather: &Gather<tokio::io::DuplexStream>) {
        std::future::poll_fn(|cx| gather.poll_out(cx)).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_small_leaves_together_and_in_order_with_what_is_large() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let gather = Gather::new(near);
        let mut writer = gather.clone();
        writer.write_all(b"one ").await.unwrap();
        writer.flush().await.unwrap();
        writer.write_all(b"two ").await.unwrap();
        let mut seen = [0; 64];
        let early = tokio::time::timeout(std::time::Duration::from_millis(20), far.read(&mut seen)).await;
        assert!(early.is_err(), "nothing leaves before the turn's end");
        out(&gather).await;
        assert_eq!(far.read(&mut seen).await.unwrap(), 8);
        assert_eq!(&seen[..8], b"one two ");

        let large = vec![b'x'; LARGE];
        writer.write_all(b"head").await.unwrap();
        writer.write_all(&large).await.unwrap();
        let mut seen = vec![0; 4 + LARGE];
        far.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen[..4], b"head");
        assert_eq!(seen[4..], large[..]);
    }

    #[tokio::test]
    async fn a_peer_that_reads_nothing_is_written_no_more_than_is_held() {
        let (near, mut far) = tokio::io::duplex(1024);
        let gather = Gather::new(near);
        let mut writer = gather.clone();
        let mut sent = 0;
        let piece = [7; 1000];
        while let Ok(written) =
            tokio::time::timeout(std::time::Duration::from_millis(20), writer.write_all(&piece)).await
        {
            written.unwrap();
            sent += piece.len();
        }
        assert!(sent <= HELD + 1024, "{sent} bytes wait");
        let reader = async {
            let mut all = Vec::new();
            far.read_to_end(&mut all).await.unwrap();
            all
        };
        let (all, ended) = tokio::join!(reader, writer.shutdown());
        ended.unwrap();
        assert_eq!(all.len(), sent);
    }
}
