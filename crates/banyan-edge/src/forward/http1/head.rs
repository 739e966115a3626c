//! Heads on the way to an instance and back.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;

use super::{Broke, Reading};
use crate::http1::chunked::Chunked;
use crate::http1::outbox::field;
use crate::introduction::Introduction;

/// Of an answer's head.
const LINES: usize = 128;
const BYTES: usize = 128 * 1024;

/// What an instance is told besides the request's own head.
pub(crate) struct Extra<'a> {
    /// The name of the instance, for requests that have no Host.
    pub address: SocketAddr,
    /// How long it has.
    pub time: Option<(&'a HeaderName, Duration)>,
    /// Who asks, where the head does not say it.
    pub introduction: Option<Introduction<'a>>,
}

/// `framing`: of a body, its length, or `None` for chunked.
pub(super) fn write(text: &mut Vec<u8>, head: &Parts, framing: Option<Option<u64>>, extra: &Extra<'_>) {
    text.extend_from_slice(head.method.as_str().as_bytes());
    text.push(b' ');
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    text.extend_from_slice(target.as_bytes());
    text.extend_from_slice(b" HTTP/1.1\r\n");
    let (mut host, mut length) = (None, false);
    for (name, value) in &head.headers {
        match *name {
            header::CONTENT_LENGTH => length = true,
            header::TRANSFER_ENCODING => {}
            ref name if extra.time.is_some_and(|(own, _)| own == name) => {}
            ref name => {
                if *name == header::HOST {
                    host = Some(value);
                }
                field(text, name.as_str(), value.as_bytes());
            }
        }
    }
    // HTTP/1.0 clients may leave it out; the instance is spoken to in 1.1, which needs one.
    if host.is_none() {
        field(text, "host", extra.address.to_string().as_bytes());
    }
    if let Some(introduction) = &extra.introduction {
        introduction.write(text, host);
    }
    if let Some((name, left)) = extra.time {
        field(text, name.as_str(), left.as_millis().to_string().as_bytes());
    }
    match framing {
        Some(Some(length)) => field(text, "content-length", length.to_string().as_bytes()),
        Some(None) => field(text, "transfer-encoding", b"chunked"),
        None if length || usually_has_body(&head.method) => field(text, "content-length", b"0"),
        None => {}
    }
    text.extend_from_slice(b"\r\n");
}

/// Some servers want a length even for nothing (RFC 9110 §8.6).
fn usually_has_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

/// An answer's head and what follows it.
pub(super) struct Head {
    /// In bytes.
    pub length: usize,
    pub answer: Response<()>,
    pub reading: Reading,
    pub keep: bool,
}

/// `None`: not complete. `no_body`: the request was HEAD.
pub(super) fn read(bytes: &Bytes, no_body: bool) -> Result<Option<Head>, Broke> {
    const NOT_HTTP: Broke = Broke::Invalid("it is not HTTP/1");
    let mut lines = [const { MaybeUninit::uninit() }; LINES];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let status = config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut lines);
    let length = match status.map_err(|_| NOT_HTTP)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial if bytes.len() > BYTES => {
            return Err(Broke::Invalid("its head is too large"));
        }
        httparse::Status::Partial => return Ok(None),
    };
    let code = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let code = code.ok_or(NOT_HTTP)?;
    let version = match parsed.version {
        Some(1) => Version::HTTP_11,
        _ => Version::HTTP_10,
    };
    let mut answer = Response::new(());
    (*answer.status_mut(), *answer.version_mut()) = (code, version);
    if let Some(reason) = parsed.reason
        && code.canonical_reason() != Some(reason)
        && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
    {
        answer.extensions_mut().insert(reason);
    }
    let mut said = Said::default();
    let mut headers = headers(bytes, length, parsed.headers, &mut said)?;
    let (reading, keep) = said.framing(code, version, &mut headers, no_body)?;
    *answer.headers_mut() = headers;
    Ok(Some(Head {
        length,
        answer,
        reading,
        keep,
    }))
}

