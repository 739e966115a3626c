//! Chunked bodies (RFC 9112 §7.1), read strictly: two readers of one body must never disagree where it ends.
//!
//! Sizes are hexadecimal digits and nothing else, lines end with CR LF, extensions and trailers are bounded. Trailers that
//! would say something about framing, routing or trust are dropped.

use bytes::{Buf, Bytes};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::headers;

/// Chunk extensions carry nothing that we use; more than this is an attack.
const LINE: usize = 1024 + 16;
/// Trailers are a header block, too.
const TRAILERS: usize = 8 * 1024;
const BAD_TRAILERS: &str = "the trailers are not valid";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chunked {
    state: State,
    /// The lines of trailers so far.
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size(Size),
    Data(u64),
    DataEnd { cr: bool },
    Trailers { line: usize, cr: bool },
    Done,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Size {
    digits: u8,
    size: u64,
    line: usize,
    cr: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    /// The body has ended; what is left in the bytes is not of it.
    End,
    /// All bytes are used up.
    More,
}

impl Chunked {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Size(Size::default()),
            trailers: Vec::new(),
        }
    }

    /// The next piece of the body, taken from the front of `bytes`. The error says what is wrong.
    pub(crate) fn next(&mut self, bytes: &mut Bytes) -> Result<Piece, &'static str> {
        loop {
            if self.state == State::Done {
                return self.end();
            }
            if bytes.is_empty() {
                return Ok(Piece::More);
            }
            if let State::Data(left) = &mut self.state {
                let count = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                if *left == 0 {
                    self.state = State::DataEnd { cr: false };
                }
                return Ok(Piece::Data(bytes.split_to(count)));
            }
            self.state = self.framing(bytes.get_u8())?;
        }
    }

    fn end(&mut self) -> Result<Piece, &'static str> {
        // Its empty line alone: the usual end.
        if self.trailers.len() <= 2 {
            return Ok(Piece::End);
        }
        let trailers = fields(&std::mem::take(&mut self.trailers))?;
        Ok(if trailers.is_empty() {
            Piece::End
        } else {
            Piece::Trailers(trailers)
        })
    }

    /// One byte outside the data.
    fn framing(&mut self, byte: u8) -> Result<State, &'static str> {
        match self.state {
            State::Size(size) => size.byte(byte),
            State::DataEnd { cr: false } if byte == b'\r' => Ok(State::DataEnd { cr: true }),
            State::DataEnd { cr: true } if byte == b'\n' => Ok(State::Size(Size::default())),
            State::DataEnd { .. } => Err("a chunk is longer than its size says"),
            State::Trailers { line, cr } => {
                let next = trailer(byte, line, self.trailers.len(), cr)?;
                self.trailers.push(byte);
                Ok(next)
            }
            State::Data(_) | State::Done => Ok(self.state),
        }
    }
}

impl Size {
    fn byte(self, byte: u8) -> Result<State, &'static str> {
        const BAD: &str = "a chunk size is not a hexadecimal number";
        let Self {
            digits,
            size,
            line,
            cr,
        } = self;
        let line = line + 1;
        let in_extension = line > usize::from(digits) + 1;
        let stay = State::Size(Self { line, ..self });
        match byte {
            b'\n' if cr && size == 0 => Ok(State::Trailers { line: 0, cr: false }),
            b'\n' if cr => Ok(State::Data(size)),
            _ if cr || digits > 16 || line > LINE => Err(BAD),
            b'\r' if digits > 0 => Ok(State::Size(Self {
                line,
                cr: true,
                ..self
            })),
            _ if !in_extension && byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                Ok(State::Size(Self {
                    digits: digits + 1,
                    size: size.checked_mul(16).ok_or(BAD)? + u64::from(digit),
                    line,
                    cr,
                }))
            }
            b';' if digits > 0 && !in_extension => Ok(stay),
            0x20..=0x7e | 0x80.. | b'\t' if in_extension => Ok(stay),
            _ => Err(BAD),
        }
    }
}

