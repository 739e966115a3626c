//! One try over HTTP/2.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode, Uri, Version, header};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout_at};

use banyan_upstream::retry::Failed;

use super::answer::Answer as Body;
use super::pipe::Pipe;
use super::{Place, link};
use crate::forward::Answer;
use crate::forward::answer::InstanceBody;
use crate::forward::attempt::{Failure, PATIENCE, Party, not_connected, observe, unknown};
use crate::forward::body::{Source, UpBody};
use crate::forward::pool::{InFlight, Upstream};
use crate::forward::time::Time;
use crate::headers::HOP_BY_HOP;
use crate::introduction::Introduction;

/// One try at an endpoint that speaks HTTP/2.
pub(in crate::forward) async fn attempt<P: Party>(
    party: &mut P,
    in_flight: InFlight,
    head: &Parts,
    source: Option<&Rc<Source>>,
    time: &Time,
) -> Result<Answer, Failure> {
    let core = Rc::clone(party.core());
    let limit = time.left(in_flight.since);
    let link = match link(&core, &in_flight.upstream).await {
        Ok(link) => link,
        Err(error) => return Err(not_connected(&error, source)),
    };
    in_flight.upstream.cells.requests.increment();
    let mut request = request(head, party.introduction(), &in_flight.upstream);
    time.tell(request.headers_mut(), limit);
    party.sent();
    let written = link.written.get();
    let waited = source.map_or(Duration::ZERO, |s| s.waited());
    let place = link.begin(&core);
    let (answer, mut upload) = match send(&place, request, source) {
        Ok(sent) => sent,
        Err(error) => return Err(failure(&error, false, head, source)),
    };
    let asked = Asked {
        party: &*party,
        expects: source.is_some() && head.headers.contains_key(header::EXPECT),
    };
    let sent = within(limit, answer, &mut upload, source, &asked).await;
    let status = sent
        .as_ref()
        .ok()
        .and_then(|sent| Some(sent.as_ref().ok()?.status()));
    observe(&core, &in_flight, source, waited, status);
    match sent {
        Ok(Ok(response)) => {
            link.known.set(true);
            let length = response.headers().get(header::CONTENT_LENGTH);
            let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
            Ok(response
                .map(|stream| InstanceBody::http2(Body::new(stream, length, upload, place), in_flight)))
        }
        Ok(Err(error)) => Err(failure(&error, link.written.get() != written, head, source)),
        Err(_elapsed) => Err(Failure {
            failed: unknown(&head.method, source),
            timeout: true,
            elsewhere: true,
            refused: false,
        }),
    }
}

/// What an error before the answer's head says.
fn failure(error: &h2::Error, written: bool, head: &Parts, source: Option<&Rc<Source>>) -> Failure {
    let gone = error.is_go_away() && error.is_remote();
    let refused = error.is_reset() && error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM);
    Failure {
        failed: Failed {
            sent: written && !gone && !refused,
            // A reset is no answer.
            received: false,
            ..unknown(&head.method, source)
        },
        timeout: false,
        // An instance that says goodbye in time has done nothing wrong.
        elsewhere: !gone && written,
        refused: false,
    }
}

/// As HTTP/2 says it: scheme and authority in the target, no field that concerns a connection.
fn request(head: &Parts, introduction: Option<Introduction<'_>>, upstream: &Upstream) -> Request<()> {
    let mut headers: HeaderMap = head.headers.clone();
    if let Some(introduction) = introduction {
        introduction.insert(&mut headers);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(header::CONNECTION);
    let host = headers.remove(header::HOST);
    let authority = host.and_then(|host| host.to_str().ok()?.parse().ok());
    let uri = Uri::builder()
        .scheme("http")
        .authority(authority.unwrap_or_else(|| upstream.authority()))
        .path_and_query(head.uri.path_and_query().map_or("/", |target| target.as_str()));
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri.build().unwrap_or_else(|_| head.uri.clone());
    *request.headers_mut() = headers;
    request
}

type Upload = Option<Pipe<UpBody>>;

fn send(
    place: &Place,
    request: Request<()>,
    source: Option<&Rc<Source>>,
) -> Result<(ResponseFuture, Upload), h2::Error> {
    let mut sender = place.link.sender.clone();
    let (answer, to) = sender.send_request(request, source.is_none())?;
    let body = source.map(|source| UpBody::new(Some(Rc::clone(source))));
    Ok((
        answer,
        body.map(|body| Pipe::new(body, to, |_refused| Reason::CANCEL)),
    ))
}

/// Sends the body and waits for the answer's head. The time does not run while the client's body still comes.
async fn within(
    limit: Duration,
    mut answer: ResponseFuture,
    upload: &mut Upload,
    source: Option<&Rc<Source>>,
    asked: &Asked<'_, impl Party>,
) -> Result<Result<Response<RecvStream>, h2::Error>, Elapsed> {
    let mut held = asked.expects.then(|| Box::pin(sleep(PATIENCE)));
    let mut answer = poll_fn(|cx| {
        while let Poll::Ready(Some(Ok(interim))) = answer.poll_informational(cx) {
            if interim.status() == StatusCode::CONTINUE {
                held = None;
            } else {
                asked.party.hint(interim);
            }
        }
        if held
            .as_mut()
            .is_some_and(|held| held.as_mut().poll(cx).is_ready())
        {
            held = None;
        }
        let sent = |upload: &mut Pipe<UpBody>| held.is_none() && upload.poll(cx).is_ready();
        if upload.as_mut().is_some_and(sent) {
            *upload = None;
        }
        let answered = Pin::new(&mut answer).poll(cx);
        if answered.is_ready() && held.is_some() {
            // The instance does not want it.
            *upload = None;
        }
        answered
    });
    let mut taken = 0;
    loop {
        match timeout_at(Instant::now() + limit, &mut answer).await {
            Ok(answered) => return Ok(answered),
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

/// What a try needs to know while it waits.
struct Asked<'a, P> {
    party: &'a P,
    /// The body waits until the instance wants it.
    expects: bool,
}
