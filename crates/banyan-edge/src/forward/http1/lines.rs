//! An answer's head that nothing on the way reads or changes: it passes as lines, and no map is made of it.
//!
//! Takes only what is beyond doubt (the final answer to a request with a body to come, every line as RFC 9112 writes it,
//! one framing); whatever else there is, [`super::head::read`] judges. What both take, both understand alike.

use http::{HeaderName, StatusCode};

use super::Reading;
use crate::http1::chunked::Chunked;
use crate::http1::outbox::field;
use crate::http1::request::{is_token, next_control};

/// More are left to the other reader, which has the limit.
const MOST: usize = 100;
/// Most heads fit with what the edge adds, and the allocator has blocks of this size at hand.
const ROOM: usize = 1000;

/// Fields as they are written to the client: those for the edge alone, of framing and of this connection left out.
#[derive(Debug)]
pub(crate) struct Lines {
    text: Vec<u8>,
    date: bool,
}

impl Lines {
    pub(crate) fn add(&mut self, name: &HeaderName, value: &[u8]) {
        field(&mut self.text, name.as_str(), value);
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether the instance said when it answered.
    pub(crate) fn has_date(&self) -> bool {
        self.date
    }
}

/// A head and what follows it.
pub(super) struct Plain {
    /// In bytes.
    pub length: usize,
    pub status: StatusCode,
    pub reading: Reading,
    pub keep: bool,
    pub lines: Lines,
}

/// `None`: not for us to say.
pub(super) fn read(bytes: &[u8]) -> Option<Plain> {
    let (status, mut at) = status(bytes)?;
    let mut lines = Lines {
        text: Vec::with_capacity(ROOM),
        date: false,
    };
    let mut framing = Framing::default();
    for _line in 0..MOST {
        let rest = bytes.get(at..)?;
        if rest.starts_with(b"\r\n") {
            return Some(Plain {
                length: at + 2,
                status,
                reading: framing.reading()?,
                keep: !framing.close && (framing.length.is_some() || framing.chunked),
                lines,
            });
        }
        let colon = next_colon(rest)?;
        let end = end_of_line(rest, colon + 1)?;
        lines.take(&rest[..colon], rest[colon + 1..end].trim_ascii(), &mut framing)?;
        at += end + 2;
    }
    None
}

/// And where its line ends. Only final answers that have a body, by their usual names.
fn status(bytes: &[u8]) -> Option<(StatusCode, usize)> {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
    if bytes.starts_with(OK) {
        return Some((StatusCode::OK, OK.len()));
    }
    let rest = bytes.strip_prefix(b"HTTP/1.1 ")?;
    let (code, rest) = rest.split_at_checked(3)?;
    let status = StatusCode::from_bytes(code).ok()?;
    if status.as_u16() < 200 || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status) {
        return None;
    }
    let reason = status.canonical_reason()?.as_bytes();
    let rest = rest.strip_prefix(b" ")?.strip_prefix(reason)?;
    rest.strip_prefix(b"\r\n")?;
    Some((status, OK.len() - 2 + reason.len()))
}

/// Eight bytes at a time: most names are longer.
fn next_colon(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word) ^ (ONES * 0x3a);
        // A borrow may mark bytes above a true hit, never below it.
        let found = word.wrapping_sub(ONES) & !word & (ONES * 0x80);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|byte| *byte == b':').map(|index| at + index)
}

/// Where the CR LF is; `None`: there is none, or a control byte before it.
fn end_of_line(bytes: &[u8], from: usize) -> Option<usize> {
    let mut from = from;
    loop {
        let at = next_control(bytes, from)?;
        match bytes[at] {
            b'\t' => from = at + 1,
            b'\r' if bytes.get(at + 1) == Some(&b'\n') => return Some(at),
            _ => return None,
        }
    }
}

#[derive(Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
    close: bool,
}

impl Framing {
    fn reading(&self) -> Option<Reading> {
        match (self.chunked, self.length) {
            (true, Some(_)) => None,
            (true, None) => Some(Reading::Chunked(Chunked::new())),
            (false, Some(0)) => Some(Reading::Done),
            (false, Some(length)) => Some(Reading::Length(length)),
            (false, None) => Some(Reading::ToTheEnd),
        }
    }

    /// `chunked`, alone and once.
    fn coding(&mut self, value: &[u8]) -> Option<()> {
        let alone = !self.chunked && value.eq_ignore_ascii_case(b"chunked");
        self.chunked = true;
        alone.then_some(())
    }

