//! The requests of a connection, one after another out of its bytes: every head is judged before anyone reads it, and
//! no byte belongs to two messages. No input and no output: bytes in, messages out.

use bytes::{Buf, Bytes};

use super::chunked::{Chunked, Piece};
use super::reading::append;
use super::request::{self, Found, Framing, Head, HeadLimits};
use crate::respond::Refusal;

pub(crate) struct Requests {
    /// Read and not yet used.
    held: Bytes,
    /// Nobody else has the memory of what is held.
    owned: bool,
    /// Of a partial head, how much was looked at.
    searched: usize,
    /// Of the current request.
    body: Body,
    limits: HeadLimits,
}

#[derive(Debug)]
enum Body {
    /// It has ended, or there is none.
    Done,
    Length(u64),
    Chunked(Chunked),
}

impl Requests {
    pub(crate) fn new(begun: Bytes, limits: HeadLimits) -> Self {
        Self {
            held: begun,
            owned: false,
            searched: 0,
            body: Body::Done,
            limits,
        }
    }

    pub(crate) fn feed(&mut self, bytes: Bytes) {
        // What is joined is a copy.
        self.owned = !self.held.is_empty();
        append(&mut self.held, bytes);
    }

    /// Whether something was read that belongs to no message yet.
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// The next request's head, once it is complete. Only after the current body has ended.
    pub(crate) fn head(&mut self) -> Result<Option<Head>, Refusal> {
        // Empty lines before a request are tolerated (RFC 9112 §2.2): some clients end a body with one.
        while self.searched == 0 && self.held.starts_with(b"\r\n") {
            self.held.advance(2);
        }
        if self.held.is_empty() || &self.held[..] == b"\r" {
            return Ok(None);
        }
        match request::find_end(&self.held, self.searched, &self.limits) {
            Found::Partial => {
                // The last byte may be a CR whose LF is still to come: look at it again.
                self.searched = self.held.len() - 1;
                Ok(None)
            }
            Found::Bad(refusal) => Err(refusal),
            Found::End(length) => {
                self.searched = 0;
                // A copy: the request's headers must not keep the core's reading buffer.
                let head = request::parse(&Bytes::copy_from_slice(&self.held[..length]), &self.limits)?;
                self.held.advance(length);
                self.body = match head.framing {
                    Framing::None => Body::Done,
                    Framing::Length(length) => Body::Length(length),
                    Framing::Chunked => Body::Chunked(Chunked::new()),
                };
                Ok(Some(head))
            }
        }
    }

    /// The next piece of the current request's body. The error says what is wrong with its framing.
    pub(crate) fn piece(&mut self) -> Result<Piece, &'static str> {
        match &mut self.body {
            Body::Done => Ok(Piece::End),
            Body::Length(_) if self.held.is_empty() => Ok(Piece::More),
            Body::Length(left) => {
                let count = self.held.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                if *left == 0 {
                    self.body = Body::Done;
                }
                Ok(Piece::Data(self.held.split_to(count)))
            }
            Body::Chunked(chunked) => {
                let piece = chunked.next(&mut self.held)?;
                if piece == Piece::End {
                    self.body = Body::Done;
                }
                Ok(piece)
            }
        }
    }

    pub(crate) fn body_is_done(&self) -> bool {
        matches!(self.body, Body::Done)
    }

    /// What is left of the current body, where it is known.
    pub(crate) fn body_left(&self) -> Option<u64> {
        match self.body {
            Body::Done => Some(0),
            Body::Length(left) => Some(left),
            Body::Chunked(_) => None,
        }
    }

    /// Something has to be waited for: what is held must not keep the core's reading buffer.
    pub(crate) fn own(&mut self) {
        if !self.owned && !self.held.is_empty() {
            self.held = Bytes::copy_from_slice(&self.held);
            self.owned = true;
        }
    }

    /// What follows is not HTTP.
    pub(crate) fn take_held(&mut self) -> Bytes {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::Wishes;
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        bytes: 1024,
        headers: 10,
        request_line: 128,
    };

    /// What is understood of `text` when it comes in pieces of `size`.
    fn read(text: &[u8], size: usize) -> String {
        let mut requests = Requests::new(Bytes::new(), LIMITS);
        let mut pieces = text.chunks(size);
        let mut seen = String::new();
        loop {
            match requests.head() {
                Ok(Some(head)) => {
                    let request = &head.request;
                    seen += &format!("{} {}", request.method(), request.uri());
                    if head.wishes.upgrade {
                        return seen + " wants another protocol";
                    }
                }
                Ok(None) => match pieces.next() {
                    Some(piece) => {
                        requests.feed(Bytes::copy_from_slice(piece));
                        requests.own();
                        continue;
                    }
                    None => return seen,
                },
                Err(refusal) => return seen + &format!("refused: {refusal:?}"),
            }
            let mut body = String::new();
            loop {
                match requests.piece() {
                    Ok(Piece::Data(data)) => body += &String::from_utf8_lossy(&data),
                    Ok(Piece::Trailers(fields)) => body += &format!(" {fields:?}"),
                    Ok(Piece::End) => break,
                    Ok(Piece::More) => match pieces.next() {
                        Some(piece) => requests.feed(Bytes::copy_from_slice(piece)),
                        None => return seen + " " + &body + " cut off",
                    },
                    Err(why) => return seen + " " + &body + " broken: " + why,
                }
            }
            seen += &format!(" {body}|");
        }
    }

    #[test]
    fn good_messages_pass_however_they_are_cut() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
            \r\nPOST /y HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5;q=\"1\"\r\nhello\r\n00\r\nA: b\r\n\r\n\
            HEAD http://a/ HTTP/1.0\r\n\r\n";
        for size in [1, 2, 3, 7, 16, 1000] {
            let expected = "GET / |POST /x hello|POST /y hello {\"a\": \"b\"}|HEAD http://a/ |";
            assert_eq!(read(text, size), expected, "pieces of {size}");
        }
    }

    #[test]
    fn what_follows_an_upgrade_is_held() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nframe";
        for size in [1, 1000] {
            assert_eq!(read(text, size), "GET / wants another protocol");
        }
    }

    #[test]
    fn a_bad_second_head_does_not_spoil_the_first() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
        for size in [1, 1000] {
            let seen = read(text, size);
            assert_eq!(seen, "GET / |refused: BadRequest(\"several Host headers\")");
        }
    }

    #[test]
    fn a_broken_body_is_no_request() {
        let text = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX";
        assert_eq!(
            read(text, 1000),
            "POST / hello broken: a chunk is longer than its size says"
        );
    }

    #[test]
    fn wishes_are_those_of_the_head() {
        let wishes = |text: &str| {
            let mut requests = Requests::new(Bytes::copy_from_slice(text.as_bytes()), LIMITS);
            requests.head().unwrap().unwrap().wishes
        };
        let none = Wishes::default();
        let keep = Wishes { keep: true, ..none };
        assert_eq!(wishes("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), keep);
        assert_eq!(
            wishes("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"),
            none
        );
        assert_eq!(wishes("GET / HTTP/1.0\r\n\r\n"), none);
        assert_eq!(wishes("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), keep);
        assert_eq!(
            wishes(
                "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nTE: trailers\r\nContent-Length: 1\r\n\r\n"
            ),
            Wishes {
                go_ahead: true,
                trailers: true,
                ..keep
            }
        );
    }
}
