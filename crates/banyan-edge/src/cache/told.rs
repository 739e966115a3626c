//! What a trusted proxy says of the address that a client asked for, where that is another than the request's own: sites
//! behind one proxy may come under one name. It is part of what things are stored under; of strangers it never gets so far.

use std::fmt::Write as _;

use http::HeaderMap;
use http::header::{FORWARDED, HOST};

use crate::headers::{came_by_https, is_claim};

/// Words of https.
const SECURE: [&str; 4] = ["https", "on", "1", "true"];

/// As lines behind a side; empty: nothing that the request does not say itself. `headers`: as instances get them.
pub(super) fn elsewhere(headers: &HeaderMap) -> String {
    let mut told = String::new();
    for (name, value) in headers {
        if *name != FORWARDED && !is_claim(name.as_str()) && name.as_str() != "x-forwarded-host" {
            continue;
        }
        let text = String::from_utf8_lossy(value.as_bytes());
        let text = match name.as_str() {
            "forwarded" => of_address(&text),
            plain => (!says_the_same(plain, &text, headers)).then(|| text.into_owned()),
        };
        if let Some(text) = text {
            // Writing to a string does not fail.
            let _written = write!(told, "\n{name}: {text}");
        }
    }
    told
}

fn says_the_same(name: &str, text: &str, headers: &HeaderMap) -> bool {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let secure = came_by_https(headers);
    match name {
        "x-forwarded-host" => text.eq_ignore_ascii_case(host),
        "x-forwarded-port" => {
            let own = host.rsplit_once(':').map(|(_, port)| port);
            text == own.unwrap_or(if secure { "443" } else { "80" })
        }
        "x-forwarded-scheme"
        | "x-forwarded-protocol"
        | "x-forwarded-ssl"
        | "x-url-scheme"
        | "front-end-https" => SECURE.iter().any(|word| text.eq_ignore_ascii_case(word)) == secure,
        // Whose request it is, and which proxy brings it, is no address.
        "x-real-ip" | "x-forwarded-server" | "x-original-forwarded-for" => true,
        _ => false,
    }
}

/// Of RFC 7239: what is said of the host.
fn of_address(text: &str) -> Option<String> {
    let parts = text.split([',', ';']).map(str::trim);
    let hosts: Vec<&str> = parts
        .filter(|part| {
            part.get(..5)
                .is_some_and(|name| name.eq_ignore_ascii_case("host="))
        })
        .collect();
    (!hosts.is_empty()).then(|| hosts.join(","))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn only_what_names_another_address_is_told() {
        for (fields, expected) in [
            (vec![("x-forwarded-host", "A"), ("x-forwarded-port", "80")], ""),
            (vec![("x-forwarded-host", "b")], "\nx-forwarded-host: b"),
            (
                vec![
                    ("x-forwarded-proto", "https"),
                    ("x-forwarded-port", "443"),
                    ("x-forwarded-ssl", "on"),
                ],
                "",
            ),
            (vec![("x-forwarded-port", "443")], "\nx-forwarded-port: 443"),
            (vec![("x-forwarded-ssl", "on")], "\nx-forwarded-ssl: on"),
            (
                vec![
                    ("x-real-ip", "1.2.3.4"),
                    ("x-forwarded-for", "1.2.3.4"),
                    ("forwarded", "for=1.2.3.4;by=x"),
                ],
                "",
            ),
            (
                vec![("forwarded", "for=1.2.3.4;Host=b;proto=http")],
                "\nforwarded: Host=b",
            ),
            (
                vec![("x-forwarded-prefix", "/b"), ("accept", "x")],
                "\nx-forwarded-prefix: /b",
            ),
            (vec![("x-forwarded-user", "alice")], "\nx-forwarded-user: alice"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("a"));
            for (name, value) in fields {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(elsewhere(&headers), expected);
        }
    }
}
