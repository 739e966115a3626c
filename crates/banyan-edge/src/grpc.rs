//! gRPC as far as a proxy must know it: which requests are calls, how long they may take, how they end.
//!
//! After <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>. Pure.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use banyan_upstream::health::Cause;

pub(crate) const STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(crate) const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// `application/grpc` with or without `+proto` and parameters; `application/grpc-web` is something else.
pub(crate) fn is_call(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// The code of an HTTP status that the edge would answer otherwise.
pub(crate) fn code(status: StatusCode) -> u8 {
    match status.as_u16() {
        200..=299 => 0,
        400 | 414 | 422 | 431 => 3,
        401 => 16,
        403 => 7,
        404 | 405 | 501 => 12,
        408 | 504 => 4,
        409 => 10,
        413 | 429 => 8,
        499 => 1,
        500 => 13,
        502 | 503 => 14,
        _ => 2,
    }
}

/// The HTTP status that says the same as a code (as in google/rpc/code.proto).
pub(crate) fn http_status(code: u16) -> StatusCode {
    let status = match code {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    };
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// `grpc-status` of a head (an answer without messages) or of trailers.
pub(crate) fn status(fields: &HeaderMap) -> Option<u16> {
    fields.get(STATUS)?.to_str().ok()?.parse().ok()
}

/// Whether the end of a call is the instance's fault: UNKNOWN, INTERNAL, UNAVAILABLE, DATA_LOSS. Of a deadline that passed
/// nobody knows who set it too short.
pub(crate) fn fault(fields: &HeaderMap) -> Option<Cause> {
    let code = status(fields).filter(|code| [2, 13, 14, 15].contains(code))?;
    Some(Cause::Status(http_status(code).as_u16()))
}

/// How long the caller waits: at most 8 digits and a unit. `None`: it does not say.
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let plain = !digits.is_empty() && digits.len() <= 8 && digits.bytes().all(|b| b.is_ascii_digit());
    let count: u64 = plain.then(|| digits.parse().ok())??;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// As `grpc-timeout` says it: in milliseconds while they fit, else in seconds.
pub(crate) fn timeout_text(left: Duration) -> HeaderValue {
    let ms = left.as_millis();
    let text = if ms < 100_000_000 {
        format!("{ms}m")
    } else {
        format!("{}S", left.as_secs().min(99_999_999))
    };
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("0m"))
}

/// The whole answer of a call that is refused: HTTP says 200, the call's own status what happened.
pub(crate) fn refusal(status: StatusCode, message: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(STATUS, HeaderValue::from(u16::from(code(status))));
    if let Ok(message) = HeaderValue::from_str(&escape(message)) {
        headers.insert(MESSAGE, message);
    }
    response
}

fn escape(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// What `grpc-message` says; what is not well escaped stays as it is.
pub(crate) fn unescape(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let code = tail.first_chunk::<2>().filter(|_| *first == b'%');
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        out.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Of a code, as google/rpc/code.proto has it.
pub(crate) fn name(code: u16) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES.get(usize::from(code)).copied().unwrap_or("UNKNOWN")
}

/// Where a stream of messages stands: each has a head of five bytes, the last four its length.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Messages {
    /// Of the current message.
    left: u64,
    head: u8,
    length: u32,
}

impl Messages {
    /// Goes on over `bytes`; the length of the longest message that began in them.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> u64 {
        let mut longest = 0;
        while !bytes.is_empty() {
            if self.left > 0 {
                let now = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= now as u64;
                bytes = &bytes[now..];
                continue;
            }
            // The first byte says whether it is compressed.
            if self.head > 0 {
                self.length = self.length << 8 | u32::from(bytes[0]);
            }
            self.head += 1;
            bytes = &bytes[1..];
            if self.head == 5 {
                longest = longest.max(u64::from(self.length));
                *self = Self {
                    left: u64::from(self.length),
                    ..Self::default()
                };
            }
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn only_grpc_itself_is_a_call() {
        for (kind, call) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=y", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_call(&fields("content-type", kind)), call, "{kind}");
        }
    }

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        let of = |text: &str| timeout(&fields("grpc-timeout", text));
        assert_eq!(of("100m"), Some(Duration::from_millis(100)));
        assert_eq!(of("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(of("5u"), Some(Duration::from_micros(5)));
        for text in ["", "m", "1", "123456789m", "-1m", "1x", "1.5S"] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(timeout_text(Duration::from_millis(1500)), "1500m");
        assert_eq!(timeout_text(Duration::from_secs(1 << 40)), "99999999S");
    }

    #[test]
    fn messages_are_escaped() {
        let text = "50 % of ü\n";
        let answer = refusal(StatusCode::SERVICE_UNAVAILABLE, text);
        assert_eq!(answer.headers()["grpc-status"], "14");
        assert_eq!(answer.headers()["grpc-message"], "50 %25 of %C3%BC%0A");
        assert_eq!(unescape(b"50 %25 of %C3%BC%0A"), "50 % of \u{fc}\n");
        assert_eq!(unescape(b"%zz %4 %"), "%zz %4 %");
    }

    #[test]
    fn faults_are_the_instances_own() {
        let cause = |code: &str| fault(&fields("grpc-status", code));
        assert_eq!(cause("14"), Some(Cause::Status(503)));
        assert_eq!(cause("13"), Some(Cause::Status(500)));
        for code in ["0", "4", "5", "16", "x"] {
            assert_eq!(cause(code), None, "{code}");
        }
    }

    proptest! {
        #[test]
        fn lengths_are_found_however_the_bytes_are_cut(
            lengths in prop::collection::vec(0_usize..400, 0..20), cuts in prop::collection::vec(1_usize..50, 1..40),
        ) {
            let mut bytes = Vec::new();
            for length in &lengths {
                bytes.push(0);
                bytes.extend_from_slice(&u32::try_from(*length).unwrap().to_be_bytes());
                bytes.extend(std::iter::repeat_n(9, *length));
            }
            let (mut messages, mut longest, mut rest) = (Messages::default(), 0, bytes.as_slice());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                longest = longest.max(messages.pass(now));
                rest = later;
            }
            prop_assert_eq!(longest, lengths.iter().max().copied().unwrap_or(0) as u64);
            prop_assert_eq!((messages.left, messages.head), (0, 0));
        }
    }
}
