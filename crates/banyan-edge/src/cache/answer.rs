//! What clients get of stored responses, and what `Cache-Status` says of it (RFC 9211).

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use banyan_httpcache::range::Span;
use banyan_httpcache::{Answer, CacheStatus, Forward, Outcome, Time, Why};

use super::Name;
use super::object::Object;
use super::reader::Reader;
use crate::exchange::Exchange;
use crate::forward::origin::Detour;
use crate::metrics::CacheResult;
use crate::route::serving::Routed;

/// From what is stored, without a word to the origin.
pub(super) fn hit(
    exchange: &Exchange,
    name: &Name,
    head: &Parts,
    object: &Arc<Object>,
    how: &Answer,
    now: Time,
) -> Response<Box<Reader>> {
    let ttl = object.head.ttl_at(now);
    let result = if ttl < 0 {
        CacheResult::Stale
    } else {
        CacheResult::Hit
    };
    exchange.cache_cells().count(result, None);
    let mut response = stored(exchange, name, head, object, how, now);
    say(exchange, response.headers_mut(), Outcome::Hit, Some(ttl), None);
    response
}

/// Made of what is stored. `asked`: the origin was, and is counted already.
pub(super) fn made(
    exchange: &Exchange,
    name: &Name,
    head: &Parts,
    object: &Arc<Object>,
    asked: bool,
) -> Response<Box<Reader>> {
    let now = name.now(exchange);
    let how = banyan_httpcache::answer(
        super::presented(&head.method, &head.headers),
        &object.head,
        object.total(),
    );
    if !asked {
        return hit(exchange, name, head, object, &how, now);
    }
    let mut response = stored(exchange, name, head, object, &how, now);
    let outcome = Outcome::Forwarded {
        why: Forward::of(Why::Absent),
        status: None,
        stored: true,
        collapsed: None,
    };
    say(
        exchange,
        response.headers_mut(),
        outcome,
        Some(object.head.ttl_at(now)),
        None,
    );
    response
}

/// From what is stored, after the origin was asked. `status`: what it said, if anything.
pub(super) fn after_asking(
    exchange: &Exchange,
    name: &Name,
    head: &Parts,
    object: &Arc<Object>,
    (why, status, result): (Why, Option<StatusCode>, CacheResult),
) -> Response<Box<Reader>> {
    let now = name.now(exchange);
    exchange.cache_cells().count(result, Some(why));
    name.note(why);
    let how = banyan_httpcache::answer(
        super::presented(&head.method, &head.headers),
        &object.head,
        object.total(),
    );
    let mut response = stored(exchange, name, head, object, &how, now);
    let outcome = Outcome::Forwarded {
        why: Forward::of(why),
        status,
        stored: status.is_some_and(|status| !status.is_server_error()),
        collapsed: None,
    };
    say(
        exchange,
        response.headers_mut(),
        outcome,
        Some(object.head.ttl_at(now)),
        Some(why),
    );
    response
}

fn stored(
    exchange: &Exchange,
    name: &Name,
    head: &Parts,
    object: &Arc<Object>,
    how: &Answer,
    now: Time,
) -> Response<Box<Reader>> {
    let total = object.total();
    let policy = name.rule.policy_for(&object.head.headers);
    let mut headers = how.headers(&object.head, total, (policy, exchange.receiver()), now);
    let reads = head.method != Method::HEAD;
    let reader = match how {
        Answer::Whole => {
            let bodyless = matches!(
                object.head.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
            if object.body.trailers.is_none() && !bodyless {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(total));
            }
            if reads {
                Reader::whole(&object.body, total)
            } else {
                Reader::nothing()
            }
        }
        Answer::NotModified | Answer::NotSatisfiable => Reader::nothing(),
        Answer::Part(span) => Reader::part(&object.body, *span),
        Answer::Parts(spans) => {
            let boundary = exchange.id.to_str().unwrap_or("part").to_owned();
            let reader = parts(object, spans, total, &boundary);
            let kind = format!("multipart/byteranges; boundary={boundary}");
            if let Ok(kind) = HeaderValue::try_from(kind) {
                headers.insert(CONTENT_TYPE, kind);
            }
            if let Some(length) = reader.left() {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            reader
        }
    };
    let mut response = Response::new(Box::new(reader));
    *response.status_mut() = how.status(&object.head);
    *response.headers_mut() = headers;
    response
}

/// RFC 9110 §14.6.
fn parts(object: &Object, spans: &[Span], total: u64, boundary: &str) -> Reader {
    let kind = object.head.headers.get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok());
    let kind = kind
        .map(|kind| format!("Content-Type: {kind}\r\n"))
        .unwrap_or_default();
    let mut text = String::new();
    let parts = spans.iter().map(|span| {
        let begin = std::mem::replace(&mut text, "\r\n".to_owned());
        let range = format!("Content-Range: bytes {}-{}/{total}", span.first, span.last);
        (format!("{begin}--{boundary}\r\n{kind}{range}\r\n\r\n"), *span)
    });
    let parts: Vec<_> = parts.collect();
    Reader::parts(&object.body, parts, format!("\r\n--{boundary}--\r\n"))
}

/// What the origin's answer says for this request, stored or not. `name`: under which it would be.
pub(super) fn forwarded(
    exchange: &Exchange,
    name: Option<&Name>,
    headers: &mut HeaderMap,
    why: Why,
    stored: Result<i64, Why>,
    collapsed: Option<bool>,
) {
    let result = match (stored, why) {
        (_, Why::Method | Why::Precondition) => CacheResult::Bypass,
        (Ok(_), _) if collapsed == Some(true) => CacheResult::Collapsed,
        (Ok(_) | Err(_), _) => CacheResult::Miss,
    };
    let detail = stored.err().unwrap_or(why);
    exchange.cache_cells().count(result, Some(detail));
    if let Some(name) = name {
        name.note(detail);
    }
    let outcome = Outcome::Forwarded {
        why: Forward::of(why),
        status: None,
        stored: stored.is_ok() && collapsed != Some(true),
        collapsed,
    };
    say(exchange, headers, outcome, stored.ok(), Some(detail));
}

/// Who answered is not the first of its origin.
fn asked_backup(exchange: &Exchange) -> bool {
    let server = exchange
        .upstream
        .as_ref()
        .and_then(|upstream| upstream.elsewhere.as_ref());
    let first = matches!(
        exchange.routed.as_ref().and_then(Routed::detour),
        Some(Detour::Origin(_))
    );
    server.is_some_and(|server| server.backup || !first)
}

fn say(
    exchange: &Exchange,
    headers: &mut HeaderMap,
    outcome: Outcome,
    ttl: Option<i64>,
    detail: Option<Why>,
) {
    let status = CacheStatus {
        cache: exchange.core.cache_name(),
        outcome,
        ttl,
        detail,
        backup: asked_backup(exchange),
    };
    status.append_to(headers);
}
