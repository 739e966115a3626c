//! Preconditions: the client's, judged on a stored response, and ours, sent to validate one (RFC 9110 §13, RFC 9111 §4.3).

use http::header::{
    ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::directive::members;
use crate::freshness::date;
use crate::head::{Asked, Etag, Head};
use crate::time::Time;

/// What the client already has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Send the response.
    Changed,
    /// 304.
    NotModified,
}

/// Judges `If-None-Match`, else `If-Modified-Since`, on a stored 200 (RFC 9110 §13.2.2).
pub fn judge(asked: Asked<'_>, head: &Head) -> Verdict {
    if !matches!(head.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        return Verdict::Changed;
    }
    let not_modified = if asked.headers.contains_key(IF_NONE_MATCH) {
        none_match(asked.headers, head)
    } else {
        unchanged_since(asked.headers, head)
    };
    if not_modified {
        Verdict::NotModified
    } else {
        Verdict::Changed
    }
}

fn none_match(headers: &HeaderMap, head: &Head) -> bool {
    let ours = head.etag();
    tags(headers).any(|tag| tag.opaque == b"*" || ours.is_some_and(|ours| ours.weakly_matches(tag)))
}

fn tags(headers: &HeaderMap) -> impl Iterator<Item = Etag<'_>> {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .flat_map(|line| members(line.as_bytes()))
        .filter_map(Etag::parse)
}

/// Against `Last-Modified`, else `Date`, else the time of receipt (RFC 9111 §4.3.2).
fn unchanged_since(headers: &HeaderMap, head: &Head) -> bool {
    let mut lines = headers.get_all(IF_MODIFIED_SINCE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return false;
    };
    let parse = |value: &HeaderValue| Time::parse(value.to_str().ok()?, head.received);
    let Some(since) = parse(line) else { return false };
    let changed = head
        .headers
        .get(LAST_MODIFIED)
        .and_then(parse)
        .unwrap_or_else(|| date(&head.headers, head.received));
    changed <= since
}

/// Conditions that only the origin can judge (RFC 9111 §4.3.2).
pub(crate) fn is_for_the_origin(headers: &HeaderMap) -> bool {
    headers.contains_key(IF_MATCH) || headers.contains_key(IF_UNMODIFIED_SINCE)
}

/// Whether a range may be answered from this response: no `If-Range`, or one that it meets (RFC 9110 §13.1.5).
pub(crate) fn range_applies(headers: &HeaderMap, head: &Head) -> bool {
    let Some(condition) = headers.get(IF_RANGE) else {
        return true;
    };
    let text = condition.as_bytes().trim_ascii();
    if text.starts_with(b"\"") || text.starts_with(b"W/") {
        let same = |ours: Etag<'_>| Etag::parse(text).is_some_and(|theirs| ours.strongly_matches(theirs));
        return head.etag().is_some_and(same);
    }
    let parse = |value: &HeaderValue| Time::parse(value.to_str().ok()?, head.received);
    match (parse(condition), head.headers.get(LAST_MODIFIED).and_then(parse)) {
        // A date is a strong validator only when it is a second old at least (RFC 9110 §8.8.2.2).
        (Some(theirs), Some(ours)) => theirs == ours && head.date.since(ours).as_secs() >= 1,
        _ => false,
    }
}

/// What a validating request carries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Conditions {
    pub if_none_match: Option<HeaderValue>,
    pub if_modified_since: Option<HeaderValue>,
}

impl Conditions {
    /// All stored tags of the key, then the client's; the date of the one that was chosen.
    pub fn of(asked: Asked<'_>, stored: &[&Head], chosen: &Head) -> Self {
        let mut list: Vec<&[u8]> = Vec::new();
        let ours = stored
            .iter()
            .filter_map(|head| head.headers.get(ETAG).map(HeaderValue::as_bytes));
        let theirs = asked
            .headers
            .get_all(IF_NONE_MATCH)
            .iter()
            .flat_map(|line| members(line.as_bytes()))
            .filter(|tag| *tag != b"*");
        for tag in ours.map(<[u8]>::trim_ascii).chain(theirs) {
            if !tag.is_empty() && !list.contains(&tag) {
                list.push(tag);
            }
        }
        // Theirs alone would validate a response that is not ours.
        let ours = chosen.has_validator();
        let joined = list.join(&b", "[..]);
        Self {
            if_none_match: (ours && !list.is_empty())
                .then(|| HeaderValue::from_bytes(&joined).ok())
                .flatten(),
            if_modified_since: chosen.headers.get(LAST_MODIFIED).cloned(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.if_none_match.is_none() && self.if_modified_since.is_none()
    }

    /// Puts them in place of the client's, which are judged later on what comes back.
    pub fn apply(&self, headers: &mut HeaderMap) {
        headers.remove(IF_NONE_MATCH);
        headers.remove(IF_MODIFIED_SINCE);
        headers.remove(IF_RANGE);
        headers.remove(http::header::RANGE);
        if let Some(tags) = &self.if_none_match {
            headers.insert(IF_NONE_MATCH, tags.clone());
        }
        if let Some(date) = &self.if_modified_since {
            headers.insert(IF_MODIFIED_SINCE, date.clone());
        }
    }
}
