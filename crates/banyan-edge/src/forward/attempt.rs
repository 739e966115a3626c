//! One try at one endpoint.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use banyan_upstream::health::Cause;
use banyan_upstream::retry::Failed;

use super::Answer;
use super::body::{Source, UpBody};
use super::pool::{InFlight, Lease, Metered, Upstream};
use super::time::Time;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::respond::Outcome;

/// Large bodies are read in pieces of up to this; smaller costs CPU, larger memory.
const READ_BUFFER: usize = 128 * 1024;

pub(crate) struct Failure {
    pub failed: Failed,
    pub timeout: bool,
    /// The next try should avoid this endpoint. Not for a kept connection that turned out closed: that says nothing.
    pub elsewhere: bool,
    /// Nobody listens there.
    pub refused: bool,
}

impl Failure {
    /// What it says about the endpoint.
    pub(super) fn cause(&self) -> Cause {
        match (self.timeout, self.failed.sent) {
            (true, _) => Cause::Timeout,
            (false, true) => Cause::BrokeOff,
            (false, false) => Cause::Unreachable,
        }
    }
}

pub(crate) async fn attempt(
    exchange: &mut Exchange,
    in_flight: InFlight,
    head: &Parts,
    source: Option<&Rc<Source>>,
    time: &Time,
) -> Result<Answer, Failure> {
    let core = Rc::clone(&exchange.core);
    let limit = time.left(in_flight.since);
    let kept = in_flight.upstream.take_idle();
    let reused = kept.is_some();
    let (sender, traffic) = match kept {
        Some(idle) => (idle.sender, idle.traffic),
        None => match connect(&core, &in_flight.upstream).await {
            Ok(connection) => connection,
            Err(error) => return Err(not_connected(&error, source)),
        },
    };
    in_flight.upstream.cells.requests.increment();
    let mut lease = Lease {
        sender,
        traffic,
        in_flight,
    };
    let mut request = request(head, &lease.in_flight.upstream, source);
    time.tell(request.headers_mut(), limit);
    let before = lease.traffic.now();
    exchange.outcome = Outcome::Unknown;
    let waited = source.map_or(Duration::ZERO, |s| s.waited());
    let sent = send_on(limit, &mut lease.sender, request, source).await;
    observe(&core, &lease.in_flight, source, waited, &sent);
    let (written, read) = lease.traffic.now();
    match sent {
        Ok(Ok(response)) => Ok((response, lease)),
        Ok(Err(Unsent(unsent))) => Err(Failure {
            failed: Failed {
                sent: !unsent && written != before.0,
                received: read != before.1,
                ..unknown(&head.method, source)
            },
            timeout: false,
            elsewhere: !reused || read != before.1,
            refused: false,
        }),
        Err(_elapsed) => Err(Failure {
            failed: unknown(&head.method, source),
            timeout: true,
            elsewhere: true,
            refused: false,
        }),
    }
}

/// The worst that can be said of a request that was handed to a connection.
fn unknown(method: &Method, source: Option<&Rc<Source>>) -> Failed {
    Failed {
        sent: true,
        received: true,
        idempotent: method.is_idempotent(),
        repeatable: source.is_none_or(|s| s.taken() == 0),
    }
}

fn request(head: &Parts, upstream: &Upstream, source: Option<&Rc<Source>>) -> Request<UpBody> {
    let mut request = Request::new(UpBody::new(source.cloned()));
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    *request.headers_mut() = head.headers.clone();
    // HTTP/1.0 clients may leave out Host; the instance is spoken to in 1.1, which needs one.
    if !head.headers.contains_key(header::HOST)
        && let Ok(host) = HeaderValue::from_str(&upstream.address.to_string())
    {
        request.headers_mut().insert(header::HOST, host);
    }
    request
}

/// Whether hyper gave the request back: nothing of it was written.
struct Unsent(bool);

/// What the balance policy learns. Time spent on the client's side is not the endpoint's; `waited`: before this attempt.
fn observe(core: &Core, in_flight: &InFlight, source: Option<&Rc<Source>>, waited: Duration, sent: &Sent) {
    if source.is_some_and(|s| s.problem().is_some()) {
        return;
    }
    let now = core.now();
    let client = source.map_or(Duration::ZERO, |s| s.waited().saturating_sub(waited));
    let took = now
        .saturating_duration_since(in_flight.since)
        .saturating_sub(client);
    let sound = matches!(sent, Ok(Ok(response)) if !response.status().is_server_error());
    in_flight.upstream.load.observe(now, took, sound);
}

type Sent = Result<Result<Response<Incoming>, Unsent>, tokio::time::error::Elapsed>;

/// Waits for the answer's head. The time does not run while the client's body still comes.
async fn send_on(
    limit: Duration,
    sender: &mut SendRequest<UpBody>,
    request: Request<UpBody>,
    source: Option<&Rc<Source>>,
) -> Sent {
    let mut answer = pin!(sender.try_send_request(request));
    let mut taken = 0;
    loop {
        match timeout_at(Instant::now() + limit, answer.as_mut()).await {
            Ok(result) => return Ok(result.map_err(|error| Unsent(error.message().is_some()))),
            Err(elapsed) => {
                let progress = source.map_or(0, |s| s.taken());
                if progress == taken {
                    return Err(elapsed);
                }
                taken = progress;
            }
        }
    }
}

async fn connect(
    core: &Rc<Core>,
    upstream: &Upstream,
) -> io::Result<(SendRequest<UpBody>, std::sync::Arc<super::pool::Traffic>)> {
    let limit = core.settings().timeouts.connect;
    let stream = timeout(limit, TcpStream::connect(upstream.address)).await??;
    stream.set_nodelay(true)?;
    let (metered, traffic) = Metered::new(stream);
    let (sender, connection) = Builder::new()
        .max_buf_size(READ_BUFFER)
        .handshake(TokioIo::new(metered))
        .await
        .map_err(io::Error::other)?;
    core.spawn("upstream", async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to an instance broke");
        }
    });
    Ok((sender, traffic))
}

/// No byte was sent.
fn not_connected(error: &io::Error, source: Option<&Rc<Source>>) -> Failure {
    Failure {
        failed: Failed {
            sent: false,
            received: false,
            idempotent: false,
            repeatable: source.is_none_or(|s| s.taken() == 0),
        },
        timeout: false,
        elsewhere: true,
        refused: error.kind() == io::ErrorKind::ConnectionRefused,
    }
}
