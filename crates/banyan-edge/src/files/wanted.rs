//! What a request asks of a file, decided without touching one: which name, which encoding, which part, whether at all.
//!
//! RFC 9110: §12.5.3 (Accept-Encoding), §13 (conditions), §14 (ranges).

use std::cmp::Reverse;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use banyan_config::Coding;
use http::header::{self, HeaderMap};

use crate::accept_encoding::Accepted;

/// The one folder of hidden names that is meant for everybody (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// The file's relative path; `None`: no file has such a name, or a hidden one. `path` is decoded.
pub(super) fn relative(path: &str) -> Option<PathBuf> {
    let mut found = PathBuf::new();
    for (place, part) in path.split('/').filter(|part| !part.is_empty()).enumerate() {
        let hidden = part.starts_with('.') && !(place == 0 && part == WELL_KNOWN);
        if hidden || part.contains(['\\', '\0']) {
            return None;
        }
        found.push(part);
    }
    Some(found)
}

/// How a file that is stored beside itself in a coding ends.
pub(super) fn extension(coding: Coding) -> &'static str {
    match coding {
        Coding::Brotli => ".br",
        Coding::Zstd => ".zst",
        Coding::Gzip => ".gz",
    }
}

/// Those that the client takes, best first.
pub(super) fn codings(headers: &HeaderMap) -> Vec<Coding> {
    let accepted = Accepted::of(headers);
    let mut taken: Vec<Coding> = Coding::ALL
        .into_iter()
        .filter(|coding| accepted.weight(*coding) > 0)
        .collect();
    taken.sort_by_key(|coding| Reverse(accepted.weight(*coding)));
    taken
}

/// What the file is at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Strong, with its quotes.
    pub etag: String,
    pub modified: Option<SystemTime>,
    pub length: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// First and last byte.
    Range(u64, u64),
    NotModified,
    /// A condition of the client's does not hold.
    Failed,
    /// No byte of the range is there.
    Beyond,
}

/// In the order of RFC 9110 §13.2.2.
pub(super) fn part(headers: &HeaderMap, state: &State) -> Part {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let unchanged_since =
        |value: &str| Some(seconds(state.modified?)? <= seconds(httpdate::parse_http_date(value).ok()?)?);
    match (text(header::IF_MATCH), text(header::IF_UNMODIFIED_SINCE)) {
        (Some(tags), _) if !matches(tags, &state.etag, true) => return Part::Failed,
        (None, Some(date)) if unchanged_since(date) == Some(false) => return Part::Failed,
        _ => {}
    }
    match (text(header::IF_NONE_MATCH), text(header::IF_MODIFIED_SINCE)) {
        (Some(tags), _) if matches(tags, &state.etag, false) => return Part::NotModified,
        (None, Some(date)) if unchanged_since(date) == Some(true) => return Part::NotModified,
        _ => {}
    }
    let Some(range) = text(header::RANGE) else {
        return Part::Whole;
    };
    let still = match text(header::IF_RANGE) {
        None => true,
        Some(tag) if tag.starts_with('"') => tag == state.etag,
        Some(date) => {
            let date = httpdate::parse_http_date(date).ok().and_then(seconds);
            date.is_some() && date == state.modified.and_then(seconds)
        }
    };
    if still {
        one_range(range, state.length)
    } else {
        Part::Whole
    }
}

/// Several ranges, and what is no range, are answered in whole, as they may be.
fn one_range(text: &str, length: u64) -> Part {
    let parsed = text
        .strip_prefix("bytes=")
        .and_then(|range| range.trim().split_once('-'));
    let Some((first, last)) = parsed else {
        return Part::Whole;
    };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (None, Some(0)) if first.is_empty() => Part::Beyond,
        (None, Some(count)) if first.is_empty() && length > 0 => {
            Part::Range(length.saturating_sub(count), length - 1)
        }
        (Some(first), None) if last.is_empty() && first < length => Part::Range(first, length - 1),
        (Some(first), Some(last)) if first <= last && first < length => {
            Part::Range(first, last.min(length - 1))
        }
        (Some(first), Some(last)) if first <= last => Part::Beyond,
        (Some(_), None) if last.is_empty() => Part::Beyond,
        (None, Some(_)) if first.is_empty() => Part::Beyond,
        _ => Part::Whole,
    }
}

