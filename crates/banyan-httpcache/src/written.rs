//! A head as bytes, for a store that outlives the process, and back. What does not read as one is none: nothing is guessed.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::freshness::Source;
use crate::head::{Extent, Head, Staleness};
use crate::range::Span;
use crate::time::Time;
use crate::vary::Selection;

const SOURCES: [Source; 8] = [
    Source::Targeted,
    Source::SharedMaxAge,
    Source::MaxAge,
    Source::Expires,
    Source::Rule,
    Source::Heuristic,
    Source::Negative,
    Source::None,
];

impl Head {
    pub fn to_bytes(&self) -> Vec<u8> {
        // Without `..`: a field that is not written is a warning here.
        let Self {
            status,
            headers,
            selection,
            extent,
            date,
            received,
            age,
            lifetime,
            source,
            staleness,
            always_validate,
            invalidated,
            tags,
        } = self;
        let mut out = Out(Vec::new());
        out.number(status.as_u16().into());
        out.number(headers.len() as u64);
        for (name, value) in headers {
            out.bytes(name.as_str().as_bytes());
            out.bytes(value.as_bytes());
        }
        out.number(selection.fields().len() as u64);
        for (name, value) in selection.fields() {
            out.bytes(name.as_str().as_bytes());
            out.flag(value.is_some());
            out.bytes(value.as_deref().unwrap_or_default());
        }
        let (spans, total) = match extent {
            Extent::Whole => (&[][..], u64::MAX),
            Extent::Parts { spans, total } => (spans.as_slice(), *total),
        };
        out.number(total);
        out.number(spans.len() as u64);
        for span in spans {
            out.number(span.first);
            out.number(span.last);
        }
        for time in [date, received] {
            out.number(time.millis().cast_unsigned());
        }
        for span in [age, lifetime] {
            out.span(*span);
        }
        let source = SOURCES.iter().position(|known| known == source);
        out.number(source.unwrap_or_default() as u64);
        match staleness {
            Staleness::Forbidden => out.flag(false),
            Staleness::Allowed {
                while_revalidate,
                if_error,
            } => {
                out.flag(true);
                out.span(*while_revalidate);
                out.span(*if_error);
            }
        }
        out.flag(*always_validate);
        out.flag(*invalidated);
        out.number(tags.len() as u64);
        tags.iter().for_each(|tag| out.bytes(tag.as_bytes()));
        out.0
    }

    /// `None`: they are no head.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut from = In(bytes);
        let status = StatusCode::from_u16(u16::try_from(from.number()?).ok()?).ok()?;
        let mut headers = HeaderMap::new();
        for _ in 0..from.count()? {
            let name = HeaderName::from_bytes(from.bytes()?).ok()?;
            headers.append(name, HeaderValue::from_bytes(from.bytes()?).ok()?);
        }
        let mut fields = Vec::new();
        for _ in 0..from.count()? {
            let name = HeaderName::from_bytes(from.bytes()?).ok()?;
            let there = from.flag()?;
            let value = from.bytes()?.to_vec();
            fields.push((name, there.then_some(value)));
        }
        let total = from.number()?;
        let mut spans = Vec::new();
        for _ in 0..from.count()? {
            let (first, last) = (from.number()?, from.number()?);
            (first <= last && last < total).then_some(())?;
            spans.push(Span { first, last });
        }
        let extent = if total == u64::MAX && spans.is_empty() {
            Extent::Whole
        } else {
            Extent::Parts { spans, total }
        };
        let date = Time::from_millis(from.number()?.cast_signed());
        let received = Time::from_millis(from.number()?.cast_signed());
        let (age, lifetime) = (from.span()?, from.span()?);
        let source = *SOURCES.get(usize::try_from(from.number()?).ok()?)?;
        let staleness = if from.flag()? {
            Staleness::Allowed {
                while_revalidate: from.span()?,
                if_error: from.span()?,
            }
        } else {
            Staleness::Forbidden
        };
        let (always_validate, invalidated) = (from.flag()?, from.flag()?);
        let mut tags = Vec::new();
        for _ in 0..from.count()? {
            tags.push(String::from_utf8(from.bytes()?.to_vec()).ok()?);
        }
        from.0.is_empty().then_some(Self {
            status,
            headers,
            selection: Selection::written(fields),
            extent,
            date,
            received,
            age,
            lifetime,
            source,
            staleness,
            always_validate,
            invalidated,
            tags,
        })
    }
}

struct Out(Vec<u8>);

impl Out {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn flag(&mut self, flag: bool) {
        self.0.push(u8::from(flag));
    }

    /// In milliseconds.
    fn span(&mut self, span: Duration) {
        self.number(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    /// Of things that take a byte at least: no more than there are bytes.
    fn count(&mut self) -> Option<u64> {
        let count = self.number()?;
        (count <= self.0.len() as u64).then_some(count)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.take(1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn span(&mut self) -> Option<Duration> {
        self.number().map(Duration::from_millis)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.number()?).ok()?;
        self.take(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        let mut headers = HeaderMap::new();
        for value in ["a", "b\u{e9}"] {
            headers.append("x-twice", HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let fields = [("accept", Some(b"text/html".to_vec())), ("accept-language", None)];
        let fields = fields.map(|(name, value)| (HeaderName::from_static(name), value));
        Head {
            status: StatusCode::OK,
            headers,
            selection: Selection::written(fields.to_vec()),
            extent: Extent::Parts {
                spans: vec![Span { first: 3, last: 9 }],
                total: 20,
            },
            date: Time::from_millis(-5),
            received: Time::from_millis(1_700_000_000_123),
            age: Duration::from_secs(7),
            lifetime: Duration::from_secs(60),
            source: Source::Heuristic,
            staleness: Staleness::Allowed {
                while_revalidate: Duration::from_secs(1),
                if_error: Duration::from_secs(2),
            },
            always_validate: false,
            invalidated: true,
            tags: vec!["news".to_owned(), "ü".to_owned()],
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let parts = head();
        let whole = Head {
            extent: Extent::Whole,
            staleness: Staleness::Forbidden,
            ..head()
        };
        for head in [parts, whole] {
            assert_eq!(Head::from_bytes(&head.to_bytes()), Some(head));
        }
    }

    #[test]
    fn what_is_cut_or_longer_is_no_head() {
        let bytes = head().to_bytes();
        for end in 0..bytes.len() {
            assert_eq!(Head::from_bytes(&bytes[..end]), None, "{end}");
        }
        assert_eq!(Head::from_bytes(&[bytes.as_slice(), &[0]].concat()), None);
    }
}
