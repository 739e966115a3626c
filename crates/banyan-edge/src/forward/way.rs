//! One direction of a tunnel: what one side says goes to the other, until its end or until we say goodbye.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::websocket::Frames;

const BUFFER: usize = 8 * 1024;

pub(super) struct Way {
    bytes: Box<[u8]>,
    from: usize,
    to: usize,
    /// Nothing more is read.
    ended: bool,
    /// The other side knows it.
    shut: bool,
    frames: Frames,
    /// Said at the next end of a frame, and then nothing more.
    goodbye: Option<&'static [u8]>,
    /// Bytes that were passed on.
    pub passed: u64,
}

impl Way {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; BUFFER].into(),
            from: 0,
            to: 0,
            ended: false,
            shut: false,
            frames: Frames::default(),
            goodbye: None,
            passed: 0,
        }
    }

    /// At most once.
    pub(super) fn say_goodbye(&mut self, frame: &'static [u8]) {
        if !self.ended {
            self.goodbye = Some(frame);
        }
    }

    /// Ready when the reader has ended and the writer knows it. `moved` is set when bytes flow.
    pub(super) fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
        moved: &mut bool,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while !self.shut {
            self.part();
            if self.from < self.to {
                let end = match self.goodbye {
                    Some(_) => self.from + self.frames.rest_of_frame(&self.bytes[self.from..self.to]),
                    None => self.to,
                };
                let now = &self.bytes[self.from..end];
                let count = ready!(Pin::new(&mut *writer).poll_write(cx, now))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.frames.pass(&now[..count]);
                self.from += count;
                self.passed += count as u64;
                *moved = true;
            } else if self.ended {
                ready!(Pin::new(&mut *writer).poll_flush(cx))?;
                ready!(Pin::new(&mut *writer).poll_shutdown(cx))?;
                self.shut = true;
            } else {
                ready!(self.poll_fill(cx, reader, writer))?;
                *moved = true;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_fill<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut buf = ReadBuf::new(&mut self.bytes);
        let Poll::Ready(read) = Pin::new(reader).poll_read(cx, &mut buf) else {
            // Nothing comes: what was written is to arrive.
            ready!(Pin::new(writer).poll_flush(cx))?;
            return Poll::Pending;
        };
        read?;
        (self.from, self.to) = (0, buf.filled().len());
        self.ended = self.to == 0;
        Poll::Ready(Ok(()))
    }

    /// Between two frames the goodbye takes the place of all that would follow.
    fn part(&mut self) {
        if !self.frames.is_between() {
            return;
        }
        if let Some(frame) = self.goodbye.take() {
            self.bytes[..frame.len()].copy_from_slice(frame);
            (self.from, self.to, self.ended) = (0, frame.len(), true);
        }
    }
}

/// Takes and drops what comes; ready at the end.
pub(super) fn poll_drain<R: AsyncRead + Unpin>(cx: &mut Context<'_>, reader: &mut R) -> Poll<()> {
    let mut sink = [0; 1024];
    loop {
        let mut buf = ReadBuf::new(&mut sink);
        match ready!(Pin::new(&mut *reader).poll_read(cx, &mut buf)) {
            Ok(()) if !buf.filled().is_empty() => {}
            _ => return Poll::Ready(()),
        }
    }
}
