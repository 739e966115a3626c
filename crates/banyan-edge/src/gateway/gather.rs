//! One answer of several processes' answers: each part is asked at the same time, with its own time, size and policy.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use regex::Regex;

use banyan_config::{Aggregate, OnFailure, PathMatch};

use super::ask::ask;
use super::object::{self, Fault, Outcome};
use super::target::{Asked, Target};
use super::{Job, json, keep, personal};
use crate::core::Core;
use crate::core::groups::{Group, Groups};
use crate::exchange::{DownBody, Exchange};
use crate::respond::{Form, Refusal};

/// Names of the parts that there is no value of.
const PARTIAL: HeaderName = HeaderName::from_static("x-partial");

/// The parts of a route, with the groups that they are asked of.
pub(crate) struct Gather {
    parts: Vec<Part>,
    headers: Vec<HeaderName>,
    /// What names in targets come from.
    regex: Option<Regex>,
}

struct Part {
    name: String,
    group: Rc<Group>,
    target: Target,
    timeout: Duration,
    on_failure: OnFailure,
    most: u64,
}

/// What is to be asked for one client.
pub(crate) struct Wanted {
    gather: Rc<Gather>,
    /// By part.
    targets: Vec<http::Uri>,
}

impl Gather {
    pub(crate) fn new(config: &Aggregate, path: &PathMatch, groups: &Groups) -> Self {
        let parts = config.parts.iter().map(|part| Part {
            name: part.name.clone(),
            group: groups.of(&part.process).unwrap_or_else(|| groups.default()),
            target: Target::new(&part.path),
            timeout: part.timeout.min(config.timeout),
            on_failure: part.on_failure,
            most: part.max,
        });
        let regex = match path {
            // The table has compiled it before.
            PathMatch::Regex(text) => Regex::new(text).ok(),
            PathMatch::Any | PathMatch::Exact(_) | PathMatch::Prefix(_) => None,
        };
        Self {
            parts: parts.collect(),
            headers: config
                .headers
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect(),
            regex,
        }
    }

    /// `decoded`: the request's path; `rest`: of it as received, behind the prefix.
    pub(crate) fn wanted(
        self: &Rc<Self>,
        core: &Core,
        head: &mut Parts,
        decoded: &str,
        rest: &str,
    ) -> Result<Wanted, Refusal> {
        if ![Method::GET, Method::HEAD].contains(&head.method) {
            return Err(Refusal::MethodNotAllowed);
        }
        let asked = Asked {
            path: head.uri.path(),
            decoded,
            rest,
            query: head.uri.query(),
            regex: self.regex.as_ref(),
        };
        let target = |part: &Part| part.target.fill(&asked)?.parse().ok();
        let targets: Option<Vec<_>> = self.parts.iter().map(target).collect();
        let targets = targets.ok_or(Refusal::BadRequest("the path leads to no part of the answer"))?;
        keep(&mut head.headers, &self.headers, core);
        Ok(Wanted {
            gather: Rc::clone(self),
            targets,
        })
    }
}

pub(super) async fn answer(exchange: Box<Exchange>, wanted: Wanted, job: Job) -> Response<DownBody> {
    let gather = Rc::clone(&wanted.gather);
    let credentials = personal(&job.head.headers);
    let values = {
        let asks = gather.parts.iter().zip(wanted.targets);
        let asks = asks.map(|(part, target)| one(&exchange, part, target, &job.head.headers));
        all(asks.collect()).await
    };
    let parts: Vec<Outcome<'_>> = gather
        .parts
        .iter()
        .zip(values)
        .map(|(part, value)| Outcome {
            name: &part.name,
            on_failure: part.on_failure,
            value,
        })
        .collect();
    let page = match object::object(&parts) {
        Ok((text, missing)) => whole(text, &missing, credentials),
        Err((name, fault)) => {
            let message = format!("the part `{name}` of the answer failed: {}", fault.why);
            exchange.notice(fault.of_whole(), &message)
        }
    };
    exchange.give(page)
}

fn whole(text: String, missing: &[&str], credentials: bool) -> Response<Bytes> {
    let mut page = json(text, credentials);
    if !missing.is_empty()
        && let Ok(names) = HeaderValue::from_str(&missing.join(", "))
    {
        page.headers_mut().insert(PARTIAL, names);
    }
    page
}

type Ask<'a> = Pin<Box<dyn Future<Output = (Result<String, Fault>, bool)> + 'a>>;

/// One part's value, and whether the whole fails without it.
fn one<'a>(exchange: &Exchange, part: &'a Part, target: http::Uri, headers: &HeaderMap) -> Ask<'a> {
    let mut own = exchange.part(&part.group, part.timeout, Form::Json);
    let (mut head, ()) = Request::new(()).into_parts();
    head.uri = target;
    head.headers = headers.clone();
    let json = HeaderValue::from_static("application/json");
    head.headers.insert(header::ACCEPT, json);
    Box::pin(async move {
        let got = ask(&mut own, &head, None, part.timeout, part.most).await;
        let value = got
            .map_err(Fault::from)
            .and_then(|got| object::value(got.head.status(), &got.body));
        let fatal = value.is_err() && part.on_failure == OnFailure::Fail;
        (value, fatal)
    })
}

/// All values; those that are no more needed once the whole has failed are not waited for.
async fn all(mut asks: Vec<Ask<'_>>) -> Vec<Result<String, Fault>> {
    let mut values: Vec<Option<Result<String, Fault>>> = asks.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut fails = false;
        for (ask, value) in asks.iter_mut().zip(&mut values) {
            if value.is_none()
                && let Poll::Ready((found, fatal)) = ask.as_mut().poll(cx)
            {
                *value = Some(found);
                fails |= fatal;
            }
        }
        if fails || values.iter().all(Option::is_some) {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
    let unneeded = || Ok("null".to_owned());
    values
        .into_iter()
        .map(|value| value.unwrap_or_else(unneeded))
        .collect()
}
