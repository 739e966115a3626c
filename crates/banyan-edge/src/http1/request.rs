//! One request head, judged byte by byte: the request and what follows it, or why it is refused.
//!
//! Stricter than RFC 9112 where that leaves room, because two readers of one request must never disagree: no bare CR or
//! LF, no control bytes, no folding, one Host, one Content-Length, `chunked` alone, never both lengths.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use crate::respond::Refusal;

#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    pub bytes: usize,
    pub headers: usize,
    pub request_line: usize,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(u64),
    Chunked,
}

#[derive(Debug)]
pub(crate) struct Head {
    pub request: Request<()>,
    pub framing: Framing,
    pub wishes: Wishes,
}

/// What a request wants of its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// Another request may follow.
    pub keep: bool,
    /// To be told before it sends its body.
    pub go_ahead: bool,
    /// It understands trailers.
    pub trailers: bool,
    /// Another protocol: what follows is unknown until the answer.
    pub upgrade: bool,
}

/// Where a head ends, looking from `from` (everything before was looked at already).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Length of the head with its empty line.
    End(usize),
    Partial,
    Bad(Refusal),
}

const BARE: Refusal = Refusal::BadRequest("a line ends without CR LF");
const CONTROL: Refusal = Refusal::BadRequest("a control byte in the header");

/// Finds the end of the head in `bytes`, checking line ends and control bytes on the way.
pub(crate) fn find_end(bytes: &[u8], from: usize, limits: &HeadLimits) -> Found {
    let mut from = from;
    while let Some(index) = next_control(bytes, from) {
        match bytes[index] {
            b'\t' => {}
            b'\n' if index > 0 && bytes[index - 1] == b'\r' => {
                if index >= 3 && bytes[index - 3..index - 1] == *b"\r\n" {
                    return Found::End(index + 1);
                }
            }
            b'\n' => return Found::Bad(BARE),
            b'\r' if bytes.get(index + 1).is_none_or(|next| *next == b'\n') => {}
            b'\r' => return Found::Bad(BARE),
            _ => return Found::Bad(CONTROL),
        }
        from = index + 1;
    }
    if bytes.len() >= limits.bytes {
        let first_line = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
        return Found::Bad(over_limit(first_line, limits));
    }
    Found::Partial
}

/// The first byte from `from` that is a control (below 0x20, or 0x7f), eight bytes at a time.
pub(crate) fn next_control(bytes: &[u8], from: usize) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = from;
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        let delete = word ^ (ONES * 0x7f);
        let below = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (below | (delete.wrapping_sub(ONES) & !delete)) & HIGH;
        // A borrow may mark bytes above a true hit, never below it: the lowest mark is exact.
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter()
        .position(|b| b.is_ascii_control())
        .map(|index| at + index)
}

/// The lines of a head without their line ends.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(head);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let mut from = 0;
        while let Some(index) = next_control(bytes, from) {
            if bytes[index] == b'\n' {
                rest = Some(&bytes[index + 1..]);
                return Some(trim_cr(&bytes[..index]));
            }
            from = index + 1;
        }
        rest = None;
        Some(trim_cr(bytes))
    })
}

fn over_limit(first_line: usize, limits: &HeadLimits) -> Refusal {
    if first_line > limits.request_line {
        Refusal::RequestLineTooLong
    } else {
        Refusal::HeaderTooLarge
    }
}

/// Judges a complete head (with its empty line), whose bytes [`find_end`] has passed.
pub(crate) fn parse(head: &Bytes, limits: &HeadLimits) -> Result<Head, Refusal> {
    let mut lines = lines(&head[..head.len().saturating_sub(4)]);
    let request_line = lines.next().unwrap_or_default();
    if request_line.len() > limits.request_line {
        return Err(Refusal::RequestLineTooLong);
    }
    if head.len() > limits.bytes {
        return Err(Refusal::HeaderTooLarge);
    }
    let mut request = request(head, request_line)?;
    let mut seen = Seen::default();
    // Room for what is added on the way to the instance.
    let mut headers = HeaderMap::with_capacity(12);
    for line in lines {
        let (name, value) = seen.header(line)?;
        if seen.count > limits.headers {
            return Err(Refusal::HeaderTooLarge);
        }
        append(&mut headers, name, head.slice_ref(value))?;
    }
    *request.headers_mut() = headers;
    let http_11 = request.version() == Version::HTTP_11;
    let (framing, wishes) = seen.framing(http_11)?;
    Ok(Head {
        request,
        framing,
        wishes,
    })
}

/// The values are pieces of the one copy of the head.
fn append(headers: &mut HeaderMap, name: &[u8], value: Bytes) -> Result<(), Refusal> {
    const BAD: Refusal = Refusal::BadRequest("a header line is not NAME: VALUE");
    let name = HeaderName::from_bytes(name).map_err(|_| BAD)?;
    let value = HeaderValue::from_maybe_shared(value).map_err(|_| BAD)?;
    match headers.try_append(name, value) {
        Ok(_several) => Ok(()),
        Err(_full) => Err(Refusal::HeaderTooLarge),
    }
}

