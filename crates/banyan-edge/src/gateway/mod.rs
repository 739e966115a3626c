//! Routes that the edge answers by asking processes itself: `gather` makes one answer of several, `call` makes gRPC calls of
//! HTTP with JSON.
//!
//! Their answers are in memory as a whole, within bounds; `ask` sends one request, through the same choice of instances and
//! retries as any other.

mod ask;
mod call;
mod gather;
mod object;
mod target;

use std::collections::BTreeMap;
use std::sync::Arc;

use banyan_config::{Route, RouteAction};
use banyan_transcode::Api;
use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

use crate::core::Core;
use crate::exchange::{DownBody, Exchange};
use crate::request_body::ClientBody;

pub(crate) use call::Call;
pub(crate) use gather::Gather;
use target::{Asked, Target};

/// What a route makes of a request, found out before its headers are prepared.
pub(crate) enum Wanted {
    Gather(gather::Wanted),
    Call(call::Wanted),
}

/// The request with its headers as instances get them.
pub(crate) struct Job {
    pub head: Parts,
    pub body: ClientBody,
}

pub(crate) async fn answer(exchange: Box<Exchange>, wanted: Wanted, job: Job) -> Response<DownBody> {
    match wanted {
        Wanted::Gather(wanted) => gather::answer(exchange, wanted, job).await,
        Wanted::Call(wanted) => call::answer(exchange, wanted, job).await,
    }
}

/// The calls of each such route, by its name; `Err`: of which they cannot be compiled.
pub(crate) fn apis(routes: &[Route]) -> Result<BTreeMap<String, Arc<Api>>, String> {
    let mut apis = BTreeMap::new();
    for route in routes {
        if let RouteAction::Grpc(config) = &route.action {
            let api = Api::compile(&config.descriptors.0, &config.services, &config.bindings);
            let api = api.map_err(|_| format!("the descriptors of route {} do not compile", route.name))?;
            apis.insert(route.name.clone(), Arc::new(api));
        }
    }
    Ok(apis)
}

/// An answer that no cache gives to somebody else.
fn json(text: String, credentials: bool) -> Response<Bytes> {
    let mut page = Response::new(Bytes::from(text));
    let cache = if credentials {
        "private, no-cache"
    } else {
        "no-cache"
    };
    let headers = page.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    page
}

/// Whether a request comes with credentials.
fn personal(headers: &HeaderMap) -> bool {
    [header::AUTHORIZATION, header::COOKIE]
        .iter()
        .any(|name| headers.contains_key(name))
}

/// A target as it would be asked for, of a path as received; for `banyan-fuzz`.
pub(crate) fn fill(target: &str, path: &str, query: &str, regex: &regex::Regex) -> Option<String> {
    let decoded = crate::route::decode(path)?;
    Target::new(target).fill(&Asked {
        path,
        decoded: &decoded,
        rest: path,
        query: Some(query).filter(|query| !query.is_empty()),
        regex: Some(regex),
    })
}

/// What the edge itself reads or says; it is judged or replaced before an instance gets it.
const OWN: [HeaderName; 6] = [
    header::HOST,
    header::CONNECTION,
    header::FORWARDED,
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// Removes all other headers of the client.
fn keep(headers: &mut HeaderMap, listed: &[HeaderName], core: &Core) {
    let settings = core.settings();
    let deadline = settings.deadline_header.as_deref();
    let own = |name: &HeaderName| {
        OWN.contains(name)
            || name.as_str().starts_with("x-forwarded-")
            || deadline.is_some_and(|deadline| name.as_str().eq_ignore_ascii_case(deadline))
    };
    let others: Vec<HeaderName> = headers
        .keys()
        .filter(|name| !own(name) && !listed.contains(name))
        .cloned()
        .collect();
    for name in others {
        headers.remove(name);
    }
}
