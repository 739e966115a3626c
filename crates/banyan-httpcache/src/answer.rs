//! The answer that a stored response gives to a request (RFC 9110 §13.2.2, §14; RFC 9111 §4).

use std::time::Duration;

use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, DATE, ETAG, EXPIRES, HeaderName,
    VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::conditional::{Verdict, judge};
use crate::freshness::is_found;
use crate::head::{Asked, Head};
use crate::lookup::requested;
use crate::policy::Policy;
use crate::range::{Requested, Span};
use crate::time::Time;

/// Which part of the stored body goes out, under which status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    Whole,
    NotModified,
    /// 206 with one range.
    Part(Span),
    /// 206 `multipart/byteranges`.
    Parts(Vec<Span>),
    /// 416.
    NotSatisfiable,
}

/// Preconditions first, then ranges. Ranges are for GET and 200 alone.
pub fn answer(asked: Asked<'_>, head: &Head, total: u64) -> Answer {
    if judge(asked, head) == Verdict::NotModified {
        return Answer::NotModified;
    }
    if *asked.method != Method::GET || head.status != StatusCode::OK {
        return Answer::Whole;
    }
    match requested(asked.headers, head, total) {
        Requested::Whole => Answer::Whole,
        Requested::NotSatisfiable => Answer::NotSatisfiable,
        Requested::Spans(spans) => match spans.as_slice() {
            [one] => Answer::Part(*one),
            _ => Answer::Parts(spans),
        },
    }
}

/// Fields of a 304 (RFC 9110 §15.4.5).
const IN_NOT_MODIFIED: [HeaderName; 7] = [
    CACHE_CONTROL,
    CONTENT_LOCATION,
    DATE,
    ETAG,
    EXPIRES,
    VARY,
    HeaderName::from_static("cdn-cache-control"),
];
/// Who gets an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receiver {
    Client,
    /// Another cache like this one: it keeps what it gets by the same fields, as the origin sent them.
    Edge,
}

/// Meant for us, not for browsers.
const OURS: [HeaderName; 3] = [
    HeaderName::from_static("banyan-cache-control"),
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("surrogate-key"),
];

/// What no 304 changes (RFC 9111 §3.2): the length, and a range, which is processed on receipt. `Content-Type` and
/// `Content-Encoding` do change: bodies are stored as they came.
pub(crate) const OF_THE_BODY: [HeaderName; 2] = [CONTENT_LENGTH, CONTENT_RANGE];

impl Answer {
    pub fn status(&self, head: &Head) -> StatusCode {
        match self {
            Self::Whole => head.status,
            Self::NotModified => StatusCode::NOT_MODIFIED,
            Self::Part(_) | Self::Parts(_) => StatusCode::PARTIAL_CONTENT,
            Self::NotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        }
    }

    /// The fields to send, `Age` among them. `Content-Type` and `Content-Length` of several ranges, and
    /// `Cache-Status`, are the sender's to add.
    pub fn headers(
        &self,
        head: &Head,
        total: u64,
        (policy, receiver): (&Policy, Receiver),
        now: Time,
    ) -> HeaderMap {
        let mut headers = match self {
            Self::NotModified => match receiver {
                Receiver::Client => only(&head.headers, &IN_NOT_MODIFIED),
                // It renews its own copy by them (RFC 9110 §15.4.5: metadata that guides cache updates).
                Receiver::Edge => without(head.headers.clone(), &OF_THE_BODY),
            },
            Self::Whole | Self::Part(_) | Self::Parts(_) | Self::NotSatisfiable => head.headers.clone(),
        };
        let age = head.age_at(now);
        for_receiver(head.status, &mut headers, (policy, receiver), age);
        headers.insert(AGE, HeaderValue::from(age.as_secs()));
        match self {
            Self::Whole | Self::NotModified => {}
            Self::Part(span) => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(span.length()));
                put(
                    &mut headers,
                    CONTENT_RANGE,
                    &format!("bytes {}-{}/{total}", span.first, span.last),
                );
            }
            Self::Parts(_) => {
                headers.remove(CONTENT_LENGTH);
            }
            Self::NotSatisfiable => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(0_u64));
                headers.remove(http::header::CONTENT_TYPE);
                put(&mut headers, CONTENT_RANGE, &format!("bytes */{total}"));
            }
        }
        headers
    }
}

/// Takes out what is meant for this cache, and says how long browsers keep it; nothing of that for another edge. For stored
/// responses, and those that are being stored.
pub fn for_receiver(
    status: StatusCode,
    headers: &mut HeaderMap,
    (policy, receiver): (&Policy, Receiver),
    age: Duration,
) {
    if receiver == Receiver::Edge {
        return;
    }
    for name in &OURS {
        headers.remove(name);
    }
    if let Some(ttl) = policy.browser_ttl.filter(|_| is_found(status)) {
        headers.remove(EXPIRES);
        // Browsers count the time in this cache as age: the bare value would reach them used up.
        let immutable = if policy.immutable { ", immutable" } else { "" };
        let text = format!("max-age={}{immutable}", age.as_secs() + ttl.as_secs());
        put(headers, CACHE_CONTROL, &text);
    }
}

fn only(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in names {
        for value in headers.get_all(name) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

fn without(mut headers: HeaderMap, names: &[HeaderName]) -> HeaderMap {
    for name in names {
        headers.remove(name);
    }
    headers
}

fn put(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