/// Dates of HTTP have whole seconds.
fn seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .map(|d: Duration| d.as_secs())
}

/// A list of entity tags, or `*`. `strong`: a weak one never matches.
fn matches(list: &str, etag: &str, strong: bool) -> bool {
    list.trim() == "*"
        || list
            .split(',')
            .map(str::trim)
            .any(|tag| match tag.strip_prefix("W/") {
                Some(weak) => !strong && weak == etag,
                None => tag == etag,
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_names_and_strange_ones_are_no_files() {
        let path = |text: &str| relative(text).map(|path| path.to_string_lossy().into_owned());
        assert_eq!(path("/a/b c.txt"), Some("a/b c.txt".to_owned()));
        assert_eq!(path("/"), Some(String::new()));
        assert_eq!(path("/.well-known/acme"), Some(".well-known/acme".to_owned()));
        for odd in [
            "/.git/config",
            "/a/.env",
            "/..",
            "/a/../b",
            "/a\\b",
            "/a\0b",
            "/x/.well-known/y",
        ] {
            assert_eq!(path(odd), None, "{odd}");
        }
    }

    #[test]
    fn codings_are_those_that_the_client_takes_best_first() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, text.parse().unwrap());
            codings(&headers)
                .iter()
                .map(|coding| coding.name())
                .collect::<Vec<_>>()
        };
        assert_eq!(of("gzip, deflate, br"), ["br", "gzip"]);
        assert_eq!(of("GZIP;q=0.5, br;q=0"), ["gzip"]);
        assert_eq!(of("*"), ["br", "zstd", "gzip"]);
        assert_eq!(of("*;q=0.1, zstd;q=0"), ["br", "gzip"]);
        assert_eq!(of("identity"), [""; 0]);
    }

    #[test]
    fn conditions_and_ranges_are_judged_in_their_order() {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let state = State {
            etag: "\"abc\"".to_owned(),
            modified: Some(modified),
            length: 100,
        };
        let then = "Sun, 06 Nov 1994 08:49:37 GMT";
        let before = "Sun, 06 Nov 1994 08:49:36 GMT";
        for (fields, expected) in [
            (vec![], Part::Whole),
            (vec![("if-none-match", "\"x\", W/\"abc\"")], Part::NotModified),
            (vec![("if-none-match", "*")], Part::NotModified),
            (
                vec![("if-none-match", "\"x\""), ("if-modified-since", then)],
                Part::Whole,
            ),
            (vec![("if-modified-since", then)], Part::NotModified),
            (vec![("if-modified-since", before)], Part::Whole),
            (vec![("if-match", "\"abc\"")], Part::Whole),
            (vec![("if-match", "W/\"abc\"")], Part::Failed),
            (vec![("if-unmodified-since", before)], Part::Failed),
            (vec![("range", "bytes=0-9")], Part::Range(0, 9)),
            (vec![("range", "bytes=90-")], Part::Range(90, 99)),
            (vec![("range", "bytes=-10")], Part::Range(90, 99)),
            (vec![("range", "bytes=-1000")], Part::Range(0, 99)),
            (vec![("range", "bytes=5-1000")], Part::Range(5, 99)),
            (vec![("range", "bytes=100-")], Part::Beyond),
            (vec![("range", "bytes=-0")], Part::Beyond),
            (vec![("range", "bytes=9-5")], Part::Whole),
            (vec![("range", "bytes=0-1,5-6")], Part::Whole),
            (vec![("range", "lines=0-1")], Part::Whole),
            (
                vec![("range", "bytes=0-9"), ("if-range", "\"abc\"")],
                Part::Range(0, 9),
            ),
            (
                vec![("range", "bytes=0-9"), ("if-range", "W/\"abc\"")],
                Part::Whole,
            ),
            (
                vec![("range", "bytes=0-9"), ("if-range", then)],
                Part::Range(0, 9),
            ),
            (vec![("range", "bytes=0-9"), ("if-range", before)], Part::Whole),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.insert(*name, value.parse().unwrap());
            }
            assert_eq!(part(&headers, &state), expected, "{fields:?}");
        }
        let empty = State { length: 0, ..state };
        let mut headers = HeaderMap::new();
        headers.insert("range", "bytes=-5".parse().unwrap());
        assert_eq!(part(&headers, &empty), Part::Beyond);
    }
}
