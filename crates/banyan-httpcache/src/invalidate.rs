//! What an unsafe request makes untrue (RFC 9111 §4.4, RFC 9875 §3).

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{Method, Uri};

use crate::head::Answered;
use crate::tags;

/// Stored responses that must be validated before their next use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// All responses of this URI: path and query.
    Uri(String),
    /// All responses of the origin with this tag.
    Tag(String),
}

/// What a response to a request for `target` invalidates. Nothing for safe methods, errors and other origins.
///
/// `target` is the absolute URI that was asked for.
pub fn invalidates(method: &Method, target: &Uri, answered: Answered<'_>) -> Vec<Scope> {
    let safe = matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    );
    if safe || !(answered.status.is_success() || answered.status.is_redirection()) {
        return Vec::new();
    }
    let mut scopes = vec![Scope::Uri(path(target))];
    for name in [LOCATION, CONTENT_LOCATION] {
        let text = answered.headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(path) = text.and_then(|text| resolved(target, text))
            && !scopes.contains(&Scope::Uri(path.clone()))
        {
            scopes.push(Scope::Uri(path));
        }
    }
    scopes.extend(tags::invalidated(answered.headers).into_iter().map(Scope::Tag));
    scopes
}

fn path(uri: &Uri) -> String {
    uri.path_and_query()
        .map_or_else(|| "/".to_owned(), |path| path.as_str().to_owned())
}

/// Path and query of a reference, if it stays at this origin (RFC 3986 §5.2).
fn resolved(target: &Uri, reference: &str) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or_default();
    if reference.is_empty() {
        return None;
    }
    if reference.contains("://") || reference.starts_with("//") {
        let absolute = match reference.strip_prefix("//") {
            Some(rest) => format!("{}://{rest}", target.scheme_str().unwrap_or("http")),
            None => reference.to_owned(),
        };
        let uri: Uri = absolute.parse().ok()?;
        return same_origin(target, &uri).then(|| path(&uri));
    }
    if reference.starts_with('/') {
        return Some(without_dots(reference));
    }
    if let Some(query) = reference.strip_prefix('?') {
        return Some(format!("{}?{query}", target.path()));
    }
    let folder = target.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    Some(without_dots(&format!("{folder}/{reference}")))
}

fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| {
        uri.port_u16().or(match uri.scheme_str() {
            Some("https") => Some(443),
            _ => Some(80),
        })
    };
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    a.scheme_str() == b.scheme_str() && host(a) == host(b) && port(a) == port(b)
}

/// Dot segments removed (RFC 3986 §5.2.4), the query left alone.
fn without_dots(reference: &str) -> String {
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        match *segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    let path = format!("/{}", kept.join("/"));
    query.map_or(path.clone(), |query| format!("{path}?{query}"))
}
