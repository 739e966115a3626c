//! Asking the origin in a task of its own: for all who wait, or behind the back of a client that has its answer already.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::mpsc;

use banyan_httpcache::{Conditions, Time, Why, directive};
use banyan_upstream::retry::Effect;

use super::collapse::{Entered, Lead};
use super::origin::{Heard, Plan, Question, ask, parts};
use super::store::Found;
use super::{Name, presented};
use crate::core::Core;
use crate::exchange::Exchange;
use crate::forward::pool::Upstream;
use crate::interim::Interim;
use crate::respond::Refusal;

/// What the task tells the one who sent it.
enum Told {
    /// An interim answer lies ready.
    Hint,
    Heard(Box<Result<Heard, Refusal>>, Footprint),
}

/// What the log says of a request that another exchange made.
struct Footprint {
    upstream: Option<Rc<Upstream>>,
    retries: u32,
    waited: Duration,
    may_have_acted: bool,
}

/// Of a clock that does not go back.
pub(super) fn since_start(core: &Core) -> Time {
    let millis = core.since_start() / 1_000_000;
    Time::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// How a request is made that an answer may be for alone, whatever is asked for.
pub(super) fn ways(headers: &HeaderMap) -> [bool; 3] {
    [
        headers.contains_key(AUTHORIZATION),
        headers.contains_key(COOKIE),
        directive::Request::of(headers).no_store,
    ]
}

/// Asks for all who wait. A client that leaves meanwhile ends this, not the asking.
pub(super) async fn lead(exchange: &mut Exchange, lead: Lead, question: Question) -> Result<Heard, Refusal> {
    let (tell, mut told) = mpsc::unbounded_channel();
    let behind = exchange.behind(exchange.interim.clone());
    exchange.forwarded = true;
    exchange
        .core
        .spawn("cache fill", asking(behind, lead, question, Some(tell)));
    loop {
        match told.recv().await {
            // Whoever polls this looks at the interim answers next.
            Some(Told::Hint) => {}
            Some(Told::Heard(heard, footprint)) => {
                exchange.upstream = footprint.upstream;
                exchange.retries = footprint.retries;
                exchange.waited = footprint.waited;
                exchange.may_have_acted = footprint.may_have_acted;
                return *heard;
            }
            None => return Err(Refusal::BadGateway(Effect::Unknown)),
        }
    }
}

/// Validates in the background what has just been given out stale, unless somebody does so already (RFC 5861 §3).
pub(super) fn refresh(exchange: &Exchange, name: Rc<Name>, head: &Parts, found: &Found, index: usize) {
    let chosen = Arc::clone(&found.objects[index].0);
    let codings = &name.rule.policy().codings;
    let selection = Some(&chosen.head.selection).filter(|selection| !selection.is_empty());
    let selection = selection.map(|selection| selection.in_another(&head.headers, codings));
    let nothing: Vec<(usize, &[u8])> = Vec::new();
    let key = name.alike(&(&selection, &nothing));
    let like_it = name.alike(&(&selection, &nothing, ways(&head.headers)));
    let Entered::Lead(lead) = name.cache.fills.enter(key, since_start(&exchange.core)) else {
        return;
    };
    // Somebody has just done so.
    if !name.find().is_as(found) {
        return lead.needless();
    }
    let mut headers = head.headers.clone();
    for condition in [RANGE, IF_RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE] {
        headers.remove(condition);
    }
    let heads: Vec<_> = found.objects.iter().map(|(object, _)| &object.head).collect();
    let conditions = Conditions::of(presented(&Method::GET, &headers), &heads, &chosen.head);
    let why = Why::Expired;
    let question = Question {
        head: parts(head, Method::GET, headers),
        plan: if conditions.is_empty() {
            Plan::Plain(why)
        } else {
            Plan::Validate {
                chosen: Arc::clone(&chosen),
                conditions,
                why,
            }
        },
        like_it,
        candidate: Some(chosen),
        limits: exchange.answer_limits(),
        receiver: exchange.receiver(),
        name,
    };
    let behind = exchange.behind(Some(Rc::default()));
    exchange
        .core
        .spawn("cache refresh", asking(behind, lead, question, None));
}

async fn asking(
    mut exchange: Exchange,
    lead: Lead,
    question: Question,
    tell: Option<mpsc::UnboundedSender<Told>>,
) {
    let core = Rc::clone(&exchange.core);
    let heard = hinting(&mut exchange, &question, tell.as_ref()).await;
    let now = since_start(&core);
    let mut pump = None;
    let heard = heard.map(|(heard, body)| {
        pump = body;
        heard
    });
    match &heard {
        Ok(Heard::Streams(streams)) => lead.streams(&streams.coming),
        Ok(Heard::Passes(_, why)) if why.is_of_the_request() => {
            return finish(exchange, heard, tell, || lead.for_one(question.like_it, now));
        }
        Ok(Heard::Passes(answer, _)) if is_error(answer.status()) => {
            return finish(exchange, heard, tell, || lead.erred(now));
        }
        Ok(Heard::Passes(..)) => return finish(exchange, heard, tell, || lead.uncacheable(now)),
        Ok(Heard::Good(..)) => return finish(exchange, heard, tell, || lead.done()),
        Ok(Heard::Failing(_)) => {
            let refusal = Refusal::BadGateway(Effect::Unknown);
            return finish(exchange, heard, tell, || lead.stands_in(refusal));
        }
        Err(refusal) => {
            let refusal = *refusal;
            return finish(exchange, heard, tell, || lead.failed(refusal, now));
        }
    }
    let pause = core.settings().timeouts.response;
    finish(exchange, heard, tell, || {});
    if let Some(pump) = pump {
        pump.run(Some(lead), pause).await;
    }
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

fn finish(
    mut exchange: Exchange,
    heard: Result<Heard, Refusal>,
    tell: Option<mpsc::UnboundedSender<Told>>,
    others: impl FnOnce(),
) {
    others();
    let footprint = Footprint {
        upstream: exchange.upstream.take(),
        retries: exchange.retries,
        waited: exchange.waited,
        may_have_acted: exchange.may_have_acted,
    };
    if let Some(tell) = tell {
        // The client may have left.
        let _gone = tell.send(Told::Heard(Box::new(heard), footprint));
    }
}

/// Asks, and lets whoever waits for it know of interim answers.
async fn hinting(
    exchange: &mut Exchange,
    question: &Question,
    tell: Option<&mpsc::UnboundedSender<Told>>,
) -> Result<(Heard, Option<super::pump::Pump>), Refusal> {
    let peer = Rc::clone(&exchange.peer);
    let own: Option<Rc<Interim>> = exchange.interim.clone();
    let interim = || own.as_deref().unwrap_or(&peer.interim);
    let mut asking = pin!(ask(exchange, question));
    poll_fn(|cx| {
        let polled = asking.as_mut().poll(cx);
        if let (Some(tell), false) = (tell, interim().is_empty()) {
            let _gone = tell.send(Told::Hint);
        }
        polled
    })
    .await
}
