//! Routes that the edge answers by asking processes itself: `gather` makes one answer of several.
//!
//! Their answers are in memory as a whole, within bounds; `ask` sends one request, through the same choice of instances and
//! retries as any other.

mod ask;
mod gather;
mod object;
mod target;

use http::Response;
use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;

use crate::core::Core;
use crate::exchange::{DownBody, Exchange};

pub(crate) use gather::Gather;
use target::{Asked, Target};

/// What a route makes of a request, found out before its headers are prepared.
pub(crate) enum Wanted {
    Gather(gather::Wanted),
}

/// The request with its headers as instances get them.
pub(crate) struct Job {
    pub head: Parts,
}

pub(crate) async fn answer(exchange: Exchange, wanted: Wanted, job: Job) -> Response<DownBody> {
    match wanted {
        Wanted::Gather(wanted) => gather::answer(exchange, wanted, job).await,
    }
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
