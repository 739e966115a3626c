//! One try at one endpoint.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use http::request::Parts;
use http::{Method, Response, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use banyan_config::Protocol;
use banyan_upstream::health::Cause;
use banyan_upstream::retry::Failed;

use super::answer::InstanceBody;
use super::body::{Source, UpBody};
use super::http1::{Broke, Connection, Extra};
use super::pool::{InFlight, Upstream};
use super::time::Time;
use super::wire::Wire;
use super::{Answer, http2};
use crate::core::Core;
use crate::exchange::Exchange;
use crate::http1::alarm::Alarm;
use crate::introduction::Introduction;
use crate::proxy_protocol::{self, Ends};
use crate::respond::Outcome;

/// How long a body waits to be asked for by `100 Continue` (RFC 9110 §10.1.1 leaves it to us).
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

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

/// For whom an attempt is made.
pub(super) trait Party {
    fn core(&self) -> &Rc<Core>;
    /// Told to instances that want to know who connects.
    fn ends(&self) -> &Ends;
    /// From now on an instance may act on it.
    fn sent(&mut self);
    /// Nobody looks into the head of the answer.
    fn plain(&self) -> bool;
    /// What the instance hears besides the request's head.
    fn introduction(&self) -> Option<Introduction<'_>>;
    /// An interim answer.
    fn hint(&self, answer: Response<()>);
}

impl Party for Exchange {
    fn core(&self) -> &Rc<Core> {
        &self.core
    }

    fn ends(&self) -> &Ends {
        &self.peer.ends
    }

    fn sent(&mut self) {
        self.outcome = Outcome::Unknown;
    }

    fn plain(&self) -> bool {
        self.plain
    }

    fn introduction(&self) -> Option<Introduction<'_>> {
        Exchange::introduction(self)
    }

    fn hint(&self, answer: Response<()>) {
        Exchange::hint(self, answer);
    }
}

pub(super) async fn attempt<P: Party>(
    party: &mut P,
    in_flight: InFlight,
    head: &Parts,
    source: Option<&Rc<Source>>,
    time: &Time,
) -> Result<Answer, Failure> {
    if in_flight.upstream.protocol == Protocol::H2 {
        return http2::attempt(party, in_flight, head, source, time).await;
    }
    let core = Rc::clone(party.core());
    let limit = time.left(in_flight.since);
    let kept = in_flight.upstream.take_idle();
    let reused = kept.is_some();
    let mut connection = match kept {
        Some(connection) => connection,
        // Boxed because it is seldom needed and every request has room for what it awaits.
        None => match Box::pin(connect(&core, &in_flight.upstream, party.ends())).await {
            Ok(connection) => connection,
            Err(error) => return Err(not_connected(&error, source)),
        },
    };
    in_flight.upstream.cells.requests.increment();
    let extra = Extra {
        address: in_flight.upstream.address,
        time: time.told(limit),
        introduction: party.introduction(),
    };
    connection.ask(head, UpBody::new(source.cloned()), &extra, party.plain());
    party.sent();
    let waited = source.map_or(Duration::ZERO, |s| s.waited());
    let answered = answer_within(&in_flight, limit, &mut connection, source, party).await;
    let status = answered
        .as_ref()
        .ok()
        .and_then(|answer| Some(answer.as_ref().ok()?.status()));
    observe(&core, &in_flight, source, waited, status);
    match answered {
        Ok(Ok(answer)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Ok(answer.map(|()| InstanceBody::switched(connection, in_flight)))
        }
        Ok(Ok(answer)) => Ok(answer.map(|()| InstanceBody::http1(connection, in_flight))),
        Ok(Err(broke)) => {
            tracing::debug!(error = %broke, endpoint = in_flight.upstream.label, "no answer from an instance");
            let received = connection.has_received();
            Err(Failure {
                failed: Failed {
                    sent: connection.has_written(),
                    received,
                    ..unknown(&head.method, source)
                },
                timeout: false,
                elsewhere: !reused || received,
                refused: false,
            })
        }
        Err(Late) => Err(Failure {
            failed: unknown(&head.method, source),
            timeout: true,
            elsewhere: true,
            refused: false,
        }),
    }
}

/// The worst that can be said of a request that was handed to a connection.
pub(super) fn unknown(method: &Method, source: Option<&Rc<Source>>) -> Failed {
    Failed {
        sent: true,
        received: true,
        idempotent: method.is_idempotent(),
        repeatable: source.is_none_or(|s| s.taken() == 0),
    }
}

/// What the balance policy learns. Time spent on the client's side is not the endpoint's; `waited`: before this attempt;
/// `status`: of its answer.
pub(super) fn observe(
    core: &Core,
    in_flight: &InFlight,
    source: Option<&Rc<Source>>,
    waited: Duration,
    status: Option<StatusCode>,
) {
    if source.is_some_and(|s| s.problem().is_some()) {
        return;
    }
    let now = core.now();
    let client = source.map_or(Duration::ZERO, |s| s.waited().saturating_sub(waited));
    let took = now
        .saturating_duration_since(in_flight.since)
        .saturating_sub(client);
    if let Some(status) = status {
        in_flight.upstream.cells.answered(status, took);
    }
    let sound = status.is_some_and(|status| !status.is_server_error());
    in_flight.upstream.load.observe(now, took, sound);
}

type Answered = Result<Result<Response<()>, Broke>, Late>;

/// The time is over.
struct Late;

/// Waits for the answer's head. The time does not run while the client's body still comes.
async fn answer_within(
    in_flight: &InFlight,
    limit: Duration,
    connection: &mut Connection,
    source: Option<&Rc<Source>>,
    party: &impl Party,
) -> Answered {
    let mut due = Instant::from_std(in_flight.since) + limit;
    let mut taken = 0;
    // A body that the instance wants to be asked for waits for that, but not for ever: few servers say so.
    let until = connection.holds().then(|| Instant::now() + PATIENCE);
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(answer) = connection.poll_answer(cx, |interim| party.hint(interim)) {
                return Poll::Ready(Ok(answer));
            }
            let held = until.filter(|_| connection.holds());
            ready!(connection.poll_timer(cx, held.map_or(due, |until| until.min(due))));
            if held.is_some_and(|until| until < due) {
                connection.go_ahead();
                continue;
            }
            let progress = source.map_or(0, |s| s.taken());
            if progress == taken {
                return Poll::Ready(Err(Late));
            }
            (taken, due) = (progress, Instant::now() + limit);
        }
    })
    .await
}

async fn connect(core: &Rc<Core>, upstream: &Upstream, client: &Ends) -> io::Result<Box<Connection>> {
    let settings = core.settings();
    let stream = match &upstream.elsewhere {
        None => Wire::Plain(timeout(settings.timeouts.connect, open(upstream, client)).await??),
        Some(server) => timeout(settings.timeouts.connect, server.connect()).await??,
    };
    let timer = Alarm::new(settings.timeouts.response);
    Ok(Box::new(Connection::new(stream, Rc::clone(&core.buffer), timer)))
}

/// A connection that has said who the client is, where the instance wants to know.
pub(super) async fn open(upstream: &Upstream, client: &Ends) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(upstream.address).await?;
    stream.set_nodelay(true)?;
    if let Some(version) = upstream.proxy() {
        stream.write_all(&proxy_protocol::header(version, client)).await?;
    }
    Ok(stream)
}

/// No byte was sent.
pub(super) fn not_connected(error: &io::Error, source: Option<&Rc<Source>>) -> Failure {
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
