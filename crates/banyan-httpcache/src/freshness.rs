//! How long a response is fresh, and how old it is (RFC 9111 §4.2).

use std::time::Duration;

use http::header::{AGE, CONTENT_TYPE, DATE, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

use crate::directive;
use crate::head::{Answered, Staleness, Times};
use crate::policy::{Policy, Precedence, Profile};
use crate::time::Time;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Clocks of origins differ by seconds, and `Date` has no smaller grain: less is no age.
const CLOCK_GRAIN: Duration = Duration::from_secs(5);

/// Where a lifetime comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// A targeted field (RFC 9213).
    Targeted,
    SharedMaxAge,
    MaxAge,
    Expires,
    /// The operator's rule.
    Rule,
    /// `Last-Modified` (RFC 9111 §4.2.2).
    Heuristic,
    /// 404 and 410 that say nothing.
    Negative,
    /// Nothing names one: it is stale from the start.
    None,
}

/// The lifetime of a response that may be stored, and where it comes from.
pub(crate) fn lifetime(
    answered: Answered<'_>,
    directives: &directive::Response,
    policy: &Policy,
    times: Times,
) -> (Duration, Source) {
    let ruled = ruled(answered.status, policy);
    let (span, source) = stated(answered.headers, directives, times)
        .filter(|_| ruled.is_none() || policy.precedence == Precedence::Origin)
        .or_else(|| ruled.map(|ttl| (ttl, Source::Rule)))
        .or_else(|| unstated(answered, directives, policy, times))
        .unwrap_or((Duration::ZERO, Source::None));
    (span.min(policy.ceiling), source)
}

/// What the rule says. It is about what lies at an address, not about that there was nothing, or an error, when somebody asked.
pub(crate) fn ruled(status: StatusCode, policy: &Policy) -> Option<Duration> {
    policy.ttl.filter(|_| is_found(status))
}

pub(crate) fn is_found(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

/// What the origin says itself.
fn stated(headers: &HeaderMap, directives: &directive::Response, times: Times) -> Option<(Duration, Source)> {
    let age = directives.lifetime().map(|span| match directives.s_maxage {
        _ if directives.targeted => (span, Source::Targeted),
        Some(_) => (span, Source::SharedMaxAge),
        None => (span, Source::MaxAge),
    });
    age.or_else(|| {
        let expires = (!directives.targeted).then(|| expires(headers, times))??;
        Some((expires, Source::Expires))
    })
}

/// `Expires` minus `Date`. A field that is no date, or there twice, is in the past (RFC 9111 §5.3).
fn expires(headers: &HeaderMap, times: Times) -> Option<Duration> {
    let mut lines = headers.get_all(EXPIRES).iter();
    let first = lines.next()?;
    if lines.next().is_some() {
        return Some(Duration::ZERO);
    }
    let date = date(headers, times.shown());
    let until = first
        .to_str()
        .ok()
        .and_then(|text| Time::parse(text, times.shown()));
    Some(until.map_or(Duration::ZERO, |until| until.since(date)))
}

fn unstated(
    answered: Answered<'_>,
    directives: &directive::Response,
    policy: &Policy,
    times: Times,
) -> Option<(Duration, Source)> {
    if policy.profile == Profile::Safe && matches!(answered.status.as_u16(), 404 | 410) {
        return Some((policy.negative_ttl, Source::Negative));
    }
    let may = heuristically_cacheable(answered.status) || directives.public;
    let asset = policy.profile == Profile::Rfc || is_asset(answered.headers);
    if !(may && asset) {
        return None;
    }
    let changed = answered.headers.get(LAST_MODIFIED)?.to_str().ok()?;
    let changed = Time::parse(changed, times.shown())?;
    let span = date(answered.headers, times.shown()).since(changed) / 10;
    Some((span.min(DAY), Source::Heuristic))
}

/// Statuses that may be stored without being told to (RFC 9110 §15.1).
pub(crate) fn heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// What no app answers differently to different users.
fn is_asset(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let exact = [
        "text/css",
        "text/javascript",
        "application/javascript",
        "application/wasm",
        "application/pdf",
    ];
    ["image/", "font/", "audio/", "video/"]
        .iter()
        .any(|prefix| kind.starts_with(prefix))
        || exact.contains(&kind.as_str())
}

/// `Date`, or the time of receipt.
pub(crate) fn date(headers: &HeaderMap, received: Time) -> Time {
    headers
        .get(DATE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| Time::parse(text, received))
        .unwrap_or(received)
}

/// How old a response is on receipt (RFC 9111 §4.2.3).
pub(crate) fn initial_age(headers: &HeaderMap, times: Times) -> Duration {
    let apparent = times.shown().since(date(headers, times.shown()));
    let apparent = if apparent < CLOCK_GRAIN {
        Duration::ZERO
    } else {
        apparent
    };
    let delay = times.received.since(times.sent);
    apparent.max(received_age(headers) + delay)
}

/// The first member of the first `Age` line; what is no number of seconds is ignored (RFC 9111 §5.1).
fn received_age(headers: &HeaderMap) -> Duration {
    let text = headers.get(AGE).and_then(|value| value.to_str().ok());
    let first = text
        .and_then(|text| text.split(',').next())
        .unwrap_or_default()
        .trim();
    if first.is_empty() || !first.bytes().all(|byte| byte.is_ascii_digit()) {
        return Duration::ZERO;
    }
    Duration::from_secs(first.parse().unwrap_or(1 << 31).min(1 << 31))
}

/// Whether, and for how long, it may be used past its lifetime.
pub(crate) fn staleness(directives: &directive::Response, policy: &Policy) -> Staleness {
    if directives.forbids_stale() {
        return Staleness::Forbidden;
    }
    Staleness::Allowed {
        while_revalidate: directives
            .stale_while_revalidate
            .or(policy.stale_while_revalidate)
            .unwrap_or_default(),
        if_error: directives.stale_if_error.unwrap_or(policy.stale_if_error),
    }
}
