//! The compiled routes of a snapshot and the one decision over them. Pure.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderName};
use regex::Regex;

use banyan_config::{PathMatch, REGEX_SIZE, Route};

use super::order::Rank;
use super::path;

/// Routes in the order in which they are asked; one with several domains is there once for each.
pub struct Table {
    routes: Vec<Route>,
    entries: Vec<Entry>,
}

pub(super) struct Entry {
    /// In `routes`.
    pub(super) route: usize,
    pub(super) rank: Rank,
    domain: Option<String>,
    regex: Option<Regex>,
    headers: Vec<(HeaderName, String)>,
}

/// A request as far as routes see it.
pub struct Asked<'a> {
    pub method: &'a str,
    /// The Host, with or without port.
    pub host: &'a str,
    /// As received, without query.
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
}

/// The path of a request, once for all routes.
pub(super) struct Seen<'a> {
    asked: &'a Asked<'a>,
    host: Cow<'a, str>,
    /// `None`: ambiguous.
    decoded: Option<Cow<'a, str>>,
}

/// Which route, or why none can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Its place in the table.
    Route(usize),
    /// To the edge's own process.
    Default,
    /// The path is ambiguous and no route takes it as received.
    Ambiguous,
}

impl Table {
    pub fn compile(routes: &[Route]) -> Result<Self, String> {
        let mut entries = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            let domains: Vec<Option<&str>> = if route.when.domains.is_empty() {
                vec![None]
            } else {
                route
                    .when
                    .domains
                    .iter()
                    .map(|domain| Some(domain.as_str()))
                    .collect()
            };
            for domain in domains {
                entries.push(Entry::new(route, index, domain)?);
            }
        }
        entries.sort_by_key(|entry| entry.rank);
        Ok(Self {
            routes: routes.to_vec(),
            entries,
        })
    }

    pub(crate) fn decide(&self, asked: &Asked<'_>) -> Decision {
        let seen = Seen::new(asked);
        let found = self
            .entries
            .iter()
            .find(|entry| entry.mismatch(&self.routes[entry.route], &seen).is_none());
        match found {
            Some(entry) => Decision::Route(entry.route),
            None if seen.decoded.is_none() => Decision::Ambiguous,
            None => Decision::Default,
        }
    }

    pub(crate) fn route(&self, index: usize) -> &Route {
        &self.routes[index]
    }

    pub(crate) fn len(&self) -> usize {
        self.routes.len()
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl<'a> Seen<'a> {
    pub(super) fn new(asked: &'a Asked<'a>) -> Self {
        Self {
            host: name_of(asked.host),
            decoded: path::decode(asked.path),
            asked,
        }
    }

    pub(super) fn is_ambiguous(&self) -> bool {
        self.decoded.is_none()
    }
}

/// Lower case, without port and last dot.
pub(super) fn name_of(host: &str) -> Cow<'_, str> {
    let name = match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

impl Entry {
    fn new(route: &Route, index: usize, domain: Option<&str>) -> Result<Self, String> {
        let regex = match &route.when.path {
            PathMatch::Regex(text) => Some(
                regex::RegexBuilder::new(text)
                    .size_limit(REGEX_SIZE)
                    .build()
                    .map_err(|error| format!("route {}: {error}", route.name))?,
            ),
            _ => None,
        };
        let header = |(name, value): (&String, &String)| {
            let name = name
                .parse()
                .map_err(|_| format!("route {}: `{name}` is no header", route.name))?;
            Ok((name, value.clone()))
        };
        Ok(Self {
            route: index,
            rank: Rank::of(&route.when, domain, index),
            domain: domain.map(str::to_owned),
            regex,
            headers: route
                .when
                .headers
                .iter()
                .map(header)
                .collect::<Result<_, String>>()?,
        })
    }

    pub(super) fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// The first condition that does not hold; `None`: it matches.
    pub(super) fn mismatch(&self, route: &Route, seen: &Seen<'_>) -> Option<Mismatch> {
        let when = &route.when;
        if !self.has_domain(&seen.host) {
            return Some(Mismatch::Domain);
        }
        if !when.methods.is_empty() && !when.methods.iter().any(|method| method == seen.asked.method) {
            return Some(Mismatch::Method);
        }
        let path = match (&seen.decoded, when.as_received) {
            (_, true) => seen.asked.path,
            (Some(decoded), false) => decoded,
            (None, false) => return Some(Mismatch::Ambiguous),
        };
        if !self.has_path(&when.path, path) {
            return Some(Mismatch::Path);
        }
        let headers = seen.asked.headers;
        let header = |(name, wanted): &&(HeaderName, String)| {
            headers
                .get_all(name)
                .iter()
                .any(|value| fits(wanted, value.as_bytes()))
        };
        if let Some((name, _)) = self.headers.iter().find(|pair| !header(pair)) {
            return Some(Mismatch::Header(name.clone()));
        }
        let cookie = |(name, wanted): &(&String, &String)| {
            cookie(headers, name, |value| fits(wanted, value.as_bytes()))
        };
        if let Some((name, _)) = when.cookies.iter().find(|pair| !cookie(pair)) {
            return Some(Mismatch::Cookie(name.clone()));
        }
        let query = |(name, wanted): &(&String, &String)| parameter(seen.asked.query, name, wanted);
        let (name, _) = when.query.iter().find(|pair| !query(pair))?;
        Some(Mismatch::Query(name.clone()))
    }

    fn has_domain(&self, host: &str) -> bool {
        match self.domain.as_deref() {
            None => true,
            Some(domain) => match domain.strip_prefix('*') {
                // `.example.org` behind at least one label.
                Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
                None => host == domain,
            },
        }
    }

    fn has_path(&self, wanted: &PathMatch, path: &str) -> bool {
        match wanted {
            PathMatch::Any => true,
            PathMatch::Exact(exact) => path == exact,
            PathMatch::Prefix(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            PathMatch::Regex(_) => self.regex.as_ref().is_some_and(|regex| regex.is_match(path)),
        }
    }
}

/// Why a route does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    Domain,
    Method,
    Ambiguous,
    Path,
    Header(HeaderName),
    Cookie(String),
    Query(String),
}

fn fits(wanted: &str, value: &[u8]) -> bool {
    wanted == "*" || wanted.as_bytes() == value
}

/// Whether any cookie of this name has a value that `accept`s.
pub(super) fn cookie<'a>(
    headers: &'a HeaderMap,
    name: &str,
    mut accept: impl FnMut(&'a str) -> bool,
) -> bool {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.split_once('='))
        .filter(|(found, _)| found.trim() == name)
        .any(|(_, value)| accept(value.trim().trim_matches('"')))
}

fn parameter(query: Option<&str>, name: &str, wanted: &str) -> bool {
    query.unwrap_or_default().split('&').any(|pair| {
        let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
        path::decode_query(found).is_some_and(|found| found == name)
            && path::decode_query(value).is_some_and(|value| fits(wanted, value.as_bytes()))
    })
}
