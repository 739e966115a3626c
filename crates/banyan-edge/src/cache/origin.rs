//! Asking the origin for something that may be stored, and judging what it says.

use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, RANGE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;

use banyan_httpcache::range::{Span, content_range};
use banyan_httpcache::{
    Admit, AfterHead, Answered, Asked, Conditions, Etag, Extent, Failure, Freshened, Head, OnError, Receiver,
    SetCookie, Standing, Time, Times, Why, admit, after_head, for_receiver, freshen, on_error,
};

use super::Name;
use super::disk::body::{Body, Writing};
use super::flow::{Flow, Place};
use super::object::{Coming, Object};
use super::pump::{self, Pump};
use super::rollout;
use super::store::Asking;
use crate::answer_limits::AnswerLimits;
use crate::exchange::Exchange;
use crate::forward::Answer;
use crate::headers::strip_hop_by_hop;
use crate::respond::Refusal;

/// What is stored already, and so what is asked.
#[derive(Clone)]
pub(super) enum Plan {
    Plain(Why),
    Validate {
        chosen: Arc<Object>,
        conditions: Conditions,
        why: Why,
    },
    /// All from the first byte that is missing to the last.
    Gap {
        part: Arc<Object>,
        span: Span,
    },
}

impl Plan {
    pub(super) fn why(&self) -> Why {
        match self {
            Self::Plain(why) | Self::Validate { why, .. } => *why,
            Self::Gap { .. } => Why::Gap,
        }
    }
}

pub(super) struct Question {
    pub name: Rc<Name>,
    /// As the client's, prepared for instances.
    pub head: Parts,
    pub plan: Plan,
    /// The key of those who ask in the same way as this client: with credentials, or for nobody else.
    pub like_it: u128,
    /// What may stand in for an origin that fails.
    pub candidate: Option<Arc<Object>>,
    pub limits: AnswerLimits,
    /// Who waits for it.
    pub receiver: Receiver,
}

/// What came of it.
#[expect(
    clippy::large_enum_variant,
    reason = "it is at hand once, and taken apart at once"
)]
pub(super) enum Heard {
    /// Not for the cache.
    Passes(Answer, Why),
    /// An error for which something stored stands in.
    Failing(StatusCode),
    /// It will be stored, if it ends as it should: a pump has its body.
    Streams(Box<Streams>),
    /// Stored already, good again. With the status that said so.
    Good(Arc<Object>, StatusCode),
}

pub(super) struct Streams {
    /// For whoever asked; others get what is stored.
    pub head: Response<()>,
    pub coming: Arc<Coming>,
    pub place: Place,
}

pub(super) async fn ask(
    exchange: &mut Exchange,
    question: &Question,
) -> Result<(Heard, Option<Pump>), Refusal> {
    let name = &question.name;
    let mut plan = &question.plan;
    let again = Plan::Plain(plan.why());
    let mut asked_another = false;
    loop {
        let asking = name.cache.store.ask(&name.uri);
        let head = question.head_for(plan);
        let sent = name.now(exchange);
        let mut answer = name.send(exchange, &head).await?;
        let times = name.times(exchange, sent);
        if !asked_another && rollout::ask_another(exchange, name, answer.status()) {
            asked_another = true;
            continue;
        }
        strip_hop_by_hop(answer.headers_mut());
        let length = answer.body().size_hint().exact();
        question.limits.judge(answer.headers(), length)?;
        if let (Plan::Validate { chosen, .. }, StatusCode::NOT_MODIFIED) = (plan, answer.status()) {
            if let Some(object) = question.renew(chosen, answer.headers(), asking.born, times) {
                return Ok((Heard::Good(object, StatusCode::NOT_MODIFIED), None));
            }
            if question.is_the_clients(answer.headers()) {
                return Ok((Heard::Passes(answer, plan.why()), None));
            }
            // It names nothing that anybody has.
            plan = &again;
            continue;
        }
        if let (Plan::Gap { part, span }, StatusCode::PARTIAL_CONTENT) = (plan, answer.status()) {
            match question
                .fill_gap(exchange, (part, *span), answer, asking, times)
                .await
            {
                Some(object) => return Ok((Heard::Good(object, StatusCode::PARTIAL_CONTENT), None)),
                // As if nothing were stored.
                None => plan = &again,
            }
            continue;
        }
        return Ok(question.take(answer, asking, times).await);
    }
}

