//! Puts files into the store ahead of time, under the URLs and for the routes that clients will ask by, as if the app had
//! answered with them.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use banyan_config::{Cache as Settings, RouteAction};
use banyan_httpcache::freshness::Source;
use banyan_httpcache::{Admit, Answered, Time, Times, admit};
use banyan_topology::sight::Push;
use banyan_topology::snapshot::EdgeSnapshot;

use super::kept::Kept;
use super::object::Object;
use super::purge::{key, parts};
use super::rules::Rules;
use super::{Shared, origin_of, presented, tag_of};
use crate::files::content_type;
use crate::route::{Asked, Decision, Table};

/// For how many seconds it is fresh. `Err`: why it is not kept.
pub(crate) fn push(
    (settings, snapshot): (&Settings, &EdgeSnapshot),
    shared: &Shared,
    push: &Push,
    body: Bytes,
    now: Time,
) -> Result<i64, String> {
    let store = &shared.store;
    let (_, _, path, _) = parts(&push.url);
    let rules = Rules::compile(settings);
    let rule = rules
        .of(path)
        .ok_or("the path can be read in two ways, so nothing under it is kept")?;
    if !rule.store {
        return Err("its rule says store = false".to_owned());
    }
    if body.len() as u64 > store.largest() {
        return Err(format!(
            "{} bytes are more than an eighth of `memory` in [edge.cache]",
            body.len()
        ));
    }
    let sides = sides(snapshot, &push.url)?;
    let headers = fields(push, path)?;
    let policy = rule.policy_for(&headers);
    let request = HeaderMap::new();
    let answered = Answered {
        status: StatusCode::OK,
        headers: &headers,
    };
    let times = Times {
        sent: now,
        received: now,
    };
    let head = match admit(presented(&Method::GET, &request), answered, policy, times) {
        // A guess from a file's date is no word of how long.
        Admit::Yes(head) if !head.lifetime.is_zero() && head.source != Source::Heuristic => *head,
        Admit::Yes(_) => {
            return Err(
                "nothing says how long it is fresh: give --cache-control, or its path a rule with `ttl`"
                    .to_owned(),
            );
        }
        Admit::No(why) => return Err(format!("it is not kept: {why}")),
    };
    let key = key(&push.url, &rule.query);
    let tags: Vec<String> = head.tags.iter().map(|tag| tag_of(origin_of(&key), tag)).collect();
    let asking = store.ask(&key);
    let kept = Arc::new(Kept::new(vec![(0, body)], None));
    let ttl = head.ttl_at(now);
    for side in sides {
        let marks = store.marks(&key, &tags, asking.born);
        let object = Object::new(head.clone(), side.into(), Arc::clone(&kept), marks);
        store.insert(&key, Arc::new(object), None);
    }
    Ok(ttl)
}

/// As an app would say it of the file.
fn fields(push: &Push, path: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let value =
        |text: &str| HeaderValue::from_str(text).map_err(|_| format!("`{text}` cannot be in a header"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    headers.insert(
        ETAG,
        value(&format!("\"{}\"", &push.sha256[..32.min(push.sha256.len())]))?,
    );
    if let Some(seconds) = push.modified {
        headers.insert(LAST_MODIFIED, value(&Time::from_seconds(seconds).to_string())?);
    }
    if let Some(text) = &push.cache_control {
        headers.insert(CACHE_CONTROL, value(text)?);
    }
    Ok(headers)
}

/// Whose answers a GET of this URL gets, as what is stored is told apart by.
fn sides(snapshot: &EdgeSnapshot, url: &str) -> Result<Vec<String>, String> {
    let (_, host, path, query) = parts(url);
    let table = Table::compile(&snapshot.routes)?;
    let asked = Asked {
        method: "GET",
        host,
        path: if path.is_empty() { "/" } else { path },
        query,
        headers: &HeaderMap::new(),
    };
    let route = match table.decide(&asked) {
        Decision::Default => return Ok(vec![String::new()]),
        Decision::Ambiguous => return Err("the path can be read in two ways".to_owned()),
        Decision::Route(index) => table.route(index),
    };
    let name = &route.name;
    match &route.action {
        RouteAction::Process(forward) => {
            let shares = forward.shares.iter().filter(|share| share.weight > 0);
            Ok(shares.map(|share| format!("{name}\n{}", share.process)).collect())
        }
        RouteAction::Origin(_) => Ok(vec![format!("{name}\n{}", snapshot.upstream.process)]),
        _ => Err(format!("route {name} answers it itself: nothing of it is kept")),
    }
}
