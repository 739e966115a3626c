//! Does it answer? A GET through the edge, as a browser would send it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use banyan_config::{Certificates, ProxyProtocol};
use banyan_reconcile::StateDir;
use banyan_tls::client::Trust;
use banyan_tls::local::Local;
use banyan_topology::Edge;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

const ONE_TRY: Duration = Duration::from_secs(5);

/// The status of `GET path`, by https where the edge speaks it; `None` when there was no HTTP answer in time.
pub(crate) async fn get(edge: &Edge, state: &StateDir, path: &str) -> Option<u16> {
    let exchange = async {
        match (edge.https, &edge.settings.tls) {
            (Some(https), Some(tls)) => {
                let stream = connect(edge, https).await?;
                let local = Local::new(state.tls());
                let authority = local.authority();
                let served = Some(local.acme())
                    .filter(|acme| acme.exists())
                    .unwrap_or(local.leaf());
                let (trust, name) = match &tls.certificates {
                    Certificates::SelfSigned => (Trust::Authority(&authority), "localhost"),
                    Certificates::Acme(_) => (
                        Trust::Exactly(&served),
                        tls.domains.first().map_or("localhost", String::as_str),
                    ),
                    Certificates::Files(files) => (
                        Trust::Exactly(&files.first()?.cert),
                        tls.domains.first().map_or("localhost", String::as_str),
                    ),
                };
                let stream = banyan_tls::client::connect(stream, name, trust, &["http/1.1"]).await;
                ask(stream.ok()?, https, path).await
            }
            _ => {
                let stream = connect(edge, edge.listen).await?;
                ask(stream, edge.listen, path).await
            }
        }
    };
    tokio::time::timeout(ONE_TRY, exchange).await.ok().flatten()
}

/// Where this machine is a trusted proxy, it must say for whom it comes: for itself.
async fn connect(edge: &Edge, address: SocketAddr) -> Option<TcpStream> {
    let address = reachable(address);
    let mut stream = TcpStream::connect(address).await.ok()?;
    if edge.settings.proxy_protocol && edge.settings.trusts(address.ip()) {
        stream.write_all(ProxyProtocol::V1.own()).await.ok()?;
    }
    Some(stream)
}

async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    address: SocketAddr,
    path: &str,
) -> Option<u16> {
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nuser-agent: banyan\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    let mut head = [0_u8; 16];
    let mut read = 0;
    while read < 12 {
        match stream.read(&mut head[read..]).await.ok()? {
            0 => return None,
            n => read += n,
        }
    }
    status(&head)
}

/// `HTTP/1.1 200` → 200.
fn status(head: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(head.get(..12)?).ok()?;
    text.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}

/// The address to connect to for one that is listened on.
pub(crate) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_from_the_first_bytes() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r"), Some(200));
        assert_eq!(status(b"HTTP/1.0 503 \r\n"), Some(503));
        assert_eq!(status(b"SSH-2.0-OpenS"), None);
    }

    #[test]
    fn a_wildcard_is_reached_over_loopback() {
        assert_eq!(
            reachable("0.0.0.0:80".parse().unwrap()),
            "127.0.0.1:80".parse().unwrap()
        );
        assert_eq!(reachable("[::]:80".parse().unwrap()), "[::1]:80".parse().unwrap());
    }
}
