//! One question to an instance by HTTP/2 in the clear, for its health: a GET, or gRPC's health method.
//!
//! Each question has a connection of its own and no limit of time: who asks sets one. A broken connection is an
//! `io::Error` (of kind `ConnectionRefused` where nobody listens); what the instance said is the result.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;

/// The health protocol's method (grpc.io/docs/guides/health-checking).
const CHECK: &str = "/grpc.health.v1.Health/Check";
/// More of an answer than this is not read.
const ANSWER: usize = 64 * 1024;

/// The status that `GET path` is answered with.
pub async fn get(address: SocketAddr, path: &str, host: &str) -> io::Result<u16> {
    let request = Request::get(format!("http://{host}{path}")).header("user-agent", "banyan-probe");
    let request = request.body(()).map_err(io::Error::other)?;
    let answered = ask(address, request, None, |response| async move {
        Ok(response.status().as_u16())
    });
    answered.await
}

/// Whether the server says that `service` (empty: the whole server) is serving; `Err`: what it said instead.
pub async fn grpc_health(address: SocketAddr, host: &str, service: &str) -> io::Result<Result<(), String>> {
    let request = Request::post(format!("http://{host}{CHECK}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "banyan-probe");
    let request = request.body(()).map_err(io::Error::other)?;
    let message = question(service);
    ask(address, request, Some(message), |response| async move {
        let (head, mut body) = response.into_parts();
        if head.status != 200 {
            return Ok(Err(format!(
                "the health check was answered with HTTP status {}",
                head.status.as_u16()
            )));
        }
        let mut text = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data.map_err(io::Error::other)?;
            body.flow_control()
                .release_capacity(data.len())
                .map_err(io::Error::other)?;
            text.extend_from_slice(&data);
            if text.len() > ANSWER {
                return Ok(Err("the health check's answer is too large".to_owned()));
            }
        }
        let trailers = body.trailers().await.map_err(io::Error::other)?;
        Ok(judge(trailers.as_ref().unwrap_or(&head.headers), &text))
    })
    .await
}

async fn ask<T, F: Future<Output = io::Result<T>>>(
    address: SocketAddr,
    request: Request<()>,
    body: Option<Bytes>,
    read: impl FnOnce(Response<RecvStream>) -> F,
) -> io::Result<T> {
    let stream = TcpStream::connect(address).await?;
    let (sender, connection) = h2::client::handshake(stream).await.map_err(io::Error::other)?;
    let exchange = async {
        let response = send(sender, request, body).await.map_err(io::Error::other)?;
        read(response).await
    };
    tokio::select! {
        biased;
        answered = exchange => answered,
        ended = connection => Err(match ended {
            Ok(()) => io::ErrorKind::UnexpectedEof.into(),
            Err(error) => io::Error::other(error),
        }),
    }
}

async fn send(
    sender: SendRequest<Bytes>,
    request: Request<()>,
    body: Option<Bytes>,
) -> Result<Response<RecvStream>, h2::Error> {
    let (answer, mut stream) = sender.ready().await?.send_request(request, body.is_none())?;
    if let Some(body) = body {
        stream.send_data(body, true)?;
    }
    answer.await
}

/// `HealthCheckRequest { service }`, framed.
fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(&message);
    framed.into()
}

/// `HealthCheckResponse { status }` with 1 for SERVING, and grpc-status 0.
fn judge(trailers: &HeaderMap, framed: &[u8]) -> Result<(), String> {
    let field = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
    match field("grpc-status") {
        Some("0") => {}
        Some("5") => return Err("gRPC's health service does not know this service".to_owned()),
        Some("12") => return Err("the server has no gRPC health service".to_owned()),
        status => {
            let words = field("grpc-message").unwrap_or_default();
            return Err(format!(
                "the health check ended with grpc-status {} {words}",
                status.unwrap_or("(none)")
            ));
        }
    }
    match framed.get(5..) {
        Some([0x08, 1, ..]) => Ok(()),
        Some([0x08, 2, ..]) => Err("it says NOT_SERVING".to_owned()),
        Some([0x08, 3, ..]) => Err("it says SERVICE_UNKNOWN".to_owned()),
        _ => Err("it does not say SERVING".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_a_framed_message_with_the_service() {
        assert_eq!(question("").as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(
            question("a.B").as_ref(),
            [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']
        );
        assert_eq!(question(&"x".repeat(200))[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 1]);
    }

    #[test]
    fn only_serving_with_status_zero_is_sound() {
        let trailers = |status: &'static str| {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static(status));
            trailers
        };
        let answer = |status| [0, 0, 0, 0, 2, 8, status];
        assert_eq!(judge(&trailers("0"), &answer(1)), Ok(()));
        for (status, message) in [
            ("0", answer(2).as_slice()),
            ("0", &answer(3)),
            ("0", &[]),
            ("5", &[]),
            ("12", &answer(1)),
        ] {
            assert!(judge(&trailers(status), message).is_err(), "{status} {message:?}");
        }
        assert!(judge(&HeaderMap::new(), &answer(1)).is_err());
    }
}
