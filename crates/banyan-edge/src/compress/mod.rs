//! Answers that are compressed on their way: which, and what their heads then say (RFC 9110 §8.4, §12.5.3).
//!
//! Decided here, from heads alone; `body` does it, `encoder` knows the codings, `tags` what becomes of entity tags. An answer
//! that only one user may see is left as it is unless the configuration says otherwise: who can put text into a page and
//! see its size could guess secrets in it (BREACH).

mod body;
mod encoder;
mod tags;

use banyan_config::Coding;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};

use crate::accept_encoding::Accepted;

pub(crate) use body::CompressedBody;

/// Over these bytes as they are, an answer says more than its tag (RFC 9530, RFC 1864).
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// Of a route, or of the requests that no route takes.
pub(crate) struct Compress {
    codings: Vec<Coding>,
    types: Vec<String>,
    min: u64,
    max: u64,
    private: bool,
}

/// What a request says of it.
#[derive(Debug)]
pub(crate) struct Asked {
    coding: Option<Coding>,
    /// It came with credentials, so the answer may be for one user.
    personal: bool,
    pub head_only: bool,
    /// Its `If-None-Match` as it came, where it named compressed forms.
    tags: Option<String>,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    AsItIs,
    /// To others it would be compressed.
    Varies,
    Compressed(Coding),
}

impl Compress {
    pub(crate) fn new(config: &banyan_config::Compress) -> Self {
        Self {
            codings: config.codings.clone(),
            types: config.types.clone(),
            min: config.min,
            max: config.max,
            private: config.private,
        }
    }

    /// Reads a request's wishes, and takes marks out of its conditions: the application knows its own tags only.
    pub(crate) fn ask(&self, head: &mut Parts) -> Asked {
        let refused = says(&head.headers, "no-transform");
        let coding = if refused {
            None
        } else {
            Accepted::of(&head.headers).best(&self.codings)
        };
        let safe = [Method::GET, Method::HEAD].contains(&head.method);
        let known = coding.as_slice();
        let tags = plain(
            &mut head.headers,
            &header::IF_NONE_MATCH,
            if safe { known } else { &Coding::ALL },
        );
        // What is to be changed is the thing itself, however it was sent.
        plain(
            &mut head.headers,
            &header::IF_MATCH,
            if safe { known } else { &Coding::ALL },
        );
        let credentials = [header::AUTHORIZATION, header::COOKIE];
        Asked {
            coding,
            personal: credentials.iter().any(|name| head.headers.contains_key(name)),
            head_only: head.method == Method::HEAD,
            tags,
        }
    }

    /// `own`: made by the edge for everybody. `length`: of the body, if it is known.
    pub(crate) fn judge(
        &self,
        asked: &Asked,
        status: StatusCode,
        headers: &HeaderMap,
        own: bool,
        length: Option<u64>,
    ) -> Verdict {
        let bare = status.is_informational()
            || [
                StatusCode::NO_CONTENT,
                StatusCode::RESET_CONTENT,
                StatusCode::PARTIAL_CONTENT,
            ]
            .contains(&status);
        let coded = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
        if bare
            || headers.contains_key(header::CONTENT_RANGE)
            || headers.get(header::CONTENT_ENCODING).is_some_and(coded)
            || DIGESTS.iter().any(|name| headers.contains_key(name))
            || says(headers, "no-transform")
            || self.is_private(asked, headers, own)
        {
            return Verdict::AsItIs;
        }
        if status == StatusCode::NOT_MODIFIED {
            return Verdict::Varies;
        }
        let fits = length.is_none_or(|length| (self.min..=self.max).contains(&length));
        let kind = headers
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        if !fits || length == Some(0) || !kind.is_some_and(|kind| self.takes(kind)) {
            return Verdict::AsItIs;
        }
        asked.coding.map_or(Verdict::Varies, Verdict::Compressed)
    }

    fn is_private(&self, asked: &Asked, headers: &HeaderMap, own: bool) -> bool {
        let said =
            headers.contains_key(header::SET_COOKIE) || says(headers, "private") || says(headers, "no-store");
        let implied = asked.personal && !own && !says(headers, "public");
        !self.private && (said || implied)
    }

    fn takes(&self, content_type: &str) -> bool {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        let kind = kind.to_ascii_lowercase();
        let stream = kind == "text/event-stream";
        let mut types = self.types.iter();
        types.any(|wanted| *wanted == kind || (!stream && fits(wanted, &kind)))
    }
}

/// `text/*` or `application/*+json`.
fn fits(wanted: &str, kind: &str) -> bool {
    wanted
        .split_once('*')
        .is_some_and(|(begin, end)| kind.starts_with(begin) && kind[begin.len()..].ends_with(end))
}

/// Whether `Cache-Control` has this directive, with or without an argument.
fn says(headers: &HeaderMap, directive: &str) -> bool {
    let lines = headers.get_all(header::CACHE_CONTROL).iter();
    let mut each = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    each.any(|one| {
        let name = one.split('=').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case(directive)
    })
}

/// Takes the marks out of a condition; the first line of it as it came, if it had any.
fn plain(headers: &mut HeaderMap, name: &HeaderName, codings: &[Coding]) -> Option<String> {
    let mut before = None;
    for value in headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
    {
        if tags::unmarked(value, codings).is_some() {
            before.get_or_insert_with(String::new).push_str(value);
        }
    }
    before.as_ref()?;
    if let header::Entry::Occupied(mut lines) = headers.entry(name) {
        for line in lines.iter_mut() {
            let plain = line.to_str().ok().and_then(|text| tags::unmarked(text, codings));
            if let Some(plain) = plain.and_then(|plain| HeaderValue::try_from(plain).ok()) {
                *line = plain;
            }
        }
    }
    before
}

/// What the head of an answer says of it.
pub(crate) fn describe(asked: &Asked, verdict: Verdict, status: StatusCode, headers: &mut HeaderMap) {
    if verdict == Verdict::AsItIs {
        return;
    }
    vary(headers);
    match (verdict, asked.coding) {
        (Verdict::Compressed(coding), _) => {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
            headers.remove(header::CONTENT_LENGTH);
            // Of the plain form only.
            headers.remove(header::ACCEPT_RANGES);
            mark(headers, coding, |_| true);
        }
        // The client has the compressed form, and is told so by its name.
        (_, Some(coding)) if status == StatusCode::NOT_MODIFIED => {
            let asked = asked.tags.as_deref().unwrap_or_default();
            mark(headers, coding, |tag| asked.contains(tag));
        }
        _ => {}
    }
}

fn mark(headers: &mut HeaderMap, coding: Coding, wanted: impl Fn(&str) -> bool) {
    let tag = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
    let tag = tag
        .and_then(|tag| tags::marked(tag, coding))
        .filter(|tag| wanted(tag));
    if let Some(tag) = tag.and_then(|tag| HeaderValue::try_from(tag).ok()) {
        headers.insert(header::ETAG, tag);
    }
}

fn vary(headers: &mut HeaderMap) {
    let lines = headers.get_all(header::VARY).iter();
    let mut names = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    let said = names.any(|name| {
        let name = name.trim();
        name == "*" || name.eq_ignore_ascii_case("accept-encoding")
    });
    if !said {
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

#[cfg(test)]
mod tests;
