//! Where apps send OTLP: HTTP/1.1 with protobuf, and gRPC, each on a port of 127.0.0.1.
//!
//! Tasks: one that listens per port, one per connection. Limits: [`CONNECTIONS`], [`BODY`], [`PATIENCE`] for a request. A port that is taken is
//! said, and tried again.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use banyan_runtime::{TaskKind, Tasks, listener};
use banyan_topology::snapshot::ObserveSnapshot;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::traces::Intake;

/// At once, on each port.
const CONNECTIONS: usize = 64;
/// Of a request.
const BODY: usize = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(30);
/// A port that was taken may be free.
const AGAIN: Duration = Duration::from_secs(1);

const TRACES: &str = "/v1/traces";
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Why a port does not serve; `None`: it does.
pub(crate) type Problem = Option<String>;

type Body = BoxBody<Bytes, Infallible>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Http,
    Grpc,
}

/// Listens on the ports that the newest snapshot says; connections of before end when their senders go. `told` hears what is
/// wrong. Until the role ends.
pub(crate) async fn run(
    mut snapshot: watch::Receiver<Arc<ObserveSnapshot>>,
    intake: Intake,
    tasks: Tasks,
    told: watch::Sender<Problem>,
) {
    let ports = |snapshot: &ObserveSnapshot| {
        let otlp = &snapshot.settings.otlp;
        (otlp.http, otlp.grpc)
    };
    loop {
        let now = ports(&snapshot.borrow_and_update());
        told.send_replace(None);
        let both = async {
            tokio::join!(
                listen(now.0, Speaks::Http, &intake, &tasks, &told),
                listen(now.1, Speaks::Grpc, &intake, &tasks, &told),
            )
        };
        tokio::select! {
            _ = both => return,
            changed = snapshot.wait_for(|snapshot| ports(snapshot) != now) => if changed.is_err() {
                return;
            },
        }
    }
}

/// Never returns.
async fn listen(
    port: Option<u16>,
    speaks: Speaks,
    intake: &Intake,
    tasks: &Tasks,
    told: &watch::Sender<Problem>,
) {
    let Some(port) = port else {
        return std::future::pending().await;
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    let mut said = false;
    let listener = loop {
        match bind(address) {
            Ok(listener) => break listener,
            Err(why) => {
                let problem = format!("no OTLP at {address}: {why}; write another port in [observe]");
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(problem);
                }
                told.send_replace(Some(problem));
                sleep(AGAIN).await;
            }
        }
    };
    if said {
        told.send_replace(None);
    }
    tracing::info!(%address, "taking OTLP");
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let intake = intake.clone();
                tasks.spawn(TaskKind::Connection, "otlp", async move {
                    talk(stream, speaks, intake).await;
                    drop(seat);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a sender of OTLP");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    let mut sockets = listener::bind_per_core(address, 1).map_err(|error| error.to_string())?;
    let socket = sockets.pop().ok_or_else(|| "no socket".to_owned())?;
    TcpListener::from_std(socket).map_err(|error| error.to_string())
}

async fn talk(stream: TcpStream, speaks: Speaks, intake: Intake) {
    let service = service_fn(move |request| {
        let intake = intake.clone();
        async move { Ok::<_, Infallible>(answer(request, speaks, &intake).await) }
    });
    let io = TokioIo::new(stream);
    let served = match speaks {
        Speaks::Http => {
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(io, service)
                .await
        }
        Speaks::Grpc => {
            http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(16)
                .serve_connection(io, service)
                .await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a sender of OTLP went away");
    }
}

async fn answer(request: Request<Incoming>, speaks: Speaks, intake: &Intake) -> Response<Body> {
    let wanted = match speaks {
        Speaks::Http => TRACES,
        Speaks::Grpc => EXPORT,
    };
    if request.uri().path() != wanted || request.method() != Method::POST {
        return refused(speaks, StatusCode::NOT_FOUND, 12, "only traces are taken");
    }
    let kind = header(request.headers(), &CONTENT_TYPE);
    let fits = match speaks {
        Speaks::Http => kind.starts_with("application/x-protobuf"),
        Speaks::Grpc => kind.starts_with("application/grpc"),
    };
    if !fits || !matches!(header(request.headers(), &CONTENT_ENCODING), "" | "identity") {
        return refused(
            speaks,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            12,
            "write protobuf, not compressed",
        );
    }
    let body = timeout(PATIENCE, Limited::new(request.into_body(), BODY).collect()).await;
    let body = match body {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            return refused(
                speaks,
                StatusCode::PAYLOAD_TOO_LARGE,
                8,
                "the request is too large",
            );
        }
        Err(_) => {
            return refused(
                speaks,
                StatusCode::REQUEST_TIMEOUT,
                4,
                "the request took too long",
            );
        }
    };
    let message = match speaks {
        Speaks::Http => Some(&body[..]),
        Speaks::Grpc => framed(&body),
    };
    let Some(Ok(brought)) = message.map(super::read) else {
        return refused(
            speaks,
            StatusCode::BAD_REQUEST,
            3,
            "this is no ExportTraceServiceRequest",
        );
    };
    if !intake.give(brought.spans) {
        return refused(
            speaks,
            StatusCode::SERVICE_UNAVAILABLE,
            14,
            "too much at once, try again",
        );
    }
    let said = super::answer(brought.rejected, "spans without identifiers are left out");
    match speaks {
        Speaks::Http => of(StatusCode::OK, "application/x-protobuf", Bytes::from(said)),
        Speaks::Grpc => of_call(Some(&said), 0, ""),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// The one message of a unary call, not compressed (gRPC over HTTP/2, Length-Prefixed-Message).
fn framed(body: &[u8]) -> Option<&[u8]> {
    let (head, message) = body.split_at_checked(5)?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?);
    (head[0] == 0 && message.len() == length as usize).then_some(message)
}

fn refused(speaks: Speaks, status: StatusCode, code: u8, why: &'static str) -> Response<Body> {
    match speaks {
        Speaks::Http => of(status, "text/plain", Bytes::from_static(why.as_bytes())),
        Speaks::Grpc => of_call(None, code, why),
    }
}

fn of(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A gRPC answer: 200, the message if there is one, and how it went in the trailers.
fn of_call(message: Option<&[u8]>, code: u8, why: &'static str) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(u16::from(code)));
    if !why.is_empty() {
        trailers.insert("grpc-message", HeaderValue::from_static(why));
    }
    let mut frames = Vec::new();
    if let Some(message) = message {
        let mut framed = BytesMut::with_capacity(5 + message.len());
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).unwrap_or(0));
        framed.extend_from_slice(message);
        frames.push(Ok::<_, Infallible>(Frame::data(framed.freeze())));
    }
    frames.push(Ok(Frame::trailers(trailers)));
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let mut response = Response::new(BodyExt::boxed(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
