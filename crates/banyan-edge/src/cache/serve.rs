//! Requests that something stored does not answer at once: who asks the origin, who waits, and what each gets.

use std::rc::Rc;
use std::sync::Arc;

use http::header::{HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use banyan_httpcache::purge::{Mode, Target};
use banyan_httpcache::range::Span;
use banyan_httpcache::vary::Selection;
use banyan_httpcache::{Answer, Extent, Failure, Head, Lookup, Refresh, Standing, Stored, Time, Why, lookup};

use super::collapse::{Entered, Progress};
use super::object::{Coming, Object};
use super::origin::{self, Heard, Plan, Question, ask};
use super::reader::Reader;
use super::store::Found;
use super::{Asked, Name, answer, fetch, is_plain, pass, pictures, presented};
use crate::exchange::Exchange;
use crate::forward;
use crate::forward::body::Source;
use crate::metrics::CacheResult;
use crate::respond::Refusal;

/// Looks at the store, each followed by a wait.
const ROUNDS: usize = 4;

/// Who answers.
pub(crate) enum Reply {
    Instance(forward::Answer),
    Stored(Response<Box<Reader>>),
    /// Nothing is stored, and the client wants nothing else (`only-if-cached`).
    NotStored,
}

pub(crate) async fn serve(
    exchange: &mut Exchange,
    asked: &Asked,
    head: &Parts,
    source: Option<&Rc<Source>>,
) -> Result<Reply, Refusal> {
    let plain = is_plain(exchange, head, source.is_some());
    if plain && let Some(wanted) = pictures::Wanted::of(exchange, asked, head) {
        return wanted.serve(exchange, head).await;
    }
    let name = if plain {
        Name::of(asked, exchange, head)
    } else {
        None
    };
    let Some(name) = name else {
        return pass::pass(exchange, asked, head, source).await;
    };
    if asked.untrue {
        // Here alone: whoever found it out has told the others.
        let target = Target::Url(name.uri.clone());
        name.cache.store.purge(&target, Mode::Hard, name.now(exchange));
    }
    name.bring().await;
    let request = Request {
        name: Rc::new(name),
        head,
        variant: None,
        patience: true,
    };
    if head.method == Method::HEAD {
        let verdict = request.look(&request.name.find(), request.name.now(exchange));
        if verdict != Lookup::GatewayTimeout {
            return pass::ask_head(exchange, &request.name, head).await;
        }
    }
    request.answer(exchange).await
}

/// As a GET for all of it, on behalf of what is made of it.
pub(super) async fn source(exchange: &mut Exchange, name: Rc<Name>, head: &Parts) -> Result<Reply, Refusal> {
    name.bring().await;
    let request = Request {
        name,
        head,
        variant: None,
        patience: true,
    };
    request.answer(exchange).await
}

struct Request<'a> {
    name: Rc<Name>,
    head: &'a Parts,
    /// By which fields it differs from a request that was answered meanwhile.
    variant: Option<Selection>,
    /// It has not waited in vain.
    patience: bool,
}

/// What a request needs of the origin.
struct Need {
    plan: Plan,
    candidate: Option<Arc<Object>>,
}

