//! The byte streams to servers and clients: TCP, Unix socket, TLS. Only polled: no task of their own, no buffer.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use banyan_tls::TlsStream;
use banyan_tls::client::{self, Trust};
use banyan_topology::snapshot::pgproxy::ServerTls;

/// PostgreSQL documentation, 55.7 (SSLRequest).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

use super::local::LocalStream;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Tls(SocketAddr, ServerTls),
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) | Self::Tls(address, _) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(LocalStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// To a server.
    Secured(Box<client::Stream>),
}

async fn tcp(address: &SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(std::time::Duration::from_secs(30));
    socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

/// By SSLRequest. Only its answer is read before the handshake, so that nobody can put anything in between.
pub(crate) async fn secured(address: &SocketAddr, tls: &ServerTls) -> io::Result<client::Stream> {
    let mut plain = tcp(address).await?;
    plain.write_all(&SSL_REQUEST).await?;
    if plain.read_u8().await? != b'S' {
        return Err(io::Error::other("the server does not speak TLS"));
    }
    let trust = match &tls.authorities {
        Some(file) if tls.any_name => Trust::AnyName(file),
        Some(file) => Trust::Bundle(file),
        None => Trust::Anybody,
    };
    let secured = client::connect(plain, &tls.name, trust, &[]).await;
    secured.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        io::Error::other(format!("{error}{}", cause.unwrap_or_default()))
    })
}

impl Stream {
    pub(crate) async fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => tcp(address).await.map(Self::Tcp),
            Address::Tls(address, tls) => {
                let stream = secured(address, tls).await?;
                Ok(Self::Secured(Box::new(stream)))
            }
            Address::Unix(path) => LocalStream::connect(path).await.map(Self::Unix),
        }
    }

    /// 0: the other side has closed.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => filled(stream, cx, buffer),
            Self::Unix(stream) => stream.poll_read(cx, buffer),
            Self::Tls(stream) => filled(&mut **stream, cx, buffer),
            Self::Secured(stream) => filled(&mut **stream, cx, buffer),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => stream.poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
            Self::Secured(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }

    /// Writes what can be written and takes it out of `outbox`. Ready: all is written.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>, outbox: &mut Vec<u8>) -> Poll<io::Result<()>> {
        let mut written = 0;
        let result = loop {
            if written == outbox.len() {
                break Poll::Ready(Ok(()));
            }
            match self.poll_write(cx, &outbox[written..]) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => written += n,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        if written == outbox.len() {
            outbox.clear();
        } else if written > 0 {
            outbox.drain(..written);
        }
        if matches!(result, Poll::Ready(Ok(()))) {
            match self {
                Self::Tls(stream) => ready!(Pin::new(&mut **stream).poll_flush(cx))?,
                Self::Secured(stream) => ready!(Pin::new(&mut **stream).poll_flush(cx))?,
                Self::Tcp(_) | Self::Unix(_) => {}
            }
        }
        result
    }

    pub(crate) async fn drain(&mut self, outbox: &mut Vec<u8>) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_drain(cx, outbox)).await
    }

    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_read(cx, buffer)).await
    }
}

/// How much of `buffer` has been read.
fn filled(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(buffer);
    let polled = Pin::new(stream).poll_read(cx, &mut buffer);
    polled.map_ok(|()| buffer.filled().len())
}
