//! A Unix socket to a server of this machine.
//!
//! Not tokio's: that one is also told whenever the server has read something, which for a Unix socket is an event of its own, and so
//! wakes the worker once more per statement. This one asks for such events only while it waits to write.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(crate) struct LocalStream {
    /// `None` only after it could not be registered anew.
    socket: Option<AsyncFd<UnixStream>>,
    awaits_room: bool,
}

impl LocalStream {
    pub(crate) async fn connect(path: &Path) -> io::Result<Self> {
        let stream = tokio::net::UnixStream::connect(path).await?.into_std()?;
        Ok(Self {
            socket: Some(registered(stream, Interest::READABLE)?),
            awaits_room: false,
        })
    }

    fn socket(&self) -> io::Result<&AsyncFd<UnixStream>> {
        self.socket
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// 0: the other side has closed.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let socket = self.socket()?;
        loop {
            let mut ready = ready!(socket.poll_read_ready(cx))?;
            match ready.try_io(|socket| socket.get_ref().read(buffer)) {
                Ok(Ok(read)) => {
                    // All that was there has been read: the next event says when there is more.
                    if 0 < read && read < buffer.len() {
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(read));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            if self.awaits_room {
                let mut ready = ready!(self.socket()?.poll_write_ready(cx))?;
                match ready.try_io(|socket| socket.get_ref().write(bytes)) {
                    Ok(written) => {
                        self.register(Interest::READABLE)?;
                        return Poll::Ready(written);
                    }
                    Err(_would_block) => continue,
                }
            }
            match self.socket()?.get_ref().write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.register(Interest::READABLE | Interest::WRITABLE)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// Whoever waits to read is to poll again: a new registration knows no waker.
    fn register(&mut self, interest: Interest) -> io::Result<()> {
        let socket = self.socket.take().ok_or(io::ErrorKind::NotConnected)?;
        self.socket = Some(registered(socket.into_inner(), interest)?);
        self.awaits_room = interest.is_writable();
        Ok(())
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for types that may close their descriptor early: a UnixStream keeps it as long as it lives"
)]
fn registered(stream: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(stream, interest)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// More than any socket's buffer: both sides have to wait for each other.
    #[tokio::test]
    async fn what_does_not_fit_at_once_is_written_and_read_whole() {
        const LENGTH: usize = 8 << 20;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let (ours, theirs) = tokio::join!(LocalStream::connect(&path), listener.accept());
        let (mut ours, (mut theirs, _)) = (ours.unwrap(), theirs.unwrap());
        let bytes: Vec<u8> = (0..LENGTH).map(|at| (at % 251) as u8).collect();
        let send = async {
            let mut at = 0;
            while at < LENGTH {
                at += poll_fn(|cx| ours.poll_write(cx, &bytes[at..])).await.unwrap();
            }
            let mut back = Vec::new();
            let mut buffer = vec![0; 64 * 1024];
            loop {
                match poll_fn(|cx| ours.poll_read(cx, &mut buffer)).await.unwrap() {
                    0 => return back,
                    read => back.extend_from_slice(&buffer[..read]),
                }
            }
        };
        let echo = async {
            let mut found = vec![0; LENGTH];
            theirs.read_exact(&mut found).await.unwrap();
            theirs.write_all(&found).await.unwrap();
            theirs.shutdown().await.unwrap();
            drop(theirs);
        };
        let (back, ()) = tokio::join!(send, echo);
        assert!(back == bytes, "{} bytes came back", back.len());
    }
}
