//! Cross-origin requests, by the CORS protocol (Fetch standard §3.3): pre-flights are answered here, and every answer says
//! whose pages may read it.
//!
//! What an instance says about it is taken out: two answers to one question are none. `*` is said only when every origin is
//! allowed without credentials; else the origin is named and `Vary: Origin` set, also on answers to requests without one,
//! because caches keep those, too.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};

const OURS: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];
const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");
/// More is not asked by honest pages.
const LONGEST_ASKED: usize = 4096;

pub(super) struct Cors {
    origins: Origins,
    methods: HeaderValue,
    /// `None`: whatever is asked for.
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
}

enum Origins {
    Any,
    Listed { whole: Vec<String>, below: Vec<Below> },
}

/// `https://*.example.org:8443`: what stands in front of and behind the names.
struct Below {
    front: String,
    behind: String,
}

impl Cors {
    pub(super) fn new(cors: &banyan_config::Cors) -> Option<Self> {
        let list = |names: &[String]| HeaderValue::from_str(&names.join(", ")).ok();
        let any = |names: &[String]| names.iter().any(|name| name == "*");
        Some(Self {
            origins: if any(&cors.origins) {
                Origins::Any
            } else {
                Origins::listed(&cors.origins)
            },
            methods: list(&cors.methods)?,
            headers: if any(&cors.headers) {
                None
            } else {
                Some(list(&cors.headers)?)
            },
            expose: if cors.expose.is_empty() {
                None
            } else {
                list(&cors.expose)
            },
            credentials: cors.credentials,
            max_age: HeaderValue::from(cors.max_age.as_secs()),
        })
    }

    /// The origin of a request, if its pages may read the answer.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut all = headers.get_all(header::ORIGIN).iter();
        let origin = all.next()?;
        if all.next().is_some() {
            return None;
        }
        let text = origin.to_str().ok()?;
        self.origins.admit(text).then(|| origin.clone())
    }

    /// Whether a browser asks if it may ask.
    pub(super) fn is_preflight(head: &Parts) -> bool {
        head.method == Method::OPTIONS
            && head.headers.contains_key(header::ORIGIN)
            && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// What [`Cors::answer`] does not say anyway.
    pub(super) fn preflight(&self, head: &Parts) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        let asked = head.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        let asked = asked.filter(|asked| asked.len() <= LONGEST_ASKED && are_names(asked));
        if let Some(allowed) = self.headers.as_ref().or(asked) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed.clone());
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        headers.append(
            header::VARY,
            HeaderValue::from_static("Access-Control-Request-Method, Access-Control-Request-Headers"),
        );
        response
    }

    /// Takes out what an instance says.
    pub(super) fn strip(headers: &mut HeaderMap) {
        for name in &OURS {
            headers.remove(name);
        }
    }

    /// `origin`: one that may read this answer.
    pub(super) fn answer(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let plain = matches!(self.origins, Origins::Any) && !self.credentials;
        if !plain {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = origin else { return };
        let origin = if plain { ANY } else { origin.clone() };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        if let Some(expose) = &self.expose {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }
}

impl Origins {
    fn listed(origins: &[String]) -> Self {
        let (mut whole, mut below) = (Vec::new(), Vec::new());
        for origin in origins {
            match origin.split_once("*.") {
                Some((front, behind)) => below.push(Below {
                    front: front.to_owned(),
                    behind: format!(".{behind}"),
                }),
                None => whole.push(origin.clone()),
            }
        }
        Self::Listed { whole, below }
    }

    fn admit(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed { whole, below } => {
                whole.iter().any(|one| one == origin) || below.iter().any(|below| below.admits(origin))
            }
        }
    }
}

impl Below {
    /// At least one label, and nothing that is none: `https://evil.example/.shop.example` is no name below.
    fn admits(&self, origin: &str) -> bool {
        let names = origin
            .strip_prefix(&self.front)
            .and_then(|rest| rest.strip_suffix(&self.behind));
        let is_label = |label: &str| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        };
        names.is_some_and(|names| names.split('.').all(is_label))
    }
}

fn are_names(value: &HeaderValue) -> bool {
    let name = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~, ".contains(b);
    value.as_bytes().iter().all(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_whole_and_wildcards_by_labels() {
        let origins = [
            "https://shop.example",
            "https://*.shop.example",
            "http://*.dev.example:8080",
        ];
        let origins = Origins::listed(&origins.map(str::to_owned));
        for (origin, expected) in [
            ("https://shop.example", true),
            ("https://a.shop.example", true),
            ("https://a.b.shop.example", true),
            ("http://x.dev.example:8080", true),
            ("http://shop.example", false),
            ("https://shop.example:8443", false),
            ("https://shop.example.evil.example", false),
            ("https://evilshop.example", false),
            ("https://.shop.example", false),
            ("https://evil.example/.shop.example", false),
            ("https://evil.example:1.shop.example", false),
            ("https://user@a.shop.example", false),
            ("http://x.dev.example", false),
            ("null", false),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(origins.admit(origin), expected, "{origin}");
        }
    }
}
