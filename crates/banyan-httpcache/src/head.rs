//! What is kept of a response beside its body.

use std::time::Duration;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, COOKIE, ETAG, LAST_MODIFIED,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::directive::{self, members};
use crate::freshness::Source;
use crate::policy::{Policy, Profile};
use crate::range::Span;
use crate::time::Time;
use crate::vary::Selection;

/// The request as far as caching looks at it. Scheme, host and path are in the key.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
}

/// The response as far as caching looks at it. The body is complete by its framing unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    pub status: StatusCode,
    pub headers: &'a HeaderMap,
}

/// What was received after now, as its date says, is older than anything may be (RFC 9111 §1.2.2: what cannot be represented).
const UNKNOWN: Duration = Duration::from_secs(1 << 31);

/// When the exchange with the origin took place.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Just before the request was sent.
    pub sent: Time,
    /// When the head was complete.
    pub received: Time,
    /// How far both are ahead of what clocks show: ages are counted by a time that does not go back.
    pub ahead: Duration,
}

impl Times {
    /// Of the receipt: what dates in fields are compared with.
    pub(crate) fn shown(self) -> Time {
        self.received.minus(self.ahead)
    }
}

/// What is there of the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Extent {
    /// All of it; its length is known when it has been read.
    Whole,
    /// Parts of a 200 whose length is known (RFC 9111 §3.3). Ordered, apart, not empty.
    Parts { spans: Vec<Span>, total: u64 },
}

/// A stored response, body apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// 200 for parts: they are kept as parts of the whole.
    pub status: StatusCode,
    /// Fields that may be stored, as they came.
    pub headers: HeaderMap,
    /// The request fields that `Vary` names, as they were.
    pub selection: Selection,
    pub extent: Extent,
    pub date: Time,
    pub received: Time,
    /// The age it had on receipt (`corrected_initial_age`, RFC 9111 §4.2.3).
    pub age: Duration,
    pub lifetime: Duration,
    /// Why it has this lifetime.
    pub source: Source,
    pub staleness: Staleness,
    /// `no-cache`: validated before every use.
    pub always_validate: bool,
    /// An unsafe request changed the resource: validated before the next use, never used stale (RFC 9111 §4.4).
    pub invalidated: bool,
    /// Cache groups, surrogate keys and rule's tags: what a purge by tag reaches.
    pub tags: Vec<String>,
}

/// The use of a response past its lifetime (RFC 5861, RFC 9111 §4.2.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Staleness {
    Forbidden,
    Allowed {
        while_revalidate: Duration,
        if_error: Duration,
    },
}

impl Head {
    /// The directives that this response came with.
    pub fn directives(&self) -> directive::Response {
        directive::Response::of(&self.headers)
    }

    pub fn age_at(&self, now: Time) -> Duration {
        let passed = now.passed_since(self.received);
        passed.map_or(UNKNOWN, |passed| self.age + passed)
    }

    /// Seconds of freshness left; negative when stale.
    pub fn ttl_at(&self, now: Time) -> i64 {
        let left = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        left(self.lifetime) - left(self.age_at(now))
    }

    /// What strangers are told is not there may be there for who says who it is.
    pub fn suits(&self, asked: Asked<'_>, policy: &Policy) -> bool {
        let is_guess = policy.profile == Profile::Safe && self.source == Source::Negative;
        let named = [COOKIE, AUTHORIZATION];
        !(is_guess && named.iter().any(|name| asked.headers.contains_key(name)))
    }

    pub fn etag(&self) -> Option<Etag<'_>> {
        Etag::parse(self.headers.get(ETAG)?.as_bytes())
    }

    /// Whether two copies with this validator are the same byte for byte (RFC 9110 §8.8.1).
    pub fn strong_etag(&self) -> Option<Etag<'_>> {
        self.etag().filter(|tag| !tag.weak)
    }

    pub fn has_validator(&self) -> bool {
        self.etag().is_some() || self.headers.contains_key(LAST_MODIFIED)
    }
}

/// An entity tag (RFC 9110 §8.8.3). Compared byte for byte, quotes included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Etag<'a> {
    pub weak: bool,
    pub opaque: &'a [u8],
}

impl<'a> Etag<'a> {
    /// Tags without quotes are in use; they compare like others.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let (weak, opaque) = match text.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        (!opaque.is_empty()).then_some(Self { weak, opaque })
    }

    pub fn weakly_matches(self, other: Self) -> bool {
        self.opaque == other.opaque
    }

    pub fn strongly_matches(self, other: Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");

/// Removes what belongs to one connection or may not be kept (RFC 9111 §3.1), and what qualified `no-cache` and
/// `private` name (§5.2.2.4, §5.2.2.7).
pub(crate) fn storable(headers: &HeaderMap, directives: &directive::Response) -> HeaderMap {
    let mut kept = headers.clone();
    let nominated: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| members(line.as_bytes()))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        // A field that storing rests on is not a connection's.
        .filter(|name| !matches!(name.as_str(), "cache-control" | "vary" | "date" | "etag" | "age"))
        .collect();
    let fixed = [
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
        PROXY_AUTHENTICATE,
        PROXY_AUTHENTICATION_INFO,
        PROXY_AUTHORIZATION,
    ];
    let kept_back = directives
        .no_cache
        .fields()
        .iter()
        .chain(directives.private.fields());
    for name in nominated.iter().chain(&fixed).chain(kept_back) {
        kept.remove(name);
    }
    kept
}

/// Fields of a 206 that say nothing about the whole.
pub(crate) fn forget_part(headers: &mut HeaderMap) {
    headers.remove(CONTENT_RANGE);
    headers.remove(CONTENT_LENGTH);
}
