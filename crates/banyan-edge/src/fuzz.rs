//! What reads strangers' bytes, without any connection: for `banyan-fuzz`. Bytes cut into pieces of `size` go in, what was
//! understood of them comes out, which must not depend on how they were cut.

use banyan_config::Coding;
use bytes::Bytes;
use jsonwebtoken::Algorithm;

use crate::accept_encoding::Accepted;
use crate::filter::auth::token::KeySet;
use crate::http1::chunked::Piece;
use crate::http1::request::HeadLimits;
use crate::http1::requests::Requests;

pub use crate::forward::http1::trial as answers;

const LIMITS: HeadLimits = HeadLimits {
    bytes: 4096,
    headers: 20,
    request_line: 1024,
};

/// What a client says of brotli, zstd and gzip, in thousandths.
pub fn accept_encoding<'a>(lines: impl Iterator<Item = &'a str>) -> [u16; 3] {
    let accepted = Accepted::read(lines);
    Coding::ALL.map(|coding| accepted.weight(coding))
}

/// Keys of a set as it was fetched, and what a token says whose signature is by one of them.
pub fn token(set: &str, token: &str) -> Option<serde_json::Value> {
    const ALL: [Algorithm; 4] = [
        Algorithm::RS256,
        Algorithm::ES256,
        Algorithm::EdDSA,
        Algorithm::HS256,
    ];
    KeySet::read(set, false).ok()?.verify(token, &ALL).ok()
}

/// The target of a part of an aggregate; the route's expression is `^/(?P<id>[^/]*)`.
pub fn part_target(target: &str, path: &str, query: &str) -> Option<String> {
    let regex = regex::Regex::new("^/(?P<id>[^/]*)").ok()?;
    crate::gateway::fill(target, path, query, &regex)
}

/// The requests of a client's connection, and how it ended.
pub fn requests(bytes: &[u8], size: usize) -> String {
    let mut requests = Requests::new(Bytes::new(), LIMITS);
    let mut pieces = bytes.chunks(size.clamp(1, bytes.len().max(1)));
    let mut seen = String::new();
    loop {
        match requests.head() {
            Ok(Some(head)) => {
                seen += &format!("{:?} {:?} {:?}\n", head.request, head.framing, head.wishes);
                if !body(&mut requests, &mut pieces, &mut seen) || !head.wishes.keep || head.wishes.upgrade {
                    return seen;
                }
            }
            Ok(None) => match pieces.next() {
                Some(piece) => requests.feed(Bytes::copy_from_slice(piece)),
                None => return seen,
            },
            // Which of several faults is named may depend on how much was there.
            Err(_refused) => return seen + "refused",
        }
    }
}

/// `false`: it does not end well.
fn body<'a>(requests: &mut Requests, pieces: &mut impl Iterator<Item = &'a [u8]>, seen: &mut String) -> bool {
    let mut body = Vec::new();
    let ended = loop {
        match requests.piece() {
            Ok(Piece::Data(data)) => body.extend(data),
            Ok(Piece::Trailers(fields)) => *seen += &format!("{fields:?}\n"),
            Ok(Piece::End) => break true,
            Ok(Piece::More) => match pieces.next() {
                Some(piece) => requests.feed(Bytes::copy_from_slice(piece)),
                None => break false,
            },
            Err(why) => {
                *seen += why;
                break false;
            }
        }
    };
    *seen += &format!("{}\n", body.escape_ascii());
    ended
}
