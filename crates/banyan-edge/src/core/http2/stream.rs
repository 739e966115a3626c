//! One HTTP/2 stream of a client: a request through the pipeline, and its answer back.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use rand::RngExt as _;

use super::tunnel::Bare;
use crate::core::{Core, Peer};
use crate::exchange::DownBody;
use crate::forward::http1::Broke;
use crate::forward::http2::pipe::Pipe;
use crate::forward::upgrade::{self, Switched};
use crate::headers::HOP_BY_HOP;
use crate::http1::alarm::Alarm;
use crate::interim::Interim;
use crate::pipeline;
use crate::request_body::{ClientBody, ClientBroke};

pub(super) async fn serve(
    core: Rc<Core>,
    peer: Rc<Peer>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let (mut head, stream) = request.into_parts();
    let interim = Rc::new(Interim::default());
    let (tunnel, body) = if switches(&mut head) {
        (Some(stream), ClientBody::Empty)
    } else {
        (
            None,
            ClientBody::Http2(RequestBody::new(stream, &head.headers, &interim)),
        )
    };
    let head_only = head.method == Method::HEAD;
    let request = Request::from_parts(head, body);
    let answer = {
        let mut served = pin!(pipeline::serve(&core, &peer, request, Some(Rc::clone(&interim))));
        poll_fn(|cx| {
            if let Poll::Ready(answer) = served.as_mut().poll(cx) {
                return Poll::Ready(Some(answer));
            }
            tell(&interim, &mut respond);
            // A client that wants it no more ends it, wherever it is.
            respond.poll_reset(cx).map(|_reason| None)
        })
        .await
    };
    let Some(answer) = answer else { return };
    tell(&interim, &mut respond);
    let (mut head, mut body) = answer.into_parts();
    match (body.take_switched(), tunnel) {
        (Some(switched), Some(stream)) => {
            head.status = StatusCode::OK;
            head.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
            Box::pin(join(*switched, head.headers, stream, respond)).await;
        }
        (Some(_), None) => respond.send_reset(Reason::INTERNAL_ERROR),
        (None, _) => send(&core, head, body, head_only, respond).await,
    }
}

/// Interim answers; a stream that is gone needs none.
fn tell(interim: &Interim, respond: &mut SendResponse<Bytes>) {
    if interim.is_empty() {
        return;
    }
    for mut answer in interim.take() {
        *answer.version_mut() = Version::HTTP_2;
        let _gone = respond.send_informational(answer);
    }
}

/// Extended CONNECT (RFC 8441): the request as HTTP/1 says it. Whether it is one.
fn switches(head: &mut Parts) -> bool {
    let Some(protocol) = head.extensions.remove::<Protocol>() else {
        return false;
    };
    let Ok(protocol) = HeaderValue::from_str(protocol.as_str()) else {
        return false;
    };
    head.method = Method::GET;
    let websocket = protocol == "websocket";
    head.headers.insert(header::UPGRADE, protocol);
    head.headers
        .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if websocket && let Ok(key) = HeaderValue::from_str(&key()) {
        head.headers.insert(header::SEC_WEBSOCKET_KEY, key);
    }
    true
}

/// 16 random bytes in base64; HTTP/2 clients have none, HTTP/1 instances want one.
fn key() -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: [u8; 16] = rand::rng().random();
    let mut bits = u128::from_be_bytes(bytes);
    let mut text = [b'='; 24];
    // 21 letters of six bits, one of two, two signs of padding.
    text[21] = LETTERS[((bits & 3) << 4) as usize];
    bits >>= 2;
    for place in (0..21).rev() {
        text[place] = LETTERS[(bits & 63) as usize];
        bits >>= 6;
    }
    text.iter().copied().map(char::from).collect()
}

async fn join(
    switched: Switched,
    mut headers: HeaderMap,
    stream: RecvStream,
    mut respond: SendResponse<Bytes>,
) {
    plain(&mut headers);
    let mut answer = Response::new(());
    *answer.headers_mut() = headers;
    if let Ok(to) = respond.send_response(answer, false) {
        upgrade::tunnel(switched, Bare::new(stream, to)).await;
    }
}

