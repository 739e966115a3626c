//! What a validation brings back: a 304 that renews stored responses, or a HEAD that tells about them
//! (RFC 9111 §4.3.4, §4.3.5).

use http::header::{CONTENT_LENGTH, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::admit::{Admit, admit};
use crate::answer::OF_THE_BODY;
use crate::directive;
use crate::head::{Answered, Asked, Etag, Extent, Head, Times, storable};
use crate::policy::Policy;

/// What became of one stored response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Freshened {
    /// It has nothing to do with this 304.
    Untouched,
    Renewed(Box<Head>),
    /// The 304 says that it may be kept no longer (`no-store`, another `Vary`): answer this request from it, then drop it.
    Dropped,
}

/// Applies a 304 to the stored responses of a key, one verdict each. All untouched: the 304 was for a tag that only
/// the client has, or matches nothing.
pub fn freshen(
    asked: Asked<'_>,
    stored: &[&Head],
    not_modified: &HeaderMap,
    policy: &Policy,
    times: Times,
) -> Vec<Freshened> {
    let chosen = matching(stored, not_modified);
    let renewed = stored.iter().enumerate().map(|(index, head)| {
        if chosen.contains(&index) {
            renew(asked, head, not_modified, policy, times)
        } else {
            Freshened::Untouched
        }
    });
    renewed.collect()
}

/// Strong tag: all that have it. Weak tag, or a date alone: the newest that has it. Neither: only a single response
/// without validator.
fn matching(stored: &[&Head], not_modified: &HeaderMap) -> Vec<usize> {
    let tag = not_modified
        .get(ETAG)
        .and_then(|value| Etag::parse(value.as_bytes()));
    let date = not_modified.get(LAST_MODIFIED);
    let having = |test: &dyn Fn(&Head) -> bool| -> Vec<usize> {
        let all = stored.iter().enumerate();
        all.filter(|(_, head)| test(head))
            .map(|(index, _)| index)
            .collect()
    };
    let newest = |mut found: Vec<usize>| {
        found.sort_by_key(|index| stored[*index].date);
        found.split_off(found.len().saturating_sub(1))
    };
    match (tag, date) {
        (Some(tag), _) if !tag.weak => {
            having(&|head| head.etag().is_some_and(|ours| ours.strongly_matches(tag)))
        }
        (Some(tag), _) => newest(having(&|head| {
            head.etag().is_some_and(|ours| ours.weakly_matches(tag))
        })),
        (None, Some(date)) => newest(having(&|head| head.headers.get(LAST_MODIFIED) == Some(date))),
        // Which one was meant is clear only when there is one.
        (None, None) if stored.len() == 1 => vec![0],
        (None, None) => Vec::new(),
    }
}

fn renew(
    asked: Asked<'_>,
    head: &Head,
    not_modified: &HeaderMap,
    policy: &Policy,
    times: Times,
) -> Freshened {
    let mut headers = head.headers.clone();
    let news = storable(not_modified, &directive::Response::of(not_modified));
    for name in news.keys().filter(|name| !OF_THE_BODY.contains(name)) {
        headers.remove(name);
        for value in news.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    // Its age is counted anew, from this exchange.
    if !not_modified.contains_key(http::header::AGE) {
        headers.remove(http::header::AGE);
    }
    if !not_modified.contains_key(http::header::DATE) {
        headers.remove(http::header::DATE);
    }
    let answered = Answered {
        status: head.status,
        headers: &headers,
    };
    // Whoever asks now, it was stored as something for all.
    let mut fields = asked.headers.clone();
    fields.remove(http::header::COOKIE);
    let asked = Asked {
        method: &Method::GET,
        headers: &fields,
    };
    match admit(asked, answered, policy, times) {
        Admit::Yes(new) => {
            let extent = head.extent.clone();
            let selection = head.selection.clone();
            let same_vary = new.selection.names() == selection.names();
            if !same_vary {
                return Freshened::Dropped;
            }
            Freshened::Renewed(Box::new(Head {
                extent,
                selection,
                ..*new
            }))
        }
        Admit::No(_) => Freshened::Dropped,
    }
}

/// What a forwarded HEAD says of a stored GET.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AfterHead {
    Untouched,
    Renewed(Box<Head>),
    /// Another representation is there now: validated before its next use.
    Outdated,
}

/// A 200 to HEAD with equal validators and length renews the stored response, with others outdates it.
pub fn after_head(
    asked: Asked<'_>,
    head: &Head,
    length: u64,
    answered: Answered<'_>,
    policy: &Policy,
    times: Times,
) -> AfterHead {
    if answered.status != StatusCode::OK || head.extent != Extent::Whole {
        return AfterHead::Untouched;
    }
    let same = |name: &HeaderName| match (answered.headers.get(name), head.headers.get(name)) {
        (Some(new), Some(old)) => new == old,
        (Some(_), None) | (None, _) => true,
    };
    let stated = answered
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let same_length = stated.is_none_or(|text| text.parse() == Ok(length));
    if !(same(&ETAG) && same(&LAST_MODIFIED) && same_length) {
        return AfterHead::Outdated;
    }
    match renew(asked, head, answered.headers, policy, times) {
        Freshened::Renewed(new) => AfterHead::Renewed(new),
        Freshened::Dropped => AfterHead::Outdated,
        Freshened::Untouched => AfterHead::Untouched,
    }
}
