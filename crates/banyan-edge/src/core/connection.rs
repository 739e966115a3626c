//! One client connection from its first byte: which protocol it speaks, then that protocol until the end.
//!
//! In clear text the first bytes decide: HTTP/2's preface, or anything else (HTTP/1). Within TLS the handshake does (ALPN).

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use banyan_tls::{Session, TlsAcceptor};
use banyan_topology::snapshot::Speaks;
use http::HeaderValue;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::accept::Place;
use super::census::Admitted;
use super::passage::passed_by_name;
use super::peer::{Activity, Open};
use super::stream::ClientStream;
use super::{Core, Peer, Stage, http1, http2, passage, proxied};
use crate::interim::Interim;
use crate::proxy_protocol::Ends;

/// Every HTTP/2 connection begins with it (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Most request heads fit in one reading; the rest is read by who judges it.
const FIRST_BYTES: usize = 4096;

/// How far a connection has come when its task begins.
pub(super) enum Arrived {
    Admitted(Admitted),
    /// It begins with a PROXY header; the client in it is still to be admitted.
    Proxied,
}

pub(super) async fn serve(
    core: Rc<Core>,
    stream: TcpStream,
    from: SocketAddr,
    place: Place,
    arrived: Arrived,
    open: Open,
) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let at = place.at;
    let mut ends = Ends {
        source: from,
        destination: core.own_end(&stream, at),
    };
    let admitted = match arrived {
        Arrived::Admitted(admitted) => admitted,
        Arrived::Proxied => {
            let Some(said) = Box::pin(begin(&core, proxied::read(&stream))).await else {
                return;
            };
            ends = said.unwrap_or(ends);
            let Some(admitted) = core.admit(ends.source.ip().to_canonical(), at.speaks) else {
                return;
            };
            admitted
        }
    };
    let address = ends.source.ip().to_canonical();
    let Ok(text) = HeaderValue::from_str(&address.to_string()) else {
        return;
    };
    let peer = Rc::new(Peer {
        address,
        ends,
        text,
        activity: Activity::default(),
        secure: at.speaks == Speaks::Https,
        hurried: admitted.hurried,
        _counted: admitted.counted,
        tls: Cell::new(None),
        interim: Interim::default(),
        open,
    });
    match at.speaks {
        Speaks::Http => plain(core, stream, peer).await,
        Speaks::Https => Box::pin(secure(core, stream, peer)).await,
        Speaks::Stream => Box::pin(passage::serve(core, stream, place.asked, peer)).await,
    }
}

async fn plain(core: Rc<Core>, stream: TcpStream, peer: Rc<Peer>) {
    let Some(begun) = Box::pin(begin(&core, first_bytes(&stream))).await else {
        return;
    };
    if begun == PREFACE[..begun.len().min(PREFACE.len())] || begun.starts_with(PREFACE) {
        Box::pin(http2::serve(core, stream, begun, peer)).await;
    } else {
        http1::serve(core, ClientStream::Plain(stream), begun, peer).await;
    }
}

async fn secure(core: Rc<Core>, stream: TcpStream, peer: Rc<Peer>) {
    let (stream, begun, peer) = match passed_by_name(&core, stream, peer).await {
        Ok(()) => return,
        Err(ours) => ours,
    };
    let Some(config) = core.tls() else { return };
    let handshake = TlsAcceptor::from(config).accept_with(stream, |tls| banyan_tls::feed(tls, &begun));
    let Some(stream) = begin(&core, handshake).await else {
        peer.listener().handshakes.failed.increment();
        return;
    };
    let session = Session::of(stream.get_ref().1);
    peer.listener().handshakes.count(session);
    peer.tls.set(Some(session.version));
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        Box::pin(http2::serve(core, stream, Vec::new(), peer)).await;
    } else {
        let stream = ClientStream::Tls(Box::new(stream));
        http1::serve(core, stream, Vec::new(), peer).await;
    }
}

/// What comes before the first request has the time of a request's header; a connection that is still in it when idle
/// ones are closed is an idle one.
pub(super) async fn begin<T>(core: &Rc<Core>, beginning: impl Future<Output = io::Result<T>>) -> Option<T> {
    let timeouts = &core.settings().timeouts;
    let limit = timeouts.header.min(timeouts.idle);
    let mut stage = core.stage.subscribe();
    tokio::select! {
        biased;
        begun = timeout(limit, beginning) => match begun {
            Ok(Ok(begun)) => Some(begun),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a connection ended before its first request");
                None
            }
            Err(_elapsed) => None,
        },
        _closing = stage.wait_for(|stage| *stage >= Stage::Closing) => None,
    }
}

/// Enough to tell HTTP/2 from anything else. Nothing is allocated for a connection that says nothing.
async fn first_bytes(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut begun = Vec::new();
    loop {
        stream.readable().await?;
        match read_some(stream, &mut begun) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) if begun.len() >= PREFACE.len() || !PREFACE.starts_with(&begun) => return Ok(begun),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// The buffer is on the stack only while it is used, not in the waiting task.
fn read_some(stream: &TcpStream, begun: &mut Vec<u8>) -> io::Result<usize> {
    let mut bytes = [0_u8; FIRST_BYTES];
    let count = stream.try_read(&mut bytes)?;
    begun.extend_from_slice(&bytes[..count]);
    Ok(count)
}
