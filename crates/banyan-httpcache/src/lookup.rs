//! Whether a request may be answered from what is stored (RFC 9111 §4).

use std::time::Duration;

use http::{HeaderMap, Method};

use crate::answer::{Answer, answer};
use crate::conditional::{self, Conditions};
use crate::directive;
use crate::head::{Asked, Extent, Head, Staleness};
use crate::policy::{Policy, Profile};
use crate::range::{self, Requested, Span};
use crate::time::Time;
use crate::why::Why;

/// A soft purge lets others have the old copy for so long while one validates.
const PURGE_GRACE: Duration = Duration::from_secs(30);

/// What purges say of a stored response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    Sound,
    /// Stale since then.
    SoftlyPurged(Time),
    /// Of no use at all.
    Purged,
}

/// One response stored under the key.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    pub head: &'a Head,
    pub standing: Standing,
    /// Length of a whole body.
    pub length: u64,
}

impl Stored<'_> {
    /// Length of the body of the 200 that this is, or is a part of.
    pub fn total(&self) -> u64 {
        match &self.head.extent {
            Extent::Whole => self.length,
            Extent::Parts { total, .. } => *total,
        }
    }
}

/// What to do with a request. Indices are those of the list that was handed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// Answer at once.
    Hit { index: usize, answer: Answer },
    /// Answer at once, though stale.
    Stale {
        index: usize,
        answer: Answer,
        refresh: Refresh,
    },
    /// Ask the origin whether it is still good, then answer.
    Validate {
        index: usize,
        conditions: Conditions,
        why: Why,
    },
    /// Parts are stored; ask the origin for the gaps under `If-Range` with this response's tag, then answer.
    Fill { index: usize, gaps: Vec<Span> },
    /// Ask the origin; what it answers may be stored.
    Miss(Why),
    /// Ask the origin; what it answers is not for the cache.
    Bypass(Why),
    /// `only-if-cached` and nothing usable: 504 (RFC 9111 §5.2.1.7).
    GatewayTimeout,
}

/// Whether a stale answer is followed by a validation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refresh {
    /// In the background, by one (RFC 5861 §3).
    Background,
    /// The client takes it as it is (`max-stale`).
    None,
}

/// Decides by the stored responses of the key.
pub fn lookup(asked: Asked<'_>, stored: &[Stored<'_>], policy: &Policy, now: Time) -> Lookup {
    if !matches!(*asked.method, Method::GET | Method::HEAD) {
        return Lookup::Bypass(Why::Method);
    }
    let wishes = directive::Request::of(asked.headers);
    if conditional::is_for_the_origin(asked.headers) {
        return Lookup::Bypass(Why::Precondition);
    }
    let found = match select(asked, stored, policy) {
        Err(why) => Lookup::Miss(why),
        Ok(index) => judge(asked, stored, index, policy, &wishes, now),
    };
    let asks_origin = !matches!(found, Lookup::Hit { .. } | Lookup::Stale { .. });
    if wishes.only_if_cached && asks_origin {
        return Lookup::GatewayTimeout;
    }
    found
}

/// The selected response: by `Vary`, then the newest, whole ones before parts (RFC 9111 §4.1).
fn select(asked: Asked<'_>, stored: &[Stored<'_>], policy: &Policy) -> Result<usize, Why> {
    let usable = || {
        let all = stored.iter().enumerate();
        all.filter(|(_, one)| one.standing != Standing::Purged)
    };
    if usable().next().is_none() {
        return Err(if stored.is_empty() {
            Why::Absent
        } else {
            Why::Purged
        });
    }
    let usable = || usable().filter(|(_, one)| one.head.suits(asked, policy));
    if usable().next().is_none() {
        return Err(Why::Cookie);
    }
    // An app that forgets Vary on its default answer means it all the same: the newest that has it decides.
    let some_vary = usable().any(|(_, one)| !one.head.selection.is_empty());
    usable()
        .filter(|(_, one)| !some_vary || !one.head.selection.is_empty())
        .filter(|(_, one)| one.head.selection.selects(asked.headers, &policy.codings))
        .max_by_key(|(_, one)| (one.head.extent == Extent::Whole, one.head.date, one.head.received))
        .map(|(index, _)| index)
        .ok_or(Why::Vary)
}

