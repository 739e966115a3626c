//! Byte ranges: what was asked, what is stored, what is missing (RFC 9110 §14, RFC 9111 §3.3 and §3.4).

use http::HeaderMap;
use http::header::{CONTENT_RANGE, RANGE};

/// More ranges in one request than this are answered whole.
const MOST: usize = 16;

/// Bytes from `first` to `last`, both included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Span {
    pub first: u64,
    pub last: u64,
}

impl Span {
    pub const fn length(self) -> u64 {
        self.last - self.first + 1
    }

    pub fn holds(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

/// What a `Range` field asks of a body of known length.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Requested {
    /// No range, or one to be ignored: bad syntax, another unit, too many.
    Whole,
    /// In the order asked; overlapping and touching ones are one.
    Spans(Vec<Span>),
    NotSatisfiable,
}

/// Reads `Range` (RFC 9110 §14.2).
pub fn requested(headers: &HeaderMap, total: u64) -> Requested {
    let mut lines = headers.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Requested::Whole;
    };
    let Some(asked) = line.to_str().ok().and_then(parse) else {
        return Requested::Whole;
    };
    if asked.len() > MOST {
        return Requested::Whole;
    }
    let spans: Vec<Span> = asked.iter().filter_map(|range| range.within(total)).collect();
    if spans.is_empty() {
        return Requested::NotSatisfiable;
    }
    Requested::Spans(coalesced(spans))
}

#[derive(Clone, Copy)]
enum Range {
    From(u64),
    Between(Span),
    Last(u64),
}

impl Range {
    fn within(self, total: u64) -> Option<Span> {
        let end = total.checked_sub(1)?;
        match self {
            Self::From(first) => (first <= end).then_some(Span { first, last: end }),
            Self::Between(span) => (span.first <= end).then_some(Span {
                first: span.first,
                last: span.last.min(end),
            }),
            Self::Last(0) => None,
            Self::Last(count) => Some(Span {
                first: total.saturating_sub(count),
                last: end,
            }),
        }
    }
}

fn parse(text: &str) -> Option<Vec<Range>> {
    let (unit, set) = text.trim().split_once('=')?;
    unit.eq_ignore_ascii_case("bytes").then_some(())?;
    let ranges: Option<Vec<Range>> = set
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(range)
        .collect();
    ranges.filter(|ranges| !ranges.is_empty())
}

fn range(text: &str) -> Option<Range> {
    let (first, last) = text.split_once('-')?;
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Range::Last(number(last)?)),
        (false, true) => Some(Range::From(number(first)?)),
        (false, false) => {
            let span = Span {
                first: number(first)?,
                last: number(last)?,
            };
            (span.first <= span.last).then_some(Range::Between(span))
        }
    }
}

/// A number too large for any body is as good as the largest.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// `Content-Range: bytes 0-499/1234`; `None` without a known length.
pub fn content_range(headers: &HeaderMap) -> Option<(Span, u64)> {
    let mut lines = headers.get_all(CONTENT_RANGE).iter();
    let (text, None) = (lines.next()?.to_str().ok()?, lines.next()) else {
        return None;
    };
    let (unit, rest) = text.trim().split_once(' ')?;
    unit.eq_ignore_ascii_case("bytes").then_some(())?;
    let (span, total) = rest.trim().split_once('/')?;
    let (first, last) = span.split_once('-')?;
    let span = Span {
        first: exact(first)?,
        last: exact(last)?,
    };
    let total = exact(total)?;
    (span.first <= span.last && span.last < total).then_some((span, total))
}

fn exact(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// Spans that overlap or touch become one, at the place of the first.
fn coalesced(spans: Vec<Span>) -> Vec<Span> {
    let mut kept: Vec<Span> = Vec::with_capacity(spans.len());
    for mut span in spans {
        let mut place = None;
        let mut at = 0;
        while at < kept.len() {
            let other = kept[at];
            let apart =
                span.first > other.last.saturating_add(1) || other.first > span.last.saturating_add(1);
            if apart {
                at += 1;
                continue;
            }
            span = Span {
                first: span.first.min(other.first),
                last: span.last.max(other.last),
            };
            kept.remove(at);
            place = Some(place.map_or(at, |place: usize| place.min(at)));
            // What was kept apart before may touch the grown one.
            at = 0;
        }
        kept.insert(place.unwrap_or(kept.len()).min(kept.len()), span);
    }
    kept
}

/// Ordered spans with another one added.
pub fn joined(spans: &[Span], new: Span) -> Vec<Span> {
    let mut all = coalesced(spans.iter().copied().chain([new]).collect());
    all.sort_unstable();
    all
}

/// Whether the stored parts hold all of a span.
pub fn holds(spans: &[Span], wanted: Span) -> bool {
    spans.iter().any(|span| span.holds(wanted))
}

/// What the ordered stored parts lack of a span.
pub fn gaps(spans: &[Span], wanted: Span) -> Vec<Span> {
    let mut missing = Vec::new();
    let mut next = wanted.first;
    for span in spans.iter().filter(|span| span.last >= wanted.first) {
        if span.first > wanted.last {
            break;
        }
        if span.first > next {
            missing.push(Span {
                first: next,
                last: span.first - 1,
            });
        }
        next = next.max(span.last.saturating_add(1));
    }
    if next <= wanted.last {
        missing.push(Span {
            first: next,
            last: wanted.last,
        });
    }
    missing
}
