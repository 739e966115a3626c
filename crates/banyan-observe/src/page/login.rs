//! Who may look: who shows the token, in a cookie, as a bearer, or once in the link.
//!
//! A name that resolves to loopback is its owner's, so only addresses and `localhost` are served (DNS rebinding); the
//! cookie is of this port alone by its name, since browsers give cookies to all ports of a host (RFC 6265, 8.5).

use std::net::IpAddr;

use banyan_runtime::token;
use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap};
use http::{HeaderValue, Uri};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    In,
    /// It was in the link: it goes into a cookie and out of the address.
    WithLink {
        cookie: HeaderValue,
    },
    ForeignHost,
    Unknown,
}

pub(super) fn judge(headers: &HeaderMap, uri: &Uri, port: u16, expected: &str) -> Verdict {
    if !is_local(headers) {
        return Verdict::ForeignHost;
    }
    let right = |shown: &str| token::same(shown.as_bytes(), expected.as_bytes());
    let name = cookie_name(port);
    if of_bearer(headers).is_some_and(right) || of_cookie(headers, &name).is_some_and(right) {
        return Verdict::In;
    }
    match query(uri, "token").filter(|shown| right(shown)) {
        Some(shown) => {
            let cookie = format!("{name}={shown}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000");
            let cookie = HeaderValue::from_str(&cookie);
            cookie.map_or(Verdict::Unknown, |cookie| Verdict::WithLink { cookie })
        }
        None => Verdict::Unknown,
    }
}

fn cookie_name(port: u16) -> String {
    format!("banyan_{port}")
}

fn of_bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn of_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut pairs = all
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// A value of the link's query; what is asked here needs no decoding.
pub(super) fn query<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let mut pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn judged(headers: &[(&'static str, &str)], uri: &str) -> Verdict {
        let mut all = HeaderMap::new();
        all.insert(HOST, HeaderValue::from_static("127.0.0.1:9470"));
        for (name, value) in headers {
            all.insert(*name, value.parse().unwrap());
        }
        judge(&all, &uri.parse().unwrap(), 9470, TOKEN)
    }

    #[test]
    fn a_cookie_of_this_port_or_a_bearer_lets_in_and_nothing_else_does() {
        assert_eq!(
            judged(&[("cookie", "a=b; banyan_9470=0123456789abcdef")], "/"),
            Verdict::In
        );
        assert_eq!(
            judged(&[("authorization", "Bearer 0123456789abcdef")], "/"),
            Verdict::In
        );
        for wrong in ["banyan_9471=0123456789abcdef", "banyan_9470=0123456789abcdee", ""] {
            assert_eq!(judged(&[("cookie", wrong)], "/"), Verdict::Unknown, "{wrong}");
        }
    }

    #[test]
    fn the_link_becomes_a_cookie_that_scripts_and_other_sites_do_not_get() {
        let Verdict::WithLink { cookie } = judged(&[], "/?token=0123456789abcdef") else {
            panic!("not let in");
        };
        let cookie = cookie.to_str().unwrap();
        assert!(cookie.starts_with("banyan_9470=0123456789abcdef; "), "{cookie}");
        assert!(
            cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
            "{cookie}"
        );
        assert_eq!(judged(&[], "/?token=0123456789abcdee"), Verdict::Unknown);
    }

    #[test]
    fn a_foreign_name_that_leads_here_is_refused() {
        let link = "/?token=0123456789abcdef";
        for host in ["evil.example:9470", "127.0.0.1.evil.example", ""] {
            assert_eq!(judged(&[("host", host)], link), Verdict::ForeignHost, "{host}");
        }
        assert!(matches!(
            judged(&[("host", "localhost:9470")], link),
            Verdict::WithLink { .. }
        ));
    }
}
