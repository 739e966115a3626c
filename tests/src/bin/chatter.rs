//! An app that speaks every way that the edge passes on: answers, uploads, events, WebSockets.
//!
//! `POST …` sends the body back; `/events` sends ten events over a second; an upgrade becomes an echo; everything else
//! answers `chatter $VERSION`. In HTTP/2 each request is a gRPC call and gets its message back. Bodies must have a length.
//! No limits: its only clients are an edge and tests.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Events of one stream, and the time between two.
const EVENTS: usize = 10;
const GAP: Duration = Duration::from_millis(100);

#[tokio::main(flavor = "current_thread")]
#[expect(
    clippy::disallowed_methods,
    reason = "an app is not part of Banyan's runtime, and reads its environment"
)]
async fn main() {
    let port: u16 = std::env::var("PORT").expect("PORT").parse().expect("a port");
    let version = std::env::var("VERSION").unwrap_or_default();
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        tokio::spawn(converse(stream, version.clone()));
    }
}

#[derive(Default)]
struct Head {
    start: String,
    length: usize,
    upgrade: bool,
}

async fn converse(stream: TcpStream, version: String) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // No method of HTTP/1 begins so.
    let mut begin = [0; 2];
    if stream.peek(&mut begin).await? == 2 && begin == *b"PR" {
        let calls = http2::Builder::new(TokioExecutor::new());
        let served = calls
            .serve_connection(TokioIo::new(stream), service_fn(call))
            .await;
        return served.map_err(io::Error::other);
    }
    let mut stream = BufReader::new(stream);
    while let Some(head) = head(&mut stream).await? {
        let mut body = vec![0; head.length];
        stream.read_exact(&mut body).await?;
        if head.upgrade {
            return echo(stream).await;
        }
        if head.start.contains(" /events") {
            events(&mut stream).await?;
            continue;
        }
        if !head.start.starts_with("POST ") {
            body = format!("chatter {version}\n").into_bytes();
        }
        let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
        answer.extend(body);
        stream.write_all(&answer).await?;
    }
    Ok(())
}

/// `None`: the client is gone.
async fn head(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Head>> {
    let mut head = Head::default();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.trim_end().to_ascii_lowercase();
        if head.start.is_empty() {
            head.start = line.replacen("post ", "POST ", 1);
        } else if line.is_empty() {
            return Ok(Some(head));
        } else if let Some(length) = line.strip_prefix("content-length:") {
            head.length = length.trim().parse().map_err(io::Error::other)?;
        } else if line.starts_with("upgrade:") {
            head.upgrade = true;
        }
    }
}

type Echo = BoxBody<Bytes, Infallible>;

async fn call(request: Request<Incoming>) -> Result<Response<Echo>, Infallible> {
    let message = request.into_body().collect().await;
    let message = message.map(|body| body.to_bytes()).unwrap_or_default();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(message).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut answer = Response::new(body.boxed());
    let kind = HeaderValue::from_static("application/grpc");
    answer.headers_mut().insert("content-type", kind);
    Ok(answer)
}

async fn events(stream: &mut BufReader<TcpStream>) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    for number in 0..EVENTS {
        tokio::time::sleep(GAP).await;
        let event = format!("data: {number}\n\n");
        stream
            .write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
            .await?;
    }
    stream.write_all(b"0\r\n\r\n").await
}

/// What comes goes back, frame after frame, unmasked, until the client closes. Frames of up to 125 bytes.
async fn echo(mut stream: BufReader<TcpStream>) -> io::Result<()> {
    let agreed = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n";
    stream.write_all(agreed.as_bytes()).await?;
    loop {
        let mut start = [0; 6];
        stream.read_exact(&mut start).await?;
        let [kind, length, mask @ ..] = start;
        let mut frame = vec![0; usize::from(length & 0x7f)];
        stream.read_exact(&mut frame).await?;
        for (byte, mask) in frame.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        let mut answer = vec![kind, length & 0x7f];
        answer.extend(frame);
        stream.write_all(&answer).await?;
        if kind & 0x0f == 8 {
            return stream.shutdown().await;
        }
    }
}
