//! Follows the bytes of a client connection from message to message, so that every head is judged before anyone reads it.

use super::head::{self, Found, Framing, HeadLimits};
use crate::respond::Refusal;

/// Chunk extensions carry nothing that we use; more than this is an attack.
const CHUNK_LINE: usize = 1024 + 16;
/// Trailers are a header block, too.
const TRAILERS: usize = 8 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between messages or in a head.
    Head,
    Fixed(u64),
    ChunkSize {
        digits: u8,
        size: u64,
        line: usize,
        cr: bool,
    },
    ChunkData(u64),
    ChunkEnd {
        cr: bool,
    },
    Trailers {
        line: usize,
        total: usize,
        cr: bool,
    },
    /// A head asked for another protocol; the answer decides.
    Upgrade,
    /// Bytes of another protocol.
    Tunnel,
}

/// What became of the bytes that were fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fed {
    /// So many may be passed on.
    pub good: usize,
    pub then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// All is said, or what follows the good bytes is the begin of a head: feed it again with more.
    More,
    /// What follows is held until the upgrade is decided.
    Hold,
    /// What follows is a head that must not be read.
    RefuseHead(Refusal),
    /// The body's framing is broken.
    RefuseBody(Refusal),
}

pub(crate) struct Scanner {
    state: State,
    limits: HeadLimits,
    /// Of a partial head, how much was looked at.
    searched: usize,
}

impl Scanner {
    pub(crate) fn new(limits: HeadLimits) -> Self {
        Self {
            state: State::Head,
            limits,
            searched: 0,
        }
    }

    /// Whether the next byte belongs to a head.
    pub(crate) fn at_head(&self) -> bool {
        self.state == State::Head
    }

    pub(crate) fn awaits_upgrade(&self) -> bool {
        self.state == State::Upgrade
    }

    pub(crate) fn upgrade_decided(&mut self, tunnel: bool) {
        self.state = if tunnel { State::Tunnel } else { State::Head };
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Fed {
        let mut good = 0;
        loop {
            let rest = &bytes[good..];
            let then = match self.state {
                State::Upgrade => Some(Then::Hold),
                _ if rest.is_empty() => Some(Then::More),
                State::Head => match self.head(rest) {
                    Ok(0) => Some(Then::More),
                    Ok(length) => {
                        good += length;
                        None
                    }
                    Err(refusal) => Some(Then::RefuseHead(refusal)),
                },
                _ => match self.body(rest) {
                    Ok(length) => {
                        good += length;
                        None
                    }
                    Err(why) => Some(Then::RefuseBody(Refusal::BadRequest(why))),
                },
            };
            if let Some(then) = then {
                return Fed { good, then };
            }
        }
    }

    /// Length of the complete head that `bytes` begin with; 0: not complete.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        // Empty lines before a request are tolerated (RFC 9112 §2.2): some clients end a body with one.
        if self.searched == 0 && bytes.starts_with(b"\r\n") {
            return Ok(2);
        }
        if bytes == b"\r" {
            return Ok(0);
        }
        match head::find_end(bytes, self.searched, &self.limits) {
            Found::Partial => {
                // The last byte may be a CR whose LF is still to come: look at it again.
                self.searched = bytes.len() - 1;
                Ok(0)
            }
            Found::Bad(refusal) => Err(refusal),
            Found::End(length) => {
                self.searched = 0;
                self.state = match head::judge(&bytes[..length], &self.limits)? {
                    Framing::None => State::Head,
                    Framing::Length(length) => State::Fixed(length),
                    Framing::Chunked => State::chunk(),
                    Framing::Upgrade => State::Upgrade,
                };
                Ok(length)
            }
        }
    }

    /// How many of `bytes` (not empty) were taken.
    fn body(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let available = bytes.len() as u64;
        match &mut self.state {
            State::Fixed(left) | State::ChunkData(left) if *left > available => {
                *left -= available;
                Ok(bytes.len())
            }
            State::Fixed(left) => {
                let taken = *left as usize;
                self.state = State::Head;
                Ok(taken)
            }
            State::ChunkData(left) => {
                let taken = *left as usize;
                self.state = State::ChunkEnd { cr: false };
                Ok(taken)
            }
            State::Tunnel => Ok(bytes.len()),
            State::Head | State::Upgrade => Ok(0),
            State::ChunkSize { .. } | State::ChunkEnd { .. } | State::Trailers { .. } => {
                self.state = self.state.framing_byte(bytes[0])?;
                Ok(1)
            }
        }
    }
}

impl State {
    fn chunk() -> Self {
        Self::ChunkSize {
            digits: 0,
            size: 0,
            line: 0,
            cr: false,
        }
    }

    /// One byte of chunked framing outside the data.
    fn framing_byte(self, byte: u8) -> Result<Self, &'static str> {
        match self {
            Self::ChunkSize {
                digits,
                size,
                line,
                cr,
            } => chunk_size(byte, digits, size, line, cr),
            Self::ChunkEnd { cr: false } if byte == b'\r' => Ok(Self::ChunkEnd { cr: true }),
            Self::ChunkEnd { cr: true } if byte == b'\n' => Ok(Self::chunk()),
            Self::ChunkEnd { .. } => Err("a chunk is longer than its size says"),
            Self::Trailers { line, total, cr } => trailer(byte, line, total, cr),
            other => Ok(other),
        }
    }
}

