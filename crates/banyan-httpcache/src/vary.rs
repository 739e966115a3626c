//! Which of several stored responses a request selects (RFC 9111 §4.1).

use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, VARY};
use http::{HeaderMap, HeaderName};

use crate::directive::members;

/// What a response's `Vary` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Vary {
    /// Depends on more than header fields.
    Any,
    Fields(Vec<HeaderName>),
}

impl Vary {
    /// A name that is none can be no request's: the response is used for nobody else.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut fields = Vec::new();
        for line in headers.get_all(VARY) {
            for member in members(line.as_bytes()) {
                match HeaderName::from_bytes(member) {
                    Ok(_) if member == b"*" => return Self::Any,
                    Ok(name) => fields.push(name),
                    Err(_) => return Self::Any,
                }
            }
        }
        fields.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        fields.dedup();
        Self::Fields(fields)
    }
}

/// The fields that chose a response, as the first request had them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub struct Selection(Vec<(HeaderName, Option<Vec<u8>>)>);

impl Selection {
    /// Bytes of memory beside its own.
    pub fn size(&self) -> usize {
        let values = self.0.iter().flat_map(|(_, value)| value);
        size_of_val(&*self.0) + values.map(Vec::len).sum::<usize>()
    }

    pub fn of(fields: &[HeaderName], request: &HeaderMap, codings: &[String]) -> Self {
        let normal = fields
            .iter()
            .map(|name| (name.clone(), normal(name, request, codings)));
        Self(normal.collect())
    }

    /// Whether this request would have chosen the same.
    pub fn selects(&self, request: &HeaderMap, codings: &[String]) -> bool {
        self.0
            .iter()
            .all(|(name, value)| normal(name, request, codings) == *value)
    }

    /// What the same fields say in another request: requests with an equal one get the same response.
    #[must_use]
    pub fn in_another(&self, request: &HeaderMap, codings: &[String]) -> Self {
        let fields: Vec<HeaderName> = self.0.iter().map(|(name, _)| name.clone()).collect();
        Self::of(&fields, request, codings)
    }

    /// As [`Selection::written`] takes them.
    pub(crate) fn fields(&self) -> &[(HeaderName, Option<Vec<u8>>)] {
        &self.0
    }

    pub(crate) fn written(fields: Vec<(HeaderName, Option<Vec<u8>>)>) -> Self {
        Self(fields)
    }

    /// The fields that count.
    pub(crate) fn names(&self) -> Vec<&HeaderName> {
        self.0.iter().map(|(name, _)| name).collect()
    }

    /// `accept-language: de`; for people.
    pub fn words(&self) -> Vec<String> {
        let word = |(name, value): &(HeaderName, Option<Vec<u8>>)| match value {
            Some(value) => format!("{name}: {}", String::from_utf8_lossy(value)),
            None => format!("{name}: -"),
        };
        self.0.iter().map(word).collect()
    }

    /// The response is for everybody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A field's lines joined, without space around commas; `None`: absent, which equals only absent. Languages are compared
/// without case (RFC 9110 §8.5.1), their order counts: to many apps it is a preference.
fn normal(name: &HeaderName, request: &HeaderMap, codings: &[String]) -> Option<Vec<u8>> {
    if *name == ACCEPT_ENCODING && !codings.is_empty() {
        return request.contains_key(name).then(|| folded(request, codings));
    }
    let mut lines = request.get_all(name).iter().peekable();
    lines.peek()?;
    let members: Vec<&[u8]> = lines.flat_map(|line| members(line.as_bytes())).collect();
    let mut joined = members.join(&b","[..]);
    if *name == ACCEPT_LANGUAGE {
        joined.make_ascii_lowercase();
    }
    Some(joined)
}

/// The codings of ours that the client accepts: browsers differ in order and extras, not in what they get.
fn folded(request: &HeaderMap, codings: &[String]) -> Vec<u8> {
    let mut accepted: Vec<&str> = codings
        .iter()
        .map(String::as_str)
        .filter(|coding| accepts(request, coding))
        .collect();
    accepted.sort_unstable();
    if !accepts(request, "identity") {
        accepted.push("identity;q=0");
    }
    accepted.join(",").into_bytes()
}

/// Whether a coding is acceptable (RFC 9110 §12.5.3); `identity` is unless refused.
pub fn accepts(request: &HeaderMap, coding: &str) -> bool {
    let (mut named, mut any) = (None, None);
    for member in request
        .get_all(ACCEPT_ENCODING)
        .iter()
        .flat_map(|line| members(line.as_bytes()))
    {
        let Ok(member) = std::str::from_utf8(member) else {
            continue;
        };
        let mut parts = member.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts
            .filter_map(|part| part.split_once('='))
            .any(|(key, value)| key.trim().eq_ignore_ascii_case("q") && value.trim().parse() == Ok(0.0));
        if name.eq_ignore_ascii_case(coding) {
            named = Some(!refused);
        } else if name == "*" {
            any = Some(!refused);
        }
    }
    named.or(any).unwrap_or(coding == "identity")
}