/// HTTP/2's frames say what these fields say in HTTP/1.
fn plain(headers: &mut HeaderMap) {
    headers.remove(header::CONNECTION);
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

async fn send(
    core: &Core,
    mut head: http::response::Parts,
    body: DownBody,
    head_only: bool,
    mut respond: SendResponse<Bytes>,
) {
    plain(&mut head.headers);
    if !head.headers.contains_key(header::DATE)
        && let Ok(date) = HeaderValue::from_str(&core.date.borrow())
    {
        head.headers.insert(header::DATE, date);
    }
    let bodyless = head.status == StatusCode::NO_CONTENT || head.status == StatusCode::NOT_MODIFIED;
    if let Some(length) = body.size_hint().exact()
        && !(bodyless || head_only && length == 0)
        && !head.headers.contains_key(crate::grpc::STATUS)
    {
        head.headers
            .entry(header::CONTENT_LENGTH)
            .or_insert(length.into());
    }
    let mut answer = Response::from_parts(head, ());
    *answer.version_mut() = Version::HTTP_2;
    let ends = head_only || bodyless || body.is_end_stream();
    let Ok(to) = respond.send_response(answer, ends) else {
        return;
    };
    if ends {
        return;
    }
    let limit = core.settings().timeouts.idle;
    let mut pipe = Pipe::new(body, to, reason);
    let mut alarm = Alarm::new(limit);
    poll_fn(|cx| ready_or_stuck(cx, &mut pipe, &mut alarm, limit)).await;
}

/// Ready when the answer is through, or when the client took nothing of it for too long.
fn ready_or_stuck(
    cx: &mut Context<'_>,
    pipe: &mut Pipe<DownBody>,
    alarm: &mut Alarm,
    limit: std::time::Duration,
) -> Poll<()> {
    if pipe.poll(cx).is_ready() {
        return Poll::Ready(());
    }
    let Some(since) = pipe.blocked_since() else {
        return Poll::Pending;
    };
    // While the client takes its time, the instance still gets the request's body.
    pipe.body().drive(cx);
    alarm.poll(cx, since + limit)
}

/// A client hears of an instance's stream what the instance said.
fn reason(broke: &Broke) -> Reason {
    match broke {
        Broke::Stream(error) => error.reason().unwrap_or(Reason::INTERNAL_ERROR),
        Broke::Connection(_)
        | Broke::Closed
        | Broke::Invalid(_)
        | Broke::File(_)
        | Broke::Coding(_)
        | Broke::Body => Reason::INTERNAL_ERROR,
    }
}

/// The body of a stream's request.
pub(crate) struct RequestBody {
    stream: RecvStream,
    /// What is still to come, where the client said it.
    left: Option<u64>,
    /// The client waits to be told before it sends the body.
    go_ahead: Option<Rc<Interim>>,
    ended: bool,
}

impl RequestBody {
    fn new(stream: RecvStream, headers: &HeaderMap, interim: &Rc<Interim>) -> Self {
        let number = |value: &HeaderValue| value.to_str().ok()?.parse().ok();
        let expects = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        Self {
            left: headers.get(header::CONTENT_LENGTH).and_then(number),
            go_ahead: headers
                .get(header::EXPECT)
                .is_some_and(expects)
                .then(|| Rc::clone(interim)),
            ended: stream.is_end_stream(),
            stream,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = ClientBroke;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientBroke>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let polled = this.stream.poll_data(cx);
        if let (Poll::Pending, Some(interim)) = (&polled, this.go_ahead.take()) {
            interim.go_ahead();
        }
        let frame = match ready!(polled) {
            Some(Ok(data)) => {
                // A stream that is gone needs no more room.
                let _gone = this.stream.flow_control().release_capacity(data.len());
                this.left = this.left.map(|left| left.saturating_sub(data.len() as u64));
                this.ended = this.stream.is_end_stream();
                Some(Ok(Frame::data(data)))
            }
            Some(Err(_)) => Some(Err(ClientBroke::Gone)),
            None => match ready!(this.stream.poll_trailers(cx)) {
                Ok(trailers) => {
                    this.ended = true;
                    trailers.map(|trailers| Ok(Frame::trailers(trailers)))
                }
                Err(_) => Some(Err(ClientBroke::Gone)),
            },
        };
        this.ended |= matches!(frame, Some(Err(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.ended => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        let (one, other) = (key(), key());
        assert!(one.len() == 24 && one.ends_with("==") && one != other);
        assert!(b"AQgw".contains(&one.as_bytes()[21]), "{one}");
    }
}
