//! A stored body, or one that is on its way, as the body of an answer: whole, in parts, or several parts in one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

use banyan_httpcache::range::Span;

use super::disk::body::Reading;
use super::flow::{End, Place, Read};
use super::kept::Kept;
use crate::forward::http1::Broke;

pub(crate) struct Reader {
    source: Source,
    segments: VecDeque<Segment>,
    /// `None`: nobody knows, or trailers follow.
    left: Option<u64>,
    /// The body's trailers belong to the answer.
    trailers: bool,
}

enum Source {
    Kept(Arc<Kept>),
    File(Reading),
    Flow(Place),
    Nothing,
}

enum Segment {
    Text(Bytes),
    /// `end` is behind the last byte; `None`: whatever comes.
    Bytes {
        next: u64,
        end: Option<u64>,
    },
}

impl Reader {
    pub(crate) fn nothing() -> Self {
        Self {
            source: Source::Nothing,
            segments: VecDeque::new(),
            left: Some(0),
            trailers: false,
        }
    }

    pub(crate) fn whole(body: &Arc<Kept>, total: u64) -> Self {
        let trailers = body.trailers.is_some();
        let whole = Segment::Bytes {
            next: 0,
            end: Some(total),
        };
        Self {
            left: (!trailers).then_some(total),
            trailers,
            ..Self::of(Source::stored(body), [whole])
        }
    }

    pub(crate) fn part(body: &Arc<Kept>, span: Span) -> Self {
        Self::of(Source::stored(body), [Segment::of(span)])
    }

    /// Each span behind its text; `last` ends it all.
    pub(crate) fn parts(body: &Arc<Kept>, parts: Vec<(String, Span)>, last: String) -> Self {
        let segments = parts
            .into_iter()
            .flat_map(|(text, span)| [Segment::Text(text.into()), Segment::of(span)]);
        let segments: Vec<_> = segments.chain([Segment::Text(last.into())]).collect();
        Self::of(Source::stored(body), segments)
    }

    /// All that comes from `first` on; `length`: if it is known.
    pub(crate) fn coming(place: Place, first: u64, length: Option<u64>) -> Self {
        let end = length.map(|length| first + length);
        Self {
            left: length,
            trailers: length.is_none(),
            ..Self::of(Source::Flow(place), [Segment::Bytes { next: first, end }])
        }
    }

    fn of(source: Source, segments: impl IntoIterator<Item = Segment>) -> Self {
        let segments: VecDeque<_> = segments.into_iter().collect();
        let left = segments.iter().map(Segment::left).sum();
        Self {
            source,
            segments,
            left,
            trailers: false,
        }
    }

    /// `None`: not known.
    pub(crate) fn left(&self) -> Option<u64> {
        self.left
    }

    pub(crate) fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    /// `None`: all of it was given.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broke>>> {
        loop {
            let (next, end) = match self.segments.front_mut() {
                None => {
                    self.left = Some(0);
                    return Poll::Ready(None);
                }
                Some(Segment::Text(text)) => {
                    let text = std::mem::take(text);
                    self.segments.pop_front();
                    return Poll::Ready(Some(Ok(self.give(text))));
                }
                Some(Segment::Bytes { next, end }) => (*next, *end),
            };
            // With trailers the end has to be asked for.
            if end == Some(next) && !self.trailers {
                self.segments.pop_front();
                continue;
            }
            let read = match &mut self.source {
                Source::Kept(kept) => match kept.read(next) {
                    Some(bytes) => Read::Data(bytes),
                    None if end.is_none_or(|end| end == next) => {
                        Read::End(End::Whole(kept.trailers.as_deref().cloned()))
                    }
                    None => Read::End(End::Broken),
                },
                Source::File(reading) => ready!(reading.poll(cx, next)),
                Source::Flow(place) => ready!(place.poll(cx, next)),
                Source::Nothing => Read::End(End::Broken),
            };
            match read {
                Read::Data(mut bytes) => {
                    let most = end.map_or(u64::MAX, |end| end - next);
                    bytes.truncate(usize::try_from(most).unwrap_or(usize::MAX));
                    if let Some(Segment::Bytes { next, .. }) = self.segments.front_mut() {
                        *next += bytes.len() as u64;
                    }
                    return Poll::Ready(Some(Ok(self.give(bytes))));
                }
                Read::End(End::Whole(trailers)) => {
                    self.segments.clear();
                    self.left = Some(0);
                    let trailers = trailers.filter(|_| self.trailers);
                    return Poll::Ready(trailers.map(|trailers: HeaderMap| Ok(Frame::trailers(trailers))));
                }
                Read::End(End::Broken) => return Poll::Ready(Some(Err(Broke::Closed))),
            }
        }
    }

    fn give(&mut self, bytes: Bytes) -> Frame<Bytes> {
        self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
        Frame::data(bytes)
    }
}

impl Source {
    fn stored(body: &Arc<Kept>) -> Self {
        match body.file() {
            Some(file) => Self::File(file.reader()),
            None => Self::Kept(Arc::clone(body)),
        }
    }
}

impl Segment {
    fn of(span: Span) -> Self {
        Self::Bytes {
            next: span.first,
            end: Some(span.last + 1),
        }
    }

    fn left(&self) -> Option<u64> {
        match self {
            Self::Text(text) => Some(text.len() as u64),
            Self::Bytes { next, end } => end.map(|end| end - next),
        }
    }
}
