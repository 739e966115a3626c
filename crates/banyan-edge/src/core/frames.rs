//! Counts the frames of an HTTP/2 client that cost it nothing and us much, and ends the connection when there are too
//! many: GOAWAY with ENHANCE_YOUR_CALM, then what still comes is dropped for a moment so that it can be read.
//!
//! It reads frame headers only and passes every byte on unchanged.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

const WINDOW: Duration = Duration::from_secs(10);
/// RST_STREAM in a window: a request that is begun and taken back costs us more than the client.
const RESETS: u32 = 100;
/// PING and SETTINGS in a window: each must be answered.
const CONTROLS: u32 = 200;
const LINGER: Duration = Duration::from_secs(1);

const PREFACE: usize = 24;
const HEADER: usize = 9;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACK: u8 = 1;

/// GOAWAY: 8 bytes on stream 0, last stream unknown (all of them may have been seen), ENHANCE_YOUR_CALM.
const GOODBYE: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 11];

pub(super) struct Frames<S> {
    stream: S,
    /// Read before it was known to be HTTP/2.
    begun: Vec<u8>,
    incoming: Cutter,
    outgoing: Cutter,
    flood: Flood,
    ending: Option<Ending>,
}

/// How far the farewell has come.
struct Ending {
    written: usize,
    limit: Pin<Box<Sleep>>,
}

impl<S> Frames<S> {
    pub(super) fn new(stream: S, begun: Vec<u8>) -> Self {
        let mut frames = Self {
            stream,
            begun: Vec::new(),
            incoming: Cutter::new(PREFACE),
            outgoing: Cutter::new(0),
            flood: Flood::new(Instant::now()),
            ending: None,
        };
        frames.take_in(&begun);
        frames.begun = begun;
        frames
    }

    fn take_in(&mut self, bytes: &[u8]) {
        let flood = &mut self.flood;
        self.incoming.cut(bytes, |kind, flags| flood.count(kind, flags));
        if self.flood.too_many() && self.ending.is_none() {
            tracing::info!("a client floods its HTTP/2 connection: it is closed");
            self.ending = Some(Ending {
                written: 0,
                limit: Box::pin(sleep_until(Instant::now() + LINGER)),
            });
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// Says goodbye if that can be said between two frames, then drops what still comes.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let over = || Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        let Some(ending) = &mut self.ending else {
            return over();
        };
        if ending.limit.as_mut().poll(cx).is_ready() {
            return over();
        }
        while self.outgoing.between_frames() && ending.written < GOODBYE.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &GOODBYE[ending.written..]) {
                Poll::Ready(Ok(count)) if count > 0 => ending.written += count,
                Poll::Ready(_) => return over(),
                Poll::Pending => return Poll::Pending,
            }
        }
        // The client sees the end right behind the farewell.
        std::task::ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        let mut sink = [0_u8; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut sink);
            std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return over();
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ending.is_some() {
            return this.poll_end(cx);
        }
        if !this.begun.is_empty() {
            let count = this.begun.len().min(buf.remaining());
            buf.put_slice(&this.begun[..count]);
            this.begun.drain(..count);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        this.take_in(&buf.filled()[before..]);
        if this.ending.is_some() {
            buf.set_filled(before);
            return this.poll_end(cx);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        // After the farewell there is nothing to say; before it, a frame that was begun may end.
        if this.ending.is_some() && this.outgoing.between_frames() {
            return Poll::Ready(Ok(buf.len()));
        }
        let count = std::task::ready!(Pin::new(&mut this.stream).poll_write(cx, buf))?;
        this.outgoing.cut(&buf[..count], |_, _| {});
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.ending.is_some() && this.outgoing.between_frames() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let count = std::task::ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, bufs))?;
        let mut left = count;
        for buf in bufs {
            let part = left.min(buf.len());
            this.outgoing.cut(&buf[..part], |_, _| {});
            left -= part;
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Cuts a stream of bytes into frames, whatever the pieces it comes in.
struct Cutter {
    /// Of the preface or a payload: bytes still to pass over.
    skip: usize,
    header: [u8; HEADER],
    filled: usize,
}

impl Cutter {
    fn new(skip: usize) -> Self {
        Self {
            skip,
            header: [0; HEADER],
            filled: 0,
        }
    }

    fn between_frames(&self) -> bool {
        self.skip == 0 && self.filled == 0
    }

    fn cut(&mut self, mut bytes: &[u8], mut frame: impl FnMut(u8, u8)) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len());
                self.skip -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let taken = (HEADER - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == HEADER {
                let [a, b, c, kind, flags, ..] = self.header;
                self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                self.filled = 0;
                frame(kind, flags);
            }
        }
    }
}

/// What came in the current window.
struct Flood {
    since: Instant,
    resets: u32,
    controls: u32,
}

impl Flood {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            resets: 0,
            controls: 0,
        }
    }

    fn count(&mut self, kind: u8, flags: u8) {
        let counter = match kind {
            RST_STREAM => &mut self.resets,
            PING | SETTINGS if flags & ACK == 0 => &mut self.controls,
            _ => return,
        };
        *counter += 1;
        // The clock is looked at only for frames that count.
        let now = Instant::now();
        if now.duration_since(self.since) > WINDOW {
            *self = Self::new(now);
        }
    }

    fn too_many(&self) -> bool {
        self.resets > RESETS || self.controls > CONTROLS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let mut bytes = vec![0, 0, u8::try_from(payload).unwrap(), kind, 0, 0, 0, 0, 1];
        bytes.extend(vec![kind; payload]);
        bytes
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_split() {
        let bytes = [vec![b'P'; PREFACE], frame(1, 30), frame(0, 0), frame(3, 4)].concat();
        for size in 1..=bytes.len() {
            let mut cutter = Cutter::new(PREFACE);
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                cutter.cut(piece, |kind, _| found.push(kind));
            }
            assert_eq!(found, [1, 0, 3], "in pieces of {size}");
            assert!(cutter.between_frames());
        }
    }
}