fn trim_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn request(head: &Bytes, line: &[u8]) -> Result<Request<()>, Refusal> {
    const METHOD: Refusal = Refusal::BadRequest("the method is not a valid name");
    let mut parts = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::BadRequest(
            "the request line is not METHOD TARGET VERSION",
        ));
    };
    if method.is_empty() || !method.iter().all(|b| is_token(*b)) {
        return Err(METHOD);
    }
    if target.is_empty() || !target.iter().all(|b| (0x21..=0x7e).contains(b)) {
        return Err(Refusal::BadRequest(
            "the target has bytes that must be percent-encoded",
        ));
    }
    let mut request = Request::new(());
    *request.version_mut() = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        _ => return Err(Refusal::BadRequest("only HTTP/1.1 and HTTP/1.0 are spoken here")),
    };
    *request.method_mut() = Method::from_bytes(method).map_err(|_| METHOD)?;
    *request.uri_mut() = Uri::from_maybe_shared(head.slice_ref(target))
        .map_err(|_| Refusal::BadRequest("the target is not valid"))?;
    Ok(request)
}

/// Bytes that a method or a header name may have, and those that a host may have: tables, because each byte of every
/// head is looked up.
const TOKEN: [bool; 256] = alphanumeric_or(b"!#$%&'*+-.^_`|~");
const HOST: [bool; 256] = alphanumeric_or(b"-._~%!$&'()*+;=:[]");

const fn alphanumeric_or(more: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < more.len() {
        table[more[index] as usize] = true;
        index += 1;
    }
    table
}

pub(crate) const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

fn has_token(value: &[u8], wanted: &[u8]) -> bool {
    value
        .split(|b| *b == b',')
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted))
}

/// What the header lines said so far.
#[derive(Default)]
struct Seen {
    count: usize,
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
    /// HTTP/2 in clear text is not offered: such a wish is passed over.
    h2c: bool,
    connection: Connection,
    go_ahead: bool,
    trailers: bool,
}

/// What `Connection` says.
#[derive(Default)]
struct Connection {
    upgrade: bool,
    close: bool,
    keep_alive: bool,
}

impl Seen {
    /// Name and value of the line.
    fn header<'a>(&mut self, line: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Refusal> {
        self.count += 1;
        let colon = line
            .iter()
            .position(|b| !is_token(*b))
            .filter(|at| line[*at] == b':' && *at > 0)
            .ok_or(Refusal::BadRequest("a header line is not NAME: VALUE"))?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        match name.len() {
            2 if name.eq_ignore_ascii_case(b"te") => self.trailers |= has_token(value, b"trailers"),
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value)?,
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.go_ahead |= value.eq_ignore_ascii_case(b"100-continue");
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                self.h2c |= has_token(value, b"h2c");
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.connection.upgrade |= has_token(value, b"upgrade");
                self.connection.close |= has_token(value, b"close");
                self.connection.keep_alive |= has_token(value, b"keep-alive");
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value)?,
            _ => {}
        }
        Ok((name, value))
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.hosts += 1;
        let valid = |b: &u8| HOST[usize::from(*b)];
        if self.hosts > 1 {
            return Err(Refusal::BadRequest("several Host headers"));
        }
        if value.is_empty() || !value.iter().all(valid) {
            return Err(Refusal::BadRequest("the Host header is not a host name"));
        }
        Ok(())
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        const MALFORMED: Refusal = Refusal::BadRequest("the Content-Length is not one number");
        if self.length.is_some() || value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(MALFORMED);
        }
        let text = std::str::from_utf8(value).map_err(|_| MALFORMED)?;
        self.length = Some(text.parse().map_err(|_| MALFORMED)?);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::BadRequest(
                "the only transfer coding accepted is `chunked`, once",
            ));
        }
        self.chunked = true;
        Ok(())
    }

    fn framing(self, http_11: bool) -> Result<(Framing, Wishes), Refusal> {
        if http_11 && self.hosts == 0 {
            return Err(Refusal::BadRequest("no Host header"));
        }
        let framing = match (self.chunked, self.length) {
            (true, Some(_)) => return Err(Refusal::BadRequest("both Content-Length and Transfer-Encoding")),
            (true, None) if !http_11 => return Err(Refusal::BadRequest("Transfer-Encoding in HTTP/1.0")),
            (true, None) => Framing::Chunked,
            (false, None | Some(0)) => Framing::None,
            (false, Some(length)) => Framing::Length(length),
        };
        let upgrade = self.upgrade && self.connection.upgrade && http_11 && !self.h2c;
        if upgrade && framing != Framing::None {
            return Err(Refusal::BadRequest("an upgrade with a body"));
        }
        let wishes = Wishes {
            keep: !self.connection.close && (http_11 || self.connection.keep_alive),
            go_ahead: self.go_ahead && http_11 && framing != Framing::None,
            trailers: self.trailers,
            upgrade,
        };
        Ok((framing, wishes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_told_apart_at_every_place_of_a_word_whatever_stands_beside_it() {
        for byte in 0..=u8::MAX {
            for beside in [0x20, 0x21, 0x60, 0x7e, 0x80, 0xff] {
                for place in 0..20 {
                    let mut bytes = [beside; 20];
                    bytes[place] = byte;
                    let expected = byte.is_ascii_control().then_some(place);
                    for from in [0, 1, place] {
                        let expected = expected.filter(|at| *at >= from);
                        assert_eq!(
                            next_control(&bytes, from),
                            expected,
                            "{byte:#x} at {place} from {from}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn of_two_controls_the_first_is_found() {
        for (first, second) in [(0, 1), (0x1f, 0x7f), (0x7f, 0x1f), (0x7f, 0x7f), (b'\r', b'\n')] {
            for place in 0..15 {
                let mut bytes = [b'x'; 20];
                bytes[place] = first;
                bytes[place + 1..].fill(second);
                assert_eq!(next_control(&bytes, 0), Some(place));
            }
        }
    }
}
