//! Paths as routes see them: decoded once, and refused where two readers could differ.

use std::borrow::Cow;

use http::Uri;

/// The decoded path; `None`: ambiguous. An app could read such a path as another one than the edge, and so be reached
/// around a route: encoded slashes, backslashes, dot segments, empty segments, control bytes, broken escapes.
pub(crate) fn decode(raw: &str) -> Option<Cow<'_, str>> {
    let decoded = if raw.contains('%') {
        Cow::Owned(percent_decode(raw)?)
    } else {
        Cow::Borrowed(raw)
    };
    let plain = decoded.bytes().all(|b| b != b'\\' && !b.is_ascii_control());
    (plain && !has_odd_segments(&decoded)).then_some(decoded)
}

/// `.`, `..` and empty ones; the empty one behind a last slash is usual.
fn has_odd_segments(path: &str) -> bool {
    path.contains("//") || (path.contains("/.") && path.split('/').any(|part| part == "." || part == ".."))
}

/// `None`: a broken escape, an encoded slash, or no UTF-8.
fn percent_decode(raw: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(b) = rest.next() {
        if b != b'%' {
            bytes.push(b);
            continue;
        }
        let decoded = hex(rest.next()?)? << 4 | hex(rest.next()?)?;
        if decoded == b'/' {
            return None;
        }
        bytes.push(decoded);
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// `x+y%20z` of a query; `None`: broken.
pub(crate) fn decode_query(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.contains(['%', '+']) {
        return Some(Cow::Borrowed(raw));
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.bytes();
    while let Some(b) = rest.next() {
        bytes.push(match b {
            b'+' => b' ',
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// The same address with another query, none if it is empty. `None`: that is no address.
pub(crate) fn with_query(uri: &Uri, query: &str) -> Option<Uri> {
    let target = if query.is_empty() {
        uri.path().to_owned()
    } else {
        format!("{}?{query}", uri.path())
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Where the first `length` decoded bytes end in the raw path.
fn raw_end(raw: &str, length: usize) -> usize {
    let bytes = raw.as_bytes();
    let mut at = 0;
    for _ in 0..length {
        at += if bytes.get(at) == Some(&b'%') { 3 } else { 1 };
    }
    at.min(raw.len())
}

/// The raw path with `to` in place of its first `length` decoded bytes (raw ones if `as_received`).
pub(super) fn rewrite(raw: &str, length: usize, as_received: bool, to: &str) -> String {
    let end = if as_received { length } else { raw_end(raw, length) };
    let rest = raw.get(end..).unwrap_or_default();
    match (to.ends_with('/'), rest.strip_prefix('/')) {
        (true, Some(rest)) => format!("{to}{rest}"),
        _ => format!("{to}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_paths_are_decoded_once() {
        for (raw, decoded) in [
            ("/", "/"),
            ("/a/b/", "/a/b/"),
            ("/%61pi", "/api"),
            ("/a%20b", "/a b"),
            ("/%252e%252e/x", "/%2e%2e/x"),
            ("/a..b/.well-known", "/a..b/.well-known"),
            ("/caf%C3%A9", "/café"),
        ] {
            assert_eq!(decode(raw).as_deref(), Some(decoded), "{raw}");
        }
    }

    #[test]
    fn what_two_readers_may_read_differently_is_ambiguous() {
        for raw in [
            "/a%2fb",
            "/a%2Fb",
            "/../a",
            "/a/..",
            "/a/./b",
            "/%2e%2e/a",
            "/a/%2E",
            "//a",
            "/a//b",
            "/a\\b",
            "/a%5cb",
            "/a%00",
            "/a%0a",
            "/a%",
            "/a%2",
            "/a%zz",
            "/%ff",
            "/.%2e/a",
        ] {
            assert_eq!(decode(raw), None, "{raw}");
        }
    }

    #[test]
    fn a_rewrite_keeps_the_rest_as_received() {
        assert_eq!(rewrite("/api/x%20y", 4, false, "/"), "/x%20y");
        assert_eq!(rewrite("/%61pi/x", 4, false, "/v2"), "/v2/x");
        assert_eq!(rewrite("/api", 4, false, "/"), "/");
        assert_eq!(rewrite("/api/", 4, false, "/v2/"), "/v2/");
        assert_eq!(rewrite("/", 0, false, "/v2"), "/v2/");
    }

    proptest! {
        /// Nothing that is matched can leave the folder it seems to be in, however it is encoded.
        #[test]
        fn no_decoded_path_climbs(raw in "/([a-c./%2eEfF5C\\\\]|%2e|%2f|%5c){0,12}") {
            if let Some(decoded) = decode(&raw) {
                prop_assert!(decoded.split('/').all(|part| part != ".." && part != "."));
                prop_assert!(!decoded.contains('\\') && !decoded.contains("//"));
                prop_assert_eq!(decoded.matches('/').count(), raw.matches('/').count());
            }
        }

        #[test]
        fn a_rewritten_path_is_the_target_and_the_undecoded_rest(rest in "(/[a-z%0-9]{0,4}){0,3}") {
            let raw = format!("/%61pi{rest}");
            if decode(&raw).is_some() {
                prop_assert_eq!(rewrite(&raw, 4, false, "/v2"), format!("/v2{rest}"));
            }
        }
    }
}
