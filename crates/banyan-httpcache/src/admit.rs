//! Whether a response may be stored, and as what (RFC 9111 §3).

use std::time::Duration;

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, COOKIE, DATE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::directive::{self, members};
use crate::freshness::{self, Source};
use crate::head::{Answered, Asked, Extent, Head, Staleness, Times, forget_part, storable};
use crate::policy::{Policy, Precedence, Profile, SetCookie};
use crate::range::content_range;
use crate::tags;
use crate::vary::{Selection, Vary};
use crate::why::Why;

/// May it be stored?
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Admit {
    No(Why),
    Yes(Box<Head>),
}

/// Judges a response whose head is complete. The body must then end as its framing says, or nothing of it is kept.
pub fn admit(asked: Asked<'_>, answered: Answered<'_>, policy: &Policy, times: Times) -> Admit {
    match head(asked, answered, policy, times) {
        Ok(head) => Admit::Yes(Box::new(head)),
        Err(why) => Admit::No(why),
    }
}

fn head(asked: Asked<'_>, answered: Answered<'_>, policy: &Policy, times: Times) -> Result<Head, Why> {
    let directives = directive::Response::of(answered.headers);
    allowed(asked, answered, &directives, policy)?;
    let fields = match Vary::of(answered.headers) {
        Vary::Any => return Err(Why::VaryAny),
        Vary::Fields(fields) => fields,
    };
    if !is_told_apart(answered.headers, &fields, &policy.codings) {
        return Err(Why::Coding);
    }
    let (lifetime, source) = freshness::lifetime(answered, &directives, policy, times);
    let mut headers = storable(answered.headers, &directives);
    if policy.set_cookie == SetCookie::Strip {
        headers.remove(SET_COOKIE);
    }
    if policy.profile == Profile::Safe && headers.contains_key(SET_COOKIE) {
        return Err(Why::SetCookie);
    }
    if !headers.contains_key(DATE)
        && let Ok(date) = HeaderValue::try_from(times.shown().to_string())
    {
        headers.insert(DATE, date);
    }
    let mut head = Head {
        status: answered.status,
        selection: Selection::of(&fields, asked.headers, &policy.codings),
        extent: Extent::Whole,
        date: freshness::date(&headers, times.shown()),
        received: times.received,
        age: freshness::initial_age(answered.headers, times),
        lifetime,
        source,
        staleness: freshness::staleness(&directives, policy),
        always_validate: directives.no_cache.is_whole(),
        invalidated: false,
        tags: tags::of(answered.headers, &policy.tags),
        headers,
    };
    worth_it(&head)?;
    if policy.profile == Profile::Safe
        && asked.headers.contains_key(COOKIE)
        && !is_for_all(&head, &directives)
    {
        return Err(Why::Cookie);
    }
    if answered.status == StatusCode::PARTIAL_CONTENT {
        become_part(&mut head)?;
    }
    Ok(head)
}

/// RFC 9111 §3, sentence by sentence.
fn allowed(
    asked: Asked<'_>,
    answered: Answered<'_>,
    directives: &directive::Response,
    policy: &Policy,
) -> Result<(), Why> {
    if *asked.method != Method::GET {
        return Err(Why::Method);
    }
    if answered.status.is_informational()
        || answered.status == StatusCode::NOT_MODIFIED
        || is_about_one_request(answered.status)
    {
        return Err(Why::Status);
    }
    if directive::Request::of(asked.headers).no_store {
        return Err(Why::RequestNoStore);
    }
    let understood = directives.must_understand && understood(answered.status);
    if directives.must_understand && !understood {
        return Err(Why::NotUnderstood);
    }
    if directives.no_store && !understood {
        return Err(Why::NoStore);
    }
    if directives.private.is_whole() {
        return Err(Why::Private);
    }
    let shared = directives.public || directives.s_maxage.is_some() || directives.must_revalidate;
    if asked.headers.contains_key(AUTHORIZATION) && !shared {
        return Err(Why::Authorization);
    }
    let stated = directives.lifetime().is_some()
        || directives.public
        || (!directives.targeted && answered.headers.contains_key(http::header::EXPIRES));
    let ruled = freshness::ruled(answered.status, policy).is_some()
        && (stated || policy.precedence == Precedence::Rule || answered.status.is_success());
    if !(stated || ruled || freshness::heuristically_cacheable(answered.status)) {
        return Err(Why::Status);
    }
    Ok(())
}

/// What they say is of the way one request was made, or of who made it: its range, its conditions, its size, how often it came
/// (RFC 6585 §§3-6 forbids to store four of them). The next one for the same address may be without fault.
fn is_about_one_request(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        407 | 408 | 411..=413 | 416 | 417 | 425 | 426 | 428 | 429 | 431 | 511
    )
}

/// Requests are told apart by the codings that this cache knows: with another one, who did not ask for it could get it.
fn is_told_apart(headers: &HeaderMap, fields: &[HeaderName], codings: &[String]) -> bool {
    let known = |coding: &[u8]| {
        let coding = coding.to_ascii_lowercase();
        let coding = coding.strip_prefix(b"x-").unwrap_or(&coding);
        coding == b"identity" || codings.iter().any(|known| coding == known.as_bytes())
    };
    let mut lines = headers.get_all(CONTENT_ENCODING).iter();
    codings.is_empty()
        || !fields.contains(&ACCEPT_ENCODING)
        || lines.all(|line| members(line.as_bytes()).into_iter().all(known))
}

/// An app that lets users in by a cookie, and says nothing of caches, does not mean that others may have it: not by a guess,
/// not in its place while it is down, not by a tag that is the same for all.
fn is_for_all(head: &Head, directives: &directive::Response) -> bool {
    let said = !matches!(head.source, Source::None | Source::Heuristic | Source::Negative);
    let window = directives.stale_while_revalidate.is_some() || directives.stale_if_error.is_some();
    let lasts = head.lifetime > Duration::ZERO || window || head.staleness == Staleness::Forbidden;
    directives.public || head.always_validate || (said && lasts)
}

/// Statuses whose caching rules this crate knows (RFC 9111 §5.2.2.3).
fn understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300..=303 | 307 | 308 | 400 | 403..=405 | 410 | 414 | 421 | 500..=504
    )
}

/// A response that can be neither fresh, nor validated, nor used stale only takes room.
fn worth_it(head: &Head) -> Result<(), Why> {
    let window = matches!(head.staleness, Staleness::Allowed { while_revalidate, .. } if while_revalidate > Duration::ZERO);
    if head.source == Source::None && !head.has_validator() && !window {
        return Err(Why::NoLifetime);
    }
    Ok(())
}

/// Parts combine only under the same strong validator (RFC 9111 §3.4); without one a part answers only for itself.
fn become_part(head: &mut Head) -> Result<(), Why> {
    let (span, total) = content_range(&head.headers).ok_or(Why::BadPart)?;
    head.status = StatusCode::OK;
    head.extent = Extent::Parts {
        spans: vec![span],
        total,
    };
    forget_part(&mut head.headers);
    Ok(())
}