fn judge(
    asked: Asked<'_>,
    stored: &[Stored<'_>],
    index: usize,
    policy: &Policy,
    wishes: &directive::Request,
    now: Time,
) -> Lookup {
    let one = stored[index];
    let validate = |why| validation(asked, stored, index, why);
    let wishes = match policy.profile {
        Profile::Rfc => wishes.clone(),
        Profile::Safe => directive::Request::default(),
    };
    if let Some(why) = unusable(one.head, &wishes, now) {
        return validate(why);
    }
    let freshness = freshness(one, now);
    let use_as = match freshness {
        Freshness::Fresh => Some(None),
        Freshness::Stale(by) => tolerated(one, &wishes, by, now).map(Some),
    };
    let Some(stale) = use_as else {
        let purged = one.standing != Standing::Sound;
        return validate(if purged { Why::Purged } else { Why::Expired });
    };
    if let Some(lookup) = missing(asked, one, index) {
        return lookup;
    }
    let answer = answer(asked, one.head, one.total());
    match stale {
        None => Lookup::Hit { index, answer },
        Some(refresh) => Lookup::Stale {
            index,
            answer,
            refresh,
        },
    }
}

/// Reasons to ask the origin that freshness does not outweigh.
fn unusable(head: &Head, wishes: &directive::Request, now: Time) -> Option<Why> {
    let age = head.age_at(now);
    let left = head.lifetime.saturating_sub(age);
    if head.invalidated {
        Some(Why::Invalidated)
    } else if head.always_validate {
        Some(Why::NoCache)
    } else if wishes.no_cache {
        Some(Why::RequestNoCache)
    } else if wishes.max_age.is_some_and(|max| age > max) && wishes.max_stale.is_none() {
        Some(Why::RequestMaxAge)
    } else if wishes.min_fresh.is_some_and(|min| left < min) {
        Some(Why::RequestMinFresh)
    } else {
        None
    }
}

enum Freshness {
    Fresh,
    Stale(Duration),
}

fn freshness(one: Stored<'_>, now: Time) -> Freshness {
    let age = one.head.age_at(now);
    if let Standing::SoftlyPurged(since) = one.standing {
        return Freshness::Stale(now.since(since).max(age.saturating_sub(one.head.lifetime)));
    }
    if one.head.lifetime > age {
        Freshness::Fresh
    } else {
        Freshness::Stale(age.saturating_sub(one.head.lifetime))
    }
}

/// Permission to use it stale, without waiting for the origin.
fn tolerated(one: Stored<'_>, wishes: &directive::Request, by: Duration, now: Time) -> Option<Refresh> {
    let Staleness::Allowed { while_revalidate, .. } = one.head.staleness else {
        return None;
    };
    if let Standing::SoftlyPurged(since) = one.standing {
        let purged = now.passed_since(since);
        return (purged? < PURGE_GRACE).then_some(Refresh::Background);
    }
    if by < while_revalidate {
        return Some(Refresh::Background);
    }
    let accepted = wishes.max_stale?;
    accepted.is_none_or(|most| by <= most).then_some(Refresh::None)
}

/// A partial response answers only what lies wholly within its parts (RFC 9111 §3.3).
fn missing(asked: Asked<'_>, one: Stored<'_>, index: usize) -> Option<Lookup> {
    let Extent::Parts { spans, total } = &one.head.extent else {
        return None;
    };
    if *asked.method == Method::HEAD {
        return None;
    }
    let whole = Span {
        first: 0,
        last: total.saturating_sub(1),
    };
    let wanted = match requested(asked.headers, one.head, *total) {
        Requested::NotSatisfiable => return None,
        Requested::Whole => vec![whole],
        Requested::Spans(wanted) => wanted,
    };
    let gaps: Vec<Span> = wanted.iter().flat_map(|span| range::gaps(spans, *span)).collect();
    if gaps.is_empty() {
        return None;
    }
    let known = one.head.strong_etag().is_some();
    Some(if known {
        Lookup::Fill { index, gaps }
    } else {
        Lookup::Miss(Why::Gap)
    })
}

/// The ranges that apply to this response.
pub(crate) fn requested(headers: &HeaderMap, head: &Head, total: u64) -> Requested {
    if conditional::range_applies(headers, head) {
        range::requested(headers, total)
    } else {
        Requested::Whole
    }
}

fn validation(asked: Asked<'_>, stored: &[Stored<'_>], index: usize, why: Why) -> Lookup {
    // A 304 for a part says nothing about the bytes that are missing; asking again is simpler than both at once.
    let heads: Vec<&Head> = stored
        .iter()
        .filter(|one| one.standing != Standing::Purged && one.head.extent == Extent::Whole)
        .map(|one| one.head)
        .collect();
    let chosen = stored[index].head;
    let conditions = match chosen.extent {
        Extent::Whole => Conditions::of(asked, &heads, chosen),
        Extent::Parts { .. } => Conditions::default(),
    };
    if conditions.is_empty() {
        return Lookup::Miss(why);
    }
    Lookup::Validate {
        index,
        conditions,
        why,
    }
}

/// What failed at the origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// No connection, no answer in time, or one that is no HTTP.
    Unreachable,
    Status(http::StatusCode),
}

/// What stands in for the origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnError {
    ServeStale,
    Fail,
}

/// Whether a stored response may stand in for a failing origin (RFC 5861 §4, RFC 9111 §4.2.4).
pub fn on_error(one: Stored<'_>, failure: Failure, now: Time) -> OnError {
    let counts = match failure {
        Failure::Unreachable => true,
        Failure::Status(status) => matches!(status.as_u16(), 500 | 502 | 503 | 504),
    };
    let Staleness::Allowed { if_error, .. } = one.head.staleness else {
        return OnError::Fail;
    };
    let usable =
        counts && one.standing != Standing::Purged && !one.head.invalidated && !one.head.always_validate;
    let late = one.head.age_at(now).saturating_sub(one.head.lifetime);
    if usable && late < if_error {
        OnError::ServeStale
    } else {
        OnError::Fail
    }
}