fn chunk_size(byte: u8, digits: u8, size: u64, line: usize, cr: bool) -> Result<State, &'static str> {
    const BAD: &str = "a chunk size is not a hexadecimal number";
    let line = line + 1;
    let in_extension = line > usize::from(digits) + 1;
    match byte {
        b'\n' if cr && size == 0 => Ok(State::Trailers {
            line: 0,
            total: 0,
            cr: false,
        }),
        b'\n' if cr => Ok(State::ChunkData(size)),
        _ if cr || digits > 16 || line > CHUNK_LINE => Err(BAD),
        b'\r' if digits > 0 => Ok(State::ChunkSize {
            digits,
            size,
            line,
            cr: true,
        }),
        _ if !in_extension && byte.is_ascii_hexdigit() => {
            let digit = char::from(byte).to_digit(16).unwrap_or(0);
            let size = size.checked_mul(16).ok_or(BAD)? + u64::from(digit);
            Ok(State::ChunkSize {
                digits: digits + 1,
                size,
                line,
                cr,
            })
        }
        b';' if digits > 0 && !in_extension => Ok(State::ChunkSize {
            digits,
            size,
            line,
            cr,
        }),
        0x20..=0x7e | 0x80.. | b'\t' if in_extension => Ok(State::ChunkSize {
            digits,
            size,
            line,
            cr,
        }),
        _ => Err(BAD),
    }
}

fn trailer(byte: u8, line: usize, total: usize, cr: bool) -> Result<State, &'static str> {
    const BAD: &str = "the trailers are not valid";
    match byte {
        b'\n' if cr && line == 0 => Ok(State::Head),
        b'\n' if cr => Ok(State::Trailers {
            line: 0,
            total,
            cr: false,
        }),
        _ if cr || total >= TRAILERS => Err(BAD),
        b'\r' => Ok(State::Trailers {
            line,
            total: total + 1,
            cr: true,
        }),
        b' ' | b'\t' if line == 0 => Err(BAD),
        0x20..=0x7e | 0x80.. | b'\t' => Ok(State::Trailers {
            line: line + 1,
            total: total + 1,
            cr: false,
        }),
        _ => Err(BAD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        bytes: 1024,
        headers: 10,
        request_line: 128,
    };

    /// Feeds `text` in pieces of `size`, the way a connection would.
    fn run(text: &[u8], size: usize) -> (Vec<u8>, Then) {
        let mut scanner = Scanner::new(LIMITS);
        let (mut held, mut passed) = (Vec::new(), Vec::new());
        for piece in text.chunks(size) {
            held.extend_from_slice(piece);
            let fed = scanner.feed(&held);
            passed.extend(held.drain(..fed.good));
            if fed.then != Then::More {
                return (passed, fed.then);
            }
        }
        assert!(held.is_empty(), "left over: {:?}", String::from_utf8_lossy(&held));
        (passed, Then::More)
    }

    #[test]
    fn good_messages_pass_whole_however_they_are_cut() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
            \r\nPOST /y HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5;q=\"1\"\r\nhello\r\n00\r\nA: b\r\n\r\n\
            HEAD http://a/ HTTP/1.0\r\n\r\n";
        for size in [1, 2, 3, 7, 16, 1000] {
            assert_eq!(run(text, size), (text.to_vec(), Then::More), "pieces of {size}");
        }
    }

    #[test]
    fn what_follows_an_upgrade_is_held() {
        let head =
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let mut text = head.to_vec();
        text.extend_from_slice(b"frame");
        for size in [1, 1000] {
            assert_eq!(run(&text, size), (head.to_vec(), Then::Hold));
        }
    }

    #[test]
    fn a_bad_second_head_does_not_spoil_the_first() {
        let good = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut text = good.to_vec();
        text.extend_from_slice(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
        for size in [1, 1000] {
            let (passed, then) = run(&text, size);
            assert_eq!(passed, good);
            assert_eq!(
                then,
                Then::RefuseHead(Refusal::BadRequest("several Host headers"))
            );
        }
    }

    #[test]
    fn broken_chunks_are_refused_in_the_body() {
        for body in [
            "5\r\nhelloX",
            "g\r\n",
            "\r\n",
            "-1\r\n",
            "5 \r\n",
            "0x5\r\n",
            "11111111111111111\r\n",
            "5\n",
            "5\rX",
            "0\r\n X: folded\r\n\r\n",
            "0\r\na\nb\r\n\r\n",
        ] {
            let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
            for size in [1, 1000] {
                let (_, then) = run(format!("{head}{body}").as_bytes(), size);
                assert!(matches!(then, Then::RefuseBody(_)), "{body:?}: {then:?}");
            }
        }
    }

    #[test]
    fn chunk_extensions_are_bounded() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let text = format!("{head}5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(2000));
        assert!(matches!(run(text.as_bytes(), 100).1, Then::RefuseBody(_)));
    }
}