/// The values are pieces of one copy of the head: they must not keep the core's reading buffer.
fn headers(
    bytes: &Bytes,
    length: usize,
    lines: &[httparse::Header<'_>],
    said: &mut Said,
) -> Result<HeaderMap, Broke> {
    const BAD: Broke = Broke::Invalid("a header is not valid");
    let head = Bytes::copy_from_slice(&bytes[..length]);
    let begin = bytes.as_ptr() as usize;
    // Room for what is added on the way to the client.
    let mut map = HeaderMap::with_capacity(lines.len() + 3);
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| BAD)?;
        if said.header(&name, line.value)? == Line::Repeated {
            continue;
        }
        let at = (line.value.as_ptr() as usize).wrapping_sub(begin);
        let value = match head.get(at..at.wrapping_add(line.value.len())) {
            Some(_) if !line.value.is_empty() => head.slice(at..at + line.value.len()),
            _ => Bytes::new(),
        };
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| BAD)?;
        map.append(name, value);
    }
    Ok(map)
}

/// What the lines say about framing.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    codings: usize,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

#[derive(PartialEq, Eq)]
enum Line {
    Its,
    /// A length that was said before.
    Repeated,
}

impl Said {
    fn header(&mut self, name: &HeaderName, value: &[u8]) -> Result<Line, Broke> {
        match *name {
            header::CONTENT_LENGTH => return self.length(value),
            header::TRANSFER_ENCODING => {
                self.codings += 1;
                self.chunked = value.eq_ignore_ascii_case(b"chunked");
            }
            header::CONNECTION => {
                for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            _ => {}
        }
        Ok(Line::Its)
    }

    /// Several that say the same become one.
    fn length(&mut self, value: &[u8]) -> Result<Line, Broke> {
        const BAD: Broke = Broke::Invalid("its Content-Length is not one number");
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let text = std::str::from_utf8(value).map_err(|_| BAD)?;
        let length = text.parse().ok().filter(|_| digits).ok_or(BAD)?;
        match self.length.replace(length) {
            None => Ok(Line::Its),
            Some(before) if before == length => Ok(Line::Repeated),
            Some(_) => Err(BAD),
        }
    }

    /// RFC 9112 §6.3, without its leniency: what follows the head, and whether another answer may follow that.
    fn framing(
        &self,
        status: StatusCode,
        version: Version,
        headers: &mut HeaderMap,
        no_body: bool,
    ) -> Result<(Reading, bool), Broke> {
        let http_11 = version == Version::HTTP_11;
        if self.codings > 0 && !(self.codings == 1 && self.chunked && http_11) {
            return Err(Broke::Invalid("its transfer coding is not `chunked` alone"));
        }
        if self.chunked && self.length.is_some() {
            return Err(Broke::Invalid("it has a length and is chunked"));
        }
        let keep = if http_11 { !self.close } else { self.keep_alive };
        if status.is_informational() || status == StatusCode::NO_CONTENT {
            headers.remove(header::CONTENT_LENGTH);
            return Ok((Reading::Done, keep));
        }
        Ok(match self.length {
            _ if no_body || status == StatusCode::NOT_MODIFIED => (Reading::Done, keep),
            Some(0) => (Reading::Done, keep),
            Some(length) => (Reading::Length(length), keep),
            None if self.chunked => (Reading::Chunked(Chunked::new()), keep),
            None => (Reading::ToTheEnd, false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str, no_body: bool) -> String {
        match read(&Bytes::copy_from_slice(text.as_bytes()), no_body) {
            Err(Broke::Invalid(why)) => format!("refused: {why}"),
            Err(other) => format!("{other}"),
            Ok(None) => "partial".to_owned(),
            Ok(Some(head)) => {
                let reading = match head.reading {
                    Reading::Head => "head".to_owned(),
                    Reading::Length(length) => length.to_string(),
                    Reading::Chunked(_) => "chunked".to_owned(),
                    Reading::ToTheEnd => "to the end".to_owned(),
                    Reading::Done => "nothing".to_owned(),
                };
                let after = if head.keep { "keep" } else { "close" };
                let headers = head.answer.headers().len();
                format!(
                    "{} {headers} headers, then {reading}, {after}",
                    head.answer.status().as_u16()
                )
            }
        }
    }

    #[test]
    fn what_follows_an_answers_head_is_clear_or_it_is_refused() {
        for (text, no_body, expected) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                false,
                "200 1 headers, then 5, keep",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                true,
                "200 1 headers, then nothing, keep",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
                false,
                "200 1 headers, then 5, keep",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
                false,
                "refused: its Content-Length is not one number",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
                false,
                "refused: its Content-Length is not one number",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
                false,
                "refused: its Content-Length is not one number",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
                false,
                "refused: its Content-Length is not one number",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n",
                false,
                "200 1 headers, then chunked, keep",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                false,
                "refused: its transfer coding is not `chunked` alone",
            ),
            (
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                false,
                "refused: its transfer coding is not `chunked` alone",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
                false,
                "refused: it has a length and is chunked",
            ),
            (
                "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n",
                false,
                "200 2 headers, then nothing, close",
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\n",
                false,
                "200 0 headers, then to the end, close",
            ),
            (
                "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n",
                false,
                "200 2 headers, then 5, keep",
            ),
            (
                "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
                false,
                "204 0 headers, then nothing, keep",
            ),
            (
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
                false,
                "304 1 headers, then nothing, keep",
            ),
            (
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
                false,
                "103 1 headers, then nothing, keep",
            ),
            ("HTTP/1.1 200 OK\r\nA: b", false, "partial"),
            (
                "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
                false,
                "refused: it is not HTTP/1",
            ),
            (
                "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
                false,
                "refused: it is not HTTP/1",
            ),
            ("HTTP/2 200 OK\r\n\r\n", false, "refused: it is not HTTP/1"),
            ("SSH-2.0-OpenSSH\r\n", false, "refused: it is not HTTP/1"),
        ] {
            assert_eq!(judged(text, no_body), expected, "{text:?}");
        }
    }

    #[test]
    fn values_are_those_that_were_sent() {
        let text =
            "HTTP/1.1 200 Fine\r\nServer:  x y \r\nEmpty:\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\nbody";
        let head = read(&Bytes::copy_from_slice(text.as_bytes()), false)
            .unwrap()
            .unwrap();
        let headers = head.answer.headers();
        assert_eq!(
            (&headers["server"], &headers["empty"]),
            (&"x y".parse().unwrap(), &"".parse().unwrap())
        );
        assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
        let reason = head.answer.extensions().get::<ReasonPhrase>().unwrap();
        assert_eq!(reason.as_bytes(), b"Fine");
        assert_eq!(&text[head.length..], "body");
    }

    fn sent(framing: Option<Option<u64>>, fields: &[(&'static str, &'static str)], method: &str) -> String {
        let mut request = http::Request::builder().method(method).uri("/a?b");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let name = HeaderName::from_static("x-ms");
        let extra = Extra {
            address: "127.0.0.1:80".parse().unwrap(),
            time: Some((&name, Duration::from_millis(1500))),
            introduction: None,
        };
        let mut text = Vec::new();
        write(&mut text, &head, framing, &extra);
        String::from_utf8(text).unwrap().replace("\r\n", "|")
    }

    #[test]
    fn a_request_has_one_framing_whatever_its_headers_say() {
        let lies = [
            ("host", "a"),
            ("content-length", "7"),
            ("transfer-encoding", "chunked"),
            ("x-ms", "9"),
        ];
        assert_eq!(
            sent(Some(Some(3)), &lies, "GET"),
            "GET /a?b HTTP/1.1|host: a|x-ms: 1500|content-length: 3||"
        );
        assert_eq!(
            sent(Some(None), &lies, "PUT"),
            "PUT /a?b HTTP/1.1|host: a|x-ms: 1500|transfer-encoding: chunked||"
        );
        assert_eq!(
            sent(None, &[], "GET"),
            "GET /a?b HTTP/1.1|host: 127.0.0.1:80|x-ms: 1500||"
        );
        assert_eq!(
            sent(None, &[], "POST"),
            "POST /a?b HTTP/1.1|host: 127.0.0.1:80|x-ms: 1500|content-length: 0||"
        );
    }
}
