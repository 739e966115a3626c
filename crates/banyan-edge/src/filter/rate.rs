//! The rate limits of a route: whose request it is, and what the answer says about what is left.
//!
//! Fields: `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-10, and `Retry-After` (RFC 9110
//! §10.2.3) with 429 (RFC 6585 §4). A policy's quota is the burst, its window the time in which a burst comes back.
//!
//! Where edges count together, a request that passes here is a question for Redis, which is asked before anything else
//! happens (`Limits::agree`). The table of this process then holds what Redis said last: who is refused there is refused
//! here at once until its time has come.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::rc::Rc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use banyan_config::{RateBy, RateLimit};

use super::auth::Identity;
use super::buckets::Key;
use super::gcra::{Rule, Standing, Verdict};
use super::together::{Said, Together};
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
    /// What passed here and is to be counted with other edges, too.
    questions: Vec<Question>,
}

struct Question {
    /// Its place in the list.
    limit: usize,
    /// In this process.
    key: Key,
    /// In Redis.
    shared: String,
}

/// By whom a request is counted now.
enum Counts {
    /// By this process.
    Here,
    /// By this process, for its share: one of so many.
    Share(u32),
    /// By Redis, if it passes here.
    Together(Rc<Together>),
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
        if !self.list.iter().any(|limit| limit.turn() == turn) {
            return true;
        }
        let (buckets, now, counts) = (&core.buckets, core.since_start(), Counts::now(core));
        for (index, limit) in self.list.iter().enumerate() {
            if limit.turn() != turn {
                continue;
            }
            let mut room = [0; 16];
            let Some(who) = limit.who(asker, &mut room) else {
                continue;
            };
            let key = buckets.key(&limit.name, who);
            let verdict = match counts {
                Counts::Here | Counts::Together(_) => buckets.judge(key, &limit.rule, now),
                Counts::Share(edges) => buckets.judge(key, &limit.rule.share(edges), now),
            };
            if let (Verdict::Pass(_), Counts::Together(together)) = (verdict, &counts) {
                told.questions.push(Question {
                    limit: index,
                    key,
                    shared: together.key(&limit.name, who),
                });
            } else if !told.hear(&limit.name, verdict) {
                return false;
            }
        }
        true
    }

    /// Asks Redis about what passed here; false: it is one too many over all edges.
    pub(super) async fn agree(&self, core: &Rc<Core>, told: &mut Told) -> bool {
        let questions = std::mem::take(&mut told.questions);
        // Nobody to ask any more: it was counted here.
        let Some(together) = core.together().filter(|_| !questions.is_empty()) else {
            return true;
        };
        let asked = questions.iter().map(|question| {
            let rule = self.list[question.limit].rule;
            (question.shared.as_str(), rule)
        });
        let asked: Vec<(&str, Rule)> = asked.collect();
        let said = together.ask(core, &asked).await;
        let (buckets, now) = (&core.buckets, core.since_start());
        let mut said = said.map(Vec::into_iter);
        for &Question { limit, key, .. } in &questions {
            let Limit { name, rule, .. } = &self.list[limit];
            let verdict = match &mut said {
                Some(said) => {
                    // Those behind one that refused were not asked.
                    let Some(said) = said.next() else { break };
                    buckets.learn(key, now.saturating_add(said.whole_in), now);
                    said.verdict(rule)
                }
                None => buckets.judge_again(key, rule, &rule.share(together.edges()), now),
            };
            if !told.hear(name, verdict) {
                return false;
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

    /// Who is counted; `None`: nobody. `room`: where an address is put.
    fn who<'a>(&self, asker: &'a Asker<'_>, room: &'a mut [u8; 16]) -> Option<&'a [u8]> {
        Some(match &self.by {
            By::Ip => {
                // Of IPv6, what one customer gets.
                let length = match asker.address {
                    IpAddr::V4(address) => {
                        room[..4].copy_from_slice(&address.octets());
                        4
                    }
                    IpAddr::V6(address) => {
                        *room = address.octets();
                        8
                    }
                };
                &room[..length]
            }
            By::User => asker.identity?.user.as_ref()?.as_bytes(),
            By::Key => asker.identity?.key.as_ref()?.as_bytes(),
            By::Route => b"",
            By::Header(name) => asker.headers.get(name).map_or(b"", |value| value.as_bytes()),
        })
    }
}

impl Counts {
    fn now(core: &Core) -> Self {
        match core.together() {
            None => Self::Here,
            Some(together) if together.may_ask(core) => Self::Together(together),
            Some(together) => Self::Share(together.edges()),
        }
    }
}

impl Said {
    fn verdict(self, rule: &Rule) -> Verdict {
        let standing = rule.standing_in(self.whole_in);
        match self.wait {
            0 => Verdict::Pass(standing),
            wait => Verdict::Refuse(standing, wait),
        }
    }
}

impl Told {
    /// Whether Redis is to be asked.
    pub(super) fn asks(&self) -> bool {
        !self.questions.is_empty()
    }

    /// False: it is refused, and nobody is asked any more.
    fn hear(&mut self, name: &str, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Pass(standing) => {
                self.add(name, standing);
                true
            }
            Verdict::Refuse(standing, wait) => {
                self.add(name, standing);
                self.retry_after = Some(wait.div_ceil(SECOND).max(1));
                self.questions.clear();
                false
            }
        }
    }

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
