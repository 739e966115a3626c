//! Requests that the cache does not answer: unsafe ones and what they make untrue, HEAD, what is not for sharing.

use std::rc::Rc;

use http::header::HOST;
use http::request::Parts;
use http::{Method, StatusCode, Uri};

use banyan_httpcache::{Answered, Key, Query, Scope, Why, invalidates};

use super::hop::Wish;
use super::serve::Reply;
use super::{Asked, Name, answer, hop, origin, tag_of};
use crate::exchange::Exchange;
use crate::forward;
use crate::forward::body::Source;
use crate::headers::{came_by_https, strip_hop_by_hop};
use crate::respond::Refusal;

/// Not for the cache; what it makes untrue is noted.
pub(super) async fn pass(
    exchange: &mut Exchange,
    asked: &Asked,
    head: &Parts,
    source: Option<&Rc<Source>>,
) -> Result<Reply, Refusal> {
    let reads = [Method::GET, Method::HEAD].contains(&head.method);
    let mut response = if reads {
        // What this edge knows of the client and another would not: nobody else is to keep it.
        forward::send(exchange, head, source).await?
    } else {
        // Which of several edges that are the shield together.
        let rule = asked.cache.rules.of(asked.uri.path());
        let counts = rule.map_or(&Query::All, |rule| &rule.query);
        let key = asked.cache.hop.as_ref().and_then(|_| asked.key(head, counts));
        let wish = Wish {
            uri: &asked.uri,
            key: key.as_ref().map_or("", Key::as_str),
            untrue: false,
        };
        hop::send(exchange, &asked.cache, wish, head, source).await?
    };
    let why = if reads {
        Why::Rule
    } else {
        invalidate(exchange, asked, head, &response);
        Why::Method
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS && !exchange.is_grpc() {
        answer::forwarded(exchange, None, response.headers_mut(), why, Err(why), None);
    }
    Ok(Reply::Instance(response))
}

/// RFC 9111 §4.4, RFC 9875 §3.
fn invalidate(exchange: &Exchange, asked: &Asked, head: &Parts, response: &forward::Answer) {
    let answered = Answered {
        status: response.status(),
        headers: response.headers(),
    };
    let scheme = if came_by_https(&head.headers) {
        "https"
    } else {
        "http"
    };
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let path = asked.uri.path_and_query().map_or("/", |path| path.as_str());
    let target = host.and_then(|host| format!("{scheme}://{host}{path}").parse::<Uri>().ok());
    let (Some(host), Some(target)) = (host, target) else {
        return;
    };
    let cache = &asked.cache;
    let now = cache.store.steady.now(exchange.core.clock).time;
    let key = |path: &str, query: Option<&str>| {
        let rule = cache.rules.of(path)?;
        Some(Key::new(scheme, host, path, query, &rule.query, &[]))
    };
    for scope in invalidates(&head.method, &target, answered) {
        match scope {
            Scope::Uri(uri) => {
                let (path, query) = match uri.split_once('?') {
                    Some((path, query)) => (path, Some(query)),
                    None => (uri.as_str(), None),
                };
                if let Some(key) = key(path, query) {
                    cache.store.invalidate(key.as_str(), now);
                }
            }
            Scope::Tag(tag) => {
                if let Some(origin) = key("/", None) {
                    cache.store.invalidate_tag(tag_of(origin.as_str(), &tag), now);
                }
            }
        }
    }
}

pub(super) async fn ask_head(exchange: &mut Exchange, name: &Name, head: &Parts) -> Result<Reply, Refusal> {
    let asking = name.cache.store.ask(&name.uri);
    let sent = name.now(exchange);
    let mut response = name.send(exchange, head).await?;
    let times = name.times(exchange, sent);
    strip_hop_by_hop(response.headers_mut());
    origin::after(name, head, &response, asking.born, times);
    answer::forwarded(
        exchange,
        None,
        response.headers_mut(),
        Why::Method,
        Err(Why::Method),
        None,
    );
    Ok(Reply::Instance(response))
}