    fn length(&mut self, value: &[u8]) -> Option<()> {
        // Fewer digits than could overflow; said once.
        let digits = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        if !digits || self.length.is_some() {
            return None;
        }
        let digit = |sum: u64, byte: &u8| sum * 10 + u64::from(*byte - b'0');
        self.length = Some(value.iter().fold(0, digit));
        Some(())
    }
}

impl Lines {
    /// `None`: it is no field, it changes what other lines mean, or something on the way would have looked at it.
    fn take(&mut self, name: &[u8], value: &[u8], framing: &mut Framing) -> Option<()> {
        let begin = self.text.len();
        self.text.extend_from_slice(name);
        let name = &mut self.text[begin..];
        if name.is_empty() || !lower(name) {
            return None;
        }
        let keeps = match (name.len(), &*name) {
            (4, b"date") => {
                self.date = true;
                true
            }
            (7, b"upgrade") | (25, b"strict-transport-security") => return None,
            (10, b"connection") => {
                let close = value.eq_ignore_ascii_case(b"close");
                framing.close |= close;
                if !close && !value.eq_ignore_ascii_case(b"keep-alive") {
                    return None;
                }
                false
            }
            (10, b"keep-alive") | (12, b"x-request-id") | (16, b"proxy-connection") => false,
            (14, b"content-length") => {
                framing.length(value)?;
                false
            }
            (17, b"transfer-encoding") => {
                framing.coding(value)?;
                false
            }
            _ => true,
        };
        if keeps {
            self.text.extend_from_slice(b": ");
            self.text.extend_from_slice(value);
            self.text.extend_from_slice(b"\r\n");
        } else {
            self.text.truncate(begin);
        }
        Some(())
    }
}

/// Of a field's name; `false`: it is none.
fn lower(name: &mut [u8]) -> bool {
    let mut valid = true;
    for byte in name {
        let lower = LOWER[usize::from(*byte)];
        valid &= lower != 0;
        *byte = lower;
    }
    valid
}

/// What a byte of a name is in lower case; 0: it may not be in one.
const LOWER: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    while byte < 0x7f {
        if is_token(byte) {
            table[byte as usize] = byte.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::super::head;
    use super::super::trial::agree;

    fn lines(text: &str) -> Option<String> {
        let plain = super::read(text.as_bytes())?;
        let text = String::from_utf8(plain.lines.text).ok()?;
        Some(format!("{text}{:?} {}", plain.reading, plain.keep).replace("\r\n", "|"))
    }

    #[test]
    fn a_usual_head_passes_as_lines_without_what_is_of_the_connection() {
        let head = "HTTP/1.1 200 OK\r\nServer: x/1\r\nDATE: now\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\
            Keep-Alive: timeout=5\r\nX-Request-Id: 7\r\nSet-Cookie: A=B\r\nset-cookie:\tC \r\nEmpty:\r\n\r\nbody";
        assert_eq!(
            lines(head).as_deref(),
            Some("server: x/1|date: now|set-cookie: A=B|set-cookie: C|empty: |Length(5) true")
        );
        let chunked =
            lines("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n");
        assert!(chunked.is_some_and(|text| text.starts_with("Chunked(") && text.ends_with(" false")));
        assert_eq!(
            lines("HTTP/1.1 200 OK\r\n\r\n").as_deref(),
            Some("ToTheEnd false")
        );
    }

    #[test]
    fn whatever_is_unusual_is_left_to_the_other_reader() {
        for head in [
            "HTTP/1.1 200 OK\r\nA: b\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r",
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: close, a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=1\r\n\r\n",
        ] {
            assert_eq!(lines(head), None, "{head:?}");
        }
    }

    proptest! {
        #[test]
        fn what_both_readers_take_both_understand_alike(
            parts in proptest::collection::vec(select(&[
                "Server: x", "Date: y", "Content-Length: 5", "content-length: 05", "Connection: close", "Keep-Alive: 5",
                "connection: keep-alive", "Connection: date", "Transfer-Encoding: chunked", "X-Request-Id: 9", "Upgrade: h2c",
                "A: \u{e9}", "A:\tb\t", "Proxy-Connection: x", "TE: x", "Trailer: y", ":", " ", "\0", "\r", "\n", "\x7f", "b",
                "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n",
            ][..]), 0..12),
            status in select(&["200 OK", "404 Not Found", "500 Internal Server Error", "204 No Content", "299 ", "600 X"][..]),
        ) {
            let text = format!("HTTP/1.1 {status}\r\n{}\r\n\r\n", parts.concat());
            let bytes = Bytes::copy_from_slice(text.as_bytes());
            match head::read(&bytes, false) {
                Ok(Some(head)) => drop(agree(&bytes, &head)),
                Ok(None) | Err(_) => prop_assert!(super::read(&bytes).is_none(), "{text:?}"),
            }
        }
    }
}