impl Request<'_> {
    fn look(&self, found: &Found, now: Time) -> Lookup {
        let stored = found.objects.iter().map(|(one, standing)| one.stored(*standing));
        let stored: Vec<_> = stored.collect();
        let asks = presented(&self.head.method, &self.head.headers);
        lookup(asks, &stored, self.name.rule.policy(), now)
    }

    async fn answer(mut self, exchange: &mut Exchange) -> Result<Reply, Refusal> {
        let (mut for_itself, mut looked_again) = (false, false);
        let mut is_for_one = false;
        for _ in 0..ROUNDS {
            let found = self.name.find();
            let now = self.name.now(exchange);
            let plan = match self.look(&found, now) {
                Lookup::Hit { index, answer } => {
                    return Ok(self.hit(exchange, (&found, index), &answer, Refresh::None, now));
                }
                Lookup::Stale {
                    index,
                    answer,
                    refresh,
                } => return Ok(self.hit(exchange, (&found, index), &answer, refresh, now)),
                Lookup::GatewayTimeout => return Ok(Reply::NotStored),
                Lookup::Bypass(why) => return self.bypass(exchange, why).await,
                Lookup::Miss(why) => Plan::Plain(why),
                Lookup::Fill { index, gaps } => self.gap(&found.objects[index].0, &gaps),
                Lookup::Validate {
                    index,
                    conditions,
                    why,
                } => {
                    let head = &found.objects[index].0.head;
                    // What must be validated for each use is no use to others.
                    is_for_one = head.always_validate || head.lifetime.is_zero();
                    for_itself |= is_for_one;
                    let chosen = Arc::clone(&found.objects[index].0);
                    Plan::Validate {
                        chosen,
                        conditions,
                        why,
                    }
                }
            };
            // It has waited for something that is no use to it; what it needs may still be another variant's.
            for_itself |= looked_again && plan.why() != Why::Vary;
            let need = Need {
                candidate: self.candidate(&found),
                plan,
            };
            // Nobody could be asked: no use in waiting until that is certain.
            if need.candidate.is_some()
                && !forward::origin::has_somebody(exchange)
                && let Ok(stale) = self.instead(exchange, &need, Refusal::NoEndpoint)
            {
                return Ok(stale);
            }
            if for_itself {
                exchange.for_itself = is_for_one;
                return self.alone(exchange, need).await;
            }
            let (key, like_it) = self.keys(&need.plan, &found);
            if self
                .name
                .cache
                .fills
                .is_for_one(like_it, fetch::since_start(&exchange.core))
            {
                exchange.for_itself = true;
                return self.alone(exchange, need).await;
            }
            let mut coming = None;
            match self
                .name
                .cache
                .fills
                .enter(key, fetch::since_start(&exchange.core))
            {
                Entered::Lead(lead) => {
                    // Who led before may have stored its answer between our look and this.
                    if !self.name.find().is_as(&found) {
                        lead.needless();
                        continue;
                    }
                    let heard = fetch::lead(exchange, lead, self.question(exchange, &need, like_it)).await;
                    return self.told(exchange, &need, heard);
                }
                Entered::Alone => {
                    exchange.for_itself = true;
                    return self.alone(exchange, need).await;
                }
                Entered::Shed => return Err(Refusal::Busy),
                Entered::Failed(refusal) => return self.instead(exchange, &need, refusal),
                Entered::Join(joined) => coming = Some(joined),
                Entered::Wait(waiter) => match waiter.news().await {
                    Some(Progress::Streams(joined)) => coming = Some(joined),
                    // Another one may try; it is not the one who asks as the last did.
                    Some(Progress::Again | Progress::ForOne | Progress::Asking) => {}
                    Some(Progress::Changed) => looked_again = true,
                    Some(Progress::Uncacheable) => return self.alone(exchange, need).await,
                    Some(Progress::Failed(refusal)) => return self.instead(exchange, &need, refusal),
                    None => {
                        self.patience = false;
                        return self.alone(exchange, need).await;
                    }
                },
            }
            if let Some(coming) = coming {
                let now = self.name.now(exchange);
                match self.read_along(exchange, &coming, need.plan.why(), now) {
                    Some(response) => return Ok(Reply::Stored(response)),
                    None => for_itself = !self.varies_from(&coming.head),
                }
            }
        }
        let need = Need {
            plan: Plan::Plain(Why::Absent),
            candidate: None,
        };
        self.alone(exchange, need).await
    }

    /// It was brought from the disk, or stored while this one waited.
    fn hit(
        &self,
        exchange: &Exchange,
        (found, index): (&Found, usize),
        how: &Answer,
        refresh: Refresh,
        now: Time,
    ) -> Reply {
        let response = answer::hit(exchange, &self.name, self.head, &found.objects[index].0, how, now);
        if refresh == Refresh::Background {
            fetch::refresh(exchange, Rc::clone(&self.name), self.head, found, index);
        }
        Reply::Stored(response)
    }

    async fn bypass(&self, exchange: &mut Exchange, why: Why) -> Result<Reply, Refusal> {
        let mut response = self.name.send(exchange, self.head).await?;
        answer::forwarded(
            exchange,
            Some(&self.name),
            response.headers_mut(),
            why,
            Err(why),
            None,
        );
        Ok(Reply::Instance(response))
    }

    fn gap(&self, part: &Arc<Object>, gaps: &[Span]) -> Plan {
        match (gaps.first(), gaps.last()) {
            (Some(first), Some(last)) if last.last - first.first < self.name.cache.store.largest() => {
                Plan::Gap {
                    part: Arc::clone(part),
                    span: Span {
                        first: first.first,
                        last: last.last,
                    },
                }
            }
            _ => Plan::Plain(Why::Gap),
        }
    }

    /// The newest that this request selects, fresh or not.
    fn candidate(&self, found: &Found) -> Option<Arc<Object>> {
        let codings = &self.name.rule.policy().codings;
        let asks = presented(&self.head.method, &self.head.headers);
        let usable = found.objects.iter().filter(|(object, standing)| {
            let selected = object.head.selection.selects(&self.head.headers, codings);
            let suits = object.head.suits(asks, self.name.rule.policy());
            // A stored error is no better than a new one.
            let stands = !object.head.status.is_server_error() && object.head.extent == Extent::Whole;
            *standing != Standing::Purged && selected && stands && suits
        });
        let newest = usable.max_by_key(|(object, _)| object.head.date);
        newest.map(|(object, _)| Arc::clone(object))
    }

    /// What makes requests alike enough to share one answer, and beside it how they are made.
    fn keys(&self, plan: &Plan, found: &Found) -> (u128, u128) {
        let headers = &self.head.headers;
        let codings = &self.name.rule.policy().codings;
        let mut known = found.objects.iter().map(|(object, _)| &object.head.selection);
        let known = known.rfind(|selection| !selection.is_empty());
        let selection = self
            .variant
            .clone()
            .or_else(|| known.map(|selection| selection.in_another(headers, codings)));
        // With a validation the conditions are ours.
        let theirs: &[HeaderName] = match plan {
            Plan::Validate { .. } => &[],
            Plan::Plain(_) | Plan::Gap { .. } => &[RANGE, IF_RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE],
        };
        let conditions: Vec<_> = theirs
            .iter()
            .enumerate()
            .filter_map(|(n, name)| Some((n, headers.get(name).map(HeaderValue::as_bytes)?)))
            .collect();
        let like_it = (&selection, &conditions, fetch::ways(headers));
        (
            self.name.alike(&(&selection, &conditions)),
            self.name.alike(&like_it),
        )
    }

    /// Notes by what it differs, so that those like it share an answer of their own.
    fn varies_from(&mut self, head: &Head) -> bool {
        let codings = &self.name.rule.policy().codings;
        if head.selection.selects(&self.head.headers, codings) {
            return false;
        }
        self.variant = Some(head.selection.in_another(&self.head.headers, codings));
        true
    }

    /// From an answer that is still coming, if it could be used were it stored already.
    fn read_along(
        &self,
        exchange: &Exchange,
        coming: &Arc<Coming>,
        why: Why,
        now: Time,
    ) -> Option<Response<Box<Reader>>> {
        let mut headers = self.head.headers.clone();
        // Parts of it may not be here yet: it goes out whole, which a range does not forbid.
        headers.remove(RANGE);
        let stored = Stored {
            head: &coming.head,
            standing: self.name.cache.store.reached(&coming.marks),
            length: coming.length.unwrap_or_default(),
        };
        let asks = presented(&self.head.method, &headers);
        let policy = self.name.rule.policy_for(&coming.head.headers);
        let verdict = lookup(asks, &[stored], policy, now);
        let (Lookup::Hit { answer, .. } | Lookup::Stale { answer, .. }) = verdict else {
            return None;
        };
        let reader = if answer == Answer::NotModified {
            Reader::nothing()
        } else {
            let whole = coming.head.extent == Extent::Whole;
            let place = coming.flow.reader(0).filter(|_| whole)?;
            Reader::coming(place, 0, coming.length)
        };
        let mut response = Response::new(Box::new(reader));
        *response.status_mut() = answer.status(&coming.head);
        let length = coming.length.unwrap_or_default();
        *response.headers_mut() = answer.headers(&coming.head, length, (policy, exchange.receiver()), now);
        let ttl = coming.head.ttl_at(now);
        answer::forwarded(
            exchange,
            Some(&self.name),
            response.headers_mut(),
            why,
            Ok(ttl),
            Some(true),
        );
        Some(response)
    }

    fn question(&self, exchange: &Exchange, need: &Need, like_it: u128) -> Question {
        Question {
            like_it,
            name: Rc::clone(&self.name),
            head: origin::parts(self.head, self.head.method.clone(), self.head.headers.clone()),
            plan: need.plan.clone(),
            candidate: need.candidate.clone(),
            limits: exchange.answer_limits(),
            receiver: exchange.receiver(),
        }
    }

    async fn alone(&self, exchange: &mut Exchange, need: Need) -> Result<Reply, Refusal> {
        // Nobody waits for it.
        let question = self.question(exchange, &need, 0);
        exchange.shares = true;
        let heard = ask(exchange, &question).await.map(|(heard, pump)| {
            if let Some(pump) = pump {
                // Whoever reads it on its way must not hold it up, nor end it.
                let pause = exchange.core.settings().timeouts.response;
                exchange.core.spawn("cache fill", pump.run(None, pause));
            }
            heard
        });
        self.told(exchange, &need, heard)
    }

    /// What this client gets of what was heard.
    fn told(
        &self,
        exchange: &mut Exchange,
        need: &Need,
        heard: Result<Heard, Refusal>,
    ) -> Result<Reply, Refusal> {
        let why = need.plan.why();
        let collapsed = (!self.patience).then_some(false);
        match heard {
            Ok(Heard::Passes(mut response, not_stored)) => {
                forward::bind(exchange, self.head, &mut response);
                answer::forwarded(
                    exchange,
                    Some(&self.name),
                    response.headers_mut(),
                    why,
                    Err(not_stored),
                    collapsed,
                );
                Ok(Reply::Instance(response))
            }
            Ok(Heard::Streams(streams)) => {
                let coming = &streams.coming;
                let ttl = coming.head.ttl_at(self.name.now(exchange));
                let reader = Reader::coming(streams.place, coming.first(), coming.length);
                let mut response = streams.head.map(|()| Box::new(reader));
                answer::forwarded(
                    exchange,
                    Some(&self.name),
                    response.headers_mut(),
                    why,
                    Ok(ttl),
                    collapsed,
                );
                Ok(Reply::Stored(response))
            }
            Ok(Heard::Good(object, status)) => {
                let said = (why, Some(status), CacheResult::Validated);
                let response = answer::after_asking(exchange, &self.name, self.head, &object, said);
                Ok(Reply::Stored(response))
            }
            Ok(Heard::Failing(status)) => self
                .stale(exchange, need, Some(status))
                .ok_or(Refusal::NoEndpoint),
            Err(refusal) => self.instead(exchange, need, refusal),
        }
    }

    /// Something stored, if there is what may stand in for the origin.
    fn instead(&self, exchange: &mut Exchange, need: &Need, refusal: Refusal) -> Result<Reply, Refusal> {
        let now = self.name.now(exchange);
        let usable = need
            .candidate
            .as_ref()
            .is_some_and(|object| origin::stands_in(&self.name, object, Failure::Unreachable, now));
        let stale = usable.then(|| self.stale(exchange, need, None)).flatten();
        stale.ok_or(refusal)
    }

    fn stale(&self, exchange: &mut Exchange, need: &Need, status: Option<StatusCode>) -> Option<Reply> {
        let object = need.candidate.as_ref()?;
        let said = (need.plan.why(), status, CacheResult::StoodIn);
        let response = answer::after_asking(exchange, &self.name, self.head, object, said);
        Some(Reply::Stored(response))
    }
}