impl Question {
    fn head_for(&self, plan: &Plan) -> Parts {
        let mut head = parts(&self.head, self.head.method.clone(), self.head.headers.clone());
        match plan {
            // What the client has is compared with what comes, unless that would be compared with nothing.
            Plan::Plain(_) if matches!(self.plan, Plan::Plain(_)) => {}
            Plan::Plain(_) => Conditions::default().apply(&mut head.headers),
            Plan::Validate { conditions, .. } => conditions.apply(&mut head.headers),
            Plan::Gap { part, span } => {
                Conditions::default().apply(&mut head.headers);
                let range = format!("bytes={}-{}", span.first, span.last);
                if let (Ok(range), Some(tag)) = (HeaderValue::try_from(range), part.head.headers.get(ETAG)) {
                    head.headers.insert(RANGE, range);
                    head.headers.insert(IF_RANGE, tag.clone());
                }
            }
        }
        head
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            method: &self.head.method,
            headers: &self.head.headers,
        }
    }

    /// What a 304 says of all that is stored of the URI; what answers this request then.
    fn renew(
        &self,
        chosen: &Arc<Object>,
        not_modified: &HeaderMap,
        born: u64,
        times: Times,
    ) -> Option<Arc<Object>> {
        let (store, uri) = (&self.name.cache.store, &self.name.uri);
        let mut stored = store.find(uri, &self.name.side).objects;
        // It stays purged, whatever the origin says of another with its tag.
        stored.retain(|(_, standing)| *standing != Standing::Purged);
        let heads: Vec<_> = stored.iter().map(|(object, _)| &object.head).collect();
        let policy = self.name.rule.policy_after(&chosen.head.headers, not_modified);
        let verdicts = freshen(self.asked(), &heads, not_modified, policy, times);
        let mut answers = None;
        for ((old, _), verdict) in stored.iter().zip(verdicts) {
            let now = match verdict {
                Freshened::Untouched => continue,
                Freshened::Renewed(head) => {
                    let marks = store.marks(uri, &self.name.tags(&head.tags), born);
                    let object = Arc::new(old.renewed(*head, marks));
                    store.insert(uri, Arc::clone(&object), Some(old));
                    object
                }
                Freshened::Dropped => {
                    store.remove(uri, old);
                    Arc::clone(old)
                }
            };
            let is_chosen = Arc::ptr_eq(old, chosen);
            let fits = now.head.selection.selects(&self.head.headers, &policy.codings);
            if is_chosen || (answers.is_none() && fits) {
                answers = Some(now);
            }
        }
        answers
    }

    /// The tag of a 304 is one that only the client has.
    fn is_the_clients(&self, not_modified: &HeaderMap) -> bool {
        let Some(tag) = not_modified.get(ETAG).and_then(|tag| Etag::parse(tag.as_bytes())) else {
            return false;
        };
        let lines = self.head.headers.get_all(http::header::IF_NONE_MATCH);
        let mut theirs = lines
            .iter()
            .flat_map(|line| line.as_bytes().split(|b| *b == b','));
        theirs.any(|text| Etag::parse(text).is_some_and(|theirs| theirs.weakly_matches(tag)))
    }

    /// `None`: what came does not fit.
    async fn fill_gap(
        &self,
        exchange: &Exchange,
        (part, gap): (&Arc<Object>, Span),
        answer: Answer,
        asking: Asking,
        times: Times,
    ) -> Option<Arc<Object>> {
        let same = |headers: &HeaderMap| {
            let tag = headers.get(ETAG).and_then(|tag| Etag::parse(tag.as_bytes()))?;
            Some(part.head.strong_etag()?.strongly_matches(tag))
        };
        let (span, total) =
            content_range(answer.headers()).filter(|_| same(answer.headers()) == Some(true))?;
        // What is there of another length, or elsewhere, is no part of the same.
        if total != part.total() || span.first > gap.first || span.last < gap.last {
            return None;
        }
        if span.length() > self.name.cache.store.largest() {
            return None;
        }
        let policy = self.name.rule.policy_for(answer.headers());
        let answered = Answered {
            status: answer.status(),
            headers: answer.headers(),
        };
        let Admit::Yes(head) = admit(self.asked(), answered, policy, times) else {
            return None;
        };
        let body = pump::read(answer.into_body(), span, exchange).await?;
        pump::keep_part(&self.name, *head, &body, asking.born)
    }

    async fn take(&self, mut answer: Answer, asking: Asking, times: Times) -> (Heard, Option<Pump>) {
        let (status, name) = (answer.status(), &self.name);
        if let Some(candidate) = &self.candidate
            && stands_in(name, candidate, Failure::Status(status), times.received)
        {
            return (Heard::Failing(status), None);
        }
        let policy = name.rule.policy_for(answer.headers());
        let answered = Answered {
            status,
            headers: answer.headers(),
        };
        let length = answer.body().size_hint().exact();
        let long = length.filter(|length| *length > name.cache.store.largest());
        let admitted = match (admit(self.asked(), answered, policy, times), long) {
            (Admit::Yes(head), None) => Ok((*head, None)),
            (Admit::Yes(head), Some(length)) => match self.in_file(*head, length).await {
                Some((head, body)) => Ok((head, Some(body))),
                None => Err(Why::TooLarge),
            },
            (Admit::No(why), _) => Err(why),
        };
        let (head, file) = match admitted {
            Ok(admitted) => admitted,
            Err(why) => {
                // What one user gets says nothing of what others do.
                if why != Why::Cookie {
                    self.forget(status);
                }
                return (Heard::Passes(answer, why), None);
            }
        };
        for_receiver(status, answer.headers_mut(), (policy, self.receiver), head.age);
        if policy.set_cookie == SetCookie::Strip {
            answer.headers_mut().remove(SET_COOKIE);
        }
        let first = content_range(answer.headers()).map_or(0, |(span, _)| span.first);
        let first = if status == StatusCode::PARTIAL_CONTENT {
            first
        } else {
            0
        };
        let flow = match &file {
            Some(body) => Flow::in_file(Arc::clone(body)),
            None => Flow::new(first),
        };
        let Some(place) = flow.reader(first) else {
            return (Heard::Passes(answer, Why::Incomplete), None);
        };
        let tags = name.tags(&head.tags);
        let coming = Arc::new(Coming {
            marks: name.cache.store.marks(&name.uri, &tags, asking.born),
            head,
            flow,
            length,
        });
        let (head, body) = answer.into_parts();
        let pump = Pump::new(
            Rc::clone(name),
            body,
            Arc::clone(&coming),
            asking,
            (file.map(Writing::new), self.limits.body),
        );
        let streams = Streams {
            head: Response::from_parts(head, ()),
            coming,
            place,
        };
        (Heard::Streams(Box::new(streams)), Some(pump))
    }

    /// Room on the disk for all of it. `None`: there is none, this is only a part of it, or another edge has it.
    async fn in_file(&self, mut head: Head, length: u64) -> Option<(Head, Arc<Body>)> {
        if !self.name.cache.owns(&self.name.uri) {
            return None;
        }
        if let Extent::Parts { total, .. } = head.extent {
            // Players ask for all of it by a range.
            if total != length {
                return None;
            }
            head.extent = Extent::Whole;
        }
        let (store, name) = (&self.name.cache.store, &self.name);
        let body = store.begin_long(&name.uri, &name.side, length).await?;
        Some((head, body))
    }

    /// The origin has another answer now, and it is not for the cache: what is stored is not it any more.
    fn forget(&self, status: StatusCode) {
        let replaces = match status.as_u16() {
            206 | 304 => false,
            200..=399 | 404 | 410 => true,
            _ => false,
        };
        if !replaces {
            return;
        }
        let (store, uri) = (&self.name.cache.store, &self.name.uri);
        let codings = &self.name.rule.policy().codings;
        for (object, _) in store.find(uri, &self.name.side).objects {
            if object.head.selection.selects(&self.head.headers, codings) {
                store.remove(uri, &object);
            }
        }
    }
}

