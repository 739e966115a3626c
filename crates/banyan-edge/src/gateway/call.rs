//! HTTP with JSON to a unary gRPC call and back: `banyan_transcode` decides, this asks.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use banyan_transcode::{Api, Found, Lookup};
use banyan_upstream::retry::Effect;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::Body as _;

use super::ask::{Got, ask};
use super::{Job, json, personal};
use crate::core::groups::Group;
use crate::exchange::{DownBody, Exchange};
use crate::forward::body::{Source, UpBody};
use crate::grpc;
use crate::request_body::ClientBody;
use crate::respond::{Form, Refusal};
use crate::route::serving::{Next, Routed};

/// Before each message: whether it is compressed, and its length.
const FRAME: usize = 5;

/// The methods of a route.
pub(crate) struct Call {
    pub api: Arc<Api>,
    pub group: Rc<Group>,
    pub most: u64,
}

/// What is to be called for one client.
pub(crate) struct Wanted {
    call: Rc<Call>,
    found: Found,
}

impl Call {
    /// The call, or the answer where there is no such method. `decoded`: the request's path.
    pub(crate) fn wanted(self: &Rc<Self>, exchange: &Exchange, head: &Parts, decoded: &str) -> Next {
        match self.api.find(head.method.as_str(), decoded) {
            Lookup::Found(found) => Next::Gateway(Box::new(super::Wanted::Call(Wanted {
                call: Rc::clone(self),
                found,
            }))),
            Lookup::Nothing => {
                Next::Answer(exchange.notice(StatusCode::NOT_FOUND, "there is nothing at this address"))
            }
            Lookup::Methods(methods) => {
                let text = "this method is not served here";
                let mut page = exchange.notice(StatusCode::METHOD_NOT_ALLOWED, text);
                if let Ok(allowed) = HeaderValue::from_str(&methods.join(", ")) {
                    page.headers_mut().insert(header::ALLOW, allowed);
                }
                Next::Answer(page)
            }
        }
    }
}

pub(super) async fn answer(mut exchange: Box<Exchange>, wanted: Wanted, job: Job) -> Response<DownBody> {
    let Job { mut head, body } = job;
    let Wanted { call, found } = wanted;
    let body = match read(&mut exchange, body, call.most).await {
        Ok(body) => body,
        Err(refusal) => return exchange.refuse(refusal),
    };
    if !body.is_empty() && !is_json(&head.headers) {
        let page = exchange.notice(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be plain JSON");
        return exchange.give(page);
    }
    let message = match call.api.request(&found, head.uri.query(), &body) {
        Ok(message) => message,
        Err(bad) => {
            let page = exchange.notice(StatusCode::BAD_REQUEST, &bad.0);
            return exchange.give(page);
        }
    };
    let credentials = personal(&head.headers);
    let own = exchange.routed.as_ref().and_then(Routed::timeout);
    let limit = own.unwrap_or(exchange.core.settings().timeouts.response);
    prepare(&mut head, &call.api.target(&found), grpc::timeout_text(limit));
    let source = Source::of_call(ClientBody::Made(Some(frame(&message))), u64::MAX);
    let mut part = exchange.part(&call.group, limit, Form::Grpc);
    let got = ask(&mut part, &head, Some(&source), limit, call.most + FRAME as u64).await;
    exchange.upstream.clone_from(&part.upstream);
    (exchange.retries, exchange.waited) = (part.retries, part.waited);
    let ended = got.and_then(|got| end(&part, got));
    exchange.may_have_acted |= part.may_have_acted;
    match ended {
        Ok(End::Message(message)) => match call.api.answer(&found, &message) {
            Ok(text) => exchange.give(json(text + "\n", credentials)),
            Err(error) => {
                tracing::warn!(%error, method = call.api.target(&found), "an answer is not what its descriptor says");
                exchange.refuse(Refusal::BadGateway(Effect::Unknown))
            }
        },
        Ok(End::Status(code, message)) => {
            let page = failed(&exchange, code, &message);
            exchange.give(page)
        }
        Err(refusal) => exchange.refuse(refusal),
    }
}

async fn read(exchange: &mut Exchange, body: ClientBody, most: u64) -> Result<Bytes, Refusal> {
    let own = exchange.routed.as_ref().and_then(Routed::body);
    let most = own.map_or(most, |own| own.min(most));
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().exact().is_some_and(|length| length > most) {
        return Err(Refusal::BodyTooLarge);
    }
    let source = Source::new(body, most, exchange.core.settings().limits.body_rate);
    exchange.received = Some(source.counter());
    let mut body = UpBody::new(Some(Rc::clone(&source)));
    let mut all = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(frame) = frame else {
            return Err(source.problem().unwrap_or(Refusal::ClientGone));
        };
        if let Ok(data) = frame.into_data() {
            all.extend_from_slice(&data);
        }
    }
    Ok(all.freeze())
}

