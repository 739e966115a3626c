//! The rate limits of a route: whose request it is, and what the answer says about what is left.
//!
//! Fields: `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-10, and `Retry-After` (RFC 9110
//! §10.2.3) with 429 (RFC 6585 §4). A policy's quota is the burst, its window the time in which a burst comes back.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use banyan_config::{RateBy, RateLimit};

use super::auth::Identity;
use super::buckets::Buckets;
use super::gcra::{Rule, Standing, Verdict};
use crate::core::Core;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STANDING: HeaderName = HeaderName::from_static("ratelimit");
const SECOND: u64 = 1_000_000_000;

pub(super) struct Limits {
    list: Vec<Limit>,
    policy: Option<HeaderValue>,
}

struct Limit {
    name: String,
    rule: Rule,
    by: By,
}

enum By {
    Ip,
    User,
    Key,
    Route,
    Header(HeaderName),
}

/// Which limits can be judged now: those by identity only once it is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    BeforeIdentity,
    WithIdentity,
}

/// What is known of who asks.
pub(super) struct Asker<'a> {
    pub address: IpAddr,
    pub headers: &'a HeaderMap,
    pub identity: Option<&'a Identity>,
}

/// What the answer says of the limits that were asked.
#[derive(Default)]
pub(super) struct Told {
    standing: String,
    /// Seconds; `Some`: refused.
    retry_after: Option<u64>,
}

impl Limits {
    pub(super) fn new(limits: &[RateLimit]) -> Option<Self> {
        let limit = |limit: &RateLimit| Limit {
            name: limit.name.clone(),
            rule: Rule::of(limit),
            by: match &limit.by {
                RateBy::Ip => By::Ip,
                RateBy::User => By::User,
                RateBy::Key => By::Key,
                RateBy::Route => By::Route,
                RateBy::Header(name) => name.parse().map_or(By::Route, By::Header),
            },
        };
        let list: Vec<Limit> = limits.iter().map(limit).collect();
        let policies = list.iter().map(|limit| {
            let (quota, window) = (limit.rule.burst(), limit.rule.window().div_ceil(SECOND));
            format!("\"{}\";q={quota};w={window}", limit.name)
        });
        let policy = policies.collect::<Vec<_>>().join(", ");
        (!list.is_empty()).then(|| Self {
            policy: HeaderValue::from_str(&policy).ok(),
            list,
        })
    }

    /// Counts a request; false: it is one too many. What was counted before that stays counted.
    pub(super) fn pass(&self, turn: Turn, asker: &Asker<'_>, core: &Core, told: &mut Told) -> bool {
        let (buckets, now) = (&core.buckets, core.since_start());
        for limit in self.list.iter().filter(|limit| limit.turn() == turn) {
            let Some(verdict) = limit.judge(asker, buckets, now) else {
                continue;
            };
            match verdict {
                Verdict::Pass(standing) => told.add(&limit.name, standing),
                Verdict::Refuse(standing, wait) => {
                    told.add(&limit.name, standing);
                    told.retry_after = Some(wait.div_ceil(SECOND).max(1));
                    return false;
                }
            }
        }
        true
    }

    pub(super) fn answer(&self, told: &Told, headers: &mut HeaderMap) {
        if let Some(policy) = &self.policy {
            headers.insert(POLICY, policy.clone());
        }
        if let (false, Ok(standing)) = (told.standing.is_empty(), HeaderValue::from_str(&told.standing)) {
            headers.insert(STANDING, standing);
        }
        if let Some(seconds) = told.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
    }
}

impl Limit {
    fn turn(&self) -> Turn {
        match self.by {
            By::User | By::Key => Turn::WithIdentity,
            By::Ip | By::Route | By::Header(_) => Turn::BeforeIdentity,
        }
    }

    /// `None`: it is not counted.
    fn judge(&self, asker: &Asker<'_>, buckets: &Buckets, now: u64) -> Option<Verdict> {
        let judge = |who: &[u8]| Some(buckets.judge(&self.name, who, &self.rule, now));
        match &self.by {
            By::Ip => match asker.address {
                IpAddr::V4(address) => judge(&address.octets()),
                // What one customer gets.
                IpAddr::V6(address) => judge(&address.octets()[..8]),
            },
            By::User => judge(asker.identity?.user.as_ref()?.as_bytes()),
            By::Key => judge(asker.identity?.key.as_ref()?.as_bytes()),
            By::Route => judge(b""),
            By::Header(name) => judge(asker.headers.get(name).map_or(b"", |value| value.as_bytes())),
        }
    }
}

impl Told {
    fn add(&mut self, name: &str, standing: Standing) {
        let comma = if self.standing.is_empty() { "" } else { ", " };
        let whole_in = standing.whole_in.div_ceil(SECOND);
        let _infallible = write!(
            self.standing,
            "{comma}\"{name}\";r={};t={whole_in}",
            standing.remaining
        );
    }
}