fn trailer(byte: u8, line: usize, total: usize, cr: bool) -> Result<State, &'static str> {
    match byte {
        b'\n' if cr && line == 0 => Ok(State::Done),
        b'\n' if cr => Ok(State::Trailers { line: 0, cr: false }),
        _ if cr || total >= TRAILERS => Err(BAD_TRAILERS),
        b'\r' => Ok(State::Trailers { line, cr: true }),
        b' ' | b'\t' if line == 0 => Err(BAD_TRAILERS),
        0x20..=0x7e | 0x80.. | b'\t' => Ok(State::Trailers {
            line: line + 1,
            cr: false,
        }),
        _ => Err(BAD_TRAILERS),
    }
}

/// What of the trailers may be passed on.
fn fields(lines: &[u8]) -> Result<HeaderMap, &'static str> {
    let mut map = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii_end();
        if line.is_empty() {
            continue;
        }
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            return Err(BAD_TRAILERS);
        };
        let name = HeaderName::from_bytes(name).map_err(|_| BAD_TRAILERS)?;
        let value = HeaderValue::from_bytes(value.trim_ascii()).map_err(|_| BAD_TRAILERS)?;
        if may_trail(&name) {
            map.append(name, value);
        }
    }
    Ok(map)
}

/// RFC 9110 §6.5.1: nothing that was needed before the body.
fn may_trail(name: &HeaderName) -> bool {
    !headers::is_protected(name)
        && ![
            header::TRANSFER_ENCODING,
            header::CONNECTION,
            header::TRAILER,
            header::TE,
            header::UPGRADE,
            header::EXPECT,
            header::CONTENT_ENCODING,
            header::CONTENT_RANGE,
            header::LOCATION,
            header::WWW_AUTHENTICATE,
        ]
        .contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body and what is left behind it, fed in pieces of `size`.
    fn read(text: &[u8], size: usize) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), &'static str> {
        let mut chunked = Chunked::new();
        let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
        let mut pieces = text.chunks(size);
        let mut bytes = Bytes::new();
        loop {
            match chunked.next(&mut bytes)? {
                Piece::Data(data) => body.extend(data),
                Piece::Trailers(map) => trailers = map,
                Piece::End => {
                    let mut rest = bytes.to_vec();
                    rest.extend(pieces.flatten());
                    return Ok((body, trailers, rest));
                }
                Piece::More => match pieces.next() {
                    Some(piece) => bytes = Bytes::copy_from_slice(piece),
                    None => return Err("ended early"),
                },
            }
        }
    }

    #[test]
    fn bodies_are_read_whole_however_they_are_cut() {
        let text =
            b"5;q=\"1\"\r\nhello\r\n00A\r\n, world!!!\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\nGET /";
        for size in [1, 2, 3, 7, 1000] {
            let (body, trailers, rest) = read(text, size).unwrap();
            assert_eq!(body, b"hello, world!!!");
            assert_eq!(rest, b"GET /");
            assert_eq!(trailers.len(), 1, "only what may stand there: {trailers:?}");
            assert_eq!(trailers["x-sum"], "7");
        }
    }

    #[test]
    fn a_body_without_anything_is_one() {
        assert_eq!(
            read(b"0\r\n\r\n", 1),
            Ok((Vec::new(), HeaderMap::new(), Vec::new()))
        );
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        for body in [
            "5\r\nhelloX",
            "g\r\n",
            "\r\n",
            "-1\r\n",
            "5 \r\n",
            " 5\r\n",
            "0x5\r\n",
            "11111111111111111\r\n",
            "5\n",
            "5\rX",
            "5;a\nb\r\n",
            "0\r\n X: folded\r\n\r\n",
            "0\r\na\nb\r\n\r\n",
            "0\r\na: \0\r\n\r\n",
            "0\r\n\n",
            "0\r\nno colon\r\n\r\n",
            "0\r\nspace : x\r\n\r\n",
            "0\r\n: x\r\n\r\n",
        ] {
            for size in [1, 1000] {
                let refused = read(body.as_bytes(), size).unwrap_err();
                assert_ne!(refused, "ended early", "{body:?}");
            }
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        for text in [
            format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(2000)),
            format!("0\r\n{}\r\n", "a: b\r\n".repeat(2000)),
        ] {
            let refused = read(text.as_bytes(), 100).unwrap_err();
            assert_ne!(refused, "ended early");
        }
    }
}
