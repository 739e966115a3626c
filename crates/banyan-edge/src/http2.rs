//! An HTTP/2 request head as HTTP/1 says it, or why it is refused.
//!
//! h2 has refused already: connection fields, upper case names, differing lengths, header lists over the limit. What is
//! left is what only matters because the instance is spoken to in HTTP/1.

use banyan_config::EdgeLimits;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Uri};

use crate::respond::Refusal;

/// `:authority` becomes Host, the target its origin form, the pieces of a cookie one.
pub(crate) fn to_http1(head: &mut Parts, limits: &EdgeLimits) -> Result<(), Refusal> {
    if head.headers.len() > limits.headers as usize {
        return Err(Refusal::HeaderTooLarge);
    }
    let target = target(&head.uri, &head.method)?;
    if target.as_str().len() > limits.request_line as usize {
        return Err(Refusal::RequestLineTooLong);
    }
    let host = host(&head.uri, &head.headers)?;
    head.headers.insert(header::HOST, host);
    head.uri = Uri::from(target);
    join_cookies(&mut head.headers);
    one_length(&mut head.headers);
    Ok(())
}

fn target(uri: &Uri, method: &Method) -> Result<http::uri::PathAndQuery, Refusal> {
    const BAD: Refusal = Refusal::BadRequest("the path is not a valid one");
    let path = uri.path_and_query().ok_or(BAD)?;
    let text = path.as_str();
    let all = text == "*" && *method == Method::OPTIONS;
    let visible = text.bytes().all(|b| (0x21..=0x7e).contains(&b));
    if visible && (all || text.starts_with('/')) {
        Ok(path.clone())
    } else {
        Err(BAD)
    }
}

/// `:authority` and Host say the same, or only one of them is there.
fn host(uri: &Uri, headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::BadRequest("several Host headers"));
    }
    let named = match (uri.authority(), host) {
        (None, None) => return Err(Refusal::BadRequest("neither :authority nor Host")),
        (None, Some(host)) => host.clone(),
        (Some(authority), host) => {
            let differs = |host: &HeaderValue| {
                !host
                    .as_bytes()
                    .eq_ignore_ascii_case(authority.as_str().as_bytes())
            };
            if host.is_some_and(differs) {
                return Err(Refusal::BadRequest(":authority differs from the Host header"));
            }
            HeaderValue::from_str(authority.as_str())
                .map_err(|_| Refusal::BadRequest(":authority is not a host name"))?
        }
    };
    // As `http1::request` has it.
    let valid = |b: &u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(b);
    if named.is_empty() || !named.as_bytes().iter().all(valid) {
        return Err(Refusal::BadRequest("the Host header is not a host name"));
    }
    Ok(named)
}

/// Clients may split it for compression; HTTP/1 knows only one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let pieces: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if pieces.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&pieces.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

/// Several lengths say the same (h2 has seen to it), but only one may be passed on.
fn one_length(headers: &mut HeaderMap) {
    if let Some(first) = headers.get(header::CONTENT_LENGTH).cloned() {
        headers.insert(header::CONTENT_LENGTH, first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(uri: &str, fields: &[(&'static str, &'static str)]) -> Result<Parts, Refusal> {
        let mut request = http::Request::get(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        to_http1(&mut head, &banyan_config::EdgeSettings::default().limits).map(|()| head)
    }

    #[test]
    fn authority_becomes_host_and_cookies_become_one() {
        let head = mapped(
            "https://Shop.example:8443/a?b=c",
            &[
                ("cookie", "a=1"),
                ("cookie", "b=2"),
                ("content-length", "3"),
                ("content-length", "3"),
            ],
        )
        .unwrap();
        assert_eq!(head.uri, "/a?b=c");
        assert_eq!(head.headers["host"], "Shop.example:8443");
        assert_eq!(head.headers["cookie"], "a=1; b=2");
        assert_eq!(head.headers.get_all("content-length").iter().count(), 1);
    }

    #[test]
    fn host_alone_will_do_and_must_agree_with_authority() {
        assert_eq!(mapped("/", &[("host", "a")]).unwrap().headers["host"], "a");
        assert!(mapped("https://a/", &[("host", "A")]).is_ok());
        for (uri, fields) in [
            ("/", vec![]),
            ("https://a/", vec![("host", "b")]),
            ("/", vec![("host", "a"), ("host", "a")]),
            ("https://u@a/", vec![]),
            ("/", vec![("host", "a/b")]),
        ] {
            assert!(
                matches!(mapped(uri, &fields), Err(Refusal::BadRequest(_))),
                "{uri} {fields:?}"
            );
        }
    }

    #[test]
    fn the_limits_of_http1_hold() {
        let long = format!("https://a/{}", "x".repeat(9000));
        assert_eq!(mapped(&long, &[]).unwrap_err(), Refusal::RequestLineTooLong);
        let many = [("x", "y"); 101];
        assert_eq!(mapped("https://a/", &many).unwrap_err(), Refusal::HeaderTooLarge);
    }
}
