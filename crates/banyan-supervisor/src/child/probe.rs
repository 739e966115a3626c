//! Asking a child how it is: one TCP connect, one GET (HTTP/1.1 or HTTP/2), gRPC's health method, or Redis's PING.
//!
//! Small and strict on purpose: the answer must begin with a status line and have a complete header of at most 16 KiB;
//! bodies are not read. Every failure is a sentence that can be shown as it is.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use banyan_config::{GRPC_HEALTH, Protocol};
use banyan_runtime::ask_h2;

use super::spec::Probe;

const HEADER_LIMIT: usize = 16 * 1024;

/// `Err`: why it failed.
pub(crate) async fn run(probe: Probe) -> Result<(), String> {
    match probe {
        Probe::Http {
            address,
            greeting,
            protocol,
            path,
            host,
            service,
            status,
            timeout,
            ..
        } => {
            let host = host.unwrap_or_else(|| address.to_string());
            let late = || format!("{path} on {address} was not answered within {timeout:?}");
            let broken = |error: io::Error| format!("{path} on {address}: {error}");
            if protocol == Protocol::H2 && path == GRPC_HEALTH {
                let service = service.unwrap_or_default();
                let asked = async {
                    ask_h2::grpc_health(address, &host, &service)
                        .await
                        .map_err(broken)
                };
                return limited(timeout, asked, late).await?;
            }
            if protocol == Protocol::H2 {
                let asked = async { ask_h2::get(address, &path, &host).await.map_err(broken) };
                return expect(&path, limited(timeout, asked, late).await?, status);
            }
            let asked = limited(timeout, get(address, greeting, &path, &host), || {
                format!("GET {path} on {address} was not answered within {timeout:?}")
            });
            expect(&path, asked.await?, status)
        }
        Probe::Tcp { address, timeout, .. } => limited(timeout, connect(address), || {
            format!("no connection to {address} within {timeout:?}")
        })
        .await
        .map(drop),
        Probe::Redis { address, timeout, .. } => {
            limited(timeout, ping(address), || {
                format!("PING on {address} was not answered within {timeout:?}")
            })
            .await
        }
        Probe::Running { .. } => Ok(()),
    }
}

fn expect(path: &str, answered: u16, status: u16) -> Result<(), String> {
    if answered == status {
        Ok(())
    } else {
        Err(format!("GET {path} answered {answered}, expected {status}"))
    }
}

async fn limited<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, String>>,
    late: impl FnOnce() -> String,
) -> Result<T, String> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_elapsed| Err(late()))
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            format!("nothing listens on {address}")
        } else {
            format!("failed to connect to {address}: {error}")
        }
    })
}

async fn get(address: SocketAddr, greeting: &[u8], path: &str, host: &str) -> Result<u16, String> {
    let mut stream = connect(address).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: banyan-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let broken = |error: io::Error| format!("the connection to {address} broke: {error}");
    let request = [greeting, request.as_bytes()].concat();
    stream.write_all(&request).await.map_err(broken)?;
    let mut answer = Vec::with_capacity(1024);
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        if answer.len() > HEADER_LIMIT {
            return Err(format!("GET {path} was answered with a header beyond 16 KiB"));
        }
        if stream.read_buf(&mut answer).await.map_err(broken)? == 0 {
            return Err(format!("GET {path}: the connection was closed before an answer"));
        }
    }
    status(&answer).ok_or_else(|| format!("GET {path} was not answered in HTTP/1.1"))
}

/// An inline command of <https://redis.io/docs/latest/develop/reference/protocol-spec/>.
async fn ping(address: SocketAddr) -> Result<(), String> {
    let mut stream = connect(address).await?;
    let broken = |error: io::Error| format!("the connection to {address} broke: {error}");
    stream.write_all(b"PING\r\n").await.map_err(broken)?;
    let mut answer = Vec::with_capacity(128);
    while !answer.ends_with(b"\r\n") {
        if answer.len() > HEADER_LIMIT || stream.read_buf(&mut answer).await.map_err(broken)? == 0 {
            return Err(format!("PING on {address} got no whole answer"));
        }
    }
    match answer.first() {
        Some(b'+' | b'-') => Ok(()),
        _ => Err(format!("what listens on {address} is no Redis")),
    }
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(answer.split(|byte| *byte == b'\r').next()?).ok()?;
    let rest = line
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| line.strip_prefix("HTTP/1.0 "))?;
    let digits = rest
        .get(..3)
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    let ends = rest[3..].is_empty() || rest[3..].starts_with(' ');
    digits.parse().ok().filter(|_| ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_status_line_counts() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\n\r\n"), Some(204));
        assert_eq!(status(b"HTTP/1.0 200\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.1 2000 x\r\n\r\n"), None);
        assert_eq!(status(b"HTTP/2 200\r\n\r\n"), None);
        assert_eq!(status(b"SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(status(b""), None);
    }
}