/// Whether this stored response may answer in place of a failing origin.
pub(super) fn stands_in(name: &Name, object: &Object, failure: Failure, now: Time) -> bool {
    let found = name.cache.store.find(&name.uri, &name.side).objects;
    let known = found
        .iter()
        .find(|(other, _)| std::ptr::eq(other.as_ref(), object));
    let standing = known.map_or(Standing::Sound, |(_, standing)| *standing);
    on_error(object.stored(standing), failure, now) == OnError::ServeStale
}

/// What a forwarded HEAD says of the stored responses to GET.
pub(super) fn after(name: &Name, head: &Parts, answer: &Answer, born: u64, times: Times) {
    let asked = Asked {
        method: &head.method,
        headers: &head.headers,
    };
    let answered = Answered {
        status: answer.status(),
        headers: answer.headers(),
    };
    let store = &name.cache.store;
    for (old, standing) in store.find(&name.uri, &name.side).objects {
        let policy = name.rule.policy_after(&old.head.headers, answer.headers());
        if standing == Standing::Purged || !old.head.selection.selects(&head.headers, &policy.codings) {
            continue;
        }
        let new = match after_head(asked, &old.head, old.body.length(), answered, policy, times) {
            AfterHead::Untouched => continue,
            AfterHead::Renewed(head) => *head,
            AfterHead::Outdated => {
                let mut head = old.head.clone();
                head.invalidated = true;
                head
            }
        };
        let marks = store.marks(&name.uri, &name.tags(&new.tags), born);
        store.insert(&name.uri, Arc::new(old.renewed(new, marks)), Some(&old));
    }
}

/// Parts have no copy of their own: extensions are the connection's.
pub(super) fn parts(head: &Parts, method: Method, headers: HeaderMap) -> Parts {
    let (mut new, ()) = http::Request::new(()).into_parts();
    new.method = method;
    new.uri = head.uri.clone();
    new.version = head.version;
    new.headers = headers;
    new.headers.remove(CONTENT_RANGE);
    new
}