/// Without a word on it, it is taken for JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .map(|value: &HeaderValue| value.to_str().unwrap_or("?"))
    };
    let kind = text(header::CONTENT_TYPE).map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let plain = text(header::CONTENT_ENCODING).is_none_or(|coding| coding.eq_ignore_ascii_case("identity"));
    let json = |kind: &str| kind.eq_ignore_ascii_case("application/json") || kind.ends_with("+json");
    plain && kind.is_none_or(json)
}

/// The head of the call. What a client says of its body or its answer means nothing there.
fn prepare(head: &mut Parts, target: &str, timeout: HeaderValue) {
    let means_nothing = |name: &HeaderName| {
        let text = name.as_str();
        ["content-", "accept", "if-", "grpc-"]
            .iter()
            .any(|begin| text.starts_with(begin))
            || [header::EXPECT, header::RANGE, header::TE, header::CONNECTION].contains(name)
    };
    let out: Vec<HeaderName> = head
        .headers
        .keys()
        .filter(|name| means_nothing(name))
        .cloned()
        .collect();
    for name in out {
        head.headers.remove(name);
    }
    head.method = Method::POST;
    // Names of a descriptor set are those of a path.
    head.uri = target.parse().unwrap_or_default();
    let kind = HeaderValue::from_static("application/grpc");
    head.headers.insert(header::CONTENT_TYPE, kind);
    let trailers = HeaderValue::from_static("trailers");
    head.headers.insert(header::TE, trailers);
    head.headers.insert(grpc::TIMEOUT, timeout);
}

fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(FRAME + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(message);
    framed.freeze()
}

/// How a call ended.
enum End {
    Message(Bytes),
    /// With this code and these words.
    Status(u16, String),
}

/// What the instance said, judged: its health, too, goes by the status.
fn end(part: &Exchange, got: Got) -> Result<End, Refusal> {
    let broken = Refusal::BadGateway(Effect::Unknown);
    let headers = got.head.headers();
    if got.head.status() != StatusCode::OK || !grpc::is_call(headers) {
        return Err(broken);
    }
    let fields = match &got.trailers {
        Some(trailers) => trailers,
        // An answer of trailers only.
        None => headers,
    };
    if let (true, Some(upstream)) = (part.end_decides, &part.upstream) {
        part.core.observed(upstream, grpc::fault(fields));
    }
    match grpc::status(fields) {
        None => Err(broken),
        Some(0) => {
            let (head, message) = got.body.split_at_checked(FRAME).ok_or(broken)?;
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            if head[0] != 0 || length != message.len() {
                return Err(broken);
            }
            Ok(End::Message(got.body.slice(FRAME..)))
        }
        Some(code) => {
            let message = fields
                .get(grpc::MESSAGE)
                .map(|text| grpc::unescape(text.as_bytes()));
            Ok(End::Status(code, message.unwrap_or_default()))
        }
    }
}

fn failed(exchange: &Exchange, code: u16, message: &str) -> Response<Bytes> {
    let status = grpc::http_status(code);
    let value = serde_json::json!({
        "status": status.as_u16(),
        "error": if message.is_empty() { grpc::name(code) } else { message },
        "grpc_status": grpc::name(code),
        "request_id": exchange.id.to_str().unwrap_or_default(),
    });
    let mut page = json(format!("{value}\n"), false);
    *page.status_mut() = status;
    let cache = HeaderValue::from_static("no-store");
    page.headers_mut().insert(header::CACHE_CONTROL, cache);
    page
}
