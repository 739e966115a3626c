//! A body that is complete: pieces in order, or parts of one with gaps between; a long one lies in a file. Never changed, shared
//! by all who read it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use banyan_httpcache::range::Span;

use super::disk::body::Body;
use super::weigh;

/// Smaller bodies are one piece.
const JOINED: u64 = 256 * 1024;

#[derive(Default)]
pub(crate) struct Kept {
    /// Each with the place of its first byte; apart, in order, none empty.
    pieces: Box<[(u64, Bytes)]>,
    /// Bytes that are here.
    length: u64,
    /// They came behind the body, and go out behind it; never among the fields of the head. Few have any.
    pub trailers: Option<Box<HeaderMap>>,
    /// All of it is there; no pieces then.
    file: Option<Arc<Body>>,
}

impl Kept {
    pub(crate) fn new(pieces: Vec<(u64, Bytes)>, trailers: Option<HeaderMap>) -> Self {
        let length = pieces.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let pieces = if length <= JOINED { joined(&pieces) } else { pieces };
        Self {
            pieces: pieces.into(),
            length,
            trailers: trailers.map(Box::new),
            file: None,
        }
    }

    pub(crate) fn in_file(body: Arc<Body>) -> Self {
        Self {
            length: body.length,
            file: Some(body),
            ..Self::default()
        }
    }

    /// What has all of it, if it is not in memory.
    pub(crate) fn file(&self) -> Option<&Arc<Body>> {
        self.file.as_ref()
    }

    pub(crate) fn shares_file(&self, other: &Self) -> bool {
        let both = self.file.as_ref().zip(other.file.as_ref());
        both.is_some_and(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Bytes of memory.
    pub(crate) fn weight(&self) -> u64 {
        let pieces = self.pieces.iter();
        let bytes: u64 = pieces.map(|(_, bytes)| weigh::shared(bytes.len())).sum();
        weigh::block(size_of::<Self>() + weigh::COUNTS) + weigh::block(size_of_val(&*self.pieces)) + bytes
    }

    /// Each with the place of its first byte.
    pub(crate) fn pieces(&self) -> &[(u64, Bytes)] {
        &self.pieces
    }

    /// Bytes that are here.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// What begins at `at`, as far as one piece goes; `None`: that byte is not here.
    pub(crate) fn read(&self, at: u64) -> Option<Bytes> {
        let behind = self.pieces.partition_point(|(first, _)| *first <= at);
        let (first, bytes) = self.pieces.get(behind.checked_sub(1)?)?;
        let skip = usize::try_from(at - first).ok()?;
        (skip < bytes.len()).then(|| bytes.slice(skip..))
    }

    /// These parts of the same body beside those of another; where both have a byte, either will do.
    pub(crate) fn beside(&self, other: &Self) -> Self {
        let mut pieces = self.pieces.to_vec();
        for (first, bytes) in &other.pieces {
            let span = Span {
                first: *first,
                last: *first + bytes.len() as u64 - 1,
            };
            for gap in banyan_httpcache::range::gaps(&self.spans(), span) {
                let at = usize::try_from(gap.first - first).unwrap_or(usize::MAX);
                let until = at + usize::try_from(gap.length()).unwrap_or(0);
                pieces.push((gap.first, bytes.slice(at..until)));
            }
        }
        pieces.sort_by_key(|(first, _)| *first);
        Self::new(pieces, None)
    }

    fn spans(&self) -> Vec<Span> {
        let spans = self.pieces.iter().map(|(first, bytes)| Span {
            first: *first,
            last: *first + bytes.len() as u64 - 1,
        });
        spans.collect()
    }
}

/// Pieces that touch become one.
fn joined(pieces: &[(u64, Bytes)]) -> Vec<(u64, Bytes)> {
    let touches = |a: &(u64, Bytes), b: &(u64, Bytes)| a.0 + a.1.len() as u64 == b.0;
    pieces
        .chunk_by(touches)
        .filter_map(|run| {
            let (first, only) = run.first()?;
            if run.len() == 1 {
                return Some((*first, only.clone()));
            }
            let mut all = BytesMut::with_capacity(run.iter().map(|(_, bytes)| bytes.len()).sum());
            run.iter().for_each(|(_, bytes)| all.extend_from_slice(bytes));
            Some((*first, all.freeze()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pieces: &[(u64, &'static str)]) -> Kept {
        let pieces = pieces
            .iter()
            .map(|(at, text)| (*at, Bytes::from_static(text.as_bytes())));
        Kept::new(pieces.collect(), None)
    }

    #[test]
    fn bytes_are_found_by_their_place() {
        let body = kept(&[(0, "abc"), (3, "def"), (10, "kl")]);
        assert_eq!(body.read(0).unwrap(), "abcdef");
        assert_eq!(body.read(4).unwrap(), "ef");
        assert_eq!((body.read(6), body.read(12)), (None, None));
        assert_eq!((body.read(11).unwrap(), body.length()), (Bytes::from("l"), 8));
    }

    #[test]
    fn parts_are_put_together_and_what_both_have_is_kept_once() {
        let body = kept(&[(0, "abc"), (8, "ij")]).beside(&kept(&[(2, "cdefghi")]));
        assert_eq!(
            (body.read(0).unwrap(), body.length()),
            (Bytes::from("abcdefghij"), 10)
        );
    }
}
