//! One health check of one endpoint, from outside like any client.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use banyan_config::{Protocol, ProxyProtocol, ReadyProbe};
use banyan_runtime::ask_h2;
use banyan_upstream::health::CheckResult;

/// More of an answer than this is not read.
const ANSWER: u64 = 64 * 1024;

/// The wait for the end of an answer whose head is there.
const REST: Duration = Duration::from_millis(50);

/// `probe` of `None`: a TCP connect.
pub(crate) async fn check(
    address: SocketAddr,
    protocol: Protocol,
    probe: Option<ReadyProbe>,
    proxy: Option<ProxyProtocol>,
    limit: Duration,
) -> CheckResult {
    if let (Protocol::H2, Some(probe)) = (protocol, &probe) {
        return match timeout(limit, over_http2(address, probe)).await {
            Err(_elapsed) => CheckResult::Bad(format!("no answer within {limit:?}")),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => CheckResult::Refused,
            Ok(Err(error)) => CheckResult::Bad(error.to_string()),
            Ok(Ok(result)) => result,
        };
    }
    match timeout(limit, answer(address, probe.as_ref(), proxy)).await {
        Err(_elapsed) => CheckResult::Bad(format!("no answer within {limit:?}")),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => CheckResult::Refused,
        Ok(Err(error)) => CheckResult::Bad(error.to_string()),
        Ok(Ok(None)) => CheckResult::Good,
        Ok(Ok(Some(status))) => match probe {
            Some(probe) if probe.status != status => CheckResult::Bad(format!(
                "{} answered {status} instead of {}",
                probe.path, probe.status
            )),
            _ => CheckResult::Good,
        },
    }
}

async fn over_http2(address: SocketAddr, probe: &ReadyProbe) -> io::Result<CheckResult> {
    let host = probe.host.clone().unwrap_or_else(|| address.to_string());
    if probe.is_grpc() {
        let service = probe.service.as_deref().unwrap_or_default();
        let said = ask_h2::grpc_health(address, &host, service).await?;
        return Ok(said.map_or_else(CheckResult::Bad, |()| CheckResult::Good));
    }
    let status = ask_h2::get(address, &probe.path, &host).await?;
    Ok(if status == probe.status {
        CheckResult::Good
    } else {
        CheckResult::Bad(format!(
            "{} answered {status} instead of {}",
            probe.path, probe.status
        ))
    })
}

async fn answer(
    address: SocketAddr,
    probe: Option<&ReadyProbe>,
    proxy: Option<ProxyProtocol>,
) -> io::Result<Option<u16>> {
    let mut stream = TcpStream::connect(address).await?;
    if let Some(version) = proxy {
        stream.write_all(version.own()).await?;
    }
    let Some(probe) = probe else { return Ok(None) };
    let host = probe.host.clone().unwrap_or_else(|| address.to_string());
    ask(stream, &probe.path, &host, "").await.map(Some)
}

/// The status of a GET. `more`: header lines, each with its line end.
pub(super) async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    host: &str,
    more: &str,
) -> io::Result<u16> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: banyan-edge\r\nAccept: */*\r\n{more}Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut stream = stream.take(ANSWER);
    let mut text = Vec::new();
    while !text.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut text).await? == 0 {
            break;
        }
    }
    // The head decides. The rest is read, as closing with unread bytes would look like an error to the instance; but one
    // that ignores `Connection: close` is sound, too.
    drop(timeout(REST, stream.read_to_end(&mut Vec::new())).await);
    status(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn status(text: &[u8]) -> Option<u16> {
    let line = text.split(|b| *b == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut parts = line.split(' ');
    parts.next().filter(|version| version.starts_with("HTTP/1."))?;
    parts.next()?.parse().ok()
}
